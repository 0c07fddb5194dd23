package rollout_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

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
	forgets bool // the state goes through its stored form between events, as if the server restarted
	ill     int  // of a hundred outcomes, how many are not confirmations
	fleet   []*host
	hours   []float64       // per ring: host hours, counted apart from State
	boots   []int64         // per ring
	open    []time.Duration // per ring: observed time when a host without outcome was last there
	good    map[*host]bool  // hosts that ever confirmed
}

// chapter is one event of a story and what came of it.
type chapter struct {
	before, after rollout.State
	event         rollout.Event
	effects       []rollout.Effect
}

// tally counts what the stories of a test were about, so that a test that proves nothing fails.
type tally struct{ leased, opened, completed, amber, tripped, finals int }

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
		for range 1 + t.IntN(300) {
			c := s.next(t)
			seen.note(c)
			consistent(t, c)
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
}

// begin starts a rollout of a random sound plan.
func begin(t *teller, hostile bool) *story {
	p := drawPlan(t)
	size := 1 + t.IntN(20)
	s := &story{
		world: world{now: epoch, eligible: int64(size), hasty: !hostile}, hostile: hostile, ill: oneOf(t, 0, 5, 5, 20, 40), forgets: t.IntN(4) == 3, good: map[*host]bool{},
		hours: make([]float64, len(p.Rings)), boots: make([]int64, len(p.Rings)), open: make([]time.Duration, len(p.Rings)),
	}
	for i := range size {
		h := &host{subject: fleet.Subject{Tenant: fleet.TenantID(fmt.Sprint("t", i%3)), Attributes: fleet.Attributes{OS: "linux", Site: fmt.Sprint(i % 4)}}}
		if i%5 == 0 {
			h.subject.Attributes.OS = "windows"
		}
		s.fleet = append(s.fleet, h)
	}
	s.step(t, rollout.Started{At: s.now, ID: "r", Plan: p, Eligible: s.eligible, Actor: "ann"})
	return s
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
			ExcessBelow: draw(0, 0, 0, 0, 0, 0, 0, 0.9),
		}
		if t.IntN(10) == 9 {
			p.Rings[i].Select = fleet.Selector{"os": {"linux"}}
		}
	}
	p.Window = plan.Window{Start: 1 + int64(t.IntN(5)), Growth: draw(1, 1.5, 2, 3), Max: int64(draw(0, 5, 12))}
	p.Breaker.Ceiling, p.Breaker.Amber = draw(1e-3, 0.02, 0.2), draw(2, 20)
	p.Caps = plan.Caps{Tenant: draw(0, 0, 0.3), Site: draw(0, 0, 0.3)}
	p.Watch = plan.Duration(draw(1, 72) * float64(time.Hour))
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
	i := t.IntN(len(s.fleet))
	kind := t.IntN(30)
	switch {
	case kind < 11:
		i = s.any(i, rollout.Unleased)
	case kind >= 14 && kind < 24:
		i = s.any(i, rollout.Pending)
	case kind == 25:
		i = s.any(i, rollout.Confirmed)
	}
	h, id := s.fleet[i], fleet.EndpointID(fmt.Sprint("h", i))
	switch {
	case kind < 14 && h.prior == rollout.Confirmed && t.IntN(20) > 0: // a host that is well seldom asks again
	case kind < 14:
		return rollout.LeaseAsked{At: s.now, Host: rollout.Host{
			Endpoint: id, Subject: h.subject, Prior: h.prior, PriorRing: h.ring,
			Tenant: s.scope(string(h.subject.Tenant), ""), Site: s.scope("", h.subject.Attributes.Site), Fleet: int64(len(s.fleet)),
		}}, h
	case kind < 25:
		outcome := rollout.Confirmed
		if t.IntN(100) < s.ill {
			outcome = oneOf(t, rollout.Crashed, rollout.Reverted, rollout.Silent, rollout.Silent, rollout.Goodbye, rollout.Goodbye,
				rollout.Goodbye, rollout.Rejected, rollout.Rejected, rollout.Late, rollout.Pending)
		}
		return rollout.OutcomeKnown{At: s.now, Endpoint: id, Ring: h.ring, Was: h.prior, Outcome: outcome}, h
	case kind == 25 && h.prior == rollout.Confirmed:
		return rollout.HostBooted{At: s.now, Endpoint: id, Ring: h.ring}, h
	case kind == 26 && t.IntN(10) == 9:
		action := oneOf(t, rollout.Pause, rollout.Pause, rollout.Pause, rollout.Resume, rollout.Resume, rollout.Resume, rollout.Resume,
			rollout.Halt, rollout.RollBack, "dance")
		return rollout.OperatorActed{At: s.now, Action: action, Actor: "ann"}, nil
	case kind == 27 && s.hostile:
		return s.lie(t), nil
	}
	return s.look(), nil
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

