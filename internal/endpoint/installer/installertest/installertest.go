// Package installertest is the contract of [installer.Installer], as a test suite that every implementation runs.
package installertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// World is one empty place to install to, and the consumer's view of it.
type World struct {
	// Open opens the installer over the place as it is now.
	Open func(fsys disk.FS) (installer.Installer, error)
	// Make makes the artifact of a version.
	Make func(version string) (installer.Stage, error)
	// Active reads through the installed files as a consumer would and tells whose version they are; "" if nothing is installed. Files
	// of more than one version, or of none while one is installed, are an error.
	Active func() (string, error)
}

// Run runs the suite. Make must return a new world each time.
func Run(t *testing.T, newWorld func(t *testing.T) World) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, place){
		"a life":                    life,
		"staging changes nothing":   stagingChangesNothing,
		"what is not there":         whatIsNotThere,
		"a context that ended":      aContextThatEnded,
		"collect keeps":             collectKeeps,
		"a reader sees no gap":      aReaderSeesNoGap,
		"revert on a full disk":     revertOnAFullDisk,
		"activate on a full disk":   activateOnAFullDisk,
		"a slot that was taken out": aSlotThatWasTakenOut,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, place{newWorld(t)})
		})
	}
	for _, f := range []disktest.Fault{
		{Kind: disktest.Kill, Tear: true},
		{Kind: disktest.Cut},
		{Kind: disktest.Full, Tear: true},
		{Kind: disktest.Fail},
	} {
		t.Run(string(f.Kind)+" at every change", func(t *testing.T) {
			t.Parallel()
			everyChange(t, f, newWorld)
		})
	}
}

// place is a world with helpers that fail the test.
type place struct{ World }

func (p place) open(t *testing.T) installer.Installer {
	t.Helper()
	i, err := p.Open(disk.OS{})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// install stages a version and makes it current, unless it is "".
func (p place) install(t *testing.T, version string) installer.Slot {
	t.Helper()
	if version == "" {
		return ""
	}
	i, slot := p.open(t), p.stage(t, version)
	found, err := i.Inspect(t.Context())
	if err == nil {
		err = i.Activate(t.Context(), slot, found.Current)
	}
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

func (p place) stage(t *testing.T, version string) installer.Slot {
	t.Helper()
	s, err := p.Make(version)
	if err != nil {
		t.Fatal(err)
	}
	slot, err := p.open(t).Stage(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

// expect checks what the installer finds against what a consumer reads.
func (p place) expect(t *testing.T, version string, current, previous installer.Slot) {
	t.Helper()
	got, err := p.open(t).Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Current != current || got.Previous != previous {
		t.Errorf("got current %q and previous %q, want %q and %q", got.Current, got.Previous, current, previous)
	}
	if active, err := p.Active(); err != nil || active != version {
		t.Errorf("a consumer reads %q (%v), want %q", active, err, version)
	}
}

func life(t *testing.T, p place) {
	ctx := t.Context()
	p.expect(t, "", "", "")
	one := p.install(t, "1")
	p.expect(t, "1", one, "")
	two := p.install(t, "2")
	p.expect(t, "2", two, one)
	i := p.open(t)
	for range 2 { // reverting to what is current does nothing
		if err := i.Revert(ctx, one); err != nil {
			t.Fatal(err)
		}
		p.expect(t, "1", one, "")
	}
	for range 2 { // and so does activating it
		if err := i.Activate(ctx, two, one); err != nil {
			t.Fatal(err)
		}
		p.expect(t, "2", two, one)
	}
	three := p.install(t, "3")
	p.expect(t, "3", three, two)
	if err := i.Revert(ctx, one); err != nil { // further back than the last one
		t.Fatal(err)
	}
	if got, err := p.Active(); got != "1" || err != nil {
		t.Errorf("a consumer reads %q, %v, want 1", got, err)
	}
	for range 2 {
		if err := i.Revert(ctx, ""); err != nil {
			t.Fatal(err)
		}
		p.expect(t, "", "", "")
	}
	if got := p.install(t, "2"); got != two {
		t.Errorf("got slot %q, want %q again", got, two)
	}
	p.expect(t, "2", two, "")
	if err := i.Check(ctx, two); err != nil {
		t.Errorf("check: %v", err)
	}
}

func stagingChangesNothing(t *testing.T, p place) {
	one := p.install(t, "1")
	two := p.stage(t, "2")
	if again := p.stage(t, "2"); again != two || two == one {
		t.Errorf("got slots %q, %q and %q, want the last two to be equal", one, two, again)
	}
	p.expect(t, "1", one, "")
	found, err := p.open(t).Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]installer.Slot{one, two}, found.Slots); diff != "" {
		t.Errorf("slots (-want +got):\n%s", diff)
	}
}

func whatIsNotThere(t *testing.T, p place) {
	one := p.install(t, "1")
	i := p.open(t)
	for _, s := range []installer.Slot{"none", "../x", "."} {
		for _, err := range []error{i.Activate(t.Context(), s, one), i.Revert(t.Context(), s), i.Check(t.Context(), s)} {
			if fault.KindOf(err) != fault.NotFound {
				t.Errorf("%q: got %v, want not found", s, err)
			}
		}
	}
	if err := i.Activate(t.Context(), "", one); fault.KindOf(err) != fault.NotFound {
		t.Errorf("no slot: got %v, want not found", err)
	}
	p.expect(t, "1", one, "")
}

func aContextThatEnded(t *testing.T, p place) {
	one := p.install(t, "1")
	two := p.stage(t, "2")
	s, err := p.Make("3")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	i := p.open(t)
	_, stageErr := i.Stage(ctx, s)
	for _, err := range []error{stageErr, i.Activate(ctx, two, one)} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
	}
	p.expect(t, "1", one, "")
	p.stage(t, "3")
}

func collectKeeps(t *testing.T, p place) {
	p.install(t, "0")
	kept, previous, current := p.stage(t, "1"), p.install(t, "2"), p.install(t, "3")
	p.stage(t, "4")
	i := p.open(t)
	if err := i.Collect(t.Context(), []installer.Slot{kept, "never was"}); err != nil {
		t.Fatal(err)
	}
	found, err := i.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]installer.Slot{kept, previous, current}, found.Slots); diff != "" {
		t.Errorf("slots (-want +got):\n%s", diff)
	}
	if err := i.Revert(t.Context(), previous); err != nil {
		t.Fatal(err)
	}
	p.expect(t, "2", previous, "")
}

