package engine

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// watch is Run's own memory: when it last looked at the clock, and what it complained of.
type watch struct {
	*Engine
	last       time.Time
	complaint  string
	complained time.Time
}

// repeat is how often a failure that goes on is logged again.
const repeat = time.Minute

// look reads the clock. If far more time went by than a tick takes, nobody was listening, and all deadlines wait for as long. It is asked
// between any two things that may take long, so that being busy does not pass for that.
func (w *watch) look(ctx context.Context) time.Time {
	now := w.Clock.Now()
	if gap := now.Sub(w.last); gap > 10*w.Tick+time.Second {
		w.Log.WarnContext(ctx, "the server was not listening; deadlines are extended", slog.Duration("gap", gap))
		for _, r := range w.list() {
			r.due.extend(gap)
		}
	}
	w.last = now
	return now
}

// tick does what is due. A failure in one rollout keeps no other one waiting. Time is read before the reports are: whoever is called
// silent had its deadline before, and no report of it was stored by then. While reports cannot be taken in, nobody is called silent.
func (w *watch) tick(ctx context.Context) error {
	now := w.look(ctx)
	failed := []error{w.Drain(ctx)}
	if failed[0] == nil {
		for _, r := range w.list() {
			failed = append(failed, w.keepTime(ctx, r, now))
			w.look(ctx)
		}
	}
	failed = append(failed, w.renew(ctx, now))
	return errors.Join(failed...)
}

// tell logs a failure when it is new, and from time to time while it lasts.
func (w *watch) tell(ctx context.Context, err error) {
	if err == nil {
		w.complaint = ""
		return
	}
	if now := w.Clock.Now(); err.Error() != w.complaint || now.Sub(w.complained) >= repeat {
		w.complaint, w.complained = err.Error(), now
		w.Log.ErrorContext(ctx, "tick", slog.Any("error", err))
	}
}

// keepTime books the silent hosts of a rollout, and wakes it when it is due.
func (e *Engine) keepTime(ctx context.Context, r *entry, now time.Time) error {
	if err := e.hold(ctx, r); err != nil {
		return err
	}
	defer r.mu.Unlock()
	for _, id := range r.due.passed(now) {
		event := rollout.OutcomeKnown{
			At: stamp(now), Endpoint: id, Ring: r.leases[id].Ring, Was: r.leases[id].Outcome, Outcome: rollout.Silent,
			Detail: "no word until its deadline",
		}
		if _, err := e.step(ctx, r, event, nil); err != nil {
			return err
		}
	}
	if r.wake.IsZero() || now.Before(r.wake) {
		return nil
	}
	woke := e.census(r, now)
	if e.idle(r, woke) {
		r.wake = now.Add(idleWake)
		return nil
	}
	_, err := e.step(ctx, r, woke, nil)
	return err
}

func (e *Engine) census(r *entry, now time.Time) rollout.Woke {
	s := r.state
	q := registry.Question{Component: s.Release.Component, Since: now.Add(-e.Reach), Exposed: r.exposed, Ring: s.Plan.Rings[s.Ring].Select}
	if s.Plan.Last(s.Ring) { // an early ring waits for hosts that take the release; the last does not wait for those that never will
		q.Refused = string(s.Release.Manifest)
	}
	c := e.Fleet.Count(q)
	return rollout.Woke{At: stamp(now), Eligible: c.Eligible, Remaining: c.Remaining, Available: c.Available}
}

// idle tells whether a wake-up of a complete rollout would be stored for nothing: nobody can ask it for leases any more, or nobody is
// left to ask and the fleet did not change.
func (e *Engine) idle(r *entry, w rollout.Woke) bool {
	s := r.state
	return s.Phase == rollout.Complete && (!e.board.current(s) ||
		w.Remaining == 0 && s.Unconfirmed == 0 && s.Eligible == w.Eligible && s.Remaining == w.Remaining && s.Available == w.Available)
}
