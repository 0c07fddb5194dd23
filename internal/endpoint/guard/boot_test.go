package guard_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
)

func TestTheFourthBootGoesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sync(w.install(content, "v1", "v2"))
	for range 3 {
		w.boot()
		if got := w.current(content); got != "v2" {
			t.Fatalf("boot %d: current is %s, want v2", w.boots, got)
		}
	}
	w.boot()
	if got := w.current(content); got != "v1" {
		t.Errorf("current is %s, want v1", got)
	}
	s := w.state()
	want := []bootguard.Undone{{
		Component: content, From: "v2", To: "v1", Level: 1, Boots: 3, Verdict: bootguard.Inconclusive, Why: "3 unblessed boots in a row", At: w.clock.Now(),
	}}
	if diff := cmp.Diff(want, s.Undone); diff != "" || s.Boots != 4 || len(s.Owed) != 0 {
		t.Errorf("%d boots, %d owed, undone (-want +got):\n%s", s.Boots, len(s.Owed), diff)
	}
	if !strings.Contains(w.log.String(), "<3>firebreak-guard: ALARM: level 1: content went back to v1\n") {
		t.Errorf("the log does not say so:\n%s", w.log)
	}
}

// I5: whatever strikes whichever of the boots, at whichever change, the host gets its component back within the boots that follow, and
// the agent hears of it. A full disk delays nothing.
func TestInvariantI5AfterEveryFault(t *testing.T) {
	t.Parallel()
	for _, f := range []disktest.Fault{
		{Kind: disktest.Kill, Tear: true},
		{Kind: disktest.Cut},
		{Kind: disktest.Cut, Tear: true},
		{Kind: disktest.Fail},
		{Kind: disktest.Fail, Err: syscall.EROFS},
		{Kind: disktest.Full, Tear: true},
	} {
		for _, at := range []int{1, 3, 4} {
			t.Run(fmt.Sprintf("%s in boot %d", f, at), func(t *testing.T) {
				t.Parallel()
				enumerate(t, f, func(t *testing.T, fsys *disktest.Faulty) { bootUnder(t, fsys, f.Kind, at) })
			})
		}
	}
}

func bootUnder(t *testing.T, fsys *disktest.Faulty, kind disktest.Kind, at int) {
	w := newWorld(t)
	w.sync(w.install(content, "v0", "v1", "v2"), w.install("other", "v1", "v2"), w.install("first", "v1"))
	boots := 4
	if kind != disktest.Full {
		boots++ // one may not be counted
	}
	for n := 1; n <= boots; n++ {
		w.FS = quick{}
		if n == at || n > at && kind == disktest.Full {
			w.FS = fsys
		}
		w.boot()
	}
	if got := w.current(content) + w.current("other") + w.current("first"); got != "v1v1" {
		t.Errorf("current are %s, want v1, v1 and none\n%s", got, w.log)
	}
	told := map[string]string{}
	for _, u := range w.state().Undone {
		told[u.Component] = u.From + ">" + u.To
	}
	want := map[string]string{content: "v2>v1", "other": "v2>v1", "first": "v1>"}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("undone (-want +got):\n%s\n%s", diff, w.log)
	}
}

// A disk on which nothing can be changed any more: the boot goes on, says so, and counts again once it can.
func TestADiskThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	for _, err := range []error{syscall.EROFS, syscall.EIO, syscall.EACCES} {
		w := newWorld(t)
		w.sync(w.install(content, "v1", "v2"))
		w.FS = stuck{quick{}, err}
		for range 5 {
			w.boot()
		}
		if !strings.Contains(w.log.String(), "ALARM") {
			t.Errorf("%v: no alarm in the log:\n%s", err, w.log)
		}
		w.FS = quick{}
		for range 4 {
			w.boot()
		}
		if got := w.current(content); got != "v1" {
			t.Errorf("%v: current is %s, want v1", err, got)
		}
	}
}

// stuck is a file system that changes nothing.
type stuck struct {
	disk.FS
	err error
}

