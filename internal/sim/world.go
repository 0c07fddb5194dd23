package sim

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// outcomes of hosts, in a byte.
const (
	unleased = iota
	pending
	confirmed
	crashed
	silent
	goodbye
	late
)

func told(outcome uint8) rollout.Outcome {
	return [...]rollout.Outcome{
		rollout.Unleased, rollout.Pending, rollout.Confirmed, rollout.Reverted, rollout.Silent, rollout.Goodbye, rollout.Late,
	}[outcome]
}

// world is one run.
type world struct {
	*hosts
	rng      chance
	fault    Fault
	recovers bool // harmed hosts come back by themselves
	outages  []Outage
	cutSites []float64 // by outage of whole sites: the part of them that it cuts off
	plan     plan.Plan
	deadline int32 // of a lease, seconds

	now     int32 // seconds since the start
	state   rollout.State
	queue   *queue
	wake    int32
	harmful []bool // by class
	swings  []float64

	ring    []uint8
	outcome []uint8
	broken  []uint64 // bits: harmed by the release

	ready     []host  // online hosts that wait for a lease, in no order
	waiting   []int64 // by class: how many of them
	exposed   int64
	initially int64 // waiting hosts at the start
	granted   int32 // when the last lease was
	scanned   int32
	barren    map[string]bool // strata of which no host waits, as far as was found since the scan
	sites     []int32         // stamp of the cohort in which a host of the site was last seen
	stamps    int32
	siteOut   []int32 // exposed hosts by site and tenant, for the caps
	tenOut    []int32
	siteHarm  map[int64]int64
	tenHarm   map[int64]int64
	heard     []int64 // by ring: confirmed hosts that are not broken

	probing bool
	cohort  *cohort
	watches []watch
	veteran []host // some confirmed hosts, for the vigil
	vigils  []vigil

	result   Result
	ended    int32 // when the rollout ended; 0 while it has not
	recalled int32 // when it was recalled, perhaps long after it was complete; 0 while it is not
	brief    bool  // ends when the update is done
	tape     func(rollout.Event, rollout.State, []rollout.Effect)
}

const scanEvery = 900 // seconds between two looks at who is online

func newWorld(s Scenario, p plan.Plan, seed uint64) *world {
	h := newHosts(s, p.Strata, seed)
	w := &world{
		hosts: h, rng: newChance(seed), fault: s.Fault, recovers: !s.Defences.NoRecovery, outages: s.Outages, plan: p,
		deadline: int32(time.Duration(p.Lease.Deadline).Seconds()), queue: newQueue(),
		ring: make([]uint8, h.Fleet.Hosts), outcome: make([]uint8, h.Fleet.Hosts), broken: make([]uint64, (h.Fleet.Hosts+63)/64),
		sites: make([]int32, h.Sites), siteOut: make([]int32, h.Sites), tenOut: make([]int32, h.Tenants),
		siteHarm: map[int64]int64{}, barren: map[string]bool{}, tenHarm: map[int64]int64{}, heard: make([]int64, len(p.Rings)),
		swings: make([]float64, len(h.Classes)), harmful: make([]bool, len(h.Classes)), waiting: make([]int64, len(h.Classes)),
	}
	for k, c := range s.Fleet.Classes {
		w.harmful[k] = len(s.Fault.Classes) == 0
		for _, name := range s.Fault.Classes {
			w.harmful[k] = w.harmful[k] || name == c.Name
		}
	}
	w.countCut()
	w.scan()
	w.initially = int64(len(w.ready))
	return w
}

func seconds(d Duration) float64 { return time.Duration(d).Seconds() }

func (w *world) time() time.Time { return w.start.Add(time.Duration(w.now) * time.Second) }

// play runs the rollout to its end, or for as long as the horizon.
func (w *world) play(ctx context.Context, horizon int32, progress func(exposed int64)) error {
	w.step(rollout.Started{
		At: w.start, ID: "ro-sim", Plan: w.plan, Eligible: int64(len(w.ready)), Actor: "sim",
		Release: rollout.Release{Component: "component", Version: "2"},
	})
	for k := 1; k < w.plan.Approvals; k++ {
		w.step(rollout.OperatorActed{At: w.start, Action: rollout.Approve, Actor: "second"})
	}
	for ; w.now < horizon && !w.over(); w.now++ {
		if w.now%60 == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
			if progress != nil {
				progress(w.exposed)
			}
		}
		w.second()
	}
	w.conclude()
	return nil
}

// second plays one second: what is due first, then the looks, then the hosts that ask.
func (w *world) second() {
	if w.now%900 == 0 {
		w.swing()
	}
	if w.now-w.scanned >= scanEvery {
		w.scan()
	}
	list := w.queue.take(w.now)
	for _, h := range list {
		w.happen(h)
	}
	w.queue.done(list)
	w.compare()
	w.vigil()
	if w.now >= w.wake {
		w.wake = w.now + 30
		w.step(w.census())
	}
	w.grant()
	if w.now%15 == 0 {
		w.result.record(w.now, w.exposed)
	}
}

