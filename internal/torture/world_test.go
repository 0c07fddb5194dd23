//go:build unix

package torture

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres/postgrestest"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/publisher"
)

var components = []string{"amber-content", "beryl-content", "coral-content"}

// world is an installation with its hosts and operators, and what breaks it.
type world struct {
	t      *testing.T
	seed   uint64
	begun  time.Time
	poll   time.Duration // of hosts
	plan   plan.Plan
	data   string // directory of the planes
	small  string // directory on a small disk that can be filled; empty: there is none
	server *postgrestest.Server
	name   string // of the database
	planes []*plane
	hosts  []*host

	deadline       time.Duration // of leases
	operator, join string        // tokens
	fingerprint    string
	director       trust.Keys
	clients        []*client.Client
	publisher      *publisher.Publisher
	releases       int
	how            atomic.Int32 // the hosts' mood
	random         *mathrand.Rand
	mu             sync.Mutex
	counts         map[string]int64
	faults         map[string]int64
	schedule       []string
	violations     []string
	directives     map[string][32]byte // by component and sequence
	newest         map[string]int64
	stopped        map[string]stopped // rollouts that operators ended
	turns          []turned           // of clocks
	clockwork      string             // the rollout while which only clocks were set
	publishing     *client.Client     // whom the publisher talks to
}

// stopped is when an operator knew that a rollout exposes nobody any more.
type stopped struct {
	at  time.Time
	how string
}

func now() time.Time { return clock.Wall{}.Now() }

func after(d time.Duration) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = clock.Wall{}.Sleep(context.Background(), d)
	}()
	return done
}

func (w *world) mood() mood    { return mood(w.how.Load()) }
func (w *world) become(m mood) { w.how.Store(int32(m)) }

// thousands is from what duration on there are thousands of hosts: it takes a while until all of them have had their turn.
const thousands = time.Minute

// newWorld starts an installation, which is to be tortured for so long.
func newWorld(t *testing.T, replicas bool, length time.Duration) *world {
	t.Helper()
	w := &world{
		t: t, seed: *seed, begun: now(), counts: map[string]int64{}, faults: map[string]int64{}, directives: map[string][32]byte{},
		newest: map[string]int64{}, stopped: map[string]stopped{}, data: filepath.Join(t.TempDir(), "data"),
	}
	if w.seed == 0 {
		w.seed = uint64(w.begun.UnixNano())
	}
	n := *endpoints
	switch {
	case n > 0:
	case length >= thousands:
		n = 2000
	default:
		n = 100
	}
	w.random = w.randomOf(1)
	w.poll = max(300*time.Millisecond, time.Duration(n)*3*time.Millisecond)
	w.deadline = 6*time.Second + 4*w.poll
	w.plan = w.steps(n)
	w.makeSmall(n)
	planes := 1
	if replicas {
		planes = 3
		w.openServer()
	} else if w.small != "" {
		w.data = filepath.Join(w.small, "data")
	}
	for i := range planes {
		w.planes = append(w.planes, w.newPlane(i))
	}
	w.found()
	w.stage("hosts join")
	w.populate(n, length)
	w.stage(fmt.Sprintf("%d hosts of %d have joined", w.counted("joins"), n))
	return w
}

func (w *world) randomOf(what uint64) *mathrand.Rand {
	return mathrand.New(mathrand.NewPCG(w.seed, what))
}

// steps is a plan of three rings that bake for a moment. They are as large as lets many hosts have leases while things break.
func (w *world) steps(hosts int) plan.Plan {
	bake := evidence.Requirement{Confirmed: 0.8, Resolved: 0.9, Bake: evidence.Duration(300 * time.Millisecond)}
	return plan.Plan{
		Name: "steps", Window: plan.Window{Start: int64(max(6, hosts/40)), Max: int64(max(24, hosts/4))},
		Lease: plan.Lease{Expires: plan.Duration(w.deadline / 2), Deadline: plan.Duration(w.deadline)},
		Rings: []plan.Ring{
			{Name: "first", Hosts: int64(max(4, hosts/100)), Evidence: bake},
			{Name: "early", Hosts: int64(max(15, hosts/10)), Evidence: bake},
			{Name: "rest", Share: 1, Evidence: bake},
		},
	}.Defaulted()
}

// openServer starts PostgreSQL, with the database on the small disk.
func (w *world) openServer() {
	w.t.Helper()
	w.server = postgrestest.New(w.t)
	w.name = "torture"
	space := ""
	if w.small != "" {
		dir := filepath.Join(w.small, "space")
		w.server.Room(w.t, dir)
		w.server.Exec(w.t, "postgres", "CREATE TABLESPACE small LOCATION '"+dir+"'")
		space = " TABLESPACE small"
	}
	w.server.Exec(w.t, "postgres", "CREATE DATABASE "+w.name+space)
}

