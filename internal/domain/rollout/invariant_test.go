package rollout_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// I2: unconfirmed activations never exceed the window; activations never exceed the opened rings.
func TestInvariantI2(t *testing.T) {
	t.Parallel()
	seen := explore(t, false, func(t *teller, s *story, c chapter) {
		p := c.after.Plan
		if room := max(float64(p.Window.Start), p.Window.Growth*float64(len(s.good))); c.after.Window > room || c.after.Window > float64(p.Window.Max) {
			t.Fatalf("window is %g after %d hosts ever confirmed, want at most %g and %d", c.after.Window, len(s.good), room, p.Window.Max)
		}
		for _, e := range c.effects {
			grant, ok := e.(rollout.GrantLease)
			switch {
			case !ok:
			case grant.Renewed:
				if c.after.Unconfirmed != c.before.Unconfirmed || c.after.Exposed() != c.before.Exposed() {
					t.Fatalf("a renewal exposed somebody: %#v", c.event)
				}
			default:
				grantedWithin(t, c, grant)
			}
			if ok {
				permitted(t, s, c)
			}
		}
		placed := int64(0)
		for k, ring := range c.after.Rings {
			f := s.facts(k)
			got := [...]int64{ring.Leased, ring.Confirmed, ring.Goodbye, ring.Harmed()}
			if want := [...]int64{f.Leased, f.Confirmed, f.Goodbye, f.Harmed}; got != want {
				t.Fatalf("ring %d counts %v leased, confirmed, goodbye and harmed, its hosts are %v", k, got, want)
			}
			if k > c.after.Ring && ring.Leased > 0 {
				t.Fatalf("ring %d has %d hosts, but ring %d is open", k, ring.Leased, c.after.Ring)
			}
			placed += ring.Leased
		}
		if placed > int64(len(s.fleet)) {
			t.Fatalf("%d hosts are exposed, the fleet has %d", placed, len(s.fleet))
		}
	})
	if min(seen.leased, seen.opened, seen.completed, seen.suspected, seen.held, seen.aside, seen.shut, seen.compared) == 0 {
		t.Fatalf("the stories prove nothing: %+v", seen)
	}
}

// permitted checks what no lease may pass by, not even one that is renewed.
func permitted(t *teller, s *story, c chapter) {
	asked := c.event.(rollout.LeaseAsked)
	for _, hold := range c.before.Holds {
		if hold.Select.Matches(asked.Host.Subject) {
			t.Fatalf("granted %#v although it is held: %s", asked.Host, hold.Reason)
		}
	}
	if c.before.Phase != rollout.Running && c.before.Phase != rollout.Complete {
		t.Fatalf("granted %#v while %s", asked.Host, c.before.Phase)
	}
	if c.before.Plan.Calendar.At(s.now).Closed || c.before.Freezes.At(s.now).Closed {
		t.Fatalf("granted %#v at %v, when nobody may be exposed", asked.Host, s.now)
	}
}

