package install_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/firebreak-dev/firebreak/internal/domain/install"
)

// I1: no endpoint activates a release without a valid lease for that digest. Only Leased leads to activating, with a lease for what is
// ready that has not expired; nothing is swapped to but what such a lease was given for, whatever dies in between.
func TestInvariantI1(t *testing.T) {
	t.Parallel()
	explore(t, func(t *rapid.T, s *story, c chapter) {
		if c.after.Phase == install.Activating && c.before.Phase != install.Activating {
			e, ok := c.event.(install.Leased)
			l := e.Lease
			names := l.Manifest == c.before.Next.Manifest && l.Rollout == c.before.Next.Rollout
			if !ok || c.before.Phase != install.Ready || !names || !e.At.Before(l.Expires) {
				t.Fatalf("%#v led from %s to activating %+v", c.event, c.before.Phase, c.before.Next)
			}
		}
		if c.after.Phase == install.Proving && c.before.Phase != install.Proving && c.before.Phase != install.Activating {
			t.Fatalf("%#v led from %s to proving", c.event, c.before.Phase)
		}
		for _, effect := range c.effects {
			if swap, ok := effect.(install.Swap); ok {
				swappedByLease(t, s, c, swap)
			}
		}
		if e, ok := c.event.(install.Restarted); ok && rests(c.after) && c.after.Current.Slot != e.Current {
			t.Fatalf("%#v left %+v current in phase %s, which is not what the disk shows", e, c.after.Current, c.after.Phase)
		}
		if changed := c.after.Current != c.before.Current; changed && c.after.Current.Manifest != "" && !s.knew(c) {
			t.Fatalf("%#v made %+v current, which is neither leased, good nor what the disk shows", c.event, c.after.Current)
		}
	})
}

// rests tells whether nothing is being activated or left.
func rests(s install.State) bool {
	return s.Phase == install.Idle || s.Phase == install.Fetching || s.Phase == install.Ready
}

func swappedByLease(t *rapid.T, s *story, c chapter, swap install.Swap) {
	held := c.after.Lease
	if c.after.Phase != install.Activating || held == nil || swap.Slot != c.after.Next.Slot {
		t.Fatalf("%#v led to %#v in phase %s, with lease %+v and next %+v", c.event, swap, c.after.Phase, held, c.after.Next)
	}
	if given := s.granted[held.ID]; given != *held || held.Manifest != c.after.Next.Manifest || held.Rollout != c.after.Next.Rollout {
		t.Fatalf("a swap to %+v by lease %+v, given was %+v", c.after.Next, held, given)
	}
	if !s.now.Before(held.Expires) {
		t.Fatalf("%#v led to a swap by a lease that expired at %v", c.event, held.Expires)
	}
}

// knew tells whether what became current is the next release of an activation, a good one, or shown by the disk.
func (s *story) knew(c chapter) bool {
	now := c.after.Current
	if _, ok := c.event.(install.Swapped); ok {
		return now == c.before.Next && c.before.Phase == install.Activating
	}
	if _, ok := c.event.(install.Restored); ok {
		return now == c.before.Good
	}
	_, ok := c.event.(install.Restarted)
	return ok && now.Slot == s.disk
}

// I5: every activation can be undone without network. Wherever it stands, news of the host alone brings it back to the last-known-good
// release, or ends its proof: the way back is always on offer, however often agent and host die on it.
func TestInvariantI5(t *testing.T) {
	t.Parallel()
	explore(t, func(t *rapid.T, s *story, c chapter) {
		onOffer(t, c)
		switch c.after.Phase {
		case install.Activating, install.Proving, install.Reverting, install.Recovering:
			s.rescue(t)
		case install.Idle, install.Fetching, install.Ready:
		}
	})
}

