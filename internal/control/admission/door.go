package admission

import (
	"container/list"
	"math"
	"net/netip"
	"sync"
	"time"
)

// Limits bound what a port takes on. Sources are addresses of IPv4 and /64 networks of IPv6; many hosts may be behind one.
type Limits struct {
	Connections int // open at a time
	OfSource    int // of them, from one source
	Waiting     int // of them, those that have not sent a request yet: beyond, the one that waits longest is cut off
	Full        Rate
	Resumed     Rate // handshakes with a ticket: they cost about a third
}

// Reason is why somebody was turned away.
type Reason string

// The reasons.
const (
	None        Reason = ""
	TooMany     Reason = "too many connections"
	TooManyHere Reason = "too many connections from one address"
	TooFast     Reason = "too many handshakes"
)

// Guest is one connection that was let in.
type Guest struct {
	source  netip.Prefix
	cut     func()
	waits   *list.Element // nil once it sent a request
	resumes bool          // it said that it has a ticket
	left    bool
}

// Door bounds connections and paces handshakes. It is safe for concurrent use; times are given to it.
type Door struct {
	Limits
	mu      sync.Mutex
	open    int
	of      map[netip.Prefix]int
	waiting list.List // of *Guest, the longest first
	full    Bucket
	resumed Bucket

	arrivals float64 // each second, lately
	at       time.Time
}

// NewDoor makes a door.
func NewDoor(l Limits) *Door {
	return &Door{Limits: l, of: map[netip.Prefix]int{}, full: Bucket{Rate: l.Full}, resumed: Bucket{Rate: l.Resumed}}
}

// Arrive lets a connection in, or says why not. Cut is called, at most once, if it has to go because it waits longest. While no handshake can
// begin it costs least to turn it away before it says a word.
func (d *Door) Arrive(from netip.Addr, cut func(), now time.Time) (*Guest, Reason) {
	source := sourceOf(from)
	g, why, evicted := d.arrive(source, cut, now)
	if evicted != nil {
		evicted.cut()
	}
	return g, why
}

func (d *Door) arrive(source netip.Prefix, cut func(), now time.Time) (g *Guest, why Reason, evicted *Guest) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arrived(now)
	switch {
	case d.open >= d.Connections:
		return nil, TooMany, nil
	case d.of[source] >= d.OfSource:
		return nil, TooManyHere, nil
	case !d.resumed.Has(1, now) && !d.full.Has(1, now):
		return nil, TooFast, nil
	}
	if d.waiting.Len() >= d.Waiting {
		evicted = d.waiting.Front().Value.(*Guest) //nolint:forcetypeassert // nothing else is put in
		d.serve(evicted)
	}
	g = &Guest{source: source, cut: cut}
	g.waits = d.waiting.PushBack(g)
	d.open++
	d.of[source]++
	return g, None, evicted
}

// Greet lets a guest's handshake begin, which has a ticket or has none.
func (d *Door) Greet(g *Guest, resumes bool, now time.Time) Reason {
	d.mu.Lock()
	defer d.mu.Unlock()
	g.resumes = resumes
	bucket := &d.full
	if resumes {
		bucket = &d.resumed
	}
	if !bucket.Take(1, now) {
		return TooFast
	}
	return None
}

// Serve notes that a guest has sent a request, and whether its ticket was good. A ticket that was not cost a full handshake.
func (d *Door) Serve(g *Guest, resumed bool, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.waits == nil {
		return
	}
	if g.resumes && !resumed {
		d.full.Owe(1, now)
	}
	d.serve(g)
}

// serve takes a guest out of the line; the caller holds the lock.
func (d *Door) serve(g *Guest) {
	d.waiting.Remove(g.waits)
	g.waits = nil
}

// Leave ends a connection. Whoever said that it had a ticket and never came to a request is taken to have had none.
func (d *Door) Leave(g *Guest, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if g.left {
		return
	}
	g.left = true
	d.open--
	if d.of[g.source]--; d.of[g.source] == 0 {
		delete(d.of, g.source)
	}
	if g.waits != nil {
		d.serve(g)
		if g.resumes {
			d.full.Owe(1, now)
		}
	}
}

// Open is how many connections there are, and how many of them have not sent a request.
func (d *Door) Open() (open, waiting int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open, d.waiting.Len()
}

// memory is over what time arrivals are averaged.
const memory = 2 * time.Second

// arrived counts an arrival; the caller holds the lock.
func (d *Door) arrived(now time.Time) {
	d.fade(now)
	d.arrivals += 1 / memory.Seconds()
}

func (d *Door) fade(now time.Time) {
	if passed := now.Sub(d.at); passed > 0 {
		d.arrivals *= math.Exp(-passed.Seconds() / memory.Seconds())
		d.at = now
	}
}

// Arrivals is how many connections came each second lately, those that were turned away too.
func (d *Door) Arrivals(now time.Time) float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fade(now)
	return d.arrivals
}

// sourceOf is whom an address counts for.
func sourceOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // of no address there is none: those count together
	return p
}