// aReaderSeesNoGap reads as a consumer all the time while releases are switched back and forth.
func aReaderSeesNoGap(t *testing.T, p place) {
	one, two := p.install(t, "1"), p.stage(t, "2")
	done := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			if got, err := p.Active(); err != nil || got != "1" && got != "2" {
				t.Errorf("a consumer reads %q, %v, want 1 or 2 at any moment", got, err)
				return
			}
			select {
			case <-done:
				return
			default:
			}
		}
	})
	i := p.open(t)
	for range 100 {
		for _, err := range []error{i.Activate(t.Context(), two, one), i.Revert(t.Context(), one)} {
			if err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	reader.Wait()
}

func revertOnAFullDisk(t *testing.T, p place) {
	one := p.install(t, "1")
	p.install(t, "2")
	i := p.openFull(t)
	if err := i.Revert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	p.expect(t, "1", one, "")
	if err := i.Revert(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	p.expect(t, "", "", "")
}

func (p place) openFull(t *testing.T) installer.Installer {
	t.Helper()
	i, err := p.Open(disktest.New(disk.OS{}, disktest.Fault{Kind: disktest.Full, At: 1}))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func activateOnAFullDisk(t *testing.T, p place) {
	one, two := p.install(t, "1"), p.stage(t, "2")
	err := p.openFull(t).Activate(t.Context(), two, one)
	if err == nil {
		p.expect(t, "2", two, one)
		return
	}
	if fault.KindOf(err) != fault.Unavailable || fault.NextOf(err) == "" {
		t.Errorf("got %v, want it to say that space is needed", err)
	}
	p.expect(t, "1", one, "")
}

func aSlotThatWasTakenOut(t *testing.T, p place) {
	one, two := p.install(t, "1"), p.install(t, "2")
	i := p.open(t)
	if err := i.Revert(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	if err := i.Collect(t.Context(), nil); err != nil { // nothing holds on to what was reverted
		t.Fatal(err)
	}
	if err := i.Revert(t.Context(), two); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %v, want not found", err)
	}
	p.expect(t, "1", one, "")
}

// everyChange lets the fault strike at every change of a scenario. Whatever happens, the consumer finds the old release or the new one,
// and can be brought back to the old one on a full disk, and after that forward to the new one.
func everyChange(t *testing.T, f disktest.Fault, newWorld func(t *testing.T) World) {
	t.Helper()
	for _, was := range []string{"", "1"} {
		for name, act := range acts() {
			t.Run(fmt.Sprintf("%s from %q", name, was), func(t *testing.T) {
				if name != "there and back" || was == "" { // which activates and reverts
					fulltest.Only(t)
				}
				disktest.Enumerate(t, f, func(t *testing.T, fsys *disktest.Faulty) {
					strike(t, place{newWorld(t)}, fsys, was, act)
				})
			})
		}
	}
}

// act is what is done while the fault strikes. Version 2 is staged before it unless the act does that itself.
type act struct {
	staged, active bool // before: version 2
	do             func(ctx context.Context, i installer.Installer, s installer.Stage, old, next installer.Slot) error
	ends           []string // versions that may be active afterwards; "old" is that before
}

func acts() map[string]act {
	return map[string]act{
		"stage": {ends: []string{"old"}, do: func(ctx context.Context, i installer.Installer, s installer.Stage, _, _ installer.Slot) error {
			_, err := i.Stage(ctx, s)
			return err
		}},
		"activate": {staged: true, ends: []string{"2", "old"}, do: func(ctx context.Context, i installer.Installer, _ installer.Stage, old, next installer.Slot) error {
			return i.Activate(ctx, next, old)
		}},
		"revert": {staged: true, active: true, ends: []string{"old", "2"}, do: func(ctx context.Context, i installer.Installer, _ installer.Stage, old, _ installer.Slot) error {
			return i.Revert(ctx, old)
		}},
		"there and back": {staged: true, ends: []string{"old", "2"}, do: func(ctx context.Context, i installer.Installer, _ installer.Stage, old, next installer.Slot) error {
			return errors.Join(i.Activate(ctx, next, old), i.Revert(ctx, old))
		}},
		"collect": {staged: true, ends: []string{"old"}, do: func(ctx context.Context, i installer.Installer, _ installer.Stage, _, _ installer.Slot) error {
			return i.Collect(ctx, nil)
		}},
	}
}

func strike(t *testing.T, p place, fsys *disktest.Faulty, was string, a act) {
	t.Helper()
	old := p.install(t, was)
	s, err := p.Make("2")
	if err != nil {
		t.Fatal(err)
	}
	next := installer.SlotOf(s.Version, s.Artifact.Digest)
	if a.staged {
		p.stage(t, "2")
	}
	if a.active {
		p.install(t, "2")
	}
	var failed error
	if i, openErr := p.Open(fsys); openErr == nil {
		failed = a.do(t.Context(), i, s, old, next)
	}
	ends := slices.Clone(a.ends)
	if failed == nil && fsys.Count() > 0 && !fsys.Struck() {
		ends = ends[:1]
	}
	ends = slices.Compact(replaceAll(ends, "old", was))
	active, err := p.Active()
	if err != nil || !slices.Contains(ends, active) {
		t.Fatalf("after %v a consumer reads %q, %v, want one of %q", failed, active, err, ends)
	}
	p.recover(t, was, old, active)
}

// recover brings the place back to the old release on a full disk, and forward on a healthy one.
func (p place) recover(t *testing.T, was string, old installer.Slot, active string) {
	t.Helper()
	found, err := p.open(t).Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if (found.Current == old) != (active == was) {
		t.Errorf("the installer finds %q and a consumer reads %q", found.Current, active)
	}
	if err = p.openFull(t).Revert(t.Context(), old); err != nil {
		t.Fatalf("revert on a full disk: %v", err)
	}
	if active, err = p.Active(); err != nil || active != was {
		t.Fatalf("after the revert a consumer reads %q, %v, want %q", active, err, was)
	}
	i := p.open(t)
	if err = i.Collect(t.Context(), nil); err != nil {
		t.Fatalf("collect: %v", err)
	}
	next := p.install(t, "2")
	p.expect(t, "2", next, old)
}

func replaceAll(list []string, old, with string) []string {
	for i := range list {
		if list[i] == old {
			list[i] = with
		}
	}
	return list
}
