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
	Left       bool  // with its last word it said that its agent stops in good order
	Posture    fleet.Posture
}

// Of is the endpoint as a selector sees it that speaks of one of its components.
func (e *Endpoint) Of(component string) fleet.Subject {
	s := e.Subject
	s.Consumer = e.Components[component].Consumer
	return s
}

// Registry is safe for concurrent use.
type Registry struct {
	mu        sync.RWMutex
	endpoints map[fleet.EndpointID]*Endpoint
	order     []*Endpoint               // the same, as they came
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
	*r.of(e.ID) = e
}

// of returns the endpoint, a new one if need be; the caller holds the lock.
func (r *Registry) of(id fleet.EndpointID) *Endpoint {
	e, ok := r.endpoints[id]
	if !ok {
		e = &Endpoint{ID: id}
		r.endpoints[id], r.order = e, append(r.order, e)
	}
	return e
}

// Enrol adds an endpoint. One that is known already and joins again keeps what else is known of it: above all the number of its newest
// report, because it must count on from there.
func (r *Registry) Enrol(id fleet.EndpointID, subject fleet.Subject, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.of(id)
	if e.Enrolled.IsZero() {
		e.Enrolled = at
	}
	e.Subject, e.LastSeen, e.Synced, e.Left = subject, at, false, false
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
	return r.seen(id, at, false)
}

// Leaves notes that an endpoint was heard and said that its agent stops in good order. Whatever is heard of it next takes that back.
func (r *Registry) Leaves(id fleet.EndpointID, at time.Time) (Endpoint, bool) {
	return r.seen(id, at, true)
}

func (r *Registry) seen(id fleet.EndpointID, at time.Time, left bool) (Endpoint, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.endpoints[id]
	if !ok {
		return Endpoint{}, false
	}
	e.LastSeen, e.Left = at, left
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

// Stand takes in what an endpoint could survive alone.
func (r *Registry) Stand(id fleet.EndpointID, p fleet.Posture) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e, ok := r.endpoints[id]; ok && e.Posture != p {
		e.Posture = p
		r.changed[id] = true
	}
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
