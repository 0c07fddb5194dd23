package install

import (
	"fmt"
	"slices"
	"time"
)

// Step decides what an event means. Events that mean nothing in a state change nothing. The given state is not changed.
func Step(s State, e Event) (State, []Effect) {
	s.Refused, s.Recalled = slices.Clone(s.Refused), slices.Clone(s.Recalled)
	if s.Phase == "" {
		s.Phase = Idle
	}
	t := turn{State: s}
	switch e := e.(type) {
	case Directed:
		t.directed(e)
	case Fetched:
		t.fetched(e)
	case Failed:
		t.failed(e)
	case Leased:
		t.leased(e)
	case Swapped:
		t.swapped()
	case SwapFailed:
		t.swapFailed(e)
	case Proved:
		t.proved(e)
	case Broke:
		t.broke(e)
	case Restored:
		t.restored()
	case Restarted:
		t.restarted(e)
	case Left:
		t.left(e)
	}
	return t.State, t.effects
}

type turn struct {
	State
	effects []Effect
}

func (t *turn) do(e ...Effect) { t.effects = append(t.effects, e...) }

func (t *turn) report(at time.Time, outcome string, of Installed, detail string) {
	t.do(Report{At: at, Outcome: outcome, Release: of, Detail: detail})
}

func (t *turn) idle(why string) {
	t.Phase, t.Next, t.Lease, t.Why = Idle, Installed{}, nil, why
	t.RetryAt, t.Tries, t.Paused, t.Harmed = time.Time{}, 0, false, false
}

// directed takes in recalls first: they bind in every phase. Then it turns to what should run.
func (t *turn) directed(e Directed) {
	for _, r := range e.Recalls {
		t.recall(r)
	}
	switch t.Phase {
	case Activating, Proving:
		if t.State.recalled(t.Next) {
			t.revert(false, "it was recalled")
		}
	case Idle, Fetching, Ready:
		if t.State.recalled(t.Current) {
			t.revert(false, "it was recalled")
			return
		}
		t.turnTo(e)
	case Reverting, Recovering:
	}
}

func (t *turn) recall(r Recall) {
	known := slices.ContainsFunc(t.Recalled, func(k Recall) bool { return k.Manifest == r.Manifest })
	if !known {
		t.Recalled = append(t.Recalled, r)
	}
}

// turnTo starts, keeps or drops the preparation of what the directive wants.
func (t *turn) turnTo(e Directed) {
	want := t.choose(e)
	switch {
	case want == nil:
		t.idle(t.Why)
	case t.Phase != Idle && t.Next.Manifest == want.Manifest:
		t.Next.Rollout, t.Paused = want.Rollout, want.Paused
	default:
		t.idle("")
		t.Phase = Fetching
		t.Next = Installed{Version: want.Version, Serial: want.Serial, Manifest: want.Manifest, Rollout: want.Rollout}
		t.Paused = want.Paused
		t.do(Fetch{Target: *want})
	}
}

// choose picks what to run next, or nothing. A host that lags behind the stable release takes that first; only then the candidate. It
// never goes down to an older stable release by itself: going back is the business of recalls and of rollouts of older releases.
func (t *turn) choose(e Directed) *Target {
	usable := func(x *Target) bool {
		if x == nil || x.Manifest == t.Current.Manifest {
			return false
		}
		why, no := t.refused(x.Manifest, "", e.At)
		if no {
			t.Why = fmt.Sprintf("does not try %s: %s", x.Version, why)
		}
		return !no
	}
	behind := e.Stable != nil && t.Current.Serial < e.Stable.Serial
	switch {
	case behind && usable(e.Stable):
		return e.Stable
	case usable(e.Candidate):
		return e.Candidate
	default:
		return nil
	}
}

func (t *turn) fetched(e Fetched) {
	if t.Phase != Fetching || e.Manifest != t.Next.Manifest {
		return
	}
	t.Next.Artifact, t.Next.Slot, t.Next.Serial = e.Artifact, e.Slot, e.Serial
	if why, no := t.refused(e.Manifest, e.Artifact, e.At); no {
		t.reject(e.At, "its artifact is refused: "+why)
		return
	}
	t.Phase, t.Why, t.RetryAt, t.Tries = Ready, "", time.Time{}, 0
}

func (t *turn) failed(e Failed) {
	if t.Phase != Fetching || e.Manifest != t.Next.Manifest {
		return
	}
	if e.Final {
		t.reject(e.At, e.Why)
		return
	}
	t.retry(e.At, e.Why)
	t.do(Fetch{Target: t.target(), NotBefore: t.RetryAt})
}

func (t *turn) target() Target {
	return Target{Version: t.Next.Version, Serial: t.Next.Serial, Manifest: t.Next.Manifest, Rollout: t.Next.Rollout, Paused: t.Paused}
}

