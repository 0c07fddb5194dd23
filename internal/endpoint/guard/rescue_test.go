package guard_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

func rescue(t *testing.T, w *world, r guard.Rescuing) (string, error) {
	t.Helper()
	var out strings.Builder
	r.Components = components
	if r.Level == 0 {
		r.Level = 1
	}
	err := guard.Rescue(t.Context(), w.Host, r, &out)
	return out.String(), err
}

// looping is a host that never gets as far as its second stage.
func looping(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.write(filepath.Join(w.Root, "etc/machine-id"), "0123\n")
	calm := w.install("calm", "v1", "v2")
	calm.Pending, calm.Good, calm.Older = false, "v2", "v1"
	w.sync(w.install(content, "v0", "v1", "v2"), calm)
	w.boot()
	return w
}

func TestRescueIsADryRunAtFirst(t *testing.T) {
	t.Parallel()
	w := looping(t)
	before := tree(t, w.Root)
	medium := filepath.Join(t.TempDir(), "report.txt")
	out, err := rescue(t, w, guard.Rescuing{Report: medium})
	if err != nil {
		t.Fatal(err)
	}
	if after := tree(t, w.Root); after != before {
		t.Errorf("the disk was changed:\n%s\nwant\n%s", after, before)
	}
	for _, want := range []string{"host 0123", "content                      pending   v2                           v1", "nothing was changed"} {
		if !strings.Contains(out, want) {
			t.Errorf("got\n%s\nwant %q in it", out, want)
		}
	}
	if report, err := os.ReadFile(medium); err != nil || string(report) != out {
		t.Errorf("the report on the medium is %q (%v), want what was shown", report, err)
	}
}

func TestRescue(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		level         int
		content, calm string
	}{
		"pending": {1, "v1", "v2"}, "recent": {2, "v0", "v1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := looping(t)
			out, err := rescue(t, w, guard.Rescuing{Level: test.level, Yes: true, Disable: true})
			if err != nil {
				t.Fatal(err)
			}
			if w.current(content) != test.content || w.current("calm") != test.calm {
				t.Errorf("current are %s and %s, want %s and %s\n%s", w.current(content), w.current("calm"), test.content, test.calm, out)
			}
			s := w.state()
			if s.Boots != 0 || len(s.Undone) == 0 || s.Undone[0].From != "v2" || s.Undone[0].Verdict != bootguard.Crash {
				t.Errorf("got %+v, want no boots, and on record that the release harmed", s)
			}
			if !w.component(content).Has("v2") {
				t.Error("the bad slot was deleted")
			}
			if report, err := os.ReadFile(filepath.Join(w.dir(), "rescue.txt")); err != nil || string(report) != out {
				t.Errorf("the report on the host is %q (%v), want what was shown", report, err)
			}
			if _, err := os.Lstat(filepath.Join(w.dir(), "disabled")); err != nil {
				t.Errorf("the guard is not disabled: %v", err)
			}
		})
	}
}

// The guard's memory is lost: a person may go by the links.
func TestRescueByLinks(t *testing.T) {
	t.Parallel()
	w := looping(t)
	w.write(filepath.Join(w.dir(), "state"), "rubbish")
	out, err := rescue(t, w, guard.Rescuing{Yes: true})
	if err != nil || w.current(content) != "v1" || !strings.Contains(out, "these are from the links on the disk") {
		t.Errorf("current is %s (%v), want v1 and that it is said:\n%s", w.current(content), err, out)
	}
	if u := w.state().Undone; len(u) == 0 || u[0].Verdict != bootguard.Inconclusive {
		t.Errorf("undone are %+v, want that the verdict is in doubt: the link does not say which release was proved", u)
	}
}

func TestRescueSaysWhatItCannotDo(t *testing.T) {
	t.Parallel()
	w := looping(t)
	if err := os.RemoveAll(filepath.Join(w.Root, components, content)); err != nil {
		t.Fatal(err)
	}
	if out, err := rescue(t, w, guard.Rescuing{Yes: true}); fault.KindOf(err) != fault.Conflict {
		t.Errorf("got %v, want a conflict\n%s", err, out)
	}
	if err := os.RemoveAll(w.dir()); err != nil {
		t.Fatal(err)
	}
	if out, err := rescue(t, w, guard.Rescuing{Yes: true}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %v, want not found\n%s", err, out)
	}
}

func TestRehearse(t *testing.T) {
	t.Parallel()
	w := looping(t)
	before := tree(t, filepath.Join(w.Root, components))
	var out strings.Builder
	if !guard.Rehearse(w.Host, &out) {
		t.Fatalf("got a failure, want none:\n%s", out.String())
	}
	if tree(t, filepath.Join(w.Root, components)) != before {
		t.Error("components were changed")
	}
	if _, err := os.Lstat(filepath.Join(w.dir(), "rehearsal")); err == nil {
		t.Error("the scratch component stays behind")
	}
	if s := w.state(); s.Boots != 1 || len(s.Entries) != 2 {
		t.Errorf("got %+v, want the state as it was", s)
	}
	for _, line := range []string{"ok    a scratch component goes back\n", "ok    content: v2, pending, goes back to v1, older v0\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("got\n%s\nwant %q in it", out.String(), line)
		}
	}
}

func TestRehearseFindsWhatIsMissing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil func(w *world) error
		want  string
	}{
		"the good slot": {
			func(w *world) error { return os.RemoveAll(w.component(content).Slot("v1")) }, "slot v1 is not there",
		},
		"the link": {func(w *world) error { return os.Remove(w.component(content).Link(slots.Back)) }, "leads to none, want v1"},
		"the component": {
			func(w *world) error { return os.RemoveAll(w.component(content).Path) }, "no such file or directory",
		},
		"the state": {func(w *world) error {
			return os.WriteFile(filepath.Join(w.dir(), "state"), make([]byte, 128<<10-1), 0o600)
		}, ""},
		"the guard": {func(w *world) error { return os.WriteFile(filepath.Join(w.dir(), "disabled"), nil, 0o600) }, "is disabled by the file"},
		"the memory": {
			func(w *world) error {
				return os.WriteFile(filepath.Join(w.dir(), "state"), []byte(strings.Repeat("x", 128<<10)), 0o600)
			}, "both slots are damaged",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := looping(t)
			if err := test.spoil(w); err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if well := guard.Rehearse(w.Host, &out); well != (test.want == "") || !strings.Contains(out.String(), test.want) {
				t.Errorf("well: %t, want %q in\n%s", well, test.want, out.String())
			}
		})
	}
}

// Whatever strikes a rehearsal, the host's components stay as they are, and the next rehearsal sweeps up.
func TestRehearseSurvivesEveryFault(t *testing.T) {
	t.Parallel()
	for _, f := range []disktest.Fault{{Kind: disktest.Kill, Tear: true}, {Kind: disktest.Full}} {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			w := looping(t)
			before := tree(t, filepath.Join(w.Root, components))
			enumerate(t, f, func(t *testing.T, fsys *disktest.Faulty) {
				w.FS = fsys
				_ = guard.Rehearse(w.Host, &strings.Builder{})
				if tree(t, filepath.Join(w.Root, components)) != before {
					t.Error("components were changed")
				}
			})
			w.FS = quick{}
			var out strings.Builder
			if !guard.Rehearse(w.Host, &out) {
				t.Errorf("the next rehearsal fails:\n%s", out.String())
			}
		})
	}
}
