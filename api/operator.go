package api

import (
	"encoding/json"
	"time"
)

// Operator port: JSON over HTTP under /api/v1, with "Authorization: Bearer <token>". Errors are Problems.
//
// The routes with all their parameters and answers are in openapi.json beside this file; the server has it at /api/v1/openapi.json.
//
//	GET    /api/v1/status
//	GET    /api/v1/tokens                     POST, DELETE /api/v1/tokens/{id}
//	GET    /api/v1/components                 GET, PUT /api/v1/components/{name}
//	GET    /api/v1/plans                      GET, PUT /api/v1/plans/{name}     POST /api/v1/plans/check
//	GET    /api/v1/releases?component=        GET /api/v1/releases/{component}/{version}
//	GET    /api/v1/trust/online               GET /api/v1/trust/pending         DELETE /api/v1/trust/pending/{role}
//	POST   /api/v1/trust/metadata/{role}
//	HEAD, GET, PUT /api/v1/blobs/{digest}     GET /tuf/{file}
//	GET    /api/v1/rollouts?component=        POST /api/v1/rollouts
//	GET    /api/v1/rollouts/{id}              POST /api/v1/rollouts/{id}/{pause|resume|halt|rollback}
//	POST   /api/v1/rollouts/{id}/approve      POST /api/v1/rollouts/{id}/{hold|unhold}
//	GET    /api/v1/rollouts/{id}/events       GET /api/v1/rollouts/{id}/leases
//	GET    /api/v1/freezes                    PUT /api/v1/freezes
//	GET    /api/v1/endpoints?after=&limit=    GET /api/v1/endpoints/{id}
//	GET    /api/v1/fleet/profile?component=
//	GET    /api/v1/incidents                  GET /api/v1/incidents/{id}

// Status tells what this installation is.
type Status struct {
	Version     string    `json:"version"`
	Started     time.Time `json:"started"`
	Now         time.Time `json:"now"`
	Endpoints   int       `json:"endpoints"`
	AgentURL    string    `json:"agent_url"`
	Fingerprint string    `json:"ca_fingerprint"` // "sha256:<hex>" of the CA certificate: what a host checks when it joins
}

// Token is a credential. Secret is only there in the answer that creates it.
type Token struct {
	ID      string     `json:"id"`
	Kind    string     `json:"kind"` // operator or join
	Tenant  string     `json:"tenant,omitempty"`
	Note    string     `json:"note,omitempty"`
	Created time.Time  `json:"created"`
	Expires *time.Time `json:"expires,omitempty"`
	Left    int64      `json:"left,omitempty"` // joins left; -1 unlimited
	Revoked *time.Time `json:"revoked,omitempty"`
	Secret  string     `json:"secret,omitempty"`
}

// NewToken asks for a token.
type NewToken struct {
	Kind   string `json:"kind"`
	Tenant string `json:"tenant,omitempty"` // join tokens; default "default"
	Note   string `json:"note,omitempty"`
	TTL    string `json:"ttl,omitempty"`  // as "24h"; empty: operator tokens never expire, join tokens after 24h
	Uses   int64  `json:"uses,omitempty"` // join tokens; 0 means 1, -1 unlimited
}

// ComponentSpec registers a component.
type ComponentSpec struct {
	Name       string `json:"name"`
	Kind       string `json:"kind"`
	Validation string `json:"validation,omitempty"` // required (default) or none
	Plan       string `json:"plan,omitempty"`       // plan that releases are published with by default
}

// Release is one published release.
type Release struct {
	Component string          `json:"component"`
	Version   string          `json:"version"`
	Serial    int64           `json:"serial"`
	Manifest  string          `json:"manifest"` // digest
	Created   time.Time       `json:"created"`
	State     string          `json:"state"` // published or recalled
	Validated bool            `json:"validated"`
	Document  json.RawMessage `json:"document,omitempty"` // the manifest itself, when one release is asked for

	// What follows is there when one release is asked for.
	Signatures []Signature    `json:"signatures,omitempty"` // of the metadata that names it
	Verdicts   []Verdict      `json:"verdicts,omitempty"`   // of validators
	Hosts      int64          `json:"hosts,omitempty"`      // that run it now
	Heard      int64          `json:"heard,omitempty"`      // of them, in the last 15 minutes
	Rollouts   []string       `json:"rollouts,omitempty"`   // ids, newest first
	Recalled   *ReleaseRecall `json:"recalled,omitempty"`
}

