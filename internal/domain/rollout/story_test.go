package rollout_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// story is a random life of one rollout. An honest one is told by a caller that keeps its part of the contract: it knows every host
// and tells each outcome of each lease as it was. A hostile one mixes in events that nobody should ever send.
type story struct {
	world
	hostile bool
	forgets bool   // the state goes through its stored form between events, as if the server restarted
	ill     int    // of a hundred outcomes, how many are not confirmations
	sick    string // a stratum whose every host crashes once many are well
	fleet   []*host
	hours   []float64       // per ring: host hours, counted apart from State
	boots   []int64         // per ring
	open    []time.Duration // per ring: observed time when too many hosts were last without an outcome
	good    map[*host]bool  // hosts that ever confirmed
}

// chapter is one event of a story and what came of it.
type chapter struct {
	before, after rollout.State
	event         rollout.Event
	effects       []rollout.Effect
}

// tally counts what the stories of a test were about, so that a test that proves nothing fails.
type tally struct{ leased, opened, completed, amber, tripped, finals, suspected, held, aside, shut, proposed, compared int }

// stories and first say which stories are told: -stories=100000 -first=7000 for a long night.
var (
	stories = flag.Uint64("stories", 100, "random stories that each invariant is tested on")
	first   = flag.Uint64("first", 0, "seed of the first story")
)

// teller makes up one story: a seeded source of chance that fails with its seed.
type teller struct {
	*rand.Rand
	t    *testing.T
	seed uint64
}

func (t *teller) Helper() { t.t.Helper() }

func (t *teller) Fatalf(format string, args ...any) {
	t.t.Helper()
	t.t.Fatalf("story %d (tell it with -first=%d -stories=1): %s", t.seed, t.seed, fmt.Sprintf(format, args...))
}

func oneOf[V any](t *teller, values ...V) V { return values[t.IntN(len(values))] }

// tell runs a function for each seed.
func tell(t *testing.T, story func(t *teller)) {
	t.Helper()
	for seed := *first; seed < *first+*stories; seed++ {
		story(&teller{Rand: rand.New(rand.NewPCG(seed, 1)), t: t, seed: seed})
	}
}

// explore tells random stories and checks every chapter.
func explore(t *testing.T, hostile bool, check func(t *teller, s *story, c chapter)) tally {
	t.Helper()
	var seen tally
	tell(t, func(t *teller) {
		s := begin(t, hostile)
		for range s.chapters(t) {
			c := s.next(t)
			seen.note(c)
			consistent(t, c)
			if !hostile {
				honest(t, c)
			}
			check(t, s, c)
		}
	})
	t.Logf("the stories: %+v", seen)
	return seen
}

func (n *tally) note(c chapter) {
	count := func(n *int, happened bool) {
		if happened {
			*n++
		}
	}
	count(&n.leased, c.after.Exposed() > c.before.Exposed())
	count(&n.opened, c.after.Ring > c.before.Ring)
	count(&n.completed, c.after.Phase == rollout.Complete && c.before.Phase != rollout.Complete)
	count(&n.amber, c.after.Alarm == "amber" && c.before.Alarm != "amber")
	count(&n.tripped, c.after.Phase == rollout.Tripped && c.before.Phase != rollout.Tripped)
	count(&n.finals, c.after.Phase.Final())
	count(&n.aside, c.after.Rings[c.after.Ring].Aside > c.before.Rings[c.after.Ring].Aside)
	count(&n.shut, c.after.Shut.Closed)
	count(&n.proposed, c.after.Phase == rollout.Proposed)
	_, compared := c.event.(rollout.Compared)
	count(&n.compared, compared)
	for i := range c.before.Strata {
		count(&n.suspected, c.after.Strata[i].Suspect && !c.before.Strata[i].Suspect)
		count(&n.held, c.after.Strata[i].Held && !c.before.Strata[i].Held)
	}
}

// begin starts a rollout of a random sound plan.
func begin(t *teller, hostile bool) *story { return beginIn(t, hostile, "", nil) }

