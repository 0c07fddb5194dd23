//go:build unix

package launcher

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/launch"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// volatile is a book that remembers while the test lasts.
type volatile struct {
	entry bootguard.Entry
	told  map[string]bootguard.Undone
}

func (v *volatile) Entries() ([]bootguard.Entry, error) { return []bootguard.Entry{v.entry}, nil }

func (v *volatile) Undid(u bootguard.Undone) error {
	v.told[u.From] = u
	return nil
}

// world is a host on which a release is on trial.
type world struct {
	root string
	book *volatile
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{t.TempDir(), &volatile{
		entry: bootguard.Entry{Component: Component, Current: "good", Good: "good"}, told: map[string]bootguard.Undone{},
	}}
	l := w.launcher(t, disk.OS{})
	defer l.close()
	if err := l.dir.Make(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []slots.Slot{"good", "new"} {
		if err := errors.Join(os.Mkdir(l.dir.Slot(s), 0o755), os.WriteFile(l.executable(s), []byte(s), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(l.dir.Switch("good", ""), os.Mkdir(l.state(identityDir), 0o700),
		os.WriteFile(filepath.Join(l.state(identityDir), "identity.json"), []byte("who I am"), 0o600)); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w world) launcher(t *testing.T, fsys disk.FS) *launcher {
	t.Helper()
	guard := filepath.Join(w.root, "guard")
	if err := os.MkdirAll(guard, 0o700); err != nil {
		t.Fatal(err)
	}
	return newLauncher(Options{
		FS: fsys, AgentState: filepath.Join(w.root, "agent"), GuardDir: guard, Book: w.book, Clock: clock.Wall{}, Boot: "b", Times: Defaults(),
		Log: func(string, ...any) {},
	})
}

// trial is the life of a launcher that puts a release on trial and finds it wanting.
func (l *launcher) trial(t *testing.T) {
	t.Helper()
	d := l.settle()
	d.Run.Boot = l.Boot
	l.State = l.State.Started(d.Run)
	l.save()
	if d.Run.Slot == "new" {
		l.ended(launch.Exit{Reason: launch.Mute, Why: "not a word"})
		d = l.settle()
	}
	if d.Run.Slot != "good" {
		t.Errorf("got %+v, want the good one", d.Run)
	}
}

func everyFault() []disktest.Fault {
	return []disktest.Fault{
		{Kind: disktest.Kill, Tear: true}, {Kind: disktest.Cut}, {Kind: disktest.Fail}, {Kind: disktest.Full, Tear: true},
	}
}

// Whatever the disk does while the launcher goes back, and wherever it is killed: the next one ends up with the good agent, and the agent
// is told.
func TestGoingBackSurvivesEveryFault(t *testing.T) {
	t.Parallel()
	for _, fault := range everyFault() {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			n := disktest.Enumerate(t, fault, func(t *testing.T, fsys *disktest.Faulty) {
				w := newWorld(t)
				w.book.entry = bootguard.Entry{Component: Component, Current: "new", Good: "good", Pending: true}
				l := w.launcher(t, disk.OS{})
				if err := l.dir.Switch("new", "good"); err != nil {
					t.Fatal(err)
				}
				l.close()
				faulty := w.launcher(t, fsys)
				d := faulty.settle()
				d.Run.Boot = faulty.Boot
				faulty.State = faulty.State.Started(d.Run)
				faulty.save()
				faulty.ended(launch.Exit{Reason: launch.Mute, Why: "not a word"})
				faulty.settle()
				faulty.close()
				next := w.launcher(t, disk.OS{})
				defer next.close()
				next.takeLost()
				next.trial(t)
				if q := next.State.Quarantined; len(q) != 1 || q[0].Owed {
					t.Errorf("got %+v, want one slot that the agent was told of", q)
				}
				if link := next.link(); link != "good" || w.book.told["new"].Why != "the agent never asked the control plane: not a word" {
					t.Errorf("got the link to %q, told %+v", link, w.book.told)
				}
			})
			if n < 5 {
				t.Errorf("got %d changes, want the journal and the links", n)
			}
		})
	}
}

// The copy of the agent and of its identity are the old ones or the new ones, wherever making them ends.
func TestKeepingSurvivesEveryFault(t *testing.T) {
	t.Parallel()
	for _, fault := range everyFault() {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			n := disktest.Enumerate(t, fault, func(t *testing.T, fsys *disktest.Faulty) {
				w := newWorld(t)
				first := w.launcher(t, disk.OS{})
				first.State = first.State.Started(launch.Life{Rung: launch.Current, Slot: "good", Link: "good"})
				first.preserve()
				first.close()
				if !first.keepHolds("good") {
					t.Fatal("got no copy of the good agent")
				}
				w.book.entry = bootguard.Entry{Component: Component, Current: "new", Good: "new"}
				if err := os.WriteFile(filepath.Join(first.state(identityDir), "identity.json"), []byte("renewed"), 0o600); err != nil {
					t.Fatal(err)
				}
				faulty := w.launcher(t, fsys)
				faulty.State = faulty.State.Started(launch.Life{Rung: launch.Current, Slot: "new", Link: "new"})
				faulty.preserve()
				faulty.save() // one more change: what was kept by then must outlive a power cut
				faulty.close()
				if err := os.RemoveAll(faulty.AgentState); err != nil {
					t.Fatal(err)
				}
				next := w.launcher(t, disk.OS{})
				defer next.close()
				next.restore()
				data, err := os.ReadFile(filepath.Join(next.state(identityDir), "identity.json"))
				if err != nil || string(data) != "who I am" && string(data) != "renewed" {
					t.Errorf("got the identity %q, %v", data, err)
				}
				if !next.keepHolds() || next.Keep.Slot != "good" && next.Keep.Slot != "new" {
					t.Errorf("got the copy %+v, want one that holds", next.Keep)
				}
			})
			if n < 10 {
				t.Errorf("got %d changes, want the identity, the copy and the journal", n)
			}
		})
	}
}
