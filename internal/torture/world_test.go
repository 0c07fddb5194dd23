//go:build unix

package torture

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
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
	settling       atomic.Bool // the faults are over: hosts tell the rest
	random         *mathrand.Rand
	mu             sync.Mutex
	counts         map[string]int64
	faults         map[string]int64
	schedule       []string
	violations     []string
	directives     map[string][32]byte // by component and sequence
	newest         map[string]int64
	stopped        map[string]stopped // rollouts that operators ended
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

// newWorld starts an installation.
func newWorld(t *testing.T, replicas bool) *world {
	t.Helper()
	w := &world{
		t: t, seed: *seed, begun: now(), counts: map[string]int64{}, faults: map[string]int64{}, directives: map[string][32]byte{},
		newest: map[string]int64{}, stopped: map[string]stopped{}, data: filepath.Join(t.TempDir(), "data"),
	}
	if w.seed == 0 {
		w.seed = uint64(w.begun.UnixNano())
	}
	n := *endpoints
	if n == 0 {
		n = 100
	}
	w.random = w.randomOf(1)
	w.poll = max(300*time.Millisecond, time.Duration(n)*3*time.Millisecond)
	w.deadline = 6*time.Second + 4*w.poll
	w.plan = w.steps()
	w.makeSmall()
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
	w.populate(n)
	return w
}

func (w *world) randomOf(what uint64) *mathrand.Rand {
	return mathrand.New(mathrand.NewPCG(w.seed, what))
}

// steps is a plan of three rings that bake for a moment.
func (w *world) steps() plan.Plan {
	bake := evidence.Requirement{Confirmed: 0.8, Resolved: 0.9, Bake: evidence.Duration(300 * time.Millisecond)}
	return plan.Plan{
		Name: "steps", Window: plan.Window{Start: 6, Max: 24},
		Lease: plan.Lease{Expires: plan.Duration(w.deadline / 2), Deadline: plan.Duration(w.deadline)},
		Rings: []plan.Ring{{Name: "first", Hosts: 4, Evidence: bake}, {Name: "early", Hosts: 15, Evidence: bake}, {Name: "rest", Share: 1, Evidence: bake}},
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

// populate enrols the hosts.
func (w *world) populate(n int) {
	w.t.Helper()
	w.hosts = make([]*host, n)
	var group errgroup.Group
	group.SetLimit(4)
	for i := range n {
		group.Go(func() (err error) {
			for range 3 {
				if w.hosts[i], err = w.enrol(w.t.Context(), i); err == nil {
					return nil
				}
			}
			return err
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

// torture lets everything happen, and then looks what is left.
func (w *world) torture(length time.Duration) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	defer cancel()
	w.begun = now()
	var hosts, others sync.WaitGroup
	for _, h := range w.hosts {
		hosts.Go(func() { h.run(ctx) })
	}
	busy, enough := context.WithTimeout(ctx, length)
	defer enough()
	others.Go(func() { w.operate(busy) })
	others.Go(func() { w.supervise(busy) })
	w.inflict(busy)
	others.Wait()
	w.settle()
	cancel()
	hosts.Wait()
	w.close()
	w.audit()
	w.tell(length)
}

// supervise starts planes again that ended by themselves, as those do that find no database when they start.
func (w *world) supervise(ctx context.Context) {
	for (clock.Wall{}).Sleep(ctx, time.Second) == nil {
		for _, p := range w.planes {
			if !p.gone() {
				continue
			}
			w.count("planes that ended by themselves")
			if err := p.start(); err != nil {
				w.violated("goes on", "start %s: %v", p.told.Replica, err)
			}
		}
	}
}

// settle mends everything, and waits until the hosts have told the rest.
func (w *world) settle() {
	w.t.Helper()
	w.settling.Store(true)
	err := w.within(patience, func() error {
		for _, p := range w.planes {
			if err := p.start(); err != nil { // whatever ended is started again
				return err
			}
		}
		for _, c := range w.clients {
			if _, err := c.PutFreezes(w.t.Context(), api.Freezes{Freezes: []api.Freeze{}}); err != nil { // only a leader can
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.violated("goes on", "no fault is left, and not every plane carries out a command: %v", err)
	}
	sent := w.counted("reports acknowledged")
	for quiet := 0; quiet < 4 && now().Sub(w.begun) < *length+2*patience; quiet++ {
		<-after(w.poll + time.Second)
		if news := w.counted("reports acknowledged"); news != sent {
			sent, quiet = news, 0
		}
	}
}

func (w *world) counted(what string) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[what]
}

// close ends the planes in good order.
func (w *world) close() {
	w.t.Helper()
	for _, p := range w.planes {
		if !p.stop(30 * time.Second) {
			w.violated("goes on", "%s did not end within 30 s of SIGTERM", p.told.Replica)
		}
		for _, what := range misfortunes.FindAllString(p.log.String(), 3) {
			w.violated("goes on", "%s said: %s", p.told.Replica, what)
		}
	}
	for _, h := range w.hosts {
		if len(h.waiting) > 0 {
			w.violated("goes on", "%s has %d reports that were not acknowledged after all faults were over", h.record.Endpoint, len(h.waiting))
		}
	}
}

// tell prints the figures, and fails the test if anything is there that must not be.
func (w *world) tell(length time.Duration) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var out strings.Builder
	fmt.Fprintf(&out, "%v, %d plane(s), seed %d\n", length, len(w.planes), w.seed)
	for _, table := range []map[string]int64{w.counts, w.faults} {
		var names []string
		for name := range table {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(&out, "  %-45s %8d\n", name, table[name])
		}
		fmt.Fprintln(&out)
	}
	fmt.Fprintf(&out, "  %-45s %8d\n", "violations", len(w.violations))
	w.t.Log(out.String())
	if len(w.violations) == 0 {
		return
	}
	w.t.Errorf("with -seed %d:\n%s\nthe schedule was:\n%s", w.seed, strings.Join(w.violations, "\n"), strings.Join(w.schedule, "\n"))
}
