package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// batch is what is decided over one rollout under one hold of its lock, and stored in one transaction: a rush of hosts costs one commit, not
// one each. Every event is decided on the state that the one before it left. Until the batch is stored only the leases in memory know of
// it; if it is not stored they are read again.
type batch struct {
	*Engine
	r      *entry
	state  rollout.State // after the newest event
	commit store.Commit
	steps  []decided
}

// decided is an event, and what it came to.
type decided struct {
	event   rollout.Event
	effects []rollout.Effect
	lease   *store.Lease    // as it is afterwards; nil if it says nothing of one
	was     rollout.Outcome // of that lease before
}

// mostDecided bounds a batch, and so how long a halt waits for it.
const mostDecided = 256

// begin opens a batch. The caller holds the entry's lock until the batch is stored.
func (e *Engine) begin(r *entry) *batch { return &batch{Engine: e, r: r, state: r.state} }

// decide lets the machine decide over one more event. Refusals change nothing and are not stored, and so are operators' commands that
// change nothing. After an error the event is not part of the batch. Of a report it is noted that it was taken in.
func (b *batch) decide(event rollout.Event, report *store.ReportKey) ([]rollout.Effect, error) {
	if b.r.doubt != nil {
		return nil, fault.New(fault.Unavailable, "decide over rollout %s: it is not known yet whether the decision before is stored", b.r.id)
	}
	event = rollout.Dated(b.state, event)
	next, effects := rollout.Step(b.state.Clone(), event)
	if refusal, ok := refused(effects); ok {
		b.r.shown.refuse(refusal)
		return effects, nil
	}
	if _, operator := event.(rollout.OperatorActed); operator && len(effects) == 0 {
		return nil, nil
	}
	stored, err := encode(&next, b.r.revision+int64(len(b.steps))+1, event, effects)
	if err != nil {
		return nil, err
	}
	step := decided{event: event, effects: effects, lease: b.leaseAfter(b.r, event)}
	b.changes(next, &step)
	if step.lease != nil {
		step.was = b.r.note(*step.lease)
		b.commit.Leases = put(b.commit.Leases, *step.lease)
	}
	if report != nil {
		b.commit.Reports = append(b.commit.Reports, *report)
	}
	b.commit.Events = append(b.commit.Events, stored)
	b.state = next
	b.r.shown.refuse(rollout.Waiting{})
	b.steps = append(b.steps, step)
	return effects, nil
}

// encode makes an event into what is stored of it; next is the state that it leaves.
func encode(next *rollout.State, revision int64, event rollout.Event, effects []rollout.Effect) (store.Event, error) {
	name, data, err := rollout.EncodeEvent(event)
	if err != nil {
		return store.Event{}, err
	}
	encoded, err := rollout.EncodeEffects(effects)
	return store.Event{
		Rollout: next.ID, Revision: revision, At: event.When(), Name: name, Data: data, Effects: encoded, Notable: notable(next, effects),
	}, err
}

// manyHarmed is how many harmed hosts of a rollout are news each. Those that come after them are a number: who reads what was decided is not
// to look for it among thousands of them.
const manyHarmed = 100

// notable tells how much an event has to say to people, by what it came to. Looks at the fleet and comparisons after which nothing is otherwise
// are routine, as there may be some every minute for days.
func notable(next *rollout.State, effects []rollout.Effect) store.Notable {
	n := store.Routine
	for _, effect := range effects {
		record, decided := effect.(rollout.Record)
		if !decided {
			continue
		}
		if harm := record.Verdict == rollout.DidCount || record.Verdict == rollout.DidShare; !harm || next.Harmed() <= manyHarmed {
			return store.Matters
		}
		n = store.Another
	}
	return n
}

// changes turns the effects of a step into what is to be written beside it.
func (b *batch) changes(next rollout.State, step *decided) {
	for _, effect := range step.effects {
		switch effect := effect.(type) {
		case rollout.GrantLease:
			asked, _ := step.event.(rollout.LeaseAsked)
			l := b.granted(b.r, next, effect, asked.Host)
			step.lease = &l
		case rollout.RecallRelease:
			b.commit.Recall = &store.Recall{
				Component: next.Release.Component, Version: next.Release.Version, Manifest: next.Release.Manifest,
				Artifacts: next.Release.Artifacts, Reason: effect.Reason, Rollout: next.ID, At: next.Last,
			}
		case rollout.OpenIncident:
			b.commit.Incident = &store.Incident{
				ID: b.NewID("inc"), Rollout: next.ID, Component: next.Release.Component, Version: next.Release.Version,
				Title: effect.Title, Opened: next.Last,
			}
		case rollout.RefuseLease, rollout.PublishDirective, rollout.Notify, rollout.WakeAt, rollout.Record:
		}
	}
}

// put replaces the lease of the same host, or adds it: of two changes in one batch the later one is stored.
func put(leases []store.Lease, l store.Lease) []store.Lease {
	if i := slices.IndexFunc(leases, func(old store.Lease) bool { return old.Endpoint == l.Endpoint }); i >= 0 {
		leases[i] = l
		return leases
	}
	return append(leases, l)
}

// store commits the batch, then acts. After an error nothing of it has happened, or it is not known yet: then the entry is in doubt.
func (b *batch) store(ctx context.Context) error {
	if len(b.steps) == 0 {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // others wait for it too
	if b.commit.Recall != nil {
		granting := b.board.granting(b.state.Release.Component)
		granting.Lock()
		defer granting.Unlock()
	}
	b.commit.State = b.state
	if err := b.Store.Commit(ctx, b.commit); err != nil {
		b.r.doubt = b
		stored, doubt := b.settle(ctx, b.r)
		if doubt == nil && stored {
			return nil
		}
		return fmt.Errorf("store a decision of rollout %s: %w", b.state.ID, err)
	}
	if b.commit.Incident != nil {
		b.r.incident = b.commit.Incident.ID
	}
	b.r.become(b.state, b.revision())
	b.done(ctx)
	return nil
}

// drop gives the batch up because of an error: the leases in memory become those that are stored.
func (b *batch) drop(ctx context.Context, because error) error {
	if len(b.steps) > 0 {
		b.r.doubt = b
		if _, err := b.settle(ctx, b.r); err != nil {
			return err
		}
	}
	return because
}

// revision is that of the rollout once the batch is stored.
func (b *batch) revision() int64 { return b.commit.Events[len(b.commit.Events)-1].Revision }

// done carries out what is left to do after the commit. What is lost here by a crash is derived again when the engine starts.
func (b *batch) done(ctx context.Context) {
	now := b.Clock.Now()
	publish := false
	for _, step := range b.steps {
		if l := step.lease; l != nil {
			b.r.time(*l, step.was, now.Add(span(*l)))
		}
		publish = b.act(ctx, b.r, step, now) || publish
	}
	if publish {
		b.announce(ctx, b.r)
	}
}
