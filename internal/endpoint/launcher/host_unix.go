//go:build unix

package launcher

import (
	"os"
	"syscall"
)

const (
	suffix     = ""
	executable = Component + suffix // in a slot
	canListen  = true               // the agent can be given a pipe to speak into
)

// terminate asks a process to end. It is no error if it has.
func terminate(p *os.Process) { _ = p.Signal(syscall.SIGTERM) }
