package plans_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/resource"
	"github.com/firebreak-dev/firebreak/plans"
)

func shipped(t *testing.T, name string) plan.Plan {
	t.Helper()
	data, ok := plans.Named(name)
	if !ok {
		t.Fatalf("there is no plan %s", name)
	}
	var document struct {
		Kind string    `json:"kind"`
		Spec plan.Plan `json:"spec"`
	}
	if err := resource.Decode(data, &document); err != nil {
		t.Fatal(err)
	}
	if document.Kind != "Plan" || document.Spec.Name != name {
		t.Errorf("%s.yaml: got a %s named %s", name, document.Kind, document.Spec.Name)
	}
	return document.Spec.Defaulted()
}

func TestNames(t *testing.T) {
	t.Parallel()
	want := []string{"agent-binary", "config", "content", "emergency", "package"}
	if diff := cmp.Diff(want, plans.Names()); diff != "" {
		t.Errorf("plans differ (-want +got):\n%s", diff)
	}
	for _, name := range []string{"", "plans.go", "../plans/content", "nothing"} {
		if _, ok := plans.Named(name); ok {
			t.Errorf("got a plan for the name %q", name)
		}
	}
}

// Each is sound, says what it is for, sets a budget that is tight, and is as fast as it says on 8.5 million hosts.
func TestShippedPlans(t *testing.T) {
	t.Parallel()
	const hosts = 8_500_000
	for name, takes := range map[string][2]time.Duration{
		"content":      {90 * time.Minute, 156 * time.Minute},
		"config":       {90 * time.Minute, 3 * time.Hour},
		"emergency":    {20 * time.Minute, 45 * time.Minute},
		"agent-binary": {3 * 24 * time.Hour, 8 * 24 * time.Hour},
		"package":      {5 * 24 * time.Hour, 14 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := shipped(t, name)
			if problems := p.Check(); len(problems) > 0 {
				t.Errorf("got %v", problems)
			}
			bound := p.Bound()
			if p.Budget.Hosts < bound.Hosts || p.Budget.Hosts > bound.Hosts*11/10 {
				t.Errorf("got a budget of %d hosts for a bound of %d: want it kept and tight\n%s", p.Budget.Hosts, bound.Hosts, strings.Join(bound.Steps, "\n"))
			}
			if got := p.Takes(hosts); got < takes[0] || got > takes[1] {
				t.Errorf("a good update takes %s on %d hosts, want %s to %s", got, hosts, takes[0], takes[1])
			}
			data, _ := plans.Named(name)
			for _, promise := range []string{"# What it costs:", "# What it bounds:"} {
				if !bytes.Contains(data, []byte(promise)) {
					t.Errorf("the file does not say %q", promise)
				}
			}
		})
	}
}

// What no shipped plan goes without.
func TestShippedPlansAreCareful(t *testing.T) {
	t.Parallel()
	for _, name := range plans.Names() {
		p := shipped(t, name)
		if p.Window.Start != 2 {
			t.Errorf("%s: got a first round of %d hosts, want 2", name, p.Window.Start)
		}
		if p.Caps.Tenant != 0.02 || p.Caps.Site != 0.02 {
			t.Errorf("%s: got caps %+v, want 2 %%", name, p.Caps)
		}
		if !p.Rings[len(p.Rings)-1].Holdback {
			t.Errorf("%s: nothing is held back, so its last hosts have no controls", name)
		}
		if p.Rings[1].Evidence.Strata != 0.001 {
			t.Errorf("%s: the early ring does not ask for every stratum", name)
		}
		if p.Emergency != (name == "emergency") {
			t.Errorf("%s: got emergency %t", name, p.Emergency)
		}
	}
	if p := shipped(t, "emergency"); p.Approvals != 2 {
		t.Errorf("got %d approvals for an emergency, want 2", p.Approvals)
	}
	for _, name := range []string{"agent-binary", "package"} {
		if p := shipped(t, name); p.Rings[0].Evidence.Boots == 0 {
			t.Errorf("%s: the first ring sees no boots", name)
		}
	}
}

// A release whose hosts report as much harm as the ceiling allows can show every bound that a ring asks for, with a margin of four standard
// deviations: a bound that good releases miss would only teach people to leave it out.
func TestExcessCanBeShown(t *testing.T) {
	t.Parallel()
	const hosts = 8_500_000
	for _, name := range plans.Names() {
		p := shipped(t, name)
		var exposed int64
		for k, r := range p.Rings {
			size := p.Size(k, hosts, exposed)
			exposed += size
			if best := bestExcess(size, p.Breaker.Ceiling); r.Evidence.ExcessBelow > 0 && best > r.Evidence.ExcessBelow {
				t.Errorf("%s: ring %s asks for less than %g, and %d hosts may show %.4g", name, r.Name, r.Evidence.ExcessBelow, size, best)
			}
		}
	}
}

func bestExcess(size int64, ceiling float64) float64 {
	expected := ceiling * float64(size)
	return evidence.UpperBound(int64(expected+4*math.Sqrt(expected)), size)
}
