package postgrestest

import (
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// attributes are those of PostgreSQL's processes. PostgreSQL refuses to run as root, so it gets another user then. It dies with the tests.
func attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT, Setpgid: true}
	if uid, gid, ok := other(); ok {
		a.Credential = &syscall.Credential{Uid: uid, Gid: gid, NoSetGroups: false}
	}
	return a
}

// other is the user for PostgreSQL, if this one is root.
func other() (uid, gid uint32, ok bool) {
	if os.Geteuid() != 0 {
		return 0, 0, false
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err == nil {
			return uint32(uid), uint32(gid), true
		}
	}
	return 65534, 65534, true
}

// give makes files PostgreSQL's.
func give(paths ...string) error {
	uid, gid, ok := other()
	if !ok {
		return nil
	}
	for _, path := range paths {
		if err := os.Chown(path, int(uid), int(gid)); err != nil {
			return err
		}
	}
	return nil
}

// launch starts the server on a thread that lives as long as it: the thread's end would be taken for the end of the tests.
func launch(server *exec.Cmd, ended chan<- struct{}) error {
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := server.Start()
		started <- err
		if err == nil {
			_ = server.Wait() // how it ended is in its log
			close(ended)
		}
	}()
	return <-started
}

// all sends a signal to the server and to the processes that it started, each of which is a group of its own.
func (s *Server) all(tb testing.TB, sig syscall.Signal) {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		tb.Fatal("the server does not run")
	}
	for _, pid := range append(children(s.process.Pid), s.process.Pid) {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			tb.Fatalf("signal process %d: %v", pid, err)
		}
	}
}

// children are the processes that a process started.
func children(parent int) []int {
	var pids []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(parent) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
