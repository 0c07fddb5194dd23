package consumer_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/endpoint/consumer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
)

func crashAt(t time.Time, words string) consumer.Exit {
	e := consumer.Describe(-1, "SEGV", "signal SEGV", words)
	e.At, e.Tail = t, ""
	return e
}

func TestExitsAreNotedAndFound(t *testing.T) {
	t.Parallel()
	x := consumer.Exits{FS: disk.OS{}, Dir: filepath.Join(t.TempDir(), "exits")}
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if got := x.Since(time.Time{}, "sensor", "sensor.service"); got != nil {
		t.Errorf("before anything was noted: got %v, want nothing", got)
	}
	for _, n := range []consumer.Noted{
		{Component: "sensor", Exit: crashAt(noon, "a")},
		{Unit: "sensor", Exit: crashAt(noon.Add(time.Minute), "b")},
		{Unit: "other.service", Exit: crashAt(noon.Add(2*time.Minute), "c")},
		{Component: "other", Exit: crashAt(noon.Add(2*time.Minute), "d")},
	} {
		if err := x.Note(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(x.Dir, "9-torn.json"), []byte(`{"component":"sensor","exit":`), 0o600); err != nil {
		t.Fatal(err)
	}
	all := []consumer.Exit{crashAt(noon, "a"), crashAt(noon.Add(time.Minute), "b")}
	if diff := cmp.Diff(all, x.Since(noon, "sensor", "sensor.service")); diff != "" {
		t.Errorf("all (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(all[1:], x.Since(noon.Add(time.Second), "sensor", "sensor.service")); diff != "" {
		t.Errorf("a second later (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(all[:1], x.Since(noon, "sensor", "")); diff != "" {
		t.Errorf("of a component without a unit (-want +got):\n%s", diff)
	}
}

// A consumer that crashes for days fills no disk, and the newest ends are kept.
func TestExitsAreBounded(t *testing.T) {
	t.Parallel()
	x := consumer.Exits{FS: disk.OS{}, Dir: filepath.Join(t.TempDir(), "exits")}
	begin := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for i := range 200 {
		n := consumer.Noted{Component: "sensor", Exit: crashAt(begin.Add(time.Duration(i)*time.Second), fmt.Sprint("words ", strings.Repeat("x", i)))}
		n.Exit.Tail = strings.Repeat("y", 100_000)
		if err := x.Note(n); err != nil {
			t.Fatal(err)
		}
	}
	got := x.Since(begin, "sensor", "")
	if len(got) != 64 || !got[63].At.Equal(begin.Add(199*time.Second)) {
		t.Errorf("got %d ends, want the newest 64", len(got))
	}
}

// Whatever dies while an end is noted: it is there as a whole, or it is not.
func TestExitsSurviveEveryCrash(t *testing.T) {
	t.Parallel()
	want := crashAt(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), "a")
	for _, kind := range []disktest.Kind{disktest.Kill, disktest.Cut, disktest.Full} {
		disktest.Enumerate(t, disktest.Fault{Kind: kind, Tear: true}, func(t *testing.T, fsys *disktest.Faulty) {
			dir := filepath.Join(t.TempDir(), "exits")
			err := consumer.Exits{FS: fsys, Dir: dir}.Note(consumer.Noted{Component: "sensor", Exit: want})
			got := consumer.Exits{FS: disk.OS{}, Dir: dir}.Since(time.Time{}, "sensor", "")
			if err == nil && len(got) != 1 || len(got) == 1 && !cmp.Equal(want, got[0]) {
				t.Errorf("after %v: got %+v, want it as a whole or nothing", err, got)
			}
		})
	}
}
