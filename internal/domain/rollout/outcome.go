package rollout

import (
	"fmt"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
)

// outcome moves a host from what was known of it to what is known now, and lets the breaker judge at once.
func (t *turn) outcome(e OutcomeKnown) {
	to, ok := Follow(e.Was, e.Outcome)
	if !ok || t.having(e.Ring, e.Was) == 0 {
		return
	}
	armed := t.Armed(t.Last)
	ring := &t.Rings[e.Ring]
	t.tally(ring, e.Was, -1)
	t.tally(ring, to, 1)
	stratum := t.known(e.Stratum)
	stratum.tally(e.Was, -1)
	stratum.tally(to, 1)
	switch {
	case to == Confirmed:
		if e.Ring == t.Ring {
			t.Heard++
		}
		t.Proved++
	case to == Rejected:
		ring.Leased--
		t.Round = max(0, t.Round-1)
	case to.Harms() && t.FirstHarm.IsZero():
		t.FirstHarm = t.Last
	}
	worse := t.rebook(e, to, ring, stratum)
	if to.Harms() {
		t.record(DidCount, "%s %s%s", e.Endpoint, to, detail(e.Detail))
	}
	// Leases only lower E, so while the breaker's counts stand still a quiet alarm stays quiet: the common case costs no logarithm.
	if armed && (worse || t.Alarm != breaker.Quiet) {
		t.judge()
	}
	t.turnRound()
	t.settle()
}

// tally counts n more hosts of an outcome.
func (t *turn) tally(ring *RingState, o Outcome, n int64) {
	if c := ring.count(o); c != nil {
		*c += n
	} else {
		t.Unconfirmed += n
	}
}

// Follow tells what becomes of a lease whose outcome was known as was when heard is reported; false if that changes nothing. A host that
// is heard after its deadline is late: the silence stands.
func Follow(was, heard Outcome) (Outcome, bool) {
	if was == Silent && (heard == Confirmed || heard == Goodbye || heard == Rejected) {
		heard = Late
	}
	return heard, follows(was, heard)
}

// follows is the table of transitions. Everything else means nothing: repeated, contradicted or invented outcomes change nothing.
func follows(was, to Outcome) bool {
	switch was {
	case Pending:
		return to == Confirmed || to == Crashed || to == Reverted || to == Silent || to == Goodbye || to == Rejected
	case Goodbye: // pending: it is back, and goes on proving
		return to == Pending || to == Confirmed || to == Crashed || to == Reverted
	case Confirmed:
		return to == Crashed || to == Reverted
	case Silent:
		return to == Late || to == Crashed || to == Reverted
	case Late:
		return to == Crashed || to == Reverted
	case Unleased, Crashed, Reverted, Rejected:
	}
	return false
}

// having is how many hosts of ring k have this outcome; 0 for a ring that there is not. An event about a host that is not there means
// nothing, whoever invented it.
func (s *State) having(k int, o Outcome) int64 {
	if k < 0 || k >= len(s.Rings) {
		return 0
	}
	ring := &s.Rings[k]
	if o == Pending {
		return ring.Leased - ring.Resolved()
	}
	if n := ring.count(o); n != nil {
		return *n
	}
	return 0
}

// count is the counter of an outcome, nil for Pending.
func (r *RingState) count(o Outcome) *int64 {
	switch o {
	case Confirmed:
		return &r.Confirmed
	case Crashed:
		return &r.Crashed
	case Reverted:
		return &r.Reverted
	case Silent:
		return &r.Silent
	case Goodbye:
		return &r.Goodbye
	case Late:
		return &r.Late
	case Rejected:
		return &r.Rejected
	case Unleased, Pending:
	}
	return nil
}

// rebook keeps the tests of reported harm, and tells whether they changed for the worse: a host is good until it reports harm, and out of
// the tests while it is away, silent or never activated. Silence is tested when its watch ends, beside the controls ([Compared]).
func (t *turn) rebook(e OutcomeKnown, to Outcome, ring *RingState, s *Stratum) bool {
	away := e.Was == Goodbye || e.Was == Silent || e.Was == Late
	switch reported := to == Crashed || to == Reverted; {
	case reported && t.excused(e, s):
		ring.Aside++
		if !away {
			t.test(s, (*breaker.OneArm).Unbook)
		}
	case reported:
		if away {
			t.test(s, (*breaker.OneArm).Book)
		}
		if s != nil && s.Held {
			ring.Aside++
		}
		t.test(s, (*breaker.OneArm).Flip)
		return true
	case away && (to == Pending || to == Confirmed):
		t.test(s, (*breaker.OneArm).Book)
	case !away && (to == Goodbye || to == Silent || to == Rejected):
		t.test(s, (*breaker.OneArm).Unbook)
	}
	return false
}

// test changes the tests of reported harm that a host of a stratum is in: the stratum's own, and the fleet's while the stratum is not held.
func (t *turn) test(s *Stratum, change func(*breaker.OneArm)) {
	if s != nil {
		change(&s.Crashes)
	}
	if s == nil || !s.Held {
		change(&t.Breaker.Crashes)
	}
}

// excused tells whether reported harm says nothing against the release: another rollout is to blame, or it is the affair of one tenant or
// site. Harm in a held stratum is explained already.
func (t *turn) excused(e OutcomeKnown, s *Stratum) bool {
	switch {
	case e.Blamed != "":
		t.record(DidShare, "%s is not counted against it: %s", e.Endpoint, e.Blamed)
		return true
	case s != nil && s.Held:
		return false
	}
	return t.isolate(e)
}

// judge lets the armed breaker speak. Nothing may delay a trip; but where one stratum explains all evidence, it alone is stopped.
func (t *turn) judge() {
	t.suspect()
	before, w := t.Alarm, t.weigh(-1)
	for w.E >= t.Plan.Breaker.Trip() {
		i := t.culprit()
		if i < 0 {
			t.Alarm = breaker.Trip
			t.trip()
			return
		}
		t.setAside(i, w.E)
		w = t.weigh(-1)
	}
	t.Alarm = w.Alarm(t.Plan.Breaker)
	switch {
	case t.Alarm == breaker.Amber && before == breaker.Quiet:
		t.Window = max(1, t.Window/2)
		t.record(DidAmber, "evidence %.3g reached amber %g: the window is halved to %d and does not grow%s", w.Doubt, t.Plan.Breaker.Amber,
			t.Allowed(), t.suspects())
		t.do(Notify{Severity: "page", Text: fmt.Sprintf("%s %s looks suspicious: %d of %d hosts harmed%s", t.Release.Component,
			t.Release.Version, t.Harmed(), t.Exposed(), t.suspects())})
	case t.Alarm == breaker.Quiet && before == breaker.Amber:
		t.record(DidClear, "evidence fell to %.3g, below amber %g: the window may grow again", w.Doubt, t.Plan.Breaker.Amber)
	}
}

func (t *turn) trip() {
	why := fmt.Sprintf("evidence %.3g reached %g: %d of %d exposed hosts were harmed", t.Evidence(), t.Plan.Breaker.Trip(), t.Harmed(), t.Exposed())
	t.enter(Tripped, why)
	t.record(DidTrip, "%s", why)
	title := fmt.Sprintf("%s %s halted: %d of %d exposed hosts harmed", t.Release.Component, t.Release.Version, t.Harmed(), t.Exposed())
	t.do(RecallRelease{Reason: why}, PublishDirective{}, OpenIncident{Title: title}, Notify{Severity: "page", Text: title})
}

func detail(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}
