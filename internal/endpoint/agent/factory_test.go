package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
)

// The last level of the boot guard's ladder, with the real guard: the first release that a boot was blessed with stays on disk through all
// that come later, and is what a host that does not get through its boots runs in the end, and what its agent then takes for good.
func TestTheFactoryIsReachedOnARealHost(t *testing.T) {
	t.Parallel()
	a, u, _, _ := guarded(t, "content", install.State{Phase: install.Idle, Current: v1, Good: v1})
	u.file.Factory = true
	dir := t.TempDir()
	book, err := guard.Open(disk.OS{}, filepath.Join(dir, "guard"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = book.Close() })
	a.Guard = book
	a.memory.Switched[sensor] = switched{At: start.AddDate(0, -1, 0), Boot: "boot-1"}
	h := guard.Host{
		FS: disk.OS{}, Dir: filepath.Join(dir, "guard"), Run: filepath.Join(dir, "run"), Proc: filepath.Join(dir, "proc"),
		Sys: filepath.Join(dir, "sys"), Clock: clock.At(start), Log: io.Discard,
	}
	boot := func(id string) {
		t.Helper()
		random := filepath.Join(h.Proc, "sys/kernel/random")
		if err := os.MkdirAll(random, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(random, "boot_id"), []byte(id), 0o600); err != nil {
			t.Fatal(err)
		}
		guard.Boot(t.Context(), h, guard.Unit)
	}
	h.Command = func(context.Context, ...string) (string, error) { return "", errors.New("no systemd") }
	boot(a.Boot)
	if code := guard.Bless(t.Context(), h, guard.Blessing{}, io.Discard); code != 0 {
		t.Fatal("the boot is not blessed")
	}
	a.bless(t.Context())
	for _, later := range []install.Installed{v2, v3} { // proved one after the other
		if err := os.MkdirAll(filepath.Join(u.dir, "slots", string(later.Slot)), 0o700); err != nil {
			t.Fatal(err)
		}
		s := a.memory.Components[sensor]
		if err := u.installer.Activate(t.Context(), installer.Slot(later.Slot), installer.Slot(s.Good.Slot)); err != nil {
			t.Fatal(err)
		}
		s.Previous, s.Good, s.Current = s.Good, later, later
		a.memory.Components[sensor] = s
		a.collect(t.Context(), u)
	}
	v4 := install.Installed{Version: "v4", Manifest: "sha256:4", Slot: "4"}
	s := a.memory.Components[sensor]
	s.Previous, s.Good, s.Current = s.Good, v4, v4
	a.memory.Components[sensor] = s
	if err := os.MkdirAll(filepath.Join(u.dir, "slots", "4"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := u.installer.Activate(t.Context(), "4", "3"); err != nil {
		t.Fatal(err)
	}
	a.collect(t.Context(), u)
	a.event(t.Context(), u, install.Directed{At: start}) // the guard is told
	for n := range 8 {
		boot(fmt.Sprint("bad-", n))
	}
	found, err := u.installer.Inspect(t.Context())
	if err != nil || found.Current != "1" {
		t.Fatalf("after 8 boots current is %q (%v), want the factory's; slots are %v", found.Current, err, found.Slots)
	}
	if _, err := os.Lstat(filepath.Join(h.Run, "safe-mode")); err != nil {
		t.Error("the host is not in safe mode")
	}
	a.resume(t.Context())
	if s := a.memory.Components[sensor]; s.Good != v1 || s.Next != v4 || len(s.Refused) == 0 {
		t.Errorf("the agent has %+v, want it to take the factory release for good and to refuse what was left", s)
	}
}

// What is kept as the factory's is the first release that a boot was blessed with, if the host keeps one and the guard can go there.
func TestFactoryIsKeptAtABlessedBoot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind, activated, blessed string
		keeps                    bool
		state                    install.State
		want                     install.Slot
	}{
		"the first":               {"content", "boot-1", "boot-2", true, install.State{Phase: install.Idle, Current: v2, Good: v2}, "2"},
		"there is one":            {"content", "boot-1", "boot-2", true, install.State{Phase: install.Idle, Current: v2, Good: v2, Previous: v1, Factory: v1}, "1"},
		"once it has booted":      {"content", "boot-1", "boot-2", true, install.State{Phase: install.Idle, Current: v2, Good: v1, Unbooted: true}, "2"},
		"not asked to":            {"content", "boot-1", "boot-2", false, install.State{Phase: install.Idle, Current: v2, Good: v2}, ""},
		"not any more":            {"content", "boot-1", "boot-2", false, install.State{Phase: install.Idle, Current: v2, Good: v2, Previous: v1, Factory: v1}, ""},
		"activated in this boot":  {"content", "boot-2", "boot-2", true, install.State{Phase: install.Idle, Current: v2, Good: v2}, ""},
		"another boot is blessed": {"content", "boot-1", "boot-1", true, install.State{Phase: install.Idle, Current: v2, Good: v2}, ""},
		"not proved":              {"content", "boot-1", "boot-2", true, install.State{Phase: install.Proving, Current: v2, Next: v2, Good: v1}, ""},
		"the agent goes back":     {"package", "boot-1", "boot-2", true, install.State{Phase: install.Idle, Current: v2, Good: v2}, ""},
	} {
		a, u, b, _ := guarded(t, c.kind, c.state)
		u.file.Factory, b.blessed = c.keeps, c.blessed
		a.memory.Switched[sensor] = switched{At: start, Boot: c.activated}
		a.bless(t.Context())
		s := a.memory.Components[sensor]
		if s.Factory.Slot != c.want {
			t.Errorf("%s: got %q, want %q", name, s.Factory.Slot, c.want)
		}
		if c.want != "" && entry(u, s, switched{}).Factory != string(c.want) {
			t.Errorf("%s: the guard is not told", name)
		}
	}
}

