package engine

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// idleWake is how often a rollout that asked for nothing sooner is woken, and how often a complete one looks for latecomers.
const idleWake = 30 * time.Second

// hold locks an entry for a decision, which the caller ends with Unlock. If it is not known whether the decision before is stored, it is
// found out first. After an error the lock is not held.
func (e *Engine) hold(ctx context.Context, r *entry) error {
	r.mu.Lock()
	if r.doubt == nil {
		return nil
	}
	if _, err := e.settle(ctx, r); err != nil {
		r.mu.Unlock()
		return err
	}
	return nil
}

// step lets the machine decide over one event and makes it so: commit first, then act. The caller holds the entry's lock. After an error
// nothing has changed, or it is not known yet: then the entry is in doubt. Refusals change nothing and are not stored.
func (e *Engine) step(ctx context.Context, r *entry, event rollout.Event, report *store.ReportKey) ([]rollout.Effect, error) {
	event = rollout.Dated(r.state, event)
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
		err = fmt.Errorf("store a decision of rollout %s: %w", next.ID, err)
		r.doubt = &attempt{
			rollout: next.ID, component: next.Release.Component, revision: commit.Event.Revision, event: event, effects: effects,
		}
		stored, doubt := e.settle(ctx, r)
		if doubt != nil || !stored {
			return nil, err
		}
		return effects, nil
	}
	r.state, r.revision = next, commit.Event.Revision
	if commit.Lease != nil {
		r.put(*commit.Lease, e.Clock.Now().Add(commit.Lease.Deadline.Sub(commit.Lease.Issued)))
	}
	e.act(ctx, r, event, effects)
	return effects, nil
}

// settle finds out whether the decision in doubt is stored, and if so acts on it as if nothing had gone wrong.
func (e *Engine) settle(ctx context.Context, r *entry) (stored bool, err error) {
	doubt := r.doubt
	rows, err := e.Store.Rollouts(ctx, doubt.component, loadAtMost)
	if err != nil {
		return false, fmt.Errorf("load rollout %s again: %w", doubt.rollout, err)
	}
	i := slices.IndexFunc(rows, func(row store.Rollout) bool { return row.State.ID == doubt.rollout })
	if i < 0 || rows[i].Revision == r.revision {
		r.doubt = nil
		return false, nil
	}
	leases, err := e.Store.Leases(ctx, doubt.rollout)
	if err != nil {
		return false, fmt.Errorf("load the leases of rollout %s again: %w", doubt.rollout, err)
	}
	r.replace(rows[i], leases, e.Clock.Now())
	r.doubt = nil
	if r.order > 0 {
		e.board.set(r)
	}
	if stored = r.revision == doubt.revision; stored {
		e.act(ctx, r, doubt.event, doubt.effects)
	}
	return stored, nil
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
			asked, _ := event.(rollout.LeaseAsked)
			l := e.granted(r, next, effect, asked.Host)
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

// granted is the lease that a grant makes. A renewed one stays in the stratum in which it is counted.
func (e *Engine) granted(r *entry, s rollout.State, g rollout.GrantLease, h rollout.Host) store.Lease {
	l := store.Lease{
		ID: e.NewID("le"), Rollout: s.ID, Endpoint: g.Endpoint, Tenant: h.Subject.Tenant, Site: h.Subject.Attributes.Site,
		Stratum: h.Stratum, Class: h.Subject.Attributes.Class, Ring: g.Ring, Issued: g.Issued, Expires: g.Expires, Deadline: g.Deadline,
		Outcome: rollout.Pending,
	}
	if g.Renewed {
		l.Stratum = r.leases[g.Endpoint].Stratum
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
			if outcome == rollout.Pending { // it is back, and has its time again
				l.Issued, l.Deadline, l.Known = event.At, event.At.Add(time.Duration(r.state.Plan.Lease.Deadline)), time.Time{}
			}
			return &l
		}
	case rollout.HostRecovered:
		if l, ok := r.leases[event.Endpoint]; ok {
			l.Recovered = event.At
			return &l
		}
	case rollout.Started, rollout.LeaseAsked, rollout.Compared, rollout.FreezesSet, rollout.HostBooted, rollout.Woke, rollout.OperatorActed:
	}
	return nil
}