// Signature is one that counts: it was verified when the release came.
type Signature struct {
	Role string `json:"role"` // of the metadata
	Key  string `json:"key"`  // its id
}

// Verdict is what a validator said of a release before it was signed.
type Verdict struct {
	Validator string     `json:"validator"`
	Artifact  string     `json:"artifact,omitempty"` // digest of what it looked at
	Passed    bool       `json:"passed"`
	At        *time.Time `json:"at,omitempty"`
	Detail    string     `json:"detail,omitempty"`
}

// ReleaseRecall says when and why a release must not run again anywhere.
type ReleaseRecall struct {
	At      time.Time `json:"at"`
	Reason  string    `json:"reason,omitempty"`
	Rollout string    `json:"rollout"`
}

// PlanCheck is what is wrong with a plan, or its bound.
type PlanCheck struct {
	Plan     json.RawMessage `json:"plan"` // with defaults filled in
	Problems []FieldProblem  `json:"problems,omitempty"`
	Bound    int64           `json:"bound,omitempty"` // harmed hosts at most, on average
	Steps    []string        `json:"steps,omitempty"` // the arithmetic
}

// StoredPlan is a plan that the control plane keeps.
type StoredPlan struct {
	Name    string          `json:"name"`
	Updated time.Time       `json:"updated"`
	Rings   int             `json:"rings"`
	Bound   int64           `json:"bound"` // harmed hosts at most, on average
	Plan    json.RawMessage `json:"plan"`  // the document, defaults filled in
}

// StartRollout pairs a release with a plan.
type StartRollout struct {
	Component string `json:"component"`
	Version   string `json:"version"`
	Plan      string `json:"plan,omitempty"` // a stored plan within the signed one; empty: the plan signed with the release
	Reason    string `json:"reason,omitempty"`
}

// Act is a command on a rollout.
type Act struct {
	Reason string              `json:"reason,omitempty"` // a hold needs one
	Select map[string][]string `json:"select,omitempty"` // hold and unhold: whom; every key must have one of its values
	// Phase is the one in which the rollout was seen. If it is in another one meanwhile nothing is done, and the answer says what happened
	// instead. Empty: whatever happened.
	Phase string `json:"phase,omitempty"`
}

// Rollout is the state of one rollout.
type Rollout struct {
	ID          string     `json:"id"`
	Component   string     `json:"component"`
	Version     string     `json:"version"`
	Manifest    string     `json:"manifest"` // digest
	Plan        string     `json:"plan"`
	Phase       string     `json:"phase"`
	Reason      string     `json:"reason,omitempty"`
	Revision    int64      `json:"revision"`
	Started     time.Time  `json:"started"`
	Ended       *time.Time `json:"ended,omitempty"`
	FirstHarm   *time.Time `json:"first_harm,omitempty"`
	Rings       []Ring     `json:"rings"`
	Ring        int        `json:"ring"` // the open one
	Window      int64      `json:"window"`
	Unconfirmed int64      `json:"unconfirmed"`
	Eligible    int64      `json:"eligible"`
	Exposed     int64      `json:"exposed"`
	Confirmed   int64      `json:"confirmed"`
	Harmed      int64      `json:"harmed"`
	Recovered   int64      `json:"recovered"`
	Returned    int64      `json:"returned"`
	Unfit       *Unfit     `json:"unfit,omitempty"` // hosts that could not survive alone what the plan asks for; nil if there are none
	Evidence    float64    `json:"evidence"`        // E: trips at Trip
	Doubt       float64    `json:"doubt"`           // E without what has a harmless explanation: amber at Amber
	Amber       float64    `json:"amber"`
	Trip        float64    `json:"trip"`
	Alarm       string     `json:"alarm"`
	Waiting     Waiting    `json:"waiting"`
	Missing     []Lack     `json:"missing,omitempty"` // evidence that the open ring lacks
	Incident    string     `json:"incident,omitempty"`

	Emergency bool          `json:"emergency,omitempty"` // of its plan
	Approvals int           `json:"approvals"`           // people who must agree to the start, the one who asked for it included
	Approved  []string      `json:"approved,omitempty"`  // who did, the one who asked for it first
	Holds     []RolloutHold `json:"holds,omitempty"`
	Strata    []Stratum     `json:"strata,omitempty"`   // those in trouble: harmed, suspicious or held; the worst first, at most 20
	Suspects  []Suspect     `json:"suspects,omitempty"` // what explains the harm, the best explanation first; empty if nothing does
	Cell      string        `json:"cell,omitempty"`     // this one, if the plan has cells
	Wave      int           `json:"wave,omitempty"`     // of this cell; 1 is the first
	Cells     []RolloutCell `json:"cells,omitempty"`    // the other ones of the plan
	Arms      []Arm         `json:"arms,omitempty"`     // exposed hosts against controls, once there were comparisons; without strata that are judged alone
}

