package deb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// lookAgain is how often a lock that somebody else has is tried.
const lookAgain = 200 * time.Millisecond

// lock takes the lock that apt and dpkg take before they change anything. It is one of the open file and not of this process, so that two
// components of one agent keep out of each other's way too; for others it is the same lock.
func (d *dpkg) lock(ctx context.Context) (release func() error, err error) {
	path := d.admin("lock-frontend")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640) //nolint:gosec // as dpkg makes it
	if err != nil {
		return nil, disk.Explain(err, "lock %s", path)
	}
	limit := d.Clock.Now().Add(d.LockWait)
	for {
		all := unix.Flock_t{Type: unix.F_WRLCK}
		err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &all)
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			break
		}
		if !d.Clock.Now().Before(limit) {
			err = fault.New(fault.Unavailable, "%w: %s has had the lock of dpkg for %s", errLocked, holder(f), d.LockWait).
				Hint("let it finish, or end it")
			break
		}
		if err = d.Clock.Sleep(ctx, lookAgain); err != nil {
			err = fmt.Errorf("wait for the lock of dpkg, which %s has: %w: %w", holder(f), errLocked, err)
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}

// holder says who has the lock.
func holder(f *os.File) string {
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &l); err != nil || l.Type == unix.F_UNLCK || l.Pid <= 0 {
		return "another process"
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", l.Pid))
	if err != nil {
		return fmt.Sprintf("process %d", l.Pid)
	}
	return fmt.Sprintf("process %d (%s)", l.Pid, strings.TrimSpace(string(name)))
}
