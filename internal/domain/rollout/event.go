package rollout

import (
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// Event is something that happened. Times are by the control plane's wall clock.
//
//sumtype:decl
type Event interface {
	// When it happened.
	When() time.Time
	event()
}

// Started begins a rollout. It is the first event of each.
type Started struct {
	At       time.Time `json:"at"`
	ID       ID        `json:"id"`
	Release  Release   `json:"release"`
	Plan     plan.Plan `json:"plan"` // checked and defaulted
	Eligible int64     `json:"eligible"`
	Actor    string    `json:"actor"`
	Reason   string    `json:"reason,omitempty"`

	Cell    string            `json:"cell,omitempty"`   // this control plane among the plan's cells; empty: it is in none, and goes by itself
	Freezes calendar.Calendar `json:"freezes,omitzero"` // of the installation
	Shut    *calendar.Shut    `json:"shut,omitempty"`   // as all events' Shut: see [Dated]
}

// LeaseAsked is a prepared host's wish to activate.
type LeaseAsked struct {
	At   time.Time      `json:"at"`
	Host Host           `json:"host"`
	Shut *calendar.Shut `json:"shut,omitempty"`
}

// Host is what the caller knows of the asking endpoint.
type Host struct {
	Endpoint fleet.EndpointID `json:"endpoint"`
	Subject  fleet.Subject    `json:"subject"`
	Stratum  string           `json:"stratum,omitempty"` // as fleet.Stratum names it by the plan's keys; of its earlier lease, if it had one
	Sought   bool             `json:"sought,omitempty"`  // its stratum is one that the open ring must see
	Posture  []string         `json:"posture,omitempty"` // of what the plan asks hosts to survive alone, what this one does
	Busy     string           `json:"busy,omitempty"`    // another rollout that this host is proving a release of; empty: none
	Tenant   Scope            `json:"tenant"`
	Site     Scope            `json:"site"`
	Fleet    int64            `json:"fleet"` // endpoints that the release is for
	// Prior is the outcome of its earlier lease in this rollout, PriorRing the ring of that lease; Unleased if it had none.
	Prior     Outcome `json:"prior,omitempty"`
	PriorRing int     `json:"prior_ring,omitempty"`
}

// Scope is a tenant or a site and how much of it is exposed in this rollout.
type Scope struct {
	Name    string `json:"name"`
	Size    int64  `json:"size"`             // endpoints that the release is for
	Exposed int64  `json:"exposed"`          // those that got a lease
	Harmed  int64  `json:"harmed,omitempty"` // of the exposed, those that reported harm: crashed or reverted
}

// OutcomeKnown tells what became of a leased host: reported by itself, or found silent at its deadline.
type OutcomeKnown struct {
	At       time.Time        `json:"at"`
	Endpoint fleet.EndpointID `json:"endpoint"`
	Ring     int              `json:"ring"`
	Was      Outcome          `json:"was"` // what was known of the lease before
	Outcome  Outcome          `json:"outcome"`
	Detail   string           `json:"detail,omitempty"`
	Stratum  string           `json:"stratum,omitempty"` // of its lease
	Tenant   Scope            `json:"tenant,omitzero"`   // of a harmed host; what was known before this outcome
	Site     Scope            `json:"site,omitzero"`
	Fleet    int64            `json:"fleet,omitempty"`
	Crash    *Crash           `json:"crash,omitempty"`  // what the host found of it; nil: nothing
	Blamed   string           `json:"blamed,omitempty"` // another rollout on this host that is more to blame, and why; empty: none
}

// Compared is what a watch showed: hosts that got a lease, or were seen to run the release, in the same minute, and controls of the same
// class that were last heard in that minute, followed to the same deadline.
type Compared struct {
	At      time.Time      `json:"at"`
	Signal  breaker.Signal `json:"signal"`
	Class   string         `json:"class"`
	Control breaker.Arm    `json:"control"`
	Exposed []StratumArm   `json:"exposed"` // by stratum; at most one host of each site and minute
}

// StratumArm is the exposed hosts of one stratum in a comparison.
type StratumArm struct {
	Stratum string `json:"stratum"`
	breaker.Arm
}

// FreezesSet replaces the installation's freezes: they hold for every rollout.
type FreezesSet struct {
	At      time.Time         `json:"at"`
	Freezes calendar.Calendar `json:"freezes,omitzero"`
	Actor   string            `json:"actor"`
	Shut    *calendar.Shut    `json:"shut,omitempty"`
}

// CellsHeard tells what is known of the release in other cells of the plan. Cells that it leaves out are as they were.
type CellsHeard struct {
	At    time.Time   `json:"at"`
	Cells []CellHeard `json:"cells"`
}

// CellHeard is what is known of the release in another cell.
type CellHeard struct {
	Name     string        `json:"name"`
	Lost     string        `json:"lost,omitempty"`     // why it is not heard; empty: it is, and what follows is fresh
	Since    time.Time     `json:"since,omitzero"`     // when a lost cell was heard last, by this control plane's clock; zero: nobody knows
	Phase    Phase         `json:"phase,omitempty"`    // of the newest rollout of the release there; None: there is none
	Alarm    breaker.Alarm `json:"alarm,omitempty"`    // of that rollout
	Recalled bool          `json:"recalled,omitempty"` // the release may never run there again, whatever the phase
	Reason   string        `json:"reason,omitempty"`   // of that, or of the phase
	Ended    time.Time     `json:"ended,omitzero"`     // of a final or complete phase, by that cell's clock
}

// HostRecovered tells that an exposed host runs its last-known-good release again and is well.
type HostRecovered struct {
	At       time.Time        `json:"at"`
	Endpoint fleet.EndpointID `json:"endpoint"`
	Was      Outcome          `json:"was"`
}

// HostBooted tells that a confirmed host booted with the release.
type HostBooted struct {
	At       time.Time        `json:"at"`
	Endpoint fleet.EndpointID `json:"endpoint"`
	Ring     int              `json:"ring"`
}

// Woke is the passing of time, and a fresh count of the fleet.
type Woke struct {
	At        time.Time `json:"at"`
	Eligible  int64     `json:"eligible"`            // hosts that the release is for, heard lately or exposed
	Remaining int64     `json:"remaining"`           // of them, not exposed in this rollout
	Available int64     `json:"available"`           // of those, selected by the open ring and within the caps
	Heard     int64     `json:"heard"`               // confirmed hosts of the open ring that were heard lately; of the one before while it has none
	Preferred int64     `json:"preferred,omitempty"` // of the available, those that the open ring prefers
	Large     int64     `json:"large,omitempty"`     // strata that hold at least the share of the fleet that the open ring must see
	Seen      int64     `json:"seen,omitempty"`      // of them, those with a confirmed host
	Unfit     Unfit     `json:"unfit,omitzero"`      // hosts that are not eligible for want of posture

	Gates []evidence.GateResult `json:"gates,omitempty"` // what was seen of the open ring's gates
	Shut  *calendar.Shut        `json:"shut,omitempty"`
}

// Unfit counts the hosts that do not get the release because they could not survive alone what the plan asks for. Those exposed already
// are none of them.
type Unfit struct {
	Hosts int64            `json:"hosts"`
	Lacks map[string]int64 `json:"lacks"` // how many of them lack each word of a fleet.Posture; replaced, never changed
}

// OperatorActed is a person's or a script's command.
type OperatorActed struct {
	At     time.Time `json:"at"`
	Action Action    `json:"action"`
	Actor  string    `json:"actor"`
	Reason string    `json:"reason,omitempty"`

	Select fleet.Selector `json:"select,omitempty"` // whom to hold or release
}

// Action is what an operator can do to a rollout.
type Action string

// The actions.
const (
	Pause    Action = "pause"
	Resume   Action = "resume"
	Halt     Action = "halt"
	RollBack Action = "rollback"
	Approve  Action = "approve" // agree to a proposed rollout
	HoldBack Action = "hold"    // keep it from the hosts that a selector picks
	Unhold   Action = "unhold"  // lift such a hold
)

// Outcome is what became of a leased endpoint.
type Outcome string

// The outcomes.
const (
	Unleased  Outcome = ""
	Pending   Outcome = "pending"
	Confirmed Outcome = "confirmed"
	Crashed   Outcome = "crashed"
	Reverted  Outcome = "reverted"
	Rejected  Outcome = "rejected"
	Silent    Outcome = "silent"
	Goodbye   Outcome = "goodbye"
	Late      Outcome = "late"
)

// Harmful are the outcomes that count against the release.
func Harmful() []Outcome { return []Outcome{Crashed, Reverted, Silent, Late} }

// Harms tells whether the outcome counts against the release.
func (o Outcome) Harms() bool {
	return o == Crashed || o == Reverted || o == Silent || o == Late
}

// When implements Event.
func (e Started) When() time.Time { return e.At }

// When implements Event.
func (e LeaseAsked) When() time.Time { return e.At }

// When implements Event.
func (e OutcomeKnown) When() time.Time { return e.At }

// When implements Event.
func (e Compared) When() time.Time { return e.At }

// When implements Event.
func (e FreezesSet) When() time.Time { return e.At }

// When implements Event.
func (e CellsHeard) When() time.Time { return e.At }

// When implements Event.
func (e HostRecovered) When() time.Time { return e.At }

// When implements Event.
func (e HostBooted) When() time.Time { return e.At }

// When implements Event.
func (e Woke) When() time.Time { return e.At }

// When implements Event.
func (e OperatorActed) When() time.Time { return e.At }

func (Started) event()       {}
func (LeaseAsked) event()    {}
func (OutcomeKnown) event()  {}
func (Compared) event()      {}
func (FreezesSet) event()    {}
func (CellsHeard) event()    {}
func (HostRecovered) event() {}
func (HostBooted) event()    {}
func (Woke) event()          {}
func (OperatorActed) event() {}