// Unfit counts hosts that do not get a release because they miss posture that its plan asks for.
type Unfit struct {
	Hosts int64            `json:"hosts"`
	Lacks map[string]int64 `json:"lacks"` // how many of them miss each word
}

// RolloutHold keeps a release from the hosts that it selects.
type RolloutHold struct {
	Select map[string][]string `json:"select"`
	Text   string              `json:"text"` // the selector in words
	Reason string              `json:"reason,omitempty"`
	At     time.Time           `json:"at"`
	By     string              `json:"by"` // an operator, or "breaker"
}

// Stratum is a slice of the fleet that may fail alone.
type Stratum struct {
	Name      string  `json:"name"`
	Leased    int64   `json:"leased"`
	Confirmed int64   `json:"confirmed"`
	Harmed    int64   `json:"harmed"`
	Suspect   bool    `json:"suspect,omitempty"` // it is probed a few hosts at a time
	Held      bool    `json:"held,omitempty"`    // it gets nothing more, and its hosts go back
	Evidence  float64 `json:"evidence"`          // of its own tests: suspicious at Amber
}

// Suspect is an attribute whose value the harmed hosts share.
type Suspect struct {
	Key              string `json:"key"`
	Value            string `json:"value"`
	Harmed           int64  `json:"harmed"`  // hosts with that value
	Exposed          int64  `json:"exposed"` // hosts with that value
	HarmedElsewhere  int64  `json:"harmed_elsewhere"`
	ExposedElsewhere int64  `json:"exposed_elsewhere"`
}

// Waiting says why nobody is being exposed at this moment.
type Waiting struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Lack is evidence that is still missing.
type Lack struct {
	Name string `json:"name"`
	Have string `json:"have"`
	Need string `json:"need"`
}

// Ring is one ring of a rollout with its counts.
type Ring struct {
	Name      string  `json:"name"`
	Size      int64   `json:"size"` // hosts; of a share ring an estimate until it opens
	State     string  `json:"state"`
	Leased    int64   `json:"leased"`
	Confirmed int64   `json:"confirmed"`
	Crashed   int64   `json:"crashed"`
	Reverted  int64   `json:"reverted"`
	Silent    int64   `json:"silent"`
	Goodbye   int64   `json:"goodbye"`
	Late      int64   `json:"late"`
	Rejected  int64   `json:"rejected"`
	Boots     int64   `json:"boots"`
	HostHours float64 `json:"host_hours"`
}

// Decision is one stored event of a rollout and what was decided on it.
type Decision struct {
	Revision int64           `json:"revision"`
	At       time.Time       `json:"at"`
	Event    string          `json:"event"`
	Data     json.RawMessage `json:"data"`
	Records  []Record        `json:"records,omitempty"`
}

// Record is a decision's verdict, its reason and the numbers it was taken on.
type Record struct {
	Verdict     string  `json:"verdict"`
	Reason      string  `json:"reason"`
	Ring        int     `json:"ring"`
	Exposed     int64   `json:"exposed"`
	Unconfirmed int64   `json:"unconfirmed"`
	Harmed      int64   `json:"harmed"`
	Evidence    float64 `json:"evidence"`
	Alarm       string  `json:"alarm"`
}

