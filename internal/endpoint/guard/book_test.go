package guard_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/journal"
)

func TestBook(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a", "guard")
	b, err := guard.Open(quick{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v (%v), want for its owner only", info, err)
	}
	entries := []bootguard.Entry{{Component: content, Kind: "content", Dir: "/c", Current: "v2", Good: "v1", Pending: true, At: epoch, Boot: "b1"}}
	undone := bootguard.Undone{Component: "firebreak-agent", From: "v2", To: "v1", Verdict: bootguard.Crash, Why: "three exits", At: epoch}
	for _, do := range []func() error{
		func() error { return b.Sync(entries) }, func() error { return b.Undid(undone) }, func() error { return b.Plan() },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	other, err := guard.Open(quick{}, dir) // another process
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	gotEntries, err1 := other.Entries()
	gotUndone, err2 := other.Undone()
	if diff := cmp.Diff(entries, gotEntries); diff != "" || err1 != nil {
		t.Errorf("entries (-want +got):\n%s%v", diff, err1)
	}
	if diff := cmp.Diff([]bootguard.Undone{undone}, gotUndone); diff != "" || err2 != nil {
		t.Errorf("undone (-want +got):\n%s%v", diff, err2)
	}
	if err := other.Take(gotUndone); err != nil {
		t.Fatal(err)
	}
	s, err := b.State()
	if err != nil || len(s.Undone) != 0 || !s.Planned || len(s.Entries) != 1 {
		t.Errorf("got %+v (%v), want nothing undone, the next boot planned and one entry", s, err)
	}
	if err := b.Sync(append(entries, entries...)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a component twice: got %v, want invalid", err)
	}
}

// Agent and launcher begin and write at the same time: nothing is lost, not even when none of them found a file.
func TestBookIsSharedByProcesses(t *testing.T) {
	t.Parallel()
	const hosts, writers, each = 20, 4, 3
	for range hosts {
		dir, begin := t.TempDir(), make(chan struct{})
		var wait sync.WaitGroup
		for i := range writers {
			wait.Go(func() {
				<-begin
				b, err := guard.Open(quick{}, dir)
				if err != nil {
					t.Error(err)
					return
				}
				defer b.Close()
				for n := range each {
					if err := b.Undid(bootguard.Undone{Component: fmt.Sprint(i, ".", n)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		close(begin)
		wait.Wait()
		b, err := guard.Open(quick{}, dir)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := b.Undone(); err != nil || len(got) != writers*each {
			t.Errorf("got %d undone (%v), want %d", len(got), err, writers*each)
		}
		_ = b.Close()
	}
}

// Sync is durable when it returns nil, whatever strikes: a boot finds the old entries or the new ones.
func TestSyncSurvivesEveryFault(t *testing.T) { //nolint:tparallel // one fault after the other, until none strikes
	t.Parallel()
	old := []bootguard.Entry{{Component: "a", Dir: "/a", Current: "v1", Good: "v1"}}
	next := []bootguard.Entry{{Component: "a", Dir: "/a", Current: "v2", Good: "v1", Pending: true}}
	for _, f := range []disktest.Fault{
		{Kind: disktest.Kill, Tear: true},
		{Kind: disktest.Cut},
		{Kind: disktest.Cut, Tear: true},
		{Kind: disktest.Fail, Tear: true},
		{Kind: disktest.Fail, Err: syscall.EROFS},
		{Kind: disktest.Full},
	} {
		enumerate(t, f, func(t *testing.T, fsys *disktest.Faulty) {
			w := newWorld(t)
			w.sync(old...)
			want := [][]bootguard.Entry{old, next}
			if b, err := guard.Open(fsys, w.dir()); err == nil {
				err = b.Sync(next)
				if err == nil {
					want = want[1:]
				}
				if f.Kind == disktest.Full && err != nil {
					t.Errorf("on a full disk: %v, want that it needs no space", err)
				}
				_ = b.Close()
			}
			got := w.state().Entries
			for _, entries := range want {
				if cmp.Equal(entries, got) {
					return
				}
			}
			t.Errorf("got %+v, want one of %+v", got, want)
		})
	}
}

// FuzzState boots on any bytes in the place of the state, and on any text within a sound record. The boot ends well, the next one counts.
func FuzzState(f *testing.F) {
	f.Add([]byte{}, false)
	f.Add([]byte(strings.Repeat("FBJL\x01\x00\x00\x00", 2000)), false)
	f.Add([]byte(`{"boots":9,"entries":[{"component":"a","dir":"/..//x","current":"b","good":"../../b","pending":true}]}`), true)
	f.Add([]byte(`{"boots":-9,"level":77,"entries":{},"owed":[{"component":"a"}]}`), true)
	f.Add([]byte(`[[[[[[`), true)
	f.Fuzz(func(t *testing.T, data []byte, record bool) {
		w := newWorld(t)
		path := filepath.Join(w.dir(), "state")
		if record {
			j, err := journal.Open(quick{}, path, 64<<10)
			if err != nil {
				t.Fatal(err)
			}
			_ = j.Save(data[:min(len(data), j.Room())])
			_ = j.Close()
		} else {
			w.write(path, string(data))
		}
		w.boot()
		if strings.Contains(w.log.String(), " broke ") || strings.Contains(w.log.String(), "gave up") {
			t.Fatalf("the boot broke:\n%s", w.log)
		}
		if s := w.state(); s.Boots < 1 && !s.Planned && s.Boot != "b2" {
			t.Errorf("the boot was not counted: %+v\n%s", s, w.log)
		}
		if record && !json.Valid(data) && w.state().Boots != 1 {
			t.Errorf("got %d boots, want that it began anew", w.state().Boots)
		}
	})
}
