package replica_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/replica"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

const (
	component = "sensor-content"
	hosts     = 12
	life      = 2 * time.Second  // a busy machine stalls for less
	patience  = 40 * time.Second // of the tests: how long something may take before it counts as not happening
)

// world is several replicas over one database. They live in one process and share a SQLite store, as they would share PostgreSQL.
type world struct {
	t  *testing.T
	db *store.Store
}

// member is one replica, and what a test may do to it.
type member struct {
	*replica.Replica
	store *flaky
	fleet *registry.Registry
	clock gate // its process stands still
	asks  gate // what its engine does
	acts  gate
	write gate        // what its engine decided
	fails atomic.Bool // that is refused
	stops *engine.Stops
	opens atomic.Int64  // engines that it made
	slow  time.Duration // how long it takes to load
	bad   bool          // it cannot load
	alone bool
	life  time.Duration // 0: as all have it
	most  time.Duration // its clock waits for nothing longer; 0: it does
	news  atomic.Int64  // directives of a leader elsewhere
	stop  func()        // ends it in good order, and waits for that
}

// gate holds up whoever comes while it is shut, and counts them.
type gate struct {
	mu   sync.RWMutex
	came atomic.Int64
}

func (g *gate) shut() { g.mu.Lock() }
func (g *gate) open() { g.mu.Unlock() }

func (g *gate) pass() {
	g.came.Add(1)
	g.mu.RLock()
	defer g.mu.RUnlock()
}

// ticking is the clock of a process that may stand still.
type ticking struct {
	clock.Wall
	m *member
}

// Sleep implements clock.Clock.
func (c ticking) Sleep(ctx context.Context, d time.Duration) error {
	if c.m.most > 0 {
		d = min(d, c.m.most)
	}
	err := c.Wall.Sleep(ctx, d)
	c.m.clock.pass()
	return err
}

func open(t *testing.T) *world {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "firebreak.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{t: t, db: db}
	for n := 1; n <= hosts; n++ {
		components, err := json.Marshal(map[string]api.Component{component: {Kind: "content", Phase: "idle"}})
		w.ok(err)
		now := clock.Wall{}.Now()
		e := store.Endpoint{ID: host(n), Tenant: fleet.DefaultTenant, Enrolled: now, LastSeen: now, Components: components}
		w.ok(db.PutEndpoint(t.Context(), e))
		w.ok(db.SaveEndpoint(t.Context(), e))
	}
	return w
}

func host(n int) fleet.EndpointID { return fleet.EndpointID(fmt.Sprintf("ep-%020x", n)) }

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("got error %v, want none", err)
	}
}

// join starts a replica.
func (w *world) join(name string) *member {
	w.t.Helper()
	return w.enter(name, &member{})
}

// enter starts a replica of which something is set.
func (w *world) enter(name string, m *member) *member {
	w.t.Helper()
	w.ok(w.try(name, m))
	return m
}

// try starts a replica if it can be started.
func (w *world) try(name string, m *member) error {
	m.store, m.fleet, m.stops = &flaky{Store: w.db}, registry.New(), engine.NewStops()
	log := slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})).With(slog.String("replica", name))
	var ids atomic.Int64
	r, err := replica.New(w.t.Context(), replica.Options{
		Store: m.store, Fleet: m.fleet, Nudge: m.nudged, Clock: ticking{m: m}, Log: log, Name: name, Life: cmp.Or(m.life, life), Grace: time.Minute, Alone: m.alone,
		Stops: m.stops,
		Open: func(ctx context.Context, term int64) (replica.Leader, error) {
			m.opens.Add(1)
			if err := (clock.Wall{}).Sleep(ctx, m.slow); err != nil || m.bad {
				return nil, cmp.Or(err, errAway)
			}
			s := w.db.Fenced(term)
			e, err := engine.New(ctx, engine.Options{
				Store: deciding{s, m}, Stops: m.stops, Settings: s, Releases: s, Directives: s, Fleet: m.fleet, Signer: pen{}, Notifier: silent{}, Clock: clock.Wall{}, Log: log,
				NewID: func(prefix string) string { return fmt.Sprintf("%s-%s-%d", prefix, name, ids.Add(1)) },
				Nudge: func(string) {}, Tick: 20 * time.Millisecond, Grace: time.Minute, Reach: time.Hour, Hearing: time.Hour, Freshness: time.Hour,
			})
			return &ruler{Engine: e, m: m}, err
		},
	})
	if err != nil {
		return err
	}
	m.Replica = r
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	var done sync.WaitGroup
	done.Go(func() {
		if err := r.Run(ctx); err != nil {
			w.t.Errorf("replica %s ended with error %v", name, err)
		}
	})
	m.stop = sync.OnceFunc(func() {
		m.store.asleep.Store(false)
		cancel()
		done.Wait()
	})
	w.t.Cleanup(m.stop)
	return nil
}

