//go:build !windows

package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// foreign tells of a file that belongs to another user than the directory does, or of a directory that belongs to another user than this
// one, unless this one is root; "" if there is none.
func foreign(dir string, files ...string) string {
	owner, ok := ownerOf(dir)
	if !ok {
		return ""
	}
	if me := os.Geteuid(); me != 0 && uint32(me) != owner { //nolint:gosec // never negative here
		return fmt.Sprintf("%s belongs to user %d, this is user %d", dir, owner, me)
	}
	for _, f := range files {
		if other, ok := ownerOf(f); ok && other != owner {
			return fmt.Sprintf("%s belongs to user %d, its directory to user %d", f, other, owner)
		}
	}
	return ""
}

func ownerOf(path string) (uint32, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return s.Uid, true
}

// exposed tells whether other users may do something with a file of that mode.
func exposed(mode fs.FileMode) bool { return mode&0o077 != 0 }

// locked tells whether another process has the lock. It takes it for a moment, shared, and makes no file.
func locked(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return true, nil
	}
	return false, err
}
