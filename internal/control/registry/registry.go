// Package registry is the fleet in memory: who is enrolled, what each host last said of itself and when. It answers the questions of
// the hot path without a database, and counts the fleet for the rollouts.
package registry

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Endpoint is what is known of one host. Values handed out are copies; maps in them must not be changed.
type Endpoint struct {
	ID         fleet.EndpointID
	Subject    fleet.Subject
	Enrolled   time.Time
	LastSeen   time.Time
	Boot       string
	Components map[string]api.Component
	Reported   int64 // highest report number stored
	Synced     bool  // it sent its whole state since this server started
}

// Registry is safe for concurrent use.
type Registry struct {
	mu        sync.RWMutex
	endpoints map[fleet.EndpointID]*Endpoint
	touched   map[fleet.EndpointID]bool // seen since the last Flush
	changed   map[fleet.EndpointID]bool // changed since the last Flush
}

// New makes an empty registry.
func New() *Registry {
	return &Registry{
		endpoints: map[fleet.EndpointID]*Endpoint{}, touched: map[fleet.EndpointID]bool{}, changed: map[fleet.EndpointID]bool{},
	}
}

// Put adds or replaces an endpoint, as it was loaded.
func (r *Registry) Put(e Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endpoints[e.ID] = &e
}

// Enrol adds an endpoint. One that is known already and joins again keeps what else is known of it: above all the number of its newest
// report, because it must count on from there.
func (r *Registry) Enrol(id fleet.EndpointID, subject fleet.Subject, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.endpoints[id]
	if !ok {
		e = &Endpoint{ID: id, Enrolled: at}
		r.endpoints[id] = e
	}
	e.Subject, e.LastSeen, e.Synced = subject, at, false
}

// Get returns an endpoint.
func (r *Registry) Get(id fleet.EndpointID) (Endpoint, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, ok := r.endpoints[id]
	if !ok {
		return Endpoint{}, false
	}
	return *e, true
}

// Len is the number of enrolled endpoints.
func (r *Registry) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.endpoints)
}

// Seen notes that an endpoint was heard and returns it.
func (r *Registry) Seen(id fleet.EndpointID, at time.Time) (Endpoint, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.endpoints[id]
	if !ok {
		return Endpoint{}, false
	}
	e.LastSeen = at
	r.touched[id] = true
	return *e, true
}

// Update takes in what an endpoint says of itself; nil parts stay as they were. A boot id comes with the whole state.
func (r *Registry) Update(id fleet.EndpointID, attributes *fleet.Attributes, components map[string]api.Component, boot string) {
	if attributes == nil && components == nil && boot == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.endpoints[id]
	if !ok {
		return
	}
	if attributes != nil && e.Subject.Attributes != *attributes {
		e.Subject.Attributes = *attributes
		r.changed[id] = true
	}
	if components != nil && !maps.EqualFunc(e.Components, components, api.Component.Equal) {
		e.Components = maps.Clone(components)
		r.changed[id] = true
	}
	if boot != "" && e.Boot != boot {
		e.Boot = boot
		r.changed[id] = true
	}
	e.Synced = e.Synced || components != nil || boot != ""
}

// Report notes the highest report number that is stored of an endpoint.
func (r *Registry) Report(id fleet.EndpointID, seq int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.endpoints[id]; ok {
		e.Reported = max(e.Reported, seq)
	}
}

// Flush returns what was seen and what was changed since the last call.
func (r *Registry) Flush() (seen map[fleet.EndpointID]time.Time, changed []Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen = make(map[fleet.EndpointID]time.Time, len(r.touched))
	for id := range r.touched {
		seen[id] = r.endpoints[id].LastSeen
	}
	for id := range r.changed {
		changed = append(changed, *r.endpoints[id])
	}
	clear(r.touched)
	clear(r.changed)
	return seen, changed
}

// Unflushed gives back what [Registry.Flush] returned and could not be written: the next Flush returns it again.
func (r *Registry) Unflushed(seen map[fleet.EndpointID]time.Time, changed ...Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id := range seen {
		r.touched[id] = true
	}
	for _, e := range changed {
		r.changed[e.ID] = true
	}
}

// Census counts hosts for one rollout.
type Census struct {
	Eligible  int64 // have the component and were heard since, or are exposed
	Remaining int64 // of them, not exposed
	Available int64 // of those, picked by the selector, as many as fit
	Heard     int64 // of the proving hosts, those heard
}

// Question is whom a census counts.
type Question struct {
	Component string
	Since     time.Time                   // hosts that were not heard since are not waited for
	Exposed   func(fleet.EndpointID) bool // those already exposed count as eligible, heard or not
	Ring      fleet.Selector
	Refused   string                      // manifest: hosts that say they refuse it are not waited for
	Fits      func(fleet.Subject) bool    // whether one more such host may be exposed; asked once for each available host; nil: always
	Proving   func(fleet.EndpointID) bool // hosts that are to be heard; nil: none
	Hearing   time.Time                   // and since when
}

// Count takes a census of the hosts that have the component.
func (r *Registry) Count(q Question) Census {
	r.mu.RLock()
	defer r.mu.RUnlock()
	var count Census
	for id, e := range r.endpoints {
		c, has := e.Components[q.Component]
		if !has {
			continue
		}
		if q.Proving != nil && q.Proving(id) && !e.LastSeen.Before(q.Hearing) {
			count.Heard++
		}
		gone := q.Exposed(id)
		if !gone && (e.LastSeen.Before(q.Since) || q.Refused != "" && slices.Contains(c.Refuses, q.Refused)) {
			continue
		}
		count.Eligible++
		if gone {
			continue
		}
		count.Remaining++
		if q.Ring.Matches(e.Subject) && (q.Fits == nil || q.Fits(e.Subject)) {
			count.Available++
		}
	}
	return count
}

// Sizes are how many hosts have a component: in all, by tenant and by site.
type Sizes struct {
	Fleet   int64
	Tenants map[fleet.TenantID]int64
	Sites   map[string]int64
}

// Sizes counts the hosts that have the component.
func (r *Registry) Sizes(component string) Sizes {
	r.mu.RLock()
	defer r.mu.RUnlock()
	s := Sizes{Tenants: map[fleet.TenantID]int64{}, Sites: map[string]int64{}}
	for _, e := range r.endpoints {
		if _, has := e.Components[component]; has {
			s.Fleet++
			s.Tenants[e.Subject.Tenant]++
			s.Sites[e.Subject.Attributes.Site]++
		}
	}
	return s
}

// Listen tells how many hosts of the component, but those left out, were heard since a time, and how many since an earlier one.
func (r *Registry) Listen(component string, since, before time.Time, but func(fleet.EndpointID) bool) (heard, known int) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for id, e := range r.endpoints {
		if _, has := e.Components[component]; !has || e.LastSeen.Before(before) || but(id) {
			continue
		}
		known++
		if !e.LastSeen.Before(since) {
			heard++
		}
	}
	return heard, known
}

// All lists the endpoints by id, from after on, at most limit.
func (r *Registry) All(after fleet.EndpointID, limit int) []Endpoint {
	r.mu.RLock()
	defer r.mu.RUnlock()
	ids := slices.Sorted(maps.Keys(r.endpoints))
	from, found := slices.BinarySearch(ids, after)
	if found {
		from++
	}
	ids = ids[from:min(from+limit, len(ids))]
	list := make([]Endpoint, len(ids))
	for i, id := range ids {
		list[i] = *r.endpoints[id]
	}
	return list
}
