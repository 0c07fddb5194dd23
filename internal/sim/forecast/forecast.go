// Package forecast plays what bad releases would cost under a plan on a fleet, in the time that somebody waits for a page. It plays a few
// runs of each kind with a bounded amount of work, one forecast at a time, and remembers what it played.
//
// The amount of work is counted in steps, not in seconds, and the seeds are fixed: the same plan on the same fleet gives the same figures
// on any machine, however busy it is.
//
// Larger fleets are played at a smaller scale. A fault in every host is found in the first ring and costs the same however many hosts there
// are; one in few hosts costs more where rings are shares of the fleet and there is more of it to expose. Who wants more runs, other effects or a good release plays them with `firebreak plan simulate`.
package forecast

import (
	"context"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/sim"
)

const (
	mostHosts   = 10_000  // that are played
	mostRuns    = 10      // of a case
	mostWork    = 400_000 // of a case, in steps of a rollout: most of a second for the slow ones
	mostWaiting = 4       // who want a forecast while another is played; more are put off
	seed        = 1       // run k has this plus k

	minuteWork = 300 // what a simulated minute costs besides its steps
	hostShare  = 20  // so many hosts cost as much as a step to set up

	patience = 60 // minutes at amber without anybody exposed, after which nothing but a person moves a rollout
)

// Forecaster plays forecasts, one at a time. It is safe for concurrent use and starts no goroutine.
type Forecaster struct {
	clock   clock.Clock
	turn    chan struct{} // held by the one who plays
	waiting chan struct{} // held by those who wait for it
	played  memory
}

// New makes a forecaster. The clock says when a forecast was made and when it is too old to be told again; it plays no part in the game.
func New(c clock.Clock) *Forecaster {
	return &Forecaster{clock: c, turn: make(chan struct{}, 1), waiting: make(chan struct{}, mostWaiting)}
}

// Forecast plays the usual bad releases under a plan, checked and defaulted, on a fleet of those groups. A fleet of which nobody was heard
// is a fault.Conflict. While others play it waits for its turn; if too many wait, or ctx ends, it is a fault.Unavailable. What was played
// for a fleet of nearly the same shape within the last hour is told again.
func (f *Forecaster) Forecast(ctx context.Context, p plan.Plan, groups []api.FleetGroup) (api.Forecast, error) {
	key, err := keyOf(p, groups)
	if err != nil {
		return api.Forecast{}, err
	}
	if known, ok := f.played.get(key, f.clock.Now()); ok {
		return told(known, groups), nil
	}
	done, err := f.wait(ctx, p)
	if err != nil {
		return api.Forecast{}, err
	}
	defer done()
	if known, ok := f.played.get(key, f.clock.Now()); ok { // whoever played before us wanted the same
		return told(known, groups), nil
	}
	fresh, err := play(ctx, p, groups)
	if err != nil {
		return api.Forecast{}, err
	}
	fresh.Taken = f.clock.Now().UTC()
	f.played.put(key, fresh)
	return fresh, nil
}

// wait waits for a turn, which ends when done is called.
func (f *Forecaster) wait(ctx context.Context, p plan.Plan) (done func(), err error) {
	select {
	case f.waiting <- struct{}{}:
	default:
		return nil, fault.New(fault.Unavailable, "forecast plan %s: others are being played", p.Name).Hint("Ask again in some seconds.")
	}
	defer func() { <-f.waiting }()
	select {
	case f.turn <- struct{}{}:
		return func() { <-f.turn }, nil
	case <-ctx.Done():
		return nil, givenUp(p)
	}
}

func givenUp(p plan.Plan) error {
	return fault.New(fault.Unavailable, "forecast plan %s: it took too long and was given up", p.Name).
		Hint("Ask again in some seconds, or play it on your own machine: firebreak plan simulate.")
}

// told is a remembered forecast for a fleet that has changed a little.
func told(known api.Forecast, groups []api.FleetGroup) api.Forecast {
	known.Fleet = sizeOf(groups)
	return known
}

