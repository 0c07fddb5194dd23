package process

import (
	"errors"
	"os"
	"os/exec"
	"syscall"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Group puts a command that is not started yet into a process group of its own.
func Group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// KillGroup kills a process. What it started lives on: Windows has no process groups that could be killed.
func KillGroup(p *os.Process) error {
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// StopGroup kills a process: Windows has no signal that asks it to end.
func StopGroup(p *os.Process) error { return KillGroup(p) }

// Signal fails: Windows has no signals.
func Signal(_ int, name string) error {
	return fault.New(fault.Invalid, "signal %s: Windows has no signals", name).
		Hint("tell the consumer with a command or a restart instead")
}

// SignalOf tells the name of the signal that ended a process: on Windows none does.
func SignalOf(*os.ProcessState) string { return "" }
