package install

import (
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Phase is what the machine is doing.
type Phase string

// The phases.
const (
	Idle       Phase = "idle"
	Fetching   Phase = "fetching"   // download, verify, stage, preflight
	Ready      Phase = "ready"      // staged; asks for a lease
	Activating Phase = "activating" // journaled; the swap may or may not have happened
	Proving    Phase = "proving"    // swapped; probes decide
	Reverting  Phase = "reverting"  // going back; may be tried any number of times
	Recovering Phase = "recovering" // went back; probes must pass once more
)

// rests tells whether nothing is being activated or left.
func (p Phase) rests() bool { return p == Idle || p == Fetching || p == Ready }

// Slot names a staged release at the installer; empty means none.
type Slot string

// Unknown is what an installer calls current when it is neither one release nor another: half done, or mixed by hand.
const Unknown Slot = "?"

// Installed is a release in a slot.
type Installed struct {
	Version  string         `json:"version,omitempty"`
	Serial   int64          `json:"serial,omitempty"`
	Manifest release.Digest `json:"manifest,omitempty"`
	Artifact release.Digest `json:"artifact,omitempty"`
	Slot     Slot           `json:"slot,omitempty"`
	Rollout  string         `json:"rollout,omitempty"` // that brought it
}

// Target is a release that the directive names.
type Target struct {
	Version  string         `json:"version"`
	Serial   int64          `json:"serial"`
	Manifest release.Digest `json:"manifest"`
	Rollout  string         `json:"rollout"`
	Paused   bool           `json:"paused,omitempty"`
}

// Lease is a verified permission.
type Lease struct {
	ID       string         `json:"id"`
	Rollout  string         `json:"rollout"`
	Manifest release.Digest `json:"manifest"`
	Expires  time.Time      `json:"expires"`
}

// Refusal is a release that this host does not try, and why.
type Refusal struct {
	Manifest release.Digest `json:"manifest"`
	Artifact release.Digest `json:"artifact,omitempty"`
	Why      string         `json:"why"`
	Until    time.Time      `json:"until,omitzero"` // zero: for good
}

// Recall names a release that must not run, and its artifacts, which must not run under any name.
type Recall struct {
	Manifest  release.Digest
	Artifacts []release.Digest
}

// Hold names a release that this host does not get for as long as the directive at hand says so, and why. Unlike a recall it is not
// remembered: once it is lifted, the host may ask for the release again.
type Hold struct {
	Manifest release.Digest
	Why      string
}

// State is all that the machine remembers of one component.
type State struct {
	Component string    `json:"component"`
	Phase     Phase     `json:"phase"`
	Current   Installed `json:"current"`           // what consumers read
	Good      Installed `json:"good"`              // last-known-good: blessed after its soak
	Previous  Installed `json:"previous"`          // the good one before Good
	Next      Installed `json:"next"`              // being prepared, activated or proved; while going back, the one that is left
	Lease     *Lease    `json:"lease,omitempty"`   // from activating until proved or reverted
	Paused    bool      `json:"paused,omitempty"`  // do not ask for a lease
	Why       string    `json:"why,omitempty"`     // why it is not further, for people
	RetryAt   time.Time `json:"retry_at,omitzero"` // earliest next try of what failed
	Tries     int       `json:"tries,omitempty"`   // failed tries, or deaths while proving
	Watched   time.Time `json:"watched,omitzero"`  // late harm of Current is looked for until then
	Refused   []Refusal `json:"refused,omitempty"` // newest last, at most maxRefused
	Harmed    bool      `json:"harmed,omitempty"`  // going back because of harm, not of a recall or a hold

	// Unbooted says that Current was proved and is confirmed, but matters at boot: it becomes Good only once a boot with it was blessed.
	// Until then the way back leads to Good, as before.
	Unbooted bool `json:"unbooted,omitempty"`

	// Factory is the first release that a boot was blessed with, on a host that keeps it for the boot guard's last resort.
	Factory Installed `json:"factory,omitzero"`

	// Recalled has the digests of manifests and artifacts that must not run again. It never forgets: once it is full, newer recalls bind
	// only while the directive at hand names them. So whoever steals the directive's key cannot flood older recalls away (I9).
	Recalled []release.Digest `json:"recalled,omitempty"`
}

// Bounds. They keep the state below 64 KiB, whatever comes in, so that it always fits into the journal.
const (
	maxTold     = 8 // refusals that the control plane is told of
	maxRefused  = 32
	maxRecalled = 384
	maxWhy      = 300 // bytes
	maxRefusal  = 300 // bytes
	maxDetail   = 500 // bytes
)

const (
	maxDeaths     = 3 // of agent or host while proving, before the release is to blame
	rejectedFor   = time.Hour
	doubtedFor    = 24 * time.Hour // a release that the host was brought back from, for what may have had other reasons
	firstRetry    = time.Second
	longestRetry  = 5 * time.Minute
	diskTries     = 5                // a failed swap waits as if it had failed so often: what filled the disk takes its time
	recoverWithin = 10 * time.Minute // a recovery whose probes still fail then may be ended by another release
)

// Wish tells the rollout and manifest to ask a lease for, if one is to be asked for at time t.
func (s State) Wish(t time.Time) (rollout string, manifest release.Digest, ok bool) {
	if s.Phase != Ready || s.Paused || ahead(t, s.RetryAt, longestRetry) {
		return "", "", false
	}
	return s.Next.Rollout, s.Next.Manifest, true
}

// Keep lists the slots that must stay on disk, in the order of names.
func (s State) Keep() []Slot {
	slots := []Slot{s.Current.Slot, s.Good.Slot, s.Previous.Slot, s.Next.Slot, s.Factory.Slot}
	slots = slices.DeleteFunc(slots, func(x Slot) bool { return x == "" })
	slices.Sort(slots)
	return slices.Compact(slots)
}

// Refuses lists the manifests that this host does not try at time t, newest first, at most maxTold.
func (s State) Refuses(t time.Time) []release.Digest {
	var all []release.Digest
	for _, r := range slices.Backward(s.Refused) {
		if len(all) < maxTold && (r.Until.IsZero() || t.Before(r.Until)) {
			all = append(all, r.Manifest)
		}
	}
	return all
}

const wasRecalled = "it was recalled"

// refused tells whether this host does not try the release, and why.
func (s State) refused(manifest, artifact release.Digest, at time.Time) (string, bool) {
	if s.recalled(Installed{Manifest: manifest, Artifact: artifact}) {
		return wasRecalled, true
	}
	for _, r := range s.Refused {
		same := r.Manifest == manifest || artifact != "" && r.Artifact == artifact
		if same && r.holds(at) {
			return r.Why, true
		}
	}
	return "", false
}

func (s State) recalled(i Installed) bool {
	return i.Manifest != "" && slices.Contains(s.Recalled, i.Manifest) || i.Artifact != "" && slices.Contains(s.Recalled, i.Artifact)
}

func (r Refusal) holds(at time.Time) bool { return r.Until.IsZero() || ahead(at, r.Until, doubtedFor) }

// outlasts tells whether a refusal binds for longer than another.
func (r Refusal) outlasts(o Refusal) bool {
	return !o.Until.IsZero() && (r.Until.IsZero() || r.Until.After(o.Until))
}

// ahead tells whether a time that was set at most so far ahead has still to come. One that lies further ahead than it was ever set was
// set before somebody turned the clock back: waiting for it could take a year.
func ahead(now, t time.Time, atMost time.Duration) bool { return now.Before(t) && t.Sub(now) <= atMost }

// clip makes text fit into a line of the journal, at most n bytes of it.
func clip(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "")
}
