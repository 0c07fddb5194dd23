package install

import (
	"slices"
	"time"
)

// restarted resumes after the agent or the host died: at any point, any number of times.
func (t *turn) restarted(e Restarted) {
	t.miss(e.Gone)
	if t.undone(e) {
		return
	}
	switch t.Phase {
	case Activating:
		t.resumeActivation(e)
	case Proving:
		t.resumeProof(e)
	case Reverting:
		t.further(e.Current)
		t.goBack()
	case Recovering:
		t.further(e.Current)
		t.resumeRecovery(e)
	case Fetching, Ready: // what was prepared is verified again
		if t.adopt(e) {
			t.prepare()
		}
	case Idle:
		t.adopt(e)
	}
}

// miss drops what is not on the disk any more from the way back: nobody can go there.
func (t *turn) miss(gone []Slot) {
	lost := func(i Installed) bool { return i.Slot != "" && slices.Contains(gone, i.Slot) }
	if lost(t.Previous) {
		t.Previous = Installed{}
	}
	if lost(t.Good) {
		t.Good, t.Previous = t.Previous, Installed{}
	}
}

// undone takes in what the boot guard or the launcher did while no agent ran: what they left harmed this host. They may have gone further
// back than one release. It tells whether they left what runs or is being activated, which the machine has not said itself.
func (t *turn) undone(e Restarted) bool {
	var left Installed
	switch t.Phase {
	case Activating, Proving:
		left = t.Next
	case Idle, Fetching, Ready:
		left = t.Current
	case Reverting, Recovering:
	}
	var last *Undone // what was said of it last counts
	for i, u := range e.Undone {
		if left.Manifest != "" && u.From == left.Slot {
			last = &e.Undone[i]
		} else {
			t.lose(e, u)
		}
	}
	if last == nil {
		return t.shun(e.At)
	}
	if e.Current == "" { // they took it away: nothing that was here before is any better
		t.Good, t.Previous = Installed{}, Installed{}
	}
	t.further(e.Current)
	t.blame(left, last.harm(e.At))
	return true
}

func (u Undone) harm(at time.Time) harm {
	h := harm{at: at, outcome: Crashed, why: wentBack + ": " + u.Why}
	if !u.Conclusive {
		h.outcome, h.doubt = Reverted, true
	}
	return h
}

// lose takes in that a release on the way back was left too.
func (t *turn) lose(e Restarted, u Undone) {
	var lost Installed
	switch u.From {
	case "", Unknown:
		return
	case t.Good.Slot:
		lost, t.Good, t.Previous = t.Good, t.Previous, Installed{}
	case t.Previous.Slot:
		lost, t.Previous = t.Previous, Installed{}
	default:
		return
	}
	if lost.Manifest != "" {
		t.accuse(lost, u.harm(e.At))
	}
	if t.Current.Slot == lost.Slot && e.Current == t.Good.Slot {
		t.Current, t.Watched, t.Unbooted = t.Good, time.Time{}, false
	}
}

// shun drops what is next if it is refused by now. It tells whether that was on its way already.
func (t *turn) shun(at time.Time) bool {
	why, no := t.refused(t.Next.Manifest, t.Next.Artifact, at)
	if !no || t.Next.Manifest == "" {
		return false
	}
	switch t.Phase {
	case Fetching, Ready:
		t.idle(why)
	case Activating:
		t.report(at, Rejected, t.Next, why)
		t.revert(false, why)
		return true
	case Idle, Proving, Reverting, Recovering:
	}
	return false
}

// resumeActivation finds out whether the swap happened before the agent died.
func (t *turn) resumeActivation(e Restarted) {
	switch {
	case e.Current == t.Next.Slot:
		t.swapped()
	case t.Lease != nil && e.At.Before(t.Lease.Expires):
		t.do(Swap{Slot: t.Next.Slot})
	case e.Current == Unknown: // the installer was killed half way
		const why = "the activation was cut short"
		t.refuse(e.At, Refusal{Manifest: t.Next.Manifest, Why: why, Until: e.At.Add(rejectedFor)})
		t.report(e.At, Rejected, t.Next, why)
		t.revert(false, why)
	default:
		const why = "the lease expired before the activation began"
		t.report(e.At, Rejected, t.Next, why)
		t.Phase, t.Lease, t.Why = Fetching, nil, why
		if t.adopt(e) {
			t.prepare()
		}
	}
}

// resumeProof counts deaths: a release that keeps killing agent or host is to blame, whatever the probes would say.
func (t *turn) resumeProof(e Restarted) {
	if e.Current != t.Next.Slot { // the boot guard or a person went back already
		t.further(e.Current)
		t.blame(t.Next, harm{at: e.At, outcome: Crashed, why: wentBack})
		return
	}
	t.Tries++
	if t.Tries >= maxDeaths {
		t.broke(Broke{At: e.At, Crashed: true, Why: "the agent or the host died again and again while proving it"})
		return
	}
	t.do(Prove{})
}

const wentBack = "the host went back before the agent started"

func (t *turn) resumeRecovery(e Restarted) {
	if e.Current != t.Good.Slot { // the host lost the last write, or somebody undid it
		t.goBack()
		return
	}
	t.Current = t.Good
	t.do(Prove{})
}

// further respects a boot guard that went further back than to the last-known-good release: that one is good no more.
func (t *turn) further(current Slot) {
	if current != "" && current == t.Previous.Slot && current != t.Good.Slot {
		t.Good, t.Previous = t.Previous, Installed{}
	}
}

// adopt believes the disk: what current shows is what runs, even if somebody else changed it. Going back from a release that is still
// watched, or has not booted yet, is what the boot guard does when the host cannot even start its agent: late harm. It tells whether life
// goes on as before.
func (t *turn) adopt(e Restarted) bool {
	late := harm{at: e.At, outcome: Crashed, why: wentBack}
	switch e.Current {
	case t.Current.Slot:
		return true
	case "":
		t.Current, t.Why = Installed{}, "current was taken away by somebody else"
	case t.Good.Slot:
		if t.Unbooted {
			t.blame(t.Current, late)
			return false
		}
		t.Current, t.Why = t.Good, ""
	case t.Previous.Slot:
		if t.watched(e.At) || t.Unbooted {
			t.further(e.Current)
			t.blame(t.Current, late)
			return false
		}
		t.Current, t.Good, t.Previous = t.Previous, t.Previous, Installed{}
	case Unknown:
		t.Current, t.Why = Installed{Slot: Unknown}, "what is installed is half done, or was mixed by hand"
	default:
		t.Current, t.Why = Installed{Slot: e.Current}, "current was changed by somebody else"
	}
	t.Watched, t.Unbooted = time.Time{}, false
	return true
}
