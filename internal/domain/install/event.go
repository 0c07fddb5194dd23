package install

import (
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Event is something that happened on the host.
//
//sumtype:decl
type Event interface{ event() }

// Directed is a verified directive: what should run, what is being rolled out, what must never run, what must not run here for now.
type Directed struct {
	At        time.Time
	Stable    *Target
	Candidate *Target
	Recalls   []Recall
	Holds     []Hold // those that pick this host
}

// Fetched tells that the release is downloaded, verified, staged in a slot and passed its preflight.
type Fetched struct {
	At       time.Time
	Manifest release.Digest
	Artifact release.Digest
	Serial   int64
	Slot     Slot
}

// Failed tells that preparing the release failed.
type Failed struct {
	At       time.Time
	Manifest release.Digest
	Why      string
	Final    bool // trying again would not help: the preflight said no
}

// Leased is a lease that was verified for this endpoint. One that is not for what is ready is given back.
type Leased struct {
	At    time.Time
	Lease Lease
}

// Unfit tells that a lease for this endpoint came that cannot be used: it is past its time, or the metadata here has expired.
type Unfit struct {
	At  time.Time
	Why string
}

// Swapped tells that current shows the next slot.
type Swapped struct{ At time.Time }

// SwapFailed tells that current still shows the old slot.
type SwapFailed struct {
	At  time.Time
	Why string
}

// Proved tells that all probes passed for the whole soak.
type Proved struct {
	At    time.Time
	Watch time.Duration // how long to look for late harm
	Boots bool          // the component matters at boot: it is good only after a Blessed
}

// Blessed tells that a boot that began after the activation of what is current was blessed.
type Blessed struct {
	At      time.Time
	Factory bool // the first release that is good and that this is told of is kept for the boot guard's last resort; otherwise none is
}

// Broke tells that a probe failed or the consumer died.
type Broke struct {
	At      time.Time
	Crashed bool // the consumer died; otherwise a probe said no
	Unwell  bool // the probes said no before the swap too: the release is not to blame
	Why     string
	Crash   *Crash // how it died, if that is known
}

// Crash is how a consumer died.
type Crash struct {
	Signal    string // such as SEGV, or ""
	Status    int    // exit status; -1 if a signal ended it, or if it never started
	Signature string // equal crashes have equal signatures, on whichever host
	Headline  string // the line of its last words that says most
}

// Restored tells that current shows the slot that Restore named, and the consumer was told.
type Restored struct{ At time.Time }

// Restarted tells, first after every start of the agent, what the disk shows. It may also come later, outside of a proof, when the disk
// is not as it was left.
type Restarted struct {
	At      time.Time
	Current Slot
	Gone    []Slot   // slots that the state names and that are not there any more
	Undone  []Undone // what the boot guard or the launcher did about this component since the agent ran last, oldest first
}

// Undone tells that the boot guard or the launcher left a release. For a kind that they cannot switch themselves they only say so, and
// current is as it was.
type Undone struct {
	From       Slot
	Why        string
	Conclusive bool // there is evidence of harm. Otherwise boots or starts just did not end well, which has other reasons too
}

// Left tells that the agent ends in good order.
type Left struct {
	At      time.Time
	Returns bool // at once, as the agent that was activated; otherwise the host is shutting down
}

func (Directed) event()   {}
func (Fetched) event()    {}
func (Failed) event()     {}
func (Leased) event()     {}
func (Unfit) event()      {}
func (Swapped) event()    {}
func (SwapFailed) event() {}
func (Proved) event()     {}
func (Blessed) event()    {}
func (Broke) event()      {}
func (Restored) event()   {}
func (Restarted) event()  {}
func (Left) event()       {}

// Effect is something to be done, after the new state is saved.
//
//sumtype:decl
type Effect interface{ effect() }

// Fetch downloads, verifies, stages and checks a release. Not before NotBefore.
type Fetch struct {
	Target    Target
	NotBefore time.Time
}

// Swap makes current show the slot, once the way back is made.
type Swap struct{ Slot Slot }

// Prove tells the consumer and probes it until the soak is over: up to the first failure while proving, and through all failures, each
// of which is told, while recovering.
type Prove struct{}

// Restore makes current show the slot (none if empty) and tells the consumer. It is tried until it is done.
type Restore struct{ Slot Slot }

// Report tells the control plane an outcome. It is saved with the state, numbered, and sent until it is acknowledged.
type Report struct {
	At      time.Time
	Outcome string // an outcome of a lease, or recovered
	Release Installed
	Detail  string
	Crash   *Crash // of crashed, if it is known
}

func (Fetch) effect()   {}
func (Swap) effect()    {}
func (Prove) effect()   {}
func (Restore) effect() {}
func (Report) effect()  {}

// Outcomes in reports.
const (
	Confirmed = "confirmed"
	Crashed   = "crashed"
	Reverted  = "reverted"
	Rejected  = "rejected"
	Goodbye   = "goodbye"
	Recovered = "recovered"
)
