package bench

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/app"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// What people wait for.
const (
	mostPage    = 200 * time.Millisecond // of a request in twenty that a page makes when it is opened
	mostConsole = 120_000                // bytes of the whole application, compressed
)

// TestPages opens every page of the console before a control plane with a million endpoints and ten thousand rollouts, as far as the API goes:
// all that a page asks for at once, as browsers do. What pages ask for is written down in console/e2e, where a browser compares.
func TestPages(t *testing.T) {
	size := site{hosts: 2000, rollouts: 40, leases: 50}
	rounds := 2
	if *full {
		size, rounds = site{hosts: 1_000_000, rollouts: 10_000, leases: 20_000}, 20
	}
	size.dir = filepath.Join(t.TempDir(), "control")
	names := size.build(t)
	s := serve(t, size.dir)
	s.token = names["{token}"]
	slowest, all := time.Duration(0), pages(t)
	for _, page := range slices.Sorted(maps.Keys(all)) {
		var took []time.Duration
		worst := map[string]time.Duration{}
		for range rounds {
			for asked, d := range s.open(t, all[page], names) {
				took = append(took, d)
				worst[asked] = max(worst[asked], d)
			}
		}
		slices.Sort(took)
		p95 := took[len(took)*95/100]
		slowest = max(slowest, p95)
		t.Logf("%-36s p95 %4d ms; slowest: %s", page, p95.Milliseconds(), slow(worst))
	}
	figure(t, "page_p95_ms", float64(slowest.Milliseconds()), "ms")
	if *full && slowest > mostPage {
		t.Errorf("got %s for a request in twenty of the slowest page, want at most %s", slowest, mostPage)
	}
}

// slow names the slowest of some requests.
func slow(worst map[string]time.Duration) string {
	name := ""
	for asked, d := range worst {
		if d > worst[name] {
			name = asked
		}
	}
	return fmt.Sprintf("%s %d ms", name, worst[name].Milliseconds())
}

// TestConsoleBytes weighs the console as browsers without TLS get it: with gzip.
func TestConsoleBytes(t *testing.T) {
	dist := filepath.Join("..", "control", "web", "dist")
	bytes := int64(0)
	err := filepath.WalkDir(dist, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".br") || strings.HasSuffix(path, ".gz") {
			return err
		}
		info, err := os.Stat(path + ".gz")
		if errors.Is(err, fs.ErrNotExist) {
			info, err = os.Stat(path)
		}
		if err == nil {
			bytes += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	figure(t, "console_bytes", float64(bytes), "bytes")
	if bytes == 0 || bytes > mostConsole {
		t.Errorf("got %d bytes, want at most %d", bytes, mostConsole)
	}
}

// pages are what each page asks for.
func pages(t *testing.T) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "console", "e2e", "requests.json"))
	all := map[string][]string{}
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// served is a control plane that answers.
type served struct {
	url, token string
	stop       func()
}

var greeted = regexp.MustCompile(`FIREBREAK_TOKEN=(\S+)`)

// serve starts a control plane; the first start greets with the operator's token.
func serve(t *testing.T, dir string) *served {
	t.Helper()
	var said said
	a, err := app.New(t.Context(), app.Options{
		Data: dir, Operators: "127.0.0.1:0", Agents: "127.0.0.1:0", PollIdle: time.Minute, PollActive: time.Second, Version: "bench", Out: &said,
		Log: slog.New(slog.DiscardHandler), Clock: clock.Wall{},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- errors.Join(a.Run(ctx), a.Close()) }()
	s := &served{url: a.OperatorURL()}
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the control plane ended: %v", err)
		}
	})
	t.Cleanup(s.stop)
	soon, enough := context.WithTimeout(t.Context(), time.Minute)
	defer enough()
	for (clock.Wall{}).Sleep(soon, 50*time.Millisecond) == nil {
		answer, err := http.Get(s.url + "/api/v1/status") //nolint:noctx // loopback
		if err != nil {
			continue
		}
		_ = answer.Body.Close()
		if m := greeted.FindStringSubmatch(said.String()); m != nil {
			s.token = m[1]
		}
		if answer.StatusCode == http.StatusUnauthorized { // it answers; /readyz would miss the artifacts, of which there are none here
			return s
		}
	}
	t.Fatal("the control plane does not begin to serve")
	return nil
}