// beginIn starts a rollout in a cell of those waves.
func beginIn(t *teller, hostile bool, cell string, waves []plan.Wave) *story {
	p, size := drawPlan(t), oneOf(t, 1+t.IntN(20), 1+t.IntN(20), large)
	p.Cells = waves
	if size == large {
		p = swift(p)
	}
	s := &story{
		world: world{now: epoch, eligible: int64(size), hasty: !hostile}, hostile: hostile, ill: oneOf(t, 0, 5, 5, 20, 40, 70), forgets: t.IntN(4) == 3, good: map[*host]bool{},
		hours: make([]float64, len(p.Rings)), boots: make([]int64, len(p.Rings)), open: make([]time.Duration, len(p.Rings)),
	}
	for i := range size {
		h := &host{subject: fleet.Subject{Tenant: fleet.TenantID(fmt.Sprint("t", i%3)), Attributes: fleet.Attributes{OS: "linux", Site: fmt.Sprint(i % 4)}}}
		if i%5 == 0 {
			h.subject.Attributes.OS = "windows"
		}
		if i%3 == 0 {
			h.subject.Attributes.Kernel = "6.1"
		}
		s.fleet = append(s.fleet, h)
	}
	if size == large {
		s.ill, s.sick = oneOf(t, 0, 0, 5), oneOf(t, "", "os windows", "os windows, kernel 6.1")
	}
	s.step(t, rollout.Started{At: s.now, ID: "r", Plan: p, Eligible: s.eligible, Actor: "ann", Cell: cell})
	for s.state.Phase == rollout.Proposed && t.IntN(10) > 0 {
		s.step(t, rollout.OperatorActed{At: s.now, Action: rollout.Approve, Actor: "bob"})
	}
	return s
}

// large is a fleet in which a part can be in trouble alone.
const large = 60

// swift is a plan that asks for little, so that a story gets far.
func swift(p plan.Plan) plan.Plan {
	for i := range p.Rings {
		p.Rings[i].Evidence = evidence.Requirement{Confirmed: 0.5, Resolved: 0.5}
	}
	p.Calendar, p.Approvals, p.Breaker = calendar.Calendar{}, 1, breaker.Params{}.Defaulted()
	return p
}

// chapters is how long the story is: long enough for a large fleet to come through.
func (s *story) chapters(t *teller) int {
	if len(s.fleet) == large {
		return 200 + t.IntN(300)
	}
	return 1 + t.IntN(300)
}

func drawPlan(t *teller) plan.Plan {
	draw := func(values ...float64) float64 { return oneOf(t, values...) }
	p := plan.Plan{Name: "random"}
	hosts := int64(0)
	for i := range 1 + t.IntN(3) {
		hosts += 1 + int64(t.IntN(6))
		p.Rings = append(p.Rings, plan.Ring{Name: fmt.Sprint("ring-", i), Hosts: hosts})
	}
	if t.IntN(2) == 1 {
		p.Rings = append(p.Rings, plan.Ring{Name: "half", Share: draw(0.3, 0.5, 0.9)})
	}
	p.Rings = append(p.Rings, plan.Ring{Name: "rest", Share: 1})
	for i := range p.Rings {
		p.Rings[i].Evidence = evidence.Requirement{
			Confirmed: draw(0, 0.5, 0.5, 0.8), Resolved: draw(0, 0, 0.5), Boots: int64(draw(0, 0, 0, 1, 2)),
			Bake: plan.Duration(draw(0, 0, 30, 300) * float64(time.Second)), HostHours: draw(0, 0, 0, 0.05),
			Strata: draw(0, 0, 0.1),
		}
		if p.Rings[i].Hosts == 0 || p.Rings[i].Hosts >= 12 {
			p.Rings[i].Evidence.ExcessBelow = draw(0, 0, 0, 0.9)
		}
		if below := 1.0; t.IntN(5) == 4 {
			p.Rings[i].Evidence.Gates = []evidence.Gate{{Name: "errors", Query: "errors", Below: &below}}
		}
		if t.IntN(10) == 9 {
			p.Rings[i].Select = fleet.Selector{"os": {"linux"}}
		}
		if t.IntN(10) == 9 {
			p.Rings[i].Prefer = fleet.Selector{"os": {"windows"}}
		}
	}
	p.Window = plan.Window{Start: 1 + int64(t.IntN(5)), Growth: draw(1, 2, 3), Max: int64(draw(0, 5, 12))}
	if p.Window.Start > 1 && t.IntN(4) == 3 {
		p.Window.Growth = 1.5
	}
	p.Breaker.Ceiling, p.Breaker.Amber = draw(1e-3, 0.02, 0.2), draw(2, 20)
	p.Caps = plan.Caps{Tenant: draw(0, 0, 0.3), Site: draw(0, 0, 0.3)}
	p.Watch = plan.Duration(draw(1, 72) * float64(time.Hour))
	p.Approvals = oneOf(t, 0, 0, 0, 2)
	if t.IntN(10) == 9 {
		p.Calendar.Windows = []calendar.Window{{From: "12:00", To: oneOf(t, "12:03", "13:00")}}
	}
	p = p.Defaulted()
	if problems := p.Check(); len(problems) > 0 {
		t.Fatalf("the plan of the story is wrong: %v", problems)
	}
	return p
}

