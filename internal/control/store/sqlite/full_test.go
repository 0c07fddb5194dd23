package sqlite

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// TestFullDisk reaches the database's own limit instead of a disk's: SQLite reports both alike.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	db, err := pool(filepath.Join(t.TempDir(), "firebreak.db"), 1, "_txlock=immediate&_pragma=max_page_count(100)")
	if err != nil {
		t.Fatal(err)
	}
	dialect, err := newDialect()
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.New(t.Context(), store.Options{Write: db, Read: db, Dialect: dialect})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err = s.PutSetting(t.Context(), "k", "kept"); err != nil {
		t.Fatal(err)
	}
	err = s.PutSetting(t.Context(), "k", strings.Repeat("x", 1<<20))
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.NextOf(err), "disk is full") {
		t.Errorf("got %v (next %q), want unavailable because the disk is full", err, fault.NextOf(err))
	}
	if got, err := s.Setting(t.Context(), "k"); got != "kept" || err != nil {
		t.Errorf("got %q, %v afterwards, want what was there before", got, err)
	}
	if err := s.PutSetting(t.Context(), "k", "new"); err != nil {
		t.Errorf("got %v for a write that fits, want none", err)
	}
}
