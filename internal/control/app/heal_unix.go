//go:build !windows

package app

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// full tells whether an error says that the disk, or the user's share of it, is full.
func full(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// readOnly tells whether an error says that the file system is read-only.
func readOnly(err error) bool { return errors.Is(err, unix.EROFS) }

// passing tells whether the operating system refused what it may grant later: there was no room, the disk or its server was away, or there
// were too many files or too little memory.
func passing(err error) bool {
	return full(err) || readOnly(err) || slices.ContainsFunc([]error{
		unix.EIO, unix.ESTALE, unix.ETIMEDOUT, unix.EHOSTDOWN, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOLCK, unix.EAGAIN,
	}, func(one error) bool { return errors.Is(err, one) })
}
