package rollout

import (
	"fmt"
	"math"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
)

// Waiting says why nothing is granted now, in one sentence and in one word for machines.
type Waiting struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Codes of Waiting.
const (
	WaitPhase    = "phase"    // the rollout exposes nobody in this phase
	WaitHarmed   = "harmed"   // this host was harmed by this release
	WaitSelector = "selector" // the open ring is for other hosts
	WaitRing     = "ring"     // the open ring is full; its evidence is not complete
	WaitTenant   = "tenant"   // the host's tenant has its share
	WaitSite     = "site"     // the host's site has its share
	WaitWindow   = "window"   // as many hosts are unconfirmed as may be
	WaitAmber    = "amber"    // as before, and growth is frozen
	WaitHosts    = "hosts"    // no prepared host is asking
)

// ask grants a lease or says why not: granted < ring size, unconfirmed < window, and no tenant or site over its share (I2).
func (t *turn) ask(e LeaseAsked) {
	if w, ok := t.refusal(e.Host); ok {
		t.do(RefuseLease{Endpoint: e.Host.Endpoint, Waiting: w})
		return
	}
	t.pass(e.At)
	ring := t.place(e.Host)
	if t.Phase == Complete {
		t.watch()
	}
	t.do(GrantLease{
		Endpoint: e.Host.Endpoint, Ring: ring, Renewed: e.Host.Prior == Pending, Issued: t.Last,
		Expires: t.Last.Add(time.Duration(t.Plan.Lease.Expires)), Deadline: t.Last.Add(time.Duration(t.Plan.Lease.Deadline)),
	})
	t.record(DidGrant, "%s may activate: ring %s has %d of %d, %d unconfirmed of %d allowed", e.Host.Endpoint,
		t.Plan.Rings[ring].Name, t.Rings[ring].Leased, t.size(ring), t.Unconfirmed, t.Allowed())
}

// place gives the host its place in a ring and tells which: the one it had, or a new one in the open ring.
func (t *turn) place(h Host) int {
	if !h.returns() {
		t.expose()
		return t.Ring
	}
	if h.Prior == Pending {
		return h.PriorRing
	}
	*t.Rings[h.PriorRing].count(h.Prior)--
	t.Rings[h.PriorRing].Settled = 0
	t.Unconfirmed++
	if h.Prior == Confirmed {
		t.Window = max(1, t.Window-t.Plan.Window.Growth+1) // it gives back the room it made: confirming twice makes it once
	} else {
		t.Breaker = t.Breaker.Book() // a new trial: of the earlier one the test forgot a goodbye and keeps a silence
	}
	return h.PriorRing
}

// expose books one more host in the open ring: good until it turns bad.
func (t *turn) expose() {
	t.Rings[t.Ring].Leased++
	t.Rings[t.Ring].Settled = 0
	t.Unconfirmed++
	t.Breaker = t.Breaker.Book()
	t.Remaining = max(0, t.Remaining-1)
	t.Available = max(0, t.Available-1)
}

// returns tells whether the host has a place in this rollout already.
func (h Host) returns() bool { return h.Prior != Unleased && h.Prior != Rejected }

// refusal says why the host gets no lease now. The second result is false when it gets one.
func (t *turn) refusal(h Host) (Waiting, bool) {
	switch {
	case t.Phase != Running && t.Phase != Complete:
		return t.idle(), true
	case h.Prior == Pending && t.held(h.PriorRing, Pending) > 0:
		return Waiting{}, false
	case h.returns() && !t.welcomesBack(h):
		return Waiting{WaitHarmed, fmt.Sprintf("this host had its lease already; its outcome was %s", h.Prior)}, true
	case !h.returns():
		if w, ok := t.ringRefusal(h); ok {
			return w, true
		}
	}
	if t.Unconfirmed >= t.Allowed() {
		return t.windowFull(), true
	}
	return Waiting{}, false
}

// welcomesBack tells whether a host may try again. One that left in good order may; one that fell silent gets a second chance when
// everybody else is through, because it may have slept; one that the release harmed never does.
func (t *turn) welcomesBack(h Host) bool {
	if t.held(h.PriorRing, h.Prior) == 0 {
		return false
	}
	switch h.Prior {
	case Confirmed, Goodbye:
		return true
	case Silent, Late:
		return t.Phase == Complete
	case Unleased, Pending, Crashed, Reverted, Rejected:
	}
	return false
}

func (t *turn) ringRefusal(h Host) (Waiting, bool) {
	ring := t.Plan.Rings[t.Ring]
	switch {
	case !ring.Select.Matches(h.Subject):
		return Waiting{WaitSelector, fmt.Sprintf("ring %s is for other hosts; this one's turn comes later", ring.Name)}, true
	case t.Plan.Last(t.Ring):
		return Waiting{}, false
	case t.Rings[t.Ring].Leased >= t.Size():
		return t.ringFull(), true
	}
	if limit := CapOf(t.Plan.Caps.Tenant, h.Tenant, h.Fleet); h.Tenant.Exposed >= limit {
		return Waiting{WaitTenant, fmt.Sprintf("tenant %s has its share of the early rings: %d of %d hosts", h.Tenant.Name, h.Tenant.Exposed, limit)}, true
	}
	if limit := CapOf(t.Plan.Caps.Site, h.Site, h.Fleet); h.Site.Exposed >= limit {
		return Waiting{WaitSite, fmt.Sprintf("site %s has its share of the early rings: %d of %d hosts", h.Site.Name, h.Site.Exposed, limit)}, true
	}
	return Waiting{}, false
}

// Allowed is the number of hosts that may be unconfirmed now.
func (s State) Allowed() int64 { return max(1, int64(s.Window)) }

// rounding keeps 0.29 of 100 at 29, where floating point says 28.999999999999996.
const rounding = 1e-6

// CapOf is how many hosts of a tenant or site may be exposed before the last ring. Hosts without a site share none, and a tenant or site
// that is the whole fleet has nobody to leave room for.
func CapOf(share float64, scope Scope, fleet int64) int64 {
	if share == 0 || scope.Name == "" || scope.Size >= fleet {
		return math.MaxInt64
	}
	return max(1, int64(share*float64(scope.Size)+rounding))
}

// grow and shrink are the ramp: each confirmed host makes room for growth-1 more, each harmed one closes its own place.
func (t *turn) grow() {
	if t.Alarm == breaker.Quiet {
		t.Window = min(t.Window+t.Plan.Window.Growth-1, float64(t.Plan.Window.Max))
	}
}

func (t *turn) shrink() { t.Window = max(1, t.Window-1) }