// onOffer checks that a way back was offered whenever one is needed, and to something else than what is left.
func onOffer(t *rapid.T, c chapter) {
	restore, offered := offer(c.effects)
	starts := c.after.Phase == install.Reverting && c.before.Phase != install.Reverting
	_, restarted := c.event.(install.Restarted)
	if (starts || restarted && c.after.Phase == install.Reverting) && !offered {
		t.Fatalf("%#v led from %s to reverting, but offers no way back: %#v", c.event, c.before.Phase, c.effects)
	}
	if offered && (c.after.Phase != install.Reverting || restore.Slot != c.after.Good.Slot) {
		t.Fatalf("%#v offers %#v in phase %s, good is %+v", c.event, restore, c.after.Phase, c.after.Good)
	}
	if c.after.Phase == install.Reverting && c.after.Good.Manifest != "" && c.after.Good.Manifest == c.after.Next.Manifest {
		t.Fatalf("%#v leads back to %+v, which is what is being left", c.event, c.after.Good)
	}
}

func offer(effects []install.Effect) (install.Restore, bool) {
	for _, e := range effects {
		if restore, ok := e.(install.Restore); ok {
			return restore, true
		}
	}
	return install.Restore{}, false
}

// rescue takes a copy of the host off the network and lets it die, break and be restored at random, then well.
func (s *story) rescue(t *rapid.T) {
	alone := host{state: s.state, now: s.now, disk: s.disk}
	last, proving := alone.state.Good, alone.state.Next
	local := func(e install.Event) {
		alone.carryOut(e)
		var effects []install.Effect
		before := alone.state
		alone.state, effects = install.Step(alone.state, e)
		onOffer(t, chapter{before: before, after: alone.state, event: e, effects: effects})
	}
	for range s.pick(5) {
		switch s.pick(4) {
		case 0:
			local(install.Broke{At: s.now, Crashed: true, Why: "exit status 2"})
		case 1:
			if alone.state.Phase == install.Reverting {
				local(install.Restored{At: s.now})
			}
		case 2:
			local(install.Restarted{At: s.now, Current: alone.disk})
		case 3:
			if alone.state.Phase == install.Proving || alone.state.Phase == install.Recovering {
				local(install.Proved{At: s.now})
			}
		}
	}
	if p := alone.state.Phase; p == install.Activating || p == install.Proving {
		local(install.Broke{At: s.now, Why: "exit status 2"})
	}
	local(install.Restarted{At: s.now, Current: alone.disk})
	if alone.state.Phase == install.Reverting {
		local(install.Restored{At: s.now})
	}
	if alone.state.Phase == install.Recovering {
		local(install.Proved{At: s.now})
	}
	// A lease that expired meanwhile may have been given back before anything happened; then what ran still runs.
	end := alone.state
	settled := end.Phase == install.Idle || end.Phase == install.Fetching
	further := end.Current == s.state.Previous && end.Good == s.state.Previous // the disk, or late harm, went further back
	factory := s.state.Factory.Slot
	if s.disk != "" && s.disk == factory && factory != s.state.Next.Slot && factory != s.state.Current.Slot { // the boot guard took its last level
		further = further || end.Current == s.state.Factory && end.Good == s.state.Factory
	}
	if !settled || alone.disk != end.Current.Slot {
		t.Fatalf("alone, %+v came to %s with %+v current while the disk shows %q", s.state, end.Phase, end.Current, alone.disk)
	}
	untouched := s.state.Phase == install.Activating && alone.disk == s.disk
	if end.Current != last && end.Current != proving && !further && !untouched {
		t.Fatalf("alone, %+v came to run %+v, want %+v or %+v", s.state, end.Current, last, proving)
	}
	if end.Current == proving && proving.Manifest != end.Good.Manifest && !untouched {
		t.Fatalf("alone, %+v runs %+v, which was never proved: good is %+v", s.state, end.Current, end.Good)
	}
}

