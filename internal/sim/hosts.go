package sim

import (
	"fmt"
	"math"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// host is the number of a host, from 0.
type host = uint32

// hosts is the fleet of one run. What does not change of a host is read from a hash of its number, so that a host costs a few bytes.
type hosts struct {
	Fleet
	seed    uint64
	start   time.Time
	classes []float64 // cumulated shares
	regions []float64
	zones   []int               // seconds east of UTC, at the start
	names   map[string][]string // of sites and tenants, made when they are first asked for
	strata  [][]string          // by class and stratum: as the plan's keys name it
	subject [][]fleet.Subject   // by class and stratum: what a selector sees, but for site, region and tenant
	parts   map[string]float64  // share of the fleet by name of the stratum
	roster  *roster             // nil unless the fleet is given as groups

	apart int64 // hosts of which one does not fall silent because another one does
}

func newHosts(s Scenario, keys []string, seed uint64) *hosts {
	h := &hosts{Fleet: s.Fleet, seed: mix(seed), start: s.Start, parts: map[string]float64{}, names: map[string][]string{}, apart: s.Fleet.Sites}
	if len(h.Groups) > 0 {
		h.known(keys)
		return h
	}
	total := 0.0
	for _, c := range s.Fleet.Classes {
		total += c.Share
		h.classes = append(h.classes, total)
		h.nameStrata(c, keys)
	}
	total = 0
	for _, r := range s.Fleet.Regions {
		total += r.Share
		h.regions = append(h.regions, total)
		zone, err := time.LoadLocation(r.Zone)
		if err != nil {
			zone = time.UTC // checked before
		}
		_, offset := s.Start.In(zone).Zone()
		h.zones = append(h.zones, offset)
	}
	return h
}

// nameStrata makes the names of a class's strata: they differ by the version of the operating system.
func (h *hosts) nameStrata(class Class, keys []string) {
	var names []string
	var subjects []fleet.Subject
	for i := range h.Strata {
		s := fleet.Subject{Attributes: fleet.Attributes{Class: class.Name, OS: "os", Version: fmt.Sprintf("build-%d", i+1)}}
		name := fleet.Stratum(s, keys)
		names, subjects = append(names, name), append(subjects, s)
		h.parts[name] += class.Share / float64(h.Strata)
	}
	h.strata, h.subject = append(h.strata, names), append(h.subject, subjects)
}

func (h *hosts) hash(i host, what uint64) uint64 { return mix(h.seed ^ uint64(i)<<3 ^ what) }

func pick(shares []float64, u float64) int {
	for k, upTo := range shares {
		if u < upTo {
			return k
		}
	}
	return len(shares) - 1
}

// traits are what is fixed of a host.
type traits struct {
	class, region int
	stratum, site int64
	tenant        int64
	group         int // of a roster
}

func (h *hosts) traits(i host) traits {
	if h.roster != nil {
		return h.roster.of(i)
	}
	kind, place := h.hash(i, 1), h.hash(i, 2)
	site := int64(place % uint64(h.Sites))
	return traits{
		class: pick(h.classes, unit(kind)), region: pick(h.regions, unit(mix(place))), stratum: int64(mix(kind) % uint64(h.Strata)),
		site: site, tenant: site % h.Tenants,
	}
}

// online tells whether a host is on at a second of the run: laptops sleep at night, by their own night.
func (h *hosts) online(i host, share []float64, t traits) bool {
	if h.roster != nil {
		return h.roster.online(unit(h.hash(i, 3)), t)
	}
	return unit(h.hash(i, 3)) < share[t.class*len(h.Regions)+t.region]
}

// shares are the parts of each class in each region that are online, by class then region.
func (h *hosts) shares(second int32) []float64 {
	out := make([]float64, 0, len(h.Classes)*len(h.Regions))
	for _, c := range h.Classes {
		for _, offset := range h.zones {
			local := h.start.Add(time.Duration(second)*time.Second).Unix() + int64(offset)
			hour := float64(local%86400) / 3600
			noon := (1 - math.Cos(hour/12*math.Pi)) / 2 // 0 at midnight, 1 at noon
			out = append(out, c.Night+(c.Day-c.Night)*noon)
		}
	}
	return out
}

func (h *hosts) subjectOf(t traits) fleet.Subject {
	if h.roster != nil {
		return h.roster.groups[t.group].Subject
	}
	s := h.subject[t.class][t.stratum]
	s.Tenant = fleet.TenantID(h.name("tenant", t.tenant))
	s.Attributes.Site, s.Attributes.Region = h.name("site", t.site), h.Regions[t.region].Name
	return s
}

// name is "site-12". Each is made once.
func (h *hosts) name(kind string, n int64) string {
	made := h.names[kind]
	if missing := n + 1 - int64(len(made)); missing > 0 {
		made = append(made, make([]string, missing)...)
		h.names[kind] = made
	}
	if made[n] == "" {
		made[n] = fmt.Sprintf("%s-%d", kind, n)
	}
	return made[n]
}
