//go:build unix

package torture

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/bits"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/replica"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// What the lease protocol promises, as an object that a single thread would have: two rollouts with two places each. A host has a place in one
// of them at most, and nobody gets a place once the rollout is halted. A refusal may come at any time: to wait does no harm.
const (
	rollouts   = 2
	places     = 2
	modelHosts = 6
	modelLife  = 200 * time.Millisecond
)

type deed int

const (
	ask deed = iota
	decline
	halt
)

// asked is an operation, answered its outcome.
type (
	asked struct {
		deed          deed
		rollout, host int
	}
	answered int
)

const (
	unknown answered = iota // there was an error: it may have happened, or happen later, or never
	yes
	no
)

func (a asked) String() string {
	return fmt.Sprintf("%s rollout %d, host %d", [...]string{"ask", "decline", "halt"}[a.deed], a.rollout, a.host)
}

// granted is the state of the model.
type granted struct {
	leased [rollouts]uint
	halted [rollouts]bool
}

// next is the state after an operation that took place; the second result is false if it may not.
func (g granted) next(a asked) (granted, bool) {
	bit := uint(1) << a.host
	switch a.deed {
	case ask:
		if g.halted[a.rollout] || g.leased[1-a.rollout]&bit != 0 || g.leased[a.rollout]&bit == 0 && bits.OnesCount(g.leased[a.rollout]) >= places {
			return g, false
		}
		g.leased[a.rollout] |= bit
	case decline:
		g.leased[a.rollout] &^= bit
	case halt:
		g.halted[a.rollout] = true
	}
	return g, true
}

func model() porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{granted{}} },
		Step: func(state, input, output any) []any {
			before := state.(granted)
			after, may := before.next(input.(asked))
			switch output.(answered) {
			case yes:
				if !may {
					return nil
				}
				return []any{after}
			case no:
				return []any{before}
			case unknown:
				if may && after != before {
					return []any{before, after}
				}
			}
			return []any{before}
		},
		DescribeOperation: func(input, output any) string {
			return fmt.Sprintf("%v -> %s", input, [...]string{"unknown", "yes", "no"}[output.(answered)])
		},
	}
	return m.ToModel()
}

// pair is two replicas over one database, and the history of what was asked of them.
type pair struct {
	t       *testing.T
	db      *store.Store
	members [2]*member
	ids     [rollouts]string
	wishes  [rollouts]api.Wish
	time    atomic.Int64
	seqs    [modelHosts]atomic.Int64
	mu      sync.Mutex
	history []porcupine.Operation
}

// member is a replica whose process can be stopped, as far as its database goes.
type member struct {
	*replica.Replica
	heart, pen gate // heartbeats, and what the engine decides
}

// gate holds up whoever comes while it is shut.
type gate struct {
	mu sync.RWMutex
}

func (g *gate) pass() { g.mu.RLock(); g.mu.RUnlock() } //nolint:staticcheck // waiting is all
func (g *gate) shut() { g.mu.Lock() }
func (g *gate) open() { g.mu.Unlock() }

// stopping is a replica's database while its heart may stop.
type stopping struct {
	*store.Store
	m *member
}

// Lead implements replica.Store.
func (s stopping) Lead(ctx context.Context, holder string, life time.Duration) (store.Leadership, error) {
	s.m.heart.pass()
	return s.Store.Lead(ctx, holder, life)
}

// Renew implements replica.Store.
func (s stopping) Renew(ctx context.Context, term int64, life time.Duration) error {
	s.m.heart.pass()
	return s.Store.Renew(ctx, term, life)
}

// ticking is a replica's clock while its heart may stop: it does not learn that its time is over.
type ticking struct {
	clock.Wall
	m *member
}

// Sleep implements clock.Clock.
func (c ticking) Sleep(ctx context.Context, d time.Duration) error {
	err := c.Wall.Sleep(ctx, d)
	c.m.heart.pass()
	return err
}

// deciding is an engine's database while its pen may stop.
type deciding struct {
	*store.Store
	m *member
}

// Commit implements engine.Store.
func (d deciding) Commit(ctx context.Context, c store.Commit) error {
	d.m.pen.pass()
	return d.Store.Commit(ctx, c)
}

type seal struct{}

func (seal) Sign(_ context.Context, d api.Directive) ([]byte, error)  { return json.Marshal(d) }
func (seal) SignLease(_ context.Context, l api.Lease) ([]byte, error) { return json.Marshal(l) }
func (seal) Notify(context.Context, string, string)                   {}

// reigning is an engine as replicas want their leader.
type reigning struct{ *engine.Engine }

func (reigning) Submit(context.Context, string, []byte) (api.Submission, error) {
	return api.Submission{}, nil
}
func (reigning) Discard(context.Context, string) error { return nil }

func modelHost(n int) fleet.EndpointID { return fleet.EndpointID(fmt.Sprintf("ep-%020x", n+1)) }

