package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// counted is a fleet of hosts that are all different, and one that ended.
func counted() *registry.Registry {
	r := registry.New()
	put := func(id fleet.EndpointID, class, site string, heard time.Duration, posture fleet.Posture, components map[string]api.Component) {
		r.Put(registry.Endpoint{
			ID: id, LastSeen: start().Add(heard), Posture: posture, Components: components,
			Subject: fleet.Subject{Tenant: "acme", Attributes: fleet.Attributes{Class: class, Site: site}},
		})
	}
	all := fleet.PostureOf(fleet.Posture(0).Missing())
	put("ep-1", "server", "graz", 0, all, map[string]api.Component{"a": {Version: "1"}, "b": {Version: "7"}})
	put("ep-2", "server", "graz", time.Hour, all&^fleet.Guard, map[string]api.Component{"a": {Version: "2", Refuses: []string{"sha256:1"}}})
	put("ep-3", "laptop", "linz", time.Hour, all&^fleet.Launcher, map[string]api.Component{"a": {Version: "1"}, "b": {Refuses: []string{"sha256:2"}}})
	put("ep-4", "laptop", "", time.Hour, 0, nil)
	put("ep-5", "laptop", "graz", time.Hour, all, map[string]api.Component{"a": {Version: "9"}})
	r.End("ep-5", false, "")
	return r
}

func TestState(t *testing.T) {
	t.Parallel()
	r := counted()
	got := r.State("", start().Add(time.Minute))
	if got.Hosts != 4 || got.Heard != 3 || got.Refusing != 2 || got.AtRisk != 2 {
		t.Errorf("got %d hosts, %d heard, %d refusing, %d at risk; want 4, 3, 2 and 2", got.Hosts, got.Heard, got.Refusing, got.AtRisk)
	}
	for what, c := range map[string][2]any{
		"versions": {got.Versions, map[registry.Running]registry.Crew{
			{Component: "a", Version: "1"}: {Hosts: 2, Heard: 1}, {Component: "a", Version: "2"}: {Hosts: 1, Heard: 1},
			{Component: "b", Version: "7"}: {Hosts: 1}, {Component: "b"}: {Hosts: 1, Heard: 1},
		}},
		"classes": {got.Classes, map[string]int64{"server": 2, "laptop": 2}},
		"sites":   {got.Sites, map[string]int64{"graz": 2, "linz": 1, "": 1}},
		"guard":   {got.Lacks["guard"], int64(2)},
		"space":   {got.Lacks["space"], int64(1)},
	} {
		if diff := cmp.Diff(c[1], c[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	of := r.State("b", start().Add(time.Minute))
	if of.Hosts != 2 || of.Refusing != 1 || of.AtRisk != 0 || len(of.Versions) != 2 || of.Classes["laptop"] != 1 || of.Lacks["launcher"] != 1 {
		t.Errorf("of one component: got %+v, want the two hosts that have it, and nothing of other components", of)
	}
}

func TestLargestVersions(t *testing.T) {
	t.Parallel()
	s := registry.State{Versions: map[registry.Running]registry.Crew{}}
	for i := range 5 {
		s.Versions[registry.Running{Component: "a", Version: fmt.Sprint(i)}] = registry.Crew{Hosts: int64(i), Heard: 1}
	}
	s.Versions[registry.Running{Component: "b", Version: "1"}] = registry.Crew{Hosts: 9}
	want := []registry.Version{
		{Running: registry.Running{Component: "a", Version: "4"}, Crew: registry.Crew{Hosts: 4, Heard: 1}},
		{Running: registry.Running{Component: "a", Version: "3"}, Crew: registry.Crew{Hosts: 3, Heard: 1}},
		{Running: registry.Running{Component: "a"}, Crew: registry.Crew{Hosts: 3, Heard: 3}, Summed: 3},
		{Running: registry.Running{Component: "b", Version: "1"}, Crew: registry.Crew{Hosts: 9}},
	}
	if diff := cmp.Diff(want, s.Largest(2)); diff != "" {
		t.Errorf("largest (-want +got):\n%s", diff)
	}
}

// What is counted can be searched for.
func TestSearchFindsWhatIsCounted(t *testing.T) {
	t.Parallel()
	r := counted()
	for i := range 4 {
		r.Assign(fleet.EndpointID(fmt.Sprint("ep-", i+1)), int64(i+1))
	}
	for name, c := range map[string]struct {
		q    registry.Search
		want []fleet.EndpointID
	}{
		"refusing":     {registry.Search{Refusing: true}, []fleet.EndpointID{"ep-2", "ep-3"}},
		"refusing b":   {registry.Search{Refusing: true, Component: "b"}, []fleet.EndpointID{"ep-3"}},
		"at risk":      {registry.Search{AtRisk: true}, []fleet.EndpointID{"ep-2", "ep-4"}},
		"lacks guard":  {registry.Search{Lacks: fleet.PostureOf([]string{"guard"})}, []fleet.EndpointID{"ep-2", "ep-4"}},
		"lacks either": {registry.Search{Lacks: fleet.PostureOf([]string{"guard", "launcher"})}, []fleet.EndpointID{"ep-2", "ep-3", "ep-4"}},
		"both":         {registry.Search{Lacks: fleet.PostureOf([]string{"launcher"}), Refusing: true}, []fleet.EndpointID{"ep-3"}},
	} {
		c.q.Limit, c.q.Count = 10, true
		found := r.Search(c.q)
		if diff := cmp.Diff(c.want, found.IDs); diff != "" || found.Matched != int64(len(c.want)) {
			t.Errorf("%s: got %d (-want +got):\n%s", name, found.Matched, diff)
		}
	}
}

// Every word of posture has its place in the count.
func TestEveryPostureIsCounted(t *testing.T) {
	t.Parallel()
	r := registry.New()
	for _, word := range fleet.Posture(0).Missing() {
		r.Put(registry.Endpoint{ID: fleet.EndpointID("ep-" + word), Posture: fleet.PostureOf([]string{word})})
	}
	words := int64(len(fleet.Posture(0).Missing()))
	for word, lack := range r.State("", start()).Lacks {
		if lack != words-1 {
			t.Errorf("%s: got %d hosts that miss it, want all but one, %d", word, lack, words-1)
		}
	}
}

// A million hosts of three hundred kinds.
func BenchmarkStateOfAMillion(b *testing.B) {
	r := registry.New()
	for i := range 1_000_000 {
		r.Put(registry.Endpoint{
			ID: fleet.EndpointID(fmt.Sprintf("ep-%020x", i)), LastSeen: start(), Posture: fleet.PostureOf([]string{"guard", "good"}),
			Subject: fleet.Subject{Tenant: "acme", Attributes: fleet.Attributes{OS: "linux", Class: "server", Site: fmt.Sprint(i % 100)}},
			Components: map[string]api.Component{
				"sensor-content": {Version: fmt.Sprint(i % 3)}, "sensor": {Version: "7"}, "openssl": {Version: "3.0"},
			},
		})
	}
	for b.Loop() {
		if got := r.State("", start()); got.Heard != 1_000_000 {
			b.Fatalf("got %d heard", got.Heard)
		}
	}
}