func (s *story) look() rollout.Woke {
	e := rollout.Woke{At: s.now, Eligible: int64(len(s.fleet)), Heard: allHeard(s.state)}
	for _, h := range s.fleet {
		if !placed(h) {
			e.Remaining++
			if s.state.Plan.Rings[s.state.Ring].Select.Matches(h.subject) {
				e.Available++
			}
		}
	}
	return e
}

// lie makes up an event about hosts, rings and counts that do not exist.
func (s *story) lie(t *teller) rollout.Event {
	outcome := func() rollout.Outcome {
		return oneOf(t, "", rollout.Pending, rollout.Confirmed, rollout.Crashed, rollout.Reverted, rollout.Rejected, rollout.Silent,
			rollout.Goodbye, rollout.Late, "x")
	}
	number := func() int64 { return int64(t.IntN(100)) - 3 }
	ring := t.IntN(7) - 1
	switch t.IntN(6) {
	case 0:
		return rollout.Started{At: s.now, Plan: drawPlan(t), Eligible: 1 << 40}
	case 1:
		return rollout.LeaseAsked{At: s.now, Host: rollout.Host{Endpoint: "liar", Prior: outcome(), PriorRing: ring}}
	case 2:
		return rollout.OutcomeKnown{At: s.now, Endpoint: "liar", Ring: ring, Was: outcome(), Outcome: outcome()}
	case 3:
		return rollout.HostBooted{At: s.now, Endpoint: "liar", Ring: ring}
	case 4:
		return rollout.HostRecovered{At: s.now, Endpoint: "liar", Was: outcome()}
	default:
		return rollout.Woke{At: s.now, Eligible: number(), Remaining: number(), Available: number(), Heard: number()}
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
				h.prior, h.ring = rollout.Pending, grant.Ring
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
	case rollout.Started, rollout.HostRecovered, rollout.Woke, rollout.OperatorActed:
	}
	for k := range s.open {
		if f := s.facts(k); f.Leased != f.Confirmed+f.Goodbye+f.Harmed {
			s.open[k] = c.after.Observed
		}
	}
}

// facts counts what ring k has shown, from the hosts themselves.
func (s *story) facts(k int) evidence.Facts {
	f := evidence.Facts{Boots: s.boots[k], HostHours: s.hours[k], Baked: s.state.Observed - s.open[k]}
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
		}
	}
	return f
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
	}
	return scope
}

func placed(h *host) bool { return h.prior != rollout.Unleased && h.prior != rollout.Rejected }

// consistent checks what holds in every state, whatever was said: hosts are counted once, and the breaker's good hosts are those that
// are pending or well. The alarm is what the evidence calls for whenever it may have changed.
func consistent(t *teller, c chapter) {
	s := c.after
	var unconfirmed int64
	for k, r := range s.Rings {
		for name, n := range map[string]int64{
			"leased": r.Leased, "confirmed": r.Confirmed, "crashed": r.Crashed, "reverted": r.Reverted, "silent": r.Silent,
			"goodbye": r.Goodbye, "late": r.Late, "rejected": r.Rejected, "unconfirmed": r.Leased - r.Resolved(),
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
	if got, want := s.Breaker.Booked-s.Breaker.Bad, s.Unconfirmed+s.Confirmed(); got != want {
		t.Fatalf("the breaker counts %d good hosts, want %d after %#v", got, want, c.event)
	}
	_, outcome := c.event.(rollout.OutcomeKnown)
	_, woke := c.event.(rollout.Woke)
	moved := outcome && s.Unconfirmed+s.Confirmed()+s.Harmed() != c.before.Unconfirmed+c.before.Confirmed()+c.before.Harmed()
	if (moved || woke) && c.before.Armed(s.Last) && s.Alarm != s.Breaker.Alarm(s.Plan.Breaker) {
		t.Fatalf("got alarm %s at evidence %g after %#v", s.Alarm, s.Evidence(), c.event)
	}
	if _, err := rollout.EncodeEffects(c.effects); err != nil {
		t.Fatalf("effects of %#v: %v", c.event, err)
	}
}

// lines writes a story as FuzzStep reads it.
func lines(log []entry) []byte {
	var b strings.Builder
	for _, e := range log {
		fmt.Fprintf(&b, "%s %s\n", e.name, e.data)
	}
	return []byte(b.String())
}
