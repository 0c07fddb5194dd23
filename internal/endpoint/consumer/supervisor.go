// Package consumer deals with the program that reads a component: it tells it of a new release, and runs it on hosts where no service
// manager does.
package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// Timings of a supervisor.
const (
	MinBackoff   = 100 * time.Millisecond // before the first restart
	MaxBackoff   = 5 * time.Second        // it doubles up to this
	MaxMissing   = time.Minute            // or to this while the program is not there: whoever brings it says so
	Healthy      = 10 * time.Second       // a process that ran this long starts over with MinBackoff
	DefaultGrace = 5 * time.Second        // between asking a process to end and killing it
)

const (
	tailSize = 32 << 10    // bytes of standard error that are kept
	drain    = time.Second // how long output is waited for that something left behind holds open
)

// Options set up a supervisor. Fields without a remark are required.
type Options struct {
	Argv    []string
	FS      disk.FS
	PIDFile string // where the running process is noted, so that one that outlived a killed agent is found again; "" for nowhere
	Clock   clock.Clock
	Log     *slog.Logger
	Output  io.Writer     // also gets what the process writes; may be nil; writes come from several goroutines
	Grace   time.Duration // 0 means DefaultGrace
}

// Supervisor keeps one process running. All methods are safe for concurrent use.
//
// The caller owns the goroutine: it calls [Supervisor.Run] once, ends it by ending its context, and waits for it to return. The process
// runs in a process group of its own and is killed with all that it started. If the agent itself is killed the process lives on (the
// death of the agent leaves the host running) until the next agent's supervisor ends it and starts its own; on systems other than Linux
// such a process is not recognised.
type Supervisor struct {
	Options
	kick chan struct{} // of size 1: somebody wants a restart

	mu      sync.Mutex
	process *os.Process   // nil while none runs
	started chan struct{} // closed when the next start was tried
	failed  error         // of the newest start
	stats   Stats
}

// Stats is what a supervisor has seen.
type Stats struct {
	Running  bool
	PID      int       // while running
	Since    time.Time // of the last start
	Starts   int
	Restarts int   // after an end that nobody asked for
	Last     *Exit // the last end that nobody asked for; nil if there was none
}

// Exit is how a process ended.
type Exit struct {
	At        time.Time     `json:"at"`
	Ran       time.Duration `json:"ran,omitempty"`
	Status    int           `json:"status"`           // exit status, -1 if a signal ended it or it never started
	Signal    string        `json:"signal,omitempty"` // as in SEGV, or ""
	Message   string        `json:"message"`          // for people
	Headline  string        `json:"headline"`         // the line of its last words that says most
	Signature string        `json:"signature"`        // equal crashes have equal signatures, on whichever host
	Tail      string        `json:"tail,omitempty"`   // the last it wrote to standard error
}

// NewSupervisor makes a supervisor; nothing runs yet.
func NewSupervisor(o Options) *Supervisor {
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	return &Supervisor{Options: o, kick: make(chan struct{}, 1), started: make(chan struct{})}
}

// Run starts the process and starts it again whenever it ends, later each time, until ctx ends; then it ends the process and returns
// nil.
func (s *Supervisor) Run(ctx context.Context) error {
	s.endLeftover(ctx)
	for backoff := MinBackoff; ctx.Err() == nil; {
		backoff = s.round(ctx, backoff)
	}
	return nil
}

// round is one life of the process and the pause after it. It returns the next backoff.
func (s *Supervisor) round(ctx context.Context, backoff time.Duration) time.Duration {
	begun := s.Clock.Now()
	exit, asked := s.once(ctx)
	if asked {
		return MinBackoff
	}
	exit.At = s.Clock.Now()
	exit.Ran = exit.At.Sub(begun)
	if exit.Ran >= Healthy {
		backoff = MinBackoff
	}
	s.note(exit)
	s.Log.WarnContext(ctx, "consumer ended", slog.String("program", s.Argv[0]), slog.String("why", exit.Message),
		slog.String("crash_signature", exit.Signature), slog.Duration("ran", exit.Ran), slog.Duration("restart_in", backoff))
	if s.pause(ctx, backoff) {
		return MinBackoff
	}
	if s.missing() {
		return min(2*backoff, MaxMissing)
	}
	return min(2*backoff, MaxBackoff)
}

// missing tells whether the program was not there when it was started last.
func (s *Supervisor) missing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Is(s.failed, fs.ErrNotExist)
}

// Stats tells what happened so far.
func (s *Supervisor) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Restarts counts the restarts after an end that nobody asked for. It satisfies what package probe asks of a supervised process.
func (s *Supervisor) Restarts() int { return s.Stats().Restarts }

// Running tells whether the process runs now.
func (s *Supervisor) Running() bool { return s.Stats().Running }

// ErrNotRunning says that there is no process to signal. The next one that starts finds the new release anyway.
var ErrNotRunning = errors.New("is not running")

// Signal sends the signal of that name ("HUP") to the process itself, not to what it started.
func (s *Supervisor) Signal(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return fault.New(fault.Unavailable, "signal %s: %w", s.Argv[0], ErrNotRunning)
	}
	return process.Signal(s.process.Pid, name)
}

