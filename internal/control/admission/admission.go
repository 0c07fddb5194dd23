// Package admission decides whom the agent port lets in, and what it puts off when there is too much to do.
//
// A [Door] bounds connections, and paces TLS handshakes: they are what a returning fleet costs. A [Desk] looks at what is under way and says
// which requests are shed: check-ins that change nothing first, then downloads, then joins, then reports. What carries a halt, a roll back or
// a recall is never asked about here: operators have a port of their own, and directives and trust metadata are always served.
//
// The decisions take the time as a value; what reads a clock or a socket is thin.
package admission

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Kind is what kind of request is to be let in.
type Kind string

// The kinds, in the order in which they are shed.
const (
	CheckIn  Kind = "checkin"  // a check-in that changes nothing, of a host that is not exposed
	Download Kind = "download" // an artifact or a delta
	Join     Kind = "join"     // a join, or a new certificate
	Report   Kind = "report"   // a check-in that says something
)

// limit is the pressure from which on requests of a kind are shed.
func (k Kind) limit() float64 {
	switch k {
	case CheckIn:
		return 1
	case Download:
		return 1.25
	case Join:
		return 1.5
	case Report:
		return 2
	}
	return math.Inf(1)
}

// Load is how much there is to do.
type Load struct {
	InFlight int           // requests that are being answered
	Queue    int           // writes that wait for the database
	Delay    time.Duration // how late the process gets its turn
}

// Pressure is the load as a share of the most that is good: at 1 the server has as much to do as it can.
func (l Load) Pressure(most Load) float64 {
	return max(share(float64(l.InFlight), float64(most.InFlight)), share(float64(l.Queue), float64(most.Queue)),
		share(float64(l.Delay), float64(most.Delay)))
}

func share(part, most float64) float64 {
	if most <= 0 {
		return 0 // nothing bounds it
	}
	return part / most
}

// Sheds tells whether requests of a kind are put off at that pressure.
func Sheds(k Kind, pressure float64) bool { return pressure >= k.limit() }

// How check-ins are spread out under load.
const (
	calm        = 0.5 // pressure up to which hosts come as often as ever
	mostStretch = 8
	// Deaf is the stretch beyond which hosts come so seldom that their silence says nothing.
	Deaf = 2
)

// Stretch is by how much the pause between check-ins grows at that pressure: 1 when it is calm, 2 at 1, at most 8.
func Stretch(pressure float64) float64 { return min(max(1, 1+2*(pressure-calm)), mostStretch) }

// Retry is when somebody who was turned away should come back, the later the higher the pressure. Chance, from 0 to 1, spreads those who were
// turned away together.
func Retry(pressure, chance float64) time.Duration {
	base := min(max(1, 2*pressure), 30) * float64(time.Second)
	return time.Duration(base * (1 + 2*chance))
}

// Options are a desk's world.
type Options struct {
	Most      Load
	Joins     Rate                        // of joins and renewals
	Downloads int                         // at a time
	OfOne     int                         // downloads of one endpoint at a time: a stolen identity holds up nobody but itself
	Large     int                         // bodies that are too long for a kept buffer, at a time
	Queue     func() (now, most int)      // of the database; nil: there is none
	Arrivals  func(now time.Time) float64 // connections wanted, each second; nil: nobody counts
	Handles   float64                     // of them the port can take
	Count     func(Kind)                  // what was shed; nil: nobody counts
	Clock     clock.Clock
}

// Desk lets requests in. It is safe for concurrent use; Run measures until its context ends.
type Desk struct {
	Options
	inFlight atomic.Int64
	measured atomic.Uint64 // pressure without what is in flight, as bits
	demand   atomic.Uint64 // arrivals as a share of what the port can take, as bits
	large    chan struct{}

	mu          sync.Mutex
	joins       Bucket
	downloads   int
	downloading map[fleet.EndpointID]int
}

