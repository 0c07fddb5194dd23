package sim

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/resource"
	"github.com/firebreak-dev/firebreak/plans"
)

func keysOfPlans() []string { return plan.Plan{}.Defaulted().Strata }

func someFleet() api.FleetProfile {
	return api.FleetProfile{
		Taken: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), Component: "sensor-content", Hosts: 3300,
		Groups: []api.FleetGroup{
			{Class: "server", OS: "linux", Version: "12", Site: "graz", Tenant: "acme", Region: "eu", Hosts: 1500, Heard: 1490},
			{Class: "laptop", OS: "windows", Version: "11", Site: "wien", Tenant: "acme", Region: "eu", Hosts: 1500, Heard: 900},
			{Class: "laptop", OS: "windows", Version: "10", Site: "linz", Tenant: "globex", Region: "eu", Hosts: 200, Heard: 100},
			{Class: "server", OS: "linux", Version: "11", Tenant: "globex", Hosts: 100, Heard: 100},
		},
	}
}

// Every host of the simulated fleet is one of its group: class, site, tenant, stratum, and about as many of them online as were heard.
func TestAProfileBecomesItsHosts(t *testing.T) {
	t.Parallel()
	s, err := FromProfile(someFleet(), Fault{Effect: 1})
	if err != nil {
		t.Fatal(err)
	}
	h := newHosts(s, keysOfPlans(), 7)
	hosts, online := map[string]int64{}, map[string]int64{}
	for i := range host(s.Fleet.Hosts) {
		of := h.traits(i)
		subject, site, tenant := h.subjectOf(of), h.siteOf(of), h.tenantOf(of)
		if subject.Attributes.Site != site.name || string(subject.Tenant) != tenant.name || subject.Attributes.Class != h.Classes[of.class].Name {
			t.Fatalf("host %d: got site %v, tenant %v, class %d for %+v", i, site, tenant, of.class, subject)
		}
		name := h.strata[of.class][of.stratum] + " at " + site.name
		hosts[name]++
		online[name] += count(h.online(i, nil, of))
	}
	want := map[string]int64{
		"class server, os linux, version 12 at graz": 1500, "class laptop, os windows, version 11 at wien": 1500,
		"class laptop, os windows, version 10 at linz": 200, "class server, os linux, version 11 at ": 100,
	}
	if diff := cmp.Diff(want, hosts); diff != "" {
		t.Errorf("hosts by stratum and site (-want +got):\n%s", diff)
	}
	for name, share := range map[string]float64{
		"class laptop, os windows, version 11 at wien": 0.6, "class laptop, os windows, version 10 at linz": 0.5, "class server, os linux, version 11 at ": 1,
	} {
		if got := float64(online[name]) / float64(want[name]); math.Abs(got-share) > 0.12 {
			t.Errorf("%s: got %.2f online, want about %g", name, got, share)
		}
	}
	if h.Strata != 2 || h.Sites != 4 || h.Tenants != 2 {
		t.Errorf("got %d strata a class, %d sites, %d tenants, want 2, 4 (one is none) and 2", h.Strata, h.Sites, h.Tenants)
	}
	if got := h.tenantOf(h.traits(0)); got != (scope{"acme", 3000}) {
		t.Errorf("tenant of the first host: got %v, want acme with 3000 hosts", got)
	}
}

func TestAProfileThatCannotBePlayed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		groups []api.FleetGroup
		want   string
	}{
		"empty":       {nil, "it has no hosts with component sensor-content"},
		"asleep":      {[]api.FleetGroup{{Hosts: 5}}, "none of its 5 hosts with component sensor-content is online"},
		"impossible":  {[]api.FleetGroup{{Hosts: 5, Heard: 6}}, "a group has 5 hosts, 6 of them heard"},
		"negative":    {[]api.FleetGroup{{Hosts: -5, Heard: -6}}, "a group has -5 hosts"},
		"much larger": {[]api.FleetGroup{{Hosts: MaxHosts + 1, Heard: 6}}, "100000000 are the most"},
	} {
		_, err := FromProfile(api.FleetProfile{Component: "sensor-content", Groups: test.groups}, Fault{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", name, err, test.want)
		}
	}
}

// A fault in one stratum concerns all of its hosts, and no others.
func TestAFaultInOneStratum(t *testing.T) {
	t.Parallel()
	s, err := FromProfile(someFleet(), Fault{Effect: 1})
	if err != nil {
		t.Fatal(err)
	}
	one, name, hosts := s.InStratum(keysOfPlans())
	if name != "class laptop, os windows, version 10" || hosts != 200 {
		t.Fatalf("got %d hosts of %q, want the 200 laptops of the older version", hosts, name)
	}
	p := plan.Plan{Rings: []plan.Ring{{Name: "all", Share: 1}}}.Defaulted()
	w := newWorld(one, p, 1)
	concerned := int64(0)
	for i := range host(one.Fleet.Hosts) {
		of := w.traits(i)
		if w.concerned(of) != (w.subjectOf(of).Attributes.Version == "10") {
			t.Fatalf("host %d: concerned %t: %+v", i, w.concerned(of), w.subjectOf(of))
		}
		concerned += count(w.concerned(of))
	}
	if concerned != hosts {
		t.Errorf("got %d concerned hosts, want %d", concerned, hosts)
	}
	if diff := cmp.Diff(someFleet().Groups[0].Hosts, s.Fleet.Groups[0].Hosts); diff != "" {
		t.Errorf("the scenario itself was changed: %s", diff)
	}
	if _, name, hosts := onlyOf(t, s).InStratum(keysOfPlans()); hosts != 0 {
		t.Errorf("got %d hosts of %q of a fleet of two large strata, want none", hosts, name)
	}
}

// onlyOf is the scenario with the two large groups only.
func onlyOf(t *testing.T, s Scenario) Scenario {
	t.Helper()
	s.Fleet.Groups = slices.Clone(s.Fleet.Groups[:2])
	s.Fleet.Hosts = 3000
	return s
}

// The caps of a plan leave less of a small fleet with few tenants than a ring has places; the ring is full then.
func TestCapsMakeARingSmaller(t *testing.T) {
	t.Parallel()
	s, err := Named("crowdstrike-2024-07-19")
	if err != nil {
		t.Fatal(err)
	}
	s = s.Sized(20_000)
	s.Fault.Effect, s.Defences.NoValidation = 0, true
	var doc struct {
		Kind string    `json:"kind"`
		Spec plan.Plan `json:"spec"`
	}
	data, _ := plans.Named("content")
	if err := resource.Decode(data, &doc); err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), s, doc.Spec.Defaulted(), 1, Options{Brief: true})
	if err != nil {
		t.Fatal(err)
	}
	if r.Done == 0 {
		t.Errorf("a good update is not done: it waits %s", r.Waiting)
	}
}
