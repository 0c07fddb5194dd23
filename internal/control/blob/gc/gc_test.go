package gc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob/disk"
	"github.com/firebreak-dev/firebreak/internal/control/blob/gc"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// named is what a control plane needs, and what it does when it is asked.
type named struct {
	mu    sync.Mutex
	why   map[release.Digest]string
	asked int
	then  func(asked int) error
}

func (n *named) Needed(_ context.Context, name func(release.Digest, string)) error {
	n.mu.Lock()
	n.asked++
	asked := n.asked
	for d, why := range n.why {
		name(d, why)
	}
	n.mu.Unlock()
	if n.then != nil {
		return n.then(asked)
	}
	return nil
}

func (n *named) add(d release.Digest, why string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.why[d] = why
}

type world struct {
	t     testing.TB
	clock *clock.Fixed
	blobs *disk.Store
	roots *named
}

func open(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, clock: clock.At(time.Date(2026, 7, 19, 4, 9, 0, 0, time.UTC)), roots: &named{why: map[release.Digest]string{}}}
	var err error
	if w.blobs, err = disk.OpenAt(t.TempDir(), w.clock); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) put(data string) release.Digest {
	w.t.Helper()
	d := release.DigestOf([]byte(data))
	if err := w.blobs.Put(w.t.Context(), d, int64(len(data)), strings.NewReader(data)); err != nil {
		w.t.Error(err)
	}
	return d
}

func (w *world) collect(dry bool) (gc.Report, error) {
	return gc.Collect(w.t.Context(), gc.Options{Roots: w.roots, Blobs: w.blobs, Clock: w.clock, Dry: dry})
}

func (w *world) has(d release.Digest, want bool) {
	w.t.Helper()
	if got, err := w.blobs.Has(w.t.Context(), d); got != want || err != nil {
		w.t.Errorf("got %s there: %t, %v, want %t", d.Short(), got, err, want)
	}
}

func why(kept []gc.Kept, d release.Digest) string {
	for _, k := range kept {
		if k.Digest == d {
			return k.Why
		}
	}
	return "not kept"
}

func TestOnlyWhatIsOldAndUnnamedGoes(t *testing.T) {
	t.Parallel()
	w := open(t)
	orphan, needed, touched := w.put("orphan"), w.put("needed"), w.put("touched")
	w.roots.add(needed, "rollout ro-1")
	lost := release.DigestOf([]byte("lost"))
	w.roots.add(lost, "pin")
	w.clock.Move(gc.DefaultAge)
	young := w.put("young")
	if err := w.blobs.Touch(t.Context(), touched); err != nil {
		t.Fatal(err)
	}
	w.clock.Move(time.Second)
	for _, dry := range []bool{true, false} {
		report, err := w.collect(dry)
		if err != nil || len(report.Removed) != 1 || report.Removed[0].Digest != orphan || report.Removed[0].Size != 6 {
			t.Errorf("dry %t: got %+v, %v, want the orphan removed", dry, report.Removed, err)
		}
		if len(report.Kept) != 3 || why(report.Kept, needed) != "rollout ro-1" || why(report.Kept, young) != gc.Young || why(report.Kept, touched) != gc.Young {
			t.Errorf("dry %t: got %+v kept, want three with their reasons", dry, report.Kept)
		}
		if len(report.Missing) != 1 || why(report.Missing, lost) != "pin" {
			t.Errorf("dry %t: got %+v missing, want what was lost", dry, report.Missing)
		}
		w.has(orphan, dry)
	}
	for _, d := range []release.Digest{needed, touched, young} {
		w.has(d, true)
	}
}

