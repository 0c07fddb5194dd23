package calendar_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func at(t *testing.T, s string) time.Time {
	t.Helper()
	if s == "" {
		return time.Time{}
	}
	v, err := time.Parse("2006-01-02T15:04:05Z07:00", s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func windows(w ...calendar.Window) calendar.Calendar { return calendar.Calendar{Windows: w} }

func freezes(f ...calendar.Freeze) calendar.Calendar { return calendar.Calendar{Freezes: f} }

func both(w, f calendar.Calendar) calendar.Calendar {
	return calendar.Calendar{Windows: w.Windows, Freezes: f.Freezes}
}

func daily(from, to, zone string) calendar.Calendar {
	return windows(calendar.Window{From: from, To: to, Zone: zone})
}

func frozen(from, to calendar.Date, zone string) calendar.Calendar {
	return freezes(calendar.Freeze{Name: "x", From: from, To: to, Zone: zone})
}

// What a mistake in a zone or a date is told, before what was written.
const (
	zoneMistake = "must be the IANA name of a zone, such as Europe/Vienna or UTC, is "
	dateMistake = "must be a date, or a date and a time in the zone, such as 2026-12-20 or 2026-12-20T18:00, is "
)

// In 2026 the clock is put forward on 29 March at 02:00 and back on 25 October at 03:00 in Vienna, and on 8 March at 02:00 and 1 November
// at 02:00 in New York.
const (
	vienna  = "Europe/Vienna"
	newYork = "America/New_York"
)

// A calendar that is closed at first opens and closes in turn.
func TestTurns(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		calendar calendar.Calendar
		from     string
		turns    string // opens closes opens ..., in UTC
	}{
		"an evening": {daily("20:00", "22:30", ""), "2026-05-01T12:00:00Z", "2026-05-01T20:00Z 2026-05-01T22:30Z 2026-05-02T20:00Z"},
		"past midnight": {
			daily("22:00", "05:00", vienna), "2026-05-01T12:00:00Z",
			"2026-05-01T20:00Z 2026-05-02T03:00Z 2026-05-02T20:00Z",
		},
		"up to midnight": {daily("22:00", "24:00", ""), "2026-05-01T12:00:00Z", "2026-05-01T22:00Z 2026-05-02T00:00Z"},
		"a quarter hour off": {
			daily("00:00", "06:00", "Asia/Kathmandu"), "2026-05-01T12:00:00Z",
			"2026-05-01T18:15Z 2026-05-02T00:15Z 2026-05-02T18:15Z",
		},
		"a day is where it begins": {
			windows(calendar.Window{Days: []string{"fri"}, From: "22:00", To: "05:00"}), "2026-05-01T12:00:00Z",
			"2026-05-01T22:00Z 2026-05-02T05:00Z 2026-05-08T22:00Z",
		},
		"a weekend is one": {
			windows(calendar.Window{Days: []string{"sat-sun"}, From: "00:00", To: "00:00", Zone: vienna}), "2026-05-01T12:00:00Z",
			"2026-05-01T22:00Z 2026-05-03T22:00Z 2026-05-08T22:00Z",
		},
		"a range round the end of the week": {
			windows(calendar.Window{Days: []string{"sat-mon", "wed"}, From: "00:00", To: "24:00"}), "2026-05-01T12:00:00Z",
			"2026-05-02T00:00Z 2026-05-05T00:00Z 2026-05-06T00:00Z 2026-05-07T00:00Z 2026-05-09T00:00Z",
		},
		"overlapping windows": {
			windows(calendar.Window{From: "10:00", To: "12:00"},
				calendar.Window{From: "11:00", To: "13:00"}, calendar.Window{From: "10:30", To: "11:30"}),
			"2026-05-01T09:00:00Z", "2026-05-01T10:00Z 2026-05-01T13:00Z",
		},
		"spring, across the gap":  {daily("22:00", "05:00", vienna), "2026-03-28T12:00:00Z", "2026-03-28T21:00Z 2026-03-29T03:00Z"},
		"spring, ends in the gap": {daily("22:00", "02:30", vienna), "2026-03-28T12:00:00Z", "2026-03-28T21:00Z 2026-03-29T01:00Z"},
		"spring, begins in the gap": {
			daily("02:30", "03:15", vienna),
			"2026-03-28T12:00:00Z", "2026-03-29T01:00Z 2026-03-29T01:15Z 2026-03-30T00:30Z",
		},
		"spring, all in the gap": {
			daily("02:15", "02:45", vienna),
			"2026-03-28T12:00:00Z", "2026-03-29T01:00Z 2026-03-29T01:30Z 2026-03-30T00:15Z",
		},
		"spring, New York": {
			daily("02:00", "03:00", newYork),
			"2026-03-08T00:00:00Z", "2026-03-08T07:00Z 2026-03-08T08:00Z 2026-03-09T06:00Z",
		},
		"autumn, across both": {daily("22:00", "05:00", vienna), "2026-10-24T12:00:00Z", "2026-10-24T20:00Z 2026-10-25T04:00Z"},
		"autumn, ends in both": {
			daily("22:00", "02:30", vienna),
			"2026-10-24T12:00:00Z", "2026-10-24T20:00Z 2026-10-25T00:30Z 2026-10-25T21:00Z",
		},
		"autumn, begins in both": {daily("02:30", "05:00", vienna), "2026-10-24T12:00:00Z", "2026-10-25T00:30Z 2026-10-25T04:00Z"},
		"autumn, all in both": {
			daily("02:15", "02:45", vienna),
			"2026-10-24T12:00:00Z", "2026-10-25T00:15Z 2026-10-25T00:45Z 2026-10-26T01:15Z",
		},
		"autumn, New York": {
			daily("01:00", "01:30", newYork),
			"2026-11-01T00:00:00Z", "2026-11-01T05:00Z 2026-11-01T05:30Z 2026-11-02T06:00Z",
		},
		"no midnight in Cairo": {
			daily("00:00", "01:30", "Africa/Cairo"),
			"2026-04-23T12:00:00Z", "2026-04-23T22:00Z 2026-04-23T22:30Z 2026-04-24T21:00Z",
		},
		"half an hour, Lord Howe": {
			daily("02:00", "02:30", "Australia/Lord_Howe"),
			"2026-10-03T12:00:00Z", "2026-10-03T15:30Z 2026-10-03T16:00Z",
		},
		"far ahead":            {daily("22:00", "05:00", vienna), "2226-07-01T12:00:00Z", "2226-07-01T20:00Z 2226-07-02T03:00Z"},
		"far ahead, in winter": {daily("22:00", "05:00", vienna), "2226-01-01T12:00:00Z", "2226-01-01T21:00Z 2226-01-02T04:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now, closed := at(t, test.from), true
			for turn := range strings.FieldsSeq(test.turns) {
				want := at(t, strings.Replace(turn, "Z", ":00Z", 1))
				got := test.calendar.At(now)
				if got.Closed != closed || !got.Until.Equal(want) {
					t.Fatalf("at %s: got closed %t until %s (%s), want %t until %s", now, got.Closed, got.Until.UTC(), got.Reason, closed, want)
				}
				if last := test.calendar.At(want.Add(-1)); last != got {
					t.Errorf("just before %s: got %+v, want %+v", want, last, got)
				}
				now, closed = want, !closed
			}
		})
	}
}