// A release that was gone back to has to boot before it is kept as the factory's: it may never have done so.
func TestFactoryIsNotKeptInTheBootOfAWayBack(t *testing.T) {
	t.Parallel()
	a, u, b, _ := guarded(t, "content", install.State{Phase: install.Reverting, Current: v2, Next: v2, Good: v1})
	u.file.Factory, b.blessed = true, "boot-2"
	a.memory.Switched[sensor] = switched{At: start, Boot: "boot-2"}
	a.event(t.Context(), u, install.Restored{At: start})
	a.event(t.Context(), u, install.Proved{At: start})
	a.bless(t.Context())
	if got := a.memory.Components[sensor].Factory; got != (install.Installed{}) {
		t.Errorf("got %+v in the boot of the way back, want none", got)
	}
	a.Boot, b.blessed = "boot-3", "boot-3"
	a.bless(t.Context())
	if got := a.memory.Components[sensor].Factory; got != v1 {
		t.Errorf("got %+v after another boot, want %+v", got, v1)
	}
}

// An agent that lost its journal knows the factory release from the guard, and keeps it.
func TestTheFactoryOutlivesTheJournal(t *testing.T) {
	t.Parallel()
	a, u, b, _ := guarded(t, "content", install.State{Current: v3, Good: v2, Previous: v1})
	delete(a.memory.Components, sensor)
	u.file.Factory = true
	b.entries = []bootguard.Entry{{Component: sensor, Kind: "content", Dir: u.dir, Current: "3", Good: "3", Older: "2", Factory: "1"}}
	a.resume(t.Context())
	if got := a.memory.Components[sensor].Keep(); !slices.Equal(got, []install.Slot{"1", "2", "3"}) || b.entries[0].Factory != "1" {
		t.Errorf("keeps %v and the guard knows %+v, want 1 to be the factory's still", got, b.entries)
	}
}

