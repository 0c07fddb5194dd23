// Package servertest is a control plane in one process, for tests of the operators' side: the real handler, engine, repository and
// SQLite store, with hosts that do what the test says and a clock that moves when the test says.
package servertest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob/disk"
	"github.com/firebreak-dev/firebreak/internal/control/blob/oci"
	"github.com/firebreak-dev/firebreak/internal/control/blob/upload"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/live"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/repository"
	"github.com/firebreak-dev/firebreak/internal/control/roots"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/control/token"
	"github.com/firebreak-dev/firebreak/internal/control/web"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// World is a control plane. Its methods fail the test instead of returning errors, and must not be called at once.
type World struct {
	URL     string // of the operator port
	Token   string // an operator's, whose note is "alice"
	Store   *store.Store
	Blobs   *disk.Store
	Uploads *upload.Desk
	Fleet   *registry.Registry
	Log     *Log
	Handler http.Handler // of the operator port, for who wants to know when all that a request brings with it is done

	t      testing.TB
	dir    string
	clock  *stepping
	engine *engine.Engine
	hosts  int
	ids    int
	seq    map[fleet.EndpointID]int64
	gate   atomic.Pointer[func() bool]
}

// Start is when every world begins.
func Start() time.Time { return time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC) }

// Open makes a control plane with an operator's token and nothing else. It is gone when the test ends. Change may alter the server's
// options; it may be nil.
func Open(t testing.TB, change func(*server.Options)) *World {
	t.Helper()
	w := &World{t: t, clock: &stepping{Fixed: clock.At(Start())}, Fleet: registry.New(), Log: &Log{}, seq: map[fleet.EndpointID]int64{}}
	dir := t.TempDir()
	w.dir = dir
	var err error
	w.Store, err = sqlite.Open(t.Context(), filepath.Join(dir, "firebreak.db"))
	w.must(err)
	t.Cleanup(func() { _ = w.Store.Close() })
	w.Blobs, err = disk.OpenAt(filepath.Join(dir, "blobs"), w.clock)
	w.must(err)
	w.Uploads, err = upload.Open(filepath.Join(dir, "uploads"), w.Blobs, w.clock, upload.Limits{})
	w.must(err)
	log := slog.New(slog.NewTextHandler(w.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	repo := w.repository(filepath.Join(dir, "keys"), log)
	w.engine, err = engine.New(t.Context(), engine.Options{
		Store: w.Store, Settings: w.Store, Releases: w.Store, Directives: w.Store, Fleet: w.Fleet, Signer: repo, Notifier: nobody{},
		Clock: w.clock, Log: log, NewID: w.newID, Tick: time.Second, Grace: time.Minute, Reach: time.Hour, Hearing: 1000 * time.Hour, Freshness: time.Hour,
	})
	w.must(err)
	options := server.Options{
		Tokens: w.Store, Fleet: w.Store, Components: w.Store, Plans: w.Store, Releases: w.Store, Records: w.Store, Engine: w.engine,
		Freezes: w.engine, Repository: repo, Blobs: w.Blobs, Live: w.Fleet, About: w.about, Web: web.Handler(), Random: rand.Reader,
		Clock: w.clock, Log: log, Uploads: w.Uploads, Fingerprint: "sha256:c0ffee0012345678",
	}
	options.Identities = ingest.New(ingest.Options{Store: w.Store, Engine: w.engine, Fleet: w.Fleet, Clock: w.clock, Log: log})
	w.watched(&options)
	catalogue := oci.NewCatalogue(w.Store, w.Blobs)
	options.Catalogue, options.OCI = catalogue, oci.Handler(catalogue, log)
	options.Garbage = &server.Collector{
		Roots: roots.Roots{Store: w.Store, Pending: repo.Pending, Uploads: w.Uploads.Digests, Derived: catalogue.Needs},
		Blobs: w.Blobs, Deltas: w.Store, Rebuild: catalogue.Rebuild, Clock: clock.At(Start().Add(30 * 24 * time.Hour)), Log: log,
	}
	if change != nil {
		change(&options)
	}
	w.Handler = w.gated(server.New(options))
	port := httptest.NewServer(w.Handler)
	t.Cleanup(port.Close)
	w.URL = port.URL
	w.Token = w.Mint(store.Token{Kind: store.OperatorToken, Note: "alice"})
	return w
}

// watched lets what goes on be watched. It is looked at in real time: streams are.
func (w *World) watched(o *server.Options) {
	desk := live.NewDesk(live.DeskOptions{
		Rollouts: w.engine, Store: w.Store, Freezes: w.engine.Freezes, Clock: w.clock,
		Fleet: func(now time.Time) api.FleetState { return server.CountFleet(w.Fleet, "", now) },
	})
	hub := live.New(live.Options{
		Sources: server.Topics(desk, w.engine, w.Store), Every: 50 * time.Millisecond, Beat: 100 * time.Millisecond, Clock: clock.Wall{}, Log: o.Log,
	})
	o.Overview, o.Watch = desk.Overview, hub
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	var done sync.WaitGroup
	done.Go(func() { _ = hub.Run(ctx) }) // it has no errors
	w.t.Cleanup(func() {
		cancel()
		done.Wait()
	})
}

func (w *World) repository(keys string, log *slog.Logger) *repository.Repository {
	w.t.Helper()
	online, err := repository.OpenKeys(keys, rand.Reader)
	w.must(err)
	policy := func(ctx context.Context, name string) (repository.ComponentPolicy, error) {
		c, unknown := w.Store.Component(ctx, name)
		return repository.ComponentPolicy{Kind: c.Kind, ValidationRequired: c.Validation != "none"}, unknown
	}
	repo, err := repository.New(repository.Options{Store: w.Store, Blobs: w.Blobs, Keys: online, Policy: policy, Clock: w.clock, Log: log})
	w.must(err)
	return repo
}

func (w *World) about(context.Context) (api.Status, error) {
	return api.Status{
		Version: "test", Started: Start(), Now: w.clock.Now(), Endpoints: w.Fleet.Len(), AgentURL: "https://127.0.0.1:7443", Fingerprint: "sha256:00",
	}, nil
}

// Gate lets only those requests through for which open says so; others are answered that the server is too busy. Open must be safe for
// concurrent use if requests are.
func (w *World) Gate(open func() bool) { w.gate.Store(&open) }

func (w *World) gated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		if open := w.gate.Load(); open != nil && !(*open)() {
			answer.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		next.ServeHTTP(answer, r)
	})
}

