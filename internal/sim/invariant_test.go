package sim_test

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

var seeds = flag.Int("seeds", usual(), "small fleets on which the invariants are tested; 10,000 in a nightly run")

// usual is how many fleets make test plays, or fewer where it has to be quick.
func usual() int {
	if fulltest.Asked() {
		return 150
	}
	return 20
}

// seen counts what the stories showed: an invariant that was never in danger proves nothing.
type seen struct {
	grants, opened, completed, tripped, held, outages, refused int
}

// explore plays the stories of all seeds and lets a judge of its own look at each step of each story.
func explore(t *testing.T, judge func(t *testing.T, s story, n *seen) func(happening)) *seen {
	t.Helper()
	n := &seen{}
	for seed := 0; seed < *seeds && !t.Failed(); seed++ {
		tell(t, uint64(seed), n, judge)
	}
	return n
}

func tell(t *testing.T, seed uint64, n *seen, judge func(t *testing.T, s story, n *seen) func(happening)) {
	s := draw(t, seed)
	look, mine := judge(t, s, n), &seen{}
	r := s.play(t, func(h happening) {
		look(h)
		mine.note(h)
	})
	if r.Exposed != int64(mine.grants) {
		t.Errorf("seed %d: %d leases were granted, %d hosts got one", seed, mine.grants, r.Exposed)
	}
	n.grants += mine.grants
	n.opened += mine.opened
	n.completed += mine.completed
	n.refused += mine.refused
	if r.Halted {
		n.tripped++
	}
	if r.Held > 0 {
		n.held++
	}
	if len(s.scenario.Outages) > 0 {
		n.outages++
	}
}

func (n *seen) note(h happening) {
	if h.after.Ring > h.before.Ring {
		n.opened++
	}
	if h.after.Phase == rollout.Complete && h.before.Phase != rollout.Complete {
		n.completed++
	}
	if _, ok := grant(h.effects); ok {
		n.grants++
	} else if _, ok := h.event.(rollout.LeaseAsked); ok {
		n.refused++
	}
}

// ledger counts the hosts of a story from the events alone, by ring and outcome.
type ledger struct {
	rings   []map[rollout.Outcome]int64
	busy    []time.Time // by ring: when too many of its hosts had no outcome, for the last time
	proved  int64       // hosts that ever confirmed
	granted int64
}

func (l *ledger) enter(h happening) {
	for len(l.rings) < len(h.after.Rings) {
		l.rings, l.busy = append(l.rings, map[rollout.Outcome]int64{}), append(l.busy, time.Time{})
	}
	if o, ok := h.event.(rollout.OutcomeKnown); ok {
		if to, follows := rollout.Follow(o.Was, o.Outcome); follows {
			l.rings[o.Ring][o.Was]--
			l.rings[o.Ring][to]++
			if to == rollout.Confirmed {
				l.proved++
			}
		}
	}
	if g, ok := grant(h.effects); ok {
		l.rings[g.Ring][rollout.Pending]++
		l.granted++
	}
	for k, ring := range l.rings {
		if leased := l.leased(k); leased-ring[rollout.Pending] < h.after.Plan.Rings[k].Evidence.ResolvedOf(leased) {
			l.busy[k] = h.event.When()
		}
	}
}

func (l *ledger) of(outcomes ...rollout.Outcome) int64 {
	n := int64(0)
	for _, r := range l.rings {
		for _, o := range outcomes {
			n += r[o]
		}
	}
	return n
}

func (l *ledger) leased(k int) int64 {
	n := int64(0)
	for _, of := range l.rings[k] {
		n += of
	}
	return n
}

func grant(effects []rollout.Effect) (rollout.GrantLease, bool) {
	for _, e := range effects {
		if g, ok := e.(rollout.GrantLease); ok {
			return g, true
		}
	}
	return rollout.GrantLease{}, false
}

