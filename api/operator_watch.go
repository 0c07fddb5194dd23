package api

import (
	"encoding/json"
	"time"
)

// Overview is what is going on: the first thing that somebody with a pager wants to know. Its lists are maps by id, so that a patch of the
// live stream names what it changes.
type Overview struct {
	At        time.Time            `json:"at"`
	Fleet     FleetState           `json:"fleet"`
	Running   int64                `json:"running"`   // rollouts that expose hosts, or may: what a halt of everything stops
	Rollouts  map[string]Rollout   `json:"rollouts"`  // by id: those that have not ended, and those that ended in the last 24 hours; at most 50, those with an alarm first, then what has not ended
	Phases    map[string]int64     `json:"phases"`    // how many rollouts there are in each phase, all of them
	Incidents map[string]Incident  `json:"incidents"` // by id: the open ones, newest first; at most 50
	Attention map[string]Attention `json:"attention"` // what needs a person, by kind and id; at most 100
	Freezes   []string             `json:"freezes"`   // those in force, each with its end in words
	Health    []HealthCheck        `json:"health"`    // what /readyz looks at, as this replica found it last
}

// Attention is one thing that needs a person, and where to go for it.
type Attention struct {
	Rank  int        `json:"rank"`            // 0 is the most urgent
	Kind  string     `json:"kind"`            // incident, health, amber, silence, approval, gate, paused, hold, unfit, risk
	Text  string     `json:"text"`            // what it is and what to do, in a sentence or two
	About string     `json:"about"`           // rollout, incident, fleet or health
	ID    string     `json:"id,omitempty"`    // of the rollout or incident; the name of the check
	Since *time.Time `json:"since,omitempty"` // if it is known
}

// HealthCheck is what a check of /readyz found last.
type HealthCheck struct {
	Name  string    `json:"name"`
	OK    bool      `json:"ok"`
	Since time.Time `json:"since"`
	Why   string    `json:"why,omitempty"`
	Next  string    `json:"next,omitempty"`
}

// FleetState is how the fleet is at this moment, counted in memory by the replica that answers.
type FleetState struct {
	At        time.Time        `json:"at"`
	Component string           `json:"component,omitempty"` // only hosts that have it; empty: all
	Endpoints int64            `json:"endpoints"`
	Heard     int64            `json:"heard"`           // in the last 15 minutes
	Silent    int64            `json:"silent"`          // not heard in the last 15 minutes
	Refusing  int64            `json:"refusing"`        // do not try some release at present: it harmed them, its preflight said no, or it was recalled while they prepared it
	AtRisk    int64            `json:"at_risk"`         // would not survive a panic in every boot: they miss panic-reboot, guard, guard-enabled or good, so that only a person brings them back
	Versions  []VersionCount   `json:"versions"`        // by component, then the most hosts first; at most 20 of a component and one that sums up the rest
	Lacks     map[string]int64 `json:"lacks,omitempty"` // how many hosts miss each word of posture; those that have not said it miss all
	Classes   map[string]int64 `json:"classes,omitempty"`
	Sites     map[string]int64 `json:"sites,omitempty"`     // the 20 largest
	Estimated bool             `json:"estimated,omitempty"` // counted on a part of the fleet
}

// VersionCount is how many hosts run a version of a component.
type VersionCount struct {
	Component string `json:"component"`
	Version   string `json:"version,omitempty"` // empty: nothing was ever activated
	Hosts     int64  `json:"hosts"`
	Heard     int64  `json:"heard"`
	Summed    int64  `json:"summed,omitempty"` // so many versions in one
}

// FleetHistory is how the fleet was, in samples of a minute or more.
type FleetHistory struct {
	Since   time.Time     `json:"since"`
	Until   time.Time     `json:"until"`
	Samples []FleetSample `json:"samples"` // of the whole fleet, or of the versions of the component that was asked for, in the order of time; one of a version is there when it changed
}

// FleetSample is a count at a time: of the whole fleet, if it names no component.
type FleetSample struct {
	At        time.Time `json:"at"`
	Component string    `json:"component,omitempty"`
	Version   string    `json:"version,omitempty"`
	Hosts     int64     `json:"hosts"`
	Heard     int64     `json:"heard"` // in the minutes before
}

// RolloutSeries is a rollout's course, as its stored decisions have it.
type RolloutSeries struct {
	Rollout string        `json:"rollout"`
	Amber   float64       `json:"amber"`
	Trip    float64       `json:"trip"`
	Points  []SeriesPoint `json:"points"`            // in the order of revisions
	Sampled bool          `json:"sampled,omitempty"` // not every decision was looked at; the first and the last were
}

