package bench

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/control/store/storetest"
)

// TestReportsSQLite measures how many reports a second become durable with SQLite: 64 callers at a time, each with 8 reports of one endpoint, each
// of which goes on when its reports are on disk. And how much the database grows by a million of them.
func TestReportsSQLite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "firebreak.db")
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	endpoints, total := 500, 4_000
	if *full {
		endpoints, total = 10_000, 400_000
	}
	report := storetest.Load(t, s, endpoints)
	before := size(t, path)
	took := reportFor(t, s, report, total)
	figure(t, "reports_sqlite", float64(total)/took.Seconds(), "1/s")
	if err := s.Close(); err != nil { // what is in the log goes into the file
		t.Fatal(err)
	}
	figure(t, "reports_sqlite_bytes", float64(size(t, path)-before)/float64(total), "bytes")
}

// reportFor stores reports and tells how long it took. All of them must be there afterwards.
func reportFor(t *testing.T, s *store.Store, report func(callers, each, total int), total int) time.Duration {
	t.Helper()
	begin := clock.Wall{}.Now()
	report(64, 8, total)
	took := clock.Wall{}.Now().Sub(begin)
	left, err := s.UntakenReports(t.Context(), 0, 0)
	if err != nil || len(left) != total {
		t.Fatalf("got %d reports, %v, want all %d", len(left), err, total)
	}
	return took
}

// size is that of a file, in bytes.
func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
