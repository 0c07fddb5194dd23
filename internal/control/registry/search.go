package registry

import (
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Search says which endpoints are looked for. Zero fields ask for nothing.
type Search struct {
	After     int64         // only endpoints with larger numbers
	Limit     int           // so many at most
	Prefix    string        // of the id
	Component string        // only those that have it; the subject that Wants sees speaks of it
	Silent    time.Time     // only those that were not heard since
	Refusing  bool          // only those that keep a release in quarantine; if Component is set, one of that
	Lacks     fleet.Posture // only those that miss any of it; 0 asks for nothing
	AtRisk    bool          // only those of which [AtRisk] is true
	// Wants is asked once for all endpoints that are alike; nil wants all.
	Wants func(subject fleet.Subject, state api.Component) bool
	// Count asks to go on when there are enough, only to count.
	Count bool
	// Stop is asked now and then: true ends the search where it stands.
	Stop func() bool
}

// Found is what a search came upon.
type Found struct {
	IDs  []fleet.EndpointID // in the order of numbers
	Next int64              // number to go on after; 0 if nothing follows
	// Matched of Looked endpoints are wanted, those of later pages among them if they were to be counted.
	Matched, Looked int64
	Ended           bool // nothing was left to look at
}

// Search goes through the fleet in the order of the database's numbers, which no enrolment changes, and which is the same in all replicas.
// It holds the lock for about a thousand endpoints at a time. An endpoint whose number is not known yet is passed over.
func (r *Registry) Search(q Search) Found {
	s := searching{Search: q, at: r, silent: never, last: q.After}
	if !q.Silent.IsZero() {
		s.silent = r.epoch.instant(q.Silent)
	}
	first, end := q.After+1, r.stretchesOfNumbers()
	for n := first / turn; n < end; n++ {
		if !s.stretch(n, max(first, n*turn)) {
			return s.Found
		}
		if q.Stop != nil && q.Stop() {
			s.Next = s.last
			if len(s.IDs) < q.Limit {
				s.Next = (n+1)*turn - 1
			}
			return s.Found
		}
	}
	s.Ended = true
	return s.Found
}

// stretchesOfNumbers is where the stretches of numbers end.
func (r *Registry) stretchesOfNumbers() int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	end := int64(0)
	for n := range r.numbers {
		end = max(end, n+1)
	}
	return end
}

// searching is a search that is under way.
type searching struct {
	Search
	Found
	at     *Registry
	silent int64
	last   int64 // number of the last one on the page
	met    byKind[bool]
}

// stretch looks at the endpoints of the n-th stretch of numbers, from a number on, and tells whether to go on.
func (s *searching) stretch(n, from int64) bool {
	s.at.mu.RLock()
	defer s.at.mu.RUnlock()
	places := s.at.numbers[n]
	if places == nil {
		return true
	}
	for number := from; number < (n+1)*turn; number++ {
		if place := places[number%turn]; place != 0 && !s.look(place-1, number) {
			return false
		}
	}
	return true
}

// look takes in one endpoint, and tells whether to go on.
func (s *searching) look(place uint32, number int64) bool {
	s.Looked++
	if !s.wanted(place) {
		return true
	}
	s.Matched++
	if len(s.IDs) < s.Limit {
		s.IDs, s.last = append(s.IDs, s.at.id(place)), number
		return true
	}
	s.Next = s.last
	return s.Count
}

func (s *searching) wanted(place uint32) bool {
	e := s.at.row(place)
	if s.silent != never {
		if at, _ := e.heard(); at >= s.silent {
			return false
		}
	}
	if s.Lacks != 0 && e.posture.Meets(s.Lacks) || s.AtRisk && !AtRisk(e.posture) {
		return false
	}
	k := s.at.kindOf(e)
	wants, known := s.met.at(k)
	if !known {
		*wants = (s.Component == "" || k.has(s.Component)) && (!s.Refusing || k.inventory.refuses(s.Component)) &&
			(s.Wants == nil || s.Wants(k.speaks(s.Component), k.inventory.components[s.Component]))
	}
	return *wants && (s.Prefix == "" || strings.HasPrefix(string(s.at.id(place)), s.Prefix))
}
