//go:build unix

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// Group puts a command that is not started yet into a process group of its own.
func Group(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// KillGroup kills a process that was started in a [Group] together with all that it started. It is no error if none is left.
func KillGroup(p *os.Process) error { return signalGroup(p, syscall.SIGKILL) }

// StopGroup asks a process that was started in a [Group], and all that it started, to end.
func StopGroup(p *os.Process) error { return signalGroup(p, syscall.SIGTERM) }

func signalGroup(p *os.Process, s syscall.Signal) error {
	if err := syscall.Kill(-p.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) && !errors.Is(err, syscall.EPERM) {
		return err // EPERM: a group of which only a zombie is left, on darwin
	}
	return nil
}

// Signal sends the signal of that name ("HUP") to a process.
func Signal(pid int, name string) error {
	s := unix.SignalNum("SIG" + name)
	if s == 0 {
		return fmt.Errorf("signal %q: is not known on this system", name)
	}
	return syscall.Kill(pid, s)
}

// SignalOf tells the name of the signal ("SEGV") that ended a process, or "".
func SignalOf(s *os.ProcessState) string {
	status, ok := s.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return ""
	}
	name := unix.SignalName(status.Signal())
	if name == "" {
		return status.Signal().String()
	}
	return name[len("SIG"):]
}