// next draws an event and applies it.
func (s *story) next(t *teller) chapter {
	s.now = s.now.Add(time.Duration(oneOf(t, 0, 0, 0, 1, 1, 10, 30, 60, 300)) * time.Second)
	if t.IntN(100) == 99 {
		s.now = s.now.AddDate(t.IntN(3)-1, 0, 0)
	}
	e, h := s.draw(t)
	c := chapter{before: s.state.Clone(), event: e}
	if s.forgets && t.IntN(10) == 0 {
		s.state = reread(t, s.state)
	}
	c.effects = s.step(t, e)
	c.after = s.state.Clone()
	s.learn(c, h)
	return c
}

// reread is a state as the store gives it back.
func reread(t *teller, s rollout.State) rollout.State {
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatalf("store state: %v", err)
	}
	var again rollout.State
	if err := json.Unmarshal(data, &again); err != nil {
		t.Fatalf("load state: %v", err)
	}
	return again
}

// draw makes up an event; h is the host it is about, if the caller knows it. Most news is good, and most is about hosts that are out.
func (s *story) draw(t *teller) (e rollout.Event, h *host) {
	if len(s.state.Cells) > 0 && t.IntN(5) == 0 {
		return s.rumour(t), nil
	}
	i := t.IntN(len(s.fleet))
	kind := t.IntN(30)
	switch {
	case kind < 11:
		i = s.any(i, rollout.Unleased)
	case kind >= 20 && kind < 25 && s.sickens():
		i = slices.IndexFunc(s.fleet, func(h *host) bool { return h.stratum == s.sick && h.prior == rollout.Confirmed })
		i = max(0, i)
	case kind >= 14 && kind < 24:
		i = s.any(i, rollout.Pending)
	case kind == 25:
		i = s.any(i, rollout.Confirmed)
	}
	h, id := s.fleet[i], fleet.EndpointID(fmt.Sprint("h", i))
	switch {
	case kind < 14 && h.prior == rollout.Confirmed && t.IntN(20) > 0: // a host that is well seldom asks again
	case kind < 14:
		return s.wish(t, id, h), h
	case kind < 25:
		return s.news(t, id, h), h
	case kind == 25 && h.prior == rollout.Confirmed:
		return rollout.HostBooted{At: s.now, Endpoint: id, Ring: h.ring}, h
	case kind == 26 && t.IntN(10) >= 7:
		return s.operator(t), nil
	case kind == 27 && s.hostile:
		return s.lie(t), nil
	case kind >= 28:
		return s.compare(t), nil
	}
	return s.look(t), nil
}

// wish is a host's wish to activate.
func (s *story) wish(t *teller, id fleet.EndpointID, h *host) rollout.LeaseAsked {
	e := rollout.LeaseAsked{At: s.now, Host: rollout.Host{
		Sought:   true,
		Endpoint: id, Subject: h.subject, Stratum: h.stratumIn(s.state.Plan), Prior: h.prior, PriorRing: h.ring, Fleet: int64(len(s.fleet)),
		Tenant: s.scope(string(h.subject.Tenant), ""), Site: s.scope("", h.subject.Attributes.Site),
	}}
	if t.IntN(30) == 29 {
		e.Host.Busy = "r2"
	}
	return e
}