// New makes a desk.
func New(o Options) *Desk {
	return &Desk{Options: o, joins: Bucket{Rate: o.Joins}, large: make(chan struct{}, o.Large), downloading: map[fleet.EndpointID]int{}}
}

const (
	measureEvery = 50 * time.Millisecond
	calming      = 0.8 // of a measured pressure is left when the next one is lower
)

// Run measures how late the process gets its turn, and how long the database's queue is, until ctx ends.
func (d *Desk) Run(ctx context.Context) error {
	for before := d.Clock.Now(); d.Clock.Sleep(ctx, measureEvery) == nil; {
		now := d.Clock.Now()
		d.measure(now, now.Sub(before)-measureEvery)
		before = now
	}
	return nil
}

// measure takes in a measurement. Pressure comes at once and goes slowly.
func (d *Desk) measure(now time.Time, late time.Duration) {
	most, load := d.Most, Load{Delay: min(late, 4*d.Most.Delay)}
	if d.Queue != nil {
		load.Queue, most.Queue = d.Queue()
	}
	if d.Arrivals != nil {
		d.demand.Store(math.Float64bits(share(d.Arrivals(now), d.Handles)))
	}
	before := math.Float64frombits(d.measured.Load())
	d.measured.Store(math.Float64bits(max(load.Pressure(most), calming*before)))
}

// Pressure is how much there is to do now.
func (d *Desk) Pressure() float64 {
	return max(math.Float64frombits(d.measured.Load()), Load{InFlight: int(d.inFlight.Load())}.Pressure(d.Most))
}

// Enter lets a request in, which is to leave, or says when it should come again; chance spreads the answers.
func (d *Desk) Enter(k Kind, chance float64) (retry time.Duration) {
	pressure := d.Pressure()
	if Sheds(k, pressure) || k == Join && !d.join() {
		d.shed(k)
		return Retry(pressure, chance)
	}
	d.inFlight.Add(1)
	return 0
}

// Leave ends a request that was let in.
func (d *Desk) Leave() { d.inFlight.Add(-1) }

func (d *Desk) join() bool {
	now := d.Clock.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.joins.Take(1, now)
}

// Fetch lets a download in, which is to end with Fetched, or says when it should come again.
func (d *Desk) Fetch(id fleet.EndpointID, chance float64) (retry time.Duration) {
	pressure := d.Pressure()
	if !Sheds(Download, pressure) && d.fetch(id) {
		return 0
	}
	d.shed(Download)
	return Retry(pressure, chance)
}

func (d *Desk) fetch(id fleet.EndpointID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.downloads >= d.Downloads || d.downloading[id] >= d.OfOne {
		return false
	}
	d.downloads++
	d.downloading[id]++
	return true
}

// Fetched ends a download.
func (d *Desk) Fetched(id fleet.EndpointID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.downloads--
	if d.downloading[id]--; d.downloading[id] == 0 {
		delete(d.downloading, id)
	}
}

// Hold lets a large body be read, after which release is called; false if too many are. So memory is bounded.
func (d *Desk) Hold() bool {
	select {
	case d.large <- struct{}{}:
		return true
	default:
		d.shed(Report)
		return false
	}
}

// Release ends what Hold began.
func (d *Desk) Release() { <-d.large }

func (d *Desk) shed(k Kind) {
	if d.Count != nil {
		d.Count(k)
	}
}

// Poll is the pause between check-ins of a host that is not exposed, which is poll while it is calm. It grows with what knocks, too: whoever
// came through is answered, and asked to come less often.
func (d *Desk) Poll(poll time.Duration) time.Duration {
	return time.Duration(d.stretch() * float64(poll))
}

func (d *Desk) stretch() float64 {
	return Stretch(max(d.Pressure(), math.Float64frombits(d.demand.Load())))
}

// Deaf tells whether hosts come so seldom now, or are turned away, that nobody may be called silent.
func (d *Desk) Deaf() bool { return d.stretch() >= Deaf }
