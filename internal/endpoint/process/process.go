// Package process runs the host's commands: with a timeout, in a process group of their own that dies as a whole, and with only so much
// of their output kept.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// TailSize is how much of a command's output is kept, in bytes from its end.
const TailSize = 4 << 10

// drain is how long a command's output is waited for after it ended: something it left behind may hold the pipe.
const drain = time.Second

// Command is one command to run.
type Command struct {
	Argv    []string
	Timeout time.Duration // must be positive
	Env     []string      // added to the environment of this process
}

// ErrNotRun says that a command could not be started: it is not there, or may not be executed. It says nothing about what it would have
// found.
var ErrNotRun = errors.New("cannot be run")

// Run runs the command and returns the tail of its standard output. A command that does not exit with 0 in time is an error that ends
// with the last words of its output; one that cannot be started is [ErrNotRun]. When ctx ends the command is killed and ctx's error
// returned.
func Run(ctx context.Context, c Command) (string, error) {
	if len(c.Argv) == 0 {
		return "", fault.New(fault.Internal, "run a command: %w: it is empty", ErrNotRun)
	}
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(limited, c.Argv[0], c.Argv[1:]...) //nolint:gosec // the host's component file says what to run
	cmd.Env = append(cmd.Environ(), c.Env...)
	Group(cmd)
	out, all := NewTail(TailSize), NewTail(TailSize)
	cmd.Stdout, cmd.Stderr = both{out, all}, all
	cmd.Cancel = func() error { return KillGroup(cmd.Process) }
	cmd.WaitDelay = drain
	if err := cmd.Start(); err != nil {
		return "", fault.New(fault.Unavailable, "run %s: %w", c.Argv[0], fmt.Errorf("%w: %w", ErrNotRun, err))
	}
	err := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("run %s: %w", c.Argv[0], ctx.Err())
	case limited.Err() != nil:
		return "", fault.New(fault.Conflict, "run %s: did not end within %s and was killed%s", c.Argv[0], c.Timeout, lastWords(all))
	case errors.Is(err, exec.ErrWaitDelay):
		_ = KillGroup(cmd.Process) // it ended well, but left something behind that holds on to its output
	case err != nil:
		return "", fault.New(fault.Conflict, "run %s: %w%s", c.Argv[0], err, lastWords(all))
	}
	return out.String(), nil
}

// lastWords is what a command said before it failed, for the end of a sentence.
func lastWords(t *Tail) string {
	words := strings.TrimSpace(t.String())
	if words == "" {
		return ""
	}
	return ": " + words
}

// both writes to two tails. Standard output and standard error have their own goroutines; a Tail is safe for concurrent use.
type both struct{ a, b *Tail }

func (w both) Write(p []byte) (int, error) {
	_, _ = w.a.Write(p)
	return w.b.Write(p)
}

// printable keeps what a person can read on a terminal.
func printable(b []byte) string {
	return string(bytes.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return -1
		}
		return r
	}, bytes.ToValidUTF8(b, []byte("?"))))
}
