//go:build !windows

package health

import "golang.org/x/sys/unix"

func room(dir string) (Disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return Disk{}, err
	}
	block := uint64(s.Bsize) //nolint:gosec // never negative; of other types on other systems
	d := Disk{Free: s.Bavail * block, Size: s.Blocks * block, Inodes: s.Ffree}
	if s.Files == 0 { // btrfs and others make them as they are needed
		d.Inodes = NoLimit
	}
	return d, nil
}