// I2: unconfirmed activations of a rollout never exceed its window; activations never exceed the opened rings. Counted from the events.
func TestInvariantI2Simulated(t *testing.T) {
	t.Parallel()
	n := explore(t, func(t *testing.T, s story, _ *seen) func(happening) {
		l := &ledger{}
		return func(h happening) {
			l.enter(h)
			if most := max(float64(s.plan.Window.Start), s.plan.Window.Growth*float64(l.proved)); h.after.Window > most {
				t.Errorf("seed %d: the window is %g after %d confirmations, want at most %g", s.seed, h.after.Window, l.proved, most)
			}
			for k := range l.rings {
				if got, want := h.after.Rings[k].Leased, l.leased(k); got != want {
					t.Errorf("seed %d: ring %d counts %d leased hosts, they are %d", s.seed, k, got, want)
				}
				if k > h.after.Ring && l.leased(k) > 0 {
					t.Errorf("seed %d: ring %d has hosts, but ring %d is open", s.seed, k, h.after.Ring)
				}
			}
			if g, ok := grant(h.effects); ok {
				grantedWithin(t, s, l, h, g)
			}
		}
	})
	if min(n.grants, n.opened, n.completed, n.tripped, n.held, n.outages, n.refused) == 0 {
		t.Errorf("the stories prove nothing: %+v", n)
	}
}

func grantedWithin(t *testing.T, s story, l *ledger, h happening, g rollout.GrantLease) {
	t.Helper()
	asked := h.event.(rollout.LeaseAsked).Host
	if pending, most := l.of(rollout.Pending), max(1, int64(h.before.Window)); pending > most {
		t.Errorf("seed %d: %d hosts are unconfirmed after a grant, the window is %d", s.seed, pending, most)
	}
	if g.Ring != h.before.Ring || h.before.Phase != rollout.Running && h.before.Phase != rollout.Complete {
		t.Errorf("seed %d: granted in ring %d while ring %d is open, phase %s", s.seed, g.Ring, h.before.Ring, h.before.Phase)
	}
	if l.granted > s.scenario.Fleet.Hosts {
		t.Errorf("seed %d: %d leases for %d hosts", s.seed, l.granted, s.scenario.Fleet.Hosts)
	}
	size := h.before.Size()
	places := size + max(0, h.before.Large)
	if h.before.Alarm == breaker.Amber {
		places = max(places, size+max(size, 100))
	}
	if !s.plan.Last(g.Ring) && l.leased(g.Ring) > places+size {
		t.Errorf("seed %d: ring %d of %d places has %d hosts", s.seed, g.Ring, places, l.leased(g.Ring))
	}
	if slices.ContainsFunc(h.before.Holds, func(hold rollout.Hold) bool { return hold.Select.Matches(asked.Subject) }) {
		t.Errorf("seed %d: granted to %+v, which is held", s.seed, asked.Subject)
	}
	for _, c := range []struct {
		share float64
		rollout.Scope
	}{{s.plan.Caps.Tenant, asked.Tenant}, {s.plan.Caps.Site, asked.Site}} {
		seat := asked.Sought && s.plan.Rings[g.Ring].Evidence.Strata > 0 // for its stratum, whatever its tenant and site have
		if s.plan.Capped(g.Ring) && !seat && c.share > 0 && c.Exposed > 0 && c.Size < asked.Fleet && float64(c.Exposed+1) > c.share*float64(c.Size)+1e-6 {
			t.Errorf("seed %d: %s has %d of %d hosts exposed, its share is %g", s.seed, c.Name, c.Exposed+1, c.Size, c.share)
		}
	}
}

// I3: after a trip no lease is granted, whoever asks, whatever the clock says.
func TestInvariantI3Simulated(t *testing.T) {
	t.Parallel()
	n := explore(t, func(t *testing.T, s story, _ *seen) func(happening) {
		var asked rollout.LeaseAsked
		return func(h happening) {
			if e, ok := h.event.(rollout.LeaseAsked); ok && asked.At.IsZero() {
				asked = e
			}
			if h.before.Phase.Final() && h.after.Phase != h.before.Phase {
				t.Errorf("seed %d: %T led from %s to %s", s.seed, h.event, h.before.Phase, h.after.Phase)
			}
			if !h.after.Phase.Final() {
				return
			}
			for _, shift := range []time.Duration{0, -time.Hour, 1000 * time.Hour} {
				for _, prior := range []rollout.Outcome{rollout.Unleased, rollout.Pending, rollout.Confirmed, rollout.Goodbye, rollout.Silent} {
					again := asked
					again.At, again.Host.Prior = h.event.When().Add(shift), prior
					if _, effects := rollout.Step(h.after.Clone(), again); len(effects) == 0 {
						t.Errorf("seed %d: no answer while %s", s.seed, h.after.Phase)
					} else if _, ok := grant(effects); ok {
						t.Errorf("seed %d: granted to a host that was %q while %s", s.seed, prior, h.after.Phase)
					}
				}
			}
		}
	})
	if min(n.tripped, n.outages, n.grants) == 0 {
		t.Errorf("the stories prove nothing: %+v", n)
	}
}

