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
	if lost(t.Factory) {
		t.Factory = Installed{}
	}
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
	all := verdicts(e.Undone)
	left := t.suspect(e.Current, all)
	var of *Undone
	for i, u := range all {
		if left.Manifest != "" && u.From == left.Slot {
			of = &all[i]
		} else {
			t.lose(e, u)
		}
	}
	if of == nil {
		return t.shun(e.At)
	}
	if t.Phase == Activating && left == t.Current {
		t.giveBack(e.At, Ready, "what ran harmed the host before the activation began")
	}
	if e.Current == "" { // they took it away: nothing that was here before is any better
		t.Good, t.Previous = Installed{}, Installed{}
	}
	t.further(e.Current)
	t.blame(left, of.harm(e.At))
	return true
}

// verdicts has what is said of each release once: evidence of harm counts, whatever was said later, and otherwise what was said last.
func verdicts(undone []Undone) []Undone {
	var all []Undone
	for _, u := range undone {
		i := slices.IndexFunc(all, func(o Undone) bool { return o.From == u.From })
		switch {
		case i < 0:
			all = append(all, u)
		case u.Conclusive || !all[i].Conclusive:
			all[i] = u
		}
	}
	return all
}

// suspect is what boot guard or launcher may have left and the machine takes for what runs or is being activated. What ran until an
// activation that has not happened is left as if there were none: if its successor did not come after all, what harmed would run on.
func (t *turn) suspect(shown Slot, undone []Undone) Installed {
	switch t.Phase {
	case Activating:
		said := func(of Slot) bool { return slices.ContainsFunc(undone, func(u Undone) bool { return u.From == of }) }
		if shown != t.Next.Slot && !said(t.Next.Slot) && said(t.Current.Slot) {
			return t.Current
		}
		return t.Next
	case Proving:
		return t.Next
	case Idle, Fetching, Ready:
		return t.Current
	case Reverting, Recovering:
	}
	return Installed{}
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
	case t.Factory.Slot:
		lost = t.Factory
	case t.Current.Slot:
		if t.Phase != Activating { // then it was never good, and has a successor by now that runs, or was left too
			return
		}
		lost = t.Current
	default:
		return
	}
	if u.From == t.Factory.Slot {
		t.Factory = Installed{}
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
		t.giveBack(e.At, Fetching, why)
		if t.adopt(e) && !t.leaveBarred() {
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

// further respects a boot guard that went further back than to the last-known-good release: that one is good no more. A factory release
// that still runs, or is being left, was not gone back to.
func (t *turn) further(current Slot) {
	leaving := current == t.Current.Slot || current == t.Next.Slot && !t.Phase.rests()
	switch {
	case current == "" || current == t.Good.Slot:
	case current == t.Previous.Slot:
		t.Good, t.Previous = t.Previous, Installed{}
	case current == t.Factory.Slot && !leaving:
		t.Good, t.Previous = t.Factory, Installed{}
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
	case t.Previous.Slot, t.Factory.Slot:
		suspected := t.watched(e.At) || t.Unbooted
		t.further(e.Current)
		if suspected {
			t.blame(t.Current, late)
			return false
		}
		t.Current = t.Good
	case Unknown:
		t.Current, t.Why = Installed{Slot: Unknown}, "what is installed is half done, or was mixed by hand"
	default:
		t.Current, t.Why = Installed{Slot: e.Current}, "current was changed by somebody else"
	}
	t.Watched, t.Unbooted = time.Time{}, false
	return true
}