// news is what became of a host.
func (s *story) news(t *teller, id fleet.EndpointID, h *host) rollout.OutcomeKnown {
	e := rollout.OutcomeKnown{At: s.now, Endpoint: id, Ring: h.ring, Was: h.prior, Outcome: rollout.Confirmed, Stratum: h.stratum}
	switch {
	case h.stratum == s.sick && s.sickens():
		e.Outcome = rollout.Crashed
	case t.IntN(100) < s.ill:
		e.Outcome = oneOf(t, rollout.Crashed, rollout.Reverted, rollout.Silent, rollout.Silent, rollout.Goodbye, rollout.Goodbye,
			rollout.Goodbye, rollout.Rejected, rollout.Rejected, rollout.Late, rollout.Pending)
	}
	if e.Outcome.Harms() {
		e.Fleet = int64(len(s.fleet))
		e.Tenant, e.Site = s.scope(string(h.subject.Tenant), ""), s.scope("", h.subject.Attributes.Site)
		e.Blamed = oneOf(t, "", "", "", "", "rollout r2")
	}
	return e
}

// sickens tells whether hosts of the sick stratum crash by now: enough of the others are well.
func (s *story) sickens() bool { return s.sick != "" && s.state.Confirmed() > 25 }

// operator is a command, mostly one that a rollout survives.
func (s *story) operator(t *teller) rollout.Event {
	action := oneOf(t, rollout.Pause, rollout.Resume, rollout.Resume, rollout.Resume, rollout.Approve, rollout.Approve, rollout.HoldBack,
		rollout.HoldBack, rollout.Unhold, rollout.Unhold, "freeze", "thaw", "thaw", "thaw", "dance")
	if t.IntN(20) == 19 {
		action = oneOf(t, rollout.Halt, rollout.RollBack)
	}
	e := rollout.OperatorActed{At: s.now, Action: action, Actor: oneOf(t, "ann", "bob", "")}
	today := calendar.Date(s.now.Format(time.DateOnly))
	switch {
	case action == "freeze":
		freeze := calendar.Freeze{Name: "feast", From: today, To: today}
		return rollout.FreezesSet{At: s.now, Actor: "ann", Freezes: calendar.Calendar{Freezes: []calendar.Freeze{freeze}}}
	case action == "thaw":
		return rollout.FreezesSet{At: s.now, Actor: "ann"}
	case len(s.state.Holds) > 0:
		e.Select = oneOf(t, s.state.Holds...).Select
	case action == rollout.HoldBack:
		e.Select = fleet.Selector{"tenant": {oneOf(t, "t1", "t2")}, "os": {"windows"}}
	}
	return e
}

// compare is the end of a watch over some hosts. Controls fall silent for reasons of their own, and now and then the whole fleet does.
func (s *story) compare(t *teller) rollout.Compared {
	e := rollout.Compared{At: s.now, Signal: oneOf(t, breaker.Silence, breaker.Silence, breaker.Goodbye, breaker.Slow), Class: oneOf(t, "server", "laptop")}
	e.Control.Watched = oneOf[int64](t, 0, 5, 150, 2000)
	outage := e.Control.Watched >= 150 && t.IntN(10) == 9
	if outage {
		e.Control.Showed = e.Control.Watched
	} else if e.Control.Watched > 0 {
		e.Control.Showed = t.Int64N(1 + e.Control.Watched/100)
	}
	for _, h := range s.fleet {
		if !placed(h) || h.watched || t.IntN(2) == 0 {
			continue
		}
		h.watched = e.Signal == breaker.Silence
		i := slices.IndexFunc(e.Exposed, func(a rollout.StratumArm) bool { return a.Stratum == h.stratum })
		if i < 0 {
			i = len(e.Exposed)
			e.Exposed = append(e.Exposed, rollout.StratumArm{Stratum: h.stratum})
		}
		e.Exposed[i].Watched++
		if outage || h.prior == rollout.Silent {
			e.Exposed[i].Showed++
		}
	}
	return e
}

// any is the first host from i on of which this is known; i itself if there is none.
func (s *story) any(i int, prior rollout.Outcome) int {
	for j := range s.fleet {
		if k := (i + j) % len(s.fleet); s.fleet[k].prior == prior {
			return k
		}
	}
	return i
}

