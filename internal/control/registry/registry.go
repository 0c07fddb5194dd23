// Package registry is the fleet in memory: who is enrolled, what each host last said of itself and when. It answers the questions of
// the hot path without a database, and counts the fleet for the rollouts.
//
// A host costs about a hundred bytes: a record without pointers, a place in the index by id, and one in that by number. What hosts say of
// themselves is kept once for all that say the same. The lock is held for moments only; that a host was heard is noted under a read lock.
package registry

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Endpoint is what is known of one host. Values handed out are copies; maps in them must not be changed.
type Endpoint struct {
	ID         fleet.EndpointID
	Number     int64 // the database's number of it; 0 if it is not known here
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
	epoch   epoch
	mu      sync.RWMutex // of all that follows, but for what is atomic in a page
	pages   []*page
	hosts   int                         // how many records the pages hold
	dead    int                         // of them, those of hosts that ended
	ended   map[fleet.EndpointID]end    // those whose identity ended, and did not join again
	places  map[key]uint32              // of endpoints by id
	odd     map[fleet.EndpointID]uint32 // of those with ids of another form
	names   map[uint32]fleet.EndpointID // the other way round
	boots   map[uint32]string           // boot ids that are no UUID, by place
	numbers map[int64]*[turn]uint32     // places, each plus one, by number: a stretch of numbers each
	kinds   kinds
	telling atomic.Int64 // the page where telling goes on
}

// New makes an empty registry.
func New() *Registry {
	return &Registry{
		places: map[key]uint32{}, odd: map[fleet.EndpointID]uint32{}, names: map[uint32]fleet.EndpointID{}, boots: map[uint32]string{},
		numbers: map[int64]*[turn]uint32{}, kinds: newKinds(), ended: map[fleet.EndpointID]end{},
	}
}

// find tells the place of an endpoint; the caller holds the lock.
func (r *Registry) find(id fleet.EndpointID) (place uint32, ok bool) {
	if k, plain := keyOf(id); plain {
		place, ok = r.places[k]
		return place, ok
	}
	place, ok = r.odd[id]
	return place, ok
}

// row is the record at a place; the caller holds the lock.
func (r *Registry) row(place uint32) *record { return &r.pages[place/turn].rows[place%turn] }

// of returns the record of an endpoint, a new one if need be; the caller holds the lock.
func (r *Registry) of(id fleet.EndpointID) (place uint32, e *record) {
	if known, ok := r.find(id); ok {
		return known, r.row(known)
	}
	delete(r.ended, id)
	place = uint32(r.hosts) //nolint:gosec // four thousand million hosts do not fit in memory
	if place%turn == 0 {
		r.pages = append(r.pages, &page{})
	}
	r.hosts++
	e = r.row(place)
	e.seen.Store(spoke(never, false))
	e.enrolled = never
	if k, plain := keyOf(id); plain {
		e.key, r.places[k] = k, place
		return place, e
	}
	e.set(oddID, true)
	r.odd[id], r.names[place] = place, id
	return place, e
}

// Put adds or replaces an endpoint, as it was loaded. What was heard of it later, and reports that were stored, stay known. It must not have
// been heard later than now: whoever wrote that had another clock, and nobody would miss the host until then.
func (r *Registry) Put(e Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	place, to := r.of(e.ID)
	r.hear(to, e)
	r.put(place, to, e)
	to.set(synced, e.Synced)
}

// Merge takes in an endpoint as another replica stored it, as with Put. What was said here and is not stored yet stays; but if the other says
// otherwise than was said here, the host is asked for its whole state when it is heard next: nobody knows which of the two is older.
func (r *Registry) Merge(e Endpoint) {
	r.mu.Lock()
	defer r.mu.Unlock()
	place, to := r.of(e.ID)
	r.hear(to, e)
	if r.differs(place, to, e) {
		to.set(synced, false)
	}
	if r.pages[place/turn].changed.has(place % turn) {
		r.assign(place, e.Number)
		return
	}
	r.put(place, to, e)
}

// hear takes over what only grows; the caller holds the lock.
func (r *Registry) hear(to *record, e Endpoint) {
	at := r.epoch.instant(e.LastSeen)
	if known, _ := to.heard(); at >= known {
		to.seen.Store(spoke(at, e.Left))
	}
	to.reported.Store(max(to.reported.Load(), e.Reported))
}

// differs tells whether what an endpoint says of itself is not what is known; the caller holds the lock.
func (r *Registry) differs(place uint32, to *record, e Endpoint) bool {
	k := r.kindOf(to)
	return k == nil || k.subject.Attributes != e.Subject.Attributes || to.posture != e.Posture || r.bootOf(place, to) != e.Boot ||
		!k.inventory.says(e.Components)
}

// put takes over what replaces what was known; the caller holds the lock.
func (r *Registry) put(place uint32, to *record, e Endpoint) {
	to.enrolled, to.posture = r.epoch.instant(e.Enrolled), e.Posture
	r.become(to, r.kinds.subject(e.Subject), r.kinds.inventory(e.Components))
	r.setBoot(place, to, e.Boot)
	r.assign(place, e.Number)
}

// become makes a host one of another kind; the caller holds the lock.
func (r *Registry) become(e *record, s *subject, v *Inventory) {
	old := e.kind
	e.kind = r.kinds.enter(s, v)
	r.kinds.leave(old)
}

// kindOf is the kind of a host; the caller holds the lock.
func (r *Registry) kindOf(e *record) *kind { return r.kinds.slots[e.kind] }

