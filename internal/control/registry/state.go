package registry

import (
	"cmp"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Running is a version of a component. Of a component of which nothing was ever activated the version is empty.
type Running struct{ Component, Version string }

// Crew is how many hosts there are of a sort, and how many of them were heard.
type Crew struct{ Hosts, Heard int64 }

func (c *Crew) add(more Crew) {
	c.Hosts += more.Hosts
	c.Heard += more.Heard
}

// State is the whole fleet, or the hosts that have a component, counted.
type State struct {
	Crew

	Refusing int64 // keep a release in quarantine
	AtRisk   int64 // as [AtRisk] says
	Versions map[Running]Crew
	Lacks    map[string]int64 // words of posture, and how many hosts miss them
	Classes  map[string]int64
	Sites    map[string]int64
}

// Version is a version of a component with the hosts that run it.
type Version struct {
	Running
	Crew

	Summed int64 // so many versions in one; 0: it is one
}

// AtRisk tells whether a host that panics in every boot stays down until a person comes: it misses panic-reboot, so that it stays dead after the
// first one, or guard, guard-enabled or good, so that it boots into the same for ever. A host that has said nothing misses all.
func AtRisk(p fleet.Posture) bool { return !p.Survives(fleet.LatePanic) }

// State counts the hosts that have the component, or all if it is empty; heard are those heard since a time. Hosts that are alike are looked at
// once, so that it takes little more than a walk through the records.
func (r *Registry) State(component string, since time.Time) State {
	from := r.epoch.instant(since)
	var postures [postureBits]int64
	var crews byKind[crewOf]
	r.each(func(h host) {
		c, known := crews.at(h.kind)
		if !known {
			c.counts = component == "" || h.kind.has(component)
		}
		if !c.counts {
			return
		}
		c.Hosts++
		if at, _ := h.heard(); at >= from {
			c.Heard++
		}
		postures[h.posture%postureBits]++
	})
	s := State{Versions: map[Running]Crew{}, Lacks: map[string]int64{}, Classes: map[string]int64{}, Sites: map[string]int64{}}
	s.kinds(&crews, component)
	s.postures(postures[:])
	return s
}

// postureBits is how many postures there are, whether they were said or not.
const postureBits = 1 << 11

type crewOf struct {
	Crew

	counts bool
}

// kinds sums up what hosts of one kind have in common. There are far fewer subjects and inventories than kinds.
func (s *State) kinds(crews *byKind[crewOf], component string) {
	subjects, inventories := map[*subject]int64{}, map[*Inventory]Crew{}
	crews.each(func(k *kind, c *crewOf) {
		if c.Hosts == 0 {
			return
		}
		s.add(c.Crew)
		subjects[k.subject] += c.Hosts
		sum := inventories[k.inventory]
		sum.add(c.Crew)
		inventories[k.inventory] = sum
	})
	for of, hosts := range subjects {
		s.Classes[of.Attributes.Class] += hosts
		s.Sites[of.Attributes.Site] += hosts
	}
	for of, crew := range inventories {
		if of.refuses(component) {
			s.Refusing += crew.Hosts
		}
		for name, state := range of.components {
			if component != "" && name != component {
				continue
			}
			running := Running{name, state.Version}
			sum := s.Versions[running]
			sum.add(crew)
			s.Versions[running] = sum
		}
	}
}

// refuses tells whether a host that says this keeps a release of the component in quarantine; if that is empty, of any.
func (v *Inventory) refuses(component string) bool {
	if component != "" {
		return len(v.components[component].Refuses) > 0
	}
	for _, state := range v.components {
		if len(state.Refuses) > 0 {
			return true
		}
	}
	return false
}

func (s *State) postures(hosts []int64) {
	for bits, n := range hosts {
		if n == 0 {
			continue
		}
		p := fleet.Posture(bits)
		if AtRisk(p) {
			s.AtRisk += n
		}
		for _, word := range p.Missing() {
			s.Lacks[word] += n
		}
	}
}

// Largest lists the versions of each component in the order of components, those of the most hosts first. Of more than most of a component the
// others are summed up in one behind them, which has no name.
func (s *State) Largest(most int) []Version {
	all := make([]Version, 0, len(s.Versions))
	for running, crew := range s.Versions {
		all = append(all, Version{Running: running, Crew: crew})
	}
	slices.SortFunc(all, func(a, b Version) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(b.Hosts, a.Hosts), cmp.Compare(b.Version, a.Version))
	})
	var listed []Version
	of, rest := 0, -1 // how many of this component, and where the others are summed up
	for _, v := range all {
		if len(listed) == 0 || listed[len(listed)-1].Component != v.Component {
			of, rest = 0, -1
		}
		if of++; of <= most {
			listed = append(listed, v)
			continue
		}
		if rest < 0 {
			rest, listed = len(listed), append(listed, Version{Running: Running{Component: v.Component}})
		}
		listed[rest].add(v.Crew)
		listed[rest].Summed++
	}
	return listed
}
