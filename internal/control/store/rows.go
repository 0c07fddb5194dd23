package store

import (
	"encoding/json"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Token is a credential, of which only the hash is kept.
type Token struct {
	ID      string // public name, for lists and revocation
	Hash    []byte // SHA-256 of the secret
	Kind    TokenKind
	Tenant  fleet.TenantID // join tokens: the tenant of whoever joins with it
	Note    string
	Created time.Time
	Expires time.Time // zero: never
	Left    int64     // join tokens: how many more may join; -1 unlimited
	Revoked time.Time // zero: valid
}

// TokenKind is what a token is good for.
type TokenKind string

// The kinds of tokens.
const (
	OperatorToken TokenKind = "operator"
	JoinToken     TokenKind = "join"
)

// Endpoint is one managed host as last reported.
type Endpoint struct {
	ID         fleet.EndpointID
	Tenant     fleet.TenantID
	Attributes fleet.Attributes
	Labels     fleet.Labels
	Enrolled   time.Time
	LastSeen   time.Time // written behind; may be a little old
	Boot       string    // boot id
	Components json.RawMessage
	ReportSeq  int64 // highest report number stored
	Posture    fleet.Posture
}

// Component is a registered component.
type Component struct {
	Name       string       `json:"name"`
	Kind       release.Kind `json:"kind"`
	Validation string       `json:"validation"` // "required" or "none"
	Plan       string       `json:"plan,omitempty"`
	Created    time.Time    `json:"created"`
}

// Rollout is a rollout with the revision that its next commit must name.
type Rollout struct {
	State    rollout.State
	Revision int64 // number of events stored
	Created  time.Time
}

// Event is one stored event of a rollout, with what Step made of it.
type Event struct {
	Rollout  rollout.ID
	Revision int64 // 1, 2, 3 ...
	At       time.Time
	Name     string          // rollout.EncodeEvent
	Data     json.RawMessage // rollout.EncodeEvent
	Effects  json.RawMessage // rollout.EncodeEffects
}

// Lease is a lease and what became of it. There is at most one for each rollout and endpoint; renewing replaces ID and times.
type Lease struct {
	ID        string
	Rollout   rollout.ID
	Endpoint  fleet.EndpointID
	Tenant    fleet.TenantID
	Site      string
	Stratum   string // slice of the fleet that may fail alone, as fleet.Stratum names it; of the first lease
	Class     string // server, desktop, laptop, or what the host calls itself
	Ring      int
	Issued    time.Time
	Expires   time.Time
	Deadline  time.Time
	Outcome   rollout.Outcome // Pending until known
	Known     time.Time       // when the outcome became known; zero while pending
	Detail    string
	Recovered time.Time // when the host ran its last-known-good release again; zero if it did not
}

// Recall bars a release, and its artifacts under any other name.
type Recall struct {
	Component string
	Version   string
	Manifest  release.Digest
	Artifacts []release.Digest
	Reason    string
	Rollout   rollout.ID
	At        time.Time
}

// Incident is the record opened by a trip.
type Incident struct {
	ID        string
	Rollout   rollout.ID
	Component string
	Version   string
	Title     string
	Opened    time.Time
	Closed    time.Time // zero while open
}

// Directive is a published directive; a component has only its newest.
type Directive struct {
	Component string
	Sequence  int64
	Envelope  []byte // DSSE
	Issued    time.Time
}

// Report is one stored report of an endpoint that the engine has not taken in yet.
type Report struct {
	Arrival  int64 // 1, 2, 3 ... in the order of arrival, with gaps; the store gives it
	Endpoint fleet.EndpointID
	Seq      int64
	Received time.Time
	Data     json.RawMessage // api.Report
}

// Commit is what one event changes, written in one transaction or not at all.
type Commit struct {
	Event    Event
	State    rollout.State // after the event; Event.Revision must be the stored revision + 1, else fault.Conflict
	Lease    *Lease        // upserted by (rollout, endpoint)
	Recall   *Recall       // inserted once by (component, manifest)
	Incident *Incident     // inserted
	Report   *ReportKey    // marked as taken in
}

// ReportKey names a report.
type ReportKey struct {
	Endpoint fleet.EndpointID
	Seq      int64
}

// PlanRow is a stored plan.
type PlanRow struct {
	Plan    plan.Plan
	Updated time.Time
}