// stuck is how long a run goes on when nobody gets a lease any more: it waits for a person.
const stuck = 4 * 3600

// settled is how long a run goes on after the end of its rollout, for harm that is still on its way.
const settled = 900

// over tells whether nothing is left to happen.
func (w *world) over() bool {
	calm := w.calm()
	return w.ended > 0 && w.now > max(w.ended, w.recalled, calm)+settled || w.brief && w.result.Done > 0 ||
		w.state.Unconfirmed == 0 && w.now > max(w.granted, w.recalled, calm)+stuck
}

// calm is from when on the scenario has nothing more in store: no time bomb, no crash that comes late, no outage.
func (w *world) calm() int32 {
	if w.state.Phase.Recalls() {
		return 0
	}
	calm := int32(0)
	if w.fault.Effect > 0 {
		calm = max(int32(seconds(w.fault.Trigger)), w.granted+int32(seconds(w.fault.Latent)))
	}
	for _, o := range w.outages {
		calm = max(calm, int32(seconds(o.At)+seconds(o.For)))
	}
	return calm
}

// swing moves the baseline of each class.
func (w *world) swing() {
	for k := range w.swings {
		w.swings[k] = math.Exp(w.Swing*w.rng.NormFloat64() - w.Swing*w.Swing/2)
	}
}

func baseline(p, swing float64) float64 { return min(p*swing, 0.95) }

// cutOff is the probability that an outage keeps a host from being heard at a second; a region of -1 stands for any host.
func (w *world) cutOff(second int32, region int, site int64) float64 {
	return w.cutSince(never, second, region, site)
}

const never = math.MinInt32

// cutSince is cutOff for a host that was heard at an earlier second: outages that lasted then are not what keeps it.
func (w *world) cutSince(heard, second int32, region int, site int64) float64 {
	p := 0.0
	for k, o := range w.outages {
		if !o.silences(second) || heard != never && o.silences(heard) {
			continue
		}
		share := o.Share
		switch {
		case o.Scope == "region" && region < 0:
			share *= w.Regions[w.region(o.Name)].Share
		case o.Scope == "region" && region != w.region(o.Name):
			share = 0
		case o.Scope == "site" && site >= 0: // a site is cut off as a whole, or not at all
			share = float64(count(w.isCut(k, site)))
		case o.Scope == "site":
			share = w.cutSites[k]
		}
		p = 1 - (1-p)*(1-share)
	}
	return p
}

// silences tells whether the outage keeps hosts from being heard at a second.
func (o Outage) silences(second int32) bool {
	from, to := int32(seconds(o.At)), int32(seconds(o.At)+seconds(o.For))
	overlap := float64(min(second, to)-max(second-hearing, from)) / hearing
	return overlap > 0.5 // otherwise it was heard in the rest of the time
}

// isCut tells whether an outage of whole sites cuts off this one.
func (w *world) isCut(outage int, site int64) bool {
	return unit(mix(w.seed^uint64(site)^uint64(outage)<<40)) < w.outages[outage].Share
}

// countCut notes which part of the sites each outage cuts off: with few sites it is not what the scenario says.
func (w *world) countCut() {
	w.cutSites = make([]float64, len(w.outages))
	for k, o := range w.outages {
		if o.Scope != "site" {
			continue
		}
		for site := range w.Sites {
			w.cutSites[k] += float64(count(w.isCut(k, site))) / float64(w.Sites)
		}
	}
}

func (w *world) region(name string) int {
	for k, r := range w.Regions {
		if r.Name == name {
			return k
		}
	}
	return -1
}

// scan finds the online hosts that wait for a lease.
func (w *world) scan() {
	w.scanned = w.now
	clear(w.barren)
	shares := w.shares(w.now)
	w.ready = w.ready[:0]
	clear(w.waiting)
	if w.swings[0] == 0 {
		w.swing()
	}
	for i := range w.outcome {
		if w.outcome[i] != unleased {
			continue
		}
		if t := w.traits(host(i)); w.online(host(i), shares, t) {
			w.ready = append(w.ready, host(i))
			w.waiting[t.class]++
		}
	}
}

// When nobody was granted a lease for so many seconds, because all who ask are held back or of a tenant or site that has its share, so many
// ask in a second for all: it costs time and changes little.
const (
	idle    = 600
	fewAsks = 16
)