// newID gives short, predictable ids: "ro-1", "in-2".
func (w *World) newID(prefix string) string {
	w.ids++
	return fmt.Sprintf("%s-%d", prefix, w.ids)
}

// Mint stores a token, of which ID and Hash are made here, and returns its secret.
func (w *World) Mint(row store.Token) string {
	w.t.Helper()
	prefix := token.OperatorPrefix
	if row.Kind == store.JoinToken {
		prefix = token.JoinPrefix
	}
	if row.Kind == store.PeerToken {
		prefix = token.PeerPrefix
	}
	fresh, err := token.Mint(prefix, rand.Reader)
	w.must(err)
	row.ID, row.Hash, row.Created = fresh.ID, fresh.Hash, w.clock.Now()
	w.must(w.Store.PutToken(w.ctx(), row))
	return fresh.Secret
}

// Plan is what releases of a world are published with: a canary of two hosts, five more, then the rest.
func Plan() plan.Plan {
	bake := evidence.Requirement{Bake: evidence.Duration(10 * time.Second)}
	return plan.Plan{Name: "careful", Rings: []plan.Ring{
		{Name: "canary", Hosts: 2, Evidence: bake}, {Name: "early", Hosts: 5, Evidence: bake}, {Name: "rest", Share: 1},
	}}.Defaulted()
}