func grantedWithin(t *teller, c chapter, grant rollout.GrantLease) {
	p, ring := c.after.Plan, c.after.Rings[grant.Ring]
	asked := c.event.(rollout.LeaseAsked).Host
	allowed := max(1, int64(c.before.Window))
	if max(c.after.Unconfirmed, c.after.Round) > allowed || c.after.Unconfirmed > p.Window.Max {
		t.Fatalf("%d hosts are unconfirmed and %d leased in this round after a grant, want at most %d and %d", c.after.Unconfirmed, c.after.Round,
			allowed, p.Window.Max)
	}
	if asked.Busy != "" {
		t.Fatalf("granted %#v, which is proving another release", asked)
	}
	for _, stratum := range c.after.Strata {
		if stratum.Name == asked.Stratum && stratum.Suspect && stratum.Pending > 2 {
			t.Fatalf("%d hosts of %s are unconfirmed, which is suspicious", stratum.Pending, stratum.Name)
		}
	}
	if ring.Leased == c.before.Rings[grant.Ring].Leased {
		return // a host that came back to its place
	}
	if grant.Ring != c.after.Ring {
		t.Fatalf("a new host got ring %d, but ring %d is open", grant.Ring, c.after.Ring)
	}
	size, places := c.before.Size(), c.before.Size()+max(0, c.before.Large)
	if c.before.Alarm == breaker.Amber {
		places = max(places, size+max(size, 100))
	}
	if taken := ring.Leased - min(ring.Left(), size); !p.Last(grant.Ring) && (taken > places || ring.Leased > places+size) {
		t.Fatalf("ring %d has %d hosts in %d of %d places, its size is %d", grant.Ring, ring.Leased, taken, places, size)
	}
	if !p.Rings[grant.Ring].Select.Matches(asked.Subject) {
		t.Fatalf("ring %d is not for %+v", grant.Ring, asked.Subject)
	}
	if p.Rings[grant.Ring].Evidence.Strata > 0 && asked.Sought {
		return // a seat for its stratum, whatever its tenant and site have
	}
	for _, scope := range []struct {
		share float64
		rollout.Scope
	}{{p.Caps.Tenant, asked.Tenant}, {p.Caps.Site, asked.Site}} {
		if p.Capped(grant.Ring) && scope.share > 0 && scope.Exposed > 0 && float64(scope.Exposed+1) > scope.share*float64(scope.Size)+1e-6 {
			t.Fatalf("%s has %d of %d hosts exposed, its share is %g", scope.Name, scope.Exposed+1, scope.Size, scope.share)
		}
	}
}

// I3: after a trip no lease is granted for that release, ever, by any replica, restart or clock. The same holds after a halt and a
// rollback.
func TestInvariantI3(t *testing.T) {
	t.Parallel()
	seen := explore(t, true, func(t *teller, _ *story, c chapter) {
		if !c.before.Phase.Final() {
			return
		}
		if allowed := c.before.Phase == rollout.Halted && c.after.Phase.Recalls(); c.after.Phase != c.before.Phase && !allowed {
			t.Fatalf("%#v led from %s to %s", c.event, c.before.Phase, c.after.Phase)
		}
		for _, e := range c.effects {
			if grant, ok := e.(rollout.GrantLease); ok {
				t.Fatalf("granted %#v while %s", grant, c.before.Phase)
			}
		}
	})
	if seen.tripped == 0 || seen.finals == 0 {
		t.Fatalf("the stories prove nothing: %+v", seen)
	}
}

// I4: advancing needs positive evidence. A ring opens and a rollout completes only after a look that finds nothing missing.
func TestInvariantI4(t *testing.T) {
	t.Parallel()
	seen := explore(t, false, func(t *teller, s *story, c chapter) {
		opened, completed := c.after.Ring != c.before.Ring, c.after.Phase == rollout.Complete && c.before.Phase != rollout.Complete
		if !opened && !completed {
			return
		}
		woke, ok := c.event.(rollout.Woke)
		if !ok || c.before.Phase != rollout.Running && c.before.Phase != rollout.Complete || opened && c.after.Ring != c.before.Ring+1 {
			t.Fatalf("%#v led from ring %d, %s, to ring %d, %s", c.event, c.before.Ring, c.before.Phase, c.after.Ring, c.after.Phase)
		}
		if weigh(c.after).Doubt >= c.after.Plan.Breaker.Amber {
			t.Fatalf("advanced at evidence %+v", weigh(c.after))
		}
		k, facts := c.before.Ring, s.facts(c.before.Ring)
		facts.Wanted = min(s.size(k), facts.Places+woke.Available)
		facts.Large, facts.Seen, facts.Gates = woke.Large, woke.Seen, woke.Gates
		barred := facts.Leased == 0 && k > 0 && woke.Available == 0 && woke.Heard > 0 && c.after.Plan.Capped(k) && c.after.Plan.Caps != (plan.Caps{})
		if lacks := evidence.Missing(c.after.Plan.Rings[k].Evidence, facts); len(lacks) > 0 && !barred {
			t.Fatalf("ring %d advanced without %v", k, lacks)
		}
		if completed && woke.Remaining > 0 && !c.after.Plan.Last(k) {
			t.Fatalf("completed in ring %d with %d hosts left", k, woke.Remaining)
		}
	})
	if seen.opened == 0 || seen.completed == 0 {
		t.Fatalf("the stories prove nothing: %+v", seen)
	}
}

