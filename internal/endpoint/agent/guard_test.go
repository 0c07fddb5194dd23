package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
)

// book is a boot guard's book in memory.
type book struct {
	entries []bootguard.Entry
	syncs   int
	undone  []bootguard.Undone
	blessed string
	err     error
}

func (b *book) Sync(entries []bootguard.Entry) error {
	if b.err == nil {
		b.entries, b.syncs = slices.Clone(entries), b.syncs+1
	}
	return b.err
}

func (b *book) Entries() ([]bootguard.Entry, error) { return b.entries, nil }

func (b *book) Undone() ([]bootguard.Undone, error) { return b.undone, nil }

func (b *book) Take(taken []bootguard.Undone) error {
	b.undone = b.undone[len(taken):]
	return nil
}

func (b *book) Blessed() (string, error) { return b.blessed, nil }

var (
	v1 = install.Installed{Version: "v1", Manifest: "sha256:1", Slot: "1", Rollout: "r1"}
	v2 = install.Installed{Version: "v2", Manifest: "sha256:2", Slot: "2", Rollout: "r2"}
	v3 = install.Installed{Version: "v3", Manifest: "sha256:3", Slot: "3", Rollout: "r3"}
)

// guarded is an agent with a boot guard and one component of the kind; what it starts is only noted.
func guarded(t *testing.T, kind string, s install.State) (a *Agent, u *unit, b *book, started *[]string) {
	t.Helper()
	b, started = &book{}, &[]string{}
	a = newAgent(t, &paper{})
	a.Guard, a.Boot = b, "boot-2"
	name := sensor
	if kind == "agent" {
		name, a.Notify = component.Agent, func(string) {}
	}
	f, err := component.Parse([]byte("component: " + name + "\nkind: " + kind + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if u, err = newUnit(a.Options, f); err != nil {
		t.Fatal(err)
	}
	for _, slot := range []install.Slot{s.Current.Slot, s.Good.Slot, s.Previous.Slot, s.Next.Slot} {
		if err := os.MkdirAll(filepath.Join(u.dir, "slots", string(slot)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if s.Current.Slot != "" {
		if err := disk.Link(disk.OS{}, "slots/"+string(s.Current.Slot), currentOf(u.dir)); err != nil {
			t.Fatal(err)
		}
	}
	a.start = func(j *slot, _ func(context.Context)) {
		if j == &u.job {
			*started = append(*started, string(a.memory.Components[name].Phase))
		}
	}
	s.Component = name
	a.units[name], a.all[name] = u, u
	a.memory.Components[name] = s
	return a, u, b, started
}

func ready() install.State {
	return install.State{Phase: install.Ready, Current: v2, Good: v2, Previous: v1, Next: v3}
}

func leased() install.Leased {
	return install.Leased{At: start, Lease: install.Lease{ID: "l", Rollout: "r3", Manifest: v3.Manifest, Expires: start.Add(time.Minute)}}
}

// The guard knows what to go back to before anything is switched, and when that is not needed any more.
func TestGuardIsToldBeforeTheSwitch(t *testing.T) {
	t.Parallel()
	a, u, b, started := guarded(t, "content", ready())
	sure := bootguard.Entry{Component: sensor, Kind: "content", Dir: u.dir, Current: "2", Good: "2", Older: "1"}
	trying := bootguard.Entry{
		Component: sensor, Kind: "content", Dir: u.dir, Current: "3", Good: "2", Older: "1", Pending: true, At: start, Boot: "boot-2",
	}
	back, proved := sure, trying
	proved.Pending, proved.Good, proved.Older = false, "3", "2"
	for _, step := range []struct {
		event install.Event
		want  bootguard.Entry
		syncs int
	}{
		{install.Directed{At: start, Candidate: &install.Target{Version: "v3", Serial: 3, Manifest: v3.Manifest, Rollout: "r3"}}, sure, 1},
		{leased(), trying, 2},
		{install.Swapped{At: start}, trying, 2},
		{install.Proved{At: start, Watch: time.Hour}, proved, 3},
		{install.Broke{At: start, Crashed: true, Why: "late"}, bootguard.Entry{
			Component: sensor, Kind: "content", Dir: u.dir, Current: "3", Good: "2", Pending: true, At: start, Boot: "boot-2",
		}, 4},
		{install.Restored{At: start}, bootguard.Entry{Component: sensor, Kind: "content", Dir: u.dir, Current: back.Current, Good: back.Good}, 5},
	} {
		a.start = func(*slot, func(context.Context)) {
			*started = append(*started, "")
			if diff := cmp.Diff([]bootguard.Entry{step.want}, b.entries); diff != "" {
				t.Errorf("%T: the guard knows, when its effects begin (-want +got):\n%s", step.event, diff)
			}
		}
		a.event(t.Context(), u, step.event)
		if diff := cmp.Diff([]bootguard.Entry{step.want}, b.entries); diff != "" || b.syncs != step.syncs {
			t.Errorf("%T: after %d syncs, want %d, the guard knows (-want +got):\n%s", step.event, b.syncs, step.syncs, diff)
		}
	}
	if len(*started) < 4 {
		t.Errorf("got %d jobs started, want the swap, proofs and the restore", len(*started))
	}
}

// What the guard cannot be told of is not switched: the lease is given back.
func TestNoSwitchWithoutTheGuard(t *testing.T) {
	t.Parallel()
	a, u, b, started := guarded(t, "content", ready())
	b.err = errors.New("disk full")
	a.event(t.Context(), u, leased())
	s := a.memory.Components[sensor]
	if s.Phase != install.Ready || s.Lease != nil || len(*started) != 0 {
		t.Errorf("got phase %s with lease %v and %v started, want ready, none, nothing", s.Phase, s.Lease, *started)
	}
	if n := len(a.memory.Reports); n != 1 || a.memory.Reports[0].Outcome != install.Rejected {
		t.Errorf("got reports %+v, want one that gives the lease back", a.memory.Reports)
	}
	again, err := loadMemory(a.Journal)
	if err != nil || again.Components[sensor].Phase != install.Ready {
		t.Errorf("journal: got %s (%v), want ready", again.Components[sensor].Phase, err)
	}
}

// A guard cannot switch packages: it is told no directory.
func TestEntryOfWhatTheGuardCannotSwitch(t *testing.T) {
	t.Parallel()
	for kind, linked := range map[string]bool{"config": true, "toggle": true, "binary": true, "agent": true, "package": false} {
		_, u, _, _ := guarded(t, kind, ready())
		if got := entry(u, ready(), switched{}).Dir != ""; got != linked {
			t.Errorf("kind %s: got a directory: %t, want %t", kind, got, linked)
		}
	}
}

// What the guard did is in the journal, and reported, before the guard forgets it.
func TestUndoneIsTakenIn(t *testing.T) {
	t.Parallel()
	s := install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2}
	a, u, b, started := guarded(t, "content", s)
	if err := disk.Link(disk.OS{}, "slots/1", currentOf(u.dir)); err != nil {
		t.Fatal(err)
	}
	b.undone = []bootguard.Undone{
		{Component: "another", From: "2", To: "1", Why: "not this one", Verdict: bootguard.Crash},
		{Component: sensor, From: "2", To: "1", Why: "3 boots did not end well", Verdict: bootguard.Inconclusive},
	}
	a.resume(t.Context())
	found, err := loadMemory(a.Journal)
	if err != nil {
		t.Fatal(err)
	}
	got := found.Components[sensor]
	if got.Phase != install.Reverting || got.Good != v1 || len(got.Refused) != 1 || !got.Refused[0].Until.Equal(start.Add(24*time.Hour)) {
		t.Errorf("got %+v, want it on its way to v1, and v2 refused for a day", got)
	}
	if len(found.Reports) != 1 || found.Reports[0].Detail != "the host went back before the agent started: 3 boots did not end well" {
		t.Errorf("got reports %+v, want one that says what the guard saw", found.Reports)
	}
	if len(b.undone) != 0 || !slices.Equal(*started, []string{"reverting"}) {
		t.Errorf("got %v left at the guard and %v started, want nothing and the restore", b.undone, *started)
	}
}

// While the journal cannot be written the guard keeps what it did.
func TestUndoneIsKeptUntilTheJournalHasIt(t *testing.T) {
	t.Parallel()
	a, _, b, _ := guarded(t, "content", install.State{Phase: install.Idle, Current: v2, Good: v2, Previous: v1})
	b.undone = []bootguard.Undone{{Component: sensor, From: "2", Why: "a panic", Verdict: bootguard.Crash}}
	a.Journal = unwritable{}
	a.resume(t.Context())
	if len(b.undone) != 1 {
		t.Error("the guard was told to forget what the journal does not have")
	}
}

type unwritable struct{ Journal }

func (unwritable) Save([]byte) error { return errors.New("read-only file system") }

// What matters at boot is good after a boot that began after its activation was blessed, no earlier.
func TestBlessed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		activated, blessed string
		good               install.Installed
	}{
		"this boot, activated in the one before": {"boot-1", "boot-2", v2},
		"activated in this boot":                 {"boot-2", "boot-2", v1},
		"only the boot before was blessed":       {"boot-1", "boot-1", v1},
	} {
		a, _, b, _ := guarded(t, "content", install.State{Phase: install.Idle, Current: v2, Good: v1, Unbooted: true})
		a.memory.Switched[sensor], b.blessed = switched{At: start, Boot: c.activated}, c.blessed
		a.bless(t.Context())
		if got := a.memory.Components[sensor]; got.Good != c.good || got.Unbooted != (c.good == v1) {
			t.Errorf("%s: got good %s and unbooted %t, want %s", name, got.Good.Version, got.Unbooted, c.good.Version)
		}
	}
}

// Guard and launcher may have gone back from one component more than once: all of it is taken in.
func TestAllThatWasUndoneIsTakenIn(t *testing.T) {
	t.Parallel()
	a, u, b, _ := guarded(t, "content", install.State{Phase: install.Proving, Current: v3, Good: v2, Previous: v1, Next: v3})
	if err := disk.Link(disk.OS{}, "slots/1", currentOf(u.dir)); err != nil {
		t.Fatal(err)
	}
	b.undone = []bootguard.Undone{
		{Component: sensor, From: "3", To: "2", Why: "3 boots did not end well", Verdict: bootguard.Crash},
		{Component: sensor, From: "2", To: "1", Why: "5 boots did not end well", Verdict: bootguard.Crash},
	}
	a.resume(t.Context())
	s := a.memory.Components[sensor]
	if s.Good != v1 || len(s.Refused) != 2 || len(a.memory.Reports) != 2 || len(b.undone) != 0 {
		t.Errorf("got %+v with reports %+v and %v left at the guard, want v1 good, and v3 and v2 refused and reported", s, a.memory.Reports, b.undone)
	}
}

// A component that cannot be looked at, or is left out, keeps its way back at the guard, and what was undone of it waits.
func TestWhatIsNotAtWorkKeepsItsEntry(t *testing.T) {
	t.Parallel()
	a, u, b, _ := guarded(t, "content", install.State{Phase: install.Idle, Current: v2, Good: v2, Previous: v1})
	const out, broken = "left-out", "broken"
	away := bootguard.Entry{Component: out, Kind: "binary", Dir: "/c/left-out", Current: "9", Good: "8", Pending: true}
	b.entries = []bootguard.Entry{away, {Component: broken, Kind: "content", Dir: "/c/broken", Current: "2", Good: "2", Older: "1"}}
	bad := &unit{file: u.file, dir: u.dir, fs: u.fs, clock: u.clock, installer: blind{}, linked: true}
	bad.file.Component = broken
	a.units[broken], a.all[broken] = bad, bad
	a.memory.Components[broken] = install.State{Component: broken, Phase: install.Idle, Current: v2, Good: v2, Previous: v1}
	a.memory.Components[out] = install.State{Component: out, Phase: install.Proving}
	for _, name := range []string{out, broken} {
		b.undone = append(b.undone, bootguard.Undone{Component: name, From: "2", Verdict: bootguard.Crash})
	}
	a.resume(t.Context())
	a.event(t.Context(), u, install.Directed{At: start})
	if len(b.undone) != 2 {
		t.Errorf("got %+v left at the guard, want both: no machine has seen them", b.undone)
	}
	if !slices.Contains(b.entries, away) || len(b.entries) != 3 {
		t.Errorf("the guard knows %+v, want all three components", b.entries)
	}
}

// blind is an installer that sees nothing.
type blind struct{ installer.Installer }

func (blind) Inspect(context.Context) (installer.Inspection, error) {
	return installer.Inspection{}, errors.New("input/output error")
}

// After the journal was lost the way back is what the guard knows, or else what runs.
func TestLostJournal(t *testing.T) {
	t.Parallel()
	in := func(slot install.Slot) install.Installed { return install.Installed{Slot: slot} }
	known := bootguard.Entry{Component: sensor, Kind: "content", Current: "3", Good: "2", Older: "1", Pending: true, At: start, Boot: "boot-1"}
	for name, c := range map[string]struct {
		entries     []bootguard.Entry
		good, older install.Slot
	}{
		"the guard knows":  {[]bootguard.Entry{known}, "2", "1"},
		"there is nothing": {nil, "3", ""},
	} {
		a, u, b, _ := guarded(t, "content", install.State{Current: v3, Good: v2, Previous: v1})
		delete(a.memory.Components, sensor)
		b.entries = c.entries
		for i := range b.entries {
			b.entries[i].Dir = u.dir
		}
		before := slices.Clone(b.entries)
		a.resume(t.Context())
		if s := a.memory.Components[sensor]; s.Current != in("3") || s.Good != in(c.good) || s.Previous != in(c.older) {
			t.Errorf("%s: got %+v, want a way back to %q and %q", name, s, c.good, c.older)
		}
		if before != nil && !slices.Equal(before, b.entries) {
			t.Errorf("%s: the guard knows %+v, want what it knew", name, b.entries)
		}
		for _, e := range []install.Event{
			install.Directed{At: start, Candidate: &install.Target{Version: "v3", Serial: 3, Manifest: v3.Manifest, Rollout: "r3"}},
			install.Fetched{At: start, Manifest: v3.Manifest, Artifact: "a3", Serial: 3, Slot: "3"},
			leased(),
			install.Swapped{At: start},
			install.Proved{At: start, Boots: true},
		} {
			a.event(t.Context(), u, e)
		}
		if s := a.memory.Components[sensor]; s.Previous != in(c.older) || s.Unbooted != (c.good == "2") || s.Current.Manifest != v3.Manifest {
			t.Errorf("%s: after it was proved again: got %+v, want the way back to stay", name, s)
		}
	}
}

// A switch that did not happen leaves no trace at the guard: what runs is as old as it was.
func TestASwitchThatFailedMakesNothingYounger(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]install.Event{
		"it failed":         install.SwapFailed{At: start, Why: "disk full"},
		"the lease expired": install.Restarted{At: start.Add(time.Hour), Current: "2"},
	} {
		a, u, b, _ := guarded(t, "content", ready())
		was := switched{At: start.AddDate(0, -3, 0), Boot: "boot-1"}
		a.memory.Switched[sensor] = was
		a.event(t.Context(), u, leased())
		a.event(t.Context(), u, install.Restarted{At: start, Current: "2"}) // killed and begun again
		if got := b.entries[0]; !got.At.Equal(start) || got.Boot != "boot-2" || !got.Pending {
			t.Errorf("%s: while it is activated the guard knows %+v, want it pending since now", name, got)
		}
		a.event(t.Context(), u, e)
		if got := a.memory.Switched[sensor]; got != was || !b.entries[0].At.Equal(was.At) {
			t.Errorf("%s: got %+v and the guard knows %+v, want %+v", name, got, b.entries[0], was)
		}
	}
	a, u, _, _ := guarded(t, "content", ready())
	a.event(t.Context(), u, leased())
	a.event(t.Context(), u, install.Swapped{At: start})
	if got, want := a.memory.Switched[sensor], (switched{At: start, Boot: "boot-2"}); got != want {
		t.Errorf("after the switch: got %+v, want %+v", got, want)
	}
}

// A check that could not ask is no check that found nothing: the launcher would hold it against the agent that it compares.
func TestACheckThatAskedNobodyFails(t *testing.T) {
	t.Parallel()
	a, u, b, _ := guarded(t, "agent", install.State{Phase: install.Idle, Current: v2, Good: v2, Previous: v1})
	up := &listener{}
	a.Uplink = up
	b.undone = []bootguard.Undone{{Component: u.file.Component, From: "3", To: "2", Verdict: bootguard.Crash}}
	if switched, err := a.Check(t.Context()); switched || fault.KindOf(err) != fault.Unavailable || len(up.heard) != 0 {
		t.Errorf("got switched %t, %v after %d check-ins, want it to say that nobody was asked", switched, err, len(up.heard))
	}
}
