package plan_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// Every gate of the signed plan must be asked, as strictly; others may come on top, and names do not matter.
func TestWithinHoldsGates(t *testing.T) {
	t.Parallel()
	at := func(v float64) *float64 { return &v }
	errors := evidence.Gate{Name: "errors", Query: "errors", Below: at(0.01)}
	check := evidence.Gate{Name: "check", URL: "https://example.org/ready"}
	signed := sound()
	signed.Rings[1].Evidence.Gates = []evidence.Gate{errors}
	for name, test := range map[string]struct {
		gates []evidence.Gate
		want  []string
	}{
		"the same":       {[]evidence.Gate{errors}, nil},
		"another on top": {[]evidence.Gate{check, errors}, nil},
		"another name":   {[]evidence.Gate{{Name: "failures", Query: "errors", Below: at(0.01)}}, nil},
		"stricter":       {[]evidence.Gate{{Name: "errors", Query: "errors", Below: at(0.001)}}, nil},
		"left out":       {nil, []string{"rings[1].evidence.gates"}},
		"another":        {[]evidence.Gate{check}, []string{"rings[1].evidence.gates"}},
		"met more easily": {
			[]evidence.Gate{{Name: "errors", Query: "errors", Below: at(0.1)}}, []string{"rings[1].evidence.gates"},
		},
	} {
		wanted := sound()
		wanted.Rings[1].Evidence.Gates = test.gates
		if diff := cmp.Diff(test.want, paths(plan.Within(signed, wanted))); diff != "" {
			t.Errorf("%s: problems differ (-want +got):\n%s", name, diff)
		}
	}
}

// A plan may be open less often than the signed one, never more often.
func TestWithinHoldsTheCalendar(t *testing.T) {
	t.Parallel()
	night := calendar.Window{Days: []string{"mon", "tue"}, From: "22:00", To: "05:00", Zone: "UTC"}
	weekend := calendar.Window{Days: []string{"sat-sun"}, From: "00:00", To: "00:00"}
	winter := calendar.Freeze{Name: "winter", From: "2026-12-20", To: "2027-01-06", Zone: "Europe/Vienna"}
	summer := calendar.Freeze{Name: "summer", From: "2026-08-01", To: "2026-08-15"}
	signed := calendar.Calendar{Windows: []calendar.Window{night, weekend}, Freezes: []calendar.Freeze{winter}}
	renamed, sameNight, longer, elsewhere := winter, night, night, winter
	shorter := winter
	shorter.To = "2027-01-05"
	renamed.Name, sameNight.Zone, sameNight.Days, longer.To, elsewhere.Zone = "Christmas", "", []string{"tue", "mon"}, "06:00", "UTC"
	for name, test := range map[string]struct {
		signed, wanted calendar.Calendar
		want           []string
	}{
		"none":                     {calendar.Calendar{}, calendar.Calendar{}, nil},
		"the same":                 {signed, signed, nil},
		"written otherwise":        {signed, calendar.Calendar{Windows: []calendar.Window{weekend, sameNight}, Freezes: []calendar.Freeze{renamed}}, nil},
		"fewer windows":            {signed, calendar.Calendar{Windows: []calendar.Window{night}, Freezes: []calendar.Freeze{winter}}, nil},
		"more freezes":             {signed, calendar.Calendar{Windows: signed.Windows, Freezes: []calendar.Freeze{summer, winter}}, nil},
		"windows where none were":  {calendar.Calendar{}, signed, nil},
		"no windows":               {signed, calendar.Calendar{Freezes: signed.Freezes}, []string{"calendar.windows"}},
		"a longer window":          {signed, calendar.Calendar{Windows: []calendar.Window{weekend, longer}, Freezes: signed.Freezes}, []string{"calendar.windows[1]"}},
		"no freeze":                {signed, calendar.Calendar{Windows: signed.Windows}, []string{"calendar.freezes"}},
		"another freeze":           {signed, calendar.Calendar{Windows: signed.Windows, Freezes: []calendar.Freeze{summer}}, []string{"calendar.freezes"}},
		"a shorter freeze":         {signed, calendar.Calendar{Windows: signed.Windows, Freezes: []calendar.Freeze{shorter}}, []string{"calendar.freezes"}},
		"a freeze in another zone": {signed, calendar.Calendar{Windows: signed.Windows, Freezes: []calendar.Freeze{elsewhere}}, []string{"calendar.freezes"}},
	} {
		was, wanted := sound(), sound()
		was.Calendar, wanted.Calendar = test.signed, test.wanted
		if diff := cmp.Diff(test.want, paths(plan.Within(was, wanted))); diff != "" {
			t.Errorf("%s: problems differ (-want +got):\n%s", name, diff)
		}
	}
}

// A plan may ask more of hosts than the signed one, never less.
func TestWithinHoldsThePosture(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		signed, wanted []string
		want           []string
	}{
		"none":     {nil, nil, nil},
		"the same": {[]string{"guard", "good"}, []string{"good", "guard"}, nil},
		"more":     {nil, []string{"guard"}, nil},
		"less":     {[]string{"guard", "good"}, []string{"guard"}, []string{"posture"}},
		"another":  {[]string{"guard"}, []string{"good"}, []string{"posture"}},
	} {
		was, wanted := sound(), sound()
		was.Posture, wanted.Posture = test.signed, test.wanted
		if diff := cmp.Diff(test.want, paths(plan.Within(was, wanted))); diff != "" {
			t.Errorf("%s: problems differ (-want +got):\n%s", name, diff)
		}
	}
}
