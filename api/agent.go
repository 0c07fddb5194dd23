// Package api has the wire types: what agents, operators and the control plane say to each other, as JSON over HTTP.
//
// agent.go is the agent port (mTLS), operator.go the operator port (bearer tokens), problem.go the errors of both. The package knows no
// rules and imports nothing of the house, so that other programs may use it.
package api

import (
	"encoding/json"
	"reflect"
	"time"
)

// Paths of the agent port.
const (
	PathEnrol      = "/v1/enrol"       // POST EnrolRequest; the only one without a client certificate
	PathRenew      = "/v1/renew"       // POST RenewRequest
	PathCheckIn    = "/v1/checkin"     // POST CheckIn
	PathEvents     = "/v1/events"      // GET: server-sent events that say "look" when something changed; 204 unless the endpoint is exposed
	PathDirectives = "/v1/directives/" // GET <component>: a DSSE envelope of a Directive
	PathTUF        = "/tuf/"           // GET <N>.root.json, timestamp.json, <N>.snapshot.json, <N>.<role>.json, targets/...
	PathArtifacts  = "/v1/artifacts/"  // GET sha256:<hex>; ranges are served
)

// DSSE payload types.
const (
	DirectiveType = "application/vnd.firebreak.directive.v1+json"
	LeaseType     = "application/vnd.firebreak.lease.v1+json"
)

