package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// smallDisk is a directory on a disk of so many bytes, if the machine lets this user make one.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=0700", size)); err != nil {
		t.Skipf("a small disk cannot be made: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// fill takes all that is left on a disk.
func fill(t *testing.T, dir string) (release func()) {
	t.Helper()
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size >= 1; {
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 16
		}
	}
	if !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("got %v, want a full disk", err)
	}
	_ = f.Close()
	return func() {
		if err := os.Remove(ballast); err != nil {
			t.Error(err)
		}
	}
}

// The disk is full when the server starts for the first time, and fills up again while it runs. The server never ends, says so, and has
// all that it acknowledged.
func TestInvariantI8FullDisk(t *testing.T) {
	t.Parallel()
	fulltest.Only(t)
	const size = leastRoom + 32<<20
	disk, o := smallDisk(t, size), settings(t)
	o.Data = filepath.Join(disk, "data")
	release := fill(t, disk)
	p := serve(t, o)
	within(t, "the start to wait for room", func() error { // whatever it is that does not fit first
		_, report := p.ready()
		if !report.Starting || !strings.Contains(report.Checks[0].Next, "ree space") {
			return fmt.Errorf("%+v", report)
		}
		return nil
	})
	release()
	p.isReady()
	acknowledged := []string{"first start"}
	for round := range 2 {
		note := fmt.Sprint("round-", round)
		within(t, "make a token", func() error { return p.note(note) })
		acknowledged = append(acknowledged, note)
		release = fill(t, disk)
		p.isFull("disk")
		for i := range 200 { // there is some room left in the files that are there
			note = fmt.Sprint("more-", round, "-", i, "-")
			if err := p.note(note); err != nil {
				break
			}
			acknowledged = append(acknowledged, note)
		}
		release()
		p.isReady()
		p.has(acknowledged...)
	}
}

// A file system that is read-only may become writable again.
func TestAStartOnAReadOnlyFileSystem(t *testing.T) {
	t.Parallel()
	disk, o := smallDisk(t, 512<<20), settings(t)
	o.Data = filepath.Join(disk, "data")
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("tmpfs", disk, "tmpfs", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	p := serve(t, o)
	p.waitsFor("disk")
	remount(0)
	p.isReady()
}