func (s stuck) Open(path string, flag int, perm os.FileMode) (disk.File, error) {
	if flag&(os.O_RDWR|os.O_WRONLY) != 0 {
		return nil, &os.PathError{Op: "open", Path: path, Err: s.err}
	}
	return s.FS.Open(path, flag, perm)
}
func (s stuck) Rename(string, string) error     { return s.err }
func (s stuck) Remove(string) error             { return s.err }
func (s stuck) Symlink(string, string) error    { return s.err }
func (s stuck) Mkdir(string, os.FileMode) error { return s.err }

// The state's blocks are bad, the rest of the disk is not: without a count nothing is decided, and what is decided is done.
func TestWhatIsDueIsDoneThoughItCannotBeRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sync(w.install(content, "v1", "v2"))
	for range 3 {
		w.boot()
	}
	w.FS = unsaved{quick{}}
	w.boot()
	if got := w.current(content); got != "v1" {
		t.Errorf("current is %s, want v1\n%s", got, w.log)
	}
}

type unsaved struct{ disk.FS }

func (u unsaved) Open(path string, flag int, perm os.FileMode) (disk.File, error) {
	f, err := u.FS.Open(path, flag, perm)
	return unsavedFile{f}, err
}

type unsavedFile struct{ disk.File }

func (unsavedFile) WriteAt([]byte, int64) (int, error) { return 0, syscall.EIO }

// I6: the guard never stops a boot. It returns in time when the disk hangs, and when its own code is wrong.
func TestInvariantI6TheBootGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sync(w.install(content, "v1", "v2"))
	release := make(chan struct{})
	defer close(release)
	w.Limit = 20 * time.Millisecond
	w.FS = odd{quick{}, func() { <-release; runtime.Goexit() }} // it hangs for good: what it would write then must not meet the clean-up
	w.reboot()
	guard.Boot(t.Context(), w.Host, guard.Unit)
	if !strings.Contains(w.log.String(), "gave up after 20ms") {
		t.Errorf("the log does not say that it gave up:\n%s", w.log)
	}
	w.Limit = 0
	w.FS = odd{quick{}, func() { panic("a bug") }}
	guard.Boot(t.Context(), w.Host, guard.Unit)
	if !strings.Contains(w.log.String(), "stage 2 broke and leaves the boot alone: a bug") {
		t.Errorf("the log does not say that it broke:\n%s", w.log)
	}
}

type odd struct {
	disk.FS
	do func()
}

func (o odd) Readlink(path string) (string, error) {
	o.do()
	return o.FS.Readlink(path)
}

func TestKillSwitches(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cmdline string
		file    bool
		guards  bool
	}{
		"none":                {"quiet", false, true},
		"command line":        {"quiet firebreak.disable panic=10", false, false},
		"command line, yes":   {"firebreak.disable=1", false, false},
		"command line, no":    {"firebreak.disable=0", false, true},
		"another word":        {"firebreak.disabled", false, true},
		"file":                {"quiet", true, false},
		"file and no cmdline": {"", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.sync(w.install(content, "v1", "v2"))
			w.write(filepath.Join(w.Proc, "cmdline"), test.cmdline)
			if test.file {
				w.write(filepath.Join(w.dir(), "disabled"), "")
			}
			for range 6 {
				w.boot()
			}
			if went := w.current(content) == "v1"; went != test.guards {
				t.Errorf("went back: %t, want %t", went, test.guards)
			}
			if !test.guards && (w.state().Boots != 0 || !strings.Contains(w.log.String(), "disabled")) {
				t.Errorf("counted %d boots, want none, and a word in the log:\n%s", w.state().Boots, w.log)
			}
		})
	}
}

func TestANewerFormatIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sync(w.install(content, "v1", "v2"))
	path := filepath.Join(w.dir(), "state")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := reframe(data, 2)
	if err := os.WriteFile(path, newer, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		w.boot()
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != string(newer) || w.current(content) != "v2" {
		t.Errorf("the state was changed (%v) or gone back from: current is %s", err, w.current(content))
	}
	if !strings.Contains(w.log.String(), "has format 2, this program knows 1; left alone") {
		t.Errorf("the log does not say so:\n%s", w.log)
	}
	if err := w.book().Sync(nil); err == nil {
		t.Error("Sync worked, want a conflict: an agent must not switch what nobody guards")
	}
}

func TestADamagedStateBeginsAnew(t *testing.T) {
	t.Parallel()
	for name, bytes := range map[string]string{
		"both slots": strings.Repeat("x", 128<<10), "cut off": "FBJL", "empty": "", "too large": strings.Repeat("y", 3<<20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.install(content, "v1", "v2")
			w.write(filepath.Join(w.dir(), "state"), bytes)
			var said strings.Builder
			if s, err := guard.Look(w.Host, components); err != nil || s.Damaged == "" || len(s.Links) != 1 || s.Text(&said) != nil {
				t.Errorf("status is %+v (%v), want that it is damaged, and what the links say", s, err)
			}
			if !strings.Contains(said.String(), "DAMAGED") || !strings.Contains(said.String(), "content: current is v2, .back is v1") {
				t.Errorf("the status does not say so:\n%s", said.String())
			}
			for range 5 {
				w.boot()
			}
			if got := w.current(content); got != "v2" {
				t.Errorf("current is %s, want v2: links alone are no reason to go back", got)
			}
			if s := w.state(); s.Boots != 5 {
				t.Errorf("counted %d boots, want 5\n%s", s.Boots, w.log)
			}
		})
	}
}

func TestNothingToGuard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.RemoveAll(w.dir()); err != nil {
		t.Fatal(err)
	}
	w.boot()
	if _, err := os.Lstat(w.dir()); err == nil || strings.Contains(w.log.String(), "ALARM") {
		t.Errorf("the directory was made (%v), or an alarm raised:\n%s", err, w.log)
	}
}

func TestAComponentThatWasRemovedStopsNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sync(w.install("gone", "v1", "v2"), w.install(content, "v1", "v2"))
	if err := os.RemoveAll(filepath.Join(w.Root, components, "gone")); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		w.boot()
	}
	if s := w.state(); w.current(content) != "v1" || len(s.Undone) != 1 || len(s.Trouble) == 0 {
		t.Errorf("current is %s, undone %+v, trouble %q", w.current(content), s.Undone, s.Trouble)
	}
	if _, err := os.Lstat(filepath.Join(w.Root, components, "gone")); err == nil {
		t.Error("the directory was made again")
	}
}

func TestSafeMode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entry := w.install(content, "vf", "v0", "v1", "v2")
	entry.Factory = "vf"
	w.sync(entry)
	asked := ""
	for n := 1; n <= 12; n++ {
		w.boot()
		if _, err := os.Lstat(filepath.Join(w.Run, "safe-mode")); err == nil {
			asked += fmt.Sprint(n, " ")
		}
	}
	if asked != "8 9 " {
		t.Errorf("safe mode in boots %s, want 8 and 9", asked)
	}
}

// Memory that is bad is nothing that safe mode helps against.
func TestNoSafeModeWithoutAnythingToGoBackFrom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sync(w.install(content, "v0", "v1", "v2"))
	w.write(filepath.Join(w.Sys, "class/watchdog/watchdog0/bootstatus"), "32\n")
	for range 12 {
		w.boot()
		if _, err := os.Lstat(filepath.Join(w.Run, "safe-mode")); err == nil {
			t.Fatalf("safe mode in boot %d", w.boots)
		}
	}
	if got := w.current(content); got != "v0" {
		t.Errorf("current is %s, want v0: the levels before are taken", got)
	}
}

