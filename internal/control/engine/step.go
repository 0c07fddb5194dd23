package engine

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// idleWake is how often a complete rollout that stopped before its last ring looks for latecomers.
const idleWake = 30 * time.Second

// step lets the machine decide over one event and makes it so: commit first, then act. The caller holds the entry's lock. When the
// commit fails nothing has changed. Refusals change nothing and are not stored.
func (e *Engine) step(ctx context.Context, r *entry, event rollout.Event, report *store.ReportKey) ([]rollout.Effect, error) {
	next, effects := rollout.Step(r.state.Clone(), event)
	if refusal, ok := refused(effects); ok {
		r.refusal = refusal
		return effects, nil
	}
	if _, operator := event.(rollout.OperatorActed); operator && len(effects) == 0 {
		return nil, nil
	}
	commit, err := e.commit(r, next, event, effects)
	if err != nil {
		return nil, err
	}
	commit.Report = report
	if err := e.Store.Commit(ctx, commit); err != nil {
		return nil, fmt.Errorf("store a decision of rollout %s: %w", next.ID, err)
	}
	r.state, r.revision, r.refusal = next, commit.Event.Revision, rollout.Waiting{}
	if commit.Lease != nil {
		r.put(*commit.Lease, e.Clock.Now().Add(commit.Lease.Deadline.Sub(commit.Lease.Issued)))
	}
	e.act(ctx, r, effects)
	return effects, nil
}

func refused(effects []rollout.Effect) (rollout.Waiting, bool) {
	if len(effects) != 1 {
		return rollout.Waiting{}, false
	}
	refusal, ok := effects[0].(rollout.RefuseLease)
	return refusal.Waiting, ok
}

// commit turns an event and its effects into what is to be written.
func (e *Engine) commit(r *entry, next rollout.State, event rollout.Event, effects []rollout.Effect) (store.Commit, error) {
	name, data, err := rollout.EncodeEvent(event)
	if err != nil {
		return store.Commit{}, err
	}
	encoded, err := rollout.EncodeEffects(effects)
	if err != nil {
		return store.Commit{}, err
	}
	c := store.Commit{
		State: next,
		Event: store.Event{Rollout: next.ID, Revision: r.revision + 1, At: event.When(), Name: name, Data: data, Effects: encoded},
		Lease: e.leaseAfter(r, event),
	}
	for _, effect := range effects {
		switch effect := effect.(type) {
		case rollout.GrantLease:
			l := e.granted(next, effect)
			c.Lease = &l
		case rollout.RecallRelease:
			c.Recall = &store.Recall{
				Component: next.Release.Component, Version: next.Release.Version, Manifest: next.Release.Manifest,
				Artifacts: next.Release.Artifacts, Reason: effect.Reason, Rollout: next.ID, At: next.Last,
			}
		case rollout.OpenIncident:
			c.Incident = &store.Incident{
				ID: e.NewID("inc"), Rollout: next.ID, Component: next.Release.Component, Version: next.Release.Version,
				Title: effect.Title, Opened: next.Last,
			}
		case rollout.RefuseLease, rollout.PublishDirective, rollout.Notify, rollout.WakeAt, rollout.Record:
		}
	}
	return c, nil
}

func (e *Engine) granted(s rollout.State, g rollout.GrantLease) store.Lease {
	l := store.Lease{
		ID: e.NewID("le"), Rollout: s.ID, Endpoint: g.Endpoint, Ring: g.Ring, Issued: g.Issued, Expires: g.Expires, Deadline: g.Deadline,
		Outcome: rollout.Pending,
	}
	if host, ok := e.Fleet.Get(g.Endpoint); ok {
		l.Tenant, l.Site = host.Subject.Tenant, host.Subject.Attributes.Site
	}
	return l
}

// leaseAfter is the lease that the event speaks of, as it is afterwards; nil if it changes none.
func (e *Engine) leaseAfter(r *entry, event rollout.Event) *store.Lease {
	switch event := event.(type) {
	case rollout.OutcomeKnown:
		l, ok := r.leases[event.Endpoint]
		if outcome, follows := rollout.Follow(l.Outcome, event.Outcome); ok && follows {
			l.Outcome, l.Known, l.Detail = outcome, event.At, event.Detail
			return &l
		}
	case rollout.HostRecovered:
		if l, ok := r.leases[event.Endpoint]; ok {
			l.Recovered = event.At
			return &l
		}
	case rollout.Started, rollout.LeaseAsked, rollout.HostBooted, rollout.Woke, rollout.OperatorActed:
	}
	return nil
}

// act carries out what is left to do after the commit. What is lost here by a crash is derived again when the engine starts.
func (e *Engine) act(ctx context.Context, r *entry, effects []rollout.Effect) {
	r.wake = time.Time{}
	if r.ticking() {
		r.wake = e.Clock.Now().Add(idleWake)
	}
	for _, effect := range effects {
		switch effect := effect.(type) {
		case rollout.PublishDirective:
			e.board.set(r)
			if err := e.publish(ctx, r.state.Release.Component); err != nil {
				e.Log.ErrorContext(ctx, "publish the directive; will try again", slog.String("component", r.state.Release.Component), slog.Any("error", err))
			}
		case rollout.WakeAt:
			r.wake = e.Clock.Now().Add(max(0, effect.At.Sub(r.state.Last)))
		case rollout.Notify:
			e.Notifier.Notify(ctx, effect.Severity, effect.Text)
		case rollout.Record:
			e.Log.DebugContext(ctx, "decided", slog.String("rollout", string(r.state.ID)), slog.String("verdict", string(effect.Verdict)),
				slog.String("reason", effect.Reason), slog.Float64("evidence", effect.Evidence))
		case rollout.GrantLease, rollout.RefuseLease, rollout.RecallRelease, rollout.OpenIncident:
		}
	}
}

// host gathers what the machine wants to know of an asking endpoint.
func (e *Engine) host(r *entry, id fleet.EndpointID) (rollout.Host, bool) {
	known, ok := e.Fleet.Get(id)
	if !ok {
		return rollout.Host{}, false
	}
	tenant, site := known.Subject.Tenant, known.Subject.Attributes.Site
	h := rollout.Host{
		Endpoint: id, Subject: known.Subject,
		Tenant: rollout.Scope{Name: string(tenant), Exposed: r.tenants[tenant]},
		Site:   rollout.Scope{Name: site, Exposed: r.sites[site]},
	}
	if caps := r.state.Plan.Caps; caps.Tenant > 0 || caps.Site > 0 {
		h.Tenant.Size, h.Site.Size = e.Fleet.Sizes(r.state.Release.Component, tenant, site)
	}
	if l, had := r.leases[id]; had {
		h.Prior, h.PriorRing = l.Outcome, l.Ring
	}
	return h, true
}