func (s *story) look(t *teller) rollout.Woke {
	e := rollout.Woke{At: s.now, Eligible: int64(len(s.fleet)), Heard: allHeard(s.state)}
	seen := map[string]bool{}
	for _, h := range s.fleet {
		stratum := h.stratumIn(s.state.Plan)
		seen[stratum] = seen[stratum] || h.prior == rollout.Confirmed
		if !placed(h) && !s.held(h.subject) {
			e.Remaining++
			ring := s.state.Plan.Rings[s.state.Ring]
			if ring.Select.Matches(h.subject) && s.capped(h) == 0 {
				e.Available++
				if len(ring.Prefer) > 0 && ring.Prefer.Matches(h.subject) {
					e.Preferred++
				}
			}
		}
	}
	for _, confirmed := range seen {
		e.Large++
		if confirmed {
			e.Seen++
		}
	}
	if t.IntN(3) > 0 {
		e.Gates = []evidence.GateResult{{Name: "errors", OK: t.IntN(3) > 0}}
	}
	return e
}

// capped tells how many of a host's tenant and site have their share of the open ring already.
func (s *story) capped(h *host) int {
	p, all, full := s.state.Plan, int64(len(s.fleet)), 0
	if !p.Capped(s.state.Ring) {
		return 0
	}
	tenant, site := s.scope(string(h.subject.Tenant), ""), s.scope("", h.subject.Attributes.Site)
	if tenant.Exposed >= rollout.CapOf(p.Caps.Tenant, tenant, all) {
		full++
	}
	if site.Exposed >= rollout.CapOf(p.Caps.Site, site, all) {
		full++
	}
	return full
}

func (s *story) held(subject fleet.Subject) bool {
	return slices.ContainsFunc(s.state.Holds, func(h rollout.Hold) bool { return h.Select.Matches(subject) })
}

// lie makes up an event about hosts, rings and counts that do not exist.
func (s *story) lie(t *teller) rollout.Event {
	outcome := func() rollout.Outcome {
		return oneOf(t, "", rollout.Pending, rollout.Confirmed, rollout.Crashed, rollout.Reverted, rollout.Rejected, rollout.Silent,
			rollout.Goodbye, rollout.Late, "x")
	}
	number := func() int64 { return oneOf(t, int64(t.IntN(100))-3, math.MinInt64, math.MaxInt64) }
	scope := func() rollout.Scope {
		return rollout.Scope{Name: oneOf(t, "", "liars"), Size: number(), Exposed: number(), Harmed: number()}
	}
	arm := func() breaker.Arm { return breaker.Arm{Watched: number(), Showed: number()} }
	stratum := oneOf(t, "", "os liar", "os linux", "os windows, kernel 6.1")
	ring := t.IntN(7) - 1
	switch t.IntN(8) {
	case 0:
		return rollout.Started{At: s.now, Plan: drawPlan(t), Eligible: 1 << 40}
	case 1:
		return rollout.LeaseAsked{At: s.now, Host: rollout.Host{
			Sought:   true,
			Endpoint: "liar", Stratum: stratum, Prior: outcome(), PriorRing: ring, Tenant: scope(), Site: scope(), Fleet: number(),
		}}
	case 2, 3:
		return rollout.OutcomeKnown{
			At: s.now, Endpoint: "liar", Ring: ring, Was: outcome(), Outcome: outcome(), Stratum: stratum, Tenant: scope(), Site: scope(), Fleet: number(),
		}
	case 4:
		return rollout.HostBooted{At: s.now, Endpoint: "liar", Ring: ring}
	case 5:
		return rollout.HostRecovered{At: s.now, Endpoint: "liar", Was: outcome()}
	case 6:
		return rollout.Compared{
			At: s.now, Signal: oneOf(t, breaker.Silence, breaker.Goodbye, "x"), Class: fmt.Sprint(number()), Control: arm(),
			Exposed: []rollout.StratumArm{{Stratum: stratum, Arm: arm()}, {Stratum: "os linux", Arm: arm()}},
		}
	default:
		return rollout.Woke{
			At: s.now, Eligible: number(), Remaining: number(), Available: number(), Heard: number(), Large: number(), Seen: number(),
		}
	}
}