// A freeze is closed from one instant to another, and open just before and after.
func TestFreezes(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		calendar calendar.Calendar
		from, to string
	}{
		"times":                     {frozen("2026-12-20T18:00", "2026-12-21T06:00", ""), "2026-12-20T18:00:00Z", "2026-12-21T06:00:00Z"},
		"one day":                   {frozen("2026-12-20", "2026-12-20", ""), "2026-12-20T00:00:00Z", "2026-12-21T00:00:00Z"},
		"the last day is included":  {frozen("2026-12-20", "2027-01-06", vienna), "2026-12-19T23:00:00Z", "2027-01-06T23:00:00Z"},
		"midnight as a time is not": {frozen("2026-12-20", "2027-01-06T00:00", vienna), "2026-12-19T23:00:00Z", "2027-01-05T23:00:00Z"},
		"a zone that never changes": {frozen("2026-12-20", "2026-12-20", "Asia/Kathmandu"), "2026-12-19T18:15:00Z", "2026-12-20T18:15:00Z"},
		"a day of 23 hours":         {frozen("2026-03-29", "2026-03-29", vienna), "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		"a day of 25 hours":         {frozen("2026-11-01", "2026-11-01", newYork), "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		"spring, all in the gap": {
			frozen("2026-03-29T02:15", "2026-03-29T02:45", vienna),
			"2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z",
		},
		"spring, as long as the gap": {
			frozen("2026-03-29T02:00", "2026-03-29T03:00", vienna),
			"2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z",
		},
		"spring, begins in the gap": {
			frozen("2026-03-29T02:30", "2026-03-29T03:15", vienna),
			"2026-03-29T01:00:00Z", "2026-03-29T01:15:00Z",
		},
		"spring, ends in the gap": {
			frozen("2026-03-08T00:00", "2026-03-08T02:30", newYork),
			"2026-03-08T05:00:00Z", "2026-03-08T07:00:00Z",
		},
		"autumn, all in both": {
			frozen("2026-10-25T02:15", "2026-10-25T02:45", vienna),
			"2026-10-25T00:15:00Z", "2026-10-25T01:45:00Z",
		},
		"autumn, ends with the hour": {
			frozen("2026-10-25T02:15", "2026-10-25T03:00", vienna),
			"2026-10-25T00:15:00Z", "2026-10-25T02:00:00Z",
		},
		"autumn, midnight in Havana": {frozen("2026-10-31", "2026-10-31", "America/Havana"), "2026-10-31T04:00:00Z", "2026-11-01T05:00:00Z"},
		"two hours off, Troll": {
			frozen("2026-03-29T01:30", "2026-03-29T03:30", "Antarctica/Troll"),
			"2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z",
		},
		"a leap day":                 {frozen("2028-02-28", "2028-02-29", ""), "2028-02-28T00:00:00Z", "2028-03-01T00:00:00Z"},
		"far ahead":                  {frozen("2326-07-01", "2326-07-01", vienna), "2326-06-30T22:00:00Z", "2326-07-01T22:00:00Z"},
		"the day that Apia left out": {frozen("2011-12-30", "2011-12-30", "Pacific/Apia"), "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"},
		"a window does not open it": {
			both(daily("00:00", "24:00", ""), frozen("2026-05-01", "2026-05-02", "")),
			"2026-05-01T00:00:00Z", "2026-05-03T00:00:00Z",
		},
		"a window is shut by a later": {
			both(daily("08:00", "07:00", ""), frozen("2026-05-01T12:00", "2026-05-01T13:00", "")),
			"2026-05-01T12:00:00Z", "2026-05-01T13:00:00Z",
		},
	} {
		from, to := at(t, test.from), at(t, test.to)
		if got := test.calendar.At(from.Add(-time.Minute)); got.Closed || !got.Until.Equal(from) {
			t.Errorf("%s: before: got %+v, want open until %s", name, got, from)
		}
		for _, now := range []time.Time{from, to.Add(-1)} {
			if got := test.calendar.At(now); !got.Closed || !got.Until.Equal(to) {
				t.Errorf("%s: got %+v, want closed until %s", name, got, to)
			}
		}
		if got := test.calendar.At(to); got.Closed {
			t.Errorf("%s: after: got %+v, want open", name, got)
		}
	}
}