// A slot that is not there is no way back.
func TestAFactoryThatIsGoneIsNotTold(t *testing.T) {
	t.Parallel()
	s := install.State{Phase: install.Idle, Current: v3, Good: v3, Previous: v2, Factory: v1}
	a, u, b, _ := guarded(t, "content", s)
	u.file.Factory = true
	if got := entry(u, s, switched{}).Factory; got != "" {
		t.Errorf("got %q, want none", got)
	}
	a.resume(t.Context())
	if got := a.memory.Components[sensor].Factory; got != (install.Installed{}) || b.entries[0].Factory != "" {
		t.Errorf("after a start: got %+v, want none", got)
	}
}

// The entry of a component that was removed goes with it: at once if it is at rest, after a boot that ended well if it was pending.
func TestARemovedComponentLosesItsEntry(t *testing.T) {
	t.Parallel()
	resting := bootguard.Entry{Component: "resting", Kind: "content", Dir: "/c/resting", Current: "2", Good: "2", Older: "1"}
	pending := bootguard.Entry{Component: "pending", Kind: "content", Dir: "/c/pending", Current: "2", Good: "1", Pending: true, Boot: "boot-1"}
	fresh := bootguard.Entry{Component: "fresh", Kind: "content", Dir: "/c/fresh", Current: "2", Good: "1", Pending: true, Boot: "boot-2"}
	for name, c := range map[string]struct {
		files   []component.File
		partial bool
		blessed string
		want    []string
	}{
		"removed":                        {want: []string{"fresh", "pending", sensor}},
		"removed, and the boot went":     {blessed: "boot-2", want: []string{"fresh", sensor}},
		"removed, another boot went":     {blessed: "boot-1", want: []string{"fresh", "pending", sensor}},
		"their files are not understood": {partial: true, blessed: "boot-2", want: []string{"fresh", "pending", "resting", sensor}},
		"not at work": {
			files:   []component.File{{Component: "resting"}, {Component: "pending"}, {Component: "fresh"}},
			blessed: "boot-2", want: []string{"fresh", "pending", "resting", sensor},
		},
	} {
		a, u, b, _ := guarded(t, "content", install.State{Phase: install.Idle, Current: v2, Good: v2, Previous: v1})
		b.entries, b.blessed = []bootguard.Entry{resting, pending, fresh}, c.blessed
		a.Files, a.Partial = c.files, c.partial
		a.resume(t.Context())
		a.event(t.Context(), u, install.Directed{At: start})
		a.bless(t.Context())
		var got []string
		for _, e := range b.entries {
			got = append(got, e.Component)
		}
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: the guard knows %v, want %v", name, got, c.want)
		}
	}
}

// Where the entries of components that are not at work do not fit, the oldest go, and never those of components at work.
func TestTheOldestEntriesMakeRoom(t *testing.T) {
	t.Parallel()
	a, u, b, _ := guarded(t, "content", install.State{Phase: install.Idle, Current: v2, Good: v2, Previous: v1})
	long := strings.Repeat("x", 100)
	for i := range bootguard.MaxEntries {
		name := fmt.Sprint("c", i)
		a.Files = append(a.Files, component.File{Component: name})
		b.entries = append(b.entries, bootguard.Entry{
			Component: name, Kind: "content", Dir: "/c/" + long + name, Current: "2" + long, Good: "2" + long, Older: "1" + long,
			At: start.Add(-time.Duration(i) * time.Hour), Pending: i == bootguard.MaxEntries-1,
		})
	}
	a.resume(t.Context())
	a.event(t.Context(), u, install.Directed{At: start})
	kept := map[string]bool{}
	for _, e := range b.entries {
		kept[e.Component] = true
	}
	n := len(b.entries)
	if n < 10 || n >= bootguard.MaxEntries || !kept[sensor] || bootguard.Fits(b.entries) != nil {
		t.Fatalf("the guard is told of %d components, want as many as fit, and %s", n, sensor)
	}
	for i := range n - 2 { // beside the one at work and the oldest, which is pending
		if !kept[fmt.Sprint("c", i)] {
			t.Errorf("c%d is not kept, older ones are: %v", i, kept)
		}
	}
	if !kept[fmt.Sprint("c", bootguard.MaxEntries-1)] {
		t.Error("the one that is pending is not kept")
	}
}
