// Package launcher is the parent of the endpoint agent. It runs the one that package launch chooses, listens to what it says about
// itself, kills it when it hangs, goes back to the last-known-good one when it is no good, and never gives up.
//
// A released agent cannot take the host out of reach: before each start the last-known-good agent asks the control plane whether there is
// a better one, the agent's identity and a good executable are kept where the agent has no business, and below everything there is the
// agent that the package of the operating system brought.
//
// The launcher is part of the boot guard's binary and links no network code. Like the guard it would rather run an agent without its
// memory than none: whatever fails on disk is logged and gone past.
package launcher

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/launch"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// Component is the agent as a component: the name of its directory, and of the executable in each slot.
const Component = "firebreak-agent"

// NotifyEnv tells the agent the number of the file descriptor on which the launcher listens.
const NotifyEnv = "FIREBREAK_NOTIFY"

// QuarantineEnv tells the agent, and its check, which slots are quarantined for good: their names with a colon between each, which is in
// none. So it never asks for those releases again, also if it has lost its own memory of them.
const QuarantineEnv = "FIREBREAK_QUARANTINED"

// Book is what agent and guard share.
type Book interface {
	// Entries are the components, as the agent last said.
	Entries() ([]bootguard.Entry, error)
	// Undid records that the host went back from a release, for the agent to report. It may be told twice: a launcher can die in between.
	Undid(undone bootguard.Undone) error
}

// Options set up a launcher. Fields without a remark are required.
type Options struct {
	FS         disk.FS
	AgentState string // the agent's state directory
	GuardDir   string // the guard's
	Factory    string // path of the agent that the package of the operating system brought
	Args       []string
	Env        []string // of the agent, as os.Environ has it
	Book       Book     // nil if it cannot be opened
	Clock      clock.Clock
	Boot       string           // id of this boot; "" if it is not known
	Signals    <-chan os.Signal // HUP is passed on; any other stops the agent and then the launcher; may be nil
	Output     io.Writer        // of the agent; a file is handed to it as it is
	Log        func(format string, args ...any)
	Socket     string // where systemd wants to be notified; "" for nowhere
	Times      Times
}

// Times are how long the launcher waits for what.
type Times struct {
	launch.Limits

	ReadyWithin time.Duration // for the agent to look at its journal and its components
	AliveWithin time.Duration // between two signs of life
	MuteAfter   time.Duration // for an agent on trial to ask the control plane for the first time
	AwayFor     time.Duration // of failed check-ins of an agent on trial, until the good one is asked whether it does better; doubles while it does not
	CheckWithin time.Duration // for the good agent's check
	CheckEvery  time.Duration // for so long a check need not be repeated for the sake of a swap
	StopWithin  time.Duration // between asking an agent to stop and killing it, or between two signs that an installer is at work
	BusyWithin  time.Duration // for an installer that is at work when its agent is asked to stop
	Watchdog    time.Duration // between two signs of life to systemd; 0 for none
}

// Defaults are the times that hosts use.
func Defaults() Times {
	return Times{
		Limits: launch.Limits{
			Exits: 3, Window: 10 * time.Minute, MinPause: time.Second, MaxPause: time.Minute, Doubt: 24 * time.Hour,
		},
		ReadyWithin: time.Minute, AliveWithin: 90 * time.Second, MuteAfter: 10 * time.Minute, AwayFor: time.Hour,
		CheckWithin: 5 * time.Second, CheckEvery: time.Minute, StopWithin: 30 * time.Second,
		BusyWithin: 15 * time.Minute,
	}
}

// noBook stands for a book that cannot be opened: the links tell what is good, and what must be told is owed.
type noBook struct{}

var errNoBook = errors.New("the guard's state is not there")

func (noBook) Entries() ([]bootguard.Entry, error) { return nil, errNoBook }

func (noBook) Undid(bootguard.Undone) error { return errNoBook }

// launcher is used by one goroutine.
type launcher struct {
	Options
	memory
	dir slots.Dir // of the agent as a component

	hup     chan os.Signal // of size 1
	epoch   time.Time      // of the last exit, or of the start
	checked time.Time      // when the last check was done
	swapped bool           // the last agent made room for another

	patience time.Duration // with an agent on trial whose check-ins fail
	verified bool          // the copy of the agent is what it was
}

// Run runs agents until ctx ends or a signal comes that means to stop, and the agent has ended. A second launcher on the same directory
// is a fault.Conflict; nothing else is an error.
//
// It must run on a thread that lives as long as it does, which it sees to: on Linux the agent dies with that thread, so that a launcher
// that is killed leaves none behind to fight with the next one's.
func Run(ctx context.Context, o Options) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err = disk.MkdirAll(o.FS, o.GuardDir, 0o700); err != nil {
		o.Log("the guard's directory is missing: %v", err)
	}
	lock, err := disk.Lock(filepath.Join(o.GuardDir, lockFile))
	switch {
	case fault.KindOf(err) == fault.Conflict:
		return fault.New(fault.Conflict, "launch the agent of %s: another launcher does so: %w", o.GuardDir, err).
			Hint("stop the other one; 'systemctl status firebreak-agent' shows it")
	case err != nil:
		o.Log("going on without a lock: %v", err)
	default:
		defer func() { err = errors.Join(err, lock.Close()) }()
	}
	l := newLauncher(o)
	defer l.close()
	ctx, release := l.stopOn(ctx)
	defer release()
	l.notify("READY=1")
	l.takeLost()
	for ctx.Err() == nil {
		run, ok := l.next(ctx)
		if !ok {
			break
		}
		l.ended(l.live(ctx, run))
	}
	l.notify("STOPPING=1")
	return nil
}

