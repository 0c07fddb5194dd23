package engine

import "github.com/firebreak-dev/firebreak/internal/domain/rollout"

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
