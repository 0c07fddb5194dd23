package replica

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// How long a question may take. A host asks again by itself; an operator should know at once.
const (
	leaseWithin   = 2 * time.Second
	commandWithin = 10 * time.Second
	haltWithin    = 250 * time.Millisecond // of the leader, for a replica that has to answer within a second: the letters need as long
)

// Ask answers a prepared host's wish: a signed lease, or why it has to wait.
func (r *Replica) Ask(ctx context.Context, id fleet.EndpointID, wish api.Wish) (envelope []byte, refusal string, err error) {
	if e, _ := r.leading(); e != nil {
		return e.Ask(ctx, id, wish)
	}
	reply, err := r.ask(ctx, letter{Kind: kindLease, Endpoint: id, Wish: wish}, leaseWithin)
	if err == nil && len(reply.Envelope) > 0 {
		r.copied.lend(id, wish.Component, r.Clock.Now().Add(lentFor))
	}
	return reply.Envelope, reply.Refusal, err
}

// Start begins a rollout.
func (r *Replica) Start(ctx context.Context, start api.StartRollout, actor string) (api.Rollout, error) {
	if e, _ := r.leading(); e != nil {
		return e.Start(ctx, start, actor)
	}
	reply, err := r.ask(ctx, letter{Kind: kindStart, Start: start, Actor: actor}, commandWithin)
	return reply.Rollout, err
}

// Act carries out an operator's command.
func (r *Replica) Act(ctx context.Context, id string, command rollout.OperatorActed) (api.Rollout, error) {
	if e, _ := r.leading(); e != nil {
		return e.Act(ctx, id, command)
	}
	reply, err := r.ask(ctx, letter{Kind: kindAct, Rollout: id, Command: command}, commandWithin)
	return reply.Rollout, err
}

// SetFreezes replaces the installation's freezes.
func (r *Replica) SetFreezes(ctx context.Context, freezes calendar.Calendar, actor string) error {
	if e, _ := r.leading(); e != nil {
		return e.SetFreezes(ctx, freezes, actor)
	}
	if err := fault.Problems("set the freezes", freezes.Check("")); err != nil {
		return err
	}
	_, err := r.ask(ctx, letter{Kind: kindFreezes, Freezes: freezes, Actor: actor}, commandWithin)
	return err
}

// Submit hands in metadata that a publisher signed.
func (r *Replica) Submit(ctx context.Context, role string, metadata []byte) (api.Submission, error) {
	if e, _ := r.leading(); e != nil {
		return e.Submit(ctx, role, metadata)
	}
	answer, err := r.ask(ctx, letter{Kind: kindSubmit, Role: role, Metadata: metadata}, commandWithin)
	return answer.Accepted, err
}

// Discard throws pending metadata of a role away.
func (r *Replica) Discard(ctx context.Context, role string) error {
	if e, _ := r.leading(); e != nil {
		return e.Discard(ctx, role)
	}
	_, err := r.ask(ctx, letter{Kind: kindDiscard, Role: role}, commandWithin)
	return err
}

// Take waits until what a host reported is decided on. A nil error is what allows to acknowledge it.
func (r *Replica) Take(ctx context.Context, id fleet.EndpointID) error {
	if e, _ := r.leading(); e != nil {
		return e.Take(ctx, id)
	}
	ctx, cancel := within(ctx, r.Clock, leaseWithin)
	defer cancel()
	done := r.taken.wait(id)
	defer r.taken.leave(id, done)
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return absent(fmt.Sprintf("take in the reports of %s", id))
	}
}

// Directive returns the newest directive of a component, a signed envelope, and its sequence; 0 if there is none.
func (r *Replica) Directive(component string) (envelope []byte, sequence int64) {
	if l := r.published(); l != nil {
		return l.Directive(component)
	}
	return r.copied.directive(component)
}

