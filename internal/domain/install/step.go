package install

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Step decides what an event means. Events that mean nothing in a state change nothing. The given state is not changed.
func Step(s State, e Event) (State, []Effect) {
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
	case Unfit:
		t.unfit(e)
	case Swapped:
		t.swapped()
	case SwapFailed:
		t.swapFailed(e)
	case Proved:
		t.proved(e)
	case Blessed:
		t.blessed(e)
	case Broke:
		t.broke(e)
	case Restored:
		t.restored(e)
	case Restarted:
		t.restarted(e)
	case Left:
		t.left(e)
	}
	t.Why = clip(t.Why, maxWhy)
	return t.State, t.effects
}

type turn struct {
	State
	holds   []Hold // of the directive at hand
	effects []Effect
}

func (t *turn) do(e ...Effect) { t.effects = append(t.effects, e...) }

func (t *turn) report(at time.Time, outcome string, of Installed, detail string) {
	t.do(Report{At: at, Outcome: outcome, Release: of, Detail: clip(detail, maxDetail)})
}

func (t *turn) idle(why string) {
	t.Phase, t.Next, t.Lease, t.Why = Idle, Installed{}, nil, why
	t.RetryAt, t.Tries, t.Paused, t.Harmed = time.Time{}, 0, false, false
}

// directed takes in recalls and holds first: they bind in every phase. Then it turns to what should run.
func (t *turn) directed(e Directed) {
	t.recall(e.Recalls)
	t.holds = e.Holds
	lost := t.disown()
	switch t.Phase {
	case Activating, Proving:
		if why, barred := t.barred(t.Next); barred {
			t.revert(false, why)
		}
	case Reverting, Recovering:
		if lost {
			t.goBack()
		} else {
			t.moveOn(e)
		}
	case Idle, Fetching, Ready:
		if why, barred := t.barred(t.Current); barred {
			t.revert(false, why)
			break
		}
		if t.State.recalled(t.Next) {
			t.reject(e.At, wasRecalled, time.Time{})
		}
		t.turnTo(e)
	}
	t.Recalled = t.Recalled[:min(len(t.Recalled), maxRecalled)]
}

// recall adds what is recalled to what was. Appending copies: the given state is not changed.
func (t *turn) recall(recalls []Recall) {
	if len(recalls) == 0 {
		return
	}
	known := make(map[release.Digest]bool, len(t.Recalled))
	for _, d := range t.Recalled {
		known[d] = true
	}
	all := slices.Clip(t.Recalled)
	add := func(d release.Digest) {
		if d != "" && !known[d] {
			known[d], all = true, append(all, d)
		}
	}
	for _, r := range recalls {
		add(r.Manifest)
		for _, a := range r.Artifacts {
			add(a)
		}
	}
	t.Recalled = all
}

// barred tells whether a release must not run here, for good or for now, and why.
func (t *turn) barred(i Installed) (why string, barred bool) {
	if t.State.recalled(i) {
		return wasRecalled, true
	}
	for _, h := range t.holds {
		if h.Manifest == i.Manifest && i.Manifest != "" {
			return "it is held for this host: " + h.Why, true
		}
	}
	return "", false
}

// disown drops what is barred from the way back, and tells whether the last-known-good release is another one now.
func (t *turn) disown() bool {
	if _, barred := t.barred(t.Previous); barred {
		t.Previous = Installed{}
	}
	if t.State.recalled(t.Factory) {
		t.Factory = Installed{}
	}
	if _, barred := t.barred(t.Good); !barred {
		return false
	}
	t.Good, t.Previous = t.Previous, Installed{}
	return true
}

// moveOn ends a recovery whose probes have failed for long, if there is something else to run: it may be what mends the host.
func (t *turn) moveOn(e Directed) {
	if t.Phase != Recovering || t.Tries == 0 || ahead(e.At, t.RetryAt, recoverWithin) {
		return
	}
	if want, _ := t.choose(e); want == nil {
		return
	}
	if !t.Harmed { // its lease may be open still
		t.report(e.At, Goodbye, t.Next, "it was left before it was proved; what runs now fails too: "+t.Why)
	}
	t.idle("")
	t.turnTo(e)
}

