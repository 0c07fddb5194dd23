package engine

import (
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// ManyHarmed is how many harmed hosts of a rollout are news each.
const ManyHarmed = manyHarmed

// NotableOf tells how much an event has to say that left this state, and came to these effects.
func NotableOf(next *rollout.State, effects []rollout.Effect) store.Notable {
	return notable(next, effects)
}

// Asking tells how many wishes wait for a rollout's lock.
func (e *Engine) Asking(id rollout.ID) int {
	r, err := e.entry(id)
	if err != nil {
		return 0
	}
	r.asks.mu.Lock()
	defer r.asks.mu.Unlock()
	return len(r.asks.queue)
}
