package calendar_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
)

// wall is the clock on a wall, looked at every minute from before a moment until after it.
type wall struct {
	begin time.Time
	shown []time.Time // what it shows at begin and each minute on, as if in UTC
	most  []time.Time // the latest that it has shown so far
}

const before, after = 4 * 24 * 60, 17 * 24 * 60 // minutes

func hang(zone string, t time.Time) wall {
	where, err := time.LoadLocation(zone)
	if err != nil {
		panic(err)
	}
	w := wall{begin: t.Truncate(time.Minute).Add(-before * time.Minute)}
	for i := range before + after {
		local := w.begin.Add(time.Duration(i) * time.Minute).In(where)
		y, m, d := local.Date()
		now := time.Date(y, m, d, local.Hour(), local.Minute(), 0, 0, time.UTC)
		most := now
		if i > 0 && w.most[i-1].After(now) {
			most = w.most[i-1]
		}
		w.shown, w.most = append(w.shown, now), append(w.most, most)
	}
	return w
}

// first is the first minute that shows s or more, or the end of the watch.
func (w wall) first(s time.Time) int {
	i, _ := slices.BinarySearchFunc(w.most, s, time.Time.Compare)
	return i
}

// last is the last minute that shows s, or the first that shows more if none does.
func (w wall) last(s time.Time) int {
	for i, shown := range slices.Backward(w.shown) {
		if shown.Equal(s) {
			return i
		}
	}
	return w.first(s)
}

// brute is whether a calendar is open, minute by minute.
type brute struct {
	wall
	open []bool
}

func (b *brute) set(from, to int, open bool) {
	for i := max(from, 0); i < min(to, len(b.open)); i++ {
		b.open[i] = open
	}
}

func (b *brute) window(w calendar.Window, length time.Duration, begins func(time.Weekday) bool) {
	from, err := time.Parse("15:04", w.From)
	if err != nil {
		panic(err)
	}
	for day := b.shown[0].Truncate(24 * time.Hour); day.Before(b.shown[len(b.shown)-1]); day = day.AddDate(0, 0, 1) {
		begin := day.Add(time.Duration(from.Hour())*time.Hour + time.Duration(from.Minute())*time.Minute)
		if !begins(day.Weekday()) || begin.Before(b.shown[0]) {
			continue
		}
		i, j := b.first(begin), b.first(begin.Add(length))
		if i == j {
			j = i + int(length/time.Minute)
		}
		b.set(i, j, true)
	}
}

var (
	week  = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	zones = []string{
		"", "UTC", "Europe/Vienna", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana", "Africa/Cairo",
		"Africa/Casablanca", "Pacific/Chatham", "America/St_Johns", "Antarctica/Troll", "Asia/Beirut", "America/Santiago",
	}
)

// moment draws a time, as a rule within three days of a change of the clock.
func moment(t *rapid.T, zone string) time.Time {
	where, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	m := time.Date(2024, 1, 1, 0, rapid.IntRange(0, 40*365*24*60).Draw(t, "minutes"), 0, 0, where)
	if _, change := m.ZoneBounds(); !change.IsZero() && rapid.IntRange(0, 3).Draw(t, "near") > 0 {
		m = change.Add(time.Duration(rapid.IntRange(-3*24*60, 3*24*60).Draw(t, "off")) * time.Minute)
	}
	return m.UTC().Truncate(time.Minute)
}

func clock(t *rapid.T, label string) time.Duration {
	minutes := rapid.IntRange(0, 24*60-1).Draw(t, label)
	if rapid.Bool().Draw(t, label+" early") { // where clocks change
		minutes %= 4 * 60
	}
	return time.Duration(minutes) * time.Minute
}

func hhmm(d time.Duration) string { return time.Time{}.Add(d).Format("15:04") }

func date(t time.Time) calendar.Date { return calendar.Date(t.Format("2006-01-02T15:04")) }

// drawn draws a calendar and, beside it, what it means minute by minute.
func drawn(t *rapid.T) (calendar.Calendar, time.Time, *brute) {
	zone := rapid.SampledFrom(zones).Draw(t, "zone")
	now := moment(t, zone)
	b := &brute{wall: hang(zone, now), open: make([]bool, before+after)}
	var c calendar.Calendar
	for range rapid.IntRange(0, 3).Draw(t, "windows") {
		from, to := clock(t, "from"), clock(t, "to")
		w := calendar.Window{From: hhmm(from), To: hhmm(to), Zone: zone}
		days := rapid.SliceOfNDistinct(rapid.IntRange(0, 6), 0, 7, rapid.ID).Draw(t, "days")
		for _, d := range days {
			w.Days = append(w.Days, week[d])
		}
		c.Windows = append(c.Windows, w)
		length := to - from
		if length <= 0 {
			length += 24 * time.Hour
		}
		b.window(w, length, func(d time.Weekday) bool { return len(days) == 0 || slices.Contains(days, int(d)) })
	}
	if len(c.Windows) == 0 {
		b.set(0, len(b.open), true)
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "freezes") {
		at := before + rapid.IntRange(-before/2, after/2).Draw(t, "begins")
		from := b.shown[at].Add(time.Duration(rapid.IntRange(-2*60, 2*60).Draw(t, "beside")) * time.Minute) // may be skipped
		to := from.Add(time.Duration(rapid.OneOf(rapid.IntRange(1, 3*60), rapid.IntRange(1, 5*24*60)).Draw(t, "lasts")) * time.Minute)
		c.Freezes = append(c.Freezes, calendar.Freeze{Name: fmt.Sprint(i), From: date(from), To: date(to), Zone: zone})
		begin, end := b.first(from), b.last(to)
		if begin == end {
			end = begin + int(to.Sub(from)/time.Minute)
		}
		b.set(begin, end, false)
	}
	return c, now, b
}

// The answer is what a person finds who looks at the clock on the wall every minute, and it does not change before it says.
func TestAtIsTheClockOnTheWall(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c, now, b := drawn(t)
		if problems := c.Check(""); len(problems) > 0 {
			t.Fatal(problems)
		}
		got := c.At(now)
		if got.Closed == b.open[before] {
			t.Fatalf("%+v\nat %s: got %+v, want closed %t", c, now, got, !b.open[before])
		}
		stays := 15 * 24 * 60 // minutes
		if !got.Until.IsZero() {
			stays = min(stays, int(got.Until.Sub(now)/time.Minute))
		}
		for i := range stays {
			if b.open[before+i] != b.open[before] {
				t.Fatalf("%+v\nat %s: got %+v, but it changes at %s", c, now, got, now.Add(time.Duration(i)*time.Minute))
			}
		}
		for range 3 {
			later := now.Add(time.Duration(rapid.IntRange(0, stays-1).Draw(t, "later")) * time.Minute)
			if again := c.At(later); again != got {
				t.Fatalf("%+v\nat %s: got %+v, but at %s: %+v", c, now, got, later, again)
			}
		}
		if turned := c.At(got.Until); !got.Until.IsZero() && turned.Closed == got.Closed && turned.Reason == got.Reason {
			t.Fatalf("%+v\nat %s: got %+v, but then nothing changes: %+v", c, now, got, turned)
		}
	})
}

func BenchmarkAt(b *testing.B) {
	c := calendar.Calendar{
		Windows: []calendar.Window{{Days: []string{"mon-fri"}, From: "22:00", To: "05:00", Zone: "Europe/Vienna"}},
		Freezes: []calendar.Freeze{{Name: "Christmas", From: "2026-12-20", To: "2027-01-06", Zone: "Europe/Vienna"}},
	}
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for b.Loop() {
		c.At(now)
	}
}
