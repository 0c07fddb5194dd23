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
	"math/rand/v2"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// Options are the agent's world. All fields are required.
type Options struct {
	Endpoint   string // id
	Tenant     string // that the join token gave it
	StateDir   string
	Root       []byte // TUF root that joining left, or empty: the control plane is asked for its first
	Files      []component.File
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
}

// Agent runs the components of one host.
type Agent struct {
	Options
	anchors *anchors
	units   map[string]*unit
	kick    chan struct{} // something is to be told: check in now

	directed map[string]api.Directive // as applied since the start; only the poll loop touches it

	mu     sync.Mutex // guards all below, and the machines
	memory memory
	saved  []byte
	told   telling
	jobs   sync.WaitGroup
	start  func(*slot, func(context.Context)) // starts a job that lives as long as Run, not as long as what caused it
}

// New loads the agent's memory and prepares its components. Run starts it.
func New(o Options) (*Agent, error) {
	a := &Agent{Options: o, units: map[string]*unit{}, kick: make(chan struct{}, 1), directed: map[string]api.Directive{}}
	var err error
	if a.memory, err = loadMemory(o.Journal); err != nil {
		return nil, err
	}
	if a.anchors, err = openAnchors(o); err != nil {
		return nil, err
	}
	for _, f := range o.Files {
		if a.units[f.Component], err = newUnit(o, f); err != nil {
			return nil, fmt.Errorf("prepare component %s: %w", f.Component, err)
		}
	}
	return a, nil
}

// Run works until ctx ends, and then says goodbye and stops the consumers that it supervises. It returns when everything it started has
// ended.
func (a *Agent) Run(ctx context.Context) {
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
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
	a.poll(ctx)
	a.leave(work)
	stop()
	a.jobs.Wait()
}

// resume tells each machine that the agent started, and what the disk shows.
func (a *Agent) resume(ctx context.Context) {
	now := a.bound() // a clock that jumped back revives no lease
	found := map[string]install.Slot{}
	for name, u := range a.units {
		inspection, err := u.installer.Inspect(ctx)
		if err != nil { // the others must not suffer from it, nor the consumers of any
			a.Log.ErrorContext(ctx, "look at a component; it is left alone until the agent starts again", slog.String("component", name),
				slog.Any("error", err))
			delete(a.units, name)
			continue
		}
		found[name] = install.Slot(inspection.Current)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, current := range found { // from here on jobs run, and the set of components stays as it is
		a.booted(name)
		a.apply(ctx, a.units[name], install.Restarted{At: now, Current: current})
	}
	a.memory.Boot = a.Boot
	if err := a.save(); err != nil {
		a.Log.ErrorContext(ctx, "the journal cannot be written; nothing new will be activated", slog.Any("error", err))
	}
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
	a.remember(name, next, effects)
	if err := a.save(); err != nil {
		a.Log.ErrorContext(ctx, "the journal cannot be written", slog.String("component", name), slog.Any("error", err))
		if _, leased := e.(install.Leased); leased { // journal first, or not at all
			next, effects = install.Step(before, install.Unfit{At: a.now(), Why: err.Error()})
			a.remember(name, next, effects)
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
		Outcome: r.Outcome, Detail: r.Detail,
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

// goodbyeWithin bounds what a shutdown waits for the control plane.
const goodbyeWithin = 2 * time.Second
