package rollout

import (
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// ID names a rollout.
type ID string

// Phase is where a rollout is in its life.
type Phase string

// The phases.
const (
	None       Phase = ""
	Running    Phase = "running"
	Paused     Phase = "paused"
	Complete   Phase = "complete"
	Halted     Phase = "halted"      // by an operator: exposes nobody any more
	Tripped    Phase = "tripped"     // by the breaker: halted, recalled, rolled back
	RolledBack Phase = "rolled_back" // by an operator: halted, recalled, rolled back
)

// Final tells whether no host is exposed from the phase any more, nor from any that follows: a halted rollout can still be rolled back.
func (p Phase) Final() bool { return p == Halted || p == Tripped || p == RolledBack }

// Recalls tells whether the phase recalls the release.
func (p Phase) Recalls() bool { return p == Tripped || p == RolledBack }

// Release is what a rollout needs to know of its release.
type Release struct {
	Component string           `json:"component"`
	Version   string           `json:"version"`
	Serial    int64            `json:"serial"`
	Manifest  release.Digest   `json:"manifest"`
	Artifacts []release.Digest `json:"artifacts"` // that a recall names: those that no good release shares
}

// State is everything that a decision depends on. It is O(rings), whatever the size of the fleet.
type State struct {
	ID      ID        `json:"id"`
	Release Release   `json:"release"`
	Plan    plan.Plan `json:"plan"`
	Phase   Phase     `json:"phase"`

	Ring  int         `json:"ring"`  // the open ring; earlier ones are full
	Rings []RingState `json:"rings"` // one for each ring of the plan

	Window      float64       `json:"window"`      // leased hosts that may be unconfirmed now
	Unconfirmed int64         `json:"unconfirmed"` // leased hosts without an outcome
	Breaker     breaker.State `json:"breaker"`
	Alarm       breaker.Alarm `json:"alarm"`

	Eligible  int64 `json:"eligible"`  // hosts that the release is for and that were heard lately, exposed or not
	Remaining int64 `json:"remaining"` // those of them not exposed yet
	Available int64 `json:"available"` // those of them that the open ring selects, within the caps
	Heard     int64 `json:"heard"`     // confirmed hosts of the open ring that were heard lately

	Started   time.Time     `json:"started"`
	Last      time.Time     `json:"last"`     // of the newest event; goes back only with the clock, by more than MaxGap
	Observed  time.Duration `json:"observed"` // time lived through, at most MaxGap between two events: clocks may jump
	FirstHarm time.Time     `json:"first_harm,omitzero"`
	Ended     time.Time     `json:"ended,omitzero"`   // of a final or complete phase
	Watched   time.Time     `json:"watched,omitzero"` // until when late harm can trip a complete rollout: the plan's watch after its last lease

	Recovered int64  `json:"recovered"` // harmed hosts that run their last-known-good release again
	Returned  int64  `json:"returned"`  // exposed but unharmed hosts that went back because of the recall
	Reason    string `json:"reason"`    // of the last change of phase
}

// RingState counts the hosts of one ring. Every leased host is in exactly one of the outcomes or unconfirmed.
type RingState struct {
	Leased    int64         `json:"leased"` // hosts that got a lease, without those that never activated (rejected)
	Confirmed int64         `json:"confirmed"`
	Crashed   int64         `json:"crashed"`
	Reverted  int64         `json:"reverted"`
	Silent    int64         `json:"silent"`
	Goodbye   int64         `json:"goodbye"`
	Late      int64         `json:"late"`     // silent once, heard afterwards; still counts as harmed
	Rejected  int64         `json:"rejected"` // said no after the lease, before activating
	Boots     int64         `json:"boots"`
	HostHours float64       `json:"host_hours"`
	Opened    time.Duration `json:"opened"`            // observed time when it opened
	Settled   time.Duration `json:"settled,omitempty"` // observed time when it was full and resolved; 0 before
}

// Harmed is the number of hosts that count against the release.
func (r RingState) Harmed() int64 { return r.Crashed + r.Reverted + r.Silent + r.Late }

// Resolved is the number of leased hosts with an outcome.
func (r RingState) Resolved() int64 { return r.Confirmed + r.Goodbye + r.Harmed() }

// MaxGap is the most that the time between two events counts as lived through. The caller wakes a running rollout at least this
// often; a gap that is longer (the server was down, its clock jumped) proves nothing and does not bake anything.
const MaxGap = time.Minute

// Exposed is the number of hosts that ever got a lease and may have activated.
func (s State) Exposed() int64 { return s.sum(func(r RingState) int64 { return r.Leased }) }

// Confirmed is the number of hosts that run the release and are well.
func (s State) Confirmed() int64 { return s.sum(func(r RingState) int64 { return r.Confirmed }) }

// Harmed is the number of hosts that count against the release.
func (s State) Harmed() int64 { return s.sum(RingState.Harmed) }

// Evidence is the breaker's E.
func (s State) Evidence() float64 { return s.Breaker.Evidence(s.Plan.Breaker) }

// Armed tells whether outcomes can still trip the breaker at time t: while hosts are being exposed, and for the plan's watch after.
// Latecomers to a complete rollout are exposed too, and hosts that an operator's halt left with the release still run it.
func (s State) Armed(t time.Time) bool {
	switch s.Phase {
	case Running, Paused:
		return true
	case Complete, Halted:
		return t.Before(s.Watched) || s.Unconfirmed > 0
	case None, Tripped, RolledBack:
	}
	return false
}

// Size is the number of hosts that the open ring holds.
func (s State) Size() int64 { return s.size(s.Ring) }

// Clone returns a state that shares nothing mutable with s.
func (s State) Clone() State {
	s.Rings = slices.Clone(s.Rings)
	return s
}

func (s State) sum(f func(RingState) int64) int64 {
	var n int64
	for _, r := range s.Rings {
		n += f(r)
	}
	return n
}

func (s State) size(k int) int64 {
	var earlier int64
	for _, r := range s.Rings[:k] {
		earlier += r.Leased
	}
	return s.Plan.Size(k, s.Eligible, earlier)
}