func TestEvidence(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(w *world){
		"pstore":          func(w *world) { w.write(filepath.Join(w.Sys, "fs/pstore/dmesg-efi-1"), "Oops") },
		"kept by systemd": func(w *world) { w.write(filepath.Join(w.Root, "var/lib/systemd/pstore/1645/001/dmesg.txt"), "Oops") },
		"watchdog":        func(w *world) { w.write(filepath.Join(w.Sys, "class/watchdog/watchdog0/bootstatus"), "32\n") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.write(filepath.Join(w.Sys, "fs/pstore/dmesg-efi-0"), "an old one")
			w.Command = answer(nil)
			if code := guard.Bless(t.Context(), w.Host, guard.Blessing{}, w.log); code != 0 {
				t.Fatalf("not blessed:\n%s", w.log)
			}
			w.sync(w.install(content, "v1", "v2"))
			w.boot()
			if s := w.state(); s.Evidence != "" {
				t.Fatalf("an old dump counts as evidence: %s", s.Evidence)
			}
			leave(w)
			w.boot()
			w.boot()
			s := w.state()
			if w.current(content) != "v1" || len(s.Undone) != 1 || s.Undone[0].Verdict != bootguard.Crash {
				t.Errorf("current is %s, undone %+v; want that it went back with the verdict crash", w.current(content), s.Undone)
			}
		})
	}
}

// The first stage makes the root writable only for itself.
func TestTheFirstStageRemounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sync(w.install(content, "v1", "v2"))
	m := &mounts{readOnly: true}
	w.Mounts, w.FS = m, mounted{quick{}, m}
	for range 4 {
		w.reboot()
		m.readOnly = true
		guard.Boot(t.Context(), w.Host, guard.Initramfs)
		if !m.readOnly {
			t.Fatal("the root was left writable")
		}
	}
	if got := w.current(content); got != "v1" {
		t.Errorf("current is %s, want v1\n%s", got, w.log)
	}
	m.broken = errors.New("no such device")
	w.reboot()
	guard.Boot(t.Context(), w.Host, guard.Initramfs)
	if !strings.Contains(w.log.String(), "ALARM: stage 1 fails open") {
		t.Errorf("no alarm that stage 1 failed open:\n%s", w.log)
	}
}

// mounts is one file system.
type mounts struct {
	readOnly bool
	broken   error
}

func (m *mounts) ReadOnly(string) (bool, error) { return m.readOnly, nil }

func (m *mounts) Remount(_ string, readOnly bool) error {
	if m.broken == nil {
		m.readOnly = readOnly
	}
	return m.broken
}

type mounted struct {
	disk.FS
	m *mounts
}

func (m mounted) Open(path string, flag int, perm os.FileMode) (disk.File, error) {
	if m.m.readOnly && flag&os.O_RDWR != 0 {
		return nil, &os.PathError{Op: "open", Path: path, Err: syscall.EROFS}
	}
	return m.FS.Open(path, flag, perm)
}

func (m mounted) Rename(from, to string) error {
	if m.m.readOnly {
		return syscall.EROFS
	}
	return m.FS.Rename(from, to)
}

// Links on the disk of another root lead to where they do on that host, and never out of it.
func TestLinksStayBelowTheRoot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.mkdir(filepath.Join(w.Root, "data"))
	if err := os.RemoveAll(filepath.Join(w.Root, "var/lib")); err != nil {
		t.Fatal(err)
	}
	w.mkdir(filepath.Join(w.Root, "data", "firebreak-guard"))
	if err := os.Symlink("/data", filepath.Join(w.Root, "var/lib")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../../../../../data/firebreak-guard", filepath.Join(w.Root, "data/other")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", filepath.Join(w.Root, "data/loop")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		dir   string
		boots int
	}{{guardDir, 1}, {"/var/lib/other", 2}, {"/data/loop", 2}} {
		w.Dir = test.dir
		w.reboot()
		guard.Boot(t.Context(), w.Host, guard.Unit)
		w.Dir = guardDir
		if s, err := guard.Look(w.Host, components); err != nil || s.State.Boots != test.boots {
			t.Errorf("%s: got %d boots (%v), want %d", test.dir, s.State.Boots, err, test.boots)
		}
	}
}
