package guard

import (
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Kernel is the mounts of the running host.
type Kernel struct{}

var _ Mounts = Kernel{}

// ReadOnly implements [Mounts].
func (Kernel) ReadOnly(path string) (bool, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return false, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return s.Flags&unix.ST_RDONLY != 0, nil
}

// Remount implements [Mounts]. All other flags of the mount stay as they are.
func (Kernel) Remount(path string, readOnly bool) error {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	flags := uintptr(unix.MS_REMOUNT)
	for _, f := range []struct{ st, ms uintptr }{
		{unix.ST_NOSUID, unix.MS_NOSUID},
		{unix.ST_NODEV, unix.MS_NODEV},
		{unix.ST_NOEXEC, unix.MS_NOEXEC},
		{unix.ST_NOATIME, unix.MS_NOATIME},
		{unix.ST_NODIRATIME, unix.MS_NODIRATIME},
		{unix.ST_RELATIME, unix.MS_RELATIME},
	} {
		if uintptr(s.Flags)&f.st != 0 { //nolint:gosec // flags are no number
			flags |= f.ms
		}
	}
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	at := mountPoint(path)
	if err := unix.Mount("", at, "", flags, ""); err != nil {
		return &fs.PathError{Op: "remount", Path: at, Err: err}
	}
	return nil
}

// mountPoint is the highest directory above path on the same device.
func mountPoint(path string) string {
	device := func(path string) (dev uint64, ok bool) {
		var s unix.Stat_t
		err := unix.Stat(path, &s)
		return uint64(s.Dev), err == nil //nolint:unconvert // its type differs by system
	}
	own, ok := device(path)
	for ok && path != "/" {
		above, known := device(filepath.Dir(path))
		if !known || above != own {
			break
		}
		path = filepath.Dir(path)
	}
	return path
}
