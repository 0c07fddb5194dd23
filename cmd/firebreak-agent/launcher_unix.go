//go:build unix

package main

import (
	"os"
	"strconv"
	"syscall"
)

// launcher is the pipe on which the launcher listens; nil if none started this process. What this process starts does not get it.
func launcher() *os.File {
	const name = "FIREBREAK_NOTIFY"
	fd, err := strconv.Atoi(os.Getenv(name))
	_ = os.Unsetenv(name)
	if err != nil || fd <= 2 {
		return nil
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "launcher")
}
