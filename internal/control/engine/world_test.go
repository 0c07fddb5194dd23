package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

const (
	component = "sensor-content"
	grace     = 30 * time.Second
	freshness = time.Hour
	deadline  = 90 * time.Second
)

func start() time.Time { return time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC) }

// world is a control plane without its ports: a real store on disk, a registry and an engine, and hosts that do what the test says.
type world struct {
	t      *testing.T
	db     *store.Store
	store  *faulty // what the engine gets
	fleet  *registry.Registry
	clock  *paced
	engine *engine.Engine
	pen    *pen
	bell   *bell
	stops  *engine.Stops // of the process, whatever engine it has
	ids    *atomic.Int64
	seq    map[fleet.EndpointID]int64

	hearing time.Duration // of the engine; by default no host is ever unheard for too long
	mute    map[int]bool  // hosts that say nothing by themselves; nil: none says anything
	gates   engine.Gates  // may be nil
	cell    string        // that this control plane is; may be empty
	cells   engine.Cells  // may be nil

	component string // that the test speaks of
}

// open makes a world with n hosts and starts its engine.
func open(t *testing.T, n int) *world {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "firebreak.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{
		t: t, db: db, store: &faulty{Store: db}, fleet: registry.New(), clock: &paced{Fixed: clock.At(start())}, pen: &pen{}, bell: &bell{}, stops: engine.NewStops(),
		ids: &atomic.Int64{}, seq: map[fleet.EndpointID]int64{}, hearing: 1000 * 24 * time.Hour, mute: map[int]bool{}, component: component,
	}
	w.clock.tick = w.talk
	w.join(n)
	w.restart()
	return w
}

// restart starts a new engine on the same database, as after a crash.
func (w *world) restart() {
	w.t.Helper()
	if err := w.boot(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) boot() error {
	e, err := engine.New(w.t.Context(), engine.Options{
		Store: w.store, Settings: w.db, Releases: w.db, Directives: w.store, Fleet: w.fleet, Signer: w.pen, Notifier: w.bell,
		Gates: w.gates, Stops: w.stops, Clock: w.clock, Cell: w.cell, Cells: w.cells,
		Log:   slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		NewID: func(prefix string) string { return fmt.Sprintf("%s-%d", prefix, w.ids.Add(1)) },
		Tick:  time.Second, Grace: grace, Reach: 30 * 24 * time.Hour, Hearing: w.hearing, Freshness: freshness,
	})
	if err == nil {
		w.engine = e
	}
	return err
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("got error %v, want none", err)
	}
}

// talk lets every host be heard from time to time, but those that are mute.
func (w *world) talk() {
	if w.mute == nil || w.clock.Now().Second()%10 != 0 {
		return
	}
	for n := 1; n <= w.fleet.Len(); n++ {
		if !w.mute[n] {
			w.fleet.Seen(host(n), w.clock.Now())
		}
	}
}

// join enrols n more hosts: ep-1, ep-2 ...
func (w *world) join(n int) {
	w.t.Helper()
	for range n {
		i := w.fleet.Len() + 1
		subject := fleet.Subject{Tenant: fleet.DefaultTenant, Attributes: fleet.Attributes{OS: "linux", Site: fmt.Sprintf("site-%d", i%3)}}
		w.ok(w.db.PutEndpoint(w.t.Context(), store.Endpoint{ID: host(i), Tenant: subject.Tenant, Attributes: subject.Attributes, Enrolled: w.clock.Now()}))
		w.fleet.Put(registry.Endpoint{
			ID: host(i), Subject: subject, Enrolled: w.clock.Now(), LastSeen: w.clock.Now(), Synced: true,
			Components: map[string]api.Component{component: {Kind: "content", Phase: "idle"}},
		})
	}
}

// crowd adds n more hosts that nobody but the registry knows: they never report.
func (w *world) crowd(n int) {
	for range n {
		i := w.fleet.Len() + 1
		w.fleet.Put(registry.Endpoint{
			ID: host(i), LastSeen: w.clock.Now(), Synced: true, Components: map[string]api.Component{component: {Kind: "content", Phase: "idle"}},
			Subject: fleet.Subject{Tenant: fleet.DefaultTenant, Attributes: fleet.Attributes{OS: "linux", Site: fmt.Sprintf("site-%d", i%3)}},
		})
	}
}

