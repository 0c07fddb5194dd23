package rollout_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	stratum := func(os, kernel string, leased, harmed int64) rollout.Stratum {
		return rollout.Stratum{Name: os + kernel, Select: fleet.Selector{"os": {os}, "kernel": {kernel}}, Leased: leased, Harmed: harmed}
	}
	for _, c := range []struct {
		name   string
		strata []rollout.Stratum
		want   []rollout.Explanation
	}{
		{"nothing is known", nil, nil},
		{"nobody is harmed", []rollout.Stratum{stratum("linux", "6", 50, 0), stratum("windows", "10", 50, 0)}, nil},
		{"everybody is harmed alike", []rollout.Stratum{stratum("linux", "6", 50, 5), stratum("windows", "10", 50, 5)}, nil},
		{"there is only one sort", []rollout.Stratum{stratum("linux", "6", 50, 50)}, nil},
		{"one host is no pattern", []rollout.Stratum{stratum("linux", "6", 5, 1), stratum("linux", "5", 5, 0)}, nil},
		{
			"the kernel, whatever the system",
			[]rollout.Stratum{stratum("linux", "6", 20, 10), stratum("linux", "5", 20, 0), stratum("bsd", "6", 20, 10), stratum("bsd", "5", 20, 0)},
			[]rollout.Explanation{{Key: "kernel", Value: "6", Harmed: 20, Exposed: 40, ExposedElsewhere: 40}},
		},
		{
			"the system says more than one of its kernels",
			[]rollout.Stratum{stratum("linux", "6", 20, 10), stratum("linux", "5", 20, 10), stratum("bsd", "4", 20, 1), stratum("bsd", "5", 20, 0)},
			[]rollout.Explanation{{Key: "os", Value: "linux", Harmed: 20, Exposed: 40, HarmedElsewhere: 1, ExposedElsewhere: 40}},
		},
	} {
		state := rollout.State{Strata: c.strata}
		got := state.Explain()
		if len(got) > 1 {
			got = got[:1] // the best; what follows is correlated with it
		}
		if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(rollout.Explanation{}, "Weight"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