// Damage changes a byte of a stored blob, as a failing disk does.
func (w *World) Damage(digest release.Digest) {
	w.t.Helper()
	path := filepath.Join(w.dir, "blobs", "blobs", "sha256", digest.Hex())
	data, err := os.ReadFile(path)
	w.must(err)
	data[0] ^= 1
	w.must(os.WriteFile(path, data, 0o600))
}

// Publish registers the component, stores its plan and publishes a release as if it had come signed.
func (w *World) Publish(component, version string) release.Published {
	w.t.Helper()
	w.must(w.Store.PutPlan(w.ctx(), Plan(), w.clock.Now()))
	w.must(w.Store.PutComponent(w.ctx(), store.Component{
		Name: component, Kind: release.Content, Validation: "required", Plan: Plan().Name, Created: Start(),
	}))
	before, err := w.Store.Releases(w.ctx(), component)
	w.must(err)
	content := component + " " + version
	digest := release.DigestOf([]byte(content))
	w.must(w.Blobs.Put(w.ctx(), digest, int64(len(content)), strings.NewReader(content)))
	m := release.Manifest{
		Format: 1, Component: component, Version: version, Serial: int64(len(before)) + 1, Kind: release.Content, Created: w.clock.Now(),
		Artifacts: []release.Artifact{{Platform: release.AnyPlatform, Format: release.File, Name: "rules.json", Digest: digest, Size: int64(len(content))}},
		Contract:  map[string]string{"fields": "20"},
		Verdicts:  []release.Verdict{{Validator: "check", Artifact: digest, Passed: true, At: w.clock.Now()}},
		Plan:      Plan(),
	}
	data, err := json.Marshal(m)
	w.must(err)
	p := release.Published{Manifest: m, Digest: release.DigestOf(data)}
	w.must(w.Store.SaveMetadata(w.ctx(), nil, []release.Published{p}))
	return p
}

// Join enrols n hosts that have the component. They are named ep-001, ep-002 and so on.
func (w *World) Join(n int, component string) {
	w.t.Helper()
	for range n {
		w.hosts++
		components := map[string]api.Component{component: {Kind: "content", Version: "0", Phase: "idle"}}
		data, err := json.Marshal(components)
		w.must(err)
		row := store.Endpoint{
			ID: host(w.hosts), Tenant: fleet.DefaultTenant, Enrolled: w.clock.Now(), LastSeen: w.clock.Now(), Components: data,
			Attributes: fleet.Attributes{OS: "linux", Arch: "amd64", Class: "server", Site: fmt.Sprintf("site-%d", w.hosts%3)},
		}
		number, err := w.Store.Enrol(w.ctx(), row)
		w.must(err)
		w.Fleet.Put(registry.Endpoint{
			ID: row.ID, Number: number, Subject: fleet.Subject{Tenant: row.Tenant, Attributes: row.Attributes}, Enrolled: row.Enrolled, LastSeen: row.LastSeen,
			Components: components, Synced: true,
		})
	}
}

func host(n int) fleet.EndpointID { return fleet.EndpointID(fmt.Sprintf("ep-%03d", n)) }

// Ask lets host n ask for a lease in a rollout, and tells why it has to wait, or "".
func (w *World) Ask(id string, n int) string {
	w.t.Helper()
	_, refusal, err := w.engine.Ask(w.ctx(), host(n), api.Wish{Rollout: id, Manifest: w.state(id)})
	w.must(err)
	return refusal
}

// Report lets host n report an outcome.
func (w *World) Report(id string, n int, outcome, detail string) {
	w.t.Helper()
	w.report(n, api.Report{Rollout: id, Outcome: outcome, Detail: detail})
}

// Crash lets host n report that its consumer crashed as all do that index out of range.
func (w *World) Crash(id string, n int) {
	w.t.Helper()
	w.report(n, api.Report{
		Rollout: id, Outcome: "crashed", Detail: "index out of range",
		Crash: &api.Crash{Signal: "SEGV", Status: -1, Signature: "5ec0ffee5a5a", Headline: "panic: index out of range"},
	})
}