// describe changes what is known of hosts.
func (w *world) describe(from, to int, change func(n int, e *registry.Endpoint)) {
	for n := from; n <= to; n++ {
		e, _ := w.fleet.Get(host(n))
		change(n, &e)
		w.fleet.Put(e)
	}
}

// compared lists the comparisons of a signal that the rollout was told.
func (w *world) compared(id string, signal breaker.Signal) []rollout.Compared {
	w.t.Helper()
	events, err := w.db.Events(w.t.Context(), rollout.ID(id), 0, 0)
	w.ok(err)
	var all []rollout.Compared
	for _, stored := range events {
		event, err := rollout.DecodeEvent(stored.Name, stored.Data)
		w.ok(err)
		if c, ok := event.(rollout.Compared); ok && c.Signal == signal {
			all = append(all, c)
		}
	}
	return all
}

func host(n int) fleet.EndpointID { return fleet.EndpointID(fmt.Sprintf("ep-%d", n)) }

// careful is the plan of these tests: a canary of two, five more, then the rest; ten seconds of bake between them.
func careful() plan.Plan {
	bake := evidence.Requirement{Bake: evidence.Duration(10 * time.Second)}
	return plan.Plan{
		Name: "careful",
		Rings: []plan.Ring{
			{Name: "canary", Hosts: 2, Evidence: bake}, {Name: "early", Hosts: 5, Evidence: bake}, {Name: "rest", Share: 1, Evidence: bake},
		},
		Lease: plan.Lease{Expires: plan.Duration(time.Minute), Deadline: plan.Duration(deadline)},
	}.Defaulted()
}

// publish stores a release as if it had come signed. Change may be nil.
func (w *world) publish(version string, change func(*release.Manifest)) release.Published {
	w.t.Helper()
	before, err := w.db.Releases(w.t.Context(), w.component)
	w.ok(err)
	m := release.Manifest{
		Format: 1, Component: w.component, Version: version, Serial: int64(len(before)) + 1, Kind: release.Content, Created: w.clock.Now(),
		Artifacts: []release.Artifact{{
			Platform: release.AnyPlatform, Format: release.File, Name: "rules.json", Digest: release.DigestOf([]byte(version)), Size: 7,
		}},
		Plan: careful(),
	}
	if change != nil {
		change(&m)
	}
	data, err := json.Marshal(m)
	w.ok(err)
	p := release.Published{Manifest: m, Digest: release.DigestOf(data)}
	w.ok(w.db.SaveMetadata(w.t.Context(), nil, []release.Published{p}))
	return p
}

// start publishes a version and starts its rollout.
func (w *world) start(version string, change func(*release.Manifest)) string {
	w.t.Helper()
	w.publish(version, change)
	r, err := w.engine.Start(w.t.Context(), api.StartRollout{Component: w.component, Version: version}, "alice")
	w.ok(err)
	return r.ID
}

// pass lets the engine live through d in ticks of a second.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	w.clock.left = int(d / time.Second)
	w.ok(w.engine.Run(w.t.Context()))
}

// ask lets host n ask for a lease, and tells why it has to wait, or "".
func (w *world) ask(id string, n int) string {
	w.t.Helper()
	_, refusal, err := w.tryAsk(id, n)
	w.ok(err)
	return refusal
}

func (w *world) tryAsk(id string, n int) (envelope []byte, refusal string, err error) {
	return w.engine.Ask(w.t.Context(), host(n), api.Wish{Component: w.component, Rollout: id, Manifest: w.manifest(id)})
}

func (w *world) manifest(id string) string { return string(w.row(id).State.Release.Manifest) }

func (w *world) row(id string) store.Rollout {
	w.t.Helper()
	row, err := w.db.Rollout(w.t.Context(), rollout.ID(id))
	w.ok(err)
	return row
}