func (r *Registry) setBoot(place uint32, e *record, text string) {
	if e.is(oddBoot) {
		delete(r.boots, place)
	}
	boot, plain := bootOf(text)
	e.boot = boot
	e.set(plainBoot, plain)
	e.set(oddBoot, !plain && text != "")
	if e.is(oddBoot) {
		r.boots[place] = text
	}
}

func (r *Registry) bootOf(place uint32, e *record) string {
	if e.is(plainBoot) {
		return bootText(e.boot)
	}
	return r.boots[place]
}

// Assign notes the database's number of an endpoint, by which replicas speak of it.
func (r *Registry) Assign(id fleet.EndpointID, number int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if place, ok := r.find(id); ok {
		r.assign(place, number)
	}
}

func (r *Registry) assign(place uint32, number int64) {
	if number <= 0 {
		return
	}
	r.row(place).number = number
	stretch, known := r.numbers[number/turn]
	if !known {
		stretch = new([turn]uint32)
		r.numbers[number/turn] = stretch
	}
	stretch[number%turn] = place + 1
}

// numbered tells the place of the endpoint with that number; the caller holds the lock.
func (r *Registry) numbered(number int64) (place uint32, ok bool) {
	stretch, known := r.numbers[number/turn]
	if number <= 0 || !known || stretch[number%turn] == 0 {
		return 0, false
	}
	return stretch[number%turn] - 1, true
}

// Enrol adds an endpoint. One that is known already and joins again keeps what else is known of it: above all the number of its newest
// report, because it must count on from there.
func (r *Registry) Enrol(id fleet.EndpointID, subject fleet.Subject, at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, e := r.of(id)
	if e.enrolled == never {
		e.enrolled = r.epoch.instant(at)
	}
	inventory := r.kinds.nothing
	if k := r.kindOf(e); k != nil {
		inventory = k.inventory
	}
	r.become(e, r.kinds.subject(subject), inventory)
	e.seen.Store(spoke(r.epoch.instant(at), false))
	e.set(synced, false)
}

// Get returns an endpoint.
func (r *Registry) Get(id fleet.EndpointID) (Endpoint, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	place, ok := r.find(id)
	if !ok {
		return Endpoint{}, false
	}
	return r.endpoint(place, id), true
}

// endpoint copies a record out; the caller holds the lock.
func (r *Registry) endpoint(place uint32, id fleet.EndpointID) Endpoint {
	e := r.row(place)
	k := r.kindOf(e)
	at, left := e.heard()
	return Endpoint{
		ID: id, Number: e.number, Subject: k.subject.Subject, Enrolled: r.epoch.time(e.enrolled), LastSeen: r.epoch.time(at),
		Boot: r.bootOf(place, e), Components: k.inventory.components, Reported: e.reported.Load(), Synced: e.is(synced), Left: left,
		Posture: e.posture,
	}
}

// id is the name of the endpoint at a place; the caller holds the lock.
func (r *Registry) id(place uint32) fleet.EndpointID {
	e := r.row(place)
	if e.is(oddID) {
		return r.names[place]
	}
	return fleet.EndpointID(e.key.append(make([]byte, 0, idLength)))
}

// Known tells whether an endpoint is enrolled.
func (r *Registry) Known(id fleet.EndpointID) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.find(id)
	return ok
}

// Len is the number of enrolled endpoints.
func (r *Registry) Len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.hosts - r.dead
}

// Update takes in what an endpoint says of itself; nil parts stay as they were. A boot id comes with the whole state.
func (r *Registry) Update(id fleet.EndpointID, attributes *fleet.Attributes, components map[string]api.Component, boot string) {
	if attributes == nil && components == nil && boot == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	place, ok := r.find(id)
	if !ok {
		return
	}
	e := r.row(place)
	if r.describe(e, attributes, components) {
		r.change(place)
	}
	if boot != "" && r.bootOf(place, e) != boot {
		r.setBoot(place, e, boot)
		r.change(place)
	}
	e.set(synced, e.is(synced) || components != nil || boot != "")
}

// describe takes in attributes and components, and tells whether they are others than were known; the caller holds the lock.
func (r *Registry) describe(e *record, attributes *fleet.Attributes, components map[string]api.Component) bool {
	k := r.kindOf(e)
	s, v := k.subject, k.inventory
	if components != nil && len(components)+len(v.components) > 0 {
		v = r.kinds.inventory(components)
	}
	if attributes != nil && s.Attributes != *attributes {
		other := s.Subject
		other.Attributes = *attributes
		s = r.kinds.subject(other)
	}
	if s == k.subject && v == k.inventory {
		return false
	}
	r.become(e, s, v)
	return true
}

// change notes that the endpoint at a place is to be stored.
func (r *Registry) change(place uint32) { r.pages[place/turn].changed.add(place % turn) }

// Stand takes in what an endpoint could survive alone.
func (r *Registry) Stand(id fleet.EndpointID, p fleet.Posture) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if place, ok := r.find(id); ok && r.row(place).posture != p {
		r.row(place).posture = p
		r.change(place)
	}
}

// Report notes the highest report number that is stored of an endpoint.
func (r *Registry) Report(id fleet.EndpointID, seq int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	place, ok := r.find(id)
	if !ok {
		return
	}
	reported := &r.row(place).reported
	for known := reported.Load(); known < seq && !reported.CompareAndSwap(known, seq); {
		known = reported.Load()
	}
}
