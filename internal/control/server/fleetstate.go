package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

const (
	countedFor   = 2 * time.Second // a count of the fleet is good for so long, for all who ask
	mostVersions = 20              // of a component
	mostSites    = 20
)

func (s *server) fleetState(w http.ResponseWriter, r *http.Request) error {
	component, err := s.componentAsked(r)
	if err != nil {
		return err
	}
	state, at, err := s.countedFleet(component)
	if err != nil {
		return err
	}
	return writeOK(w, fleetWire(state, component, at))
}

// componentAsked reads ?component=, which must be there if it is named.
func (s *server) componentAsked(r *http.Request) (string, error) {
	component := r.URL.Query().Get("component")
	if component == "" {
		return "", nil
	}
	_, err := s.Components.Component(r.Context(), component)
	return component, err
}

// counts are the newest counts of the fleet, by component.
type counts struct {
	mu sync.Mutex
	of map[string]counted
}

type counted struct {
	registry.State

	at time.Time
}

// countedFleet counts the hosts that have a component, or all. Who asks while it is counted waits and shares. What is in the answer must not be
// changed.
func (s *server) countedFleet(component string) (registry.State, time.Time, error) {
	if s.Live == nil {
		return registry.State{}, time.Time{}, fault.New(fault.Unavailable, "count the fleet: this control plane does not follow it")
	}
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	now := s.Clock.Now()
	last, known := s.counts.of[component]
	if known && now.Sub(last.at).Abs() < countedFor {
		return last.State, last.at, nil
	}
	if s.counts.of == nil {
		s.counts.of = map[string]counted{}
	}
	last = counted{State: s.Live.State(component, now.Add(-lately)), at: now}
	s.counts.of[component] = last
	return last.State, last.at, nil
}

// CountFleet counts the fleet as it is now, from memory: the hosts that have the component, or all if it is empty.
func CountFleet(live Live, component string, now time.Time) api.FleetState {
	return fleetWire(live.State(component, now.Add(-lately)), component, now)
}

func fleetWire(state registry.State, component string, at time.Time) api.FleetState {
	answer := api.FleetState{
		At: at.UTC(), Component: component, Endpoints: state.Hosts, Heard: state.Heard, Silent: state.Hosts - state.Heard, Refusing: state.Refusing,
		AtRisk: state.AtRisk, Versions: []api.VersionCount{}, Lacks: state.Lacks, Classes: state.Classes, Sites: largest(state.Sites, mostSites),
	}
	for _, v := range state.Largest(mostVersions) {
		answer.Versions = append(answer.Versions, api.VersionCount{
			Component: v.Component, Version: v.Version, Hosts: v.Hosts, Heard: v.Heard, Summed: v.Summed,
		})
	}
	return answer
}

// largest leaves the names with the highest numbers.
func largest(all map[string]int64, most int) map[string]int64 {
	if len(all) <= most {
		return all
	}
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(all[b], all[a]), cmp.Compare(a, b)) })
	kept := make(map[string]int64, most)
	for _, name := range names[:most] {
		kept[name] = all[name]
	}
	return kept
}

// How far back a history goes if nobody says, and how much is told at most.
const (
	historyOf   = 24 * time.Hour
	mostSamples = 2000
	readSamples = 100_000
)

func (s *server) fleetHistory(w http.ResponseWriter, r *http.Request) error {
	component, err := s.componentAsked(r)
	if err != nil {
		return err
	}
	now := s.Clock.Now().UTC()
	since := now.Add(-historyOf)
	if text := r.URL.Query().Get("since"); text != "" {
		if since, err = time.Parse(time.RFC3339, text); err != nil {
			return badQuery("since", fmt.Sprintf("must be a time such as 2026-07-19T04:09:00Z, is %q", shorten(text)))
		}
	}
	answer, err := History(r.Context(), s.Fleet, component, since, now)
	if err != nil {
		return err
	}
	return writeOK(w, answer)
}

// Samples knows how the fleet was. *store.Store is one.
type Samples interface {
	// Samples lists at most limit samples of a component, or of the whole fleet if it is empty, since a time, in the order of time.
	Samples(ctx context.Context, component string, since time.Time, limit int) ([]store.Sample, error)
}

// History tells how the fleet was, or how many hosts ran each version of a component. All versions are written down once an hour: what was
// so when the history begins is told as of then.
func History(ctx context.Context, from Samples, component string, since, until time.Time) (api.FleetHistory, error) {
	answer := api.FleetHistory{Since: since, Until: until, Samples: []api.FleetSample{}}
	begin := since
	if component != "" {
		begin = since.Add(-time.Hour - time.Minute)
	}
	samples, err := from.Samples(ctx, component, begin, readSamples)
	if err != nil {
		return answer, err
	}
	samples = asOf(samples, since)
	for stretch := 2 * time.Minute; len(samples) > mostSamples; stretch *= 2 {
		samples = thinned(samples, stretch)
	}
	for _, v := range samples {
		answer.Samples = append(answer.Samples, api.FleetSample{At: v.At, Component: v.Component, Version: v.Version, Hosts: v.Hosts, Heard: v.Heard})
	}
	return answer, nil
}

// asOf leaves, of the samples before a time, the last of each version, as of that time.
func asOf(samples []store.Sample, since time.Time) []store.Sample {
	first := 0
	for first < len(samples) && samples[first].At.Before(since) {
		first++
	}
	var before []store.Sample
	for _, v := range thinned(samples[:first], 0) {
		if v.Hosts > 0 {
			v.At = since
			before = append(before, v)
		}
	}
	return append(before, samples[first:]...)
}

// thinned leaves the last sample of each version in each stretch of time; of all time, if stretch is 0.
func thinned(samples []store.Sample, stretch time.Duration) []store.Sample {
	type key struct {
		version string
		at      int64
	}
	seen := map[key]bool{}
	var kept []store.Sample
	for _, v := range slices.Backward(samples) {
		k := key{version: v.Version}
		if stretch > 0 {
			k.at = v.At.Truncate(stretch).Unix()
		}
		if !seen[k] {
			seen[k] = true
			kept = append(kept, v)
		}
	}
	slices.Reverse(kept)
	return kept
}