// I9, as far as this machine goes: what was recalled, or harmed this host, is never gone back to, fetched or activated again, under no
// name, whatever later directives leave out.
func TestNeverAgain(t *testing.T) {
	t.Parallel()
	explore(t, func(t *rapid.T, s *story, c chapter) {
		s.blame(t, c)
		neverWeaker(t, c)
		bad := func(i install.Installed) bool { return s.recalled[i.Manifest] || s.recalled[i.Artifact] }
		if bad(c.after.Good) || bad(c.after.Previous) || bad(c.after.Factory) {
			t.Fatalf("%#v left a recalled release on the way back: %+v", c.event, c.after)
		}
		switch c.after.Phase {
		case install.Proving, install.Recovering, install.Ready, install.Fetching, install.Idle:
			_, directed := c.event.(install.Directed)
			begun := rests(c.after) && !rests(c.before)
			if bad(c.after.Current) && (directed || begun || c.after.Phase == install.Proving || c.after.Phase == install.Recovering) {
				t.Fatalf("%#v left %+v running, which was recalled", c.event, c.after.Current)
			}
			if bad(c.after.Next) && c.after.Phase != install.Recovering {
				t.Fatalf("%#v left %+v next, which was recalled", c.event, c.after.Next)
			}
		case install.Activating, install.Reverting:
		}
		for _, effect := range c.effects {
			switch e := effect.(type) {
			case install.Fetch:
				if why := s.harmed[e.Target.Manifest]; why != "" || s.recalled[e.Target.Manifest] {
					t.Fatalf("%#v fetches %s again: %s", c.event, e.Target.Version, why)
				}
			case install.Swap:
				if why := s.harmed[c.after.Next.Artifact]; why != "" || bad(c.after.Next) {
					t.Fatalf("%#v activates %+v: %s", c.event, c.after.Next, why)
				}
			case install.Prove, install.Restore, install.Report:
			}
		}
	})
}

// blame notes what harmed this host, unless it is refused for a day only. What harmed is at once neither where the host may go back to nor
// what it goes on with.
func (s *story) blame(t *rapid.T, c chapter) {
	for _, effect := range c.effects {
		r, ok := effect.(install.Report)
		if !ok || r.Outcome != install.Crashed && r.Outcome != install.Reverted {
			continue
		}
		for _, back := range []install.Installed{c.after.Good, c.after.Previous, c.after.Factory} {
			if back.Slot == r.Release.Slot {
				t.Fatalf("%#v %s %s, which stays on the way back: %+v", c.event, r.Outcome, r.Release.Version, c.after)
			}
		}
		if goesOn := rests(c.after) || c.after.Phase == install.Proving; goesOn && c.after.Current.Manifest == r.Release.Manifest {
			t.Fatalf("%#v %s %s, which runs on: %+v", c.event, r.Outcome, r.Release.Version, c.after)
		}
		if e, ok := c.event.(install.Restarted); !ok || sureOf(e, r.Release.Slot) {
			s.harmed[r.Release.Manifest], s.harmed[r.Release.Artifact] = "it "+r.Outcome, "it "+r.Outcome
		}
	}
}

// neverWeaker checks that what is refused stays so for as long as it was: for good, or until a time that has not come.
func neverWeaker(t *rapid.T, c chapter) {
	for _, was := range c.before.Refused {
		if ahead := was.Until.Sub(when(c.event)); !was.Until.IsZero() && (ahead <= 0 || ahead > 24*time.Hour) {
			continue // it is over, or is from before the clock was turned back
		}
		if !slices.ContainsFunc(c.after.Refused, func(r install.Refusal) bool {
			lasts := r.Until.IsZero() || !was.Until.IsZero() && !r.Until.Before(was.Until)
			return lasts && r.Manifest == was.Manifest && (was.Artifact == "" || r.Artifact == was.Artifact)
		}) {
			t.Fatalf("%#v weakened the refusal %+v; there are %+v", c.event, was, c.after.Refused)
		}
	}
}