// SeriesPoint is where a rollout stood after a decision.
type SeriesPoint struct {
	Revision    int64     `json:"revision"`
	At          time.Time `json:"at"`
	Ring        int       `json:"ring"`
	Exposed     int64     `json:"exposed"`
	Unconfirmed int64     `json:"unconfirmed"`
	Harmed      int64     `json:"harmed"`
	Evidence    float64   `json:"evidence"`
	Alarm       string    `json:"alarm"`
}

// Arm is one comparison of exposed hosts with controls over the same minutes.
type Arm struct {
	Name           string  `json:"name"` // silence, slowness or goodbyes
	Exposed        int64   `json:"exposed"`
	ExposedHarmed  int64   `json:"exposed_harmed"`
	Controls       int64   `json:"controls"`
	ControlsHarmed int64   `json:"controls_harmed"`
	Evidence       float64 `json:"evidence"`
}

// StreamEvent is the data of one event of the live stream. What it says is the event's name:
//
//   - snapshot: Value is all of the topic. What came before it counts no more.
//   - patch: Patch is a JSON merge patch (RFC 7396) of the value that the stream sent before. Members that are null are left out of values,
//     so a null in a patch always takes a member away.
//   - gone: the topic has nothing to show, and Gone says why. If that changes a snapshot follows.
//   - stale: what was sent last may be old, and Stale says why; At is when it was good last, if it ever was.
//   - fresh: that is over. If the value has changed meanwhile a patch follows.
//   - bye: the stream ends, and Bye says why. It has no topic.
type StreamEvent struct {
	Topic string          `json:"topic"`
	Value json.RawMessage `json:"value,omitempty"`
	Patch json.RawMessage `json:"patch,omitempty"`
	Gone  string          `json:"gone,omitempty"`
	Stale string          `json:"stale,omitempty"`
	At    *time.Time      `json:"at,omitempty"`
	Bye   string          `json:"bye,omitempty"`
}

// Topics of the live stream: TopicOverview is an Overview, TopicRollout and an id a Rollout, TopicTimeline and an id a map of Decisions by revision, the newest
// 200 that matter.
const (
	TopicOverview = "overview"
	TopicRollout  = "rollout:"
	TopicTimeline = "timeline:"
)

// HaltRollouts asks to halt rollouts. It is safe to send again.
type HaltRollouts struct {
	Reason   string   `json:"reason,omitempty"`
	Rollouts []string `json:"rollouts,omitempty"` // ids; empty: all that are proposed, running or paused
}

// Halted says what was stopped. It is answered within a second, whatever the database does.
type Halted struct {
	At       time.Time       `json:"at"`
	Rollouts []HaltedRollout `json:"rollouts"`  // empty: nothing was running
	InFlight int64           `json:"in_flight"` // hosts that hold a lease of them without an outcome yet
}

// What became of a rollout that was to be halted.
const (
	HaltDone    = "halted"  // it is stored
	HaltHolding = "holding" // nobody gets a lease any more, and it is stored as soon as the database lets it
	HaltEnded   = "ended"   // there was nothing to stop
	HaltFailed  = "failed"
)

// HaltedRollout is one rollout that was to be halted.
type HaltedRollout struct {
	ID        string `json:"id"`
	Component string `json:"component"`
	Version   string `json:"version"`
	Was       string `json:"was,omitempty"`   // phase before; empty: there is no such rollout, or nobody was reached who knows it
	Phase     string `json:"phase,omitempty"` // and now
	State     string `json:"state"`           // HaltDone, HaltHolding, HaltEnded or HaltFailed
	InFlight  int64  `json:"in_flight"`       // hosts that hold a lease without an outcome yet: they may still activate, prove and report
	Exposed   int64  `json:"exposed"`
	Text      string `json:"text"` // one sentence: what happened
}

// Forecast is what a bad release would cost under a plan, as the simulator plays it on a fleet like this one.
type Forecast struct {
	Plan  string         `json:"plan"`
	Hosts int64          `json:"hosts"` // of the fleet that was played
	Fleet int64          `json:"fleet"` // of the fleet that there is; larger ones are played at a smaller scale
	Bound int64          `json:"bound"` // harmed hosts at most, on average, by arithmetic alone
	Cases []ForecastCase `json:"cases"`
	Taken time.Time      `json:"taken"`
}