// said is what a program says.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write implements io.Writer.
func (s *said) Write(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(data)
}

// String is all of it.
func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// open asks for all that a page asks for, at once, and tells how long each answer took.
func (s *served) open(t *testing.T, asks []string, names map[string]string) map[string]time.Duration {
	t.Helper()
	var named []string
	for name, value := range names {
		named = append(named, name, value)
	}
	fill := strings.NewReplacer(named...)
	took := map[string]time.Duration{}
	var mu sync.Mutex
	var asking errgroup.Group
	asking.SetLimit(6) // as many connections as browsers have
	for _, ask := range asks {
		asking.Go(func() error {
			begun := clock.Wall{}.Now()
			err := s.ask(t.Context(), fill.Replace(ask), names["{plan}"])
			mu.Lock()
			defer mu.Unlock()
			took[ask] = clock.Wall{}.Now().Sub(begun)
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		t.Fatal(err)
	}
	return took
}

// ask sends a request and reads the answer: of a stream the first word on each of its topics.
func (s *served) ask(ctx context.Context, path, document string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	method, body := http.MethodGet, io.Reader(http.NoBody)
	if post, is := strings.CutPrefix(path, "POST "); is {
		method, path, body = http.MethodPost, post, strings.NewReader(document)
	}
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s %s: status %d: %.300s", method, path, answer.StatusCode, text)
	}
	if topics := strings.Count(path, "topic="); topics > 0 {
		return snapshots(answer.Body, topics)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// snapshots reads a stream until it has said something on so many topics.
func snapshots(body io.Reader, topics int) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 16<<20)
	for topics > 0 && lines.Scan() {
		switch line := lines.Text(); {
		case line == "event: snapshot":
			topics--
		case strings.HasPrefix(line, "event: gone"), strings.HasPrefix(line, "event: stale"):
			return fmt.Errorf("the stream has no value: %s", line)
		}
	}
	return lines.Err()
}

// site is an installation that has grown large.
type site struct {
	dir                     string
	hosts, rollouts, leases int // leases of the rollout that runs
}

// patterns is how many different ended rollouts there are; the others are copies of them.
const patterns = 10

// build fills the data directory, and gives what the names in paths stand for.
func (s site) build(t *testing.T) map[string]string {
	t.Helper()
	first := serve(t, s.dir)
	document := s.found(t, first)
	first.stop()
	path := filepath.Join(s.dir, "firebreak.db")
	fill(t, path, s.hosts)
	db := database(t, path)
	w := s.engine(t, db)
	for n := range patterns {
		w.play(t, n)
	}
	s.copy(t, path)
	running := w.begin(t, "2026.7.99")
	w.lease(t, running, s.leases, func(i int) string { return map[bool]string{true: "", false: "confirmed"}[i%50 == 49] })
	incidents, err := db.Incidents(t.Context())
	if err != nil || len(incidents) == 0 {
		t.Fatalf("got no incidents, %v, want some", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"{token}": first.token, "{ro}": running, "{inc}": incidents[0].ID, "{ep}": string(ca.Identify(publicKey(3))), "{component}": sensor,
		"{version}": "2026.7.99", "{plan}": document,
	}
}

// found makes the component and the plan.
func (s site) found(t *testing.T, first *served) (document string) {
	t.Helper()
	c, err := client.New(first.url, first.token)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(s.plan())
	if err == nil {
		_, err = c.PutPlan(t.Context(), "quick", data)
	}
	if err == nil {
		_, err = c.PutComponent(t.Context(), api.ComponentSpec{Name: sensor, Kind: "content", Validation: "none", Plan: "quick"})
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (s site) plan() plan.Plan {
	return plan.Plan{
		Name: "quick", Rings: []plan.Ring{{Name: "early", Hosts: int64(s.leases)}, {Name: "rest", Share: 1}},
		Window: plan.Window{Start: 100_000, Max: 100_000}, Lease: plan.Lease{Expires: plan.Duration(10 * time.Minute), Deadline: plan.Duration(time.Hour)},
	}.Defaulted()
}

// engine decides over the database, for as many hosts as get leases.
func (s site) engine(t *testing.T, db *store.Store) *works {
	t.Helper()
	known, now := registry.New(), clock.Wall{}.Now()
	w := &works{db: db, plan: s.plan()}
	for i := range s.leases {
		e := member(i)
		e.LastSeen = now
		known.Put(e)
		w.hosts = append(w.hosts, e.ID)
	}
	ids := 0
	var err error
	w.engine, err = engine.New(t.Context(), engine.Options{
		Store: db, Settings: db, Releases: db, Directives: db, Fleet: known, Signer: pen{}, Notifier: nobody{}, Clock: clock.Wall{},
		Log: slog.New(slog.DiscardHandler), NewID: func(prefix string) string {
			w.mu.Lock()
			defer w.mu.Unlock()
			ids++
			return fmt.Sprintf("%s-%08d", prefix, ids)
		},
		Tick: time.Second, Grace: time.Hour, Reach: time.Hour, Hearing: time.Hour, Freshness: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// works makes rollouts that have gone on.
type works struct {
	db     *store.Store
	engine *engine.Engine
	plan   plan.Plan
	hosts  []fleet.EndpointID
	serial int64
	mu     sync.Mutex
	seqs   map[fleet.EndpointID]int64
}

// begin publishes a release and starts its rollout.
func (w *works) begin(t *testing.T, version string) (id string) {
	t.Helper()
	w.serial++
	m := release.Manifest{
		Format: 1, Component: sensor, Version: version, Serial: w.serial, Kind: release.Content, Created: clock.Wall{}.Now().Add(-time.Minute).UTC(),
		Artifacts: []release.Artifact{{Platform: release.AnyPlatform, Format: release.File, Name: "rules", Digest: release.DigestOf([]byte(version)), Size: 1}},
		Plan:      w.plan,
	}
	data, err := json.Marshal(m)
	if err == nil {
		err = w.db.SaveMetadata(t.Context(), nil, []release.Published{{Manifest: m, Digest: release.DigestOf(data)}})
	}
	var started api.Rollout
	if err == nil {
		started, err = w.engine.Start(t.Context(), api.StartRollout{Component: sensor, Version: version}, "bench")
	}
	if err != nil {
		t.Fatal(err)
	}
	return started.ID
}

// play is a rollout that ends: two of three are halted by a person, the third trips.
func (w *works) play(t *testing.T, n int) {
	t.Helper()
	id := w.begin(t, fmt.Sprintf("2026.7.%d", n))
	w.lease(t, id, min(30, len(w.hosts)), func(i int) string { return map[bool]string{true: "crashed", false: "confirmed"}[n%3 == 0 && i > 20] })
	r, err := w.engine.Act(t.Context(), id, rollout.OperatorActed{Action: rollout.Halt, Actor: "bench", Reason: "enough is known"})
	if n%3 != 0 && (err != nil || r.Ended == nil) {
		t.Fatalf("got %v, %v, want an ended rollout", r.Phase, err)
	}
}

// lease lets n hosts have leases, and report what outcome says; empty: nothing yet.
func (w *works) lease(t *testing.T, id string, n int, outcome func(i int) string) {
	t.Helper()
	row, err := w.db.Rollout(t.Context(), rollout.ID(id))
	if err != nil {
		t.Fatal(err)
	}
	wish := api.Wish{Component: sensor, Rollout: id, Manifest: string(row.State.Release.Manifest)}
	var all errgroup.Group
	all.SetLimit(talkers)
	for i, host := range w.hosts[:n] {
		all.Go(func() error {
			if _, refusal, err := w.engine.Ask(t.Context(), host, wish); err != nil || refusal != "" || outcome(i) == "" {
				return err
			}
			return w.report(t.Context(), host, api.Report{Component: sensor, Rollout: id, Manifest: wish.Manifest, Outcome: outcome(i)})
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

func (w *works) report(ctx context.Context, host fleet.EndpointID, r api.Report) error {
	w.mu.Lock()
	if w.seqs == nil {
		w.seqs = map[fleet.EndpointID]int64{}
	}
	w.seqs[host]++
	r.Seq = 1000 + w.seqs[host]
	w.mu.Unlock()
	data, err := json.Marshal(r)
	if err == nil {
		_, err = w.db.AddReports(ctx, host, clock.Wall{}.Now(), []store.Report{{Seq: r.Seq, Data: data}})
	}
	if err == nil {
		err = w.engine.Take(ctx, host)
	}
	return err
}

// copy copies the ended rollouts under other names, and fills what else grows: the audit, and samples of a week.
func (s site) copy(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	const other = `'-' || n.value`
	numbers := fmt.Sprintf(`WITH RECURSIVE numbers (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < %d) `, s.rollouts/patterns-1)
	now := clock.Wall{}.Now().UnixMicro()
	for _, statement := range []string{
		`CREATE TEMP TABLE seeds AS SELECT * FROM rollouts`,
		`CREATE TEMP TABLE opened AS SELECT * FROM incidents`,
		numbers + `INSERT INTO rollouts (id, component, revision, created, state, phase, version) SELECT r.id || ` + other + `, component, revision, created,
			replace(state, '"' || r.id || '"', '"' || r.id || ` + other + ` || '"'), phase, version FROM numbers n CROSS JOIN seeds r`,
		numbers + `INSERT INTO events (rollout, revision, at, name, data, effects, notable) SELECT e.rollout || ` + other + `, e.revision, e.at, e.name, e.data, e.effects, e.notable
			FROM numbers n CROSS JOIN events e WHERE e.rollout IN (SELECT id FROM seeds)`,
		numbers + `INSERT INTO incidents (id, rollout, component, version, title, opened, closed) SELECT i.id || ` + other + `, i.rollout || ` + other + `, component, version, title,
			opened, opened + 1000000 FROM numbers n CROSS JOIN opened i`,
		`INSERT INTO leases SELECT r.id, l.endpoint, l.id || r.number, l.tenant, l.site, l.ring, l.issued, l.expires, l.deadline, l.outcome, l.known, l.detail, l.recovered, l.stratum, l.class
			FROM rollouts r JOIN leases l ON l.rollout = substr(r.id, 1, 11) WHERE length(r.id) > 11`,
		fmt.Sprintf(`UPDATE hot SET seen = %d - endpoint * 1000 WHERE endpoint %% 10 <> 0`, now),
		fmt.Sprintf(`WITH RECURSIVE numbers (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < 100000)
			INSERT INTO audit (at, actor, act, target, status, detail, request) SELECT %d - (100000 - value) * 1000000, 'bench', 'actOnRollout', 'rollout ro-' || value, 200, '', 'r' || value FROM numbers`, now),
		fmt.Sprintf(`WITH RECURSIVE numbers (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < 10080)
			INSERT INTO samples (at, component, version, hosts, heard) SELECT %d - value * 60000000, '', '', %d, %d - value FROM numbers`, now, s.hosts, s.hosts),
		fmt.Sprintf(`WITH RECURSIVE numbers (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < 1000)
			INSERT INTO samples (at, component, version, hosts, heard) SELECT %d - value * 600000000, '%s', '2026.7.' || (value %% 10), value, value FROM numbers`, now, sensor),
	} {
		if _, err := db.ExecContext(t.Context(), statement); err != nil {
			t.Fatalf("%.120s: %v", bytes.TrimSpace([]byte(statement)), err)
		}
	}
}