// I4: advancing needs positive evidence: a look at the fleet, hosts that confirmed, and the bake. Counted from the events.
func TestInvariantI4Simulated(t *testing.T) {
	t.Parallel()
	n := explore(t, func(t *testing.T, s story, _ *seen) func(happening) {
		l := &ledger{}
		return func(h happening) {
			l.enter(h)
			completed := h.after.Phase == rollout.Complete && h.before.Phase != rollout.Complete
			if h.after.Ring == h.before.Ring && !completed {
				return
			}
			woke, ok := h.event.(rollout.Woke)
			if !ok || h.before.Phase != rollout.Running || h.after.Alarm != breaker.Quiet || !completed && h.after.Ring != h.before.Ring+1 {
				t.Errorf("seed %d: %T led from ring %d, %s, to ring %d, %s, alarm %s", s.seed, h.event, h.before.Ring, h.before.Phase, h.after.Ring,
					h.after.Phase, h.after.Alarm)
			}
			advanced(t, s, l, h.before, woke)
		}
	})
	if min(n.opened, n.completed, n.outages) == 0 {
		t.Errorf("the stories prove nothing: %+v", n)
	}
}

func advanced(t *testing.T, s story, l *ledger, before rollout.State, woke rollout.Woke) {
	t.Helper()
	k := before.Ring
	asks, ring, leased := s.plan.Rings[k].Evidence, l.rings[k], l.leased(k)
	if leased == 0 {
		if k == 0 || woke.Available > 0 {
			t.Errorf("seed %d: ring %d advanced with nobody in it", s.seed, k)
		}
		return
	}
	left := ring[rollout.Silent] + ring[rollout.Late] + ring[rollout.Goodbye] + before.Rings[k].Aside
	if want := asks.ConfirmedOf(leased - min(left, before.Size())); ring[rollout.Confirmed] < want || woke.Heard < want {
		t.Errorf("seed %d: ring %d advanced with %d hosts confirmed and %d heard, want %d", s.seed, k, ring[rollout.Confirmed], woke.Heard, want)
	}
	if want := asks.ResolvedOf(leased); leased-ring[rollout.Pending] < want {
		t.Errorf("seed %d: ring %d advanced with %d hosts resolved, want %d", s.seed, k, leased-ring[rollout.Pending], want)
	}
	if baked := woke.At.Sub(l.busy[k]); baked < time.Duration(asks.Bake) {
		t.Errorf("seed %d: ring %d advanced %s after it was resolved, its bake is %s", s.seed, k, baked, asks.Bake)
	}
	if asks.Strata > 0 && woke.Seen < woke.Large {
		t.Errorf("seed %d: ring %d advanced with %d of %d strata seen", s.seed, k, woke.Seen, woke.Large)
	}
}

// I4, its other half: nobody confirms, so nothing opens.
func TestInvariantI4SimulatedSilence(t *testing.T) {
	t.Parallel()
	granted := 0
	for seed := range uint64(20) {
		s := draw(t, seed)
		s.scenario.Fleet.Soak = minutes(600)
		s.play(t, func(h happening) {
			if _, ok := grant(h.effects); ok {
				granted++
			}
			if h.after.Ring > 0 || h.after.Phase == rollout.Complete {
				t.Fatalf("seed %d: ring %d is open, phase %s", seed, h.after.Ring, h.after.Phase)
			}
		})
	}
	if granted == 0 {
		t.Error("the stories prove nothing: nobody got a lease")
	}
}