// Restart ends the process and waits until it was started again, at once also when the supervisor was waiting before a restart. It does
// not count as a restart. A process that cannot be started, because its file is not there or is for another machine, is a fault.Conflict.
func (s *Supervisor) Restart(ctx context.Context) error {
	s.mu.Lock()
	started := s.started
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default: // somebody else asked already
	}
	select {
	case <-started:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.failed != nil {
			return fault.New(fault.Conflict, "start %s: %w", s.Argv[0], s.failed)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// once runs the process until it ends or has to. Asked is true if a restart was wanted.
func (s *Supervisor) once(ctx context.Context) (exit Exit, asked bool) {
	tail := process.NewTail(tailSize)
	cmd := exec.Command(s.Argv[0], s.Argv[1:]...) //nolint:gosec,noctx // the component file says what to run; stop ends it gently, which a context does not
	process.Group(cmd)
	cmd.WaitDelay = drain
	cmd.Stderr = tail
	if s.Output != nil {
		cmd.Stdout, cmd.Stderr = s.Output, io.MultiWriter(tail, s.Output)
	}
	if err := s.start(cmd); err != nil {
		return unstarted(err), false
	}
	defer s.ended()
	s.remember(ctx, cmd.Process.Pid)
	done := make(chan struct{})
	go func() { // ends with the process, which is waited for below
		defer close(done)
		_ = cmd.Wait() // its state says it all
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.stop(ctx, cmd.Process, done)
		return Exit{}, true
	case <-s.kick:
		s.stop(ctx, cmd.Process, done)
		return Exit{}, true
	}
	_ = process.KillGroup(cmd.Process) // what it left behind must not meet its successor
	return exitOf(cmd.ProcessState, tail.String()), false
}

// stop ends a process and all that it started, and waits for it.
func (s *Supervisor) stop(ctx context.Context, p *os.Process, done <-chan struct{}) {
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Grace)
	defer cancel()
	_ = process.StopGroup(p)
	select {
	case <-done:
		_ = process.KillGroup(p)
	case <-grace.Done():
		_ = process.KillGroup(p)
		<-done
	}
}

// start starts the process and notes it in one step: whoever sees a trace of it can signal it.
func (s *Supervisor) start(cmd *exec.Cmd) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed = cmd.Start(); s.failed != nil {
		return s.failed // who waits for it is told when the failure was noted
	}
	s.tried()
	s.process = cmd.Process
	s.stats.Running, s.stats.PID, s.stats.Since = true, cmd.Process.Pid, s.Clock.Now()
	s.stats.Starts++
	return nil
}

func (s *Supervisor) ended() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process, s.stats.Running, s.stats.PID = nil, false, 0
}

func (s *Supervisor) note(e Exit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.Last = &e
	s.stats.Restarts++
	if s.failed != nil {
		s.tried()
	}
}

// tried tells those who wait for the next start that it was tried. The caller holds the lock.
func (s *Supervisor) tried() {
	close(s.started)
	s.started = make(chan struct{})
}

// pause waits before a restart. It returns true as soon as somebody wants one now.
func (s *Supervisor) pause(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithCancel(ctx)
	slept := make(chan struct{})
	go func() { // ends with ctx, which ends below
		defer close(slept)
		_ = s.Clock.Sleep(ctx, d)
	}()
	defer func() { cancel(); <-slept }()
	select {
	case <-slept:
		return false
	case <-s.kick:
		return true
	}
}

// leftover names a process so that it is not confused with a later one of the same number.
type leftover struct {
	PID      int    `json:"pid"`
	Identity string `json:"identity"`
}

func (s *Supervisor) remember(ctx context.Context, pid int) {
	id := process.Identity(pid)
	if s.PIDFile == "" || id == "" {
		return
	}
	data, err := json.Marshal(leftover{pid, id})
	if err == nil {
		err = disk.WriteFile(s.FS, s.PIDFile, data, 0o600)
	}
	if err != nil {
		s.Log.WarnContext(ctx, "running consumer is not noted", slog.Any("error", err))
	}
}

// endLeftover ends the process that an agent left behind that was killed.
func (s *Supervisor) endLeftover(ctx context.Context) {
	const limit = 1 << 12
	data, err := disk.ReadFile(s.FS, s.PIDFile, limit)
	var l leftover
	if s.PIDFile == "" || err != nil || json.Unmarshal(data, &l) != nil || l.PID <= 1 || l.Identity == "" {
		return
	}
	alive := func() bool { return process.Identity(l.PID) == l.Identity }
	p, err := os.FindProcess(l.PID)
	if err != nil || !alive() {
		return
	}
	s.Log.InfoContext(ctx, "ending the consumer of an earlier agent", slog.Int("pid", l.PID))
	_ = process.StopGroup(p)
	const step = 20 * time.Millisecond
	for waited := time.Duration(0); alive() && waited < s.Grace && ctx.Err() == nil; waited += step {
		_ = s.Clock.Sleep(ctx, step)
	}
	if alive() {
		_ = process.KillGroup(p)
	}
}
