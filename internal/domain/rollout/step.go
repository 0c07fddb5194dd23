package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
)

// Step decides what an event means. See the package comment for its contract.
func Step(s State, e Event) (State, []Effect) {
	t := turn{State: s}
	if start, ok := e.(Started); ok {
		t.start(start)
		return t.State, t.effects
	}
	if t.Phase == None {
		return s, nil
	}
	switch e := e.(type) {
	case Started: // handled above
	case LeaseAsked:
		t.ask(e)
	case OutcomeKnown:
		t.pass(e.At)
		t.outcome(e)
	case Compared:
		t.pass(e.At)
		t.compared(e)
	case FreezesSet:
		t.pass(e.At)
		t.freezes(e)
	case CellsHeard:
		t.pass(e.At)
		t.heard(e)
	case HostRecovered:
		t.pass(e.At)
		t.recovered(e)
	case HostBooted:
		t.pass(e.At)
		t.booted(e)
	case Woke:
		t.pass(e.At)
		t.woke(e)
	case OperatorActed:
		t.pass(e.At)
		t.operator(e)
	}
	return t.State, t.effects
}

// turn is one call of Step: the state as it becomes, and the effects so far.
type turn struct {
	State
	effects []Effect
}

func (t *turn) do(e ...Effect) { t.effects = append(t.effects, e...) }

func (t *turn) record(v Verdict, format string, args ...any) {
	t.do(Record{
		Verdict: v, Reason: fmt.Sprintf(format, args...), Ring: t.Ring, Exposed: t.Exposed(), Unconfirmed: t.Unconfirmed,
		Harmed: t.Harmed(), Evidence: t.Evidence(), Alarm: t.Alarm,
	})
}

// pass moves the observed time. It never goes back and never jumps by more than MaxGap. An event that comes a little out of order moves
// nothing; when the clock itself was put back, time goes on from there, so that nothing waits for a wrong time to come. Only the wall
// clock's reading counts: it is what a replay will see.
func (t *turn) pass(at time.Time) {
	at = at.Round(0)
	gap := at.Sub(t.Last)
	if gap < 0 && gap >= -MaxGap {
		return
	}
	t.Last = at
	if t.Phase.Final() {
		return
	}
	if gap < 0 {
		t.Shut.Until = at // what the calendars said was for another time
	}
	gap = min(max(gap, 0), MaxGap)
	t.Observed += gap
	t.holdFor(gap)
	for i := range t.Rings {
		running := t.Rings[i].Confirmed
		if i == t.Ring {
			running = min(running, t.Heard)
		}
		t.Rings[i].HostHours += float64(running) * gap.Hours()
	}
}

func (t *turn) start(e Started) {
	if t.Phase != None || len(e.Plan.Rings) == 0 {
		return
	}
	at := e.At.Round(0)
	t.State = State{
		ID: e.ID, Release: e.Release, Plan: e.Plan, Phase: Proposed,
		Rings: make([]RingState, len(e.Plan.Rings)), Window: float64(e.Plan.Window.Start), Alarm: breaker.Quiet,
		Eligible: e.Eligible, Remaining: e.Eligible, Started: at, Last: at, Reason: e.Reason,
		Approved: []string{e.Actor}, Freezes: e.Freezes, Cell: e.Cell, Cells: e.others(),
	}
	t.look(e.Shut)
	if len(t.Approved) < t.Plan.Approvals {
		t.record(DidPropose, "%s asked to start %s %s on plan %s; %d more must agree before any host gets it", e.Actor, e.Release.Component,
			e.Release.Version, e.Plan.Name, t.Plan.Approvals-len(t.Approved))
		t.do(Notify{Severity: "page", Text: fmt.Sprintf("%s %s waits for approval", e.Release.Component, e.Release.Version)})
		return
	}
	t.run(e.Actor)
}

// run begins to expose hosts. Signed plans count their times from here.
func (t *turn) run(actor string) {
	t.Phase, t.Started = Running, t.Last
	t.uncounted()
	t.record(DidStart, "%s started %s %s on plan %s: ring %s of %d hosts is open", actor, t.Release.Component, t.Release.Version,
		t.Plan.Name, t.Plan.Rings[0].Name, t.Size())
	t.do(PublishDirective{}, t.wake())
}