// I4, its other half: without confirmations, or without counts of the fleet, nothing ever opens, however much else is said.
func TestInvariantI4Silence(t *testing.T) {
	t.Parallel()
	for name, dropped := range map[string]func(rollout.Event) bool{
		"no confirmation": func(e rollout.Event) bool {
			o, ok := e.(rollout.OutcomeKnown)
			return ok && o.Outcome == rollout.Confirmed
		},
		"no count": func(e rollout.Event) bool {
			_, ok := e.(rollout.Woke)
			return ok
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(t, func(t *teller) {
				s := begin(t, false)
				for range s.chapters(t) {
					s.now = s.now.Add(time.Second)
					e, h := s.draw(t)
					if dropped(e) {
						continue
					}
					c := chapter{before: s.state.Clone(), event: e}
					c.effects = s.step(t, e)
					c.after = s.state
					s.learn(c, h)
					if s.state.Ring != 0 || s.state.Phase == rollout.Complete {
						t.Fatalf("ring %d is open, phase %s", s.state.Ring, s.state.Phase)
					}
				}
			})
		})
	}
}

// I8, the decision's part: an outcome that is told again changes nothing, and neither does a lease that is asked for again.
func TestInvariantI8Decision(t *testing.T) {
	t.Parallel()
	repeated := 0
	explore(t, false, func(t *teller, s *story, c chapter) {
		switch e := c.event.(type) {
		case rollout.OutcomeKnown:
			to, ok := rollout.Follow(e.Was, e.Outcome)
			if !ok {
				to = e.Was
			}
			e.Was = to
			again, effects := rollout.Step(s.state.Clone(), e)
			if diff := difference(c.after, again); diff != "" || len(effects) > 0 {
				t.Fatalf("%#v, told again, did %v and changed the state:\n%s", e, effects, diff)
			}
			repeated++
		case rollout.LeaseAsked:
			if _, granted := granted(c.effects); !granted {
				if diff := difference(c.before, c.after); diff != "" {
					t.Fatalf("a refusal changed the state:\n%s", diff)
				}
				return
			}
			e.Host.Prior, e.Host.PriorRing = rollout.Pending, firstGrant(c.effects).Ring
			again, effects := rollout.Step(s.state.Clone(), e)
			if diff := difference(c.after, again); diff != "" || !firstGrant(effects).Renewed {
				t.Fatalf("%#v, asked again, did %v and changed the state:\n%s", e, effects, diff)
			}
		case rollout.Started, rollout.HostRecovered, rollout.HostBooted, rollout.Woke, rollout.OperatorActed, rollout.Compared, rollout.FreezesSet,
			rollout.CellsHeard:
		}
	})
	if repeated == 0 {
		t.Fatal("no outcome was repeated")
	}
}

func granted(effects []rollout.Effect) (rollout.GrantLease, bool) {
	for _, e := range effects {
		if g, ok := e.(rollout.GrantLease); ok {
			return g, true
		}
	}
	return rollout.GrantLease{}, false
}

func firstGrant(effects []rollout.Effect) rollout.GrantLease {
	g, _ := granted(effects)
	return g
}

