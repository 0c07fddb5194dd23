package rollout

import (
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
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
	Proposed   Phase = "proposed" // waits for more people to agree
	Running    Phase = "running"
	Paused     Phase = "paused"
	Complete   Phase = "complete"
	Halted     Phase = "halted"      // by an operator: exposes nobody any more
	Tripped    Phase = "tripped"     // by the breaker: halted, recalled, rolled back
	RolledBack Phase = "rolled_back" // by an operator: halted, recalled, rolled back
)

// Final tells whether no host is exposed from the phase any more, nor from any that follows: a halted rollout can still be rolled back.
func (p Phase) Final() bool { return p == Halted || p == Tripped || p == RolledBack }

// Ended tells whether it is over, well or not: no host is exposed by the plan any more. Latecomers to a complete rollout still get it.
func (p Phase) Ended() bool { return p == Complete || p.Final() }

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

// State is everything that a decision depends on. It is O(rings + strata), whatever the size of the fleet.
type State struct {
	ID      ID        `json:"id"`
	Release Release   `json:"release"`
	Plan    plan.Plan `json:"plan"`
	Phase   Phase     `json:"phase"`

	Ring  int         `json:"ring"`  // the open ring; earlier ones are full
	Rings []RingState `json:"rings"` // one for each ring of the plan

	Window      float64       `json:"window"`         // leased hosts that may be unconfirmed now
	Free        time.Duration `json:"free,omitempty"` // observed time since when no host that the open ring prefers took a place, though one was free
	Round       int64         `json:"round"`          // leases granted since the last round ended
	Proved      int64         `json:"proved"`         // hosts that confirmed since
	Unconfirmed int64         `json:"unconfirmed"`    // leased hosts without an outcome
	Breaker     breaker.State `json:"breaker"`
	Strata      []Stratum     `json:"strata,omitempty"` // in the order in which they first got a lease
	Holds       []Hold        `json:"holds,omitempty"`
	Alarm       breaker.Alarm `json:"alarm"`

	Approved []string              `json:"approved,omitempty"` // who agreed to the start, the one who asked for it first
	Freezes  calendar.Calendar     `json:"freezes,omitzero"`   // of the installation, on top of the plan's calendar
	Shut     calendar.Shut         `json:"shut,omitzero"`      // what the calendars said at the last look
	Gates    []evidence.GateResult `json:"gates,omitempty"`    // of the open ring, at the last look
	Cell     string                `json:"cell,omitempty"`     // this control plane among the plan's cells; empty: it goes by itself
	Cells    []Cell                `json:"cells,omitempty"`    // the other ones
	Large    int64                 `json:"large,omitempty"`    // strata that the open ring must see
	Seen     int64                 `json:"seen,omitempty"`     // of them, those with a confirmed host

	Eligible  int64 `json:"eligible"`            // hosts that the release is for and that were heard lately, exposed or not
	Remaining int64 `json:"remaining"`           // those of them not exposed yet
	Available int64 `json:"available"`           // those of them that the open ring selects, within the caps
	Preferred int64 `json:"preferred,omitempty"` // of the available, those that the open ring prefers
	Heard     int64 `json:"heard"`               // confirmed hosts of the open ring that were heard lately

	Unfit Unfit `json:"unfit,omitzero"` // hosts that are not eligible for want of posture, as counted last

	Started   time.Time     `json:"started"`
	Last      time.Time     `json:"last"`     // of the newest event; goes back only with the clock, by more than MaxGap
	Observed  time.Duration `json:"observed"` // time lived through, at most MaxGap between two events: clocks may jump
	FirstHarm time.Time     `json:"first_harm,omitzero"`
	Ended     time.Time     `json:"ended,omitzero"`   // of a final or complete phase
	Watched   time.Time     `json:"watched,omitzero"` // until when late harm can trip a complete rollout: the plan's watch after its last lease

	Recovered int64  `json:"recovered"` // harmed hosts that run their last-known-good release again
	Returned  int64  `json:"returned"`  // exposed but unharmed hosts that went back because of the recall
	Reason    string `json:"reason"`    // of the last change of phase

	places map[string]int // of strata by name; made when it is needed, and replaced, never changed: clones share it
}

// Stratum is a slice of the fleet that may fail alone, from its first lease on.
type Stratum struct {
	Name      string         `json:"name"`
	Select    fleet.Selector `json:"select"`
	Leased    int64          `json:"leased"`
	Pending   int64          `json:"pending"` // leased hosts without an outcome
	Confirmed int64          `json:"confirmed"`
	Harmed    int64          `json:"harmed"`
	Suspect   bool           `json:"suspect,omitempty"` // its own tests are at amber: it is probed a few hosts at a time
	Held      bool           `json:"held,omitempty"`    // gets nothing more, and its exposed hosts go back; its evidence is set aside

	breaker.Slice
}

// Hold keeps the release from the hosts that it selects. Those that have it go back to what they ran before.
type Hold struct {
	Select fleet.Selector `json:"select"`
	Reason string         `json:"reason"`
	At     time.Time      `json:"at"`
	By     string         `json:"by"` // an operator, or "breaker"
}