// grant lets the waiting hosts ask, in random order and as fast as they poll, until the rollout has no room.
func (w *world) grant() {
	if phase := w.state.Phase; phase != rollout.Running && phase != rollout.Complete || len(w.ready) == 0 {
		return
	}
	if w.cutOff(w.now, -1, -1) > 0.9 {
		return // nearly nobody can ask
	}
	rate := float64(len(w.ready)) / seconds(w.Poll)
	asks := int(rate)
	if w.rng.is(rate - float64(asks)) {
		asks++
	}
	if w.now > w.granted+idle {
		asks = min(asks, fewAsks)
	}
	for ; asks > 0 && len(w.ready) > 0; asks-- {
		at := w.rng.IntN(len(w.ready))
		if !w.ask(at) {
			return
		}
	}
}

// ask lets one waiting host ask. It tells whether others may have better luck now.
func (w *world) ask(at int) bool {
	i := w.ready[at]
	t := w.traits(i)
	if w.rng.is(w.cutOff(w.now, t.region, t.site)) {
		return true
	}
	for _, effect := range w.step(rollout.LeaseAsked{At: w.time(), Host: w.asking(t)}) {
		if grant, ok := effect.(rollout.GrantLease); ok { // not always the first: the ring may have settled before
			w.take(at, t)
			w.expose(i, t, grant.Ring)
			return true
		}
		if refusal, ok := effect.(rollout.RefuseLease); ok {
			return w.refused(refusal.Waiting.Code)
		}
	}
	return false
}

// take removes a host from those that wait.
func (w *world) take(at int, t traits) {
	last := len(w.ready) - 1
	w.ready[at] = w.ready[last]
	w.ready = w.ready[:last]
	w.waiting[t.class]--
	w.exposed++
	w.granted = w.now
}

// refused tells whether others may have better luck than a host that was refused.
func (w *world) refused(code string) bool {
	switch code {
	case rollout.WaitStratum, rollout.WaitHeld, rollout.WaitSelector, rollout.WaitSite, rollout.WaitTenant:
		return true
	case rollout.WaitAmber:
		w.probe()
	}
	return false
}

// probe lets a host of a suspicious stratum ask, for which places are kept at amber.
func (w *world) probe() {
	if w.probing || w.state.Unconfirmed >= w.state.Allowed() {
		return
	}
	var suspects []string
	for k := range w.state.Strata {
		if s := &w.state.Strata[k]; s.Suspect && !s.Held && s.Pending < 2 {
			suspects = append(suspects, s.Name)
		}
	}
	if len(suspects) == 0 || !w.rng.is(float64(len(suspects))*float64(len(w.ready))/float64(w.Strata)/seconds(w.Poll)) {
		return
	}
	suspect := suspects[w.rng.IntN(len(suspects))]
	if w.barren[suspect] {
		return
	}
	at := w.findOf(suspect)
	w.barren[suspect] = at < 0
	if at >= 0 {
		w.probing = true
		w.ask(at)
		w.probing = false
	}
}

// findOf is the place of some waiting host of a stratum, -1 if it finds none in as many tries as it takes when there are some.
func (w *world) findOf(stratum string) int {
	for range 8 * w.Strata {
		at := w.rng.IntN(len(w.ready))
		if t := w.traits(w.ready[at]); w.strata[t.class][t.stratum] == stratum {
			return at
		}
	}
	return -1
}

func (w *world) asking(t traits) rollout.Host {
	h := rollout.Host{Endpoint: "ep-sim", Stratum: w.strata[t.class][t.stratum], Fleet: w.Fleet.Hosts, Posture: w.plan.Posture}
	if least := w.plan.Rings[w.state.Ring].Evidence.Strata; least > 0 {
		h.Sought = w.parts[h.Stratum] >= least
	}
	if w.bare() {
		h.Subject = w.subject[t.class][t.stratum]
		return h
	}
	h.Subject = w.subjectOf(t)
	h.Stratum = fleet.Stratum(h.Subject, w.plan.Strata)
	h.Tenant, h.Site = w.scopes(t)
	return h
}

// bare tells whether a host's tenant and site matter to the grant: not on the last ring, where nearly all hosts are.
func (w *world) bare() bool {
	return !w.plan.Capped(w.state.Ring) && len(w.plan.Rings[w.state.Ring].Select) == 0 && len(w.state.Holds) == 0 || w.plan.Caps.Tenant == 0 && w.plan.Caps.Site == 0 && len(w.plan.Rings[w.state.Ring].Select) == 0 && len(w.plan.Rings[w.state.Ring].Prefer) == 0 && len(w.state.Holds) == 0
}

func (w *world) scopes(t traits) (tenant, site rollout.Scope) {
	ofTenant, ofSite := w.tenantOf(t), w.siteOf(t)
	tenant = rollout.Scope{Name: ofTenant.name, Size: ofTenant.hosts, Exposed: int64(w.tenOut[t.tenant]), Harmed: w.tenHarm[t.tenant]}
	site = rollout.Scope{Name: ofSite.name, Size: ofSite.hosts, Exposed: int64(w.siteOut[t.site]), Harmed: w.siteHarm[t.site]}
	return tenant, site
}