// acknowledge stores a report of host n, as ingest does before it answers.
func (w *world) acknowledge(id string, n int, outcome, detail string) {
	w.t.Helper()
	w.seq[host(n)]++
	data, err := json.Marshal(api.Report{
		Seq: w.seq[host(n)], At: w.clock.Now(), Component: w.component, Rollout: id, Manifest: w.manifest(id), Outcome: outcome, Detail: detail,
	})
	w.ok(err)
	_, err = w.db.AddReports(w.t.Context(), host(n), w.clock.Now(), []store.Report{{Seq: w.seq[host(n)], Data: data}})
	w.ok(err)
}

// report is acknowledge, and the engine takes the report in.
func (w *world) report(id string, n int, outcome string) {
	w.t.Helper()
	w.acknowledge(id, n, outcome, "")
	w.ok(w.engine.Drain(w.t.Context()))
}

// lease lets hosts ask for leases, which they must get.
func (w *world) lease(id string, hosts ...int) {
	w.t.Helper()
	for _, n := range hosts {
		if refusal := w.ask(id, n); refusal != "" {
			w.t.Fatalf("host %d: got refusal %q, want a lease", n, refusal)
		}
	}
}

// finish takes a rollout to its end on all hosts, which are all well.
func (w *world) finish(id string) {
	w.t.Helper()
	for range 100 {
		for n := 1; n <= w.fleet.Len(); n++ {
			if lease, err := w.db.Lease(w.t.Context(), rollout.ID(id), host(n)); err == nil && lease.Outcome == rollout.Confirmed {
				continue
			}
			if w.ask(id, n) == "" {
				w.report(id, n, "confirmed")
			}
		}
		w.pass(5 * time.Second)
		if w.phase(id) == "complete" {
			return
		}
	}
	w.t.Fatalf("rollout %s does not complete: %+v", id, w.view(id))
}

// trip lets the first two hosts crash.
func (w *world) trip(id string) {
	w.t.Helper()
	w.lease(id, 1, 2)
	w.report(id, 1, "crashed")
	w.report(id, 2, "crashed")
	if got := w.phase(id); got != "tripped" {
		w.t.Fatalf("after two crashes: got phase %s, want tripped", got)
	}
}

func (w *world) view(id string) api.Rollout {
	w.t.Helper()
	r, err := w.engine.Rollout(w.t.Context(), id)
	w.ok(err)
	return r
}

func (w *world) phase(id string) string { return w.view(id).Phase }

// directive is the one that endpoints see; it must be the one that is stored.
func (w *world) directive() api.Directive {
	w.t.Helper()
	envelope, sequence := w.engine.Directive(w.component)
	var d api.Directive
	w.ok(json.Unmarshal(envelope, &d))
	stored, err := w.db.Directive(w.t.Context(), w.component)
	w.ok(err)
	if d.Sequence != sequence || stored.Sequence != sequence || string(stored.Envelope) != string(envelope) {
		w.t.Errorf("directive: got sequence %d, signed %d, stored %d, want one directive", sequence, d.Sequence, stored.Sequence)
	}
	return d
}

// replays checks that the stored events alone give the stored decisions and the stored state (I10).
func (w *world) replays(id string) {
	w.t.Helper()
	events, err := w.db.Events(w.t.Context(), rollout.ID(id), 0, 0)
	w.ok(err)
	var state rollout.State
	for i, stored := range events {
		event, err := rollout.DecodeEvent(stored.Name, stored.Data)
		w.ok(err)
		var effects []rollout.Effect
		state, effects = rollout.Step(state, event)
		encoded, err := rollout.EncodeEffects(effects)
		w.ok(err)
		if diff := cmp.Diff(string(stored.Effects), string(encoded)); diff != "" || stored.Revision != int64(i)+1 {
			w.t.Errorf("replay of event %d, %s: other effects than stored (-stored +replayed):\n%s", stored.Revision, stored.Name, diff)
		}
	}
	row := w.row(id)
	if row.Revision != int64(len(events)) {
		w.t.Errorf("got revision %d and %d events, want as many", row.Revision, len(events))
	}
	want, err := json.Marshal(row.State)
	w.ok(err)
	got, err := json.Marshal(state)
	w.ok(err)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		w.t.Errorf("replay gives another state than stored (-stored +replayed):\n%s", diff)
	}
}

