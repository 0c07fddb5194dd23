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
	counts := map[api.FleetGroup]*crew{}
	r.crews(since).each(func(k *kind, c *crew) {
		if component != "" && !k.has(component) {
			return
		}
		group := alike(k, component)
		sum, known := counts[group]
		if !known {
			sum = &crew{}
			counts[group] = sum
		}
		sum.hosts += c.hosts
		sum.heard += c.heard
	})
	groups := make([]api.FleetGroup, 0, len(counts))
	for group, sum := range counts {
		group.Hosts, group.Heard = sum.hosts, sum.heard
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

// crew is how many hosts there are of a kind, and how many of them were heard.
type crew struct{ hosts, heard int64 }

func (r *Registry) crews(since time.Time) *byKind[crew] {
	from := r.epoch.instant(since)
	var crews byKind[crew]
	r.each(func(h host) {
		c, _ := crews.at(h.kind)
		c.hosts++
		if at, _ := h.heard(); at >= from {
			c.heard++
		}
	})
	return &crews
}

// alike is the group, without numbers, of the hosts of a kind.
func alike(k *kind, component string) api.FleetGroup {
	a := k.subject.Attributes
	return api.FleetGroup{
		Class: a.Class, OS: a.OS, Version: a.Version, Kernel: a.Kernel, Consumer: k.inventory.components[component].Consumer, Site: a.Site,
		Tenant: string(k.subject.Tenant), Region: a.Region,
	}
}

// larger orders groups by size, and those of one size by what they are.
func larger(a, b api.FleetGroup) int {
	return cmp.Or(cmp.Compare(b.Hosts, a.Hosts), cmp.Compare(a.Class, b.Class), cmp.Compare(a.OS, b.OS), cmp.Compare(a.Version, b.Version),
		cmp.Compare(a.Kernel, b.Kernel), cmp.Compare(a.Consumer, b.Consumer), cmp.Compare(a.Site, b.Site), cmp.Compare(a.Tenant, b.Tenant),
		cmp.Compare(a.Region, b.Region))
}
