package rollout

import (
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Effect is something to be done, after the event and the new state are stored.
//
//sumtype:decl
type Effect interface{ effect() }

// GrantLease gives the asking host a lease.
type GrantLease struct {
	Endpoint fleet.EndpointID `json:"endpoint"`
	Ring     int              `json:"ring"`
	Issued   time.Time        `json:"issued"`
	Expires  time.Time        `json:"expires"`
	Deadline time.Time        `json:"deadline"`
	Renewed  bool             `json:"renewed,omitempty"` // the host holds a place already: nobody new is exposed
	Why      Room             `json:"why"`
}

// Room is why a lease was granted: what was left when it was.
type Room struct {
	Leased      int64 `json:"leased"` // of the ring, this one included
	Size        int64 `json:"size"`
	Unconfirmed int64 `json:"unconfirmed"`
	Allowed     int64 `json:"allowed"`
	Exposed     int64 `json:"exposed"`
}

// RefuseLease tells the asking host to wait. A refusal changes no state.
type RefuseLease struct {
	Endpoint fleet.EndpointID `json:"endpoint"`
	Waiting  Waiting          `json:"waiting"`
}

// PublishDirective renews the component's directive from the states of its rollouts.
type PublishDirective struct{}

// RecallRelease bars the release from ever running again.
type RecallRelease struct {
	Reason string `json:"reason"`
}

// OpenIncident opens the record of a trip.
type OpenIncident struct {
	Title string `json:"title"`
}

// Notify tells people.
type Notify struct {
	Severity string `json:"severity"` // info, page
	Text     string `json:"text"`
}

// WakeAt asks for a Woke event at that time, or earlier.
type WakeAt struct {
	At time.Time `json:"at"`
}

// Record is a decision and its reason, with the numbers it was taken on.
type Record struct {
	Verdict     Verdict       `json:"verdict"`
	Reason      string        `json:"reason"`
	Ring        int           `json:"ring"`
	Exposed     int64         `json:"exposed"`
	Unconfirmed int64         `json:"unconfirmed"`
	Harmed      int64         `json:"harmed"`
	Evidence    float64       `json:"evidence"` // E
	Alarm       breaker.Alarm `json:"alarm"`
}

// Verdict names a decision.
type Verdict string

// The verdicts.
const (
	DidPropose  Verdict = "proposed"
	DidApprove  Verdict = "approved"
	DidStart    Verdict = "started"
	DidGrant    Verdict = "lease granted"
	DidCount    Verdict = "outcome counted"
	DidAmber    Verdict = "growth frozen"
	DidClear    Verdict = "growth released"
	DidHold     Verdict = "held"
	DidUnhold   Verdict = "hold lifted"
	DidFreeze   Verdict = "freezes changed"
	DidHear     Verdict = "cells heard"
	DidShare    Verdict = "blame shared"
	DidTrip     Verdict = "breaker tripped"
	DidOpenRing Verdict = "ring opened"
	DidComplete Verdict = "completed"
	DidPause    Verdict = "paused"
	DidResume   Verdict = "resumed"
	DidHalt     Verdict = "halted"
	DidRollBack Verdict = "rolled back"
)

func (GrantLease) effect()       {}
func (RefuseLease) effect()      {}
func (PublishDirective) effect() {}
func (RecallRelease) effect()    {}
func (OpenIncident) effect()     {}
func (Notify) effect()           {}
func (WakeAt) effect()           {}
func (Record) effect()           {}
