//go:build unix

package app

import "syscall"

// openFiles is how many files and connections this process may have open. The runtime has raised it as far as it may.
func openFiles() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil || limit.Cur > 1<<20 {
		return 1 << 20
	}
	return int(limit.Cur)
}
