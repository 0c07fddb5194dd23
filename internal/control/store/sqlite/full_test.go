package sqlite

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// small opens a database that is full at so many pages. It reaches the database's own limit instead of a disk's: SQLite reports both
// alike.
func small(t *testing.T, pages int) *store.Store {
	t.Helper()
	db, err := pool(filepath.Join(t.TempDir(), "firebreak.db"), 1, fmt.Sprintf("_txlock=immediate&_pragma=max_page_count(%d)", pages))
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
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	s := small(t, 100)
	if err := s.PutSetting(t.Context(), "k", "kept"); err != nil {
		t.Fatal(err)
	}
	err := s.PutSetting(t.Context(), "k", strings.Repeat("x", 1<<20))
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

// On a full disk every caller of a group gets an answer, and it is true: what was refused is not there, what was not refused is.
func TestFullDiskAnswersAll(t *testing.T) {
	t.Parallel()
	s := small(t, 120)
	for i := range 16 {
		if err := s.PutEndpoint(t.Context(), store.Endpoint{ID: fleet.EndpointID(fmt.Sprint("ep-", i))}); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	var refused atomic.Int64
	acknowledged := make([]int64, 16)
	for i := range acknowledged {
		all.Go(func() {
			data := json.RawMessage(`"` + strings.Repeat("x", 2000) + `"`)
			for seq := int64(1); ; seq++ {
				ack, err := s.AddReports(t.Context(), fleet.EndpointID(fmt.Sprint("ep-", i)), time.Unix(1, 0), []store.Report{{Seq: seq, Data: data}})
				if err != nil {
					if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.NextOf(err), "disk is full") {
						t.Errorf("got %v, want unavailable because the disk is full", err)
					}
					refused.Add(1)
					return
				}
				acknowledged[i] = ack
			}
		})
	}
	all.Wait()
	if refused.Load() != 16 {
		t.Errorf("got %d refused, want all 16", refused.Load())
	}
	left, err := s.UntakenReports(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[fleet.EndpointID]int64{}
	for _, r := range left {
		stored[r.Endpoint]++
	}
	for i, ack := range acknowledged {
		if id := fleet.EndpointID(fmt.Sprint("ep-", i)); stored[id] != ack {
			t.Errorf("got %d reports of %s, want the %d acknowledged", stored[id], id, ack)
		}
	}
}
