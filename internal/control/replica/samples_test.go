package replica

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/control/registry"
)

func sampled(versions map[registry.Running]int64) registry.State {
	s := registry.State{Versions: map[registry.Running]registry.Crew{}}
	for running, hosts := range versions {
		s.Hosts += hosts
		s.Versions[running] = registry.Crew{Hosts: hosts}
	}
	return s
}

// The whole fleet is written each minute; a version when its number of hosts changed, and each hour.
func TestSamples(t *testing.T) {
	t.Parallel()
	one, two, none := registry.Running{Component: "a", Version: "1"}, registry.Running{Component: "a", Version: "2"}, registry.Running{Component: "a"}
	begin := time.Date(2026, 7, 19, 4, 9, 7, 0, time.UTC)
	var s sampler
	for _, c := range []struct {
		name   string
		minute int
		fleet  map[registry.Running]int64
		want   map[registry.Running]int64
	}{
		{"a reign begins", 0, map[registry.Running]int64{one: 5, none: 2}, map[registry.Running]int64{one: 5}},
		{"nothing changed", 1, map[registry.Running]int64{one: 5, none: 1}, map[registry.Running]int64{}},
		{"another came", 2, map[registry.Running]int64{one: 5, two: 1}, map[registry.Running]int64{two: 1}},
		{"hosts changed", 3, map[registry.Running]int64{one: 4, two: 2}, map[registry.Running]int64{one: 4, two: 2}},
		{"one went", 4, map[registry.Running]int64{two: 2}, map[registry.Running]int64{one: 0}},
		{"and stays so", 5, map[registry.Running]int64{two: 2}, map[registry.Running]int64{}},
		{"an hour begins", 51, map[registry.Running]int64{two: 2}, map[registry.Running]int64{two: 2}},
		{"it goes on", 52, map[registry.Running]int64{two: 2}, map[registry.Running]int64{}},
		{"the first minute of an hour was missed", 112, map[registry.Running]int64{two: 2}, map[registry.Running]int64{two: 2}},
		{"and it goes on", 113, map[registry.Running]int64{two: 2}, map[registry.Running]int64{}},
	} {
		now := begin.Add(time.Duration(c.minute) * time.Minute)
		got := map[registry.Running]int64{}
		var whole int64
		for i, v := range s.samples(sampled(c.fleet), now) {
			if !v.At.Equal(now.Truncate(time.Minute)) || (i == 0) != (v.Component == "") {
				t.Errorf("%s: got %+v, want the whole fleet first, all of the minute", c.name, v)
			}
			if i == 0 {
				whole = v.Hosts
			} else {
				got[registry.Running{Component: v.Component, Version: v.Version}] = v.Hosts
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || whole != sampled(c.fleet).Hosts {
			t.Errorf("%s: got %d of the whole fleet, versions (-want +got):\n%s", c.name, whole, diff)
		}
	}
}

// tidied notes what it is told to thin and to forget.
type tidied struct {
	Store
	thinned   [][2]time.Time
	forgotten []time.Time
	fails     bool
}

func (s *tidied) ThinSamples(_ context.Context, from, to time.Time, _ time.Duration) error {
	if s.fails {
		return errors.New("the disk is full")
	}
	s.thinned = append(s.thinned, [2]time.Time{from, to})
	return nil
}

func (s *tidied) ForgetSamples(_ context.Context, before time.Time) error {
	s.forgotten = append(s.forgotten, before)
	return nil
}

// Nothing is thinned twice, and nothing is left out.
func TestSamplesAreTidied(t *testing.T) {
	t.Parallel()
	begin := time.Date(2026, 7, 19, 4, 9, 0, 0, time.UTC)
	var s sampler
	db := &tidied{fails: true}
	if err := s.tidy(t.Context(), db, begin); err == nil {
		t.Error("got no error of a full disk")
	}
	db.fails = false
	for minute := range 62 {
		if err := s.tidy(t.Context(), db, begin.Add(time.Duration(minute)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	kept := func(d time.Duration) time.Time { return begin.Add(d - samplesWhole).Truncate(sampleStretch) }
	want := [][2]time.Time{{begin.Add(-samplesKept), kept(0)}, {kept(0), kept(time.Hour)}}
	if diff := cmp.Diff(want, db.thinned); diff != "" {
		t.Errorf("thinned (-want +got):\n%s", diff)
	}
	if want := []time.Time{begin.Add(-samplesKept), begin.Add(time.Hour - samplesKept)}; !cmp.Equal(want, db.forgotten) {
		t.Errorf("got %v forgotten, want %v", db.forgotten, want)
	}
}
