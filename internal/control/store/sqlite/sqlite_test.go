package sqlite_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/control/store/storetest"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func open(tb testing.TB) *store.Store { return openAt(tb, filepath.Join(tb.TempDir(), "firebreak.db")) }

func openAt(tb testing.TB, path string) *store.Store {
	tb.Helper()
	s, err := sqlite.Open(tb.Context(), path)
	if err != nil {
		tb.Fatalf("got error %v, want an open database", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("got error %v, want it closed", err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, open)
}

func BenchmarkReports(b *testing.B) { storetest.BenchmarkReports(b, open) }
func BenchmarkLeases(b *testing.B)  { storetest.BenchmarkLeases(b, open) }
func BenchmarkTouch(b *testing.B)   { storetest.BenchmarkTouch(b, open) }
func BenchmarkAlone(b *testing.B)   { storetest.BenchmarkAlone(b, open) }
func BenchmarkEnrol(b *testing.B)   { storetest.BenchmarkEnrol(b, open) }
func BenchmarkLooks(b *testing.B)   { storetest.BenchmarkLooks(b, open) }

func TestReopenKeepsEverything(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new dir", "a?b#c%20d.db")
	first, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err = first.PutSetting(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	if err = first.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := openAt(t, path).Setting(t.Context(), "k")
	if got != "v" || err != nil {
		t.Errorf("got %q, %v after opening it again, want v", got, err)
	}
}

func TestFilesArePrivate(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("windows has other permissions")
	}
	path := filepath.Join(t.TempDir(), "data", "firebreak.db")
	s := openAt(t, path)
	if err := s.PutSetting(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 3 {
		t.Fatalf("got files %v, %v, want the database, its lock and its log", files, err)
	}
	for _, f := range append(files, filepath.Dir(path)) {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("got %v, %v, want %s to be this user's alone", info.Mode(), err, f)
		}
	}
}

func TestOneProcessAtATime(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "firebreak.db")
	openAt(t, path)
	_, err := sqlite.Open(t.Context(), path)
	if fault.KindOf(err) != fault.Conflict || fault.NextOf(err) == "" {
		t.Errorf("got %v, want a conflict that says what to do", err)
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "firebreak.db")
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err = s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err = db.ExecContext(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, 1)`); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the first attempt must not keep the lock
		_, err = sqlite.Open(t.Context(), path)
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "9999") || fault.NextOf(err) == "" {
			t.Errorf("got %v, want a conflict that names version 9999", err)
		}
	}
}

func TestDamagedFileIsRefused(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "firebreak.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := sqlite.Open(t.Context(), path)
	if err == nil || fault.NextOf(err) == "" {
		t.Errorf("got %v (next %q), want an error that says what to do", err, fault.NextOf(err))
	}
}

func TestReadsDoNotWaitForTheWriter(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "firebreak.db")
	s := openAt(t, path)
	if err := s.PutSetting(t.Context(), "k", "v"); err != nil {
		t.Fatal(err)
	}
	other, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second) // less than a write would wait
	defer cancel()
	if got, err := s.Setting(ctx, "k"); got != "v" || err != nil {
		t.Errorf("got %q, %v while another writes, want v", got, err)
	}
}

func TestOldHearings(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "firebreak.db")
	s := openAt(t, path)
	storetest.OldHearings(t, s, func(by time.Duration) {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err = db.ExecContext(t.Context(), `UPDATE hearings SET written = written - $1`, by.Microseconds()); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkLoad(b *testing.B) { storetest.BenchmarkLoad(b, open) }
