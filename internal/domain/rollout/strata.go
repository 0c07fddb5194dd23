package rollout

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// known is a stratum that got a lease already; nil for any other.
func (t *turn) known(name string) *Stratum {
	if i := t.stratum(name); i >= 0 {
		return &t.Strata[i]
	}
	return nil
}

// tally counts n more hosts of an outcome. No count falls below 0, whatever stratum an event names.
func (s *Stratum) tally(o Outcome, n int64) {
	add := func(count *int64, n int64) { *count = max(0, *count+n) }
	switch {
	case s == nil:
	case o == Pending:
		add(&s.Pending, n)
	case o == Confirmed:
		add(&s.Confirmed, n)
	case o == Rejected:
		add(&s.Leased, -n)
	case o.Harms():
		add(&s.Harmed, n)
	}
}

// compared takes in what a watch showed. A stratum that was suspicious before is compared alone, so that it does not colour the rest;
// unless it is most of what is exposed, so that there is no rest.
func (t *turn) compared(e Compared) {
	if t.Phase.Recalls() || !possible(e.Control) || slices.ContainsFunc(e.Exposed, func(a StratumArm) bool { return !possible(a.Arm) }) {
		return
	}
	var rest breaker.Arm
	for _, arm := range e.Exposed {
		s := t.known(arm.Stratum)
		if s != nil && s.Held {
			continue
		}
		if s == nil || !s.Suspect || 2*s.Leased > t.Exposed() {
			rest = rest.Plus(arm.Arm)
		}
		if s != nil && e.Signal == breaker.Silence {
			s.Silence.Compare(arm.Arm, e.Control, 0) // no ceiling: a stratum stays small, and an outage late in a rollout would be its fault
		}
	}
	t.Breaker.Compare(e.Signal, e.Class, rest, e.Control, t.Plan.Breaker)
	if t.Armed(t.Last) {
		t.judge()
	}
	t.turnRound()
}

// possible tells whether an arm can have been watched: no fleet is larger, and nobody shows what was not watched.
func possible(a breaker.Arm) bool {
	const most = 1 << 32
	return a.Showed >= 0 && a.Showed <= a.Watched && a.Watched <= most
}

// suspect marks the strata whose own tests are at amber, and clears those that are not any more.
func (t *turn) suspect() {
	for i := range t.Strata {
		s := &t.Strata[i]
		s.Suspect = !s.Held && s.Suspicion(t.Plan.Breaker) >= t.Plan.Breaker.Amber
	}
}

// suspects names the suspicious strata for people.
func (t *turn) suspects() string {
	var names []string
	for _, s := range t.Strata {
		if s.Suspect && len(names) < 3 {
			names = append(names, s.Name)
		}
	}
	if names == nil {
		return ""
	}
	return "; look at " + strings.Join(names, " and ")
}

// proof is how many hosts elsewhere must have confirmed before a slice of the fleet alone is blamed.
const proof = 20

// mostHeld is how many strata the breaker holds: when harm goes from one to the next, the release is what they have in common.
const mostHeld = 3

// culprit is the stratum that explains the evidence alone: without it the rest is quiet, and well on enough hosts. -1 if there is none, or
// if too many were held for that already.
func (t *turn) culprit() int {
	worst, least, held := -1, t.Plan.Breaker.Amber, 0
	for i := range t.Strata {
		if t.Strata[i].Held {
			held++
		}
	}
	if held >= mostHeld {
		return -1
	}
	for i := range t.Strata {
		s := &t.Strata[i]
		if s.Held || s.Harmed == 0 || t.Confirmed()-s.Confirmed < proof {
			continue
		}
		if e := t.weigh(i).E; e < least {
			worst, least = i, e
		}
	}
	return worst
}

// setAside holds a stratum for the breaker: its hosts go back, its evidence does not count any more, its places are given again.
func (t *turn) setAside(i int, e float64) {
	s := &t.Strata[i]
	s.Held, s.Suspect = true, false
	t.Breaker.Crashes = t.Breaker.Crashes.Without(s.Crashes)
	ring := &t.Rings[t.Ring]
	ring.Aside = min(ring.Aside+s.Crashes.Bad, ring.Crashed+ring.Reverted)
	why := fmt.Sprintf("evidence %.3g reached %g: %d of %d hosts of %s were harmed, the rest of the fleet is well", e, t.Plan.Breaker.Trip(),
		s.Harmed, s.Leased, s.Name)
	t.arrest(s.Select, why, fmt.Sprintf("%s: %d of %d hosts harmed", s.Name, s.Harmed, s.Leased))
}

// arrest holds a part of the fleet for the breaker, and tells people whom.
func (t *turn) arrest(selects fleet.Selector, why, whom string) {
	t.hold(Hold{Select: selects, Reason: why, At: t.Last, By: "breaker"})
	t.record(DidHold, "%s", why)
	title := fmt.Sprintf("%s %s held for %s", t.Release.Component, t.Release.Version, whom)
	t.do(PublishDirective{}, OpenIncident{Title: title}, Notify{Severity: "page", Text: title})
}

// isolate tells whether reported harm is the affair of one tenant or one site, so that one customer can neither fake a failure of the whole
// fleet nor be mistaken for one. Its reports count as often as everybody else's together and once more, as soon as enough hosts
// elsewhere are well; when its own hosts would trip the breaker alone, it is held alone.
func (t *turn) isolate(e OutcomeKnown) bool {
	for i, scope := range []Scope{e.Tenant, e.Site} {
		key := []string{"tenant", "site"}[i]
		well := t.Confirmed() - (scope.Exposed - scope.Harmed)
		elsewhere := max(0, t.Breaker.Crashes.Bad-scope.Harmed) // silence is no report, and what is set aside gives nobody a vote
		if scope.Name == "" || scope.Size >= e.Fleet || well < proof || scope.Harmed < 1+elsewhere {
			continue
		}
		own := breaker.OneArm{Booked: scope.Exposed, Bad: scope.Harmed + 1}
		selects := fleet.Selector{key: {scope.Name}}
		if own.Evidence(t.Plan.Breaker.Ceiling) >= t.Plan.Breaker.Trip() && !t.holds(selects) {
			why := fmt.Sprintf("%d of %d hosts of %s %s report harm, the rest of the fleet is well", scope.Harmed+1, scope.Exposed, key, scope.Name)
			t.arrest(selects, why, key+" "+scope.Name)
		}
		return true
	}
	return false
}

func (t *turn) hold(h Hold) { t.Holds = append(t.Holds, h) }

func (s *State) holds(selects fleet.Selector) bool {
	return slices.ContainsFunc(s.Holds, func(h Hold) bool { return sameSelector(h.Select, selects) })
}

// unhold lifts a hold. Of a stratum that the breaker held, what happened stays out of the tests; what happens from now on counts.
func (t *turn) unhold(selects fleet.Selector) bool {
	if t.Phase.Final() || !t.holds(selects) {
		return false
	}
	t.Holds = slices.DeleteFunc(t.Holds, func(h Hold) bool { return sameSelector(h.Select, selects) })
	for i := range t.Strata {
		if s := &t.Strata[i]; s.Held && sameSelector(s.Select, selects) {
			good := s.Crashes.Booked - s.Crashes.Bad
			s.Held, s.Slice = false, breaker.Slice{Crashes: breaker.OneArm{Booked: good}}
			t.Breaker.Crashes.Booked += good
		}
	}
	return true
}

func sameSelector(a, b fleet.Selector) bool {
	return maps.EqualFunc(a, b, func(x, y []string) bool { return slices.Equal(x, y) })
}
