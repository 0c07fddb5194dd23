package live

import (
	"cmp"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Limits of an overview.
const (
	mostRollouts  = 50
	mostIncidents = 50
	lately        = 24 * time.Hour // a rollout that ended before is not shown
)

// Facts are what an overview is composed of.
type Facts struct {
	At        time.Time
	Rollouts  []api.Rollout    // those that have not ended, then others; each the newest first
	Phases    map[string]int64 // all rollouts
	Incidents []api.Incident   // the open ones, newest first
	Fleet     api.FleetState
	Usual     float64              // share of hosts that are silent as a rule; 0 if nobody knows
	Paused    map[string]time.Time // by rollout: since when it is paused, if that is known
	Freezes   calendar.Calendar
	Health    []api.HealthCheck
}

// Compose says what is going on.
func Compose(f Facts) api.Overview {
	o := api.Overview{
		At: f.At.UTC(), Fleet: f.Fleet, Rollouts: map[string]api.Rollout{}, Phases: f.Phases, Incidents: map[string]api.Incident{},
		Freezes: inForce(f.Freezes, f.At), Health: f.Health, Attention: f.attention(),
	}
	if o.Phases == nil {
		o.Phases = map[string]int64{}
	}
	if o.Health == nil {
		o.Health = []api.HealthCheck{}
	}
	if o.Fleet.Versions == nil {
		o.Fleet.Versions = []api.VersionCount{}
	}
	for _, phase := range []rollout.Phase{rollout.Proposed, rollout.Running, rollout.Paused} {
		o.Running += f.Phases[string(phase)]
	}
	for _, r := range f.shown() {
		if r.Rings == nil {
			r.Rings = []api.Ring{}
		}
		o.Rollouts[r.ID] = r
	}
	for _, i := range f.Incidents[:min(len(f.Incidents), mostIncidents)] {
		o.Incidents[i.ID] = i
	}
	return o
}

// shown picks the rollouts to show: those with an alarm first, then those that have not ended, then the newest.
func (f Facts) shown() []api.Rollout {
	picked := slices.DeleteFunc(slices.Clone(f.Rollouts), func(r api.Rollout) bool {
		return r.Ended != nil && f.At.Sub(*r.Ended) > lately
	})
	slices.SortStableFunc(picked, func(a, b api.Rollout) int { return cmp.Compare(urgency(b), urgency(a)) })
	return picked[:min(len(picked), mostRollouts)]
}

func urgency(r api.Rollout) int {
	switch {
	case r.Ended != nil:
		return 0
	case alarmed(r):
		return 2
	}
	return 1
}

// inForce tells of each freeze that holds now, and until when.
func inForce(c calendar.Calendar, now time.Time) []string {
	texts := []string{}
	for _, freeze := range c.Freezes {
		if shut := (calendar.Calendar{Freezes: []calendar.Freeze{freeze}}).At(now); shut.Closed {
			texts = append(texts, shut.Reason)
		}
	}
	return texts
}

// usual is the share of hosts that are silent as a rule: the median of what was counted up to an hour ago, so that what happens now does
// not count as usual.
func usual(samples []store.Sample, now time.Time) float64 {
	var shares []float64
	for _, s := range samples {
		if s.Hosts > 0 && now.Sub(s.At) >= time.Hour {
			shares = append(shares, 1-float64(s.Heard)/float64(s.Hosts))
		}
	}
	if len(shares) == 0 {
		return 0
	}
	slices.Sort(shares)
	return shares[len(shares)/2]
}

// incidentWire is an incident in a list.
func incidentWire(i store.Incident) api.Incident {
	w := api.Incident{ID: i.ID, Rollout: string(i.Rollout), Component: i.Component, Version: i.Version, Title: i.Title, Opened: i.Opened.UTC()}
	if !i.Closed.IsZero() {
		closed := i.Closed.UTC()
		w.Closed = &closed
	}
	return w
}
