// Package blame shares out a failure among the rollouts that met on the host that failed.
//
// It follows the vote and veto of Gandalf (NSDI 2020). A host that is harmed after it activated a rollout votes against it, in windows of
// 1, 24 and 72 hours; a host that is harmed without it is a veto for it. With P votes in a window and B vetoes the temporal score is
//
//	ST = sum of w * log((max(P-B, 0) + 1) / (B + 1)) over the windows
//
// and the blame is e^ST times the share of the rollout's exposed hosts that are harmed, halved for every twelve hours between activation
// and failure. That share is a weight and no threshold: a threshold would clear an update that harms one host in ten thousand.
//
// A share is not evidence. It says which rollout people should look at first; whether one is bad is for its breaker to say.
package blame

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Windows are the lengths of time after an activation in which harmed hosts vote.
func Windows() [3]time.Duration { return [3]time.Duration{time.Hour, 24 * time.Hour, 72 * time.Hour} }

const (
	halfLife = 12 * time.Hour // blame halves with this age of the activation
	majority = 0.5
)

// weights of the windows; harm soon after an activation says most.
func weights() [3]float64 { return [3]float64{0.5, 0.3, 0.2} }

// Suspect is a rollout that was activated on the host that failed. A negative number counts as none.
type Suspect struct {
	Rollout string
	Age     time.Duration // from its activation on the host to the failure; negative if it came afterwards
	After   [3]int64      // votes: hosts harmed within each of Windows after they activated it, this one included
	Before  int64         // vetoes: hosts harmed in the same component that never activated it, or were harmed before they did
	Exposed int64         // hosts that activated it
	Harmed  int64         // those of them that are harmed, this one included
}

// Verdict is what one rollout carries of the blame.
type Verdict struct {
	Rollout string
	Share   float64 // 0 to 1
	Reason  string  // one sentence for people
}

// Share gives each suspect its share, the largest first. Shares sum to 1, unless no suspect was activated before the failure: then all
// are 0. The order of the suspects does not matter.
func Share(suspects []Suspect) []Verdict {
	order := make([]weighed, 0, len(suspects))
	for _, s := range suspects {
		order = append(order, weighed{s, s.weight()})
	}
	slices.SortFunc(order, func(a, b weighed) int {
		return cmp.Or(cmp.Compare(b.log, a.log), cmp.Compare(a.Rollout, b.Rollout))
	})
	var total float64
	for _, w := range order {
		total += w.relative(order[0])
	}
	verdicts := make([]Verdict, 0, len(order))
	for _, w := range order {
		share := w.relative(order[0]) / max(total, 1) // the first adds 1 itself, or nobody adds anything
		verdicts = append(verdicts, Verdict{Rollout: w.Rollout, Share: share, Reason: w.reason(share)})
	}
	return verdicts
}

// Main is the verdict that carries more than half of the blame, if there is one.
func Main(verdicts []Verdict) (Verdict, bool) {
	i := slices.IndexFunc(verdicts, func(v Verdict) bool { return v.Share > majority })
	if i < 0 {
		return Verdict{}, false
	}
	return verdicts[i], true
}

// weighed is a suspect with the logarithm of its blame, which is only worth something beside the others.
type weighed struct {
	Suspect
	log float64
}

// weight is minus infinity for what cannot have done it.
func (s Suspect) weight() float64 {
	if s.Age < 0 {
		return math.Inf(-1)
	}
	vetoes := float64(max(s.Before, 0))
	log := -math.Ln2 * float64(s.Age) / float64(halfLife)
	for i, w := range weights() {
		log += w * math.Log((max(float64(s.After[i])-vetoes, 0)+1)/(vetoes+1))
	}
	harmed := max(s.Harmed, 1) // the host that failed is one
	return log + math.Log(float64(harmed)/float64(max(s.Exposed, harmed)))
}

// relative is the blame as a multiple of the first's.
func (w weighed) relative(first weighed) float64 {
	if math.IsInf(w.log, -1) {
		return 0
	}
	return math.Exp(w.log - first.log)
}

func (w weighed) reason(share float64) string {
	if w.Age < 0 {
		return "It was activated on this host after the failure, so it did not cause it."
	}
	windows := Windows()
	return fmt.Sprintf("It carries %.0f %% of the blame: it was activated %s before the failure, and %d of its %d exposed hosts are harmed, "+
		"%d of them within %g h, against %d without it.",
		100*share, w.Age.Round(time.Second), w.Harmed, w.Exposed, w.After[0], windows[0].Hours(), w.Before)
}