// Stand lets host n say what it could survive alone.
func (w *World) Stand(n int, words ...string) {
	w.t.Helper()
	w.Fleet.Stand(host(n), fleet.PostureOf(words))
}

func (w *World) report(n int, report api.Report) {
	w.t.Helper()
	w.seq[host(n)]++
	report.Seq, report.At, report.Manifest = w.seq[host(n)], w.clock.Now(), w.state(report.Rollout)
	data, err := json.Marshal(report)
	w.must(err)
	_, err = w.Store.AddReports(w.ctx(), host(n), w.clock.Now(), []store.Report{{Endpoint: host(n), Seq: report.Seq, Received: w.clock.Now(), Data: data}})
	w.must(err)
	w.must(w.engine.Drain(w.ctx()))
}

// state is the digest of the manifest that a rollout is about.
func (w *World) state(id string) string {
	w.t.Helper()
	row, err := w.Store.Rollout(w.ctx(), rollout.ID(id))
	w.must(err)
	return string(row.State.Release.Manifest)
}

// Pass lets the engine live through so many seconds.
func (w *World) Pass(seconds int) {
	w.t.Helper()
	w.clock.allow(seconds)
	w.must(w.engine.Run(w.ctx()))
}

// Trip publishes version 2 of a component, starts it on ten hosts and lets the first two crash: ro-1 is tripped.
func (w *World) Trip(component string) {
	w.t.Helper()
	w.Publish(component, "2")
	w.Join(10, component)
	_, err := w.engine.Start(w.ctx(), api.StartRollout{Component: component, Version: "2"}, "alice")
	w.must(err)
	w.Pass(1)
	for n := 1; n <= 2; n++ {
		if refusal := w.Ask("ro-1", n); refusal != "" {
			w.t.Fatalf("host %d has to wait: %s", n, refusal)
		}
	}
	w.Pass(3)
	w.Crash("ro-1", 1)
	w.Crash("ro-1", 2)
	w.Pass(2)
	w.Report("ro-1", 1, api.OutcomeRecovered, "")
}

// Complete publishes version 1 of a component and takes it through all rings on n hosts: ro-1 is complete.
func (w *World) Complete(component string, n int) {
	w.t.Helper()
	w.Publish(component, "1")
	w.Join(n, component)
	_, err := w.engine.Start(w.ctx(), api.StartRollout{Component: component, Version: "1"}, "alice")
	w.must(err)
	leased := map[int]bool{}
	for range 50 * n {
		for i := 1; i <= n; i++ {
			if !leased[i] && w.Ask("ro-1", i) == "" {
				leased[i] = true
				w.Report("ro-1", i, "confirmed", "")
			}
		}
		w.Pass(5)
		if row, err := w.Store.Rollout(w.ctx(), "ro-1"); err == nil && row.State.Phase == rollout.Complete {
			return
		}
	}
	w.t.Fatal("the rollout did not complete")
}

// ctx is the test's context, which lives until its cleanups.
func (w *World) ctx() context.Context { return w.t.Context() }

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Do sends a request with the world's token; body may be empty. It returns the answer with its body read.
func (w *World) Do(method, path, body string) (Answer, string) {
	w.t.Helper()
	return Send(w.t, method, w.URL+path, body, map[string]string{"Authorization": "Bearer " + w.Token})
}

// stepping is a clock that stands still but for the sleeps that were allowed.
type stepping struct {
	*clock.Fixed
	mu   sync.Mutex
	left int
}

func (s *stepping) allow(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = n
}

var errStill = errors.New("the clock stands still")

// Sleep implements clock.Clock.
func (s *stepping) Sleep(ctx context.Context, d time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left == 0 {
		return errStill
	}
	s.left--
	return s.Fixed.Sleep(ctx, d)
}

type nobody struct{}

func (nobody) Notify(context.Context, string, string) {}

// Log collects what is logged.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String is everything so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
