//go:build unix

package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

func TestRun(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		argv      []string
		out, want string
		kind      fault.Kind
	}{
		"output":      {argv: sh("echo out; echo err >&2"), out: "out\n"},
		"status":      {argv: sh("echo out; echo err >&2; exit 3"), want: "exit status 3: ", kind: fault.Conflict},
		"signal":      {argv: sh("kill -SEGV $$"), want: "signal: segmentation fault", kind: fault.Conflict},
		"missing":     {argv: []string{"/no/such/program"}, want: "cannot be run", kind: fault.Unavailable},
		"not allowed": {argv: []string{"/etc/passwd"}, want: "cannot be run", kind: fault.Unavailable},
		"empty":       {want: "cannot be run", kind: fault.Internal},
		"control":     {argv: sh(`printf 'a\033[31mb\377\n'`), out: "a[31mb?\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := process.Run(t.Context(), process.Command{Argv: row.argv, Timeout: time.Minute})
			if out != row.out || (err == nil) != (row.want == "") || row.want != "" && !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %q, %v, want %q, %q", out, err, row.out, row.want)
			}
			if err != nil && fault.KindOf(err) != row.kind {
				t.Errorf("got kind %s, want %s", fault.KindOf(err), row.kind)
			}
			if got, want := errors.Is(err, process.ErrNotRun), strings.Contains(row.want, "cannot be run"); got != want {
				t.Errorf("ErrNotRun: got %v, want %v", got, want)
			}
		})
	}
}

func TestRunKeepsOnlyTheTail(t *testing.T) {
	t.Parallel()
	_, err := process.Run(t.Context(), process.Command{Argv: sh("yes line | head -c 1000000; echo the end; exit 1"), Timeout: time.Minute})
	if err == nil || len(err.Error()) > process.TailSize+200 || !strings.HasSuffix(err.Error(), "the end") {
		t.Errorf("got %d bytes that end with %q", len(err.Error()), err.Error()[max(0, len(err.Error())-20):])
	}
}

func TestRunKillsTheWholeGroupAtTheTimeout(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	script := fmt.Sprintf("sleep 1000 & echo $! > %s; echo waiting; wait", pidFile)
	_, err := process.Run(t.Context(), process.Command{Argv: sh(script), Timeout: 300 * time.Millisecond})
	if err == nil || !strings.Contains(err.Error(), "did not end within 300ms and was killed: waiting") {
		t.Errorf("got %v, want a timeout with the last words", err)
	}
	waitGone(t, pidFile)
}

func TestRunDoesNotWaitForWhatACommandLeavesBehind(t *testing.T) {
	t.Parallel()
	pidFile := filepath.Join(t.TempDir(), "pid")
	script := fmt.Sprintf("sleep 1000 & echo $! > %s; echo done", pidFile)
	out, err := process.Run(t.Context(), process.Command{Argv: sh(script), Timeout: time.Minute})
	if out != "done\n" || err != nil {
		t.Errorf("got %q, %v, want the command to have passed", out, err)
	}
	waitGone(t, pidFile)
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := process.Run(ctx, process.Command{Argv: sh("exec sleep 1000"), Timeout: time.Minute})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	mine, parent := process.Identity(os.Getpid()), process.Identity(os.Getppid())
	if mine != process.Identity(os.Getpid()) || mine != "" && mine == parent {
		t.Errorf("got %q for this process and %q for its parent", mine, parent)
	}
	if got := process.Identity(1 << 30); got != "" {
		t.Errorf("no process: got %q, want nothing", got)
	}
}

func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

// waitGone waits until the process whose number is in the file is gone.
func waitGone(t *testing.T, pidFile string) {
	t.Helper()
	data, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		t.Fatal(err)
	}
	deadline, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for !gone(pid) {
		if err := (clock.Wall{}).Sleep(deadline, 5*time.Millisecond); err != nil {
			t.Fatalf("process %d is still there", pid)
		}
	}
}

// gone tells whether a process has ended; one that nobody waited for yet has too.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}