// EnrolRequest turns a join token and a certificate request into an identity.
type EnrolRequest struct {
	Token      string            `json:"token"`
	CSR        []byte            `json:"csr"` // PKCS #10, DER; its key becomes the endpoint's identity
	Attributes Attributes        `json:"attributes"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// EnrolReply is the identity, and what the endpoint must trust from now on.
type EnrolReply struct {
	Endpoint    string `json:"endpoint"` // id, derived from the key
	Tenant      string `json:"tenant"`
	Certificate []byte `json:"certificate"` // DER
	CA          []byte `json:"ca"`          // DER
	Root        []byte `json:"root"`        // the newest TUF root, or empty while the publisher has not made one
}

// RenewRequest asks for a new certificate for the same key. The old one authenticates it.
type RenewRequest struct {
	CSR []byte `json:"csr"`
}

// RenewReply carries the new certificate, DER.
type RenewReply struct {
	Certificate []byte `json:"certificate"`
}

// Attributes are what an endpoint says of itself.
type Attributes struct {
	OS      string `json:"os,omitempty"`
	Version string `json:"version,omitempty"`
	Kernel  string `json:"kernel,omitempty"`
	Arch    string `json:"arch,omitempty"`
	Class   string `json:"class,omitempty"` // server, desktop or laptop
	Region  string `json:"region,omitempty"`
	Site    string `json:"site,omitempty"`
}

// CheckIn is what an agent sends on every poll. Parts that did not change since the last acknowledged check-in are left out, so a
// check-in that changes nothing is an almost empty object.
type CheckIn struct {
	Attributes *Attributes          `json:"attributes,omitempty"` // when changed, and first after a start
	Components map[string]Component `json:"components,omitempty"` // when any changed, all of them; and first after a start
	Reports    []Report             `json:"reports,omitempty"`    // in ascending Seq; sent until acknowledged
	Wishes     []Wish               `json:"wishes,omitempty"`     // leases asked for
	Boot       string               `json:"boot,omitempty"`       // boot id, first after a start
	Leaving    bool                 `json:"leaving,omitempty"`    // the agent stops in good order: no word after this one is no silence
	Posture    *Posture             `json:"posture,omitempty"`    // when changed, and first after a start
}

// Posture is what a host could survive alone, in words such as "watchdog" or "guard". Agent and control plane may not know the same words.
type Posture struct {
	Have    []string `json:"have,omitempty"`
	Missing []string `json:"missing,omitempty"`
}

// Component is the state of one component on an endpoint.
type Component struct {
	Kind     string `json:"kind"`
	Version  string `json:"version,omitempty"`  // what runs; empty if nothing was ever activated
	Artifact string `json:"artifact,omitempty"` // its digest
	Previous string `json:"previous,omitempty"` // version that a revert goes back to
	Consumer string `json:"consumer,omitempty"` // version of what reads it, as the host's owner wrote it down
	Phase    string `json:"phase"`              // of the install machine
	Why      string `json:"why,omitempty"`      // why it is not further, for people
	// Refuses are digests of manifests that this host does not try at present: it was harmed by them, or its preflight said no.
	Refuses []string `json:"refuses,omitempty"`
}

// Equal tells whether nothing is to be told.
func (c Component) Equal(other Component) bool {
	return reflect.DeepEqual(c, other)
}

// Report is one outcome, numbered by the endpoint: a number that was acknowledged is never sent again and never counted twice.
type Report struct {
	Seq       int64     `json:"seq"`
	At        time.Time `json:"at"` // by the endpoint's clock
	Component string    `json:"component"`
	Rollout   string    `json:"rollout,omitempty"`
	Release   string    `json:"release,omitempty"` // version
	Manifest  string    `json:"manifest,omitempty"`
	Outcome   string    `json:"outcome"` // confirmed, crashed, reverted, rejected, goodbye, recovered, booted
	Detail    string    `json:"detail,omitempty"`
	Crash     *Crash    `json:"crash,omitempty"` // of crashed, when the endpoint saw how the consumer died
}

// Crash is how a consumer died.
type Crash struct {
	Signal    string `json:"signal,omitempty"` // such as SEGV, or ""
	Status    int    `json:"status"`           // exit status; -1 if a signal ended it, or if it never started
	Signature string `json:"signature"`        // equal crashes have equal signatures on all hosts
	Headline  string `json:"headline"`         // the line of its last words that says most, at most 200 bytes
}

// Outcomes that only travel in reports: what an endpoint says beyond the outcomes of a lease.
const (
	OutcomeRecovered = "recovered" // a host that was harmed, recalled or held runs its last-known-good release again, and its probes pass
	OutcomeBooted    = "booted"    // a host that runs the release was booted since
)

// Wish asks for a lease to activate one release now. It is only sent when the release is prepared.
type Wish struct {
	Component string `json:"component"`
	Rollout   string `json:"rollout"`
	Manifest  string `json:"manifest"` // digest of the manifest
}

// CheckInReply answers a check-in.
type CheckInReply struct {
	Ack        int64             `json:"ack,omitempty"`        // reports up to this Seq are stored; 0 when none were sent
	Directives map[string]int64  `json:"directives,omitempty"` // sequence of the newest directive by component of this endpoint
	Leases     []json.RawMessage `json:"leases,omitempty"`     // DSSE envelopes of Lease
	Refusals   []Refusal         `json:"refusals,omitempty"`   // wishes that have to wait, and why
	PollMillis int64             `json:"poll_ms"`              // come back after about this long; the agent adds jitter
	Resync     bool              `json:"resync,omitempty"`     // the server does not know this endpoint's state: send everything next time
	Reported   int64             `json:"reported,omitempty"`   // highest report number ever stored; an agent that lost its memory counts on from there
	Now        time.Time         `json:"now"`                  // the server's time; informs, proves nothing
}

// Refusal says why a wish was not granted.
type Refusal struct {
	Component string `json:"component"`
	Reason    string `json:"reason"`
}

// Directive is the payload of a signed, static document: what should run of one component. The same bytes serve every endpoint; each
// decides for itself whether it is eligible. Sequence only grows; an endpoint never accepts an older or an expired one.
type Directive struct {
	Component string     `json:"component"`
	Sequence  int64      `json:"sequence"`
	Issued    time.Time  `json:"issued"`
	Expires   time.Time  `json:"expires"`
	Stable    *Target    `json:"stable,omitempty"`    // what every eligible endpoint should run
	Candidate *Target    `json:"candidate,omitempty"` // what is being rolled out
	Recalls   []Recalled `json:"recalls,omitempty"`   // all releases of the component that must never run again
}

// Target names a release and the rollout that hands out its leases.
type Target struct {
	Version  string `json:"version"`
	Serial   int64  `json:"serial"`   // of the release; the manifest has the word
	Manifest string `json:"manifest"` // digest of the manifest
	Rollout  string `json:"rollout"`
	Paused   bool   `json:"paused,omitempty"` // prepare, but do not ask for leases
	Holds    []Hold `json:"holds,omitempty"`  // at most 1,000
}

// Hold keeps endpoints from a release for as long as the directive says so: those that it picks neither prepare the release nor ask for
// leases of it, and go back from it if they have it. An endpoint that does not know one of the keys counts as picked by that key.
type Hold struct {
	Select map[string][]string `json:"select"` // every key must have one of its values; without a key it picks all
	Reason string              `json:"reason,omitempty"`
}

// Recalled names a release that must not run again anywhere.
type Recalled struct {
	Version   string   `json:"version"`
	Manifest  string   `json:"manifest"`
	Artifacts []string `json:"artifacts"` // digests: they stay recalled under any other name
	Reason    string   `json:"reason,omitempty"`
}

// Lease is the payload of a signed permission: this endpoint may activate this release now.
type Lease struct {
	ID        string    `json:"id"`
	Endpoint  string    `json:"endpoint"`
	Component string    `json:"component"`
	Rollout   string    `json:"rollout"`
	Manifest  string    `json:"manifest"` // digest of the manifest
	Ring      int       `json:"ring"`
	Started   time.Time `json:"started"` // of the rollout; the signed plan says how long after it the ring may open
	Issued    time.Time `json:"issued"`
	Expires   time.Time `json:"expires"`  // the activation must begin before
	Deadline  time.Time `json:"deadline"` // no word until then counts as silent
}