// allHeard is the count of a caller that hears every confirmed host.
func allHeard(s rollout.State) int64 {
	if len(s.Rings) == 0 {
		return 0
	}
	k := s.Ring
	if k > 0 && s.Rings[k].Leased == 0 {
		k--
	}
	return s.Rings[k].Confirmed
}

// learn is the caller's own book-keeping.
func (s *story) learn(c chapter, h *host) {
	gap := min(max(c.after.Last.Sub(c.before.Last), 0), rollout.MaxGap)
	for k := range s.hours {
		if !c.before.Phase.Final() {
			running := c.before.Rings[k].Confirmed
			if k == c.before.Ring {
				running = min(running, c.before.Heard)
			}
			s.hours[k] += float64(running) * gap.Hours()
		}
	}
	switch e := c.event.(type) {
	case rollout.LeaseAsked:
		for _, effect := range c.effects {
			if grant, ok := effect.(rollout.GrantLease); ok && h != nil {
				h.prior, h.ring, h.stratum, h.watched = rollout.Pending, grant.Ring, e.Host.Stratum, false
			}
		}
	case rollout.OutcomeKnown:
		if to, ok := rollout.Follow(e.Was, e.Outcome); ok && h != nil {
			h.prior = to
			s.good[h] = s.good[h] || to == rollout.Confirmed
		}
	case rollout.HostBooted:
		if h != nil {
			s.boots[e.Ring]++
		}
	case rollout.Started, rollout.HostRecovered, rollout.Woke, rollout.OperatorActed, rollout.Compared, rollout.FreezesSet, rollout.CellsHeard:
	}
	for k := range s.open {
		if f := s.facts(k); f.Confirmed+f.Goodbye+f.Harmed < s.state.Plan.Rings[k].Evidence.ResolvedOf(f.Leased) {
			s.open[k] = c.after.Observed
		}
	}
}

// facts counts what ring k has shown, from the hosts themselves; only whose reports were set aside is the state's own affair.
func (s *story) facts(k int) evidence.Facts {
	f := evidence.Facts{Boots: s.boots[k], HostHours: s.hours[k], Baked: s.state.Observed - s.open[k]}
	var away, reported int64
	for _, h := range s.fleet {
		if h.ring != k || !placed(h) {
			continue
		}
		f.Leased++
		switch {
		case h.prior == rollout.Confirmed:
			f.Confirmed++
			f.Heard++
		case h.prior == rollout.Goodbye:
			f.Goodbye++
		case h.prior.Harms():
			f.Harmed++
			if h.prior == rollout.Crashed || h.prior == rollout.Reverted {
				reported++
			} else {
				away++
			}
		}
	}
	aside := s.state.Rings[k].Aside
	f.Places = f.Leased - min(f.Goodbye+away+aside, s.size(k))
	f.Blamed = reported - aside
	if !slices.ContainsFunc(s.state.Breaker.Classes, func(c breaker.Class) bool { return c.Silence.Control.Watched > 0 }) {
		f.Blamed += away
	}
	return f
}

// size is how many hosts ring k of the story holds: as many as when it opened, but for the last.
func (s *story) size(k int) int64 {
	if opened := s.state.Rings[k].Size; opened > 0 && !s.state.Plan.Last(k) {
		return opened
	}
	var earlier int64
	for _, r := range s.state.Rings[:k] {
		earlier += r.Leased
	}
	return s.state.Plan.Size(k, s.state.Eligible, earlier)
}

func (s *story) scope(tenant, site string) rollout.Scope {
	scope := rollout.Scope{Name: tenant + site}
	for _, h := range s.fleet {
		if tenant == "" && h.subject.Attributes.Site != site || site == "" && string(h.subject.Tenant) != tenant {
			continue
		}
		scope.Size++
		if placed(h) {
			scope.Exposed++
		}
		if h.prior == rollout.Crashed || h.prior == rollout.Reverted {
			scope.Harmed++
		}
	}
	return scope
}

func placed(h *host) bool { return h.prior != rollout.Unleased && h.prior != rollout.Rejected }

