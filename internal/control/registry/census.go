package registry

import (
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Census counts hosts for one rollout.
type Census struct {
	Eligible  int64            // have the component and were heard since, or are exposed
	Remaining int64            // of them, not exposed
	Available int64            // of those, picked by the selector, as many as fit
	Preferred int64            // of those, the ones that go first; 0 if nobody is to
	Heard     int64            // of the proving hosts, those heard
	Strata    map[string]int64 // the eligible ones, by stratum; nil if the question names none

	Unfit map[fleet.Posture]int64 // hosts that are not eligible only for want of posture, by what they lack; nil if there are none
}

// Question is whom a census counts.
type Question struct {
	Component string
	Since     time.Time                   // hosts that were not heard since are not waited for
	Exposed   func(fleet.EndpointID) bool // those already exposed count as eligible, heard or not
	Ring      fleet.Selector
	Prefer    fleet.Selector              // who goes first; empty: nobody
	Refused   string                      // manifest: hosts that say they refuse it are not waited for
	Posture   fleet.Posture               // hosts that lack any of it, and are not exposed, are not waited for
	Held      func(fleet.Subject) bool    // hosts that do not get the release are not waited for; nil: none
	Fits      func(fleet.Subject) bool    // whether one more such host may be exposed; asked once for each available host; nil: always
	Proving   func(fleet.EndpointID) bool // hosts that are to be heard; nil: none
	Hearing   time.Time                   // and since when
	Strata    []string                    // what makes a stratum, as in a plan; nil: they are not counted
}

// Count takes a census of the hosts that have the component.
func (r *Registry) Count(q Question) Census {
	var count Census
	if q.Strata != nil {
		count.Strata = map[string]int64{}
	}
	r.each(func(e *Endpoint) {
		if _, has := e.Components[q.Component]; has {
			q.count(e, &count)
		}
	})
	return count
}

// count counts one host.
func (q *Question) count(e *Endpoint, count *Census) {
	if q.Proving != nil && q.Proving(e.ID) && !e.LastSeen.Before(q.Hearing) {
		count.Heard++
	}
	subject, gone := e.Of(q.Component), q.Exposed(e.ID)
	if !gone && (e.LastSeen.Before(q.Since) || q.refuses(e) || q.Held != nil && q.Held(subject)) {
		return
	}
	if lacks := e.Posture.Lacks(q.Posture); lacks != 0 && !gone {
		if count.Unfit == nil {
			count.Unfit = map[fleet.Posture]int64{}
		}
		count.Unfit[lacks]++
		return
	}
	count.Eligible++
	if q.Strata != nil {
		count.Strata[fleet.Stratum(subject, q.Strata)]++
	}
	if gone {
		return
	}
	count.Remaining++
	if q.Ring.Matches(subject) && (q.Fits == nil || q.Fits(subject)) {
		count.Available++
		if len(q.Prefer) > 0 && q.Prefer.Matches(subject) {
			count.Preferred++
		}
	}
}

func (q *Question) refuses(e *Endpoint) bool {
	return q.Refused != "" && slices.Contains(e.Components[q.Component].Refuses, q.Refused)
}

// Sizes are how many hosts have a component: in all, by tenant and by site.
type Sizes struct {
	Fleet   int64
	Tenants map[fleet.TenantID]int64
	Sites   map[string]int64
}

// Sizes counts the hosts that have the component.
func (r *Registry) Sizes(component string) Sizes {
	s := Sizes{Tenants: map[fleet.TenantID]int64{}, Sites: map[string]int64{}}
	r.each(func(e *Endpoint) {
		if _, has := e.Components[component]; has {
			s.Fleet++
			s.Tenants[e.Subject.Tenant]++
			s.Sites[e.Subject.Attributes.Site]++
		}
	})
	return s
}

// Listen tells how many hosts of the component, but those left out, were heard since a time, and how many since an earlier one.
func (r *Registry) Listen(component string, since, before time.Time, but func(fleet.EndpointID) bool) (heard, known int) {
	r.each(func(e *Endpoint) {
		if _, has := e.Components[component]; !has || e.LastSeen.Before(before) || but(e.ID) {
			return
		}
		known++
		if !e.LastSeen.Before(since) {
			heard++
		}
	})
	return heard, known
}

// turn is how many hosts are looked at before whoever waits for the lock has it: a check-in waits for a fraction of a millisecond.
const turn = 1000

// each goes through all endpoints in the order in which they came. What is counted so is no picture of one moment.
func (r *Registry) each(look func(*Endpoint)) {
	for from := 0; ; from += turn {
		if r.some(from, look) <= from+turn {
			return
		}
	}
}

// some goes through one turn's endpoints, and tells how many there are in all.
func (r *Registry) some(from int, look func(*Endpoint)) int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, e := range r.order[min(from, len(r.order)):min(from+turn, len(r.order))] {
		look(e)
	}
	return len(r.order)
}
