package sim_test

import (
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
	"github.com/firebreak-dev/firebreak/internal/resource"
	"github.com/firebreak-dev/firebreak/internal/sim"
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
	return document.Spec.Defaulted()
}

// worth is what the defences of a scenario are worth, in hosts harmed on average on a reduced fleet. Validation is always out, but for
// the row that shows it.
type worth struct {
	name    string
	hosts   int64
	runs    int
	most    float64 // ceiling with all other defences
	rings   float64 // floor without rings
	breaker float64 // floor without the breaker
	day     float64 // floor without any
}

// played is how long a rollout is played. Faults that come late, or in few strata, need it.
const played = 3 * time.Hour

// All incidents but SentinelOne's, where no release harmed anybody: that is TestControlPlaneAway. Hosts harmed with all defences do not
// grow with the fleet, without rings they do: floors are for the reduced fleet.
func TestScenarios(t *testing.T) {
	t.Parallel()
	for _, c := range []worth{
		{"azure-2025-10-29", 60_000, 3, 40, 300, 50_000, 50_000},
		{"bitdefender-2010-03-20", 20_000, 20, 10, 200, 5, 2500},
		{"cloudflare-2019-07-02", 20_000, 20, 3, 1000, 25, 18_000},
		{"cloudflare-2025-11-18", 20_000, 20, 36, 5000, 25, 18_000},
		{"cloudflare-2025-12-05", 20_000, 20, 8, 500, 5, 5000},
		{"crowdstrike-2024-07-19", 20_000, 20, 3, 1000, 25, 9000},
		{"crowdstrike-linux-2024-04", 60_000, 3, 14, 100, 5, 1000},
		{"datadog-2023-03-08", 20_000, 20, 12, 8000, 10, 10_000},
		{"facebook-2021-10-04", 5000, 20, 6, 4000, 25, 4500},
		{"google-2025-06-12", 20_000, 20, 3, 1000, 25, 18_000},
		{"malwarebytes-2013-04-15", 20_000, 20, 10, 500, 20, 8000},
		{"mcafee-2010-04-21", 20_000, 10, 15, 2000, 10, 4000},
		{"panda-2015-03-11", 60_000, 4, 70, 100, 40, 1500},
		{"rogers-2022-07-08", 2000, 20, 6, 1500, 25, 1800},
		{"sophos-2012-09-19", 20_000, 20, 4, 500, 25, 9000},
		{"webroot-2017-04-24", 20_000, 20, 12, 200, 5, 2500},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.hosts > 20_000 {
				fulltest.Only(t)
			}
			c.check(t)
		})
	}
}

func (c worth) check(t *testing.T) {
	s, err := sim.Named(c.name)
	if err != nil {
		t.Fatal(err)
	}
	s = s.Sized(c.hosts)
	s.Fleet.Strata = min(s.Fleet.Strata, 50) // each look weighs each of them, and without rings there are many looks
	all := c.play(t, s, c.runs, sim.Defences{NoValidation: true})
	if all.Harmed.Mean > c.most {
		t.Errorf("with all defences: got %.1f harmed on average, want at most %g", all.Harmed.Mean, c.most)
	}
	if all.NeedsHands.Max > 0 {
		t.Errorf("with all defences: got %.0f hosts that need hands, want none", all.NeedsHands.Max)
	}
	if all.FalseHalts > 0 {
		t.Errorf("got %d false halts", all.FalseHalts)
	}
	if got := c.play(t, s, 1, sim.Defences{}); s.Defences.Validator && got.Exposed.Max > 0 {
		t.Errorf("with validation: got %.0f hosts exposed, want none", got.Exposed.Max)
	}
	c.floor(t, s, "rings", sim.Defences{NoValidation: true, NoRings: true}, c.rings)
	c.floor(t, s, "breaker", sim.Defences{NoValidation: true, NoBreaker: true}, c.breaker)
	hands := c.play(t, s, 1, sim.Defences{NoValidation: true, NoRecovery: true})
	if hands.NeedsHands != hands.Harmed {
		t.Errorf("without recovery: got %+v for hands, want all that were harmed, %+v", hands.NeedsHands, hands.Harmed)
	}
	c.floor(t, s, "any", sim.Defences{NoValidation: true, NoRings: true, NoBreaker: true, NoRecovery: true}, c.day)
}

func (c worth) floor(t *testing.T, s sim.Scenario, without string, d sim.Defences, least float64) {
	t.Helper()
	if got := c.play(t, s, 1, d).Harmed.Mean; got < least {
		t.Errorf("without %s: got %.1f harmed, want at least %g: the scenario does not show what it is worth", without, got, least)
	}
}

func (c worth) play(t *testing.T, s sim.Scenario, runs int, d sim.Defences) sim.Summary {
	t.Helper()
	d.Validator = s.Defences.Validator
	s.Defences = d
	o := sim.ManyOptions{Options: sim.Options{Horizon: played}, Runs: runs, Seed: 1, Workers: 1}
	sum, err := sim.Many(t.Context(), s, shipped(t, s.Plan), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%-26s %-42s %9.1f harmed %9.0f exposed %9.0f need hands  halted %d, held %d, frozen %d of %d",
		c.name, d, sum.Harmed.Mean, sum.Exposed.Mean, sum.NeedsHands.Mean, sum.HaltedRuns, sum.HeldRuns, sum.FrozenRuns, sum.Runs)
	return sum
}
