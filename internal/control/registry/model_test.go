package registry_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// model is a registry without any cleverness, driven beside the real one.
type model struct {
	*registry.Registry
	random *rand.Rand
	now    time.Time
	hosts  map[fleet.EndpointID]*registry.Endpoint
}

func (m *model) pick(of ...string) string { return of[m.random.IntN(len(of))] }

// id is of either form.
func (m *model) id() fleet.EndpointID {
	n := m.random.IntN(40)
	if n%2 == 0 {
		return fleet.EndpointID(fmt.Sprintf("ep-%020x", uint64(n)<<40))
	}
	return fleet.EndpointID(fmt.Sprint("ep-", n))
}

func (m *model) boot() string {
	return m.pick("", "boot-1", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0", "00000000-0000-0000-0000-000000000000")
}

func (m *model) subject() fleet.Subject {
	s := fleet.Subject{Tenant: fleet.TenantID(m.pick("acme", "globex")), Attributes: fleet.Attributes{Site: m.pick("graz", "linz")}}
	if m.random.IntN(2) == 0 {
		s.Labels = fleet.Labels{"role": m.pick("web", "db")}
	}
	return s
}

func (m *model) components() map[string]api.Component {
	switch m.random.IntN(5) {
	case 0:
		return nil
	case 1:
		return map[string]api.Component{}
	}
	all := has(m.pick("sensor", "nginx"), m.pick("sensor", "other"))
	if m.random.IntN(2) == 0 {
		all["sensor"] = api.Component{Phase: "proving", Why: fmt.Sprint(m.random.IntN(1000)), Refuses: []string{m.pick("a", "b")}}
	}
	return all
}

// act does one thing to both.
func (m *model) act() {
	id := m.id()
	e, known := m.hosts[id]
	switch m.random.IntN(8) {
	case 0:
		put := registry.Endpoint{
			ID: id, Subject: m.subject(), Enrolled: m.now, LastSeen: m.now, Components: m.components(), Boot: m.boot(), Reported: m.random.Int64N(9),
			Synced: m.random.IntN(2) == 0,
		}
		m.Put(put)
		if known {
			put.Reported = max(put.Reported, e.Reported)
		}
		m.hosts[id] = &put
	case 1:
		s := m.subject()
		m.Enrol(id, s, m.now)
		if !known {
			e = &registry.Endpoint{ID: id, Enrolled: m.now}
			m.hosts[id] = e
		}
		e.Subject, e.LastSeen, e.Synced, e.Left = s, m.now, false, false
	case 2:
		components, boot := m.components(), m.boot()
		a := m.subject().Attributes
		m.Update(id, &a, components, boot)
		if known {
			e.Subject.Attributes = a
			if components != nil && len(components)+len(e.Components) > 0 {
				e.Components = maps.Clone(components)
			}
			if boot != "" {
				e.Boot = boot
			}
			e.Synced = e.Synced || components != nil || boot != ""
		}
	case 3:
		p := fleet.PostureOf([]string{m.pick("guard", "good")})
		m.Stand(id, p)
		if known {
			e.Posture = p
		}
	case 4:
		m.Seen(id, m.now)
		if known {
			e.LastSeen, e.Left = m.now, false
		}
	case 5:
		m.Leaves(id, m.now)
		if known {
			e.LastSeen, e.Left = m.now, true
		}
	case 6:
		seq := m.random.Int64N(20)
		m.Report(id, seq)
		if known {
			e.Reported = max(e.Reported, seq)
		}
	case 7:
		m.End(id, m.random.IntN(2) == 0, "gone")
		delete(m.hosts, id)
		_ = m.Heard(m.Hearings(100), m.now, m.now) // a way through all marks
		m.Flush()
	}
	m.now = m.now.Add(time.Duration(m.random.Int64N(int64(time.Minute))))
}

func (m *model) check(t *testing.T) {
	t.Helper()
	for id, want := range m.hosts {
		if got, ok := m.Get(id); !ok || cmp.Diff(*want, got) != "" {
			t.Fatalf("%s (-want +got):\n%s", id, cmp.Diff(*want, got))
		}
	}
	sizes := registry.Sizes{Tenants: map[fleet.TenantID]int64{}, Sites: map[string]int64{}}
	census := registry.Census{}
	for _, e := range m.hosts {
		if _, has := e.Components["sensor"]; !has {
			continue
		}
		sizes.Fleet++
		sizes.Tenants[e.Subject.Tenant]++
		sizes.Sites[e.Subject.Attributes.Site]++
		if !slices.Contains(e.Components["sensor"].Refuses, "a") {
			census.Eligible++
		}
	}
	if diff := cmp.Diff(sizes, m.Sizes("sensor")); diff != "" {
		t.Fatalf("sizes (-want +got):\n%s", diff)
	}
	census.Remaining, census.Available = census.Eligible, census.Eligible
	got := m.Count(registry.Question{Component: "sensor", Refused: "a", Exposed: func(fleet.EndpointID) bool { return false }})
	if diff := cmp.Diff(census, got); diff != "" {
		t.Fatalf("census (-want +got):\n%s", diff)
	}
}

func TestTheRegistryIsWhatItWasTold(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		m := &model{Registry: registry.New(), random: rand.New(rand.NewPCG(seed, 0)), now: start(), hosts: map[fleet.EndpointID]*registry.Endpoint{}}
		for i := range 400 {
			m.act()
			if i%40 == 0 {
				m.check(t)
			}
		}
		m.check(t)
		if m.Len() != len(m.hosts) {
			t.Errorf("got %d hosts, want %d", m.Len(), len(m.hosts))
		}
	}
}