// ForecastCase is one kind of bad release.
type ForecastCase struct {
	Name    string  `json:"name"`             // for people: "crashes every host"
	Effect  float64 `json:"effect"`           // share of exposed hosts that it harms
	Silent  bool    `json:"silent,omitempty"` // harmed hosts say nothing any more
	Runs    int     `json:"runs"`
	Stopped int     `json:"stopped"` // of them: the breaker tripped, or held a part of the fleet
	Frozen  int     `json:"frozen"`  // of them: the breaker froze growth, and whether it goes on is for a person to say
	Mean    float64 `json:"mean"`    // harmed hosts; of runs that were neither, as many as it harmed while it was played
	P99     int64   `json:"p99"`
	Minutes float64 `json:"minutes"` // from the start to the halt, on average of those that were stopped
}

// Next is what a host would get next of a component, and why it does not have it yet.
type Next struct {
	Component string `json:"component"`
	Version   string `json:"version"`
	Rollout   string `json:"rollout"`
	Code      string `json:"code,omitempty"` // why it waits, as in Waiting, or quarantine: it does not ask; empty: it would get a lease now
	Text      string `json:"text"`
}

// NewSession signs a person in.
type NewSession struct {
	Token string `json:"token"` // an operator's
}

// Session is a person's stay in the console. Its secret is in a cookie that scripts of pages cannot read.
type Session struct {
	Actor   string     `json:"actor"`
	TokenID string     `json:"token_id"`
	Note    string     `json:"note,omitempty"`
	Expires *time.Time `json:"expires,omitempty"` // always there for a session; of a bearer token only if it ends
}

// AuditEntry is something that somebody did, or tried to do.
type AuditEntry struct {
	Number  int64     `json:"number"`
	At      time.Time `json:"at"`
	Actor   string    `json:"actor"`
	Act     string    `json:"act"`    // operationId of the route, as in openapi.json
	Target  string    `json:"target"` // what it was done to: "rollout ro-4q2k"
	Status  int       `json:"status"` // of the answer
	Detail  string    `json:"detail,omitempty"`
	Request string    `json:"request"` // its X-Request-Id
}

// CloseIncident says that people are done with an incident.
type CloseIncident struct {
	Note string `json:"note,omitempty"`
}

// PostMortem is an incident written down: facts filled in, questions left open. Its texts are for people and hold what hosts and operators
// called things: whoever shows them elsewhere escapes them.
type PostMortem struct {
	Incident  Incident       `json:"incident"` // without its decisions: Timeline has them in words
	Made      time.Time      `json:"made"`
	Summary   string         `json:"summary"` // a paragraph
	Facts     []Fact         `json:"facts"`
	Blast     BlastRadius    `json:"blast_radius"`
	Timeline  []Moment       `json:"timeline"`          // oldest first; of very many the first and the last
	Omitted   int64          `json:"omitted,omitempty"` // moments that the timeline leaves out
	Series    *RolloutSeries `json:"series,omitempty"`
	Questions []string       `json:"questions"` // that people must answer
}

// Fact is a line of a post-mortem that the stores can answer.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Moment is one entry of a timeline, and where the rollout stood then.
type Moment struct {
	At       time.Time `json:"at"`
	Revision int64     `json:"revision"`
	Verdict  string    `json:"verdict"`
	Text     string    `json:"text"` // why
	Exposed  int64     `json:"exposed"`
	Harmed   int64     `json:"harmed"`
	Evidence float64   `json:"evidence"`
}

// BlastRadius is whom a release reached.
type BlastRadius struct {
	Eligible  int64   `json:"eligible"`
	Exposed   int64   `json:"exposed"`
	Harmed    int64   `json:"harmed"`
	Recovered int64   `json:"recovered"`
	Spared    int64   `json:"spared"` // eligible and never exposed
	Rings     []Reach `json:"rings,omitempty"`
	Strata    []Reach `json:"strata,omitempty"`  // those in trouble, the worst first, at most 20
	Tenants   []Reach `json:"tenants,omitempty"` // with harmed hosts among those that the incident lists, most first, at most 20
	Sites     []Reach `json:"sites,omitempty"`   // the same of sites
}

// Reach is how far a release came in a part of the fleet.
type Reach struct {
	Name    string `json:"name"`
	Exposed *int64 `json:"exposed,omitempty"` // nil: not counted by this
	Harmed  int64  `json:"harmed"`
}
