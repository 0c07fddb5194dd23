package postgres_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres/postgrestest"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// before is the version of the schema that the version before this one has.
const before = 3

// earlier makes a database as the version before this one leaves it behind, with this many rollouts that are halted beside one that runs, and
// connects to it as that one does.
func earlier(t *testing.T, halted int) (url string, old *sql.DB) {
	t.Helper()
	url = postgrestest.Shared(t).Database(t)
	old, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	old.SetMaxOpenConns(1)
	t.Cleanup(func() { _ = old.Close() })
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) <= before {
		t.Fatalf("got %d migrations, %v, want more than %d", len(files), err, before)
	}
	were := fstest.MapFS{}
	for _, file := range files[:before] {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		were[filepath.Base(file)] = &fstest.MapFile{Data: text}
	}
	p, err := goose.NewProvider(database.DialectPostgres, old, were, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = p.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	begins(t, old, "running", rollout.Running)
	for i := range halted {
		begins(t, old, fmt.Sprint("halted", i), rollout.Halted)
	}
	return url, old
}

// begins writes a rollout as the version before this one does, with a NUL in its reason, an event and two leases.
func begins(t *testing.T, old *sql.DB, id string, p rollout.Phase) {
	t.Helper()
	state, err := json.Marshal(rollout.State{
		ID: rollout.ID(id), Release: rollout.Release{Component: "c", Version: "v-" + id, Manifest: "sha256:00"}, Phase: p, Reason: "a\x00b",
	})
	if err != nil {
		t.Fatal(err)
	}
	does(t, old, `INSERT INTO rollouts (id, component, revision, created, state) VALUES ($1, 'c', 1, 1, $2)`, id, string(state))
	does(t, old, `INSERT INTO events (rollout, revision, at, name, data, effects) VALUES ($1, 1, 1, 'started', '{}', '[]')`, id)
	does(t, old, `INSERT INTO leases VALUES ($1, 'ep-1', 'l1', 't', 's', 'os linux', 'server', 0, 1, 2, 3, 'confirmed', 0, '', 0),
		($1, 'ep-2', 'l2', 't', 's', 'os linux', 'server', 0, 1, 2, 3, 'pending', 0, '', 0)`, id)
	does(t, old, `INSERT INTO incidents (id, rollout, component, version, title, opened, closed) VALUES ('inc-' || $1, $1, 'c', 'v', '', 1, 0)`, id)
}

func does(t *testing.T, old *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := old.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: got %v, want it done", statement, err)
	}
}

// counts counts by a query.
func counts(t *testing.T, old *sql.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := old.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// whole checks that nothing is left to do on the schema.
func whole(t *testing.T, old *sql.DB) {
	t.Helper()
	if n := counts(t, old, `SELECT count(*) FROM pg_index WHERE NOT (indisvalid AND indisready)`); n != 0 {
		t.Errorf("got %d indexes that are good for nothing, want none", n)
	}
	for _, index := range []string{
		"events_notable", "incidents_rollout", "incidents_open", "rollouts_phase", "rollouts_version", "leases_other",
		"leases_pending", // the version before asks for it
	} {
		if n := counts(t, old, `SELECT count(*) FROM pg_indexes WHERE indexname = $1`, index); n != 1 {
			t.Errorf("got %d indexes %s, want it there", n, index)
		}
	}
}

func TestSchemaOfTheVersionBeforeIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	const halted = 300
	url, old := earlier(t, halted)
	s := openAt(t, url, postgres.Options{})
	whole(t, old)
	if n := counts(t, old, `SELECT count(*) FROM rollouts WHERE phase <> '' AND version = 'v-' || id`); n != halted+1 {
		t.Errorf("got %d rollouts that lists can pick, want %d", n, halted+1)
	}
	phases, err := s.RolloutPhases(t.Context())
	if err != nil || phases[rollout.Running] != 1 || phases[rollout.Halted] != halted || len(phases) != 2 {
		t.Errorf("got %v, %v, want one running and %d halted", phases, err, halted)
	}
	r, err := s.Rollout(t.Context(), "running")
	if err != nil || r.State.Reason != "a\x00b" || r.Listed != rollout.Running || r.Incident != "inc-running" {
		t.Fatalf("got %+v, %v, want it as it was, and listed", r, err)
	}
	events, err := s.NotableEvents(t.Context(), "running", store.Matters, 0, 0)
	if err != nil || len(events) != 1 || events[0].Name != "started" {
		t.Errorf("got %+v, %v, want its event, which matters", events, err)
	}
	leases, err := s.LeasesPage(t.Context(), "running", "", 0, rollout.Pending)
	if err != nil || len(leases) != 1 || leases[0].Endpoint != "ep-2" {
		t.Errorf("got %+v, %v, want the pending lease", leases, err)
	}
	// What was let in before goes on into the recall.
	r.State.Phase = rollout.RolledBack
	err = s.Commit(t.Context(), store.Commit{
		State: r.State, Events: []store.Event{{Rollout: "running", Revision: 2, Name: "e", Data: []byte(`{}`), Effects: []byte(`[]`)}},
		Recall:   &store.Recall{Component: "c", Version: "v", Manifest: "sha256:00", Artifacts: []release.Digest{"sha256:01"}, Reason: r.State.Reason, Rollout: "running"},
		Incident: &store.Incident{ID: "inc-new", Rollout: "running", Component: "c", Version: "v", Title: "for " + r.State.Reason},
	})
	if err != nil {
		t.Errorf("got %v, want a rollback stored", err)
	}
	active, err := s.FindRollouts(t.Context(), store.RolloutQuery{Active: true})
	if err != nil || len(active) != 0 {
		t.Errorf("got %d active, %v, want none", len(active), err)
	}
	// The version before may lead for a while yet.
	begins(t, old, "begun", rollout.Proposed)
	if active, err = s.FindRollouts(t.Context(), store.RolloutQuery{Active: true}); err != nil || len(active) != 1 || active[0].State.ID != "begun" {
		t.Errorf("got %+v, %v, want what it began", active, err)
	}
}