// retry waits longer after each failure.
func (t *turn) retry(at time.Time, why string) {
	wait := min(firstRetry<<min(t.Tries, 16), longestRetry)
	t.Tries++
	t.Why, t.RetryAt = why, at.Add(wait)
}

// reject says no to the release before it was activated. It may be tried again much later, when the host may have changed.
func (t *turn) reject(at time.Time, why string) {
	t.refuse(Refusal{Manifest: t.Next.Manifest, Why: why, Until: at.Add(rejectedFor)})
	t.report(at, Rejected, t.Next, why)
	t.idle(why)
}

func (t *turn) refuse(r Refusal) {
	t.Refused = append(slices.DeleteFunc(t.Refused, func(o Refusal) bool { return o.Manifest == r.Manifest }), r)
	t.Refused = t.Refused[max(0, len(t.Refused)-maxRefused):]
}

// leased is the only way to an activation (I1).
func (t *turn) leased(e Leased) {
	l := e.Lease
	if t.Phase != Ready || l.Manifest != t.Next.Manifest || l.Rollout != t.Next.Rollout || !e.At.Before(l.Expires) {
		return
	}
	if t.State.recalled(t.Next) {
		t.idle("it was recalled")
		return
	}
	t.Phase, t.Lease, t.Why, t.Tries = Activating, &l, "", 0
	t.do(Swap{Slot: t.Next.Slot})
}

func (t *turn) swapped() {
	if t.Phase != Activating {
		return
	}
	t.Current = t.Next
	t.Phase = Proving
	t.do(Prove{})
}

// swapFailed gives the lease back: nothing that runs has changed.
func (t *turn) swapFailed(e SwapFailed) {
	if t.Phase != Activating {
		return
	}
	t.report(e.At, Rejected, t.Next, e.Why)
	t.Phase, t.Lease = Ready, nil
	t.Tries = max(t.Tries, 5) // half a minute at least: what filled the disk takes its time
	t.retry(e.At, e.Why)
}

// proved blesses what was activated, or ends a recovery.
func (t *turn) proved(e Proved) {
	switch t.Phase {
	case Proving:
		t.Previous, t.Good = t.Good, t.Next
		t.report(e.At, Confirmed, t.Next, "")
		t.Watched = e.At.Add(e.Watch)
		t.idle("")
	case Recovering:
		t.report(e.At, Recovered, t.Next, "runs "+name(t.Current))
		t.idle("")
	case Idle, Fetching, Ready, Activating, Reverting:
	}
}

// broke goes back at once, and says so before it is done: bad news must not wait.
func (t *turn) broke(e Broke) {
	outcome := Reverted
	if e.Crashed {
		outcome = Crashed
	}
	switch t.Phase {
	case Activating, Proving:
		t.refuse(Refusal{Manifest: t.Next.Manifest, Artifact: t.Next.Artifact, Why: "it harmed this host: " + e.Why})
		t.report(e.At, outcome, t.Next, e.Why)
		t.revert(true, e.Why)
	case Idle, Fetching, Ready:
		if !e.At.Before(t.Watched) || t.Current.Manifest != t.Good.Manifest || t.Current.Manifest == "" {
			return
		}
		t.refuse(Refusal{Manifest: t.Current.Manifest, Artifact: t.Current.Artifact, Why: "it harmed this host: " + e.Why})
		t.report(e.At, outcome, t.Current, e.Why)
		t.revert(true, e.Why)
	case Recovering:
		t.Why = e.Why // keeps probing: there is nothing older to go to
	case Reverting:
	}
}

// revert goes back to the last-known-good release that is not the one being left and was not recalled.
func (t *turn) revert(harmed bool, why string) {
	leaving := t.Current
	if t.Phase == Activating || t.Phase == Proving {
		leaving = t.Next
	}
	if t.Good.Manifest == leaving.Manifest || t.State.recalled(t.Good) {
		t.Good, t.Previous = t.Previous, Installed{}
	}
	if t.State.recalled(t.Good) {
		t.Good = Installed{}
	}
	t.Phase, t.Next, t.Lease, t.Why, t.Harmed = Reverting, leaving, nil, why, harmed
	t.Watched, t.Tries, t.RetryAt = time.Time{}, 0, time.Time{}
	t.do(Restore{Slot: t.Good.Slot})
}

func (t *turn) restored() {
	if t.Phase != Reverting {
		return
	}
	t.Current = t.Good
	t.Phase = Recovering
	t.do(Prove{})
}

// left says goodbye for a host whose lease is still open.
func (t *turn) left(e Left) {
	if t.Phase == Activating || t.Phase == Proving {
		t.report(e.At, Goodbye, t.Next, "the host is shutting down")
	}
}

func name(i Installed) string {
	if i.Version == "" {
		return "nothing"
	}
	return i.Version
}
