package deb

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
)

// small is a host on a file system of 32 MiB.
func small(t *testing.T) *host {
	t.Helper()
	mount := t.TempDir()
	if err := unix.Mount("tmpfs", mount, "tmpfs", 0, "size=32m"); err != nil {
		t.Skipf("needs to mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mount, 0); err != nil {
			t.Error(err)
		}
	})
	h := hostIn(t, filepath.Join(mount, "root"), filepath.Join(mount, "component"))
	h.options.Reserve = 1 << 20
	return h
}

// full uses up all that is free and returns the file that does.
func (h *host) full(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(h.root, "full")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) || f.Close() != nil {
		t.Fatalf("fill the file system: %v", err)
	}
	return path
}

// big is a package of 4 MiB.
func big(version string) spec {
	return spec{name: "tool", version: version, file: strings.Repeat(version, 4<<20), fields: "Installed-Size: 4096\n"}
}

func (h *host) ballast(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(h.dir, "ballast"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err != nil {
		return 0
	}
	return info.Size()
}

// Dpkg needs room to go back, and the disk is full: the room was set aside before the activation.
func TestInvariantI5PackagesComeBackOnAFullDisk(t *testing.T) {
	t.Parallel()
	for _, kept := range []bool{true, false} {
		h := small(t)
		i := h.open(t)
		one, two := h.stage(t, i, "1", big("1")), h.stage(t, i, "2", big("2"))
		live(t, i, one, "")
		live(t, i, two, one)
		if got := h.ballast(t); got < 5<<20 {
			t.Fatalf("got %d bytes set aside, want what the old package unpacks to and the reserve", got)
		}
		if !kept { // this is how it would be without
			if err := i.Settle(); err != nil || h.ballast(t) != 0 {
				t.Fatalf("got %v and %d bytes left, want nothing set aside", err, h.ballast(t))
			}
		}
		path := h.full(t)
		err := h.open(t).Revert(t.Context(), one)
		if kept && err != nil || !kept && fault.KindOf(err) != fault.Unavailable {
			t.Errorf("set aside %t: got %v on a full disk", kept, err)
		}
		if h.ballast(t) != 0 {
			t.Errorf("got %d bytes still set aside", h.ballast(t))
		}
		if !kept {
			if err := errors.Join(os.Remove(path), h.open(t).Revert(t.Context(), one)); err != nil {
				t.Error(err)
			}
		}
		expectCurrent(t, i, one)
	}
}

// A disk that fills up between the check and the activation: nothing is activated, and nothing is harmed.
func TestNothingIsActivatedWithoutRoomForTheWayBack(t *testing.T) {
	t.Parallel()
	h := small(t)
	i := h.open(t)
	one, two := h.stage(t, i, "1", big("1")), h.stage(t, i, "2", big("2"))
	live(t, i, one, "")
	if err := errors.Join(i.Settle(), i.Check(t.Context(), two)); err != nil {
		t.Fatal(err)
	}
	path := h.full(t)
	if err := i.Check(t.Context(), two); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "bytes are free") {
		t.Errorf("check: got %v, want unavailable", err)
	}
	err := i.Activate(t.Context(), two, one)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "aside for the way back") || fault.NextOf(err) == "" {
		t.Errorf("activate: got %v, want unavailable for want of room for the way back", err)
	}
	expectCurrent(t, i, one)
	if h.ballast(t) != 0 {
		t.Errorf("got %d bytes set aside for nothing", h.ballast(t))
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	live(t, i, two, one)
}

// An activation that fails by itself goes back with what was set aside.
func TestAFailedActivationUsesWhatWasSetAside(t *testing.T) {
	t.Parallel()
	h := small(t)
	i := h.open(t)
	bad := big("2")
	bad.scripts = map[string]string{"postinst": `dd if=/dev/zero of="$DPKG_ROOT/full" bs=4096 2>/dev/null; exit 1`}
	one, two := h.stage(t, i, "1", big("1")), h.stage(t, i, "2", bad)
	live(t, i, one, "")
	if err := i.Activate(t.Context(), two, one); fault.KindOf(err) == "" || !strings.Contains(err.Error(), "the packages of before are installed") {
		t.Errorf("got %v, want the packages of before back on a full disk", err)
	}
	expectCurrent(t, i, one)
}

