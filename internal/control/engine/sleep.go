package engine

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// awake is for how long the leases of a rollout that is over stay in memory: its hosts may still have something to say.
const awake = 7 * 24 * time.Hour

// rests tells whether a rollout needs no leases in memory: it is over, no directive names it, and its hosts have had a week to speak. What
// comes later belongs to no lease; should it be named again, it is roused. The caller holds its lock, or is the only one who knows it.
func (e *Engine) rests(r *entry) bool {
	s, now := r.state, stamp(e.Clock.Now())
	over := s.Phase == rollout.Complete || s.Phase.Final()
	return over && !e.board.current(s) && !s.Armed(now) && now.Sub(s.Last) > awake
}

// rouse loads the leases of a rollout that slept. A pending one keeps what was left of its time when the server last decided, plus the grace.
// The first look comes when the hosts have had time to be heard. The caller holds its lock.
func (e *Engine) rouse(ctx context.Context, r *entry) error {
	leases, err := e.Store.Leases(ctx, r.state.ID)
	if err != nil {
		return fmt.Errorf("load the leases of rollout %s: %w", r.state.ID, err)
	}
	now := e.Clock.Now()
	r.replace(store.Rollout{State: r.state, Revision: r.revision, Incident: r.incident}, leases, now.Add(e.Grace))
	r.watched.resume(leases)
	if r.ticking() {
		r.wake = now.Add(min(e.Grace, e.Hearing/3))
	}
	r.asleep = false
	return nil
}

// sleeps lets a rollout that rests go to sleep, and tells whether it does. The caller holds its lock.
func (e *Engine) sleeps(r *entry) bool {
	if r.asleep || !e.rests(r) || r.doubt != nil {
		return r.asleep
	}
	fresh := newEntry()
	r.leases, r.harmed, r.gone, r.tenants, r.sites = fresh.leases, fresh.harmed, fresh.gone, fresh.tenants, fresh.sites
	r.watched, r.wake, r.asleep = fresh.watched, time.Time{}, true
	r.due.clear()
	return true
}

// unsure are components of which a rollout may have been stored though its start failed: the database was lost while it committed.
type unsure struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// unsureFor is for how long such a commit may still come to light.
const unsureFor = 2 * time.Minute

func (u *unsure) note(component string, until time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.until == nil {
		u.until = map[string]time.Time{}
	}
	u.until[component] = until
}

// still lists the components that are still unsure.
func (u *unsure) still(now time.Time) []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.until, func(_ string, until time.Time) bool { return now.After(until) })
	var all []string
	for component := range u.until {
		all = append(all, component)
	}
	return all
}