// consistent checks what holds in every state, whatever was said: hosts are counted once. The alarm is what the evidence calls for after
// every look.
func consistent(t *teller, c chapter) {
	s := c.after
	var unconfirmed int64
	for k, r := range s.Rings {
		for name, n := range map[string]int64{
			"leased": r.Leased, "confirmed": r.Confirmed, "crashed": r.Crashed, "reverted": r.Reverted, "silent": r.Silent,
			"goodbye": r.Goodbye, "late": r.Late, "rejected": r.Rejected, "unconfirmed": r.Leased - r.Resolved(), "aside": r.Aside,
			"reported and not aside": r.Crashed + r.Reverted - r.Aside,
		} {
			if n < 0 {
				t.Fatalf("ring %d has %d %s hosts after %#v", k, n, name, c.event)
			}
		}
		unconfirmed += r.Leased - r.Resolved()
	}
	if s.Unconfirmed != unconfirmed {
		t.Fatalf("got %d unconfirmed hosts, want %d, the sum over the rings, after %#v", s.Unconfirmed, unconfirmed, c.event)
	}
	for _, stratum := range s.Strata {
		if min(stratum.Leased, stratum.Pending, stratum.Confirmed, stratum.Harmed, stratum.Crashes.Bad, stratum.Crashes.Booked-stratum.Crashes.Bad) < 0 {
			t.Fatalf("a stratum counts %+v after %#v", stratum, c.event)
		}
		if stratum.Held && !slices.ContainsFunc(s.Holds, func(h rollout.Hold) bool { return cmp.Equal(h.Select, stratum.Select) }) {
			t.Fatalf("%s is held without a hold after %#v", stratum.Name, c.event)
		}
	}
	if _, woke := c.event.(rollout.Woke); woke && s.Armed(s.Last) && s.Alarm != weigh(s).Alarm(s.Plan.Breaker) {
		t.Fatalf("got alarm %s at %+v after %#v", s.Alarm, weigh(s), c.event)
	}
	if _, err := rollout.EncodeEffects(c.effects); err != nil {
		t.Fatalf("effects of %#v: %v", c.event, err)
	}
	for _, e := range []float64{s.Evidence(), s.Window, weigh(s).Doubt} {
		if math.IsNaN(e) || math.IsInf(e, 0) {
			t.Fatalf("the state cannot be stored after %#v: %+v", c.event, s)
		}
	}
}

// honest checks what holds when every event tells the truth: strata add up to the rings, and the good hosts of every test are those that
// are pending or well.
func honest(t *teller, c chapter) {
	s := c.after
	var leased, pending, confirmed, harmed, good int64
	for _, stratum := range s.Strata {
		leased, pending = leased+stratum.Leased, pending+stratum.Pending
		confirmed, harmed = confirmed+stratum.Confirmed, harmed+stratum.Harmed
		if got, want := stratum.Crashes.Booked-stratum.Crashes.Bad, stratum.Pending+stratum.Confirmed; got != want {
			t.Fatalf("%s counts %d good hosts, want %d after %#v", stratum.Name, got, want, c.event)
		}
		if !stratum.Held {
			good += stratum.Pending + stratum.Confirmed
		}
	}
	if leased != s.Exposed() || pending != s.Unconfirmed || confirmed != s.Confirmed() || harmed != s.Harmed() {
		t.Fatalf("the strata have %d, %d, %d, %d hosts leased, pending, confirmed and harmed, the rings %d, %d, %d, %d, after %#v",
			leased, pending, confirmed, harmed, s.Exposed(), s.Unconfirmed, s.Confirmed(), s.Harmed(), c.event)
	}
	if got := s.Breaker.Crashes.Booked - s.Breaker.Crashes.Bad; got != good {
		t.Fatalf("the breaker counts %d good hosts, want %d after %#v", got, good, c.event)
	}
}

// weigh is the evidence by the book: everything but the held strata.
func weigh(s rollout.State) breaker.Weight {
	return s.Breaker.Weigh(s.Plan.Breaker, func(yield func(int, *breaker.Slice) bool) {
		for i := range s.Strata {
			if !s.Strata[i].Held && !yield(i, &s.Strata[i].Slice) {
				return
			}
		}
	}, len(s.Strata))
}

// lines writes a story as FuzzStep reads it.
func lines(log []entry) []byte {
	var b strings.Builder
	for _, e := range log {
		fmt.Fprintf(&b, "%s %s\n", e.name, e.data)
	}
	return []byte(b.String())
}
