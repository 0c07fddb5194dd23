package deb

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// allocate gives a file its blocks without writing them; done is false where that cannot be.
func allocate(f disk.File, size int64) (done bool, err error) {
	on, ok := f.(interface{ Fd() uintptr })
	if !ok || size == 0 {
		return false, nil
	}
	for {
		err = unix.Fallocate(int(on.Fd()), 0, 0, size)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return false, nil
	}
	return err == nil, err
}
