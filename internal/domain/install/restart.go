package install

import "time"

// restarted resumes after the agent or the host died: at any point, any number of times.
func (t *turn) restarted(e Restarted) {
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

// resumeActivation finds out whether the swap happened before the agent died.
func (t *turn) resumeActivation(e Restarted) {
	switch {
	case e.Current == t.Next.Slot:
		t.swapped()
	case t.Lease != nil && e.At.Before(t.Lease.Expires):
		t.do(Swap{Slot: t.Next.Slot})
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
		t.harm(e.At, Crashed, t.Next, wentBack)
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
// watched is what the boot guard does when the host cannot even start its agent: late harm. It tells whether life goes on as before.
func (t *turn) adopt(e Restarted) bool {
	switch e.Current {
	case t.Current.Slot:
		return true
	case "":
		t.Current, t.Why = Installed{}, "current was taken away by somebody else"
	case t.Good.Slot:
		t.Current, t.Why = t.Good, ""
	case t.Previous.Slot:
		if t.watched(e.At) {
			t.harm(e.At, Crashed, t.Current, wentBack)
			return false
		}
		t.Current, t.Good, t.Previous = t.Previous, t.Previous, Installed{}
	default:
		t.Current, t.Why = Installed{Slot: e.Current}, "current was changed by somebody else"
	}
	t.Watched = time.Time{}
	return true
}