func TestReasons(t *testing.T) {
	t.Parallel()
	holidays := freezes(
		calendar.Freeze{Name: "Christmas", From: "2026-12-20", To: "2026-12-27", Zone: vienna},
		calendar.Freeze{Name: "audit", From: "2026-12-22", To: "2026-12-23"},
		calendar.Freeze{Name: "new year", From: "2026-12-27T12:00", To: "2027-01-06", Zone: newYork},
	)
	holidays.Windows = []calendar.Window{
		{From: "22:00", To: "05:00", Zone: "Asia/Kathmandu"},
		{Days: []string{"mon"}, From: "03:00", To: "04:00"},
	}
	for name, test := range map[string]struct {
		calendar   calendar.Calendar
		now, until string
		want       string
	}{
		"nothing written": {calendar.Calendar{}, "2026-12-20T00:00:00Z", "", ""},
		"all of the week": {daily("07:00", "07:00", vienna), "2026-03-20T00:00:00Z", "", ""},
		"all of the week, pieced": {
			windows(calendar.Window{From: "02:30", To: "20:00", Zone: vienna}, calendar.Window{From: "20:00", To: "02:30", Zone: vienna}),
			"2026-03-20T00:00:00Z", "", "",
		},
		"all of the week but what the clock skips next time": { // 29 March, but not 5 April
			windows(calendar.Window{Days: []string{"sun"}, From: "02:15", To: "00:00", Zone: vienna},
				calendar.Window{Days: []string{"mon-sat"}, From: "00:00", To: "02:00", Zone: vienna},
				calendar.Window{Days: []string{"mon-sat"}, From: "02:00", To: "24:00", Zone: vienna},
				calendar.Window{Days: []string{"sun"}, From: "00:00", To: "02:00", Zone: vienna}),
			"2026-03-22T01:15:00Z", "2026-04-05T00:00:00Z", "",
		},
		"all freezes are over": {frozen("2020-01-01", "2020-01-02", ""), "2026-12-20T00:00:00Z", "", ""},
		"outside": {
			holidays, "2026-12-19T11:00:00Z", "2026-12-19T16:15:00Z",
			"outside the windows; the next begins at 2026-12-19 22:00 +05:45 Asia/Kathmandu",
		},
		"open": {holidays, "2026-12-19T17:00:00Z", "2026-12-19T23:00:00Z", ""},
		"frozen": {
			holidays,
			"2026-12-20T17:00:00Z", "2026-12-27T17:00:00Z", `freeze "Christmas" until 2026-12-28 00:00 +01:00 Europe/Vienna`,
		},
		"a shorter one inside": {
			holidays,
			"2026-12-23T17:00:00Z", "2026-12-27T17:00:00Z", `freeze "Christmas" until 2026-12-28 00:00 +01:00 Europe/Vienna`,
		},
		"the one that ends last": {
			holidays,
			"2026-12-27T17:00:00Z", "2027-01-07T05:00:00Z", `freeze "new year" until 2027-01-07 00:00 -05:00 America/New_York`,
		},
		"in summer time": {
			frozen("2026-07-01", "2026-07-01", newYork),
			"2026-07-01T12:00:00Z", "2026-07-02T04:00:00Z", `freeze "x" until 2026-07-02 00:00 -04:00 America/New_York`,
		},
		"cannot be read": {
			daily("22:00", "05:00", "Europe/Wien"),
			"2026-12-20T00:00:00Z", "",
			"the calendar cannot be read: windows[0].zone: " + zoneMistake + `"Europe/Wien"`,
		},
		"a freeze cannot be read": {
			frozen("2026-12-20", "soon", ""),
			"2020-12-20T00:00:00Z", "",
			"the calendar cannot be read: freezes[0].to: " + dateMistake + `"soon"`,
		},
		"too much to be laid out": {
			windows(make([]calendar.Window, 101)...),
			"2020-12-20T00:00:00Z", "", "the calendar cannot be read: windows: has 101 windows; 100 is the most",
		},
		"names are quoted on show": {
			freezes(calendar.Freeze{Name: "a\x1b[2J", From: "2026-07-01", To: "2026-07-01"}),
			"2026-07-01T12:00:00Z", "2026-07-02T00:00:00Z", `freeze "a\x1b[2J" until 2026-07-02 00:00 +00:00 UTC`,
		},
	} {
		got := test.calendar.At(at(t, test.now))
		if got.Closed != (test.want != "") || got.Reason != test.want || !got.Until.Equal(at(t, test.until)) {
			t.Errorf("%s: got %+v,\nwant %q until %s", name, got, test.want, test.until)
		}
	}
}

