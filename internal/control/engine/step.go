package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
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
	err := e.sure(ctx, r)
	if err == nil && r.asleep {
		err = e.rouse(ctx, r)
	}
	if err != nil {
		r.mu.Unlock()
	}
	return err
}

// sure finds out whether the decisions before are stored, if that is not known. The caller holds the entry's lock.
func (e *Engine) sure(ctx context.Context, r *entry) error {
	if r.doubt == nil {
		return nil
	}
	_, err := e.settle(context.WithoutCancel(ctx), r)
	return err
}

// step lets the machine decide over one event and makes it so: commit first, then act. The caller holds the entry's lock. After an error
// nothing has changed, or it is not known yet: then the entry is in doubt. Refusals change nothing and are not stored.
func (e *Engine) step(ctx context.Context, r *entry, event rollout.Event) ([]rollout.Effect, error) {
	b := e.begin(r)
	effects, err := b.decide(event, nil)
	if err == nil {
		err = b.store(ctx)
	}
	if err != nil {
		return nil, err
	}
	return effects, nil
}

// settle finds out whether the decisions in doubt are stored, and if so acts on them as if nothing had gone wrong. If they are not, the
// leases in memory become those that are stored.
func (e *Engine) settle(ctx context.Context, r *entry) (stored bool, err error) {
	doubt := r.doubt
	id := doubt.state.ID
	if err = e.Store.Await(ctx, id); err != nil {
		return false, fmt.Errorf("wait for what is under way of rollout %s: %w", id, err)
	}
	rows, err := e.Store.Rollouts(ctx, doubt.state.Release.Component, loadAtMost)
	if err != nil {
		return false, fmt.Errorf("load rollout %s again: %w", id, err)
	}
	i := slices.IndexFunc(rows, func(row store.Rollout) bool { return row.State.ID == id })
	if i < 0 {
		r.doubt = nil
		return false, nil
	}
	leases, err := e.Store.Leases(ctx, id)
	if err != nil {
		return false, fmt.Errorf("load the leases of rollout %s again: %w", id, err)
	}
	if stored, err = e.isStored(ctx, doubt); err != nil {
		return false, err
	}
	r.replace(rows[i], leases, e.Clock.Now())
	r.doubt = nil
	if r.order > 0 {
		e.board.set(r)
	}
	if stored {
		doubt.done(ctx)
	}
	return stored, nil
}

// isStored tells whether what is stored at the batch's newest revision is the batch's own event, and not one of another replica.
func (e *Engine) isStored(ctx context.Context, b *batch) (bool, error) {
	mine := b.commit.Events[len(b.commit.Events)-1]
	there, err := e.Store.Events(ctx, mine.Rollout, mine.Revision-1, 1)
	if err != nil {
		return false, fmt.Errorf("load the newest event of rollout %s again: %w", mine.Rollout, err)
	}
	return len(there) == 1 && there[0].Name == mine.Name && bytes.Equal(there[0].Data, mine.Data) && bytes.Equal(there[0].Effects, mine.Effects), nil
}

func refused(effects []rollout.Effect) (rollout.Waiting, bool) {
	if len(effects) != 1 {
		return rollout.Waiting{}, false
	}
	refusal, ok := effects[0].(rollout.RefuseLease)
	return refusal.Waiting, ok
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
	case rollout.Started, rollout.LeaseAsked, rollout.Compared, rollout.FreezesSet, rollout.CellsHeard, rollout.HostBooted, rollout.Woke, rollout.OperatorActed:
	}
	return nil
}

// act carries out one step of a stored batch, and tells whether a directive is to be published.
func (e *Engine) act(ctx context.Context, r *entry, step decided, now time.Time) (publish bool) {
	_, looked := step.event.(rollout.Woke)
	r.rest(now, looked)
	if _, compared := step.event.(rollout.Compared); compared {
		r.watched.findings = r.watched.findings[1:]
	}
	if r.order == 0 {
		e.add(r) // before a directive names it
	}
	for _, effect := range step.effects {
		switch effect := effect.(type) {
		case rollout.PublishDirective:
			publish = true
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
	return publish
}

// announce publishes what a rollout has become. What fails is tried again.
func (e *Engine) announce(ctx context.Context, r *entry) {
	e.board.set(r)
	if err := e.publish(ctx, r.state.Release.Component); err != nil {
		e.Log.ErrorContext(ctx, "publish the directive; will try again", slog.String("component", r.state.Release.Component), slog.Any("error", err))
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
	for _, other := range e.list() {
		if other.component != r.component && other.due.risky(id, now) {
			return string(other.id)
		}
	}
	return ""
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
