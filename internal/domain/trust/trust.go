// Package trust decides what an endpoint may believe: bytes and a time in, verdicts out. It does no I/O and reads no clock.
//
// There are two kinds of signed words. What a release is comes from a TUF repository whose release keys never
// leave the publisher: [View] walks its metadata. What should happen now comes in DSSE envelopes, directives and leases, signed by the
// director keys that the repository names: [OpenDirective] and [OpenLease].
//
// Every error says which file or envelope was refused and why. Its kind tells the two reasons apart that matter: fault.Denied is
// forged, replayed or not for us, and must never be acted on; fault.Unavailable is genuine but expired or not there, which stops new
// activations and nothing else.
//
// Only Ed25519 keys are accepted. The other half of the package ([NewRoot], [Sign], [Tally] and so on) writes the same documents: for
// the publisher, the repository and tests.
package trust

import (
	"fmt"
	"strings"
	"time"
)

// Names of roles. A component's role is named as the component.
const (
	RoleRoot      = "root"
	RoleTargets   = "targets"
	RoleSnapshot  = "snapshot"
	RoleTimestamp = "timestamp"
	RoleDirector  = "director" // delegated; exists to name the keys of directives and leases
)

// ManifestName is the target that describes a release. No artifact may have that name.
const ManifestName = "release.json"

// Limits of what is read before its signature is known to be good, in bytes. Whoever fetches must not read more than [MaxMetadata].
const (
	MaxRoot      = 512 << 10
	MaxTimestamp = 16 << 10
	MaxSnapshot  = 2 << 20
	MaxMetadata  = 5 << 20
	MaxEnvelope  = 1 << 20
)

// MaxSkew is how far a signed time may lie ahead of this host's clock before the clock is called wrong.
const MaxSkew = 5 * time.Minute

// LeaseSkew is how far a host's clock may be ahead before every lease has expired on arrival.
const LeaseSkew = 2 * time.Minute

// Reserved tells whether a component may not have this name, because the repository uses it itself.
func Reserved(name string) bool {
	switch name {
	case RoleRoot, RoleTargets, RoleSnapshot, RoleTimestamp, RoleDirector:
		return true
	default:
		return false
	}
}

// TargetPath is the path of one file of a release in the repository.
func TargetPath(component, version, name string) string {
	return component + "/" + version + "/" + name
}

// SplitTarget takes the path of a release's file apart.
func SplitTarget(path string) (component, version, name string, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || parts[2] == "" {
		return "", "", "", false
	}
	return parts[0], parts[1], parts[2], true
}

// Paths are the target paths that a role may speak for.
func Paths(role string) []string { return []string{role + "/*", role + "/*/*"} }

// FileName is the name under which one version of a role's metadata is served.
func FileName(role string, version int64) string {
	if role == RoleTimestamp {
		return "timestamp.json"
	}
	return fmt.Sprintf("%d.%s.json", version, role)
}

// Custom is what a release's manifest target carries besides length and hash, so that order and floor are known without the manifest.
type Custom struct {
	Serial int64 `json:"serial"`
	Floor  int64 `json:"floor"`
}

// LowerBound is the time that it is at least: the host's clock, or the newest signed time that it ever saw if the clock is behind that.
// Use it to judge expiry, so that a clock that jumps back revives nothing.
func LowerBound(wall, newestSigned time.Time) time.Time {
	if newestSigned.After(wall) {
		return newestSigned
	}
	return wall
}

// Newest is the newest signed time to remember after seeing signed. A time that lies ahead of the host's clock is not remembered: a
// stolen online key could otherwise make everything look expired for good, and a wrong clock would never get right again.
func Newest(newest, signed, wall time.Time) time.Time {
	if signed.After(newest) && !signed.After(wall.Add(MaxSkew)) {
		return signed
	}
	return newest
}