// newPair starts two replicas with a running rollout of each of two components. Without fences what a leader writes does not name its term.
func newPair(t *testing.T, fenced bool) *pair {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "firebreak.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	p := &pair{t: t, db: db}
	for n := range modelHosts {
		parts, err := json.Marshal(map[string]api.Component{components[0]: {Kind: "content", Phase: "idle"}, components[1]: {Kind: "content", Phase: "idle"}})
		p.ok(err)
		e := store.Endpoint{ID: modelHost(n), Tenant: fleet.DefaultTenant, Enrolled: now(), LastSeen: now(), Components: parts}
		p.ok(db.PutEndpoint(t.Context(), e))
		p.ok(db.SaveEndpoint(t.Context(), e))
	}
	for i := range p.members {
		p.members[i] = p.join(fmt.Sprintf("member-%d", i), fenced)
	}
	for i := range rollouts {
		version := p.publish(i)
		r, err := p.members[0].Start(t.Context(), api.StartRollout{Component: components[i], Version: version}, "alice")
		p.ok(err)
		row, err := db.Rollout(t.Context(), rollout.ID(r.ID))
		p.ok(err)
		p.ids[i], p.wishes[i] = r.ID, api.Wish{Component: components[i], Rollout: r.ID, Manifest: string(row.State.Release.Manifest)}
	}
	return p
}

func (p *pair) ok(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatalf("got error %v, want none", err)
	}
}

func (p *pair) publish(i int) string {
	p.t.Helper()
	m := release.Manifest{
		Format: 1, Component: components[i], Version: "v1", Serial: 1, Kind: release.Content, Created: now().Add(-time.Minute),
		Artifacts: []release.Artifact{{
			Platform: release.AnyPlatform, Format: release.File, Name: "rules.json", Digest: release.DigestOf([]byte(components[i])), Size: 7,
		}},
		Plan: plan.Plan{
			Name: "two", Rings: []plan.Ring{{Name: "first", Hosts: places, Evidence: evidence.Requirement{Bake: evidence.Duration(time.Hour)}}, {Name: "rest", Share: 1}},
			Window: plan.Window{Start: 100_000, Max: 100_000},
			Lease:  plan.Lease{Expires: plan.Duration(time.Minute), Deadline: plan.Duration(time.Hour)},
		}.Defaulted(),
	}
	data, err := json.Marshal(m)
	p.ok(err)
	p.ok(p.db.SaveMetadata(p.t.Context(), nil, []release.Published{{Manifest: m, Digest: release.DigestOf(data)}}))
	return m.Version
}

func (p *pair) join(name string, fenced bool) *member {
	p.t.Helper()
	m, hosts, log := &member{}, registry.New(), slog.New(slog.DiscardHandler)
	var ids atomic.Int64
	r, err := replica.New(p.t.Context(), replica.Options{
		Store: stopping{p.db, m}, Fleet: hosts, Nudge: func(string) {}, Clock: ticking{m: m}, Log: log, Name: name, Life: modelLife, Grace: time.Minute,
		Open: func(ctx context.Context, term int64) (replica.Leader, error) {
			s := p.db
			if fenced {
				s = p.db.Fenced(term)
			}
			e, err := engine.New(ctx, engine.Options{
				Store: deciding{s, m}, Settings: s, Releases: s, Directives: s, Fleet: hosts, Signer: seal{}, Notifier: seal{}, Clock: clock.Wall{}, Log: log,
				NewID: func(prefix string) string { return fmt.Sprintf("%s-%s-%d", prefix, name, ids.Add(1)) },
				Nudge: func(string) {}, Tick: 20 * time.Millisecond, Grace: time.Minute, Reach: time.Hour, Hearing: time.Hour, Freshness: time.Hour,
			})
			return reigning{e}, err
		},
	})
	p.ok(err)
	m.Replica = r
	ctx, cancel := context.WithCancel(context.WithoutCancel(p.t.Context()))
	var done sync.WaitGroup
	done.Go(func() { _ = r.Run(ctx) })
	p.t.Cleanup(func() {
		cancel()
		done.Wait()
	})
	return m
}

