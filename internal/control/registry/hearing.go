package registry

import (
	"math/bits"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Glance is what a check-in that changes nothing is answered from.
type Glance struct {
	Inventory *Inventory
	Reported  int64 // highest report number stored
	Synced    bool  // it sent its whole state since this server started
}

// Hear notes that an endpoint was heard and returns what its check-in is answered from. It copies nothing and takes no exclusive lock.
func (r *Registry) Hear(id fleet.EndpointID, at time.Time) (Glance, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	place, ok := r.find(id)
	if !ok {
		return Glance{}, false
	}
	r.note(place, at, false)
	return r.glance(place), true
}

// Glance is Hear without noting anything.
func (r *Registry) Glance(id fleet.EndpointID) (Glance, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	place, ok := r.find(id)
	if !ok {
		return Glance{}, false
	}
	return r.glance(place), true
}

func (r *Registry) glance(place uint32) Glance {
	e := r.row(place)
	return Glance{Inventory: r.kindOf(e).inventory, Reported: e.reported.Load(), Synced: e.is(synced)}
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
	r.mu.RLock()
	defer r.mu.RUnlock()
	place, ok := r.find(id)
	if !ok {
		return Endpoint{}, false
	}
	r.note(place, at, left)
	return r.endpoint(place, id), true
}

// note notes that the endpoint at a place was heard; the caller holds a read lock. The time comes before the marks: whoever takes a mark
// finds the time that belongs to it, or a newer one.
func (r *Registry) note(place uint32, at time.Time, left bool) {
	p, i := r.pages[place/turn], place%turn
	p.rows[i].seen.Store(spoke(r.epoch.instant(at), left))
	p.touched.add(i)
	p.untold.add(i)
}

// Sighting is when an endpoint was heard last.
type Sighting struct {
	Number int64
	At     time.Time
}

// Flush returns what was seen and what was changed since the last call. What was seen of endpoints whose number is not known here waits
// until it is.
func (r *Registry) Flush() (seen []Sighting, changed []Endpoint) {
	for n := range r.stretches() {
		seen, changed = r.flush(n, seen, changed)
	}
	return seen, changed
}

// stretches is how many pages there are.
func (r *Registry) stretches() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.pages)
}

func (r *Registry) flush(n int, seen []Sighting, changed []Endpoint) ([]Sighting, []Endpoint) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	p := r.pages[n]
	p.numbered(&p.touched, func(e *record) bool {
		at, _ := e.heard()
		seen = append(seen, Sighting{Number: e.number, At: r.epoch.time(at)})
		return true
	})
	p.changed.take(func(i uint32) bool {
		place := uint32(n*turn) + i //nolint:gosec // a place
		changed = append(changed, r.endpoint(place, r.id(place)))
		return true
	})
	return seen, changed
}

// numbered takes the records out of a set that have a number, for as long as whoever gets them wants more.
func (p *page) numbered(set *marks, get func(*record) bool) {
	var rest []uint32
	set.take(func(i uint32) bool {
		if p.rows[i].number == 0 {
			rest = append(rest, i)
			return true
		}
		return get(&p.rows[i])
	})
	for _, i := range rest {
		set.add(i)
	}
}

// take empties the set, from the lowest on, for as long as whoever gets the records wants more.
func (m *marks) take(get func(i uint32) bool) {
	for n := range m {
		if m[n].Load() == 0 {
			continue
		}
		for word := m[n].Swap(0); word != 0; word &= word - 1 {
			if !get(uint32(n*64 + bits.TrailingZeros64(word))) { //nolint:gosec // below turn
				m[n].Or(word)
				return
			}
		}
	}
}

// Unflushed gives back what [Registry.Flush] returned and could not be written: the next Flush returns it again.
func (r *Registry) Unflushed(seen []Sighting, changed ...Endpoint) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, s := range seen {
		if place, ok := r.numbered(s.Number); ok {
			r.pages[place/turn].touched.add(place % turn)
		}
	}
	for _, e := range changed {
		if place, ok := r.find(e.ID); ok {
			r.change(place)
		}
	}
}
