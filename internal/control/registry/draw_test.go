package registry_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// crowd is a registry of n hosts on so many sites, every third of them a laptop and the others servers.
func crowd(n, sites int) *registry.Registry {
	r := registry.New()
	for i := range n {
		e := host(fleet.EndpointID(fmt.Sprint("ep-", i)), "acme", fmt.Sprint("site-", i%sites))
		e.Subject.Attributes.Class = []string{"laptop", "server", "server"}[i%3]
		r.Put(e)
	}
	return r
}

func anybody(fleet.EndpointID, fleet.Subject) bool { return true }

func TestDraw(t *testing.T) {
	t.Parallel()
	r := crowd(3000, 10)
	got := r.Draw(registry.Draw{Component: component, Since: start(), Classes: []string{"server"}, Each: 500, Fits: anybody, Seed: 7})
	ids := slices.Clone(got["server"])
	slices.Sort(ids)
	if len(got) != 1 || len(slices.Compact(ids)) != 500 {
		t.Errorf("got %d servers of %d classes, want 500 different ones and nobody else", len(ids), len(got))
	}
	sites := map[string]int{}
	for _, id := range ids {
		e, _ := r.Get(id)
		sites[e.Subject.Attributes.Site]++
	}
	for site, n := range sites {
		if n < 40 || n > 60 {
			t.Errorf("site %s: got %d of 500 hosts, want about 50: hosts are to be spread", site, n)
		}
	}
	again := r.Draw(registry.Draw{Component: component, Since: start(), Classes: []string{"server"}, Each: 500, Fits: anybody, Seed: 7})
	other := r.Draw(registry.Draw{Component: component, Since: start(), Classes: []string{"server"}, Each: 500, Fits: anybody, Seed: 8})
	if cmp.Diff(got, again) != "" || cmp.Diff(got, other) == "" {
		t.Error("want the same hosts for the same seed, and others for another")
	}
	all := r.Draw(registry.Draw{Component: component, Each: 1 << 30, Fits: anybody})
	if len(all["server"]) != 2000 || len(all["laptop"]) != 1000 {
		t.Errorf("got %d servers and %d laptops, want each of them once", len(all["server"]), len(all["laptop"]))
	}
}

// Whoever does not fit is not drawn, for whatever reason.
func TestDrawLeavesOut(t *testing.T) {
	t.Parallel()
	r := crowd(12, 4)
	later := start().Add(time.Minute)
	for i := range 11 { // ep-11 is not heard
		r.Seen(fleet.EndpointID(fmt.Sprint("ep-", i)), later)
	}
	r.Leaves("ep-10", later)
	r.Update("ep-9", nil, has("other"), "")
	r.Update("ep-8", nil, map[string]api.Component{component: {Consumer: "7.1"}}, "")
	fits := func(id fleet.EndpointID, s fleet.Subject) bool { return id != "ep-7" && s.Consumer == "" }
	drawn := func(d registry.Draw) []fleet.EndpointID {
		d.Component, d.Since, d.Fits = component, later, fits
		var ids []fleet.EndpointID
		for _, class := range r.Draw(d) {
			ids = append(ids, class...)
		}
		slices.Sort(ids)
		return ids
	}
	want := []fleet.EndpointID{"ep-0", "ep-1", "ep-2", "ep-3", "ep-4", "ep-5", "ep-6"}
	if diff := cmp.Diff(want, drawn(registry.Draw{Each: 100})); diff != "" {
		t.Errorf("drawn (-want +got):\n%s", diff)
	}
	if got := drawn(registry.Draw{Each: 100, Most: 3}); len(got) != 3 {
		t.Errorf("got %v, want 3 at most", got)
	}
	if got := drawn(registry.Draw{Each: 100, Apart: true, Classes: []string{"server"}}); len(got) != 3 {
		t.Errorf("got servers %v, want one of each of the 3 sites that have some", got)
	}
	if got := registry.New().Draw(registry.Draw{Each: 1, Fits: anybody}); len(got) != 0 {
		t.Errorf("got %v of an empty fleet, want nobody", got)
	}
}

func TestSigns(t *testing.T) {
	t.Parallel()
	r := crowd(4, 1)
	r.Seen("ep-1", start().Add(time.Second))
	r.Leaves("ep-2", start().Add(time.Second))
	r.Leaves("ep-3", start().Add(time.Second))
	r.Seen("ep-3", start().Add(2*time.Second))
	got := r.Signs([]fleet.EndpointID{"ep-0", "ep-1", "ep-2", "ep-3", "ep-unknown"}, start())
	want := []registry.Sign{registry.Unheard, registry.Heard, registry.Left, registry.Heard, registry.Unheard}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := r.Signs([]fleet.EndpointID{"ep-2"}, start().Add(time.Hour)); got[0] != registry.Left {
		t.Errorf("got %d of a host that left before the time, want that it left", got[0])
	}
}

// Held hosts are not waited for, and strata are counted over those that are eligible.
func TestCountHeldAndStrata(t *testing.T) {
	t.Parallel()
	r := crowd(9, 3)
	r.Update("ep-0", nil, map[string]api.Component{component: {Consumer: "7.1"}}, "")
	q := registry.Question{
		Component: component, Strata: []string{"class", "consumer"},
		Exposed: func(id fleet.EndpointID) bool { return id == "ep-2" },
		Held:    func(s fleet.Subject) bool { return s.Attributes.Class == "server" },
	}
	want := registry.Census{Eligible: 4, Remaining: 3, Available: 3, Strata: map[string]int64{
		"class laptop": 2, "class laptop, consumer 7.1": 1, "class server": 1,
	}}
	if diff := cmp.Diff(want, r.Count(q)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A draw of 2,000 hosts from 100,000 must cost about as much as looking at those.
func BenchmarkDraw(b *testing.B) {
	r := crowd(100_000, 500)
	d := registry.Draw{Component: component, Since: start(), Classes: []string{"server", "laptop"}, Each: 2000, Fits: anybody}
	for b.Loop() {
		d.Seed++
		r.Draw(d)
	}
}

// Where a posture is asked for, nobody who lacks any of it is drawn.
func TestDrawPosture(t *testing.T) {
	t.Parallel()
	r := crowd(9, 1)
	r.Stand("ep-1", fleet.PostureOf([]string{"guard", "good"}))
	r.Stand("ep-2", fleet.PostureOf([]string{"guard"}))
	got := r.Draw(registry.Draw{Component: component, Each: 9, Fits: anybody, Posture: fleet.PostureOf([]string{"guard", "good"})})
	if diff := cmp.Diff(map[string][]fleet.EndpointID{"server": {"ep-1"}}, got); diff != "" {
		t.Errorf("drawn (-want +got):\n%s", diff)
	}
}
