package rollout

import (
	"fmt"
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
	gap = min(max(gap, 0), MaxGap)
	t.Observed += gap
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
		ID: e.ID, Release: e.Release, Plan: e.Plan, Phase: Running,
		Rings: make([]RingState, len(e.Plan.Rings)), Window: float64(e.Plan.Window.Start), Alarm: breaker.Quiet,
		Eligible: e.Eligible, Remaining: e.Eligible, Started: at, Last: at, Reason: e.Reason,
	}
	t.record(DidStart, "%s started %s %s on plan %s: ring %s of %d hosts is open", e.Actor, e.Release.Component, e.Release.Version,
		e.Plan.Name, e.Plan.Rings[0].Name, t.Size())
	t.do(PublishDirective{}, t.wake())
}

func (t *turn) operator(e OperatorActed) {
	because := ""
	if e.Reason != "" {
		because = ": " + e.Reason
	}
	switch e.Action {
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

// wake asks to be woken when the open ring may have baked, and at the latest within MaxGap.
func (t *turn) wake() WakeAt {
	wait := MaxGap / 2
	if r := t.Rings[t.Ring]; r.Settled > 0 {
		left := time.Duration(t.Plan.Rings[t.Ring].Evidence.Bake) - (t.Observed - r.Settled)
		wait = min(wait, max(left, time.Millisecond))
	}
	return WakeAt{At: t.Last.Add(wait)}
}
