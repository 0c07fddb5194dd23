// Package engine is the shell round the decision: it loads a rollout, lets rollout.Step decide, commits event, state and effects in one
// transaction, and only then acts. It holds no rule of its own about who may be exposed.
//
// One engine decides over a rollout at a time, under that rollout's lock; the commit names the revision it was decided on, so that a
// second engine on the same database would get a conflict, not a second decision.
package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Store is what the engine needs of the database.
type Store interface {
	Commit(ctx context.Context, c store.Commit) error
	Rollouts(ctx context.Context, component string, limit int) ([]store.Rollout, error)
	Leases(ctx context.Context, id rollout.ID) ([]store.Lease, error)
	UntakenReports(ctx context.Context, after int64, limit int) ([]store.Report, error)
	MarkTaken(ctx context.Context, key store.ReportKey) error
}

// Releases is what the engine needs to know of releases, plans and incidents.
type Releases interface {
	Release(ctx context.Context, component, version string) (release.Published, error)
	Releases(ctx context.Context, component string) ([]release.Published, error)
	Plan(ctx context.Context, name string) (store.PlanRow, error)
	Recalls(ctx context.Context, component string) ([]store.Recall, error)
	Incidents(ctx context.Context) ([]store.Incident, error)
}

// Directives keeps published directives.
type Directives interface {
	Directives(ctx context.Context) ([]store.Directive, error)
	PutDirective(ctx context.Context, d store.Directive) error
}

// Fleet knows the hosts.
type Fleet interface {
	Get(id fleet.EndpointID) (registry.Endpoint, bool)
	Count(component string, since time.Time, exposed func(fleet.EndpointID) bool, ring fleet.Selector) registry.Census
	Sizes(component string, tenant fleet.TenantID, site string) (inTenant, inSite int64)
}

// Signer signs with the director's online key.
type Signer interface {
	Sign(ctx context.Context, d api.Directive) ([]byte, error)
	SignLease(ctx context.Context, l api.Lease) ([]byte, error)
}

// Notifier tells people.
type Notifier interface {
	Notify(ctx context.Context, severity, text string)
}

// Options are the engine's world. All fields are required.
type Options struct {
	Store      Store
	Releases   Releases
	Directives Directives
	Fleet      Fleet
	Signer     Signer
	Notifier   Notifier
	Clock      clock.Clock
	Log        *slog.Logger
	NewID      func(prefix string) string

	Tick      time.Duration // how often deadlines and wake-ups are looked at
	Grace     time.Duration // what hosts get on top of their deadlines after the server was not listening
	Reach     time.Duration // a host that was not heard for so long is not waited for
	Freshness time.Duration // life of a directive; it is renewed at half of it
}

// Engine runs all rollouts of an installation. New loads it; Run keeps time until its context ends. It is safe for concurrent use.
type Engine struct {
	Options
	mu       sync.Mutex // guards rollouts
	rollouts map[rollout.ID]*entry
	board    *board
	drain    sync.Mutex // one drain of reports at a time
}

