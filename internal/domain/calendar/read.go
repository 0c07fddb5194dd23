package calendar

import (
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // so that every machine knows the zones

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

const day = 24 * time.Hour

// Check lists everything that is wrong with the calendar; path is where it stands in its document, "" for the whole of it.
func (c Calendar) Check(path string) []fault.Problem {
	_, problems := c.read(path)
	return problems
}

// parsed is a calendar that was understood.
type parsed struct {
	windows []weekly
	freezes []span
}

// weekly is a window that was understood. From and length are counted on the clock on the wall.
type weekly struct {
	days         [7]bool // by time.Weekday
	from, length time.Duration
	zone         *time.Location
}

// reader collects the mistakes.
type reader struct{ problems []fault.Problem }

func (r *reader) problem(path, format string, args ...any) {
	r.problems = append(r.problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c Calendar) read(path string) (parsed, []fault.Problem) {
	var r reader
	var p parsed
	if path != "" {
		path += "."
	}
	if n := len(c.Windows); n > MaxEntries {
		r.problem(path+"windows", "has %d windows; %d is the most", n, MaxEntries)
	}
	if n := len(c.Freezes); n > MaxEntries {
		r.problem(path+"freezes", "has %d freezes; %d is the most", n, MaxEntries)
	}
	if len(r.problems) > 0 {
		return p, r.problems
	}
	for i, w := range c.Windows {
		p.windows = append(p.windows, r.window(fmt.Sprintf("%swindows[%d]", path, i), w))
	}
	for i, f := range c.Freezes {
		p.freezes = append(p.freezes, r.freeze(fmt.Sprintf("%sfreezes[%d]", path, i), f))
	}
	return p, r.problems
}

func (r *reader) window(path string, w Window) weekly {
	from, to := r.clock(path+".from", w.From), time.Duration(0)
	if w.To == "24:00" {
		to = day
	} else {
		to = r.clock(path+".to", w.To)
	}
	length := to - from
	if length <= 0 {
		length += day
	}
	return weekly{days: r.days(path+".days", w.Days), from: from, length: length, zone: r.zone(path+".zone", w.Zone)}
}

func (r *reader) clock(path, s string) time.Duration {
	const layout = "15:04"
	t, err := time.Parse(layout, s)
	if err != nil || t.Format(layout) != s {
		r.problem(path, "must be a time of day such as 05:00 or 22:30, is %q", s)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute
}

func (r *reader) days(path string, names []string) [7]bool {
	week := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // as time.Weekday counts
	var days [7]bool
	for i, name := range names {
		first, last, isRange := strings.Cut(name, "-")
		if !isRange {
			last = first
		}
		from, to := slices.Index(week, first), slices.Index(week, last)
		if from < 0 || to < 0 {
			r.problem(fmt.Sprintf("%s[%d]", path, i), "must be one of mon, tue, wed, thu, fri, sat, sun, or a range such as mon-fri, is %q", name)
			continue
		}
		for days[from] = true; from != to; days[from] = true {
			from = (from + 1) % len(week)
		}
	}
	if len(names) == 0 {
		return [7]bool{true, true, true, true, true, true, true}
	}
	return days
}

// zone loads a zone. Names that mean something else on every machine, or that only some machines have, are refused.
func (r *reader) zone(path, name string) *time.Location {
	zone, err := time.LoadLocation(name)
	own := name == "Local" || name == "localtime" || name == "posixrules"
	if err != nil || own || strings.HasPrefix(name, "posix/") || strings.HasPrefix(name, "right/") {
		r.problem(path, "must be the IANA name of a zone, such as Europe/Vienna or UTC, is %q", name)
		return time.UTC
	}
	return zone
}

func (r *reader) freeze(path string, f Freeze) span {
	const longest = 100
	if f.Name == "" || len(f.Name) > longest {
		r.problem(path+".name", "must be 1 to %d bytes; people read it when they ask why nothing moves", longest)
	}
	zone := r.zone(path+".zone", f.Zone)
	from, _, fromRead := r.date(path+".from", f.From)
	to, whole, toRead := r.date(path+".to", f.To)
	if whole {
		to = to.AddDate(0, 0, 1)
	}
	if fromRead && toRead && !to.After(from) {
		r.problem(path+".to", "must be after from (%s), is %s", f.From, f.To)
	}
	s := between(from, to, zone, true)
	s.name = f.Name
	return s
}

// date reads a time as if in UTC, and tells whether it is a whole day.
func (r *reader) date(path string, d Date) (t time.Time, whole, read bool) {
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, string(d)); err == nil && t.Format(layout) == string(d) {
			return t, layout == time.DateOnly, true
		}
	}
	r.problem(path, "must be a date, or a date and a time in the zone, such as 2026-12-20 or 2026-12-20T18:00, is %q", d)
	return time.Time{}, false, false
}
