package agent

import (
	"context"
	"log/slog"
	"maps"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Check asks the control plane whether another agent should run, and switches to it if it may: a recall of what is current needs no lease,
// a newer release does. It is what the launcher asks before it starts an agent, of the last-known-good one, within the time of ctx. It tells
// whether current was switched; an error means that the control plane could not be asked. Components of other kinds are left alone, and
// nothing is told of them. What is interrupted is gone on with by the next agent, or the next Check.
func (a *Agent) Check(ctx context.Context) (switched bool, err error) {
	maps.DeleteFunc(a.units, func(_ string, u *unit) bool { return u.file.Kind != release.Agent })
	if len(a.units) == 0 {
		return false, fault.New(fault.NotFound, "check: this host has no component of kind agent")
	}
	ctx, a.quit = context.WithCancel(ctx)
	defer a.quit()
	a.start = func(s *slot, job func(context.Context)) { s.begin(ctx, &a.jobs, job) }
	a.asks, a.told.started = true, true
	err = fault.New(fault.Unavailable, "check: nothing was asked: the next agent has to see first what was done while none ran")
	for _, u := range a.units {
		if a.open(ctx, u) {
			err = a.ask(ctx, u)
		}
	}
	switched = a.renewed()
	a.quit()
	a.jobs.Wait()
	if switched {
		a.part(context.WithoutCancel(ctx))
	}
	return switched, err
}

// open lets the machine go on where it was, but for what is the business of the agent that starts next: to prove what is current, and to
// take in what launcher and boot guard did.
func (a *Agent) open(ctx context.Context, u *unit) bool {
	if undone := a.undone(ctx); len(undone) > 0 && has(undone, u.file.Component) {
		return false
	}
	found, err := u.installer.Inspect(ctx)
	if err != nil {
		a.Log.WarnContext(ctx, "look at a component", slog.String("component", u.file.Component), slog.Any("error", err))
		return false
	}
	a.mu.Lock()
	a.seed(ctx, u.file.Component, found)
	a.mu.Unlock()
	switch s := a.state(u); s.Phase {
	case install.Proving, install.Recovering:
		return install.Slot(found.Current) == s.Current.Slot
	case install.Idle, install.Fetching, install.Ready, install.Activating, install.Reverting:
		a.event(ctx, u, install.Restarted{At: a.bound(), Current: install.Slot(found.Current), Gone: gone(s, found)})
	}
	return true
}

func has(undone []bootguard.Undone, component string) bool {
	for _, u := range undone {
		if u.Component == component {
			return true
		}
	}
	return false
}

func (a *Agent) state(u *unit) install.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.memory.Components[u.file.Component]
}

// ask checks in until nothing more is to be done.
func (a *Agent) ask(ctx context.Context, u *unit) error {
	for first, heard := a.state(u).Phase, false; ; heard = true {
		before := a.state(u).Phase
		if _, err := a.checkIn(ctx); err != nil {
			if heard || a.renewed() {
				return nil
			}
			return err
		}
		switch now := a.state(u).Phase; now {
		case install.Idle:
			return nil
		case install.Ready:
			if before == install.Ready { // it was wished for, and has to wait
				return nil
			}
		case install.Proving, install.Recovering:
			if now == first {
				return nil
			}
		case install.Fetching, install.Activating, install.Reverting:
		}
		select {
		case <-a.kick:
		case <-ctx.Done():
			return nil
		}
	}
}