// turnTo starts, keeps or drops the preparation of what the directive wants.
func (t *turn) turnTo(e Directed) {
	want, why := t.choose(e)
	switch {
	case want == nil:
		t.idle(why)
	case t.Phase != Idle && t.Next.Manifest == want.Manifest:
		t.Next.Rollout, t.Paused = want.Rollout, want.Paused
	default:
		t.idle("")
		t.Next = Installed{Version: want.Version, Serial: want.Serial, Manifest: want.Manifest, Rollout: want.Rollout}
		t.Paused = want.Paused
		t.prepare()
	}
}

// prepare has the next release fetched, verified and checked. What is on disk already is not downloaded again.
func (t *turn) prepare() {
	t.Phase = Fetching
	t.do(Fetch{NotBefore: t.RetryAt, Target: Target{
		Version: t.Next.Version, Serial: t.Next.Serial, Manifest: t.Next.Manifest, Rollout: t.Next.Rollout, Paused: t.Paused,
	}})
}

// choose picks what to run next, or nothing and why. A host that lags behind the stable release takes that first; only then the
// candidate. It never goes down to an older stable release by itself: going back is the business of recalls and of rollouts of older
// releases.
func (t *turn) choose(e Directed) (want *Target, why string) {
	usable := func(x *Target) bool {
		if x == nil || x.Manifest == t.Current.Manifest {
			return false
		}
		reason, no := t.barred(Installed{Manifest: x.Manifest})
		if !no {
			reason, no = t.refused(x.Manifest, "", e.At)
		}
		if no {
			why = fmt.Sprintf("does not try %s: %s", x.Version, reason)
		}
		return !no
	}
	behind := e.Stable != nil && t.Current.Serial < e.Stable.Serial
	switch {
	case behind && usable(e.Stable):
		return e.Stable, ""
	case usable(e.Candidate):
		return e.Candidate, ""
	default:
		return nil, why
	}
}

func (t *turn) fetched(e Fetched) {
	if t.Phase != Fetching || e.Manifest != t.Next.Manifest {
		return
	}
	t.Next.Artifact, t.Next.Slot, t.Next.Serial = e.Artifact, e.Slot, e.Serial
	if why, no := t.refused(e.Manifest, e.Artifact, e.At); no {
		t.reject(e.At, "its artifact is refused: "+why, time.Time{})
		return
	}
	t.Phase, t.Why, t.RetryAt, t.Tries = Ready, "", time.Time{}, 0
}

func (t *turn) failed(e Failed) {
	if t.Phase != Fetching || e.Manifest != t.Next.Manifest {
		return
	}
	if e.Final {
		t.reject(e.At, e.Why, e.At.Add(rejectedFor)) // much later the host may have changed
		return
	}
	t.retry(e.At, e.Why)
	t.prepare()
}

// retry waits longer after each failure.
func (t *turn) retry(at time.Time, why string) {
	wait := min(firstRetry<<min(t.Tries, 16), longestRetry)
	t.Tries++
	t.Why, t.RetryAt = why, at.Add(wait)
}

// reject says no to the release before it was activated, for good if until is zero.
func (t *turn) reject(at time.Time, why string, until time.Time) {
	t.refuse(at, Refusal{Manifest: t.Next.Manifest, Why: why, Until: until})
	t.report(at, Rejected, t.Next, why)
	t.idle(why)
}

// refuse remembers not to try a release. A refusal never becomes weaker, and those for good are forgotten last.
func (t *turn) refuse(at time.Time, r Refusal) {
	r.Why = clip(r.Why, maxRefusal)
	for _, o := range t.Refused {
		if o.Manifest == r.Manifest && o.holds(at) {
			r.Artifact = cmp.Or(r.Artifact, o.Artifact)
			if o.outlasts(r) {
				r.Why, r.Until = o.Why, o.Until
			}
		}
	}
	kept := slices.DeleteFunc(slices.Clone(t.Refused), func(o Refusal) bool { return o.Manifest == r.Manifest || !o.holds(at) })
	if len(kept) >= maxRefused {
		oldest := max(0, slices.IndexFunc(kept, func(o Refusal) bool { return !o.Until.IsZero() }))
		kept = slices.Delete(kept, oldest, oldest+1)
	}
	t.Refused = append(kept, r)
}

