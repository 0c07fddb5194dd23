package registry

import (
	"cmp"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/api"
)

// Profile counts the hosts that have the component, or all if it is empty, in groups that are alike; Heard are those heard since a time.
// The groups come largest first. More than most become one at the end that sums them up.
func (r *Registry) Profile(component string, since time.Time, most int) []api.FleetGroup {
	counts := map[api.FleetGroup]api.FleetGroup{}
	for _, one := range r.sorts(component, since) {
		kind := one
		kind.Heard = 0
		group, known := counts[kind]
		if !known {
			group = kind
			group.Hosts = 0
		}
		group.Hosts++
		group.Heard += one.Heard
		counts[kind] = group
	}
	groups := make([]api.FleetGroup, 0, len(counts))
	for _, group := range counts {
		groups = append(groups, group)
	}
	slices.SortFunc(groups, larger)
	if len(groups) <= most {
		return groups
	}
	rest := api.FleetGroup{Summed: int64(len(groups) - most)}
	for _, group := range groups[most:] {
		rest.Hosts += group.Hosts
		rest.Heard += group.Heard
	}
	return append(groups[:most:most], rest)
}

// sorts is a group of one for each host: copied under the lock, to be counted without it.
func (r *Registry) sorts(component string, since time.Time) []api.FleetGroup {
	r.mu.RLock()
	defer r.mu.RUnlock()
	all := make([]api.FleetGroup, 0, len(r.endpoints))
	for _, e := range r.endpoints {
		c, has := e.Components[component]
		if component != "" && !has {
			continue
		}
		a := e.Subject.Attributes
		one := api.FleetGroup{
			Class: a.Class, OS: a.OS, Version: a.Version, Kernel: a.Kernel, Consumer: c.Consumer, Site: a.Site,
			Tenant: string(e.Subject.Tenant), Region: a.Region, Hosts: 1,
		}
		if !e.LastSeen.Before(since) {
			one.Heard = 1
		}
		all = append(all, one)
	}
	return all
}

// larger orders groups by size, and those of one size by what they are.
func larger(a, b api.FleetGroup) int {
	return cmp.Or(cmp.Compare(b.Hosts, a.Hosts), cmp.Compare(a.Class, b.Class), cmp.Compare(a.OS, b.OS), cmp.Compare(a.Version, b.Version),
		cmp.Compare(a.Kernel, b.Kernel), cmp.Compare(a.Consumer, b.Consumer), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Tenant, b.Tenant),
		cmp.Compare(a.Region, b.Region))
}