func (t *turn) operator(e OperatorActed) {
	because := detail(e.Reason)
	switch e.Action {
	case Approve:
		t.approve(e)
		return
	case HoldBack:
		if t.Phase.Final() || t.Phase == Proposed || slices.ContainsFunc(t.Holds, func(h Hold) bool { return sameSelector(h.Select, e.Select) }) {
			return
		}
		t.hold(Hold{Select: e.Select, Reason: e.Reason, At: t.Last, By: e.Actor})
		t.record(DidHold, "%s keeps it from %s%s", e.Actor, e.Select, because)
	case Unhold:
		if !t.unhold(e.Select) {
			return
		}
		t.record(DidUnhold, "%s lifted the hold on %s%s", e.Actor, e.Select, because)
	case Pause:
		if t.Phase != Running {
			return
		}
		t.enter(Paused, e.Reason)
		t.record(DidPause, "%s paused it%s", e.Actor, because)
	case Resume:
		if t.Phase != Paused {
			return
		}
		t.enter(Running, e.Reason)
		t.record(DidResume, "%s resumed it%s", e.Actor, because)
		t.do(t.wake())
	case Halt:
		if t.Phase.Final() {
			return
		}
		t.enter(Halted, e.Reason)
		t.watch()
		t.record(DidHalt, "%s halted it%s; %d hosts are exposed, nobody new will be", e.Actor, because, t.Exposed())
	case RollBack:
		if t.Phase.Recalls() {
			return
		}
		t.enter(RolledBack, e.Reason)
		t.record(DidRollBack, "%s rolled it back%s; %d exposed hosts return to what they ran before", e.Actor, because, t.Exposed())
		t.do(RecallRelease{Reason: fmt.Sprintf("rolled back by %s%s", e.Actor, because)})
	default:
		return
	}
	t.do(PublishDirective{})
}

// approve counts one more person who agrees; the one who asked for the start cannot agree twice.
func (t *turn) approve(e OperatorActed) {
	if t.Phase != Proposed || e.Actor == "" || slices.Contains(t.Approved, e.Actor) {
		return
	}
	t.Approved = append(t.Approved, e.Actor)
	t.record(DidApprove, "%s agreed%s: %d of %d", e.Actor, detail(e.Reason), len(t.Approved), t.Plan.Approvals)
	if len(t.Approved) >= t.Plan.Approvals {
		t.run(e.Actor)
	}
}

// freezes takes over the installation's freezes. They stop leases, and nothing else: outcomes are counted, rings bake, halts work.
func (t *turn) freezes(e FreezesSet) {
	if t.Phase.Final() {
		return
	}
	t.Freezes = e.Freezes
	t.look(e.Shut)
	t.record(DidFreeze, "%s set the installation's freezes%s", e.Actor, detail(t.Shut.Reason))
}

func (t *turn) enter(p Phase, reason string) {
	t.Phase, t.Reason = p, reason
	if p.Final() || p == Complete {
		t.Ended = t.Last
	}
}

// watch keeps the breaker armed for late harm, from now on.
func (t *turn) watch() { t.Watched = t.Last.Add(time.Duration(t.Plan.Watch)) }

func (t *turn) recovered(e HostRecovered) {
	if e.Was.Harms() {
		t.Recovered++
	} else {
		t.Returned++
	}
}

func (t *turn) booted(e HostBooted) {
	if e.Ring >= 0 && e.Ring < len(t.Rings) {
		t.Rings[e.Ring].Boots++
	}
}

// wake asks to be woken when the open ring will have baked, and at the latest within MaxGap. A ring that has baked and lacks something else
// is looked at no more often than any.
func (t *turn) wake() WakeAt {
	wait := MaxGap / 2
	if r := t.Rings[t.Ring]; r.Settled > 0 {
		baked := max(0, t.Observed-r.Settled)
		if left := time.Duration(t.Plan.Rings[t.Ring].Evidence.Bake) - baked; left > 0 || baked == 0 {
			wait = min(wait, max(left, time.Millisecond))
		}
	}
	if left := t.trial(); left > time.Millisecond {
		wait = min(wait, left)
	}
	return WakeAt{At: t.Last.Add(wait)}
}