// leased is the only way to an activation (I1).
func (t *turn) leased(e Leased) {
	l := e.Lease
	switch {
	case t.Phase != Ready || l.Manifest != t.Next.Manifest || l.Rollout != t.Next.Rollout:
		t.handBack(e)
	case !e.At.Before(l.Expires):
		t.unfit(Unfit{At: e.At, Why: "the lease had expired when it came"})
	default:
		t.Phase, t.Lease, t.Why = Activating, &l, ""
		t.do(Swap{Slot: t.Next.Slot})
	}
}

// handBack gives a lease back that is not for what is ready: the directive has moved on meanwhile, and nobody shall wait for an outcome.
// A lease for what is being activated, runs or was just left has its outcome of its own.
func (t *turn) handBack(e Leased) {
	if l := e.Lease; l.Manifest != t.Current.Manifest && (t.Phase.rests() || l.Manifest != t.Next.Manifest) {
		t.report(e.At, Rejected, Installed{Manifest: l.Manifest, Rollout: l.Rollout}, "the lease is not for what this host has ready")
	}
}

// unfit gives a lease back that cannot be used, so that the host does not count as silent.
func (t *turn) unfit(e Unfit) {
	if t.Phase != Ready {
		return
	}
	t.report(e.At, Rejected, t.Next, e.Why)
	t.retry(e.At, e.Why)
}

func (t *turn) swapped() {
	if t.Phase != Activating {
		return
	}
	t.Current, t.Unbooted = t.Next, false
	t.Phase, t.Tries = Proving, 0
	t.do(Prove{})
}

// swapFailed gives the lease back: nothing that runs has changed.
func (t *turn) swapFailed(e SwapFailed) {
	if t.Phase != Activating {
		return
	}
	t.giveBack(e.At, Ready, e.Why)
	if t.leaveBarred() {
		return
	}
	t.Tries = max(t.Tries, diskTries)
	t.retry(e.At, e.Why)
}

// giveBack ends an activation that did not happen: what ran before still is what runs.
func (t *turn) giveBack(at time.Time, to Phase, why string) {
	t.report(at, Rejected, t.Next, why)
	t.Phase, t.Lease, t.Why = to, nil, why
}

// leaveBarred leaves what runs if it was recalled while its successor, which did not come, was being activated.
func (t *turn) leaveBarred() bool {
	why, barred := t.barred(t.Current)
	if barred {
		t.revert(false, why)
	}
	return barred
}

// proved confirms and blesses what was activated, or ends a recovery. What matters at boot is blessed by a boot.
func (t *turn) proved(e Proved) {
	switch t.Phase {
	case Proving:
		if e.Boots && t.Good.Slot != t.Next.Slot {
			t.Unbooted = true
		} else {
			t.bless()
		}
		t.report(e.At, Confirmed, t.Next, "")
		t.Watched = e.At.Add(e.Watch)
		t.idle("")
	case Recovering:
		t.recovered(e.At)
	case Idle, Fetching, Ready, Activating, Reverting:
	}
}

// blessed makes good what was proved and has booted well. While something else is being activated the way back stays where it was made.
func (t *turn) blessed(e Blessed) {
	if !t.Phase.rests() {
		return
	}
	if t.Unbooted {
		t.bless()
	}
	_, refused := t.refused(t.Good.Manifest, t.Good.Artifact, e.At) // its bytes harmed under another name
	switch {
	case !e.Factory:
		t.Factory = Installed{}
	case t.Factory.Slot == "" && t.Current == t.Good && !refused:
		t.Factory = t.Good
	}
}

// bless makes what is current the last-known-good release.
func (t *turn) bless() {
	if t.Good.Slot != t.Current.Slot { // otherwise somebody had changed current, or the journal was lost, and it is good again
		t.Previous = t.Good
	}
	t.Good, t.Unbooted = t.Current, false
}

func (t *turn) recovered(at time.Time) {
	t.report(at, Recovered, t.Next, "runs "+name(t.Current))
	t.idle("")
}

