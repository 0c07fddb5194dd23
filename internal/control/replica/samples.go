package replica

import (
	"context"
	"log/slog"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
)

// The leader writes down how the fleet is: of the whole fleet each minute, and of the versions whose number of hosts changed. Each hour, and when
// a reign begins, all versions are written, so that who reads from any time on finds within an hour where each of them stood.

const (
	sampleEvery   = time.Minute
	sampleLately  = 15 * time.Minute   // ago was heard who counts as heard
	sampledOf     = 50                 // versions of a component, those of the most hosts
	samplesWhole  = 2 * 24 * time.Hour // for so long there is one for each minute; then for each
	sampleStretch = 10 * time.Minute   // of these
	samplesKept   = 30 * 24 * time.Hour
)

// sampler is what the leader remembers of the samples of its reign.
type sampler struct {
	hosts  map[registry.Running]int64 // as written last
	whole  time.Time                  // hour in which all versions were written last
	thin   time.Time                  // everything before is thinned; zero: nobody knows
	forget time.Time                  // when old samples are forgotten next
}

// sample writes down how the fleet is, until ctx ends.
func (r *Replica) sample(ctx context.Context) error {
	var s sampler
	for r.Clock.Sleep(ctx, sampleEvery) == nil {
		now := r.Clock.Now()
		err := r.Store.AddSamples(ctx, s.samples(r.Fleet.State("", now.Add(-sampleLately)), now))
		if err == nil {
			err = s.tidy(ctx, r.Store, now)
		}
		if err != nil && ctx.Err() == nil {
			s.hosts = nil
			r.Log.WarnContext(ctx, "write down how the fleet is; will try again", slog.Any("error", err))
		}
	}
	return nil
}

// samples are those to write.
func (s *sampler) samples(fleet registry.State, now time.Time) []store.Sample {
	at := now.UTC().Truncate(sampleEvery)
	all := []store.Sample{{At: at, Hosts: fleet.Hosts, Heard: fleet.Heard}}
	hour := at.Truncate(time.Hour) // a minute may be missed, even the first one
	everything := s.hosts == nil || !hour.Equal(s.whole)
	s.whole = hour
	written := map[registry.Running]int64{}
	for _, v := range fleet.Largest(sampledOf) {
		if v.Version == "" || v.Summed > 0 {
			continue
		}
		if hosts, known := s.hosts[v.Running]; everything || !known || hosts != v.Hosts {
			all = append(all, store.Sample{At: at, Component: v.Component, Version: v.Version, Hosts: v.Hosts, Heard: v.Heard})
		}
		written[v.Running] = v.Hosts
	}
	for gone := range s.hosts {
		if _, still := written[gone]; !still {
			crew := fleet.Versions[gone]
			all = append(all, store.Sample{At: at, Component: gone.Component, Version: gone.Version, Hosts: crew.Hosts, Heard: crew.Heard})
		}
	}
	s.hosts = written
	return all
}

// tidy thins what is older than two days, and forgets what is older than thirty.
func (s *sampler) tidy(ctx context.Context, to Store, now time.Time) error {
	if s.forget.IsZero() {
		s.forget, s.thin = now, now.Add(-samplesKept)
	}
	if now.Before(s.forget) {
		return nil
	}
	until := now.Add(-samplesWhole).Truncate(sampleStretch)
	if err := to.ThinSamples(ctx, s.thin, until, sampleStretch); err != nil {
		return err
	}
	if err := to.ForgetSamples(ctx, now.Add(-samplesKept)); err != nil {
		return err
	}
	s.thin, s.forget = until, now.Add(time.Hour)
	return nil
}
