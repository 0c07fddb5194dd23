package registry

import "github.com/firebreak-dev/firebreak/internal/domain/fleet"

// end is how an identity ended.
type end struct {
	revoked bool
	why     string
}

// End forgets an endpoint whose identity ended: it is not known any more, nobody waits for it, and its silence means nothing. Its record stays
// empty until the process ends. An endpoint that joins again is a new one.
func (r *Registry) End(id fleet.EndpointID, revoked bool, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if place, ok := r.find(id); ok {
		r.bury(place, id)
	}
	r.ended[id] = end{revoked, why}
}

// bury empties a record; the caller holds the lock.
func (r *Registry) bury(place uint32, id fleet.EndpointID) {
	e := r.row(place)
	r.kinds.leave(e.kind)
	e.kind = 0
	if e.number > 0 {
		r.numbers[e.number/turn][e.number%turn] = 0
		e.number = 0
	}
	if k, plain := keyOf(id); plain {
		delete(r.places, k)
	} else {
		delete(r.odd, id)
		delete(r.names, place)
	}
	delete(r.boots, place)
	p := r.pages[place/turn]
	for _, marked := range []*marks{&p.touched, &p.changed, &p.untold} {
		marked.drop(place % turn)
	}
	r.dead++
}

// drop takes a record out of the set.
func (m *marks) drop(i uint32) { m[i/64].And(^(uint64(1) << (i % 64))) }

// Revoked tells whether an endpoint was revoked, and why.
func (r *Registry) Revoked(id fleet.EndpointID) (why string, revoked bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e := r.ended[id]
	return e.why, e.revoked
}

// records is how many records there are, those of endpoints that ended among them.
func (r *Registry) records() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.hosts
}
