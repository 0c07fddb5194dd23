package sqlite_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/control/store/storetest"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// written makes a database from a text in testdata and opens it with this version.
func written(t *testing.T, name string) *store.Store {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "firebreak.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = db.ExecContext(t.Context(), string(text)); err != nil {
		t.Fatal(err)
	}
	if err = db.Close(); err != nil {
		t.Fatal(err)
	}
	return openAt(t, path)
}

// reportsLeft lists the reports to take in.
func reportsLeft(t *testing.T, s *store.Store) []store.Report {
	t.Helper()
	left, err := s.UntakenReports(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func TestFirstSchemaIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	s := written(t, "version1.sql")
	if e, err := s.Endpoint(t.Context(), "ep-1"); err != nil || e.ReportSeq != 3 || e.Posture.Said() {
		t.Errorf("got %+v, %v, want the endpoint as it was, which has not said its posture", e, err)
	}
	l, err := s.Lease(t.Context(), "r1", "ep-1")
	if err != nil || l.ID != "l1" || l.Site != "graz" || l.Stratum != "" || l.Class != "" {
		t.Errorf("got %+v, %v, want the lease as it was, without stratum and class", l, err)
	}
	if left := reportsLeft(t, s); len(left) != 1 || left[0].Seq != 3 {
		t.Errorf("got %+v to take in, want report 3", left)
	}
}

// A database of the version before endpoints had numbers keeps everything.
func TestSchemaWithoutNumbersIsBroughtUpToDate(t *testing.T) {
	t.Parallel()
	s := written(t, "version3.sql")
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
	all, last, err := s.ChangedEndpoints(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := []store.Endpoint{
		{
			Number: 1, Change: 1, ID: "ep-2", Tenant: "acme", Attributes: fleet.Attributes{OS: "windows"}, Labels: fleet.Labels{"role": "web"},
			Enrolled: at(1), LastSeen: at(5), Boot: "b2", Components: json.RawMessage(`{"c":{}}`), ReportSeq: 7, Posture: 4,
		},
		{
			Number: 2, Change: 2, ID: "ep-1", Tenant: "other", Attributes: fleet.Attributes{OS: "linux"}, Labels: fleet.Labels{},
			Enrolled: at(2),
		},
		{
			Number: 3, Change: 3, ID: "ep-3", Tenant: "acme", Attributes: fleet.Attributes{OS: "linux"}, Labels: fleet.Labels{},
			Enrolled: at(3), LastSeen: at(6), Boot: "b3", ReportSeq: 2,
		},
	}
	if diff := cmp.Diff(want, all); diff != "" || last != 3 {
		t.Errorf("got other endpoints, up to change %d (-want +got):\n%s", last, diff)
	}
	reports := []store.Report{
		{Arrival: 9, Endpoint: "ep-3", Seq: 2, Received: at(5), Data: json.RawMessage(`{"seq":  2}`)},
		{Arrival: 11, Endpoint: "ep-2", Seq: 7, Received: at(6), Data: json.RawMessage(`{"seq":7}`)},
	}
	if diff := cmp.Diff(reports, reportsLeft(t, s)); diff != "" {
		t.Errorf("got other reports to take in (-want +got):\n%s", diff)
	}
	leases, err := s.Leases(t.Context(), "r1")
	if err != nil || len(leases) != 2 || leases[0].Endpoint != "ep-2" || leases[1].Outcome != rollout.Crashed {
		t.Errorf("got leases %+v, %v, want the two that were there", leases, err)
	}
	if r, err := s.Rollout(t.Context(), "r1"); err != nil || r.Revision != 2 {
		t.Errorf("got %+v, %v, want the rollout at revision 2", r, err)
	}
	if v, err := s.Setting(t.Context(), "k"); v != "v" || err != nil {
		t.Errorf("got setting %q, %v, want v", v, err)
	}
	worksOn(t, s)
}

// worksOn checks that numbers go on where they were.
func worksOn(t *testing.T, s *store.Store) {
	t.Helper()
	data := json.RawMessage(`{}`)
	sent := []store.Report{{Seq: 5, Data: data}, {Seq: 7, Data: data}, {Seq: 8, Data: data}} // two of them were there
	if ack, err := s.AddReports(t.Context(), "ep-2", time.Unix(7, 0), sent); ack != 8 || err != nil {
		t.Errorf("got %d acknowledged, %v, want 8", ack, err)
	}
	if left := reportsLeft(t, s); len(left) != 3 || left[2].Seq != 8 || left[2].Arrival <= 11 {
		t.Errorf("got %+v to take in, want report 8 behind what was there", left)
	}
	if number, err := s.Enrol(t.Context(), store.Endpoint{ID: "ep-4"}); number != 4 || err != nil {
		t.Errorf("got number %d, %v, want 4", number, err)
	}
	if all, last, err := s.ChangedEndpoints(t.Context(), 3, 0); len(all) != 1 || last != 4 || err != nil {
		t.Errorf("got %+v up to %d, %v, want the new endpoint as change 4", all, last, err)
	}
	if _, _, err := s.Join(t.Context(), []byte{1}, time.Unix(7, 0), store.Endpoint{ID: "ep-5"}); err != nil {
		t.Errorf("got %v, want the token to be good", err)
	}
}

// Rollouts from before there were lists are listed when the database is opened, however many they are, and whatever is in them.
func TestRolloutsOfTheVersionBeforeAreListed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "firebreak.db")
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Fill(t, s)
	want := phasesOf(t, s)
	if len(want) == 0 {
		t.Fatal("there are no rollouts")
	}
	if err = s.Close(); err != nil {
		t.Fatal(err)
	}
	const more = 300
	execute(t, path, `UPDATE rollouts SET phase = '', version = ''`)
	for i := range more {
		execute(t, path, fmt.Sprintf(`INSERT INTO rollouts (id, component, revision, created, state)
			VALUES ('old%d', 'c', 1, 1, '{"phase":"halted","reason":"a\u0000b","release":{"version":"v%d"}}')`, i, i))
	}
	execute(t, path, `INSERT INTO rollouts (id, component, revision, created, state) VALUES ('odd', 'c', 1, 1, 'not json')`)
	s = openAt(t, path)
	want[rollout.Halted] += more
	want[rollout.None]++ // which nobody can read
	if got := phasesOf(t, s); !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	found, err := s.FindRollouts(t.Context(), store.RolloutQuery{Version: "v299", Phases: []rollout.Phase{rollout.Halted}})
	if err == nil || len(found) != 0 {
		t.Errorf("got %d, %v, want the error of the one that nobody can read", len(found), err)
	}
	execute(t, path, `DELETE FROM rollouts WHERE id = 'odd'`)
	found, err = s.FindRollouts(t.Context(), store.RolloutQuery{Version: "v299", Phases: []rollout.Phase{rollout.Halted}})
	if err != nil || len(found) != 1 || found[0].Listed != rollout.Halted || found[0].State.Reason != "a\x00b" {
		t.Errorf("got %+v, %v, want one that is listed as halted", found, err)
	}
}

func TestOldRollouts(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "firebreak.db")
	storetest.OldRollouts(t, openAt(t, path), func(statement string) { execute(t, path, statement) })
}

// execute runs a statement past the store.
func execute(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err = db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

func phasesOf(t *testing.T, s *store.Store) map[rollout.Phase]int64 {
	t.Helper()
	phases, err := s.RolloutPhases(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return phases
}