// What is set aside is bounded, grows as needed, and is made again when a kill left less.
func TestWhatIsSetAside(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	i := h.open(t)
	for _, step := range []struct{ have, ask, want int64 }{{0, 5000, 5000}, {0, 100, 5000}, {0, 3 << 20, 3 << 20}, {7, 4000, 4000}} {
		if step.have > 0 {
			writeFile(t, filepath.Join(h.dir, "ballast"), strings.Repeat("x", int(step.have)))
			if err := os.Truncate(filepath.Join(h.dir, "ballast"), step.have); err != nil {
				t.Fatal(err)
			}
		}
		if err := i.setAside(t.Context(), step.ask); err != nil || h.ballast(t) != step.want {
			t.Errorf("asked for %d: got %d, %v, want %d", step.ask, h.ballast(t), err, step.want)
		}
	}
	var stat unix.Stat_t
	if err := unix.Stat(filepath.Join(h.dir, "ballast"), &stat); err != nil || stat.Blocks*512 < 4000 {
		t.Errorf("got %d blocks (%v), want room and no hole", stat.Blocks, err)
	}
	if err := i.setAside(t.Context(), mostBallast+1); fault.KindOf(err) != fault.Conflict {
		t.Errorf("got %v, want too much to be refused", err)
	}
	h.options.Reserve = 1
	huge := h.stage(t, i, "1", spec{name: "tool", version: "1", fields: "Installed-Size: 2000000000\n"})
	v, err := i.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := i.room(view{slots: v.slots, link: huge, status: map[string]status{"tool": {name: "tool", version: "1", arch: "all", present: true, whole: true}}},
		nil); fault.KindOf(err) != fault.Conflict {
		t.Errorf("got %v, want a way back that is too large to be refused", err)
	}
}

// Whatever dies or fills up while it is made: the next call makes all of it.
func TestSettingAsideSurvivesEveryFault(t *testing.T) {
	t.Parallel()
	const size = 3<<20 + 5
	for _, kind := range []disktest.Kind{disktest.Kill, disktest.Cut, disktest.Full} {
		disktest.Enumerate(t, disktest.Fault{Kind: kind, Tear: true}, func(t *testing.T, fsys *disktest.Faulty) {
			dir := filepath.Join(writable(t), "component")
			if _, err := open(options(disk.OS{}, dir).defaulted(), &memory{}); err != nil {
				t.Fatal(err)
			}
			if i, err := open(options(fsys, dir).defaulted(), &memory{}); err == nil {
				if err := i.setAside(t.Context(), size); err == nil && i.ballasted() != size && !fsys.Struck() {
					t.Errorf("got %d and no error, want %d", i.ballasted(), size)
				}
			}
			i, err := open(options(disk.OS{}, dir).defaulted(), &memory{})
			if err != nil {
				t.Fatal(err)
			}
			if err := i.setAside(t.Context(), size); err != nil || i.ballasted() != size {
				t.Errorf("got %d, %v, want %d", i.ballasted(), err, size)
			}
			if err := i.Settle(); err != nil || i.ballasted() != 0 {
				t.Errorf("got %d left, %v", i.ballasted(), err)
			}
		})
	}
}

// Where a file system cannot allocate, blocks are written that cannot be compressed away.
func TestWhatIsWrittenDoesNotCompress(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	f, err := disk.OS{}.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(write(t.Context(), f, 3<<20), f.Close()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || len(data) != 3<<20 || bytes.Equal(data[:1<<20], data[1<<20:2<<20]) {
		t.Errorf("got %d bytes (%v), want %d that do not repeat", len(data), err, 3<<20)
	}
}

var _ installer.Settler = (*Installer)(nil)

// A dpkg that outlived the agent which began it has only dpkg's own lock. Going back waits for it, and takes no scripts away meanwhile.
func TestADpkgThatOutlivedItsAgentIsWaitedFor(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	i := h.open(t)
	one := h.stage(t, i, "1", spec{name: "tool", version: "1", scripts: map[string]string{"prerm": "exit 0"}})
	live(t, i, one, "")
	f, err := os.OpenFile(filepath.Join(h.root, "var/lib/dpkg/lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Revert(t.Context(), ""); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, want unavailable", err)
	}
	if _, err := os.Stat(filepath.Join(h.root, "var/lib/dpkg/info/tool.prerm")); err != nil {
		t.Errorf("the script of a package that may stay is gone: %v", err)
	}
	if err := errors.Join(f.Close(), i.Revert(t.Context(), "")); err != nil {
		t.Error(err)
	}
	expectCurrent(t, i, "")
}
