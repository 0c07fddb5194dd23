package launcher

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/launch"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// The words that an agent says about itself, one a line.
const (
	wordReady   = "ready"   // it has looked at its journal and its components
	wordAlive   = "alive"   // its loop goes round
	wordChecked = "checked" // the control plane acknowledged a check-in
	wordAway    = "away"    // a check-in failed
	wordBusy    = "busy"    // it was asked to stop, and an installer such as dpkg is at work
)

// drain is how long an agent's output is waited for after it ended, if it is no file: something it left behind may hold on to it.
const drain = time.Second

// life is one run of an agent, watched.
type life struct {
	*launcher
	run   launch.Life
	cmd   *exec.Cmd
	words chan string   // nil where nothing can be heard
	ended chan struct{} // closed when the process has ended

	sign, mute, astray, pets *alarm
	ready, had               bool // it said so; it had an identity when it started
}

// live runs an agent until it ends or has to.
func (l *launcher) live(ctx context.Context, run launch.Life) launch.Exit {
	a := &life{
		launcher: l, run: run, ended: make(chan struct{}), had: l.hasIdentity(),
		sign: l.alarm(), mute: l.alarm(), astray: l.alarm(), pets: l.watchdog(ctx),
	}
	hushed, err := a.start()
	if err != nil {
		a.pets.clear()
		return launch.Exit{Reason: launch.Exited, Status: -1, Why: err.Error()}
	}
	defer hushed()
	defer func() {
		for _, alarm := range []*alarm{a.sign, a.mute, a.astray, a.pets} {
			alarm.clear()
		}
	}()
	exit := a.watch(ctx)
	_ = process.KillGroup(a.cmd.Process) // what it left behind must not meet its successor
	if exit.Reason != launch.Stopped && a.had && !a.hasIdentity() {
		exit.Reason = launch.Ate
	}
	return exit
}

// start starts the process. Hushed ends the listening.
func (a *life) start() (hushed func(), err error) {
	a.cmd = exec.Command(a.path(a.run.Rung, a.run.Slot), a.Args...) //nolint:gosec,noctx // which agent was decided; it is stopped gently
	a.cmd.Stdout, a.cmd.Stderr = a.Output, a.Output
	a.cmd.WaitDelay = drain
	a.cmd.Env = slices.DeleteFunc(slices.Clone(a.Env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", NotifyEnv, QuarantineEnv}, name)
	})
	a.cmd.Env = append(a.cmd.Env, a.quarantined())
	process.Group(a.cmd)
	dieWithParent(a.cmd)
	hushed = func() {}
	if canListen {
		if hushed, err = a.listen(); err != nil {
			return nil, err
		}
	}
	err = a.cmd.Start()
	for _, f := range a.cmd.ExtraFiles {
		_ = f.Close() // the agent has its own
	}
	if err != nil {
		hushed()
		return nil, err
	}
	go func() { // ends with the process
		defer close(a.ended)
		_ = a.cmd.Wait() // its state says it all
	}()
	return hushed, nil
}

// listen gives the agent the pipe that it speaks into.
func (a *life) listen() (hushed func(), err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("listen to the agent: %w", err)
	}
	a.cmd.ExtraFiles = []*os.File{w} // the first one is descriptor 3
	a.cmd.Env = append(a.cmd.Env, NotifyEnv+"=3")
	a.words = make(chan string)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() { // ends with the pipe
		defer close(done)
		hear(r, a.words, stop)
	}()
	return func() {
		close(stop)
		_ = r.Close() // it was only read
		<-done
	}, nil
}

// hear passes on what is said, word by word. A line that is too long is none.
func hear(r io.Reader, words chan<- string, stop <-chan struct{}) {
	const longest = 64
	lines := bufio.NewReaderSize(r, longest)
	for whole := true; ; {
		line, more, err := lines.ReadLine()
		if err != nil {
			return
		}
		if whole && !more {
			select {
			case words <- string(line):
			case <-stop:
				return
			}
		}
		whole = !more
	}
}

