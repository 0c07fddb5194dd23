package move_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/move"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres/postgrestest"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/control/store/storetest"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

func source(t *testing.T) *store.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "firebreak.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func target(t *testing.T) *store.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgrestest.Shared(t).Database(t), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// said is what a store says of everything in it.
func said(t *testing.T, s *store.Store) map[string]any {
	t.Helper()
	all := map[string]any{}
	note := func(name string, v any, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		all[name] = v
	}
	ctx := t.Context()
	for name, read := range map[string]func() (any, error){
		"tokens":     func() (any, error) { return s.Tokens(ctx) },
		"endpoints":  func() (any, error) { return s.Endpoints(ctx, "", 0) },
		"components": func() (any, error) { return s.Components(ctx) },
		"plans":      func() (any, error) { return s.Plans(ctx) },
		"files":      func() (any, error) { return s.MetadataNames(ctx, "") },
		"releases":   func() (any, error) { return s.Releases(ctx, "") },
		"rollouts":   func() (any, error) { return s.Rollouts(ctx, "", 0) },
		"events":     func() (any, error) { return s.Events(ctx, "r1", 0, 0) },
		"leases":     func() (any, error) { return s.Leases(ctx, "r1") },
		"recalls":    func() (any, error) { return s.Recalls(ctx, "") },
		"incidents":  func() (any, error) { return s.Incidents(ctx) },
		"directives": func() (any, error) { return s.Directives(ctx) },
		"reports":    func() (any, error) { return s.UntakenReports(ctx, 0, 0) },
		"hearings": func() (any, error) {
			all, err := s.HearingsAfter(ctx, 0, "", 0)
			for i := range all {
				all[i].Age = 0 // what passes meanwhile
			}
			return all, err
		},
	} {
		v, err := read()
		note(name, v, err)
	}
	return all
}

// A filled store is moved: every table is there as it was, and the copy works on where the other ended.
func TestCopy(t *testing.T) {
	t.Parallel()
	from, to := source(t), target(t)
	storetest.Fill(t, from)
	for i := range 600 { // more than one statement writes
		if err := from.PutEndpoint(t.Context(), store.Endpoint{ID: fleet.EndpointID(fmt.Sprintf("many-%03d", i))}); err != nil {
			t.Fatal(err)
		}
	}
	want := said(t, from)
	steps := map[string]int64{}
	report, err := move.Copy(t.Context(), from, to, func(table string, done, total int64) {
		if done > total || done < steps[table] {
			t.Errorf("%s: got %d of %d after %d", table, done, total, steps[table])
		}
		steps[table] = done
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, said(t, to), cmpopts.IgnoreUnexported(rollout.State{})); diff != "" {
		t.Errorf("got a copy that differs (-want +got):\n%s", diff)
	}
	for _, table := range report.Tables {
		if table.Rows == 0 || table.Checksum == "" || steps[table.Name] != table.Rows {
			t.Errorf("got %+v and %d rows told of, want every table filled and told of", table, steps[table.Name])
		}
	}
	if report.Rows() < 600 {
		t.Errorf("got %d rows, want at least 600", report.Rows())
	}
	goesOn(t, from, to)
}

// goesOn checks that what the database counts by itself goes on.
func goesOn(t *testing.T, from, to *store.Store) {
	t.Helper()
	before, err := from.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	led, err := to.Lead(t.Context(), "first", time.Minute)
	if err != nil || led.Term <= before.Term {
		t.Errorf("got term %d, %v, want one above %d", led.Term, err, before.Term)
	}
	if err := to.PutEndpoint(t.Context(), store.Endpoint{ID: "new"}); err != nil {
		t.Errorf("got %v, want another endpoint", err)
	}
	report := []store.Report{{Seq: 1, Data: json.RawMessage(`{}`)}}
	if ack, err := to.AddReports(t.Context(), "new", time.Unix(1, 0), report); ack != 1 || err != nil {
		t.Errorf("got %d, %v, want the report stored", ack, err)
	}
}

// Both databases have the same tables with the same columns, and a copy leaves none out.
func TestSameTables(t *testing.T) {
	t.Parallel()
	path, url := filepath.Join(t.TempDir(), "firebreak.db"), postgrestest.Shared(t).Database(t)
	from, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to, err := postgres.Open(t.Context(), url, postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	small := columns(t, "sqlite", path, `SELECT m.name, c.name,
		CASE c.type WHEN 'INTEGER' THEN 'bigint' WHEN 'BLOB' THEN 'bytea' ELSE lower(c.type) END, c."notnull" = 1 OR c.pk > 0
		FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT IN ('goose_db_version', 'sqlite_sequence')`)
	large := columns(t, "pgx", url, `SELECT table_name, column_name, data_type, is_nullable = 'NO'
		FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'goose_db_version'`)
	if diff := cmp.Diff(small, large); diff != "" {
		t.Errorf("got other tables in PostgreSQL (-SQLite +PostgreSQL):\n%s", diff)
	}
	report, err := move.Copy(t.Context(), from, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	copied := []string{"letters"} // means nothing in another database
	for _, table := range report.Tables {
		copied = append(copied, table.Name)
	}
	slices.Sort(copied)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(small)), copied); diff != "" {
		t.Errorf("got other tables copied (-there +copied):\n%s", diff)
	}
}

// columns are the columns of all tables, each with its type and whether it always has a value.
func columns(t *testing.T, driver, source, query string) map[string]map[string]string {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := map[string]map[string]string{}
	for rows.Next() {
		var table, column, kind string
		var always bool
		if err := rows.Scan(&table, &column, &kind, &always); err != nil {
			t.Fatal(err)
		}
		if all[table] == nil {
			all[table] = map[string]string{}
		}
		all[table][column] = fmt.Sprint(kind, " ", always)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTargetMustBeEmpty(t *testing.T) {
	t.Parallel()
	from, to := source(t), target(t)
	storetest.Fill(t, from)
	if err := to.PutSetting(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	_, err := move.Copy(t.Context(), from, to, nil)
	if fault.KindOf(err) != fault.Conflict || fault.NextOf(err) == "" {
		t.Errorf("got %v, want a conflict that says what to do", err)
	}
	if all, err := to.Endpoints(t.Context(), "", 0); len(all) != 0 || err != nil {
		t.Errorf("got %v, %v, want nothing copied", all, err)
	}
}

// A copy that ends in the middle leaves nothing, and can be made again.
func TestCopyAgain(t *testing.T) {
	t.Parallel()
	from, to := source(t), target(t)
	storetest.Fill(t, from)
	func() {
		defer func() { _ = recover() }()
		_, _ = move.Copy(t.Context(), from, to, func(table string, _, _ int64) {
			if table == "events" {
				panic("killed")
			}
		})
	}()
	if all, err := to.Endpoints(t.Context(), "", 0); len(all) != 0 || err != nil {
		t.Errorf("got %v, %v, want nothing copied", all, err)
	}
	if _, err := move.Copy(t.Context(), from, to, nil); err != nil {
		t.Errorf("got %v, want it copied", err)
	}
}
