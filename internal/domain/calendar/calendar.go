// Package calendar is when leases may be granted: windows that open every week, and freezes between two dates.
//
// Times are written as a clock on the wall of a zone shows them, by the IANA name of the zone, and a clock is put forward and back.
// What is written then means:
//
//   - A time that the clock shows twice is the first of the two; only a freeze ends at the second.
//   - A time that the clock skips is the moment of the jump.
//   - A window or freeze whose every minute is skipped begins at the jump and is as long as written.
//
// So nothing vanishes, a freeze never ends before the clock has shown all that was written, and windows that touch on paper touch on
// every day of the year.
//
// A calendar that cannot be read is closed: nothing widens because of a mistake.
package calendar

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// MaxEntries bounds the windows and the freezes of one calendar.
const MaxEntries = 100

// Calendar is when leases may be granted. The zero value is always open.
type Calendar struct {
	Windows []Window `json:"windows,omitempty"` // leases are granted only inside one of these; none means at any time
	Freezes []Freeze `json:"freezes,omitempty"` // and inside none of these
}

// Window is a span of the day that is open on some days of every week.
type Window struct {
	Days []string `json:"days,omitempty"` // on which it begins: "mon" to "sun", ranges such as "mon-fri" and "fri-mon"; none means every day
	From string   `json:"from"`           // "22:00", inclusive
	To   string   `json:"to"`             // "05:00", exclusive; on the next day if it is not after From, so that 00:00 to 00:00 is a whole day
	Zone string   `json:"zone,omitempty"` // IANA name as in "Europe/Vienna"; UTC if left out
}

// Freeze is a span of days on which nobody is exposed.
type Freeze struct {
	Name string `json:"name"`           // what people call it: "Christmas"
	From Date   `json:"from"`           // "2026-12-20" or "2026-12-20T18:00", inclusive
	To   Date   `json:"to"`             // "2027-01-06", that whole day included, or "2027-01-06T12:00", exclusive
	Zone string `json:"zone,omitempty"` // IANA name; UTC if left out
}

// Date is a day, "2026-12-20", or a minute of it, "2026-12-20T18:00". In a file it needs no quotes.
type Date string

// UnmarshalText implements encoding.TextUnmarshaler. It takes any text: what is wrong with it is for [Calendar.Check] to say.
func (d *Date) UnmarshalText(text []byte) error { *d = Date(text); return nil }

// Shut is the answer of [Calendar.At].
type Shut struct {
	Closed bool      `json:"closed,omitempty"`
	Reason string    `json:"reason,omitempty"` // for people, if closed: which freeze and when it ends, or when the next window begins
	Until  time.Time `json:"until,omitzero"`   // the answer stays as it is before this instant; zero means for ever. Ask again then
}

// At tells whether leases may be granted at t. Before Until the answer is the same, so that nobody needs to ask more often. It loads the
// zones from the system's or the program's own database on each call.
func (c Calendar) At(t time.Time) Shut {
	p, problems := c.read("")
	if len(problems) > 0 {
		return Shut{Closed: true, Reason: "the calendar cannot be read: " + problems[0].String()}
	}
	if shut := p.frozen(t); shut.Closed {
		return shut
	}
	shut := p.outside(t)
	for _, f := range p.freezes {
		if f.from.After(t) {
			shut.Until = sooner(shut.Until, f.from)
		}
	}
	return shut
}

// span is the time from one instant up to, and without, another. Instants are in UTC.
type span struct {
	from, to time.Time
	zone     *time.Location // in which it was written
	name     string         // of a freeze
}

// between is the span that two times on the wall of a zone mean, given as if in UTC. The end of a freeze is the later one if there are two.
func between(from, to time.Time, zone *time.Location, freeze bool) span {
	s := span{zone: zone}
	s.from, _ = readings(from, zone)
	first, last := readings(to, zone)
	s.to = first
	if freeze {
		s.to = last
	}
	if !s.to.After(s.from) {
		s.to = s.from.Add(to.Sub(from))
	}
	return s
}

