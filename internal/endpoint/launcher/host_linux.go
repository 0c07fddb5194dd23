package launcher

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// dieWithParent lets the process that is about to be started die with the thread that starts it: a launcher that is killed leaves no
// agent behind that would hold the lock of the state directory.
func dieWithParent(cmd *exec.Cmd) { cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL }

// send sends a datagram to systemd's socket, without package net. A name that begins with @ is abstract.
func send(socket, message string) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }() // nothing waits in it
	return unix.Sendto(fd, []byte(message), unix.MSG_NOSIGNAL, &unix.SockaddrUnix{Name: socket})
}
