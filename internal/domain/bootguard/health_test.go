package bootguard_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
)

func TestWorse(t *testing.T) {
	t.Parallel()
	base := bootguard.Health{
		Listed: true, Failed: []string{"old.service"}, Restarts: []bootguard.Restarts{{"sensor.service", 1}},
		Kernel: true, Tainted: 1 << 12, Pressure: []bootguard.Pressure{{"memory", 5}}, Route: bootguard.Yes, Names: bootguard.Yes,
	}
	with := func(change func(h *bootguard.Health)) bootguard.Health {
		h := base
		change(&h)
		return h
	}
	for name, test := range map[string]struct {
		base, now bootguard.Health
		want      []string
	}{
		"the same":                    {base, base, nil},
		"nothing to compare with":     {bootguard.Health{}, with(func(h *bootguard.Health) { h.Failed = []string{"x"}; h.Route = bootguard.No }), nil},
		"nothing can be found out":    {base, bootguard.Health{}, nil},
		"a unit failed":               {base, with(func(h *bootguard.Health) { h.Failed = []string{"new.service", "old.service"} }), []string{"unit new.service failed"}},
		"one restart":                 {base, with(func(h *bootguard.Health) { h.Restarts = []bootguard.Restarts{{"sensor.service", 2}} }), nil},
		"restarts":                    {base, with(func(h *bootguard.Health) { h.Restarts = []bootguard.Restarts{{"sensor.service", 3}} }), []string{"unit sensor.service was restarted 3 times, at the baseline 1"}},
		"restarts of another unit":    {base, with(func(h *bootguard.Health) { h.Restarts = []bootguard.Restarts{{"new.service", 30}} }), nil},
		"an oops":                     {base, with(func(h *bootguard.Health) { h.Tainted |= 1 << 7 }), []string{"the kernel is tainted by an oops"}},
		"a warning":                   {base, with(func(h *bootguard.Health) { h.Tainted |= 1 << 9 }), []string{"the kernel is tainted by a warning"}},
		"an out-of-tree module":       {base, with(func(h *bootguard.Health) { h.Tainted |= 1 << 13 }), nil},
		"pressure":                    {base, with(func(h *bootguard.Health) { h.Pressure = []bootguard.Pressure{{"memory", 60}} }), []string{"pressure on memory is 60 %, at the baseline 5 %"}},
		"a little pressure":           {base, with(func(h *bootguard.Health) { h.Pressure = []bootguard.Pressure{{"memory", 30}} }), nil},
		"no route":                    {base, with(func(h *bootguard.Health) { h.Route = bootguard.No }), []string{"there is no default route"}},
		"no route, nothing plugged":   {base, with(func(h *bootguard.Health) { h.Route = "" }), nil},
		"no names":                    {base, with(func(h *bootguard.Health) { h.Names = bootguard.No }), []string{"names are not resolved"}},
		"no route, and none before":   {with(func(h *bootguard.Health) { h.Route = bootguard.No }), with(func(h *bootguard.Health) { h.Route = bootguard.No }), nil},
		"tainted before as it is now": {with(func(h *bootguard.Health) { h.Tainted = 1 << 7 }), with(func(h *bootguard.Health) { h.Tainted = 1 << 7 }), nil},
	} {
		if diff := cmp.Diff(test.want, bootguard.Worse(test.base, test.now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A host that always has many failed units cannot be judged by them: the baseline does not hold them all.
func TestWorseWithMoreFailedUnitsThanAreKept(t *testing.T) {
	t.Parallel()
	many := make([]string, 40)
	for i := range many {
		many[i] = string(rune('a' + i))
	}
	s, _ := bootguard.Step(bootguard.State{}, bootguard.Blessed{Boot: "b", Baseline: bootguard.Health{Listed: true, Failed: many}})
	if got := bootguard.Worse(s.Baseline, bootguard.Health{Listed: true, Failed: many}); got != nil {
		t.Errorf("got %v, want nothing", got)
	}
}

// What could not be found out this time stays as it was: a host without its network for one boot has not lost its baseline.
func TestTheBaselineKeepsWhatIsNotKnownNow(t *testing.T) {
	t.Parallel()
	full := bootguard.Health{
		Listed: true, Failed: []string{"x"}, Restarts: []bootguard.Restarts{{"u", 1}}, Kernel: true, Tainted: 3,
		Pressure: []bootguard.Pressure{{"io", 1}}, Route: bootguard.Yes, Names: bootguard.Yes,
	}
	s, _ := bootguard.Step(bootguard.State{}, bootguard.Blessed{Boot: "b1", Baseline: full})
	s, _ = bootguard.Step(s, bootguard.Blessed{Boot: "b2"})
	if diff := cmp.Diff(full, s.Baseline); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	s, _ = bootguard.Step(s, bootguard.Blessed{Boot: "b3", Baseline: bootguard.Health{Listed: true}})
	if slices.Contains(s.Baseline.Failed, "x") || s.Baseline.Route != bootguard.Yes {
		t.Errorf("got %+v, want no failed unit and the route as before", s.Baseline)
	}
}
