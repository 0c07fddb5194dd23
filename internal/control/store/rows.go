package store

import (
	"encoding/json"
	"slices"
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
	PeerToken     TokenKind = "peer" // another control plane's: it may read how a release stands
)

// Endpoint is one managed host as last reported.
type Endpoint struct {
	Number     int64 // 1, 2, 3 ... with gaps; the store gives it at enrolment, and it stays
	ID         fleet.EndpointID
	Tenant     fleet.TenantID
	Attributes fleet.Attributes
	Labels     fleet.Labels // of one that was read: others may have the same map, so it must not be changed
	Enrolled   time.Time
	LastSeen   time.Time // written behind; may be a little old
	Boot       string    // boot id
	Components json.RawMessage
	ReportSeq  int64 // highest report number stored
	Posture    fleet.Posture
	Change     int64 // grows over all endpoints whenever one enrols or is saved; the store gives it
	Ending     Ending
	Ended      time.Time // when it was revoked or removed; zero: it was not
	Why        string    // the reason that was given for it, and by whom
}

// Ending is how an endpoint's identity ended.
type Ending string

// The endings.
const (
	Enrolled Ending = ""        // it did not
	Revoked  Ending = "revoked" // its key is good for nothing any more, and cannot join again
	Removed  Ending = "removed" // it is not managed any more, and may join again
)

// Seen is when an endpoint was last seen.
type Seen struct {
	Number int64 // of the endpoint
	At     time.Time
}

// EndpointReports are the reports of one endpoint.
type EndpointReports struct {
	Endpoint fleet.EndpointID
	Number   int64    // of the endpoint, if the caller knows it; with 0 it is looked up
	Reports  []Report // only Seq and Data are looked at
}

// Stored tells what became of one endpoint's reports.
type Stored struct {
	Highest int64 // the highest number ever stored, which may be acknowledged
	Err     error // a fault.NotFound if there is no such endpoint; then none of its reports is stored
}

// Hearing is what a replica wrote of the endpoints it heard.
type Hearing struct {
	Number  int64 // 1, 2, 3 ... in the order of commits; the store gives it
	Replica string
	At      time.Time     // by the replica's clock
	Age     time.Duration // since it was written, by the database's clock; never below 0
	Data    []byte
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
	Listed   rollout.Phase // by which lists pick it: that of State, but after a version of before has written it
	Incident string        // id of the newest incident that it opened; empty: it opened none
}

// RolloutQuery says which rollouts are wanted. Zero fields ask for nothing.
type RolloutQuery struct {
	Component string
	Version   string          // of the release
	Active    bool            // only those that have not ended: proposed, running and paused
	Phases    []rollout.Phase // only those in one of these phases
	Behind    rollout.ID      // only those that are older than this one, which must be there
	Limit     int             // so many at most; 0 means all
}

// Wants tells whether the state is one that is asked for, wherever it stands in the list.
func (q *RolloutQuery) Wants(s *rollout.State) bool {
	return (q.Component == "" || s.Release.Component == q.Component) && (q.Version == "" || s.Release.Version == q.Version) && q.WantsPhase(s.Phase)
}

// WantsPhase is [RolloutQuery.Wants] as far as a phase goes.
func (q *RolloutQuery) WantsPhase(p rollout.Phase) bool {
	return (!q.Active || slices.Contains(activePhases(), p)) && (len(q.Phases) == 0 || slices.Contains(q.Phases, p))
}

// activePhases are those of rollouts that have not ended.
func activePhases() []rollout.Phase {
	return []rollout.Phase{rollout.Proposed, rollout.Running, rollout.Paused}
}

// Event is one stored event of a rollout, with what Step made of it.
type Event struct {
	Rollout  rollout.ID
	Revision int64 // 1, 2, 3 ...
	At       time.Time
	Name     string          // rollout.EncodeEvent
	Data     json.RawMessage // rollout.EncodeEvent
	Effects  json.RawMessage // rollout.EncodeEffects
	Notable  Notable
}

// Notable is how much an event has to say to people. Events from before it was noted all matter.
type Notable int64

// How much it is.
const (
	Routine Notable = 0 // a lease, a look at the fleet, an outcome that harms nobody
	Matters Notable = 1 // something was decided, or one of the first hosts was harmed
	Another Notable = 2 // one more host was harmed, after many
)

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
	Closer    string    // who closed it
	Note      string    // and what they said
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

// Commit is what some events of one rollout change together, written in one transaction or not at all.
type Commit struct {
	Events   []Event       // at least one, in order; their revisions follow the stored one without a gap, else fault.Conflict
	State    rollout.State // after the last event
	Leases   []Lease       // upserted by (rollout, endpoint); of several for one endpoint the last counts
	Recall   *Recall       // inserted once by (component, manifest)
	Incident *Incident     // inserted
	Reports  []ReportKey   // marked as taken in; each must not have been before, else fault.Conflict
}

// ReportKey names a report.
type ReportKey struct {
	Endpoint fleet.EndpointID
	Seq      int64
}

// Sample is how many hosts there were at a time: of a version of a component, or of the whole fleet if both are empty.
type Sample struct {
	At        time.Time
	Component string
	Version   string
	Hosts     int64
	Heard     int64 // of them, lately
}

// PlanRow is a stored plan.
type PlanRow struct {
	Plan    plan.Plan
	Updated time.Time
}