// Pending tells whether an endpoint holds a lease without an outcome: it should be heard often. A replica that does not lead knows of those
// that it handed on.
func (r *Replica) Pending(id fleet.EndpointID, component string) bool {
	if e, _ := r.leading(); e != nil {
		return e.Pending(id, component)
	}
	return r.copied.lent(id, component, r.Clock.Now())
}

// Returned notes that a host is proving a release. A leader elsewhere sees it in what the host says of itself.
func (r *Replica) Returned(ctx context.Context, id fleet.EndpointID, component string) error {
	if e, _ := r.leading(); e != nil {
		return e.Returned(ctx, id, component)
	}
	return nil
}

// Deaf gives the fleet more time, if this replica leads: for so long hosts could not be heard as they should.
func (r *Replica) Deaf(lasted time.Duration) {
	if e, _ := r.leading(); e != nil {
		e.Deaf(lasted)
	}
}

// Freezes are when no rollout of the installation exposes anybody.
func (r *Replica) Freezes() calendar.Calendar {
	if l := r.published(); l != nil {
		return l.Freezes()
	}
	return r.copied.freezes()
}

// Rollout shows one rollout.
func (r *Replica) Rollout(ctx context.Context, id string) (api.Rollout, error) {
	if e, _ := r.leading(); e != nil {
		return e.Rollout(ctx, id)
	}
	row, err := r.Store.Rollout(ctx, rollout.ID(id))
	if err != nil {
		return api.Rollout{}, err
	}
	return engine.Show(row), nil
}

// Rollouts shows the rollouts that are asked for, newest first.
func (r *Replica) Rollouts(ctx context.Context, q store.RolloutQuery) ([]api.Rollout, error) {
	if e, _ := r.leading(); e != nil {
		return e.Rollouts(ctx, q)
	}
	rows, err := r.Store.FindRollouts(ctx, q)
	views := make([]api.Rollout, len(rows))
	for i, row := range rows {
		views[i] = engine.Show(row)
	}
	return views, err
}

// Phases counts all rollouts by their phase.
func (r *Replica) Phases(ctx context.Context) (map[rollout.Phase]int64, error) {
	if e, _ := r.leading(); e != nil {
		return e.Phases(ctx)
	}
	return r.Store.RolloutPhases(ctx)
}

// Next tells for each component of a host what it would be told if it asked for a lease now. Only the leader knows.
func (r *Replica) Next(ctx context.Context, id fleet.EndpointID) ([]api.Next, error) {
	if e, _ := r.leading(); e != nil {
		return e.Next(ctx, id)
	}
	answer, err := r.ask(ctx, letter{Kind: kindNext, Endpoint: id}, leaseWithin)
	return answer.Next, err
}

// ask sends a letter to the leader and waits for the answer.
func (r *Replica) ask(ctx context.Context, l letter, most time.Duration) (reply, error) {
	if r.Alone {
		return reply{}, l.unanswered() // it stops, or did not begin
	}
	body, err := json.Marshal(l)
	if err != nil {
		return reply{}, fmt.Errorf("write to the leader: %w", err)
	}
	ctx, cancel := within(ctx, r.Clock, most)
	defer cancel()
	ids, err := r.Store.Ask(ctx, store.Letter{Kind: l.pile(), Body: body})
	if err != nil {
		return reply{}, err
	}
	done := r.post.wait(ids[0])
	defer r.post.leave(ids[0], done)
	select {
	case data := <-done:
		var answer reply
		if err := json.Unmarshal(data, &answer); err != nil {
			return reply{}, fault.New(fault.Internal, "read the leader's answer: %w", err)
		}
		return answer, answer.Failed.error()
	case <-ctx.Done():
		return reply{}, l.unanswered()
	}
}

// unanswered is the error of a letter whose author gives up. It may still have been carried out: the answer was late.
func (l letter) unanswered() error {
	err := absent(l.what())
	if l.pile() == commands {
		err = err.Hint("look whether it was done before you ask again; if it lasts, look at /readyz and the logs of all replicas")
	}
	return err
}