// New loads every rollout from the store, publishes the directives that follow from them, and takes in the reports that were stored but
// not yet decided on. Outstanding leases get the grace: nobody was listening meanwhile.
func New(ctx context.Context, o Options) (*Engine, error) {
	e := &Engine{Options: o, rollouts: map[rollout.ID]*entry{}, board: newBoard()}
	rows, err := o.Store.Rollouts(ctx, "", loadAtMost)
	if err != nil {
		return nil, fmt.Errorf("load the rollouts: %w", err)
	}
	for _, row := range rows {
		leases, err := o.Store.Leases(ctx, row.State.ID)
		if err != nil {
			return nil, fmt.Errorf("load the leases of rollout %s: %w", row.State.ID, err)
		}
		e.rollouts[row.State.ID] = load(row, leases, o.Clock.Now(), o.Grace)
	}
	if err := e.loadBoard(ctx); err != nil {
		return nil, err
	}
	if err := e.Drain(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// loadAtMost bounds the rollouts that are kept in memory.
const loadAtMost = 10_000

// Run keeps deadlines, wakes rollouts and renews directives until ctx ends. It is the engine's only goroutine.
func (e *Engine) Run(ctx context.Context) error {
	last := e.Clock.Now()
	for e.Clock.Sleep(ctx, e.Tick) == nil {
		now := e.Clock.Now()
		if gap := now.Sub(last); gap > 10*e.Tick+time.Second {
			e.Log.WarnContext(ctx, "the server was not listening; deadlines are extended", slog.Duration("gap", gap))
			e.extend(gap)
		}
		last = now
		if err := e.tick(ctx, now); err != nil && ctx.Err() == nil {
			e.Log.ErrorContext(ctx, "tick", slog.Any("error", err))
		}
	}
	return nil
}

func (e *Engine) extend(gap time.Duration) {
	for _, r := range e.list() {
		r.mu.Lock()
		for id := range r.due {
			r.due[id] = r.due[id].Add(gap)
		}
		r.mu.Unlock()
	}
}

func (e *Engine) tick(ctx context.Context, now time.Time) error {
	if err := e.Drain(ctx); err != nil {
		return err
	}
	for _, r := range e.list() {
		if err := e.keepTime(ctx, r, now); err != nil {
			return err
		}
	}
	return e.renew(ctx, now)
}

// keepTime books the silent hosts of a rollout, and wakes it when it is due.
func (e *Engine) keepTime(ctx context.Context, r *entry, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.overdue(now) {
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
	_, err := e.step(ctx, r, e.census(r, now), nil)
	return err
}

func (e *Engine) census(r *entry, now time.Time) rollout.Woke {
	c := e.Fleet.Count(r.state.Release.Component, now.Add(-e.Reach), r.exposed, r.state.Plan.Rings[r.state.Ring].Select)
	return rollout.Woke{At: stamp(now), Eligible: c.Eligible, Remaining: c.Remaining, Available: c.Available}
}

// Start begins a rollout.
func (e *Engine) Start(ctx context.Context, want api.StartRollout, actor string) (api.Rollout, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	event, err := e.prepare(ctx, want, actor)
	if err != nil {
		return api.Rollout{}, fmt.Errorf("start a rollout of %s %s: %w", want.Component, want.Version, err)
	}
	r := newEntry()
	r.mu.Lock()
	defer r.mu.Unlock()
	e.rollouts[event.ID] = r
	if _, err := e.step(ctx, r, event, nil); err != nil {
		delete(e.rollouts, event.ID)
		return api.Rollout{}, err
	}
	return e.view(r), nil
}

// Act carries out an operator's command. A command that the phase does not allow is a Conflict that says what the phase is.
func (e *Engine) Act(ctx context.Context, id string, action rollout.Action, actor, reason string) (api.Rollout, error) {
	r, err := e.entry(rollout.ID(id))
	if err != nil {
		return api.Rollout{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	effects, err := e.step(ctx, r, rollout.OperatorActed{At: stamp(e.Clock.Now()), Action: action, Actor: actor, Reason: reason}, nil)
	if err != nil {
		return api.Rollout{}, err
	}
	if len(effects) == 0 {
		return api.Rollout{}, fault.New(fault.Conflict, "%s rollout %s: it is %s", action, id, r.state.Phase)
	}
	return e.view(r), nil
}

func (e *Engine) entry(id rollout.ID) (*entry, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r, ok := e.rollouts[id]
	if !ok {
		return nil, fault.New(fault.NotFound, "find rollout %q: there is none", id).Hint("run 'firebreak rollout list'")
	}
	return r, nil
}

func (e *Engine) list() []*entry {
	e.mu.Lock()
	defer e.mu.Unlock()
	all := make([]*entry, 0, len(e.rollouts))
	for _, r := range e.rollouts {
		all = append(all, r)
	}
	return all
}

// stamp makes a time into data.
func stamp(t time.Time) time.Time { return t.UTC().Round(0).Truncate(time.Microsecond) }
