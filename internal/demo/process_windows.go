package demo

import (
	"os"
	"os/exec"
)

func alone(*exec.Cmd) {}

// terminate: Windows has no signal that asks.
func terminate(p *os.Process) error { return p.Kill() }