func newLauncher(o Options) *launcher {
	if o.Book == nil {
		o.Book = noBook{}
	}
	l := &launcher{Options: o, hup: make(chan os.Signal, 1), epoch: o.Clock.Now(), patience: o.Times.AwayFor}
	l.dir = slots.Dir{FS: o.FS, Path: filepath.Join(o.AgentState, "components", Component)}
	l.open(o.FS, filepath.Join(o.GuardDir, memoryFile), o.Log)
	return l
}

// stopOn returns a context that ends with a signal that means to stop. Release ends the goroutine that listens.
func (l *launcher) stopOn(ctx context.Context) (stopping context.Context, release func()) {
	stopping, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stopping.Done():
				return
			case s := <-l.Signals:
				if s != syscall.SIGHUP {
					stop()
					return
				}
				select {
				case l.hup <- s:
				default: // one is on its way
				}
			}
		}
	}()
	return stopping, func() { stop(); <-done }
}

// takeLost takes in that an earlier launcher died with its agent, unless the host did.
func (l *launcher) takeLost() {
	run := l.State.Running
	if run == nil {
		return
	}
	if run.Boot != l.Boot || l.Boot == "" {
		l.State.Running = nil
		return
	}
	l.ended(launch.Exit{Reason: launch.Lost, Why: "the launcher was killed"})
}

// next decides which agent to run and makes the host ready for it; ok is false if it is time to stop.
func (l *launcher) next(ctx context.Context) (run launch.Life, ok bool) {
	if !l.wait(ctx, launch.Choose(l.State, l.look(), l.Times.Limits).Pause) {
		return launch.Life{}, false
	}
	l.restore()
	d := l.settle()
	if l.update(ctx) {
		d = l.settle()
	}
	if ctx.Err() != nil {
		return launch.Life{}, false
	}
	d.Run.Boot = l.Boot
	l.State = l.State.Started(d.Run)
	l.save() // before it runs: whatever it does to the host, it is known who did it
	l.Log("running the %s agent%s: %s", d.Run.Rung, ofSlot(d.Run.Slot), d.Why)
	l.notify("STATUS=running the " + string(d.Run.Rung) + " agent" + ofSlot(d.Run.Slot))
	return d.Run, true
}

// settle makes true what was decided: links first, then the agent's book. Each step may be the last one before a crash; the next launcher
// decides the same and goes on from there.
func (l *launcher) settle() launch.Decision {
	d := launch.Choose(l.State, l.look(), l.Times.Limits)
	if d.Move {
		if err := l.dir.GoBack(slots.Slot(d.To)); err != nil {
			l.Log("the link is not moved%s: %v", ofSlot(d.To), err)
		}
	}
	for _, undone := range d.Undone {
		undone.Component, undone.At = Component, l.Clock.Now().UTC()
		if err := l.Book.Undid(undone); err != nil {
			l.Log("that slot %s was left is not recorded yet: %v", undone.From, err)
			continue
		}
		l.Log("left slot %s: %s", undone.From, undone.Why)
		l.State = l.State.Told(undone.From)
		l.save()
	}
	return d
}

// ended takes in how an agent ended.
func (l *launcher) ended(e launch.Exit) {
	now := l.Clock.Now()
	e.After, l.epoch = now.Sub(l.epoch), now
	e.Link = string(l.link())
	if (e.Reason == launch.Exited && e.Status != launch.SwapStatus || e.Reason == launch.Hung) && l.readOnly() {
		e.Reason, e.Why = launch.Hindered, e.Why+"; "+l.AgentState+" cannot be written: it is on a file system that is mounted read-only"
	}
	l.swapped = e.Reason == launch.Exited && e.Status == launch.SwapStatus
	if l.State.Running != nil {
		l.Log("the %s agent%s ended (%s): %s", l.State.Running.Rung, ofSlot(l.State.Running.Slot), e.Reason, e.Why)
	}
	l.State = l.State.Ended(e, l.Times.Limits)
	l.save()
}

// wait waits, and tells systemd meanwhile that it does; false means that it is time to stop.
func (l *launcher) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	over, watchdog := l.alarm(), l.watchdog(ctx)
	defer over.clear()
	defer watchdog.clear()
	over.set(ctx, d)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-over.rang:
			return ctx.Err() == nil
		case <-watchdog.rang:
			l.pet(ctx, watchdog)
		}
	}
}

func ofSlot(slot string) string {
	if slot == "" {
		return ""
	}
	return " of slot " + slot
}
