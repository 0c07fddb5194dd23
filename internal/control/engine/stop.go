package engine

import (
	"context"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func stops(a rollout.Action) bool { return a == rollout.Halt || a == rollout.RollBack }

// stop carries out a halt or a roll-back. It stays wanted until it is stored: what a database refuses to a leader whose term has passed is a
// conflict too, and then it is for the next one.
func (e *Engine) stop(ctx context.Context, r *entry, id string, c rollout.OperatorActed) (api.Rollout, error) {
	e.Stops.want(r.id, c) // before anything that may wait
	if err := e.hold(ctx, r); err != nil {
		return api.Rollout{}, stopped(c, id, err)
	}
	defer r.mu.Unlock()
	c.At = stamp(e.Clock.Now())
	effects, err := e.step(ctx, r, c)
	if err != nil {
		return api.Rollout{}, stopped(c, id, err)
	}
	e.Stops.Done(r.id, c.Action)
	return commanded(r, id, c, effects)
}

// keepStop stores a stop that could not be stored when it was wanted. The caller holds the entry's lock.
func (e *Engine) keepStop(ctx context.Context, r *entry) error {
	c, wanted := e.Stops.pending(r.id)
	if !wanted {
		return nil
	}
	c.At = stamp(e.Clock.Now())
	if _, err := e.step(ctx, r, c); err != nil {
		return err
	}
	e.Stops.Done(r.id, c.Action)
	return nil
}

// stopped explains to an operator what an error means for a stop.
func stopped(c rollout.OperatorActed, id string, err error) error {
	return fault.New(fault.Unavailable, "%s rollout %s: it is not stored yet: %w", c.Action, id, err).
		Hint("no host gets a lease of it here from this moment on; it is stored by itself once the database is back, here or by the replica that leads then, unless this server stops before: look at 'firebreak rollout show %s'", id)
}