// holding opens a transaction that keeps a table from being changed, until it is let go.
func holding(t *testing.T, url, table string) (letGo func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	if _, err = conn.Exec(t.Context(), `BEGIN; LOCK TABLE `+table+` IN ROW EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err := conn.Exec(t.Context(), `ROLLBACK`); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever is at work on a table is not waited for, as all others would wait behind.
func TestSchemaIsChangedWhenNobodyStandsInTheWay(t *testing.T) {
	t.Parallel()
	url, old := earlier(t, 0)
	letGo := holding(t, url, "incidents")
	began := clock.Wall{}.Now()
	s, err := postgres.Open(t.Context(), url, postgres.Options{})
	if err == nil {
		_ = s.Close()
	}
	if took := (clock.Wall{}).Now().Sub(began); fault.KindOf(err) != fault.Unavailable || took > 10*time.Second {
		t.Errorf("got %v after %v, want unavailable soon", err, took)
	}
	begins(t, old, "meanwhile", rollout.Running)
	letGo()
	openAt(t, url, postgres.Options{})
	whole(t, old)
}

// Indexes of large tables are built beside the version before, for as long as it takes, and from the beginning if that was cut off.
func TestIndexesAreBuiltWhileTheVersionBeforeWrites(t *testing.T) {
	t.Parallel()
	url, old := earlier(t, 3)
	letGo := holding(t, url, "leases")
	o := postgres.Options{Statement: 500 * time.Millisecond}
	opens := func(ctx context.Context) <-chan error {
		ended := make(chan error, 1)
		go func() {
			s, err := postgres.Open(ctx, url, o)
			if err == nil {
				err = s.Close()
			}
			ended <- err
		}()
		return ended
	}
	// waits returns once the last index, or what was left of it, has been waiting for longer than any other statement may.
	waits := func(ended <-chan error) {
		t.Helper()
		for counts(t, old, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
			AND query LIKE ANY (ARRAY['CREATE INDEX CONCURRENTLY leases_other%', 'DROP INDEX CONCURRENTLY %leases_other%']) AND clock_timestamp() - query_start > '1s'`) == 0 {
			select {
			case err := <-ended:
				t.Fatalf("got it opened with %v, want that it waits", err)
			default:
				pause(t, 20*time.Millisecond)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := opens(ctx)
	waits(first)
	does(t, old, `SET lock_timeout = '1s'`)
	begins(t, old, "meanwhile", rollout.Running)
	does(t, old, `UPDATE leases SET outcome = 'confirmed' WHERE rollout = 'meanwhile'`)
	cancel()
	if err := <-first; err == nil {
		t.Error("got no error, want it cut off")
	}
	for counts(t, old, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CREATE INDEX%'`) > 0 {
		pause(t, 20*time.Millisecond)
	}
	if n := counts(t, old, `SELECT count(*) FROM pg_index WHERE NOT indisvalid`); n != 1 {
		t.Fatalf("got %d indexes that are good for nothing, want the one that was cut off", n)
	}
	second := opens(t.Context())
	waits(second)
	letGo()
	if err := <-second; err != nil {
		t.Errorf("got %v, want it open", err)
	}
	whole(t, old)
	applied := counts(t, old, `SELECT max(version_id) FROM goose_db_version`)
	if files, err := filepath.Glob("migrations/*.sql"); err != nil || applied != len(files) {
		t.Errorf("got version %d, %v, want %d", applied, err, len(files))
	}
}
