package live

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Rollouts shows rollouts as they are now. *replica.Replica and *engine.Engine do: from memory where they decide, which needs no database.
type Rollouts interface {
	Rollout(ctx context.Context, id string) (api.Rollout, error)
	Rollouts(ctx context.Context, q store.RolloutQuery) ([]api.Rollout, error)
	Phases(ctx context.Context) (map[rollout.Phase]int64, error)
}

// Store has what only the database knows. *store.Store is one.
type Store interface {
	// OpenIncidents lists at most limit incidents that are not closed, newest first.
	OpenIncidents(ctx context.Context, limit int) ([]store.Incident, error)
	// NotableEvents lists at most limit events of a rollout that are as notable as that, newest first; a before of 0 is above all.
	NotableEvents(ctx context.Context, id rollout.ID, n store.Notable, before int64, limit int) ([]store.Event, error)
	// Samples lists at most limit samples of a component, or of the whole fleet if it is empty, that were taken since.
	Samples(ctx context.Context, component string, since time.Time, limit int) ([]store.Sample, error)
}

// DeskOptions are what a desk asks. The store is asked for little and given little time, and left alone for a while once it fails: the
// overview then has what was known before, and Health says why.
type DeskOptions struct {
	Rollouts Rollouts
	Store    Store
	Fleet    func(now time.Time) api.FleetState // from memory
	Freezes  func() calendar.Calendar           // from memory
	Health   func() []api.HealthCheck           // from memory; nil: nobody looks
	Clock    clock.Clock
}

// Desk composes the overview. Its methods are safe for concurrent use.
type Desk struct {
	DeskOptions
	mu        sync.Mutex
	last      api.Overview
	fresh     time.Time // until then last is good
	away      time.Time // until then the database is not asked
	fleet     part[api.FleetState]
	incidents part[[]api.Incident]
	usual     part[float64]
	paused    map[string]pause // by rollout
}

// part is a part of an overview that is not worked out each time.
type part[T any] struct {
	value T
	until time.Time
}

// pause is since when a rollout is paused, as its decisions say.
type pause struct {
	revision int64
	since    time.Time // zero: they do not say
}

// How long what was worked out is good.
const (
	overviewFor  = 250 * time.Millisecond
	fleetFor     = 2 * time.Second
	incidentsFor = 2 * time.Second
	usualFor     = 10 * time.Minute
	awayFor      = 5 * time.Second        // the database, after it failed
	askWithin    = 300 * time.Millisecond // the database
	lookBack     = 50                     // decisions, for the one that paused a rollout
	fleetShare   = 20                     // counting the fleet takes one in so many parts of the time at most
)

// looked is how many rollouts are looked at for what needs people: not all that are running may fit into the overview.
const looked = 200

// NewDesk makes a desk.
func NewDesk(o DeskOptions) *Desk { return &Desk{DeskOptions: o, paused: map[string]pause{}} }

// Overview says what is going on. It must not be changed.
func (d *Desk) Overview(ctx context.Context) (api.Overview, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.Clock.Now()
	if now.Before(d.fresh) && now.Add(overviewFor).After(d.fresh) {
		return d.last, nil
	}
	f := Facts{At: now, Freezes: d.Freezes(), Fleet: d.fleetState(now)}
	if err := d.moving(ctx, &f); err != nil {
		return api.Overview{}, fmt.Errorf("look at the rollouts: %w", err)
	}
	f.Incidents, f.Usual, f.Paused = d.openIncidents(ctx, now), d.usually(ctx, now), d.pauses(ctx, now, f.Rollouts)
	if d.Health != nil {
		f.Health = d.Health()
	}
	d.last, d.fresh = Compose(f), now.Add(overviewFor)
	return d.last, nil
}

// moving finds the rollouts that have not ended, and the newest of those that have.
func (d *Desk) moving(ctx context.Context, f *Facts) error {
	active, err := d.Rollouts.Rollouts(ctx, store.RolloutQuery{Active: true, Limit: looked})
	if err != nil {
		return err
	}
	ended, err := d.Rollouts.Rollouts(ctx, store.RolloutQuery{
		Phases: []rollout.Phase{rollout.Complete, rollout.Halted, rollout.Tripped, rollout.RolledBack}, Limit: mostRollouts,
	})
	if err != nil {
		return err
	}
	f.Rollouts = append(active, ended...)
	phases, err := d.Rollouts.Phases(ctx)
	f.Phases = make(map[string]int64, len(phases))
	for phase, n := range phases {
		f.Phases[string(phase)] = n
	}
	return err
}