// RingState counts the hosts of one ring. Every leased host is in exactly one of the outcomes or unconfirmed.
type RingState struct {
	Leased    int64         `json:"leased"` // hosts that got a lease, without those that never activated (rejected)
	Confirmed int64         `json:"confirmed"`
	Crashed   int64         `json:"crashed"`
	Reverted  int64         `json:"reverted"`
	Silent    int64         `json:"silent"`
	Goodbye   int64         `json:"goodbye"`
	Late      int64         `json:"late"`             // silent once, heard afterwards; still counts as harmed
	Rejected  int64         `json:"rejected"`         // said no after the lease, before activating
	Others    int64         `json:"others,omitempty"` // of the leased, those that the ring does not prefer
	Aside     int64         `json:"aside,omitempty"`  // of the crashed and reverted, those that do not count against the release
	Boots     int64         `json:"boots"`
	HostHours float64       `json:"host_hours"`
	Size      int64         `json:"size,omitempty"`    // hosts that it holds, as counted when it opened: a bake must not wait for a fleet that grows
	Opened    time.Duration `json:"opened"`            // observed time when it opened
	Settled   time.Duration `json:"settled,omitempty"` // observed time when it was full and resolved; 0 before
}

// Harmed is the number of hosts that count against the release.
func (r RingState) Harmed() int64 { return r.Crashed + r.Reverted + r.Silent + r.Late }

// Left is the number of hosts whose places are given again: nobody can hear from them whether the release is good. Silence is for the
// breaker to judge; were it to hold up the ring as well, one sleeping laptop could end a rollout. Nor does reported harm hold it up that
// was set aside: of a held stratum, of one tenant or site alone, or that another rollout is to blame for.
func (r RingState) Left() int64 { return r.Silent + r.Late + r.Goodbye + r.Aside }

// Resolved is the number of leased hosts with an outcome.
func (r RingState) Resolved() int64 { return r.Confirmed + r.Goodbye + r.Harmed() }

// MaxGap is the most that the time between two events counts as lived through. The caller wakes a running rollout at least this
// often; a gap that is longer (the server was down, its clock jumped) proves nothing and does not bake anything.
const MaxGap = time.Minute

// Exposed is the number of hosts that ever got a lease and may have activated.
func (s *State) Exposed() int64 { return s.sum(func(r RingState) int64 { return r.Leased }) }

// Confirmed is the number of hosts that run the release and are well.
func (s *State) Confirmed() int64 { return s.sum(func(r RingState) int64 { return r.Confirmed }) }

// Harmed is the number of hosts that count against the release.
func (s *State) Harmed() int64 { return s.sum(RingState.Harmed) }

// Evidence is the breaker's E.
func (s *State) Evidence() float64 { return s.weigh(-1).E }

// weigh is the breaker's evidence; without is the place of a stratum that is left out, -1 for none. Held strata are set aside.
func (s *State) weigh(without int) breaker.Weight {
	test := s.Breaker
	if without >= 0 {
		test.Crashes = test.Crashes.Without(s.Strata[without].Crashes)
	}
	slices := func(yield func(int, *breaker.Slice) bool) {
		for i := range s.Strata {
			if !s.Strata[i].Held && i != without && !yield(i, &s.Strata[i].Slice) {
				return
			}
		}
	}
	return test.Weigh(s.Plan.Breaker, slices, len(s.Strata))
}

// Armed tells whether outcomes can still trip the breaker at time t: while hosts are being exposed, and for the plan's watch after.
// Latecomers to a complete rollout are exposed too, and hosts that an operator's halt left with the release still run it.
func (s *State) Armed(t time.Time) bool {
	switch s.Phase {
	case Running, Paused:
		return true
	case Complete, Halted:
		return t.Before(s.Watched) || s.Unconfirmed > 0
	case None, Proposed, Tripped, RolledBack:
	}
	return false
}

// Size is the number of hosts that the open ring holds.
func (s *State) Size() int64 { return s.size(s.Ring) }

// Clone returns a state that shares nothing mutable with s.
func (s State) Clone() State {
	s.Rings, s.Strata, s.Holds = slices.Clone(s.Rings), slices.Clone(s.Strata), slices.Clone(s.Holds)
	s.Breaker.Classes, s.Approved, s.Gates = slices.Clone(s.Breaker.Classes), slices.Clone(s.Approved), slices.Clone(s.Gates)
	s.Cells = slices.Clone(s.Cells)
	return s
}

// stratum is the place of a stratum among those seen, -1 if it got no lease yet.
func (s *State) stratum(name string) int {
	if s.places == nil || len(s.places) != len(s.Strata) {
		s.places = make(map[string]int, len(s.Strata))
		for i := range s.Strata {
			s.places[s.Strata[i].Name] = i
		}
	}
	if i, ok := s.places[name]; ok {
		return i
	}
	return -1
}

func (s *State) sum(f func(RingState) int64) int64 {
	var n int64
	for _, r := range s.Rings {
		n += f(r)
	}
	return n
}

func (s *State) size(k int) int64 {
	if s.Rings[k].Size > 0 && !s.Plan.Last(k) {
		return s.Rings[k].Size
	}
	var earlier int64
	for _, r := range s.Rings[:k] {
		earlier += r.Leased
	}
	return s.Plan.Size(k, s.Eligible, earlier)
}
