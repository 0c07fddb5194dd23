package torture

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// makeSmall makes a disk that is small for so many hosts, if the machine lets this user.
func (w *world) makeSmall(hosts int) {
	w.t.Helper()
	dir, err := os.MkdirTemp("", "firebreak-torture-") // PostgreSQL's user must reach it
	w.must(err)
	w.must(os.Chmod(dir, 0o755))
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dk,mode=0755", 192<<10+64*hosts)); err != nil {
		w.t.Logf("no disk will be full: a small one cannot be made: %v", err)
		_ = os.Remove(dir)
		return
	}
	w.small = dir
	w.t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			w.t.Error(err)
		}
		_ = os.Remove(dir)
	})
}

// fill fills the small disk, and gives what frees it.
func (w *world) fill() (free func()) {
	path := filepath.Join(w.small, "ballast")
	f, err := os.Create(path)
	if err != nil {
		return func() {}
	}
	for size := 1 << 20; size >= 1; size /= 2 {
		for data := make([]byte, size); err == nil; {
			_, err = f.Write(data)
		}
		err = nil
	}
	_ = f.Close()
	return func() { _ = os.Remove(path) }
}
