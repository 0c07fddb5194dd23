// Package plan is how releases are rolled out: rings, the ramp inside them, evidence between them, and a budget of harm.
//
// A plan is signed together with a release: no rollout of that release may be wider or faster ([Within]), and no endpoint accepts a
// lease for a ring before its time ([Plan.NotBefore]).
package plan

import (
	"math"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Duration is written as "15m" in files.
type Duration = evidence.Duration

// Bounds of a plan.
const (
	MaxRings = 32
	MaxHosts = 1e12 // in a ring
)

// Plan is a schedule for rolling out releases. Decode fills nothing in: call [Plan.Defaulted].
type Plan struct {
	Name    string         `json:"name"`
	Rings   []Ring         `json:"rings"`
	Window  Window         `json:"window,omitzero"`
	Lease   Lease          `json:"lease,omitzero"`
	Breaker breaker.Params `json:"breaker,omitzero"`
	Caps    Caps           `json:"caps,omitzero"`
	Budget  Budget         `json:"budget,omitzero"`
	Watch   Duration       `json:"watch,omitempty"` // how long the breaker stays armed for late harm after completion

	Strata    []string          `json:"strata,omitempty"`    // what makes a slice of the fleet that may fail alone: keys as in a selector
	Calendar  calendar.Calendar `json:"calendar,omitzero"`   // when leases may be granted; halts always work
	Posture   []string          `json:"posture,omitempty"`   // what a host must be able to survive alone to get the release: words of a fleet.Posture
	Emergency bool              `json:"emergency,omitempty"` // wider and faster than usual: needs more than one approver
	Approvals int               `json:"approvals,omitempty"` // people who must agree to a start, the one who asks for it included
	Cells     []Wave            `json:"cells,omitempty"`     // control planes that get it one wave after the other; none: each goes by itself
}

// Ring is one step. Its size is an absolute number of hosts; only late rings may be a share of the fleet.
type Ring struct {
	Name     string               `json:"name"`
	Hosts    int64                `json:"hosts,omitempty"` // hosts in this ring
	Share    float64              `json:"share,omitempty"` // or: share of the eligible fleet reached once this ring is full, 1 for the rest
	Select   fleet.Selector       `json:"select,omitempty"`
	Prefer   fleet.Selector       `json:"prefer,omitempty"`   // these go first, nine of ten, while any of them waits: hosts that are always on tell most
	Evidence evidence.Requirement `json:"evidence,omitzero"`  // what opens the next ring
	Holdback bool                 `json:"holdback,omitempty"` // the last ring: kept back until the others have baked, so that they have controls
}

// Window is the ramp: how many leased hosts may be unconfirmed at any moment.
type Window struct {
	Start  int64   `json:"start,omitempty"`  // at the beginning
	Growth float64 `json:"growth,omitempty"` // factor after each round in which as many hosts were leased and all have their outcome: 2 doubles
	Max    int64   `json:"max,omitempty"`    // never more than this
}

// Lease times one lease.
type Lease struct {
	Expires  Duration `json:"expires,omitempty"`  // from grant to the latest start of the activation
	Deadline Duration `json:"deadline,omitempty"` // from grant to the moment when no word means silent
}

// Caps bound what may be exposed of one tenant or site while the rollout is on a ring that they hold on ([Plan.Capped]). Shares of 0 mean no
// cap; a tenant or site can always have one host.
type Caps struct {
	Tenant float64 `json:"tenant,omitempty"`
	Site   float64 `json:"site,omitempty"`
}

// Budget is the harm that the owner accepts: a plan whose bound is larger is refused. It covers faults that harm every tenth host or more
// as soon as they activate, and those that show in the bake of the first ring.
type Budget struct {
	Hosts int64  `json:"hosts,omitempty"` // harmed hosts; 0 means no budget was set
	Site  int64  `json:"site,omitempty"`  // of them, in any one site of SiteHosts hosts, and in a larger one as many for each SiteHosts; 0 means the same
	By    string `json:"by,omitempty"`    // ByReports or BySilence, which is also meant if it is left out
}

// How the harm that a budget covers shows.
const (
	BySilence = "silence" // also as silence: nothing is known of harmed hosts but that they are gone
	ByReports = "reports" // always in reports: a guard or the host itself tells
)

// Defaults for what a plan leaves out.
const (
	DefaultWindowStart = 2
	DefaultGrowth      = 2
	DefaultExpires     = Duration(time.Minute)
	DefaultDeadline    = Duration(15 * time.Minute)
	DefaultWatch       = Duration(72 * time.Hour)
	EmergencyApprovals = 2

	smallRing          = 10   // hosts
	largeRingConfirmed = 0.95 // share
	largeRingResolved  = 0.99
)

// Defaulted fills in what the plan leaves out. The receiver is not changed.
func (p Plan) Defaulted() Plan {
	p.Breaker = p.Breaker.Defaulted()
	p.Rings = slices.Clone(p.Rings)
	for i, r := range p.Rings {
		p.Rings[i].Evidence = r.defaultEvidence()
	}
	if p.Window.Start == 0 {
		p.Window.Start = DefaultWindowStart
	}
	if p.Window.Growth == 0 {
		p.Window.Growth = DefaultGrowth
	}
	if p.Window.Max == 0 {
		p.Window.Max = math.MaxInt32
	}
	if p.Lease.Expires == 0 {
		p.Lease.Expires = DefaultExpires
	}
	if p.Lease.Deadline == 0 {
		p.Lease.Deadline = DefaultDeadline
	}
	if p.Watch == 0 {
		p.Watch = DefaultWatch
	}
	if len(p.Strata) == 0 {
		p.Strata = []string{"class", "os", "version", "kernel", "consumer"}
	}
	if p.Approvals == 0 {
		p.Approvals = 1
		if p.Emergency {
			p.Approvals = EmergencyApprovals
		}
	}
	return p
}

// defaultEvidence asks every host of a small ring to confirm. In a larger one a few may be away, and
// a hundredth may come and go: in a large fleet somebody always does.
func (r Ring) defaultEvidence() evidence.Requirement {
	e := r.Evidence
	if e.Confirmed == 0 {
		e.Confirmed = 1
		if r.Share > 0 || r.Hosts > smallRing {
			e.Confirmed = largeRingConfirmed
		}
	}
	if e.Resolved == 0 {
		e.Resolved = 1
		if r.Share > 0 || r.Hosts > smallRing {
			e.Resolved = largeRingResolved
		}
	}
	return e
}

// Size tells how many hosts ring k holds in a fleet with that many eligible hosts, given how many earlier rings hold. A share ring that
// follows one of absolute size is always larger, so that rings grow in small fleets too.
func (p Plan) Size(k int, eligible, earlier int64) int64 {
	r := p.Rings[k]
	if r.Share == 0 {
		return r.Hosts
	}
	size := int64(math.Ceil(r.Share*float64(eligible)-rounding)) - earlier
	if k > 0 {
		size = max(size, p.Rings[k-1].Hosts+1)
	}
	return max(size, 1)
}

// rounding keeps 0.07 of 100 at 7, where floating point says 7.000000000000001.
const rounding = 1e-6

// Last tells whether k is the plan's last ring.
func (p Plan) Last(k int) bool { return k >= len(p.Rings)-1 }

// NotBefore is the earliest time after the start of a rollout at which ring k can open: the bakes before it. Any k has an answer,
// because leases name it.
func (p Plan) NotBefore(k int) time.Duration {
	var t time.Duration
	for _, r := range p.Rings[:min(max(k, 0), len(p.Rings))] {
		t += time.Duration(r.Evidence.Bake)
	}
	return t
}

// Capped tells whether the caps hold on ring k: they do on rings that are counted in hosts. A ring that is a share of the fleet takes that
// share of everybody, which a cap would contradict.
func (p Plan) Capped(k int) bool { return k < len(p.Rings) && p.Rings[k].Share == 0 }