// Two zones whose windows make up a whole day, until one of them puts its clock forward before the other.
func TestWindowsOfTwoZonesComeApart(t *testing.T) {
	t.Parallel()
	c := windows(calendar.Window{From: "08:00", To: "20:00", Zone: vienna}, calendar.Window{From: "14:00", To: "02:00", Zone: newYork})
	now, closes := at(t, "2026-01-10T12:00:00Z"), at(t, "2026-03-09T06:00:00Z")
	for asked := 0; now.Before(closes); asked++ {
		got := c.At(now)
		if got.Closed || !got.Until.After(now) || asked > 10 {
			t.Fatalf("at %s, asked %d times: got %+v, want open until %s, asked seldom", now, asked, got, closes)
		}
		now = got.Until
	}
	if got, want := c.At(closes), at(t, "2026-03-09T07:00:00Z"); !got.Closed || !now.Equal(closes) || !got.Until.Equal(want) {
		t.Errorf("at %s: got %+v, want closed from %s to %s", now, got, closes, want)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	bad := calendar.Calendar{
		Windows: []calendar.Window{
			{Days: []string{"mon", "Tue", "fri-sun-mon", ""}, From: "22:60", To: "", Zone: "Local"},
			{From: "24:00", To: "7:00", Zone: "right/UTC"},
			{Days: []string{"fri-mon"}, From: "00:00", To: "24:00", Zone: vienna},
		},
		Freezes: []calendar.Freeze{
			{From: "2026-02-29", To: "2026-12-20 18:00", Zone: "../etc/passwd"},
			{Name: "backwards", From: "2026-12-20", To: "2026-12-19"},
			{Name: "nothing", From: "2026-12-20T10:00", To: "2026-12-20T10:00"},
			{Name: strings.Repeat("x", 101), From: "2026-12-20T10:00Z", To: "2026-12-20T9:00"},
			{Name: "good", From: "2026-12-20", To: "2026-12-20"},
		},
	}
	timeMistake := "must be a time of day such as 05:00 or 22:30, is "
	dayMistake := "must be one of mon, tue, wed, thu, fri, sat, sun, or a range such as mon-fri, is "
	nameMistake := "must be 1 to 100 bytes; people read it when they ask why nothing moves"
	want := []fault.Problem{
		{Path: "calendar.windows[0].from", Message: timeMistake + `"22:60"`},
		{Path: "calendar.windows[0].to", Message: timeMistake + `""`},
		{Path: "calendar.windows[0].days[1]", Message: dayMistake + `"Tue"`},
		{Path: "calendar.windows[0].days[2]", Message: dayMistake + `"fri-sun-mon"`},
		{Path: "calendar.windows[0].days[3]", Message: dayMistake + `""`},
		{Path: "calendar.windows[0].zone", Message: zoneMistake + `"Local"`},
		{Path: "calendar.windows[1].from", Message: timeMistake + `"24:00"`},
		{Path: "calendar.windows[1].to", Message: timeMistake + `"7:00"`},
		{Path: "calendar.windows[1].zone", Message: zoneMistake + `"right/UTC"`},
		{Path: "calendar.freezes[0].name", Message: nameMistake},
		{Path: "calendar.freezes[0].zone", Message: zoneMistake + `"../etc/passwd"`},
		{Path: "calendar.freezes[0].from", Message: dateMistake + `"2026-02-29"`},
		{Path: "calendar.freezes[0].to", Message: dateMistake + `"2026-12-20 18:00"`},
		{Path: "calendar.freezes[1].to", Message: "must be after from (2026-12-20), is 2026-12-19"},
		{Path: "calendar.freezes[2].to", Message: "must be after from (2026-12-20T10:00), is 2026-12-20T10:00"},
		{Path: "calendar.freezes[3].name", Message: nameMistake},
		{Path: "calendar.freezes[3].from", Message: dateMistake + `"2026-12-20T10:00Z"`},
		{Path: "calendar.freezes[3].to", Message: dateMistake + `"2026-12-20T9:00"`},
	}
	if diff := cmp.Diff(want, bad.Check("calendar")); diff != "" {
		t.Errorf("problems differ (-want +got):\n%s", diff)
	}
	if got := (calendar.Calendar{}).Check("calendar"); len(got) > 0 {
		t.Errorf("got %v of an empty calendar, want nothing", got)
	}
	tooMany := calendar.Calendar{Windows: make([]calendar.Window, 101), Freezes: make([]calendar.Freeze, 101)}
	if got := tooMany.Check(""); len(got) != 2 || got[0].Path != "windows" || got[1].Path != "freezes" {
		t.Errorf("got %v, want one problem for all windows and one for all freezes", got)
	}
}

func TestWrittenAndRead(t *testing.T) {
	t.Parallel()
	want := calendar.Calendar{
		Windows: []calendar.Window{{Days: []string{"mon-fri"}, From: "22:00", To: "05:00", Zone: vienna}},
		Freezes: []calendar.Freeze{{Name: "Christmas", From: "2026-12-20", To: "2027-01-06T12:00"}},
	}
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got calendar.Calendar
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("calendar differs after %s (-want +got):\n%s", data, diff)
	}
}