func (s span) holds(t time.Time) bool { return !t.Before(s.from) && t.Before(s.to) }

// frozen names the freeze that ends last among those that hold t. The answer changes when it ends, or when one that lasts longer begins.
func (p parsed) frozen(t time.Time) Shut {
	var last span
	for _, f := range p.freezes {
		if f.holds(t) && f.to.After(last.to) {
			last = f
		}
	}
	if last.zone == nil {
		return Shut{}
	}
	until := last.to
	for _, f := range p.freezes {
		if f.from.After(t) && f.to.After(last.to) {
			until = sooner(until, f.from)
		}
	}
	return Shut{Closed: true, Reason: fmt.Sprintf("freeze %q until %s", last.name, written(last.to, last.zone)), Until: until}
}

// lookahead is the number of days for which windows are laid out: every minute of the week at least twice, and at least once on a day
// on which the clock is not put forward.
const lookahead = 15

// outside is the answer of the windows alone.
func (p parsed) outside(t time.Time) Shut {
	if len(p.windows) == 0 {
		return Shut{}
	}
	spans := p.around(t)
	end := t
	for _, s := range spans {
		if !s.from.After(end) && s.to.After(end) {
			end = s.to
		}
	}
	switch {
	case end.Equal(t):
		next, _ := slices.BinarySearchFunc(spans, t, func(s span, t time.Time) int { return s.from.Compare(t) })
		from, zone := spans[next].from, spans[next].zone
		return Shut{Closed: true, Reason: "outside the windows; the next begins at " + written(from, zone), Until: from}
	case end.Sub(t) > lookahead*day && p.oneZone():
		return Shut{} // all of the week is open; with several zones it depends on when each puts its clock forward
	}
	return Shut{Until: end}
}

// around lays out the windows of the days round t, in the order in which they begin.
func (p parsed) around(t time.Time) []span {
	var spans []span
	for _, w := range p.windows {
		y, m, d := t.In(w.zone).Date()
		for i := -1; i <= lookahead+1; i++ {
			midnight := time.Date(y, m, d+i, 0, 0, 0, 0, time.UTC)
			if !w.days[midnight.Weekday()] {
				continue
			}
			from := midnight.Add(w.from)
			spans = append(spans, between(from, from.Add(w.length), w.zone, false))
		}
	}
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Or(a.from.Compare(b.from), b.to.Compare(a.to)) })
	return spans
}

// oneZone tells whether all windows are written in the same zone.
func (p parsed) oneZone() bool {
	return !slices.ContainsFunc(p.windows, func(w weekly) bool { return w.zone.String() != p.windows[0].zone.String() })
}

// readings are the first and the last instant at which the clock of a zone shows wall, a time as if in UTC; they differ if it is shown
// twice. Both are the moment of the jump if the clock skips it.
func readings(wall time.Time, zone *time.Location) (first, last time.Time) {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), 0, 0, zone) // if there is a choice: any
	begin, end := t.ZoneBounds()
	switch shown := t.UTC().Add(offset(t)); {
	case shown.After(wall): // t is past the jump
		return begin.UTC(), begin.UTC()
	case shown.Before(wall): // t is before it
		return end.UTC(), end.UTC()
	}
	first, last = t.UTC(), t.UTC()
	if earlier := wall.Add(-offset(begin.Add(-1))); earlier.Before(begin) {
		first = earlier
	}
	if later := wall.Add(-offset(end)); !end.IsZero() && !later.Before(end) {
		last = later
	}
	return first, last
}

// offset is how far the clock is ahead of UTC.
func offset(t time.Time) time.Duration {
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second
}

// written is an instant for people.
func written(t time.Time, zone *time.Location) string {
	return t.In(zone).Format("2006-01-02 15:04 -07:00 ") + zone.String()
}

// sooner is the earlier of two instants, where zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
