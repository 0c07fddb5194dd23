package app

import (
	"context"
	"maps"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/health"
	"github.com/firebreak-dev/firebreak/internal/control/metrics"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// observe measures the database's transactions.
func (a *App) observe() (ended func(writes int, err error)) {
	begun := a.Clock.Now()
	return func(writes int, err error) {
		if err != nil {
			a.metrics.WriteFailed()
			return
		}
		a.metrics.Committed(writes, a.Clock.Now().Sub(begun))
	}
}

// measured is how many ended rollouts the metrics are told of: they show fewer.
const measured = 50

// snapshot is what the metrics ask for with every scrape.
func (a *App) snapshot() metrics.Snapshot {
	now := a.Clock.Now()
	s := metrics.Snapshot{Endpoints: int64(a.fleet.Len()), Phases: map[string]int64{}}
	for _, group := range a.fleet.Profile("", now.Add(-metrics.HeardWithin), 0) {
		s.Heard += group.Heard
	}
	s.Leader, s.Term, _ = a.replica.Leads()
	report := a.health.Report()
	s.Ready, s.Checks = report.Ready, map[string]bool{}
	for _, c := range report.Checks {
		s.Checks[c.Name] = c.OK
		s.LeaderKnown = s.LeaderKnown || c.Name == "leader" && c.OK
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if phases, err := a.replica.Phases(ctx); err == nil {
		for phase, n := range phases {
			s.Phases[string(phase)] = n
		}
	}
	active, err := a.replica.Rollouts(ctx, store.RolloutQuery{Active: true})
	ended, failed := a.replica.Rollouts(ctx, store.RolloutQuery{
		Phases: []rollout.Phase{rollout.Complete, rollout.Halted, rollout.Tripped, rollout.RolledBack}, Limit: measured,
	})
	if err == nil && failed == nil {
		for _, r := range append(active, ended...) {
			s.Rollouts = append(s.Rollouts, metrics.Rollout{
				ID: r.ID, Component: r.Component, Version: r.Version, Active: r.Phase == "running" || r.Phase == "paused", Ring: r.Ring,
				Leased: r.Exposed, Confirmed: r.Confirmed, Unconfirmed: r.Unconfirmed, Harmed: r.Harmed, Evidence: r.Evidence, Alarm: alarm(r.Alarm),
			})
		}
	}
	queue, most := a.store.Waiting()
	s.Queue, s.QueueLimit = int64(queue), int64(most)
	s.Expires = map[string]time.Time{"authority": a.ca.Expires()}
	if signed, err := a.repo.Expires(context.Background()); err == nil {
		maps.Copy(s.Expires, signed)
	}
	if room, err := health.Room(a.Data); err == nil {
		s.DataFree, s.DataSize = int64(room.Free), int64(room.Size) //nolint:gosec // no disk has so many bytes
	}
	return s
}

func alarm(name string) float64 {
	switch name {
	case "amber":
		return metrics.AlarmAmber
	case "trip":
		return metrics.AlarmTrip
	}
	return metrics.AlarmQuiet
}