// What hosts say is kept once, and no longer than there is one that says it.
func TestWhatNobodySaysIsForgotten(t *testing.T) {
	t.Parallel()
	r := crowd(100, 4)
	before := r.Kept()
	if before != [4]int{8, 1, 8, 0} {
		t.Errorf("got %v kept of 100 hosts of 4 sites and 2 classes, want 8 subjects, 1 inventory, 8 kinds", before)
	}
	say := func(i int, why, boot string) {
		id := fleet.EndpointID(fmt.Sprint("ep-", i))
		r.Update(id, nil, map[string]api.Component{component: {Kind: "content", Phase: "idle", Why: why}}, boot)
		e, _ := r.Get(id)
		a := e.Subject.Attributes
		a.Kernel = why
		r.Update(id, &a, nil, "")
	}
	for round := range 20 {
		for i := range 100 {
			say(i, fmt.Sprint(round, " ", i), fmt.Sprint("odd boot ", round, " ", i))
		}
	}
	if got := r.Kept(); got != [4]int{100, 100, 100, 100} || r.Slots() > 210 {
		t.Errorf("got %v in %d slots while each says something else, want 100 of all, and no more slots than twice that", got, r.Slots())
	}
	for i := range 100 {
		say(i, "", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0")
	}
	if got := r.Kept(); got != before {
		t.Errorf("got %v kept after all say the same again, want %v", got, before)
	}
}

// A clock that is set changes neither how long ago a host was heard, nor that the time of it is told by the clock as it is now.
func TestSetClock(t *testing.T) {
	t.Parallel()
	stored := start()
	first := clock.Wall{}.Now()
	second := first.Add(time.Minute)
	set := first.Add(2 * time.Minute)
	(*struct {
		wall uint64
		mono int64
	})(unsafe.Pointer(&set)).mono -= int64(time.Minute) // two minutes later by the clock, one by the watch
	got := registry.ThereAndBack(time.Time{}, stored, first, second, set)
	if !got[0].IsZero() {
		t.Errorf("got %v of the zero time, want it", got[0])
	}
	if age := got[4].Sub(got[2]); age != time.Minute {
		t.Errorf("got %v from the first to the last, want the minute that passed", age)
	}
	if !got[4].Round(0).Equal(set.Round(0)) || !got[2].Round(0).Equal(set.Round(0).Add(-time.Minute)) {
		t.Errorf("got %v and %v, want them by the clock as it was set", got[2], got[4])
	}
	got = registry.ThereAndBack(stored, first)
	if !got[0].Equal(stored) || !got[1].Equal(first) {
		t.Errorf("got %v, want what was given", got)
	}
}