func (w *world) exposedOf(t traits, n int32) {
	w.siteOut[t.site] += n
	w.tenOut[t.tenant] += n
}

// census is what the control plane counts before each look.
func (w *world) census() rollout.Woke {
	k := w.state.Ring
	waiting := int64(len(w.ready))
	e := rollout.Woke{At: w.time(), Eligible: waiting + w.exposed, Remaining: waiting, Available: waiting, Heard: w.heard[k]}
	if k > 0 && w.state.Rings[k].Leased == 0 {
		e.Heard = w.heard[k-1]
	}
	if sel := w.plan.Rings[k].Select; len(sel) > 0 {
		e.Available = w.matching(sel)
	}
	if w.plan.Capped(k) {
		e.Available = min(e.Available, w.fitting())
	}
	if prefer := w.plan.Rings[k].Prefer; len(prefer) > 0 {
		e.Preferred = w.matching(prefer)
	}
	if least := w.plan.Rings[k].Evidence.Strata; least > 0 {
		e.Large, e.Seen = w.coverage(least)
	}
	return e
}

// fitting counts the waiting hosts for which the open ring's selector and the plan's caps leave room. It counts no further than the ring
// has places.
func (w *world) fitting() int64 {
	caps, selects, most := w.plan.Caps, w.plan.Rings[w.state.Ring].Select, w.state.Size()
	tenants, sites := map[int64]int64{}, map[int64]int64{}
	n := int64(0)
	for _, i := range w.ready {
		t := w.traits(i)
		tenant, site := w.scopes(t)
		if rollout.CapOf(caps.Tenant, tenant, w.Fleet.Hosts)-tenant.Exposed <= tenants[t.tenant] ||
			rollout.CapOf(caps.Site, site, w.Fleet.Hosts)-site.Exposed <= sites[t.site] {
			continue
		}
		if len(selects) > 0 && !selects.Matches(w.subjectOf(t)) {
			continue
		}
		tenants[t.tenant]++
		sites[t.site]++
		if n++; n >= most {
			break
		}
	}
	return n
}

// coverage counts the strata that hold at least a share of the fleet, and those of them with a confirmed host.
func (w *world) coverage(least float64) (large, seen int64) {
	for _, part := range w.parts {
		large += count(part >= least)
	}
	for i := range w.state.Strata {
		s := &w.state.Strata[i]
		seen += count(w.parts[s.Name] >= least && s.Confirmed > 0)
	}
	return large, min(seen, large)
}

// matching counts the waiting hosts that a ring selects.
func (w *world) matching(sel fleet.Selector) int64 {
	n := int64(0)
	if values, ok := sel["class"]; ok && len(sel) == 1 {
		for k, c := range w.Classes {
			if slices.Contains(values, c.Name) {
				n += w.waiting[k]
			}
		}
		return n
	}
	for _, i := range w.ready {
		n += count(sel.Matches(w.subjectOf(w.traits(i))))
	}
	return n
}

// step lets the machine decide, and notes what came of it.
func (w *world) step(e rollout.Event) []rollout.Effect {
	e = rollout.Dated(w.state, e)
	next, effects := rollout.Step(w.state, e)
	w.state = next
	w.result.Steps++
	for _, effect := range effects {
		if wake, ok := effect.(rollout.WakeAt); ok {
			at := int32(math.Ceil(wake.At.Sub(w.start).Seconds()))
			w.wake = min(w.wake, max(at, w.now+1))
		}
	}
	if w.tape != nil {
		w.tape(e, w.state, effects)
	}
	if w.recalled == 0 && w.state.Phase.Recalls() {
		w.recalled = w.now
	}
	if w.ended == 0 && (w.state.Phase.Final() || w.state.Phase == rollout.Complete) {
		w.ended = w.now
	}
	if w.result.Done == 0 && (w.state.Phase == rollout.Complete || w.result.Steps%64 == 0 && w.done()) {
		w.result.Done = float64(w.now) / 60
	}
	return effects
}

// done tells whether a good update is through: as many hosts confirmed as were online when it began, but those that are kept back as
// controls, asleep or gone. Hosts go on coming and going all day, so a rollout itself is complete much later.
func (w *world) done() bool {
	s := &w.state
	if s.Phase == rollout.Complete {
		return true
	}
	return s.Phase == rollout.Running && float64(s.Confirmed()) >= (1-keptBack)*float64(w.initially)
}

// keptBack is the part of the fleet that a rollout may leave and be done: the holdback, and hosts that fell silent or left.
const keptBack = 0.03
