package rollout

import (
	"fmt"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
)

// outcome moves a host from what was known of it to what is known now, and lets the breaker judge at once.
func (t *turn) outcome(e OutcomeKnown) {
	to, ok := Follow(e.Was, e.Outcome)
	if !ok || t.held(e.Ring, e.Was) == 0 {
		return
	}
	armed, counts := t.Armed(t.Last), t.Breaker
	ring := &t.Rings[e.Ring]
	t.tally(ring, e.Was, -1)
	t.tally(ring, to, 1)
	if to == Confirmed && e.Ring == t.Ring {
		t.Heard++
	}
	t.book(e.Was, to)
	t.ramp(e.Was, to)
	if to == Rejected {
		ring.Leased--
	}
	if to.Harms() && t.FirstHarm.IsZero() {
		t.FirstHarm = t.Last
	}
	if to.Harms() {
		t.record(DidCount, "%s %s%s", e.Endpoint, to, detail(e.Detail))
	}
	// Leases only lower E, so while the breaker's counts stand still a quiet alarm stays quiet: the common case costs no logarithm.
	if armed && (t.Breaker != counts || t.Alarm != breaker.Quiet) {
		t.judge()
	}
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

// held is how many hosts of ring k have this outcome; 0 for a ring that there is not. An event about a host that is not there means
// nothing, whoever invented it.
func (s State) held(k int, o Outcome) int64 {
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

// book keeps the breaker's counts: a host is good until it turns bad, and out of the test while it is away or never activated.
func (t *turn) book(was, to Outcome) {
	if was == Goodbye {
		t.Breaker = t.Breaker.Book()
	}
	switch {
	case to.Harms() && !was.Harms():
		t.Breaker = t.Breaker.Flip()
	case to == Goodbye || to == Rejected:
		t.Breaker = t.Breaker.Unbook()
	}
}

func (t *turn) ramp(was, to Outcome) {
	switch {
	case to == Confirmed && was == Pending:
		t.grow()
	case to.Harms() && !was.Harms():
		t.shrink()
	}
}

// judge lets the armed breaker speak. Nothing may delay a trip.
func (t *turn) judge() {
	before := t.Alarm
	t.Alarm = t.Breaker.Alarm(t.Plan.Breaker)
	switch {
	case t.Alarm == breaker.Trip:
		t.trip()
	case t.Alarm == breaker.Amber && before == breaker.Quiet:
		t.Window = max(1, t.Window/2)
		t.record(DidAmber, "evidence %.3g reached amber %g: the window is halved to %d and does not grow", t.Evidence(), t.Plan.Breaker.Amber, t.Allowed())
		t.do(Notify{Severity: "page", Text: fmt.Sprintf("%s %s looks suspicious: %d of %d hosts harmed", t.Release.Component, t.Release.Version, t.Harmed(), t.Exposed())})
	case t.Alarm == breaker.Quiet && before == breaker.Amber:
		t.record(DidClear, "evidence fell to %.3g, below amber %g: the window may grow again", t.Evidence(), t.Plan.Breaker.Amber)
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
