package engine

import (
	"maps"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

const (
	vigilEvery = 5 * time.Minute
	vigilHosts = 200
	// vigilControls is the fewest that a vigil needs to speak up. With fewer the breaker judges by the plan's ceiling, which is made for the
	// minutes after an activation; in the days that a vigil lasts, hosts go home.
	vigilControls = 100
)

// keepVigil looks after hosts that confirmed earlier, from time to time and a few hundred at once: what bricks them then, they cannot
// report. It is over before the next one begins. At amber it is kept even where there are few controls: hosts that are well clear the
// alarm.
func (e *Engine) keepVigil(r *entry, now, listened time.Time) {
	deadline := time.Duration(r.state.Plan.Lease.Deadline)
	every := max(vigilEvery, deadline)
	if r.watched.vigil.IsZero() {
		r.watched.vigil = listened.Add(every)
	}
	if listened.Before(r.watched.vigil) || r.state.Confirmed() == 0 {
		return
	}
	r.watched.vigil = listened.Add(every)
	apart := e.apart(r, now)
	c := &cohort{vigil: true, since: now.Add(-fresh), opened: now, ends: listened.Add(deadline), hosts: e.settledHosts(r, now, apart)}
	controls := e.controls(r, c, apart)
	if r.state.Alarm == breaker.Quiet {
		maps.DeleteFunc(controls, func(_ string, ids []fleet.EndpointID) bool { return len(ids) < vigilControls })
		c.hosts = slices.DeleteFunc(c.hosts, func(id fleet.EndpointID) bool { return controls[r.leases[id].Class] == nil })
	}
	if len(c.hosts) == 0 {
		return
	}
	for _, id := range c.hosts {
		r.watched.of[id] = c
	}
	e.open(r, c, controls)
}

// settledHosts draws hosts that run the release, are well as far as anybody knows, and stand in no cohort.
func (e *Engine) settledHosts(r *entry, now time.Time, apart bool) []fleet.EndpointID {
	held := heldBack(r.state)
	drawn := e.Fleet.Draw(registry.Draw{
		Component: r.component, Since: now.Add(-fresh), Each: vigilHosts, Most: vigilHosts, Apart: apart, Seed: seed(r.id, now),
		Fits: func(id fleet.EndpointID, s fleet.Subject) bool {
			l := r.leases[id]
			return l.Outcome == rollout.Confirmed && l.Recovered.IsZero() && r.watched.of[id] == nil && (held == nil || !held(s))
		},
	})
	var hosts []fleet.EndpointID
	for _, class := range slices.Sorted(maps.Keys(drawn)) {
		hosts = append(hosts, drawn[class]...)
	}
	return hosts
}

// tells is whether the rollout is to know what a vigil found. With few controls it is not, whatever that is: good news that is told where bad
// news is not would clear an alarm that is none of it.
func tells(f rollout.Compared) bool { return f.Control.Watched >= vigilControls }