// until waits for something that other goroutines bring about.
func (w *world) until(what string, so func() bool) {
	w.t.Helper()
	wall := clock.Wall{}
	for begun := wall.Now(); !so(); _ = wall.Sleep(w.t.Context(), time.Millisecond) {
		if wall.Now().Sub(begun) > patience {
			w.t.Fatalf("waited %v for it: %s", patience, what)
		}
	}
}

// start publishes a release and starts its rollout through a replica; its rings have room for two, then for everybody.
func (w *world) start(m *member) api.Rollout {
	w.t.Helper()
	r, err := m.Start(w.t.Context(), api.StartRollout{Component: component, Version: w.publish()}, "alice")
	w.ok(err)
	return r
}

func (w *world) publish() string {
	w.t.Helper()
	bake := evidence.Requirement{Bake: evidence.Duration(time.Millisecond)}
	m := release.Manifest{
		Format: 1, Component: component, Version: "v1", Serial: 1, Kind: release.Content, Created: clock.Wall{}.Now().Add(-time.Minute),
		Artifacts: []release.Artifact{{
			Platform: release.AnyPlatform, Format: release.File, Name: "rules.json", Digest: release.DigestOf([]byte("v1")), Size: 7,
		}},
		Plan: plan.Plan{
			Name: "two", Rings: []plan.Ring{{Name: "canary", Hosts: 2, Evidence: bake}, {Name: "rest", Share: 1, Evidence: bake}},
			Window: plan.Window{Start: hosts, Max: hosts},
			Lease:  plan.Lease{Expires: plan.Duration(time.Minute), Deadline: plan.Duration(time.Hour)},
		}.Defaulted(),
	}
	data, err := json.Marshal(m)
	w.ok(err)
	w.ok(w.db.SaveMetadata(w.t.Context(), nil, []release.Published{{Manifest: m, Digest: release.DigestOf(data)}}))
	return m.Version
}

// ask lets host n ask a replica for a lease.
func (w *world) ask(m *member, id string, n int) (envelope []byte, refusal string, err error) {
	row, err := w.db.Rollout(w.t.Context(), rollout.ID(id))
	if err != nil {
		return nil, "", err
	}
	wish := api.Wish{Component: component, Rollout: id, Manifest: string(row.State.Release.Manifest)}
	return m.Ask(w.t.Context(), host(n), wish)
}

// report stores a report of host n and waits until it may be acknowledged.
func (w *world) report(m *member, id string, n int, seq int64, outcome string) error {
	row, err := w.db.Rollout(w.t.Context(), rollout.ID(id))
	if err != nil {
		return err
	}
	data, err := json.Marshal(api.Report{Seq: seq, Component: component, Rollout: id, Manifest: string(row.State.Release.Manifest), Outcome: outcome})
	if err != nil {
		return err
	}
	if _, err = w.db.AddReports(w.t.Context(), host(n), clock.Wall{}.Now(), []store.Report{{Seq: seq, Data: data}}); err != nil {
		return err
	}
	return m.Take(w.t.Context(), host(n))
}

func (m *member) nudged(string) { m.news.Add(1) }

func leads(m *member) bool {
	yes, _, _ := m.Leads()
	return yes
}

