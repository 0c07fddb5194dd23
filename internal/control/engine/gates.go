package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// answers are what the gates of a ring said. They are asked while nobody waits: a look takes the answers to what the look before asked.
type answers struct {
	mu      sync.Mutex
	asking  bool
	ring    int
	results []evidence.GateResult
	at      time.Time // when they came
}

// answered is how long an answer stands: until the look after the next.
const answered = 2 * idleWake

// of is what is known of a ring's gates; nil if nothing is that still stands.
func (a *answers) of(ring int, now time.Time) []evidence.GateResult {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ring != ring || now.Sub(a.at).Abs() > answered {
		return nil
	}
	return slices.Clone(a.results)
}

// begin tells whether a question may be put now: one at a time.
func (a *answers) begin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.asking {
		return false
	}
	a.asking = true
	return true
}

func (a *answers) end(ring int, results []evidence.GateResult, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asking, a.ring, a.results, a.at = false, ring, results, at
}

// askGates puts the questions of the open ring's gates, for the next look. The caller holds the rollout's lock; the answers wait for no
// lock but their own.
func (e *Engine) askGates(ctx context.Context, r *entry) {
	ring := r.state.Ring
	gates := r.state.Plan.Rings[ring].Evidence.Gates
	if e.Gates == nil || len(gates) == 0 || r.state.Phase != rollout.Running || !r.asked.begin() {
		return
	}
	e.asking.Go(func() { // ends with its answer, or with Run's context
		r.asked.end(ring, e.Gates.Ask(ctx, gates), e.Clock.Now())
	})
}