// act carries out what is left to do after the commit. What is lost here by a crash is derived again when the engine starts.
func (e *Engine) act(ctx context.Context, r *entry, event rollout.Event, effects []rollout.Effect) {
	now := e.Clock.Now()
	_, looked := event.(rollout.Woke)
	r.rest(now, looked)
	if _, compared := event.(rollout.Compared); compared {
		r.watched.findings = r.watched.findings[1:]
	}
	r.refusal = rollout.Waiting{}
	if r.order == 0 {
		e.add(r) // before a directive names it
	}
	for _, effect := range effects {
		switch effect := effect.(type) {
		case rollout.PublishDirective:
			e.board.set(r)
			if err := e.publish(ctx, r.state.Release.Component); err != nil {
				e.Log.ErrorContext(ctx, "publish the directive; will try again", slog.String("component", r.state.Release.Component), slog.Any("error", err))
			}
		case rollout.WakeAt:
			if at := now.Add(max(0, effect.At.Sub(r.state.Last))); r.wake.IsZero() || at.Before(r.wake) {
				r.wake = at
			}
		case rollout.Notify:
			e.Notifier.Notify(ctx, effect.Severity, effect.Text)
		case rollout.Record:
			e.Log.DebugContext(ctx, "decided", slog.String("rollout", string(r.state.ID)), slog.String("verdict", string(effect.Verdict)),
				slog.String("reason", effect.Reason), slog.Float64("evidence", effect.Evidence))
		case rollout.RecallRelease:
			e.board.bar(r.state.Release.Component, r.state.Release.Manifest)
		case rollout.GrantLease, rollout.RefuseLease, rollout.OpenIncident:
		}
	}
}

// host gathers what the machine wants to know of an asking endpoint. One that had a lease before stays in its stratum.
func (e *Engine) host(r *entry, id fleet.EndpointID) (rollout.Host, bool) {
	known, ok := e.Fleet.Get(id)
	if !ok {
		return rollout.Host{}, false
	}
	now := e.Clock.Now()
	h := rollout.Host{Endpoint: id, Subject: known.Of(r.component), Busy: e.busy(r, id, now), Posture: known.Posture.Among(r.state.Plan.Posture)}
	h.Stratum = fleet.Stratum(h.Subject, r.state.Plan.Strata)
	sizes := registry.Sizes{}
	if caps := r.state.Plan.Caps; caps.Tenant > 0 || caps.Site > 0 {
		sizes = e.sizes(r.component, now)
	}
	h.Fleet = sizes.Fleet
	h.Tenant, h.Site = r.scopes(known.Subject.Tenant, known.Subject.Attributes.Site, sizes)
	if l, had := r.leases[id]; had {
		h.Prior, h.PriorRing = l.Outcome, l.Ring
		if counts(l) && l.Stratum != "" {
			h.Stratum = l.Stratum
		}
	}
	h.Sought = r.sought[h.Stratum]
	return h, true
}

// busy is the rollout of another component whose release the host is proving, or has confirmed only lately; empty if there is none. There
// is one risk at a time on a host, so that it is known what harmed it.
func (e *Engine) busy(r *entry, id fleet.EndpointID, now time.Time) string {
	e.mu.RLock()
	others := slices.Collect(maps.Values(e.rollouts))
	e.mu.RUnlock()
	var busy *entry
	for _, other := range others {
		if other.component != r.component && (busy == nil || other.order < busy.order) && other.due.risky(id, now) {
			busy = other
		}
	}
	if busy == nil {
		return ""
	}
	return string(busy.id)
}

// scopes are a tenant and a site, with what is exposed and harmed of them.
func (r *entry) scopes(tenant fleet.TenantID, site string, sizes registry.Sizes) (ofTenant, ofSite rollout.Scope) {
	t, s := r.tenants[tenant], r.sites[site]
	ofTenant = rollout.Scope{Name: string(tenant), Size: sizes.Tenants[tenant], Exposed: t.exposed, Harmed: t.harmed}
	ofSite = rollout.Scope{Name: site, Size: sizes.Sites[site], Exposed: s.exposed, Harmed: s.harmed}
	return ofTenant, ofSite
}

// outcome is the event of what became of a lease. Of a harmed host it tells what else is harmed of its tenant and its site.
func (e *Engine) outcome(r *entry, l store.Lease, o rollout.Outcome, detail string) rollout.OutcomeKnown {
	now := e.Clock.Now()
	event := rollout.OutcomeKnown{
		At: stamp(now), Endpoint: l.Endpoint, Ring: l.Ring, Was: l.Outcome, Outcome: o, Detail: detail, Stratum: l.Stratum,
	}
	if to, follows := rollout.Follow(l.Outcome, o); !follows || !to.Harms() {
		return event
	}
	sizes := e.sizes(r.component, now)
	event.Tenant, event.Site = r.scopes(l.Tenant, l.Site, sizes)
	event.Fleet = sizes.Fleet
	return event
}

// counted are the sizes of the fleet, as they were counted last.
type counted struct {
	mu    sync.Mutex
	sizes map[string]counting // by component
}

type counting struct {
	registry.Sizes
	at time.Time
}

// countedFor is how long the sizes of the fleet stand: long enough for a rush of hosts, too short for anything to depend on it.
const countedFor = time.Second

// sizes are the sizes of the fleet. The maps in them must not be changed.
func (e *Engine) sizes(component string, now time.Time) registry.Sizes {
	e.counted.mu.Lock()
	defer e.counted.mu.Unlock()
	last, ok := e.counted.sizes[component]
	if !ok || now.Sub(last.at).Abs() > countedFor {
		last = counting{Sizes: e.Fleet.Sizes(component), at: now}
		e.counted.sizes[component] = last
	}
	return last.Sizes
}
