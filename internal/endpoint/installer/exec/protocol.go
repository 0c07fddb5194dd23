package exec

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	osexec "os/exec"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// request is what a program reads. Fields that a method does not use are left out.
type request struct {
	Protocol  int              `json:"protocol"`
	Method    string           `json:"method"`
	Component string           `json:"component"`
	Dir       string           `json:"dir"`
	Slot      installer.Slot   `json:"slot,omitempty"`
	Back      installer.Slot   `json:"back,omitempty"`
	Version   string           `json:"version,omitempty"`
	Artifact  *artifact        `json:"artifact,omitempty"`
	Keep      []installer.Slot `json:"keep,omitempty"`
}

type artifact struct {
	Path   string         `json:"path"`
	Format release.Format `json:"format"`
	Name   string         `json:"name"`
	Digest release.Digest `json:"digest"`
	Size   int64          `json:"size"`
}

// reply is what a program writes: exactly one of Result and Error.
type reply struct {
	Protocol int       `json:"protocol"`
	Result   *result   `json:"result,omitempty"`
	Error    *complain `json:"error,omitempty"`
}

type result struct {
	Current  installer.Slot   `json:"current,omitempty"`
	Previous installer.Slot   `json:"previous,omitempty"`
	Slots    []installer.Slot `json:"slots,omitempty"`
}

type complain struct {
	Kind    fault.Kind `json:"kind"`
	Message string     `json:"message"`
	Hint    string     `json:"hint,omitempty"`
}

// call runs the program once. The caller holds the lock.
func (i *Installer) call(ctx context.Context, r request) (result, error) {
	if err := ctx.Err(); err != nil {
		return result{}, err
	}
	r.Protocol, r.Component, r.Dir = Protocol, i.Component, i.Dir
	input, err := json.Marshal(r)
	if err != nil {
		return result{}, fault.New(fault.Internal, "%s of %s: %w", r.Method, i.Component, err)
	}
	a := i.run(ctx, r.Method, append(input, '\n'))
	if a.err != nil && len(a.out) == 0 {
		return result{}, a.err
	}
	return i.parse(r.Method, a)
}

// answer is what is left of a process. One that did not end well may still have said why.
type answer struct {
	out   []byte // its standard output
	words string // the last of its standard error, for the end of a sentence
	err   error
}

// drain is how long the output of a program that ended is waited for: something that it left behind may hold the pipe.
const drain = time.Second

// run gives the program its request and takes its answer.
func (i *Installer) run(ctx context.Context, method string, input []byte) answer {
	limited, cancel := context.WithTimeout(ctx, i.Timeout)
	defer cancel()
	cmd := osexec.CommandContext(limited, i.Argv[0], i.Argv[1:]...) //nolint:gosec // the host's component file says what to run
	process.Group(cmd)
	out, last := &bounded{limit: MaxReply}, process.NewTail(process.TailSize)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = i.Dir, bytes.NewReader(input), out, last
	cmd.Cancel = func() error { return process.KillGroup(cmd.Process) }
	cmd.WaitDelay = drain
	if err := cmd.Start(); err != nil {
		return answer{err: fault.New(fault.Unavailable, "%s of %s: run %s: %w", method, i.Component, i.Argv[0], err).
			Hint("mend the installer that the component file names")}
	}
	err := cmd.Wait()
	words := strings.TrimSpace(last.String())
	if words != "" {
		words = ": " + words
	}
	switch {
	case ctx.Err() != nil:
		return answer{err: fmt.Errorf("%s of %s: %w", method, i.Component, ctx.Err())}
	case limited.Err() != nil:
		return answer{err: i.nonsense(method, "did not end within %s and was killed%s", i.Timeout, words)}
	case out.over:
		return answer{err: i.nonsense(method, "wrote more than %d bytes%s", MaxReply, words)}
	case errors.Is(err, osexec.ErrWaitDelay):
		_ = process.KillGroup(cmd.Process) // it ended well, but left something behind that holds on to its output
	case err != nil:
		return answer{out.kept.Bytes(), words, i.nonsense(method, "ended with %w%s", err, words)}
	}
	if len(bytes.TrimSpace(out.kept.Bytes())) == 0 {
		return answer{err: i.nonsense(method, "wrote no reply%s", words)}
	}
	return answer{out.kept.Bytes(), words, nil}
}

// parse reads a reply strictly. Of a program that did not end well only an error counts.
func (i *Installer) parse(method string, a answer) (result, error) {
	var r reply
	d := json.NewDecoder(bytes.NewReader(a.out))
	d.DisallowUnknownFields()
	err := d.Decode(&r)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows it")
		}
	}
	switch {
	case err != nil && a.err != nil:
		return result{}, a.err
	case err != nil:
		return result{}, i.nonsense(method, "wrote no reply that can be read: %w%s", err, a.words)
	case r.Protocol != Protocol:
		return result{}, i.nonsense(method, "speaks protocol %d, and not %d", r.Protocol, Protocol)
	case (r.Result == nil) == (r.Error == nil):
		return result{}, i.nonsense(method, "must reply with either a result or an error")
	case r.Error != nil:
		return result{}, r.Error.fault(method, i.Component)
	case a.err != nil:
		return result{}, a.err
	}
	return *r.Result, nil
}

// fault is an error of the program in our words. A kind that is not one of ours is nobody's verdict.
func (c complain) fault(method, component string) error {
	kinds := []fault.Kind{fault.Invalid, fault.NotFound, fault.Conflict, fault.Denied, fault.Unavailable, fault.Internal}
	if !slices.Contains(kinds, c.Kind) {
		c.Kind = fault.Unavailable
	}
	e := fault.New(c.Kind, "%s of %s: %s", method, component, clip(c.Message))
	if c.Hint != "" {
		return e.Hint("%s", clip(c.Hint))
	}
	return e
}

// clip keeps what a person can read of a text, and not too much of it.
func clip(s string) string {
	t := process.NewTail(process.TailSize)
	_, _ = t.Write([]byte(s)) // it never fails
	return t.String()
}

func (i *Installer) nonsense(method, format string, args ...any) error {
	return fault.New(fault.Unavailable, "%s of %s: installer %s %w", method, i.Component, i.Argv[0], fmt.Errorf(format, args...)).
		Hint("mend the installer that the component file names; docs/installers.md has the protocol")
}

// bounded keeps what is written up to a limit, and swallows the rest, so that the writer can end.
type bounded struct {
	kept  bytes.Buffer
	limit int
	over  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.over = b.over || b.kept.Len()+len(p) > b.limit; !b.over {
		return b.kept.Write(p)
	}
	return len(p), nil
}
