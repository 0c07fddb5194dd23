package sim

import (
	"cmp"
	"slices"
	"sort"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Group is hosts that are alike, of a fleet that is known rather than made up.
type Group struct {
	Subject fleet.Subject // what a selector sees of each
	Hosts   int64
	Online  float64 // share of them that is online, whatever the time
}

// roster is the hosts of a fleet that is given as groups: what the hash of a host's number says in other fleets, its group says here.
type roster struct {
	upTo   []int64 // hosts of the group and of those before it
	traits []traits
	groups []Group
	sites  []scope
	tenants,
	regions []scope
}

// scope is a site, a tenant or a region of a roster.
type scope struct {
	name  string
	hosts int64
}

// known makes the hosts those of the fleet's groups. Strata are what the plan's keys tell apart within a class, numbered as they come.
func (h *hosts) known(keys []string) {
	r := &roster{groups: h.Groups}
	h.roster = r
	h.strata, h.subject = make([][]string, len(h.Classes)), make([][]fleet.Subject, len(h.Classes))
	sites, tenants, regions, strata := map[string]int64{}, map[string]int64{}, map[string]int64{}, map[place]int64{}
	total := int64(0)
	for k, g := range h.Groups {
		a := g.Subject.Attributes
		t := traits{class: h.class(a.Class), group: k}
		t.region = int(number(regions, &r.regions, a.Region, g.Hosts))
		t.site = number(sites, &r.sites, a.Site, g.Hosts)
		t.tenant = number(tenants, &r.tenants, string(g.Subject.Tenant), g.Hosts)
		name := fleet.Stratum(g.Subject, keys)
		at := place{t.class, name}
		if _, seen := strata[at]; !seen {
			strata[at] = int64(len(h.strata[t.class]))
			h.strata[t.class], h.subject[t.class] = append(h.strata[t.class], name), append(h.subject[t.class], g.Subject)
		}
		t.stratum = strata[at]
		total += g.Hosts
		h.parts[name] += float64(g.Hosts) / float64(h.Fleet.Hosts)
		r.upTo, r.traits = append(r.upTo, total), append(r.traits, t)
	}
	h.Sites, h.Tenants, h.Strata = int64(len(r.sites)), int64(len(r.tenants)), 1
	for _, names := range h.strata {
		h.Strata = max(h.Strata, int64(len(names)))
	}
	h.apart = r.apart()
}

// place is a stratum of a class.
type place struct {
	class int
	name  string
}

// number is that of a name, which is given the next one when it is new.
func number(numbers map[string]int64, all *[]scope, name string, hosts int64) int64 {
	n, seen := numbers[name]
	if !seen {
		n = int64(len(*all))
		numbers[name] = n
		*all = append(*all, scope{name: name})
	}
	(*all)[n].hosts += hosts
	return n
}

// apart is how many hosts can be compared at a time: one of each site, and all that name none. With few sites each host counts: 0.
func (r *roster) apart() int64 {
	named, nameless := int64(0), int64(0)
	for _, s := range r.sites {
		if s.name == "" {
			nameless = s.hosts
		} else {
			named++
		}
	}
	if named < manySites {
		return 0
	}
	return named + nameless
}

// class is the number of a class.
func (h *hosts) class(name string) int {
	return max(0, slices.IndexFunc(h.Classes, func(c Class) bool { return c.Name == name }))
}

// of is the traits of a host.
func (r *roster) of(i host) traits {
	k := sort.Search(len(r.upTo), func(k int) bool { return int64(i) < r.upTo[k] })
	return r.traits[k]
}

// online tells whether a host of u, which is from 0 to 1, is online.
func (r *roster) online(u float64, t traits) bool { return u < r.groups[t.group].Online }

// nameless tells whether a site is none: hosts that name none have nothing in common.
func (h *hosts) nameless(site int64) bool { return h.roster != nil && h.roster.sites[site].name == "" }

// siteOf and tenantOf name a host's site and tenant and say how many hosts each has.
func (h *hosts) siteOf(t traits) scope {
	if h.roster != nil {
		return h.roster.sites[t.site]
	}
	return scope{h.name("site", t.site), h.Fleet.Hosts / h.Sites}
}

func (h *hosts) tenantOf(t traits) scope {
	if h.roster != nil {
		return h.roster.tenants[t.tenant]
	}
	return scope{h.name("tenant", t.tenant), h.Fleet.Hosts / h.Tenants}
}

// regionsOf are the regions of groups, in the order in which they come.
func regionsOf(groups []Group) []Region {
	var all []scope
	numbers, total := map[string]int64{}, int64(0)
	for _, g := range groups {
		number(numbers, &all, g.Subject.Attributes.Region, g.Hosts)
		total += g.Hosts
	}
	regions := make([]Region, len(all))
	for i, r := range all {
		regions[i] = Region{Name: cmp.Or(r.name, "unknown"), Share: float64(r.hosts) / float64(total), Zone: "UTC"}
	}
	return regions
}
