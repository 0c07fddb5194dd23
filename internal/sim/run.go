package sim

import (
	"context"
	"math"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Options of a run. The zero value is fine.
type Options struct {
	Horizon  time.Duration                                        // how long a rollout is played at most; default 24 h
	Brief    bool                                                 // end when the update is done
	Progress func(exposed int64)                                  // called once a simulated minute
	Tape     func(rollout.Event, rollout.State, []rollout.Effect) // called after each step; the state is Step's own: clone what is kept
}

// Run plays one rollout of the scenario on the plan. Both are checked and defaulted. It ends early with ctx, with ctx's error.
func Run(ctx context.Context, s Scenario, p plan.Plan, seed uint64, o Options) (Result, error) {
	p = s.Defences.on(p)
	if !s.Defences.NoValidation && s.Defences.Validator {
		return Result{Seed: seed, Phase: "rejected"}, nil
	}
	if o.Horizon == 0 {
		o.Horizon = 24 * time.Hour
	}
	w := newWorld(s, p, seed)
	w.tape, w.brief, w.result.Seed = o.Tape, o.Brief, seed
	err := w.play(ctx, int32(o.Horizon.Seconds()), o.Progress)
	return w.result, err
}

// on takes defences out of a plan, as the day had none.
func (d Defences) on(p plan.Plan) plan.Plan {
	if d.NoRings {
		p.Rings = []plan.Ring{{Name: "everybody", Share: 1}}
		p.Window = plan.Window{Start: math.MaxInt32, Growth: 1, Max: math.MaxInt32}
		p = p.Defaulted()
	}
	if d.NoBreaker {
		p.Breaker.Alpha, p.Breaker.Amber = math.NaN(), math.NaN() // no evidence is ever enough, an infinite one neither
		p.Strata = []string{"class"}                              // nobody asks them, and to judge a thousand for each harmed host takes hours
	}
	return p
}

// Memory is about what one run needs, in bytes.
func Memory(s Scenario) int64 { return 12*s.Fleet.Hosts + 100*s.Fleet.Sites + 64<<20 }

// CheckMemory refuses a scenario that would not fit. Available is in bytes; 0 means unknown.
func CheckMemory(s Scenario, runs int, available int64) error {
	if need := Memory(s) * int64(runs); available > 0 && need > available {
		return fault.New(fault.Invalid, "simulate %d hosts, %d runs at a time: about %d MB are needed and %d MB are free", s.Fleet.Hosts, runs, need>>20, available>>20).
			Hint("simulate fewer hosts: what is harmed hardly depends on the size of the fleet")
	}
	return nil
}
