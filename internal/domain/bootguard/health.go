package bootguard

import (
	"fmt"
	"slices"
)

// Answer is what was found when a question was asked. The zero value says that it could not be asked.
type Answer string

// The answers.
const (
	Yes Answer = "yes"
	No  Answer = "no"
)

// Health is how a host looks some time after its boot. What could not be found out is left out: it is no proof of anything.
type Health struct {
	Listed   bool       `json:"listed,omitempty"` // the failed units are known
	Failed   []string   `json:"failed,omitempty"` // units
	Restarts []Restarts `json:"restarts,omitempty"`
	Kernel   bool       `json:"kernel,omitempty"`   // Tainted is known
	Tainted  uint64     `json:"tainted,omitempty"`  // bits of the kernel
	Pressure []Pressure `json:"pressure,omitempty"` // of those resources that the kernel tells it of
	Route    Answer     `json:"route,omitempty"`    // there is a default route
	Names    Answer     `json:"names,omitempty"`    // names are resolved
}

// Restarts is how often a unit was restarted in this boot.
type Restarts struct {
	Unit  string `json:"unit"`
	Times int    `json:"times"`
}

// Pressure is the share of the last minute in which some process waited for a resource, in percent.
type Pressure struct {
	Resource string `json:"resource"` // cpu, memory, io
	Percent  int    `json:"percent"`
}

// What the kernel taints itself with when it goes wrong.
const (
	taintDie  = 7 // an oops or a bug
	taintWarn = 9
)

const (
	maxFailed    = 20
	maxRestarts  = 10
	maxPressure  = 4
	restartsMore = 2  // than at the baseline are a loop
	pressureHigh = 40 // percent, and
	pressureMore = 4  // times the baseline
)

// Worse lists in what now is worse than base, for people; none if nothing is, or if it cannot be judged.
func Worse(base, now Health) []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if base.Listed && now.Listed && len(base.Failed) < maxFailed { // otherwise the baseline may not have all
		for _, unit := range now.Failed {
			if unit = clean(unit, maxUnit); !slices.Contains(base.Failed, unit) {
				say("unit %s failed", unit)
			}
		}
	}
	for _, r := range now.Restarts {
		if was, ok := base.restarts(clean(r.Unit, maxUnit)); ok && r.Times >= was+restartsMore {
			say("unit %s was restarted %d times, at the baseline %d", clean(r.Unit, maxUnit), r.Times, was)
		}
	}
	if base.Kernel && now.Kernel {
		for _, bit := range []struct {
			number int
			means  string
		}{{taintDie, "an oops"}, {taintWarn, "a warning"}} {
			if mask := uint64(1) << bit.number; now.Tainted&mask != 0 && base.Tainted&mask == 0 {
				say("the kernel is tainted by %s", bit.means)
			}
		}
	}
	for _, p := range now.Pressure {
		if was, ok := base.pressure(p.Resource); ok && p.Percent >= pressureHigh && p.Percent >= pressureMore*was {
			say("pressure on %s is %d %%, at the baseline %d %%", clean(p.Resource, maxUnit), p.Percent, was)
		}
	}
	if base.Route == Yes && now.Route == No {
		say("there is no default route")
	}
	if base.Names == Yes && now.Names == No {
		say("names are not resolved")
	}
	return all
}

func (h Health) restarts(unit string) (int, bool) {
	for _, r := range h.Restarts {
		if r.Unit == unit {
			return r.Times, true
		}
	}
	return 0, false
}

func (h Health) pressure(resource string) (int, bool) {
	for _, p := range h.Pressure {
		if p.Resource == resource {
			return p.Percent, true
		}
	}
	return 0, false
}

// over is h, with what it does not know as it was in old.
func (h Health) over(old Health) Health {
	if !h.Listed {
		h.Listed, h.Failed = old.Listed, old.Failed
	}
	if !h.Kernel {
		h.Kernel, h.Tainted = old.Kernel, old.Tainted
	}
	if len(h.Restarts) == 0 {
		h.Restarts = old.Restarts
	}
	if len(h.Pressure) == 0 {
		h.Pressure = old.Pressure
	}
	if h.Route == "" {
		h.Route = old.Route
	}
	if h.Names == "" {
		h.Names = old.Names
	}
	return h
}

func (h Health) bounded() Health {
	h.Failed = texts(h.Failed, maxFailed, maxUnit)
	h.Restarts = slices.Clone(h.Restarts[:min(len(h.Restarts), maxRestarts)])
	for i, r := range h.Restarts {
		h.Restarts[i] = Restarts{Unit: clean(r.Unit, maxUnit), Times: min(max(r.Times, 0), maxBoots)}
	}
	h.Pressure = slices.Clone(h.Pressure[:min(len(h.Pressure), maxPressure)])
	for i, p := range h.Pressure {
		h.Pressure[i] = Pressure{Resource: clean(p.Resource, maxUnit), Percent: min(max(p.Percent, 0), 100)}
	}
	h.Route, h.Names = h.Route.bounded(), h.Names.bounded()
	return h
}

func (a Answer) bounded() Answer {
	if a != Yes && a != No {
		return ""
	}
	return a
}
