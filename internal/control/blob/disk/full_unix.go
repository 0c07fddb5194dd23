//go:build !windows

package disk

import (
	"errors"

	"golang.org/x/sys/unix"
)

// full tells whether an error says that the disk, or the user's share of it, is full.
func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
