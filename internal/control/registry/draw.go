package registry

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Draw is whom to pick for one side of a comparison.
type Draw struct {
	Component string
	Since     time.Time     // hosts that were heard since
	Posture   fleet.Posture // only hosts that have all of it
	Classes   []string      // only hosts of these classes; nil: of all
	Each      int           // hosts of one class at most
	Most      int           // hosts in all at most; 0: as many as there are
	Apart     bool          // at most one host of each site and class: what happens to a site happens to all of it
	Fits      func(fleet.EndpointID, fleet.Subject) bool
	Seed      uint64 // the same seed picks the same hosts of the same fleet
}

// Draw picks hosts that are spread over the fleet, by class. Hosts that left are never picked. Where most hosts fit it looks at little
// more than it picks.
func (r *Registry) Draw(d Draw) map[string][]fleet.EndpointID {
	b := bag{Draw: d, picked: map[string][]fleet.EndpointID{}, sites: map[place]bool{}, since: r.epoch.instant(d.Since)}
	n := r.records()
	walk := stroll(n, d.Seed)
	for from := 0; from < n && !b.full(); from += turn {
		r.visit(walk, from, min(from+turn, n), &b)
	}
	return b.picked
}

// visit looks at the hosts at the next places of the walk.
func (r *Registry) visit(walk func() int, from, to int, b *bag) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for i := from; i < to && !b.full(); i++ {
		b.look(r, uint32(walk())) //nolint:gosec // a place
	}
}

// bag is what was drawn so far.
type bag struct {
	Draw
	picked map[string][]fleet.EndpointID
	sites  map[place]bool
	total  int
	since  int64
}

// place is a site, seen by one class.
type place struct{ site, class string }

func (b *bag) full() bool {
	if b.Most > 0 && b.total >= b.Most {
		return true
	}
	return b.Classes != nil && !slices.ContainsFunc(b.Classes, func(class string) bool { return len(b.picked[class]) < b.Each })
}

// look picks the host at a place, if it is to be picked.
func (b *bag) look(r *Registry, at uint32) {
	e := r.row(at)
	k := r.kindOf(e)
	if k == nil {
		return // it ended
	}
	class := k.subject.Attributes.Class
	heard, left := e.heard()
	if !k.has(b.Component) || left || heard < b.since || !e.posture.Meets(b.Posture) ||
		b.Classes != nil && !slices.Contains(b.Classes, class) || len(b.picked[class]) >= b.Each {
		return
	}
	site := place{k.subject.Attributes.Site, class}
	if b.Apart && site.site != "" && b.sites[site] {
		return
	}
	id := r.id(at)
	if !b.Fits(id, k.speaks(b.Component)) {
		return
	}
	if b.Apart {
		b.sites[site] = true
	}
	b.picked[class] = append(b.picked[class], id)
	b.total++
}

// stroll is a walk through all of 0 to n-1 that visits neighbours far apart: hosts that joined together are alike. The step is near the
// golden section of n, which spreads any number of visits evenly, and coprime to n, so that none is visited twice.
func stroll(n int, seed uint64) func() int {
	if n == 0 {
		return nil
	}
	const golden = 0.6180339887498949
	random := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // it picks a sample, and must pick the same one again
	at, step := random.IntN(n), int(golden*float64(n))+random.IntN(n/16+1)
	for step = max(step, 1); divisor(step, n) != 1; {
		step++
	}
	return func() int {
		at = (at + step) % n
		return at
	}
}

func divisor(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Sign is what was heard of a host since a time.
type Sign int

// The signs.
const (
	Unheard Sign = iota // nothing
	Heard               // it speaks
	Left                // its last word is that it stops in good order, whenever it said so; or its identity ended, and it is not listened to
)

// Signs tells for each of the hosts what was heard of it after a time. Of a host that is not known nothing is heard.
func (r *Registry) Signs(ids []fleet.EndpointID, after time.Time) []Sign {
	signs := make([]Sign, 0, len(ids))
	for chunk := range slices.Chunk(ids, turn) {
		signs = r.signs(signs, chunk, r.epoch.instant(after))
	}
	return signs
}

func (r *Registry) signs(signs []Sign, ids []fleet.EndpointID, after int64) []Sign {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, id := range ids {
		signs = append(signs, r.sign(id, after))
	}
	return signs
}

func (r *Registry) sign(id fleet.EndpointID, after int64) Sign {
	at, ok := r.find(id)
	if _, ended := r.ended[id]; ended {
		return Left
	}
	if !ok {
		return Unheard
	}
	heard, left := r.row(at).heard()
	switch {
	case left:
		return Left
	case heard > after:
		return Heard
	default:
		return Unheard
	}
}
