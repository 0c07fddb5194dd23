package launcher

import "os"

const (
	suffix     = ".exe"
	executable = Component + suffix // in a slot
	canListen  = false              // os/exec hands down no further descriptors: hangs are not noticed, exits are
)

// terminate ends a process: Windows has no signal that asks it to.
func terminate(p *os.Process) { _ = p.Kill() }
