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

func TestProfileCountsHostsThatAreAlike(t *testing.T) {
	t.Parallel()
	r := registry.New()
	begin := time.Date(2026, 7, 19, 4, 9, 0, 0, time.UTC)
	put := func(n int, site, consumer string, seen time.Time, components ...string) {
		e := registry.Endpoint{
			ID:       fleet.EndpointID(fmt.Sprintf("ep-%d", n)),
			Subject:  fleet.Subject{Tenant: "acme", Attributes: fleet.Attributes{Class: "laptop", OS: "linux", Site: site}},
			LastSeen: seen, Components: map[string]api.Component{},
		}
		for _, name := range components {
			e.Components[name] = api.Component{Consumer: consumer}
		}
		r.Put(e)
	}
	put(1, "graz", "7.1", begin, "sensor")
	put(2, "graz", "7.1", begin.Add(-time.Second), "sensor", "nginx")
	put(3, "graz", "7.2", begin, "sensor")
	put(4, "linz", "", begin, "nginx")
	put(5, "graz", "7.1", begin.Add(time.Second), "sensor")

	alike := api.FleetGroup{Class: "laptop", OS: "linux", Consumer: "7.1", Site: "graz", Tenant: "acme", Hosts: 3, Heard: 2}
	newer := alike
	newer.Consumer, newer.Hosts, newer.Heard = "7.2", 1, 1
	if diff := cmp.Diff([]api.FleetGroup{alike, newer}, r.Profile("sensor", begin, 2)); diff != "" {
		t.Errorf("hosts with the sensor (-want +got):\n%s", diff)
	}
	rest := api.FleetGroup{Hosts: 1, Heard: 1, Summed: 1}
	if diff := cmp.Diff([]api.FleetGroup{alike, rest}, r.Profile("sensor", begin, 1)); diff != "" {
		t.Errorf("one group and the rest (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]api.FleetGroup{{Hosts: 4, Heard: 3, Summed: 2}}, r.Profile("sensor", begin, 0)); diff != "" {
		t.Errorf("nothing but the rest (-want +got):\n%s", diff)
	}
	graz, linz := alike, alike
	graz.Consumer, graz.Hosts, graz.Heard = "", 4, 3
	linz.Consumer, linz.Site, linz.Hosts, linz.Heard = "", "linz", 1, 1
	if diff := cmp.Diff([]api.FleetGroup{graz, linz}, r.Profile("", begin, 10)); diff != "" {
		t.Errorf("all hosts (-want +got):\n%s", diff)
	}
	if got := r.Profile("unknown", begin, 10); len(got) != 0 {
		t.Errorf("got %v of a component that nobody has, want nothing", got)
	}
}