func (w *world) newPlane(i int) *plane {
	w.t.Helper()
	p := &plane{t: w.t, told: settings{
		Data: w.data, Replica: fmt.Sprintf("plane-%d", i), Operators: freeAddress(w.t), Agents: freeAddress(w.t),
		Idle: w.poll, Active: w.poll / 2, Grace: 2*time.Second + 2*w.poll, Life: 3 * time.Second,
	}}
	if w.server != nil {
		p.database = newLine(w.t, w.server.Address())
		p.told.Database = postgrestest.URL(p.database.Addr().String(), w.name)
	}
	p.agents = newLine(w.t, p.told.Agents)
	w.t.Cleanup(func() {
		p.kill()
		if w.t.Failed() || *words {
			w.t.Logf("%s says:\n%s", p.told.Replica, tail(p.log.String()))
		}
	})
	return p
}

func tail(text string) string { return text[max(0, len(text)-8000):] }

// found starts the planes, and makes components and keys.
func (w *world) found() {
	w.t.Helper()
	w.must(w.planes[0].start())
	w.eventually("the first plane's greeting", func() error {
		operator, fingerprint, ok := w.planes[0].greeting()
		if !ok {
			return fmt.Errorf("log: %s", w.planes[0].log.String())
		}
		w.operator, w.fingerprint = operator, fingerprint
		return nil
	})
	for _, p := range w.planes {
		w.must(p.start())
		c, err := client.New("http://"+p.told.Operators, w.operator)
		w.must(err)
		c.Attempts = 1
		w.clients = append(w.clients, c)
	}
	w.publishing = w.clients[0]
	ctx := w.t.Context()
	for _, c := range w.clients {
		w.eventually("all planes to answer", func() error {
			_, err := c.Status(ctx)
			return err
		})
	}
	parts := map[string]publisher.RoleKeys{}
	for _, name := range components {
		_, err := w.clients[0].PutComponent(ctx, api.ComponentSpec{Name: name, Kind: "content", Validation: "none"})
		w.must(err)
		parts[name] = publisher.RoleKeys{}
	}
	ring, err := publisher.OpenKeyring(filepath.Join(w.t.TempDir(), "keyring"))
	w.must(err)
	w.publisher, err = publisher.New(publisher.Options{Keyring: ring, Server: wire{w}, Clock: clock.Wall{}, Random: rand.Reader})
	w.must(err)
	_, err = w.publisher.Init(ctx, publisher.InitOptions{Components: parts})
	w.must(err)
	keys, err := w.clients[0].OnlineKeys(ctx)
	w.must(err)
	w.director = directorOf(keys)
	token, err := w.clients[0].CreateToken(ctx, api.NewToken{Kind: "join", Uses: -1, TTL: "24h"})
	w.must(err)
	w.join = token.Secret
}

func directorOf(keys api.OnlineKeys) trust.Keys { return trust.NewKeys(1, keys.Director.Public) }

// latecomers is the part of the hosts that join while things break.
const latecomers = 10

// populate makes the hosts. One of ten joins some time later, the others now.
func (w *world) populate(n int, length time.Duration) {
	w.t.Helper()
	w.hosts = make([]*host, n)
	var group errgroup.Group
	group.SetLimit(4)
	for i := range n {
		group.Go(func() (err error) {
			if w.hosts[i], err = w.newHost(i); err != nil {
				return err
			}
			if i%latecomers == 0 {
				w.hosts[i].joins = now().Add(time.Duration(w.hosts[i].random.Int64N(int64(length))))
				return nil
			}
			return w.within(patience, func() error {
				err := w.hosts[i].enrol(w.t.Context())
				<-after(later(err))
				return err
			})
		})
	}
	w.must(group.Wait())
	w.add("hosts", int64(n))
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// patience is far longer than anything here takes on a busy machine.
const patience = 90 * time.Second

func (w *world) eventually(what string, check func() error) {
	w.t.Helper()
	if err := w.within(patience, check); err != nil {
		w.t.Fatalf("wait for %s: %v", what, err)
	}
}

// within waits until check is content, and gives what it said last.
func (w *world) within(d time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.t.Context()), d)
	defer cancel()
	for {
		err := check()
		if err == nil || (clock.Wall{}).Sleep(ctx, 100*time.Millisecond) != nil {
			return err
		}
	}
}

func (w *world) count(what string) { w.add(what, 1) }

func (w *world) add(what string, n int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts[what] += n
}

// mostShown bounds how many violations of one kind are told.
const mostShown = 20

// violated notes that something is there that must never be.
func (w *world) violated(name, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts["violations of "+name]++
	if w.counts["violations of "+name] <= mostShown {
		w.violations = append(w.violations, name+": "+fmt.Sprintf(format, args...))
	}
}
