package engine

import (
	"context"
	"sync"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// stop is a halt or a roll-back that an operator wants. From that moment on nobody gets a lease of the rollout, whatever the database does;
// it is stored as soon as the database lets it.
type stop struct {
	mu     sync.Mutex
	wanted *rollout.OperatorActed
}

func stops(a rollout.Action) bool { return a == rollout.Halt || a == rollout.RollBack }

// want notes a stop. A halt does not replace a roll-back, which is more.
func (s *stop) want(c rollout.OperatorActed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted == nil || s.wanted.Action == rollout.Halt {
		s.wanted = &c
	}
}

// pending is the stop that is wanted and not stored.
func (s *stop) pending() (rollout.OperatorActed, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted == nil {
		return rollout.OperatorActed{}, false
	}
	return *s.wanted, true
}

// done forgets the stop: it is stored, or there is nothing to stop any more.
func (s *stop) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = nil
}

// stop carries out a halt or a roll-back.
func (e *Engine) stop(ctx context.Context, r *entry, id string, c rollout.OperatorActed) (api.Rollout, error) {
	r.stop.want(c) // before anything that may wait
	if err := e.hold(ctx, r); err != nil {
		return api.Rollout{}, stopped(c, id, err)
	}
	defer r.mu.Unlock()
	shown, err := e.command(ctx, r, id, c)
	if err == nil || fault.KindOf(err) == fault.Conflict {
		r.stop.done()
		return shown, err
	}
	return api.Rollout{}, stopped(c, id, err)
}

// keepStop stores a stop that could not be stored when it was wanted. The caller holds the entry's lock.
func (e *Engine) keepStop(ctx context.Context, r *entry) error {
	c, wanted := r.stop.pending()
	if !wanted {
		return nil
	}
	c.At = stamp(e.Clock.Now())
	if _, err := e.step(ctx, r, c); err != nil {
		return err
	}
	r.stop.done()
	return nil
}

// stopped explains to an operator what an error means for a stop.
func stopped(c rollout.OperatorActed, id string, err error) error {
	return fault.New(fault.Unavailable, "%s rollout %s: it is not stored yet: %w", c.Action, id, err).
		Hint("no host gets a lease of it from this moment on; it is stored by itself once the database is back, unless the server stops before: look at 'firebreak rollout show %s'", id)
}