// watch waits for the agent's end, and brings it about when it must be.
func (a *life) watch(ctx context.Context) launch.Exit {
	if a.words != nil {
		a.sign.set(ctx, a.Times.ReadyWithin)
		if a.run.Trial {
			a.mute.set(ctx, a.Times.MuteAfter)
		}
	}
	for {
		select {
		case <-a.ended:
			return launch.Exit{Reason: launch.Exited, Status: a.cmd.ProcessState.ExitCode(), Why: a.cmd.ProcessState.String()}
		case <-ctx.Done():
			return a.stop(context.WithoutCancel(ctx))
		case s := <-a.hup:
			_ = a.cmd.Process.Signal(s) // it may have ended just now
		case word := <-a.words:
			if eaten := a.heard(ctx, word); eaten {
				return a.kill(launch.Ate, "its identity is gone")
			}
		case <-a.sign.rang:
			return a.kill(launch.Hung, a.silence())
		case <-a.mute.rang:
			return a.kill(launch.Mute, fmt.Sprintf("no check-in was tried in %s", a.Times.MuteAfter))
		case <-a.astray.rang:
			return a.compare(ctx)
		case <-a.pets.rang:
			a.pet(ctx, a.pets)
		}
	}
}

// heard takes in a word. Eaten is true if the agent turns out to have removed its identity.
func (a *life) heard(ctx context.Context, word string) (eaten bool) {
	switch word {
	case wordReady:
		a.ready = true
		a.sign.set(ctx, a.Times.AliveWithin)
	case wordAlive:
		if a.ready {
			a.sign.set(ctx, a.Times.AliveWithin)
		}
		return a.run.Trial && a.had && !a.hasIdentity()
	case wordChecked:
		a.asked()
		a.astray.clear()
		a.patience = a.Times.AwayFor
		a.preserve()
	case wordAway:
		a.asked()
		if a.run.Trial && a.astray.rang == nil {
			a.astray.set(ctx, a.patience)
		}
	}
	return false
}

// asked notes that the agent has not forgotten how to be replaced.
func (a *life) asked() {
	a.mute.clear()
	if run := a.State.Running; run != nil && !run.Asked {
		a.State = a.State.Asked()
		a.save()
	}
}

func (a *life) silence() string {
	if a.ready {
		return fmt.Sprintf("no sign of life in %s", a.Times.AliveWithin)
	}
	return fmt.Sprintf("not ready in %s", a.Times.ReadyWithin)
}

// compare finds out whether the good agent reaches the control plane, which this one has not for long. It has to stop for that: only one at
// a time may use the state directory. While the control plane is away for both, that happens less and less often.
func (a *life) compare(ctx context.Context) launch.Exit {
	const rarest = 24
	away := a.patience
	exit := a.stop(context.WithoutCancel(ctx))
	if ctx.Err() != nil {
		return exit
	}
	if code := a.check(ctx); code == checkNothing || code == checkSwitched {
		return launch.Exit{Reason: launch.Astray, Status: -1, Why: fmt.Sprintf("its check-ins have failed for %s", away)}
	}
	a.patience = min(2*away, rarest*a.Times.AwayFor)
	exit.Why = "the good agent does not reach the control plane either"
	return exit
}

// kill ends an agent that is no good. What its consumers run in groups of their own lives on.
func (a *life) kill(why launch.Reason, what string) launch.Exit {
	_ = process.KillGroup(a.cmd.Process) // it cannot fail for a child of ours
	<-a.ended
	return launch.Exit{Reason: why, Status: -1, Why: what}
}

// stop asks the agent to end, and kills it if it does not. It waits longer for an installer that is at work: a dpkg that is cut short
// leaves half a package. Systemd, whose patience ends too, is told.
func (a *life) stop(ctx context.Context) launch.Exit {
	late, enough := a.alarm(), a.alarm()
	defer late.clear()
	defer enough.clear()
	late.set(ctx, a.Times.StopWithin)
	enough.set(ctx, a.Times.BusyWithin)
	bound := false
	if a.pets.rang != nil { // it went with the context that ended
		a.pet(ctx, a.pets)
	}
	terminate(a.cmd.Process)
	for {
		select {
		case <-a.ended:
			return launch.Exit{Reason: launch.Stopped, Why: a.cmd.ProcessState.String()}
		case <-late.rang:
			return a.kill(launch.Stopped, fmt.Sprintf("it did not stop within %s and was killed", a.Times.StopWithin))
		case <-enough.rang:
			enough.clear()
			bound = true
		case word := <-a.words: // nobody cares for the others any more, but they must not block
			if word == wordBusy && !bound {
				late.set(ctx, a.Times.StopWithin)
				a.notify(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", 2*a.Times.StopWithin.Microseconds()))
			}
		case <-a.pets.rang:
			a.pet(ctx, a.pets)
		}
	}
}