// refused checks an error's kind and that its text holds all words.
func refused(t *testing.T, err error, kind fault.Kind, words ...string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("got error %v of kind %s, want kind %s", err, fault.KindOf(err), kind)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("got error %q, want it to name %q", err, word)
		}
	}
}

// paced is a clock that lets Run sleep as often as it is allowed to.
type paced struct {
	*clock.Fixed
	left  int
	tick  func()        // called when time has passed
	pause time.Duration // how much longer the next sleep takes
}

// Sleep implements clock.Clock.
func (p *paced) Sleep(_ context.Context, d time.Duration) error {
	if p.left == 0 {
		return context.Canceled
	}
	p.left--
	p.Move(d + p.pause)
	p.pause = 0
	p.tick()
	return nil
}

// pen signs nothing: what it "signs" can be read.
type pen struct {
	mu        sync.Mutex
	sequences []int64
	leases    []api.Lease
	broken    error
}

func (p *pen) Sign(_ context.Context, d api.Directive) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return nil, p.broken
	}
	p.sequences = append(p.sequences, d.Sequence)
	return json.Marshal(d)
}

func (p *pen) SignLease(_ context.Context, l api.Lease) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken != nil {
		return nil, p.broken
	}
	p.leases = append(p.leases, l)
	return json.Marshal(l)
}

// bell remembers whom it told what.
type bell struct {
	mu   sync.Mutex
	rung []string
}

func (b *bell) Notify(_ context.Context, severity, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rung = append(b.rung, severity+": "+text)
}

func (b *bell) count(text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(b.rung), func(s string) bool { return !strings.Contains(s, text) }))
}

// faulty is a store whose writes fail when told to.
type faulty struct {
	*store.Store
	writes atomic.Int64
	// fail decides over write number n; nil lets all through. A failing write takes effect first if late is true.
	fail  func(n int64) (broken, late bool)
	hold  func(store.Commit) error // called before a commit; may be nil
	blind atomic.Bool              // reads of rollouts fail too
	late  sync.WaitGroup           // commits that said no and are still under way
	loads atomic.Int64             // of leases
}

// Await implements engine.Store.
func (f *faulty) Await(ctx context.Context, id rollout.ID) error {
	f.late.Wait()
	return f.Store.Await(ctx, id)
}

// Leases implements engine.Store.
func (f *faulty) Leases(ctx context.Context, id rollout.ID) ([]store.Lease, error) {
	f.loads.Add(1)
	return f.Store.Leases(ctx, id)
}

var errDisk = fault.New(fault.Unavailable, "write: the disk failed")

func (f *faulty) write(do func() error) error {
	n := f.writes.Add(1)
	if f.fail == nil {
		return do()
	}
	broken, late := f.fail(n)
	if !broken {
		return do()
	}
	if late {
		if err := do(); err != nil {
			return err
		}
	}
	return errDisk
}

// Rollouts implements engine.Store.
func (f *faulty) Rollouts(ctx context.Context, component string, limit int) ([]store.Rollout, error) {
	if f.blind.Load() {
		return nil, errDisk
	}
	return f.Store.Rollouts(ctx, component, limit)
}

// Commit implements engine.Store.
func (f *faulty) Commit(ctx context.Context, c store.Commit) error {
	if f.hold != nil {
		if err := f.hold(c); err != nil {
			return err
		}
	}
	return f.write(func() error { return f.Store.Commit(ctx, c) })
}

// MarkTaken implements engine.Store.
func (f *faulty) MarkTaken(ctx context.Context, key store.ReportKey) error {
	return f.write(func() error { return f.Store.MarkTaken(ctx, key) })
}

// PutDirective implements engine.Directives.
func (f *faulty) PutDirective(ctx context.Context, d store.Directive) error {
	return f.write(func() error { return f.Store.PutDirective(ctx, d) })
}
