package sim_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/sim"
)

// story is a rollout on a small fleet with faults, all of it drawn from a seed.
type story struct {
	seed     uint64
	scenario sim.Scenario
	plan     plan.Plan
}

func one[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func minutes(n int) sim.Duration { return sim.Duration(time.Duration(n) * time.Minute) }

func draw(t *testing.T, seed uint64) story {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0x570))
	s := story{seed, drawScenario(rng), drawPlan(rng)}
	if problems := append(s.scenario.Check(), s.plan.Check()...); len(problems) > 0 {
		t.Fatalf("seed %d: %v", seed, problems)
	}
	return s
}

func drawScenario(rng *rand.Rand) sim.Scenario {
	s := sim.Scenario{
		Name: "story", Start: time.Date(2024, 7, 19, rng.IntN(24), 9, 0, 0, time.UTC),
		Fleet: sim.Fleet{
			Hosts: 50 + rng.Int64N(451), Sites: 2 + rng.Int64N(40), Tenants: 1 + rng.Int64N(2), Strata: 1 + rng.Int64N(8),
			Swing: one(rng, 0, 0.7), Soak: minutes(1 + rng.IntN(2)),
			Classes: []sim.Class{
				{Name: "server", Share: 0.5, Day: 0.97, Night: 0.97, Silence: one(rng, 0, 0.001, 0.02), Boots: 2},
				{Name: "laptop", Share: 0.5, Day: 0.9, Night: 0.5, Silence: 0.05 * rng.Float64(), Goodbye: 0.1 * rng.Float64(), Boots: 20},
			},
		},
		Fault: sim.Fault{
			Effect: one(rng, 0, 0, 0.02, 0.1, 0.5, 1), Strata: one(rng, 0, 0.2, 0.5), Delay: sim.Duration(one(rng, time.Second, time.Minute, time.Hour)),
			AtBoot: rng.IntN(6) == 0, Reports: rng.IntN(2) == 0, Floor: one(rng, 0, 0, 0.01), After: sim.Duration(one(rng, time.Second, 10*time.Minute)),
		},
		Defences: sim.Defences{NoRecovery: rng.IntN(4) == 0},
	}
	for range rng.IntN(3) {
		s.Outages = append(s.Outages, sim.Outage{
			At: minutes(rng.IntN(90)), For: minutes(1 + rng.IntN(10)), Scope: one(rng, "fleet", "site"), Share: one(rng, 0.3, 1),
		})
	}
	return s.Defaulted()
}

func drawPlan(rng *rand.Rand) plan.Plan {
	p := plan.Plan{
		Name: "story", Window: plan.Window{Start: 2 + rng.Int64N(7), Growth: one(rng, 1.5, 2.0, 4.0)},
		Lease: plan.Lease{Expires: minutes(1), Deadline: minutes(4 + rng.IntN(3))}, Approvals: one(rng, 0, 2),
		Caps:    plan.Caps{Tenant: one(rng, 0, 0.3), Site: one(rng, 0, 0.1, 0.3)},
		Breaker: breaker.Params{Alpha: one(rng, 1e-4, 1e-2), Ceiling: one(rng, 1e-3, 1e-2)},
	}
	size := int64(6)
	for k := range 1 + rng.IntN(3) {
		size += 1 + rng.Int64N(20)
		r := plan.Ring{Name: fmt.Sprintf("ring-%d", k), Hosts: size, Evidence: requirement(rng)}
		switch rng.IntN(4) {
		case 0:
			r.Prefer = fleet.Selector{"class": {"server"}}
		case 1:
			r.Select = fleet.Selector{"class": {"laptop"}}
		case 2:
			r.Evidence.Strata = 0.02
		}
		p.Rings = append(p.Rings, r)
	}
	p.Rings = append(p.Rings, plan.Ring{Name: "rest", Share: 1, Evidence: requirement(rng)})
	return p.Defaulted()
}

func requirement(rng *rand.Rand) evidence.Requirement {
	return evidence.Requirement{Confirmed: one(rng, 0.7, 0.9, 0), Bake: minutes(rng.IntN(6)), ExcessBelow: one(rng, 0, 0.95)}
}

// happening is one step of a story.
type happening struct {
	before, after rollout.State
	event         rollout.Event
	effects       []rollout.Effect
}

// play plays the story and shows each step. The states may be kept.
func (s story) play(t *testing.T, show func(happening)) sim.Result {
	t.Helper()
	var before rollout.State
	tape := func(e rollout.Event, after rollout.State, effects []rollout.Effect) {
		h := happening{before: before, after: after.Clone(), event: e, effects: effects}
		before = h.after
		show(h)
	}
	r, err := sim.Run(t.Context(), s.scenario, s.plan, s.seed, sim.Options{Horizon: 4 * time.Hour, Tape: tape})
	if err != nil {
		t.Fatal(err)
	}
	return r
}
