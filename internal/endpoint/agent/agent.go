// Package agent is the endpoint's loop: check in, prepare, lease, activate, prove, report.
//
// It is the shell round install.Step. One lock guards the memory and the machines; slow work (downloads, swaps, probes) runs in one
// goroutine for each component and comes back as events. Before an effect is carried out, the state that it follows from is in the
// journal, so that the agent may be killed at any point.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
)

// Options are the agent's world. Fields without a remark are required.
type Options struct {
	Endpoint   string // id
	Tenant     string // that the join token gave it
	StateDir   string
	Root       []byte // TUF root that joining left, or empty: the control plane is asked for its first
	Files      []component.File
	Partial    bool // Files lacks components whose files cannot be read
	Uplink     Uplink
	Journal    Journal
	FS         disk.FS
	Clock      clock.Clock
	Log        *slog.Logger
	Random     *rand.Rand // jitter
	Attributes api.Attributes
	Labels     map[string]string // given when it joined; may be empty
	Boot       string            // boot id of the host
	Platform   string            // such as linux/amd64
	// KeepIdentity renews the certificate when it is due, and tells whether it did.
	KeepIdentity func(ctx context.Context, t time.Time) (bool, error)

	// Events holds a line to the control plane until it or ctx ends, and calls heard for each word on it, with look when there is something
	// new. Nil: the agent only polls.
	Events func(ctx context.Context, heard func(look bool)) error
	// LeastPoll is the least time between check-ins that the control plane can ask for; 0 is what is good outside of tests.
	LeastPoll time.Duration

	Posture func() api.Posture // looks at what the host could survive alone; nil if it is not told

	Guard Guard  // the boot guard's book; nil if this host has none
	Self  string // path of the executable that runs, to tell whether it is the release in use of kind agent
	// Notify says a word to the launcher. Without a launcher, which is nil, nobody would start another agent: none is installed.
	Notify func(word string)
	// Quarantined are the slots of kind agent that the launcher does not run any more: their releases are never asked for.
	Quarantined []string
}

// Words that are said to the launcher.
const (
	WordReady   = "ready"   // the journal is loaded and all components were looked at
	WordAlive   = "alive"   // the loop goes round
	WordChecked = "checked" // a check-in was acknowledged
	WordAway    = "away"    // a check-in failed
	WordBusy    = "busy"    // it was asked to end, and what it is installing must not be cut short
)

// Agent runs the components of one host.
type Agent struct {
	Options
	anchors *anchors
	units   map[string]*unit // at work
	all     map[string]*unit // also those that are left alone; it never changes
	kick    chan struct{}    // something is to be told: check in now
	leftOut []error          // why components are not at work that have a file
	contact *contact         // whether the control plane is reached
	asks    bool             // it only asks whether another agent should run

	directed map[string]api.Directive // as applied since the start; only the poll loop touches it
	ear      ear
	stance   stance

	mu     sync.Mutex // guards all below, and the machines
	memory memory
	saved  []byte
	synced []byte            // what the boot guard knows
	book   []bootguard.Entry // what it knew at the start; nil until it was asked
	alive  time.Time
	told   telling
	works  int  // installers that change the host now
	renews bool // another agent is current, and shall run instead of this one
	quit   context.CancelFunc
	jobs   sync.WaitGroup
	start  func(*slot, func(context.Context)) // starts a job that lives as long as Run, not as long as what caused it
}

// New loads the agent's memory and prepares its components. Run starts it.
func New(o Options) (*Agent, error) {
	a := &Agent{
		Options: o, units: map[string]*unit{}, kick: make(chan struct{}, 1), directed: map[string]api.Directive{}, contact: &contact{}, quit: func() {},
	}
	var err error
	if a.memory, err = loadMemory(o.Journal); err != nil {
		return nil, err
	}
	if a.anchors, err = openAnchors(o); err != nil {
		return nil, err
	}
	for _, f := range o.Files {
		u, err := newUnit(o, f)
		if fault.KindOf(err) == fault.Conflict { // of this component alone: the others must not suffer from it
			a.leftOut = append(a.leftOut, fmt.Errorf("component %s: %w", f.Component, err))
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("prepare component %s: %w", f.Component, err)
		}
		if f.Kind == release.Agent {
			u.own = a.contact
		}
		a.units[f.Component] = u
	}
	a.all = maps.Clone(a.units)
	return a, nil
}

// Run works until ctx ends, and then says goodbye and stops the consumers that it supervises. It returns when everything it started has
// ended, and tells whether it ended because another agent is current and shall run at once.
func (a *Agent) Run(ctx context.Context) (again bool) {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ctx, a.quit = context.WithCancel(ctx)
	defer a.quit()
	a.start = func(s *slot, job func(context.Context)) { s.begin(work, &a.jobs, job) }
	for _, u := range a.units {
		if u.supervisor != nil {
			a.jobs.Go(func() {
				if err := u.supervisor.Run(work); err != nil && work.Err() == nil {
					a.Log.ErrorContext(work, "supervise the consumer", slog.String("component", u.file.Component), slog.Any("error", err))
				}
			})
		}
	}
	a.resume(work)
	a.notify(WordReady)
	a.poll(ctx)
	if again = a.renewed(); again {
		a.part(work)
	} else {
		a.leave(work)
	}
	stop()
	a.finish(ctx)
	return again
}

