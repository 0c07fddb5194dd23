package rollout

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
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
	WaitHeld     = "held"     // this host is held
	WaitStratum  = "stratum"  // the host's stratum is suspicious: as many of it are unconfirmed as may be
	WaitBusy     = "busy"     // the host is proving another release: one risk at a time
	WaitCalendar = "calendar" // a freeze, or outside the windows
	WaitPosture  = "posture"  // the host could not survive alone what the plan asks for
	WaitCells    = "cells"    // another cell of the plan goes first, or is not heard
)

// WaitCodes lists the codes of all reasons to wait.
func WaitCodes() []string {
	return []string{
		WaitPhase, WaitHarmed, WaitSelector, WaitRing, WaitTenant, WaitSite, WaitWindow, WaitAmber, WaitHosts, WaitHeld, WaitStratum, WaitBusy,
		WaitCalendar, WaitPosture, WaitCells,
	}
}

// ask grants a lease or says why not: granted < ring size, unconfirmed < window, and no tenant or site over its share (I2).
func (t *turn) ask(e LeaseAsked) {
	if w, ok := t.refusal(e); ok {
		t.do(RefuseLease{Endpoint: e.Host.Endpoint, Waiting: w})
		return
	}
	t.pass(e.At)
	t.look(e.Shut)
	ring := t.place(e.Host)
	t.settle()
	if t.Phase == Complete {
		t.watch()
	}
	t.do(GrantLease{
		Endpoint: e.Host.Endpoint, Ring: ring, Renewed: e.Host.Prior == Pending, Issued: t.Last,
		Expires: t.Last.Add(time.Duration(t.Plan.Lease.Expires)), Deadline: t.Last.Add(time.Duration(t.Plan.Lease.Deadline)),
		Why: Room{Leased: t.Rings[ring].Leased, Size: t.size(ring), Unconfirmed: t.Unconfirmed, Allowed: t.Allowed(), Exposed: t.Exposed()},
	})
}

// place gives the host its place in a ring and tells which: the one it had, or a new one in the open ring.
func (t *turn) place(h Host) int {
	if h.Prior == Pending {
		return h.PriorRing
	}
	stratum := t.enlist(h)
	t.Unconfirmed++
	stratum.tally(Pending, 1)
	if !h.returns() {
		t.Round++
		t.expose(stratum)
		if t.Plan.Rings[t.Ring].Prefer.Matches(h.Subject) {
			t.Free = t.Observed
		} else {
			t.Rings[t.Ring].Others++
		}
		return t.Ring
	}
	*t.Rings[h.PriorRing].count(h.Prior)--
	stratum.tally(h.Prior, -1)
	if h.Prior == Confirmed {
		t.Proved-- // it proves again what it proved before: that makes room once
		return h.PriorRing
	}
	t.Round++
	t.test(stratum, (*breaker.OneArm).Book) // a new trial: of the earlier one the tests know nothing any more
	return h.PriorRing
}

// maxStrata bounds the state: hosts say themselves what they are. Hosts of strata that come later are tested with the whole fleet only.
const maxStrata = 4096

// enlist is the host's stratum, which its first lease makes known.
func (t *turn) enlist(h Host) *Stratum {
	if s := t.known(h.Stratum); s != nil || len(t.Strata) == maxStrata {
		return s
	}
	t.places = maps.Clone(t.places)
	t.places[h.Stratum] = len(t.Strata)
	t.Strata = append(t.Strata, Stratum{Name: h.Stratum, Select: fleet.SliceOf(h.Subject, t.Plan.Strata)})
	return &t.Strata[len(t.Strata)-1]
}

// expose counts one more host in the open ring.
func (t *turn) expose(stratum *Stratum) {
	t.Rings[t.Ring].Leased++
	if stratum != nil {
		stratum.Leased++
	}
	t.test(stratum, (*breaker.OneArm).Book)
	t.Remaining = max(0, t.Remaining-1)
	t.Available = max(0, t.Available-1)
}

// returns tells whether the host has a place in this rollout already.
func (h Host) returns() bool { return h.Prior != Unleased && h.Prior != Rejected }

// refusal says why the host gets no lease now. The second result is false when it gets one.
func (t *turn) refusal(e LeaseAsked) (Waiting, bool) {
	h := e.Host
	if t.Phase != Running && t.Phase != Complete {
		return t.idle(), true
	}
	if i := slices.IndexFunc(t.Holds, func(hold Hold) bool { return hold.Select.Matches(h.Subject) }); i >= 0 {
		return Waiting{WaitHeld, fmt.Sprintf("the release is held for this host by %s%s", t.Holds[i].By, detail(t.Holds[i].Reason))}, true
	}
	if why := t.closed(e); why != "" {
		return Waiting{WaitCalendar, why}, true
	}
	if why := t.blocked(); why != "" && t.Phase == Running {
		return Waiting{WaitCells, why}, true
	}
	switch {
	case h.Prior == Pending && t.having(h.PriorRing, Pending) > 0:
		return Waiting{}, false
	case !t.fit(h):
		return Waiting{WaitPosture, unfit(fleet.Lacks(t.Plan.Posture, h.Posture))}, true
	case h.Busy != "":
		return Waiting{WaitBusy, "this host is proving a release of rollout " + h.Busy + ": one risk at a time"}, true
	case h.returns() && !t.welcomesBack(h):
		return Waiting{WaitHarmed, fmt.Sprintf("this host had its lease already; its outcome was %s", h.Prior)}, true
	case !h.returns():
		if w, ok := t.ringRefusal(h); ok {
			return w, true
		}
	}
	return t.crowded(h)
}