// broke goes back at once, and says so before it is done: bad news must not wait.
func (t *turn) broke(e Broke) {
	h := harm{at: e.At, outcome: Reverted, why: e.Why, crash: e.Crash}
	if e.Crashed {
		h.outcome = Crashed
	}
	switch t.Phase {
	case Activating, Proving:
		if e.Unwell {
			t.acquit(e)
			return
		}
		t.blame(t.Next, h)
	case Idle, Fetching, Ready:
		if t.watched(e.At) && (e.Crashed || t.wayBack().Manifest != "") { // a probe's no is not enough to run nothing at all
			t.blame(t.Current, h)
		}
	case Recovering: // the probes go on: only they, a recall or another release end it
		if t.Tries == 0 {
			t.RetryAt = e.At.Add(recoverWithin)
		}
		t.Tries, t.Why = 1, e.Why
	case Reverting:
	}
}

// watched tells whether harm at this time is the late harm of what was proved last.
func (t *turn) watched(at time.Time) bool {
	return at.Before(t.Watched) && t.Current.Manifest != "" && (t.Unbooted || t.Current.Manifest == t.Good.Manifest)
}

// wayBack is what is gone back to from what is current.
func (t *turn) wayBack() Installed {
	if t.Current.Manifest != t.Good.Manifest {
		return t.Good
	}
	return t.Previous
}

// harm is what a release did to the host.
type harm struct {
	at      time.Time
	outcome string
	why     string
	crash   *Crash
	doubt   bool // it may have had other reasons: the release is refused for a while only
}

// blame refuses a release that harmed the host, and leaves it.
func (t *turn) blame(of Installed, h harm) {
	t.accuse(of, h)
	t.revert(true, h.why)
}

// accuse refuses a release that harmed the host, and says so.
func (t *turn) accuse(of Installed, h harm) {
	r := Refusal{Manifest: of.Manifest, Artifact: of.Artifact, Why: "it harmed this host: " + h.why}
	if h.doubt {
		r.Why, r.Until = "it may have harmed this host: "+h.why, h.at.Add(doubtedFor)
	}
	if of.Slot == t.Factory.Slot || of.Artifact != "" && of.Artifact == t.Factory.Artifact { // not even in doubt a last resort
		t.Factory = Installed{}
	}
	t.refuse(h.at, r)
	t.do(Report{At: h.at, Outcome: h.outcome, Release: of, Detail: clip(h.why, maxDetail), Crash: h.crash})
}

// acquit leaves a release without blaming it: the consumer was not well before either, so its failure tells nothing.
func (t *turn) acquit(e Broke) {
	why := "the consumer was not well before: " + e.Why
	t.refuse(e.At, Refusal{Manifest: t.Next.Manifest, Why: why, Until: e.At.Add(rejectedFor)})
	t.report(e.At, Rejected, t.Next, why)
	t.revert(false, why)
}

// revert leaves what is being activated or runs, for the last-known-good release before it.
func (t *turn) revert(harmed bool, why string) {
	leaving := t.Current
	if t.Phase == Activating || t.Phase == Proving {
		leaving = t.Next
	}
	if t.Previous.Manifest == leaving.Manifest {
		t.Previous = Installed{}
	}
	if t.Good.Manifest == leaving.Manifest {
		t.Good, t.Previous = t.Previous, Installed{}
	}
	t.Next, t.Lease, t.Why, t.Harmed = leaving, nil, why, harmed
	t.goBack()
}

// goBack starts, or starts again, on the way back.
func (t *turn) goBack() {
	t.Phase, t.Watched, t.Tries, t.RetryAt = Reverting, time.Time{}, 0, time.Time{}
	t.do(Restore{Slot: t.Good.Slot})
}

func (t *turn) restored(e Restored) {
	if t.Phase != Reverting {
		return
	}
	t.Current, t.Unbooted = t.Good, false
	if t.Current.Slot == "" { // as before its first release: there is nothing to prove
		t.recovered(e.At)
		return
	}
	t.Phase = Recovering
	t.do(Prove{})
}

// left says goodbye for a host whose lease is still open. An orderly end is no death: the next start will not count against the release.
func (t *turn) left(e Left) {
	if t.Phase == Proving {
		t.Tries--
	}
	if e.Returns {
		return
	}
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