// What a directive holds for this host is neither prepared, run nor gone back to by it; but unlike a recall a hold leaves no trace: nothing
// is refused or recalled because of it, and nothing is reported of what was only prepared.
func TestHeld(t *testing.T) {
	t.Parallel()
	explore(t, func(t *rapid.T, _ *story, c chapter) {
		e, ok := c.event.(install.Directed)
		if !ok || len(e.Holds) == 0 {
			return
		}
		held := func(i install.Installed) bool {
			return i.Manifest != "" && slices.ContainsFunc(e.Holds, func(h install.Hold) bool { return h.Manifest == i.Manifest })
		}
		leaves := c.after.Phase == install.Reverting || c.after.Phase == install.Recovering
		if !leaves && held(c.after.Next) {
			t.Fatalf("%#v left %+v next in phase %s, which is held", e, c.after.Next, c.after.Phase)
		}
		if held(c.after.Current) && c.after.Phase != install.Reverting && c.after.Phase != install.Activating {
			t.Fatalf("%#v left %+v running in phase %s, which is held", e, c.after.Current, c.after.Phase)
		}
		if held(c.after.Good) || held(c.after.Previous) {
			t.Fatalf("%#v left a held release on the way back: good %+v, previous %+v", e, c.after.Good, c.after.Previous)
		}
		leavesNoTrace(t, c, e)
	})
}

// leavesNoTrace compares what came of a directive with what would have come of it without its holds.
func leavesNoTrace(t *rapid.T, c chapter, e install.Directed) {
	e.Holds = nil
	free, effects := install.Step(c.before, e)
	if !slices.Equal(free.Recalled, c.after.Recalled) {
		t.Fatalf("%#v recalls %v, without its holds %v", c.event, c.after.Recalled, free.Recalled)
	}
	for _, r := range c.after.Refused {
		if !slices.Contains(free.Refused, r) && !slices.Contains(c.before.Refused, r) {
			t.Fatalf("%#v made the host refuse %+v", c.event, r)
		}
	}
	for _, effect := range c.effects {
		if r, ok := effect.(install.Report); ok && !slices.Contains(effects, effect) {
			t.Fatalf("%#v made the host report %+v", c.event, r)
		}
	}
}

// Every lease that is acted on ends in exactly one outcome; harm may correct a confirmation later, and anything a goodbye. A recovery
// ends what was recalled before it was proved.
func TestReports(t *testing.T) {
	t.Parallel()
	explore(t, func(t *rapid.T, s *story, c chapter) {
		for _, effect := range c.effects {
			if r, ok := effect.(install.Report); ok {
				s.reported(t, c, r)
			}
		}
		switch c.after.Phase {
		case install.Activating:
			if c.before.Phase != install.Activating {
				s.open[c.after.Next.Manifest] = true
			}
		case install.Idle, install.Fetching, install.Ready:
			if len(s.open) > 0 {
				t.Fatalf("%#v led from %s to %s, but nothing was said of %v", c.event, c.before.Phase, c.after.Phase, s.open)
			}
		case install.Proving, install.Reverting, install.Recovering:
		}
	})
}

func (s *story) reported(t *rapid.T, c chapter, r install.Report) {
	m := r.Release.Manifest
	open := s.open[m]
	unclosed := func(want bool) {
		if open != want {
			t.Fatalf("%#v in phase %s reports %s of %s; its lease is open: %t", c.event, c.before.Phase, r.Outcome, m, open)
		}
	}
	switch r.Outcome {
	case install.Confirmed:
		unclosed(true)
		s.proved[m] = true
	case install.Crashed, install.Reverted:
		if !s.proved[m] {
			unclosed(true)
		}
		delete(s.proved, m)
	case install.Goodbye:
		if c.before.Phase != install.Recovering {
			unclosed(true)
			return
		}
	case install.Rejected:
		if c.before.Phase == install.Proving || c.before.Phase == install.Reverting || c.before.Phase == install.Recovering {
			unclosed(false)
		}
	case install.Recovered:
		if s.host.state.Phase != install.Idle || m == c.after.Current.Manifest {
			t.Fatalf("%#v reports recovered from %s in phase %s, running %+v", c.event, m, c.after.Phase, c.after.Current)
		}
	default:
		t.Fatalf("unknown outcome %q", r.Outcome)
	}
	if r.At.IsZero() || m == "" || r.Release.Rollout == "" {
		t.Fatalf("a report that says nothing: %+v", r)
	}
	delete(s.open, m)
}