// ask asks the database, unless it failed a moment ago.
func (d *Desk) ask(ctx context.Context, now time.Time, question func(context.Context) error) {
	if now.Before(d.away) && d.away.Sub(now) <= awayFor {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	if question(ctx) != nil {
		d.away = d.Clock.Now().Add(awayFor)
	}
}

// good tells whether a part need not be worked out again. A clock that was put back makes nothing good for longer.
func (p part[T]) good(now time.Time, longest time.Duration) bool {
	return now.Before(p.until) && p.until.Sub(now) <= longest
}

func (d *Desk) fleetState(now time.Time) api.FleetState {
	if !d.fleet.good(now, time.Minute) {
		d.fleet.value = d.Fleet(now)
		took := d.Clock.Now().Sub(now)
		d.fleet.until = now.Add(min(max(fleetFor, fleetShare*took), time.Minute))
	}
	return d.fleet.value
}

func (d *Desk) openIncidents(ctx context.Context, now time.Time) []api.Incident {
	if d.incidents.good(now, incidentsFor) {
		return d.incidents.value
	}
	d.ask(ctx, now, func(ctx context.Context) error {
		rows, err := d.Store.OpenIncidents(ctx, mostIncidents)
		if err != nil {
			return err
		}
		open := make([]api.Incident, len(rows))
		for i, row := range rows {
			open[i] = incidentWire(row)
		}
		d.incidents = part[[]api.Incident]{open, now.Add(incidentsFor)}
		return nil
	})
	return d.incidents.value
}

func (d *Desk) usually(ctx context.Context, now time.Time) float64 {
	if d.usual.good(now, usualFor) {
		return d.usual.value
	}
	d.ask(ctx, now, func(ctx context.Context) error {
		samples, err := d.Store.Samples(ctx, "", now.Add(-24*time.Hour), 0)
		if err != nil {
			return err
		}
		d.usual = part[float64]{usual(samples, now), now.Add(usualFor)}
		return nil
	})
	return d.usual.value
}

// pauses finds since when rollouts are paused: their decisions have it.
func (d *Desk) pauses(ctx context.Context, now time.Time, rollouts []api.Rollout) map[string]time.Time {
	since, paused := map[string]time.Time{}, map[string]bool{}
	for _, r := range rollouts {
		if r.Phase != string(rollout.Paused) {
			continue
		}
		paused[r.ID] = true
		if known, has := d.paused[r.ID]; !has || known.revision != r.Revision {
			d.ask(ctx, now, func(ctx context.Context) error {
				at, err := d.pausedAt(ctx, r)
				if err == nil {
					d.paused[r.ID] = pause{r.Revision, at}
				}
				return err
			})
		}
		if at := d.paused[r.ID].since; !at.IsZero() {
			since[r.ID] = at
		}
	}
	maps.DeleteFunc(d.paused, func(id string, _ pause) bool { return !paused[id] })
	return since
}

// pausedAt is when the newest decision was taken that paused a rollout; zero if it is too long ago to be found.
func (d *Desk) pausedAt(ctx context.Context, r api.Rollout) (time.Time, error) {
	events, err := d.Store.NotableEvents(ctx, rollout.ID(r.ID), store.Matters, 0, lookBack)
	for _, e := range events {
		records, unread := rollout.DecodeRecords(e.Effects)
		if unread != nil {
			return time.Time{}, unread
		}
		if slices.ContainsFunc(records, func(r rollout.Record) bool { return r.Verdict == rollout.DidPause }) {
			return e.At, nil
		}
	}
	return time.Time{}, err
}

// Source is the topic of the overview. Its times move in steps of ten seconds, so that a patch is sent when something has changed and not
// only the time.
func (d *Desk) Source() Source {
	const step = 10 * time.Second
	return func(string) Look {
		return func(ctx context.Context) (any, error) {
			o, err := d.Overview(ctx)
			o.At, o.Fleet.At = o.At.Truncate(step), o.Fleet.At.Truncate(step)
			return o, err
		}
	}
}

// Rollout is the topic of a rollout.
func Rollout(show func(ctx context.Context, id string) (api.Rollout, error)) Source {
	return func(id string) Look {
		return func(ctx context.Context) (any, error) {
			r, err := show(ctx, id)
			if err != nil {
				return nil, missing(err, id)
			}
			return r, nil
		}
	}
}

// timelineLength is how many decisions a timeline has at most.
const timelineLength = 200

// Decisions lists the newest decisions of a rollout that matter.
type Decisions func(ctx context.Context, id string, limit int) ([]api.Decision, error)

// Timeline is the topic of a rollout's decisions that matter, by revision. They are read only when the rollout has a new revision.
func Timeline(show func(ctx context.Context, id string) (api.Rollout, error), list Decisions) Source {
	return func(id string) Look {
		const none = -1
		revision := int64(none)
		return func(ctx context.Context) (any, error) {
			r, err := show(ctx, id)
			if err == nil && r.Revision == revision {
				return nil, nil
			}
			revision = none
			if err != nil {
				return nil, missing(err, id)
			}
			decisions, err := list(ctx, id, timelineLength)
			if err != nil {
				return nil, fmt.Errorf("look at the decisions of rollout %s: %w", id, err)
			}
			revision = r.Revision
			timeline := make(map[string]api.Decision, len(decisions))
			for _, d := range decisions {
				timeline[strconv.FormatInt(d.Revision, 10)] = d
			}
			return timeline, nil
		}
	}
}

// missing says which rollout there is not.
func missing(err error, id string) error {
	if fault.KindOf(err) == fault.NotFound {
		return fault.New(fault.NotFound, "there is no rollout %s", id)
	}
	return err
}
