//go:build unix

package demo

import (
	"os"
	"os/exec"
	"syscall"
)

// alone keeps the terminal's Ctrl-C from a process: the demo stops its processes in order.
func alone(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }
