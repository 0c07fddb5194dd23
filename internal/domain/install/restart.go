package install

import (
	"slices"
	"time"
)

// restarted resumes after the agent or the host died: at any point, any number of times.
func (t *turn) restarted(e Restarted) {
	switch t.Phase {
	case Activating:
		t.resumeActivation(e)
	case Proving:
		t.resumeProof(e)
	case Reverting:
		t.do(Restore{Slot: t.Good.Slot})
	case Recovering:
		t.adopt(e)
		t.do(Prove{})
	case Fetching:
		t.adopt(e)
		t.do(Fetch{Target: t.target(), NotBefore: t.RetryAt})
	case Ready:
		t.adopt(e)
		if !slices.Contains(e.Slots, t.Next.Slot) {
			t.Phase = Fetching
			t.do(Fetch{Target: t.target()})
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
		t.Phase, t.Lease = Ready, nil
		t.Why = "the lease expired before the activation began; asks again"
	}
}

// resumeProof counts deaths: a release that keeps killing agent or host is to blame, whatever the probes would say.
func (t *turn) resumeProof(e Restarted) {
	if e.Current != t.Next.Slot { // the boot guard or a person went back already
		t.report(e.At, Crashed, t.Next, "the host went back before the agent started")
		t.refuse(Refusal{Manifest: t.Next.Manifest, Artifact: t.Next.Artifact, Why: "the host went back by itself"})
		t.revert(true, "the host went back before the agent started")
		return
	}
	t.Tries++
	if t.Tries >= maxDeaths {
		t.broke(Broke{At: e.At, Crashed: true, Why: "the agent or the host died again and again while proving it"})
		return
	}
	t.do(Prove{})
}

// adopt believes the disk: what current shows is what runs, even if somebody else changed it.
func (t *turn) adopt(e Restarted) {
	if e.Current == t.Current.Slot {
		return
	}
	switch e.Current {
	case t.Good.Slot:
		t.Current = t.Good
	case t.Previous.Slot:
		t.Current, t.Good, t.Previous = t.Previous, t.Previous, Installed{}
	default:
		t.Current = Installed{Slot: e.Current}
		t.Why = "current was changed by somebody else"
	}
	t.Watched = time.Time{}
}
