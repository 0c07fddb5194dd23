package replica

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Halt halts rollouts, and tells by the end of ctx what became of them. A replica that does not lead asks the one that does: if that does not
// answer, it is not known here whether anything was halted.
func (r *Replica) Halt(ctx context.Context, want api.HaltRollouts, actor string) (api.Halted, error) {
	if e, _ := r.leading(); e != nil {
		return e.Halt(ctx, want, actor)
	}
	running := later(func() ([]store.Rollout, error) { return r.running(ctx) })
	l := letter{Kind: kindHalt, Halt: want, Actor: actor}
	answer, answered := wait(ctx, later(func() (reply, error) { return r.ask(ctx, l, commandWithin) }))
	if answered && answer.err == nil {
		return answer.got.Halted, nil
	}
	known, _ := wait(ctx, running)
	switch {
	case !answered:
		return r.unknown(want, known.got, l.unanswered())
	case fault.KindOf(answer.err) == fault.Invalid: // a leader of an earlier version
		return r.haltEach(ctx, want, known.got, actor)
	default:
		return r.unknown(want, known.got, answer.err)
	}
}

// outcome is what something came to that nobody may be waiting for any more.
type outcome[T any] struct {
	got T
	err error
}

// later does something beside its caller, who need not wait for it. It ends with what it does: all of that ends with its context, or once the
// database has said whether it took a letter.
func later[T any](do func() (T, error)) <-chan outcome[T] {
	done := make(chan outcome[T], 1)
	go func() {
		got, err := do()
		done <- outcome[T]{got, err}
	}()
	return done
}

// wait waits until ctx ends for what later does, and takes it even then if it is there.
func wait[T any](ctx context.Context, from <-chan outcome[T]) (one outcome[T], there bool) {
	select {
	case one = <-from:
		return one, true
	case <-ctx.Done():
	}
	select {
	case one = <-from:
		return one, true
	default:
		return one, false
	}
}

// running are the rollouts that have not ended as far as is stored, newest first. Their states count: what leaders of earlier versions write beside
// them may be out of date.
func (r *Replica) running(ctx context.Context) ([]store.Rollout, error) {
	q := store.RolloutQuery{Active: true}
	rows, err := r.Store.FindRollouts(ctx, q)
	return slices.DeleteFunc(rows, func(row store.Rollout) bool { return !q.WantsPhase(row.State.Phase) }), err
}

// meant are the rollouts that a halt speaks of, as far as they are known: of others there is only the id.
func meant(want api.HaltRollouts, known []store.Rollout) []store.Rollout {
	if len(want.Rollouts) == 0 {
		return known
	}
	var named []store.Rollout
	for _, id := range want.Rollouts {
		row := store.Rollout{State: rollout.State{ID: rollout.ID(id)}}
		if i := slices.IndexFunc(known, func(row store.Rollout) bool { return string(row.State.ID) == id }); i >= 0 {
			row = known[i]
		}
		named = append(named, row)
	}
	return named
}

// unknown is the answer if nobody answered who leads: it may have halted all of them, or none. It is an error only if it is not known either
// what was to be halted.
func (r *Replica) unknown(want api.HaltRollouts, known []store.Rollout, err error) (api.Halted, error) {
	all := meant(want, known)
	if len(all) == 0 {
		return api.Halted{}, err
	}
	halted := api.Halted{At: r.Clock.Now().UTC(), Rollouts: []api.HaltedRollout{}}
	for _, row := range all {
		halted.Rollouts = append(halted.Rollouts, notKnown(row, err))
	}
	return halted, nil
}

// notKnown is what is known of a rollout of which nobody answered.
func notKnown(row store.Rollout, err error) api.HaltedRollout {
	s := row.State
	return api.HaltedRollout{
		ID: string(s.ID), Component: s.Release.Component, Version: s.Release.Version, Was: string(s.Phase), State: api.HaltFailed, InFlight: s.Unconfirmed, Exposed: s.Exposed(),
		Text: fmt.Sprintf("it is not known whether it was halted: %v; ask again, here or at another replica; while no replica leads nobody gets a lease", err),
	}
}

// haltEach halts rollouts with a letter each, all at once. Every leader understands those.
func (r *Replica) haltEach(ctx context.Context, want api.HaltRollouts, known []store.Rollout, actor string) (api.Halted, error) {
	halted := api.Halted{At: r.Clock.Now().UTC(), Rollouts: []api.HaltedRollout{}}
	command := rollout.OperatorActed{Action: rollout.Halt, Actor: actor, Reason: want.Reason}
	all := meant(want, known)
	asked := make([]<-chan outcome[reply], len(all))
	for i, row := range all {
		l := letter{Kind: kindAct, Rollout: string(row.State.ID), Command: command}
		asked[i] = later(func() (reply, error) { return r.ask(ctx, l, commandWithin) })
	}
	for i, row := range all {
		one := notKnown(row, absent("halt"))
		if a, answered := wait(ctx, asked[i]); answered {
			one = became(one, a)
		}
		halted.Rollouts = append(halted.Rollouts, one)
		halted.InFlight += one.InFlight
	}
	return halted, nil
}

// became is what a letter that halts one rollout came to.
func became(one api.HaltedRollout, a outcome[reply]) api.HaltedRollout {
	switch v := a.got.Rollout; {
	case a.err == nil:
		one.Component, one.Version, one.Phase, one.InFlight, one.Exposed = v.Component, v.Version, v.Phase, v.Unconfirmed, v.Exposed
		one.State, one.Text = api.HaltDone, "halted: no other host gets it; the hosts that have it keep it until it is rolled back"
	case fault.KindOf(a.err) == fault.Conflict:
		one.State, one.InFlight, one.Text = api.HaltEnded, 0, "there was nothing to stop: "+a.err.Error()
	case fault.KindOf(a.err) == fault.NotFound:
		one.Text = fmt.Sprintf("there is no rollout %.100q: look at the list of rollouts", one.ID)
	default:
		one.Text = fmt.Sprintf("it is not known whether it was halted: %v; ask again", a.err)
	}
	return one
}

// What operators wanted stopped while this replica led, and what it could not store, is for whoever leads then.
const (
	handOnEvery = time.Second
	handedOn    = 16 // at a time
)

// handOn tells the leader of such stops until they are stored, until ctx ends. While this replica leads its own engine stores them.
func (r *Replica) handOn(ctx context.Context) error {
	for r.Clock.Sleep(ctx, handOnEvery) == nil {
		var letters errgroup.Group
		letters.SetLimit(handedOn)
		for id, c := range r.Stops.Pending() {
			letters.Go(func() error {
				r.handOnOne(ctx, id, c)
				return nil
			})
		}
		_ = letters.Wait()
	}
	return nil
}

func (r *Replica) handOnOne(ctx context.Context, id rollout.ID, c rollout.OperatorActed) {
	if e, _ := r.leading(); e != nil {
		return
	}
	_, err := r.ask(ctx, letter{Kind: kindAct, Rollout: string(id), Command: c}, commandWithin)
	if kind := fault.KindOf(err); err == nil || kind == fault.Conflict || kind == fault.NotFound { // stored, or there is nothing to stop
		r.Stops.Done(id, c.Action)
	}
}
