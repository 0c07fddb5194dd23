package app

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Of replicas that start an installation at once, each with keys of its own, one goes on; and it starts again.
func TestOneAuthority(t *testing.T) {
	t.Parallel()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "firebreak.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	var dirs [6]string
	var errs [len(dirs)]error
	var starting sync.WaitGroup
	for i := range dirs {
		dirs[i] = t.TempDir()
		starting.Go(func() { _, errs[i] = openAuthority(t.Context(), s, dirs[i], clock.Wall{}) })
	}
	starting.Wait()
	began := 0
	for i, err := range errs {
		if _, again := openAuthority(t.Context(), s, dirs[i], clock.Wall{}); fault.KindOf(again) != fault.KindOf(err) {
			t.Errorf("replica %d: got error %v at first, and %v when it started again", i, err, again)
		}
		if err == nil {
			began++
		} else if kind := fault.KindOf(err); kind != fault.Conflict && kind != fault.Invalid {
			t.Errorf("replica %d: got error %v, want it to say whose keys these are", i, err)
		}
	}
	if began != 1 {
		t.Errorf("got %d replicas with keys of their own, want 1", began)
	}
}
