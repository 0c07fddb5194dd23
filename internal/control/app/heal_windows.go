package app

import (
	"errors"

	"golang.org/x/sys/windows"
)

// full tells whether an error says that the disk is full.
func full(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

// readOnly tells whether an error says that the disk is read-only.
func readOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

// passing tells whether the operating system refused what it may grant later.
func passing(err error) bool {
	return full(err) || readOnly(err) || errors.Is(err, windows.ERROR_NOT_READY) || errors.Is(err, windows.ERROR_TOO_MANY_OPEN_FILES)
}