// crowded refuses a host for which the window has no room: this round's leases are out, or it belongs to a suspicious stratum, which is
// probed a few hosts at a time, or the last place at amber is kept for such a stratum.
func (t *turn) crowded(h Host) (Waiting, bool) {
	i := t.stratum(h.Stratum)
	suspect := i >= 0 && t.Strata[i].Suspect
	if suspect && t.Strata[i].Pending >= probes {
		return Waiting{WaitStratum, fmt.Sprintf("%s looks suspicious: %d of its hosts are unconfirmed, as many as may be", h.Stratum, t.Strata[i].Pending)}, true
	}
	switch out := max(t.Unconfirmed, t.Round); {
	case out >= t.Allowed():
		return t.windowFull(), true
	case out >= t.room(suspect):
		return Waiting{WaitAmber, fmt.Sprintf("evidence %.3g is above amber %g: the last %d of %d places are kept for hosts that look suspicious",
			t.Evidence(), t.Plan.Breaker.Amber, t.Allowed()-t.room(suspect), t.Allowed())}, true
	}
	return Waiting{}, false
}

// room is how many hosts may be unconfirmed for one more to get a lease.
func (t *turn) room(suspect bool) int64 {
	if !suspect && t.Alarm == breaker.Amber && t.probing() {
		return max(1, t.Allowed()-probes)
	}
	return t.Allowed()
}

// probes is how many hosts of a suspicious stratum may be unconfirmed at a time.
const probes = 2

// probing tells whether a suspicious stratum wants hosts.
func (t *turn) probing() bool {
	for i := range t.Strata {
		if t.Strata[i].Suspect && t.Strata[i].Pending < probes {
			return true
		}
	}
	return false
}

// welcomesBack tells whether a host may try again. One that left in good order may; one that fell silent gets a second chance when
// everybody else is through, because it may have slept; one that the release harmed never does.
func (t *turn) welcomesBack(h Host) bool {
	if t.having(h.PriorRing, h.Prior) == 0 {
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
	case t.covers(h): // whatever its tenant and site have, and whoever is preferred: the ring waits for its stratum
		return Waiting{}, false
	case t.full():
		return t.ringFull(), true
	case t.yields(h):
		return Waiting{WaitSelector, fmt.Sprintf("ring %s prefers other hosts; this one's turn comes later", ring.Name)}, true
	}
	if !t.Plan.Capped(t.Ring) {
		return Waiting{}, false
	}
	if limit := CapOf(t.Plan.Caps.Tenant, h.Tenant, h.Fleet); h.Tenant.Exposed >= limit {
		return Waiting{WaitTenant, fmt.Sprintf("tenant %s has its share of the early rings: %d of %d hosts", h.Tenant.Name, h.Tenant.Exposed, limit)}, true
	}
	if limit := CapOf(t.Plan.Caps.Site, h.Site, h.Fleet); h.Site.Exposed >= limit {
		return Waiting{WaitSite, fmt.Sprintf("site %s has its share of the early rings: %d of %d hosts", h.Site.Name, h.Site.Exposed, limit)}, true
	}
	return Waiting{}, false
}

// patience is how long free places are kept for the hosts that a ring prefers, since the last of them took one: some may be heard and never
// ask.
const patience = 5 * time.Minute

// yields tells whether the host lets others go first: hosts that the open ring prefers have nine places of ten while any of them waits.
func (t *turn) yields(h Host) bool {
	ring := &t.Rings[t.Ring]
	return t.Preferred > 0 && t.Observed-t.Free < patience && ring.Others*10 >= ring.Leased && !t.Plan.Rings[t.Ring].Prefer.Matches(h.Subject)
}

// full tells whether the open ring has no place left.
func (s *State) full() bool { return s.taken(s.Ring) >= s.capacity() }

// capacity is how many hosts the open ring may hold now. At amber it has as many places again, and a hundred at least: a few hosts at a
// time decide whether the alarm trips or clears, where otherwise everybody would wait for a person. (A release that silences one host in ten
// takes about so many to tell; with 30 more, one in ten of them was still waiting when the places were used up.)
func (s *State) capacity() int64 {
	const more = 100
	if s.Alarm == breaker.Amber {
		return s.Size() + max(s.Size(), more)
	}
	return s.Size()
}

// covers tells whether the open ring has yet to see the host's stratum, and nobody of it is well or on the way: for those there is a seat
// beyond the ring's size.
func (t *turn) covers(h Host) bool {
	s := t.known(h.Stratum)
	alone := s == nil || s.Confirmed+s.Pending == 0
	return t.Plan.Rings[t.Ring].Evidence.Strata > 0 && t.Seen < t.Large && h.Sought && alone && t.taken(t.Ring) < t.Size()+t.Large
}

// taken is how many places of a ring are taken: the place of a host that left is given again, at most as often as the ring has places.
func (s *State) taken(k int) int64 {
	r := &s.Rings[k]
	return r.Leased - min(r.Left(), s.size(k))
}

// Allowed is the number of hosts that may be unconfirmed now.
func (s *State) Allowed() int64 { return max(1, int64(s.Window)) }

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

// turnRound ends a round when all its leases are out, or as many as the ring has places for, and all but a hundredth of them have their
// outcome. The next one is as much larger as the plan's growth allows for each host that confirmed; at amber it does not grow. The places
// that are kept for suspicious strata hold up no round: there may be no more hosts of them.
func (t *turn) turnRound() {
	if t.Unconfirmed > t.Allowed()/100 || t.Round < t.room(false) && !t.full() {
		return
	}
	if t.Alarm == breaker.Quiet {
		t.Window = min(max(t.Window, t.Plan.Window.Growth*float64(min(t.Proved, t.Round))), float64(t.Plan.Window.Max))
	}
	if t.Round > 0 && !t.full() {
		t.Free = t.Observed
	}
	t.Round, t.Proved = 0, 0
}