// do does one thing through a member, and writes it down.
func (p *pair) do(m *member, a asked) answered {
	call := p.time.Add(1)
	out := p.try(m, a)
	end := p.time.Add(1)
	if out == unknown {
		end = math.MaxInt64
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.history = append(p.history, porcupine.Operation{ClientId: a.host, Input: a, Call: call, Output: out, Return: end})
	return out
}

func (p *pair) try(m *member, a asked) answered {
	ctx := p.t.Context()
	switch a.deed {
	case ask:
		envelope, _, err := m.Ask(ctx, modelHost(a.host), p.wishes[a.rollout])
		if err == nil && envelope == nil {
			return no
		}
		return outcome(err)
	case decline:
		wish, seq := p.wishes[a.rollout], p.seqs[a.host].Add(1)
		data, err := json.Marshal(api.Report{Seq: seq, Component: wish.Component, Rollout: wish.Rollout, Manifest: wish.Manifest, Outcome: "rejected"})
		p.ok(err)
		if _, err = p.db.AddReports(ctx, modelHost(a.host), now(), []store.Report{{Seq: seq, Data: data}}); err != nil {
			return unknown
		}
		return outcome(m.Take(ctx, modelHost(a.host)))
	case halt:
		_, err := m.Act(ctx, p.ids[a.rollout], rollout.OperatorActed{Action: rollout.Halt, Actor: "bob", Reason: "enough"})
		return outcome(err)
	}
	return unknown
}

func outcome(err error) answered {
	if err != nil {
		return unknown
	}
	return yes
}

// judge says whether the history is that of the model.
func (p *pair) judge() porcupine.CheckResult {
	p.t.Helper()
	result, _ := porcupine.CheckOperationsVerbose(model(), p.history, patience)
	return result
}

// leads waits until a member leads.
func (p *pair) leads(m *member) {
	p.t.Helper()
	for begun := now(); ; <-after(5 * time.Millisecond) {
		if yes, _, _ := m.Leads(); yes {
			return
		}
		if now().Sub(begun) > patience {
			p.t.Fatal("it does not lead")
		}
	}
}

// Hosts ask, decline and ask again through both replicas, operators halt, and the leader's process is stopped for longer than its lead lives,
// over and over. All that comes of it could have come of a single thread.
func TestLeaseProtocolIsLinearizable(t *testing.T) {
	t.Parallel()
	for round := range uint64(3) {
		p := newPair(t, true)
		random := rand.New(rand.NewPCG(*seed, round))
		stop := make(chan struct{})
		var clients, faults sync.WaitGroup
		faults.Go(func() { p.pause(random, stop) })
		for host := range modelHosts {
			random := rand.New(rand.NewPCG(*seed+round, uint64(host)+10))
			clients.Go(func() {
				for range 40 {
					a := asked{deed: deed(random.IntN(2)), rollout: random.IntN(rollouts), host: host}
					if random.IntN(400) == 0 {
						a.deed = halt
					}
					p.do(p.members[random.IntN(2)], a)
					<-after(time.Duration(random.IntN(15)) * time.Millisecond)
				}
			})
		}
		clients.Wait()
		for i := range rollouts {
			p.do(p.members[0], asked{deed: halt, rollout: i})
			p.do(p.members[1], asked{deed: ask, rollout: i})
		}
		close(stop)
		faults.Wait()
		tally := map[string]int{}
		for _, o := range p.history {
			tally[fmt.Sprintf("%d/%d", o.Input.(asked).deed, o.Output.(answered))]++
		}
		led, err := p.db.Leader(t.Context())
		p.ok(err)
		t.Logf("round %d: %d operations (deed/answer) %v, %d terms", round, len(p.history), tally, led.Term)
		if tally["0/1"] == 0 || tally["1/1"] == 0 {
			t.Errorf("got %v, want leases and declined ones", tally)
		}
		if got := p.judge(); got != porcupine.Ok {
			t.Errorf("got %s with -seed %d, want a linearizable history:\n%v", got, *seed, p.history)
		}
	}
}

// pause stops whoever leads, again and again.
func (p *pair) pause(random *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-after(time.Duration(50+random.IntN(250)) * time.Millisecond):
		}
		m := p.members[0]
		if yes, _, _ := p.members[1].Leads(); yes {
			m = p.members[1]
		}
		m.heart.shut()
		if random.IntN(2) == 0 { // else its engine goes on, and does not know
			m.pen.shut()
			<-after(time.Duration(random.IntN(600)) * time.Millisecond)
			m.pen.open()
		} else {
			<-after(time.Duration(random.IntN(600)) * time.Millisecond)
		}
		m.heart.open()
	}
}

// A leader that does not know yet that it was replaced can do no harm; without fences it does, and the model finds it.
func TestLeaseProtocolNeedsFences(t *testing.T) {
	t.Parallel()
	for fenced, want := range map[bool]porcupine.CheckResult{true: porcupine.Ok, false: porcupine.Illegal} {
		p := newPair(t, fenced)
		old, next := p.members[0], p.members[1]
		p.leads(old)
		old.heart.shut()
		p.leads(next)
		first := p.do(next, asked{deed: ask, rollout: 0, host: 3})
		second := p.do(old, asked{deed: ask, rollout: 1, host: 3})
		old.heart.open()
		if first != yes || fenced == (second == yes) {
			t.Errorf("fenced %t: got answers %d and %d, want a lease from the new leader, and from the old one only without fences", fenced, first, second)
		}
		if got := p.judge(); got != want {
			t.Errorf("fenced %t: got %s, want %s: one risk at a time", fenced, got, want)
		}
	}
}