// finish waits for what was started. An installer that is at work, such as dpkg, ends before the agent does: the launcher hears that it is
// worth the wait, and bounds it.
func (a *Agent) finish(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() { // ends with the jobs
		a.jobs.Wait()
		cancel()
	}()
	for ctx.Err() == nil {
		a.mu.Lock()
		works := a.works > 0
		a.mu.Unlock()
		if works {
			a.notify(WordBusy)
		}
		_ = a.Clock.Sleep(ctx, aliveEvery)
	}
}

// undisturbed lets an installer change the host.
func (a *Agent) undisturbed(change func() error) error {
	a.count(1)
	defer a.count(-1)
	return change()
}

func (a *Agent) count(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.works += n
}

// resume tells each machine that the agent started, and what the disk shows.
func (a *Agent) resume(ctx context.Context) {
	for _, err := range a.leftOut {
		a.Log.ErrorContext(ctx, "a component is left out", slog.Any("error", err))
	}
	now := a.bound() // a clock that jumped back revives no lease
	undone := a.undone(ctx)
	found := map[string]installer.Inspection{}
	for name, u := range a.units {
		inspection, err := u.installer.Inspect(ctx)
		if err != nil { // the others must not suffer from it, nor the consumers of any
			a.Log.ErrorContext(ctx, "look at a component; it is left alone until the agent starts again", slog.String("component", name),
				slog.Any("error", err))
			delete(a.units, name)
			continue
		}
		found[name] = inspection
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, inspection := range found { // from here on jobs run, and the set of components stays as it is
		a.seed(ctx, name, inspection)
		a.booted(name)
		s := a.memory.Components[name]
		a.apply(ctx, a.units[name], install.Restarted{
			At: now, Current: install.Slot(inspection.Current), Gone: gone(s, inspection), Undone: undoneOf(undone, name),
		})
	}
	a.memory.Boot = a.Boot
	if err := a.save(); err != nil {
		a.Log.ErrorContext(ctx, "the journal cannot be written; nothing new will be activated", slog.Any("error", err))
		return
	}
	a.take(ctx, slices.DeleteFunc(undone, func(u bootguard.Undone) bool { // the others are for when their component is at work again
		_, offered := found[u.Component]
		_, known := a.memory.Components[u.Component]
		return known && !offered
	}))
}

// gone lists the slots that the machine would go back to and that are not there any more.
func gone(s install.State, found installer.Inspection) []install.Slot {
	return slices.DeleteFunc([]install.Slot{s.Good.Slot, s.Previous.Slot, s.Factory.Slot}, func(x install.Slot) bool {
		return x == "" || slices.Contains(found.Slots, installer.Slot(x))
	})
}

// booted reports that the host booted with what is current.
func (a *Agent) booted(name string) {
	s := a.memory.Components[name]
	if a.memory.Boot == "" || a.memory.Boot == a.Boot || s.Current.Rollout == "" || s.Phase != install.Idle {
		return
	}
	a.report(name, install.Report{At: a.now(), Outcome: api.OutcomeBooted, Release: s.Current})
}

func (a *Agent) now() time.Time { return a.Clock.Now() }

// event brings what happened to the component's machine. What a job has to say counts no more once it was told to end: harm that the
// vigil saw must not be blamed on the release that was activated meanwhile, nor harm done by a shutdown on any.
func (a *Agent) event(ctx context.Context, u *unit, e install.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ctx.Err() == nil {
		a.apply(ctx, u, e)
	}
}

// apply lets the machine decide, saves, and starts what follows. The caller holds the lock.
func (a *Agent) apply(ctx context.Context, u *unit, e install.Event) {
	name := u.file.Component
	before := a.memory.Components[name]
	before.Component = name
	next, effects := install.Step(before, e)
	a.note(before, e, next, effects)
	a.remember(name, next, effects)
	err := a.save()
	if err == nil {
		err = a.sync()
	}
	if err != nil {
		a.Log.ErrorContext(ctx, "the journal cannot be written", slog.String("component", name), slog.Any("error", err))
		if swaps(effects) { // journal and boot guard first, or not at all
			failed := install.SwapFailed{At: a.now(), Why: err.Error()}
			activating := next
			next, effects = install.Step(activating, failed)
			a.note(activating, failed, next, effects)
			a.remember(name, next, effects)
			_ = a.save() // what it says without this is that the swap is to be done, by a lease that runs out
		}
	}
	if next.Phase != before.Phase {
		a.Log.InfoContext(ctx, "phase", slog.String("component", name), slog.String("from", string(before.Phase)),
			slog.String("to", string(next.Phase)), slog.String("version", next.Next.Version), slog.String("why", next.Why))
		a.wakeUp()
	}
	for _, effect := range effects {
		a.carryOut(u, next, effect)
	}
	a.watch(u, next)
	a.settle(ctx, u, next)
}

// settle lets the installer give up what it set aside for the way back, once what runs is good and not watched any more, or was left. It
// is asked at every event, so that a kill loses nothing. The caller holds the lock: no activation can begin meanwhile.
func (a *Agent) settle(ctx context.Context, u *unit, s install.State) {
	settler, is := u.installer.(installer.Settler)
	if !is || !quiet(s) || s.Current.Slot != s.Good.Slot || a.now().Before(s.Watched) {
		return
	}
	if err := settler.Settle(); err != nil {
		a.Log.WarnContext(ctx, "give up what was set aside for the way back", slog.String("component", u.file.Component), slog.Any("error", err))
	}
}

// quiet tells whether nothing is being activated or left.
func quiet(s install.State) bool {
	return s.Phase == install.Idle || s.Phase == install.Fetching || s.Phase == install.Ready
}

// note remembers when and in which boot what is current was activated, for the boot guard, which is told before the switch. What was said
// of the one before counts again if the switch did not happen.
func (a *Agent) note(before install.State, e install.Event, next install.State, effects []install.Effect) {
	name, activating := before.Component, before.Phase == install.Activating
	since := a.memory.Switched[name]
	_, restored := e.(install.Restored)
	switch {
	case restored:
		a.memory.Switched[name] = switched{Back: a.Boot}
	case swaps(effects):
		was := since.Before
		if !activating { // otherwise it was cut short, and is done now
			was = &since
		}
		a.memory.Switched[name] = switched{At: a.now().UTC().Round(0), Boot: a.Boot, Before: was}
	case activating && next.Phase == install.Proving:
		since.Before = nil
		a.memory.Switched[name] = since
	case activating && next.Phase != install.Activating && next.Phase != install.Reverting && since.Before != nil:
		a.memory.Switched[name] = *since.Before
	}
}

func swaps(effects []install.Effect) bool {
	return slices.ContainsFunc(effects, func(e install.Effect) bool {
		_, is := e.(install.Swap)
		return is
	})
}

func (a *Agent) remember(name string, s install.State, effects []install.Effect) {
	a.memory.Components[name] = s
	for _, effect := range effects {
		if r, ok := effect.(install.Report); ok {
			a.report(name, r)
		}
	}
}

func (a *Agent) report(name string, r install.Report) {
	a.memory.add(api.Report{
		At: r.At.UTC().Round(0), Component: name, Rollout: r.Release.Rollout, Release: r.Release.Version, Manifest: string(r.Release.Manifest),
		Outcome: r.Outcome, Detail: r.Detail, Crash: (*api.Crash)(r.Crash),
	})
	a.wakeUp()
}

func (a *Agent) carryOut(u *unit, s install.State, effect install.Effect) {
	switch effect := effect.(type) {
	case install.Fetch:
		a.start(&u.job, func(ctx context.Context) { a.prepare(ctx, u, effect) })
	case install.Swap:
		a.start(&u.job, func(ctx context.Context) { a.swap(ctx, u, s) })
	case install.Prove:
		job := a.prove
		if s.Phase == install.Recovering {
			job = a.recover
		}
		a.start(&u.job, func(ctx context.Context) { job(ctx, u, s.Current.Slot) })
	case install.Restore:
		a.start(&u.job, func(ctx context.Context) { a.restore(ctx, u, effect.Slot) })
	case install.Report: // queued already
	}
}

// wakeUp makes the agent check in now.
func (a *Agent) wakeUp() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// leave says goodbye for hosts on their way down: whoever is watched, with a lease or as a control of others, must not look dead. The
// consumers still run meanwhile. Only reports are sent: a host that leaves asks for nothing and follows nothing.
func (a *Agent) leave(ctx context.Context) {
	a.mu.Lock()
	for _, u := range a.units {
		u.stop()
		a.apply(ctx, u, install.Left{At: a.now()})
	}
	a.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, goodbyeWithin)
	defer cancel()
	for first := true; first || a.pending(); first = false {
		body, _ := a.compose()
		body.Leaving, body.Wishes, body.Components = true, nil, nil // a host that said that it proves a release would count as back
		reply, err := a.Uplink.CheckIn(ctx, body)
		if err != nil {
			a.Log.WarnContext(ctx, "say goodbye", slog.Any("error", err))
			return
		}
		a.acknowledged(ctx, body, reply)
		if len(body.Reports) > 0 && reply.Ack < body.Reports[0].Seq {
			return // not stored: they are kept for the next start
		}
	}
}

func (a *Agent) pending() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.memory.Reports) > 0
}

// harmed tells whether there is harm to report.
func (a *Agent) harmed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.memory.Reports, harm)
}

// goodbyeWithin bounds what a shutdown waits for the control plane.
const goodbyeWithin = 2 * time.Second