// flaky is a database that a replica may lose sight of: its process sleeps, or its line is cut or stalled.
type flaky struct {
	*store.Store
	asleep atomic.Bool
	heart  gate         // of renewals, whatever their context says
	stalls atomic.Int64 // so many calls get no answer
	newer  atomic.Bool  // than the leader: that does not know its halts of many
}

// Ask implements replica.Store.
func (f *flaky) Ask(ctx context.Context, letters ...store.Letter) ([]int64, error) {
	for i := range letters {
		if f.newer.Load() {
			letters[i].Body = bytes.Replace(letters[i].Body, []byte(`"kind":"halt"`), []byte(`"kind":"of a later version"`), 1)
		}
	}
	return f.Store.Ask(ctx, letters...)
}

// deciding is the database of an engine, which may hang or refuse what was decided.
type deciding struct {
	*store.Store
	m *member
}

// Commit implements engine.Store.
func (d deciding) Commit(ctx context.Context, c store.Commit) error {
	d.m.write.pass()
	if d.m.fails.Load() {
		return errAway
	}
	return d.Store.Commit(ctx, c)
}

var errAway error = fault.New(fault.Unavailable, "the database is not there")

// reach is how a call gets to the database, or not.
func (f *flaky) reach(ctx context.Context) error {
	if f.stalls.Add(-1) >= 0 {
		<-ctx.Done()
	}
	return ctx.Err()
}

// Lead implements replica.Store.
func (f *flaky) Lead(ctx context.Context, holder string, l time.Duration) (store.Leadership, error) {
	if f.asleep.Load() {
		return store.Leadership{}, errAway
	}
	return f.Store.Lead(ctx, holder, l)
}

// Renew implements replica.Store.
func (f *flaky) Renew(ctx context.Context, term int64, l time.Duration) error {
	f.heart.pass()
	if f.asleep.Load() {
		return errAway
	}
	return f.Store.Renew(ctx, term, l)
}

// Resign implements replica.Store.
func (f *flaky) Resign(ctx context.Context, term int64) error {
	if err := f.reach(ctx); err != nil {
		return err
	}
	return f.Store.Resign(ctx, term)
}

// Directives implements replica.Store.
func (f *flaky) Directives(ctx context.Context) ([]store.Directive, error) {
	if f.asleep.Load() {
		return nil, errAway
	}
	return f.Store.Directives(ctx)
}

// Answers implements replica.Store.
func (f *flaky) Answers(ctx context.Context, ids []int64) ([]store.Answered, error) {
	if err := f.reach(ctx); err != nil {
		return nil, err
	}
	return f.Store.Answers(ctx, ids)
}

// UntakenEndpoints implements replica.Store.
func (f *flaky) UntakenEndpoints(ctx context.Context) ([]fleet.EndpointID, error) {
	if err := f.reach(ctx); err != nil {
		return nil, err
	}
	return f.Store.UntakenEndpoints(ctx)
}

// ruler takes any metadata for good, but of the role "bad".
type ruler struct {
	*engine.Engine
	m *member
}

func (r *ruler) Ask(ctx context.Context, id fleet.EndpointID, wish api.Wish) (envelope []byte, refusal string, err error) {
	r.m.asks.pass()
	return r.Engine.Ask(ctx, id, wish)
}

func (r *ruler) Act(ctx context.Context, id string, command rollout.OperatorActed) (api.Rollout, error) {
	r.m.acts.pass()
	return r.Engine.Act(ctx, id, command)
}

func (*ruler) Submit(_ context.Context, role string, metadata []byte) (api.Submission, error) {
	if role == "bad" {
		return api.Submission{}, fault.New(fault.Denied, "submit metadata of %s: not signed", role)
	}
	return api.Submission{Role: role, Version: int64(len(metadata))}, nil
}

func (*ruler) Discard(context.Context, string) error { return nil }

type pen struct{}

func (pen) Sign(_ context.Context, d api.Directive) ([]byte, error)  { return json.Marshal(d) }
func (pen) SignLease(_ context.Context, l api.Lease) ([]byte, error) { return json.Marshal(l) }

type silent struct{}

func (silent) Notify(context.Context, string, string) {}