func TestWhatIsNamedWhileItWaitsStays(t *testing.T) {
	t.Parallel()
	w := open(t)
	d, again := w.put("started at the last moment"), w.put("put again at the last moment")
	w.clock.Move(8 * 24 * time.Hour)
	w.roots.then = func(asked int) error {
		if asked == 1 { // the first look is over when this returns
			w.roots.add(d, "rollout ro-2")
			w.put("put again at the last moment")
		}
		return nil
	}
	report, err := w.collect(false)
	if err != nil || len(report.Removed) > 0 {
		t.Errorf("got %+v removed, %v, want nothing", report.Removed, err)
	}
	if why(report.Kept, d) != "rollout ro-2" || why(report.Kept, again) != gc.Young {
		t.Errorf("got %+v kept, want both with the newer reasons", report.Kept)
	}
	w.has(d, true)
	w.has(again, true)
}

func TestRootsThatDoNotKnowStopIt(t *testing.T) {
	t.Parallel()
	for _, at := range []int{1, 2} {
		w := open(t)
		d := w.put("orphan")
		w.clock.Move(8 * 24 * time.Hour)
		w.roots.then = func(asked int) error {
			if asked == at {
				return fault.New(fault.Unavailable, "read rollouts: the database is gone")
			}
			return nil
		}
		if report, err := w.collect(false); fault.KindOf(err) != fault.Unavailable || len(report.Removed) > 0 {
			t.Errorf("look %d: got %+v, %v, want nothing removed and the error", at, report, err)
		}
		w.has(d, true)
	}
}

// slow is a store in which a publisher comes in between any two steps of a collection.
type slow struct {
	*disk.Store
	between func(release.Digest)
}

func (s slow) RemoveOlder(ctx context.Context, d release.Digest, before time.Time) (bool, error) {
	s.between(d)
	return s.Store.RemoveOlder(ctx, d, before)
}

// The publisher asks whether a blob is there (which touches it) after the roots were asked for the last time, and names it later.
func TestAPublisherBetweenTheLastLookAndTheRemovalWins(t *testing.T) {
	t.Parallel()
	w := open(t)
	d := w.put("published again")
	w.clock.Move(8 * 24 * time.Hour)
	s := slow{w.blobs, func(d release.Digest) {
		if err := w.blobs.Touch(t.Context(), d); err != nil {
			t.Error(err)
		}
	}}
	report, err := gc.Collect(t.Context(), gc.Options{Roots: w.roots, Blobs: s, Clock: w.clock})
	if err != nil || len(report.Removed) > 0 {
		t.Errorf("got %+v, %v, want nothing removed", report.Removed, err)
	}
	w.has(d, true)
}

// Publishers and collections run at once. Whatever a publisher made sure of and then named is there in the end.
func TestPublishingAndCollectingAtOnce(t *testing.T) {
	t.Parallel()
	w := open(t)
	const blobs = 200
	for i := range blobs {
		w.put(fmt.Sprint("blob ", i))
	}
	w.clock.Move(8 * 24 * time.Hour)
	var all sync.WaitGroup
	for p := range 4 {
		all.Go(func() {
			for i := p; i < blobs; i += 5 { // each fifth is nobody's
				data := fmt.Sprint("blob ", i)
				d := release.DigestOf([]byte(data))
				if err := w.blobs.Touch(t.Context(), d); fault.KindOf(err) == fault.NotFound && err != nil {
					w.put(data)
				} else if err != nil {
					t.Error(err)
				}
				w.roots.add(d, "published")
			}
		})
	}
	for range 2 {
		all.Go(func() {
			if _, err := w.collect(false); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for i := range blobs {
		if i%5 != 4 {
			w.has(release.DigestOf([]byte(fmt.Sprint("blob ", i))), true)
		}
	}
	if _, err := w.collect(false); err != nil {
		t.Fatal(err)
	}
	for i := 4; i < blobs; i += 5 {
		w.has(release.DigestOf([]byte(fmt.Sprint("blob ", i))), false)
	}
}

func TestItStopsWhenItIsTold(t *testing.T) {
	t.Parallel()
	w := open(t)
	d := w.put("orphan")
	w.clock.Move(8 * 24 * time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	w.roots.then = func(int) error {
		cancel()
		return nil
	}
	_, err := gc.Collect(ctx, gc.Options{Roots: w.roots, Blobs: w.blobs, Clock: w.clock})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	w.has(d, true)
}