// cases are what is played, the cheapest first.
func cases() []api.ForecastCase {
	return []api.ForecastCase{
		{Name: "crashes every host", Effect: 1},
		{Name: "silences every host", Effect: 1, Silent: true},
		{Name: "silences one host in 10", Effect: 0.1, Silent: true},
		{Name: "crashes one host in 100", Effect: 0.01},
	}
}

func play(ctx context.Context, p plan.Plan, groups []api.FleetGroup) (api.Forecast, error) {
	scaled := scale(groups, mostHosts)
	s, err := sim.FromProfile(api.FleetProfile{Groups: scaled}, sim.Fault{})
	if err != nil {
		return api.Forecast{}, err
	}
	answer := api.Forecast{Plan: p.Name, Hosts: s.Fleet.Hosts, Fleet: sizeOf(groups), Bound: p.Bound().Hosts, Cases: cases()}
	for i := range answer.Cases {
		k := &answer.Cases[i]
		s.Fault = sim.Fault{Effect: k.Effect, Reports: !k.Silent}
		if err := endure(ctx, s.Defaulted(), p, k); err != nil {
			return api.Forecast{}, err
		}
	}
	return answer, nil
}

// endure plays one case until it has its runs or has done its work.
func endure(ctx context.Context, s sim.Scenario, p plan.Plan, k *api.ForecastCase) error {
	var harmed, minutes []float64
	for work := int64(0); k.Runs < mostRuns && work < mostWork; k.Runs++ {
		r, err := once(ctx, s, p, seed+uint64(k.Runs), mostWork-work)
		if err != nil {
			return err
		}
		work += r.work
		harmed = append(harmed, float64(r.harmed))
		switch {
		case r.stopped != nil:
			k.Stopped++
			minutes = append(minutes, r.stopped.Sub(s.Start).Minutes())
		case r.frozen:
			k.Frozen++
		}
	}
	stats := sim.StatsOf(harmed)
	k.Mean, k.P99, k.Minutes = stats.Mean, int64(stats.P99), sim.StatsOf(minutes).Mean
	return nil
}

// run is what came of one run, as far as it was played.
type run struct {
	harmed  int64
	stopped *time.Time // when the breaker tripped or held a part of the fleet; nil if it did not
	frozen  bool       // the breaker is at amber: whether the rollout goes on is for a person to say
	work    int64
}

// once plays a run until it is over, has been frozen for a while, or has cost so much work. One that is cut off counts with what it had
// harmed by then: what comes later is the slow end of a rollout that nothing stopped.
func once(ctx context.Context, s sim.Scenario, p plan.Plan, seed uint64, most int64) (run, error) {
	playing, cut := context.WithCancel(ctx)
	defer cut()
	r := run{work: s.Fleet.Hosts / hostShare}
	before, still := int64(0), 0
	result, err := sim.Run(playing, s, p, seed, sim.Options{
		Horizon: horizon(p), Brief: true,
		Progress: func(exposed int64) {
			r.work += minuteWork
			if still++; exposed != before || !r.frozen {
				before, still = exposed, 0
			}
			if r.work >= most || still >= patience {
				cut()
			}
		},
		Tape: func(_ rollout.Event, state rollout.State, _ []rollout.Effect) {
			r.work++
			r.frozen = state.Alarm == breaker.Amber
			if r.stopped == nil {
				r.stopped = stoppedAt(state)
			}
		},
	})
	if ctx.Err() != nil {
		return run{}, givenUp(p)
	}
	if err != nil && playing.Err() == nil {
		return run{}, err
	}
	r.harmed = result.Harmed
	return r, nil
}

// stoppedAt is when the breaker stopped a rollout, or a part of it; nil if it has not.
func stoppedAt(s rollout.State) *time.Time {
	switch {
	case len(s.Holds) > 0:
		at := s.Holds[0].At
		return &at
	case s.Phase == rollout.Tripped:
		at := s.Ended
		return &at
	}
	return nil
}

// horizon is how long a rollout is played at most: as long as its plan asks for, and a day.
func horizon(p plan.Plan) time.Duration {
	last := len(p.Rings) - 1
	return 24*time.Hour + p.NotBefore(last) + time.Duration(p.Rings[last].Evidence.Bake)
}