// I10: replaying the stored events from the zero state gives the same states and the same effects.
func TestInvariantI10(t *testing.T) {
	t.Parallel()
	tell(t, func(t *teller) {
		s := begin(t, true)
		for range s.chapters(t) {
			s.next(t)
		}
		replay(t, s.log)
	})
}

// FuzzStep feeds stored events as they come, one "name json" a line. Step is total: no panic, and on a sound plan no state or effect
// that could not be stored.
func FuzzStep(f *testing.F) {
	for _, tale := range tales(f) {
		f.Add(lines(tale))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var state rollout.State
		for i, line := range bytes.Split(data, []byte("\n")) {
			name, text, _ := strings.Cut(string(line), " ")
			e, err := rollout.DecodeEvent(name, []byte(text))
			if err != nil || i > 500 {
				continue
			}
			var effects []rollout.Effect
			state, effects = rollout.Step(state, e)
			state.Waiting()
			state.Missing()
			if state.Phase == rollout.None || len(state.Plan.Check()) > 0 || e.When().Year() > 9000 {
				return
			}
			if _, err := rollout.EncodeEffects(effects); err != nil {
				t.Fatalf("effects of %s: %v", line, err)
			}
			if _, err := json.Marshal(state); err != nil {
				t.Fatalf("state after %s: %v", line, err)
			}
			if test := state.Breaker.Crashes; test.Bad < 0 || test.Booked < test.Bad || state.Unconfirmed < 0 {
				t.Fatalf("the breaker counts %+v, %d are unconfirmed", test, state.Unconfirmed)
			}
		}
	})
}

// tales are a good and a bad rollout.
func tales(t testing.TB) [][]entry {
	one := func(outcome rollout.Outcome) []entry {
		w := &world{now: epoch, eligible: 4}
		w.step(t, rollout.Started{
			At: w.now, ID: "r", Eligible: 4, Actor: "ann", Plan: planOf(t, "ring first hosts=2\nring rest share=1"),
			Release: rollout.Release{Component: "c", Version: "1", Manifest: release.DigestOf(nil)},
		})
		for range 2 {
			w.step(t, rollout.LeaseAsked{At: w.now, Host: rollout.Host{Endpoint: "h", Stratum: "os linux"}})
		}
		for range 2 {
			w.step(t, rollout.OutcomeKnown{At: w.now, Endpoint: "h", Was: rollout.Pending, Outcome: outcome, Stratum: "os linux"})
		}
		for _, signal := range []breaker.Signal{breaker.Silence, breaker.Goodbye, breaker.Slow} {
			w.step(t, rollout.Compared{
				At: w.now, Signal: signal, Class: "server", Control: breaker.Arm{Watched: 1000, Showed: 1},
				Exposed: []rollout.StratumArm{{Stratum: "os linux", Arm: breaker.Arm{Watched: 2, Showed: 1}}},
			})
		}
		w.step(t, rollout.Woke{At: w.now, Eligible: 4, Remaining: 2, Available: 2})
		w.step(t, rollout.HostBooted{At: w.now, Endpoint: "h"})
		w.step(t, rollout.HostRecovered{At: w.now, Endpoint: "h", Was: rollout.Crashed})
		hold := fleet.Selector{"os": {"linux"}}
		w.step(t, rollout.OperatorActed{At: w.now, Action: rollout.HoldBack, Actor: "ann", Select: hold})
		w.step(t, rollout.OperatorActed{At: w.now, Action: rollout.Unhold, Actor: "ann", Select: hold})
		w.step(t, rollout.FreezesSet{At: w.now, Actor: "ann"})
		w.step(t, rollout.CellsHeard{At: w.now, Cells: []rollout.CellHeard{{Name: "us", Phase: rollout.Halted}}})
		w.step(t, rollout.OperatorActed{At: w.now, Action: rollout.Pause, Actor: "ann"})
		return w.log
	}
	return [][]entry{one(rollout.Confirmed), one(rollout.Crashed), one(rollout.Goodbye)}
}