// LeaseStatus is a lease and what became of it.
type LeaseStatus struct {
	Endpoint  string     `json:"endpoint"`
	Tenant    string     `json:"tenant,omitempty"`
	Site      string     `json:"site,omitempty"`
	Rollout   string     `json:"rollout"`
	Ring      int        `json:"ring"`
	Issued    time.Time  `json:"issued"`
	Deadline  time.Time  `json:"deadline"`
	Outcome   string     `json:"outcome"`
	Known     *time.Time `json:"known,omitempty"`
	Detail    string     `json:"detail,omitempty"`
	Recovered *time.Time `json:"recovered,omitempty"`
}

// Endpoint is one managed host.
type Endpoint struct {
	ID         string               `json:"id"`
	Tenant     string               `json:"tenant"`
	Attributes Attributes           `json:"attributes"`
	Labels     map[string]string    `json:"labels,omitempty"`
	Enrolled   time.Time            `json:"enrolled"`
	LastSeen   time.Time            `json:"last_seen"`
	Components map[string]Component `json:"components,omitempty"`
	Posture    *Posture             `json:"posture,omitempty"` // in the words that the control plane knows; nil if the host has not said it
	Leases     []LeaseStatus        `json:"leases,omitempty"`  // when one endpoint is asked for; the newest 100, newest first
	Revoked    *time.Time           `json:"revoked,omitempty"` // its identity is good for nothing since
	Why        string               `json:"why,omitempty"`     // why it was revoked, and by whom
	Twins      *Twins               `json:"twins,omitempty"`   // when one endpoint is asked for; what speaks for two hosts having this identity
	Reports    []Report             `json:"reports,omitempty"` // when one endpoint is asked for; the last 50 that are kept, newest first
	Next       []Next               `json:"next,omitempty"`    // when one endpoint is asked for; what it would get next, and why not yet
}

// Twins are signs that an identity is used by two hosts, as the replica saw them that answers.
type Twins struct {
	Signs int       `json:"signs"`
	Last  time.Time `json:"last"`
	Sign  string    `json:"sign"` // the last one
}

// EndEndpoint says why an endpoint's identity ends.
type EndEndpoint struct {
	Reason string `json:"reason,omitempty"`
}

// Page is a part of a long list. Next is what to ask on with as after=, empty at the end. A page may be empty and yet have a next one.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// EndpointPage is a page of endpoints. The first page of a filtered list counts.
type EndpointPage struct {
	Page[Endpoint]
	Count     *int64 `json:"count,omitempty"`     // endpoints that the filter lets through
	Estimated bool   `json:"estimated,omitempty"` // Count was worked out of a part of the fleet: looking at all of it would have taken too long
}

// Incident is the record opened by a trip.
type Incident struct {
	ID        string         `json:"id"`
	Rollout   string         `json:"rollout"`
	Component string         `json:"component"`
	Version   string         `json:"version"`
	Title     string         `json:"title"`
	Opened    time.Time      `json:"opened"`
	Closed    *time.Time     `json:"closed,omitempty"`
	ClosedBy  string         `json:"closed_by,omitempty"`
	Note      string         `json:"note,omitempty"`     // of whoever closed it
	Harmed    []LeaseStatus  `json:"harmed,omitempty"`   // when one incident is asked for; the first 10,000
	Crashes   []CrashCluster `json:"crashes,omitempty"`  // what the harmed hosts found, equal crashes together; those of the most hosts first, at most 20
	Timeline  []Decision     `json:"timeline,omitempty"` // the decisions that matter: not every lease
	Summary   *Rollout       `json:"summary,omitempty"`
}

// CrashCluster is equal crashes of several hosts, as the first of them told it.
type CrashCluster struct {
	Signature string    `json:"signature,omitempty"` // the same for equal crashes; empty if the hosts could make out none
	Signal    string    `json:"signal,omitempty"`    // that ended the process
	Status    int       `json:"status,omitempty"`    // that it exited with
	Headline  string    `json:"headline,omitempty"`
	Hosts     int64     `json:"hosts"`
	First     time.Time `json:"first"` // when the first was told
}
