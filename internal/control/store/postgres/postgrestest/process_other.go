//go:build !linux

package postgrestest

import (
	"os/exec"
	"syscall"
	"testing"
)

func attributes() *syscall.SysProcAttr { return nil }

func give(...string) error { return nil }

func launch(server *exec.Cmd, ended chan<- struct{}) error {
	if err := server.Start(); err != nil {
		return err
	}
	go func() {
		_ = server.Wait() // how it ended is in its log
		close(ended)
	}()
	return nil
}

func (s *Server) all(tb testing.TB, _ syscall.Signal) {
	tb.Helper()
	tb.Skip("processes are paused on Linux only")
}
