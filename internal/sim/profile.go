package sim

import (
	"cmp"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Assumed is what a fleet profile does not say, for people.
const Assumed = "Hosts that are online stay so; 0.1 % of servers and 2 % of other hosts fall silent within a watch for no reason, " +
	"1 % of laptops leave in it, and all of that swings by half and double."

// FromProfile makes a scenario of an installation's own fleet: its strata, sites, tenants and classes, and as much of each group online as
// was heard. The fault is up to the caller. A fleet of which nobody is online cannot be played.
func FromProfile(profile api.FleetProfile, f Fault) (Scenario, error) {
	var groups []Group
	total, heard := int64(0), int64(0)
	for _, g := range profile.Groups {
		if g.Hosts <= 0 || g.Heard < 0 || g.Heard > g.Hosts {
			return Scenario{}, fault.New(fault.Invalid, "read fleet profile: a group has %d hosts, %d of them heard", g.Hosts, g.Heard)
		}
		total, heard = total+g.Hosts, heard+g.Heard
		groups = append(groups, groupOf(g))
	}
	switch {
	case total == 0:
		return Scenario{}, fault.New(fault.Conflict, "simulate the fleet: it has no hosts%s", having(profile.Component))
	case heard == 0:
		return Scenario{}, fault.New(fault.Conflict, "simulate the fleet: none of its %d hosts%s is online", total, having(profile.Component))
	case total > MaxHosts:
		return Scenario{}, fault.New(fault.Invalid, "simulate the fleet: it has %d hosts; %d are the most", total, int64(MaxHosts))
	}
	s := Scenario{
		Name: "fleet", Title: "the installation's own fleet", Start: profile.Taken, Fault: f,
		Fleet: Fleet{
			Hosts: total, Groups: groups, Classes: classesOf(groups, total), Regions: regionsOf(groups), Swing: 0.7,
			Sites:   max(1, countOf(groups, func(g Group) string { return g.Subject.Attributes.Site })),
			Tenants: max(1, countOf(groups, func(g Group) string { return string(g.Subject.Tenant) })),
		},
	}
	if s.Start.IsZero() {
		s.Start = time.Unix(0, 0).UTC() // only how far a run is from its start matters
	}
	return s.Defaulted(), nil
}

func having(component string) string {
	if component == "" {
		return ""
	}
	return " with component " + component
}

func groupOf(g api.FleetGroup) Group {
	return Group{
		Hosts: g.Hosts, Online: float64(g.Heard) / float64(g.Hosts),
		Subject: fleet.Subject{
			Tenant: fleet.TenantID(g.Tenant), Consumer: g.Consumer,
			Attributes: fleet.Attributes{OS: g.OS, Version: g.Version, Kernel: g.Kernel, Class: g.Class, Region: g.Region, Site: g.Site},
		},
	}
}

// classesOf are the classes of groups, largest first, and what is assumed of them.
func classesOf(groups []Group, total int64) []Class {
	hosts := map[string]int64{}
	for _, g := range groups {
		hosts[g.Subject.Attributes.Class] += g.Hosts
	}
	var classes []Class
	for name, n := range hosts {
		c := Class{Name: name, Share: float64(n) / float64(total), Silence: 0.02, Boots: 0.7}
		switch name {
		case "server":
			c.Silence, c.Boots = 0.001, 0.03
		case "laptop":
			c.Goodbye = 0.01
		}
		classes = append(classes, c)
	}
	slices.SortFunc(classes, func(a, b Class) int { return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Name, b.Name)) })
	return classes
}

// countOf is how many different names groups have; hosts without one share none.
func countOf(groups []Group, name func(Group) string) int64 {
	seen := map[string]bool{}
	for _, g := range groups {
		seen[name(g)] = true
	}
	delete(seen, "")
	return int64(len(seen))
}

// rare is the part of the fleet above which a stratum is no small part of it.
const rare = 0.1

// InStratum is the scenario with a fault that concerns one stratum only, as the keys tell strata apart: the largest that holds at most a
// tenth of the fleet, because a fault in more of it shows as soon as one that harms every tenth host. It also says which and how many hosts
// that are; no hosts if there is no such stratum. The fleet must be given as groups.
func (s Scenario) InStratum(keys []string) (one Scenario, name string, hosts int64) {
	sizes := map[string]int64{}
	for _, g := range s.Fleet.Groups {
		sizes[fleet.Stratum(g.Subject, keys)] += g.Hosts
	}
	for stratum, n := range sizes {
		if float64(n) <= rare*float64(s.Fleet.Hosts) && (n > hosts || n == hosts && stratum < name) {
			name, hosts = stratum, n
		}
	}
	if hosts == 0 {
		return s, "", 0
	}
	in := func(g Group) bool { return fleet.Stratum(g.Subject, keys) == name }
	s.Fleet.Groups = slices.Clone(s.Fleet.Groups)
	slices.SortStableFunc(s.Fleet.Groups, func(a, b Group) int { return int(count(in(b)) - count(in(a))) })
	s.Fault.Classes = nil
	for _, g := range s.Fleet.Groups {
		if class := g.Subject.Attributes.Class; in(g) && !slices.Contains(s.Fault.Classes, class) {
			s.Fault.Classes = append(s.Fault.Classes, class)
		}
	}
	s.Fault.Strata = 1e-9 // the first of each class, and no other
	return s, name, hosts
}
