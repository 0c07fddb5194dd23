// Package installer is how releases get onto a host: one small interface, and one implementation per kind of component below it.
//
// A release is staged into a slot of its own, checked there, and activated by a switch that is one atomic step. Before the switch the
// way back is made, so that reverting needs no network, no free space and no control plane (I5), also after a crash at any moment.
package installer

import (
	"context"

	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// Slot names one staged release of a component on this host; "" means none.
type Slot = slots.Slot

// SlotOf names the slot of a release's artifact: its version, for people, and enough of its digest to be unique.
func SlotOf(version string, digest release.Digest) Slot { return Slot(version + "-" + digest.Short()) }

// Stage is what to stage.
type Stage struct {
	Version  string
	Artifact release.Artifact
	Path     string // the downloaded artifact
}

// Inspection is what an installer finds on the host.
type Inspection struct {
	Current  Slot   // what the consumer finds
	Previous Slot   // what was current before, and the way back to it is there; "" if there is none
	Slots    []Slot // all that are staged, in the order of names
}

// Installer installs one component. Implementations pass installertest.Run. Methods are called one at a time; consumers read at any
// moment.
type Installer interface {
	// Stage puts a release into its slot without touching what runs. It verifies size and digest and refuses what is unsafe to unpack
	// (fault.Denied, fault.Invalid). Staging again what is staged does nothing.
	Stage(ctx context.Context, s Stage) (Slot, error)
	// Check runs the component's validator on a staged slot. fault.Invalid means that it says no, fault.Unavailable that it could not
	// be run; neither is a verdict in favour.
	Check(ctx context.Context, s Slot) error
	// Activate makes a staged slot current, having made the way back first: to back, the last-known-good slot, or "" if there is none.
	// After an error the old slot or the new one is current: Inspect tells which.
	Activate(ctx context.Context, s, back Slot) error
	// Revert makes a slot current that was so before; "" takes the component away. It needs no space when to is the way
	// back of the last activation. Reverting to what is current does nothing.
	Revert(ctx context.Context, to Slot) error
	// Inspect tells what is on the host. A current slot that somebody removed counts as none.
	Inspect(ctx context.Context) (Inspection, error)
	// Collect removes the slots that are neither kept, current nor previous, and whatever an interrupted call left behind.
	Collect(ctx context.Context, keep []Slot) error
}

// Settler is an installer that sets something aside for the way back, which other installers need not. Settle gives it up, once the release
// is good. It does nothing if there is nothing, and must not be called while another method activates or reverts.
type Settler interface {
	Settle() error
}
