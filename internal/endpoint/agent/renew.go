package agent

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// The agent is a component too. Activating it is a switch like any other; then this agent ends, and its launcher starts the one that is
// current. That one finds itself being proved, and is proved by what it is for: it reaches the control plane.

// renew ends this agent so that the one that is current runs.
func (a *Agent) renew(ctx context.Context) {
	a.Log.InfoContext(ctx, "ending, so that the agent that is current runs")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.renews = true
	a.quit()
}

func (a *Agent) renewed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.renews
}

// part ends all work without a goodbye: the next agent is here at once. Its start is no death of what is being proved, unless it is that of
// an agent which should have been started by now and was not.
func (a *Agent) part(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, u := range a.units {
		u.stop()
		if u.file.Kind != release.Agent || !u.switched.IsZero() {
			a.apply(ctx, u, install.Left{At: a.now(), Returns: true})
		}
	}
}

// other tells whether this process is not the release of kind agent in that slot; "" is none, which every other one than a release is.
func (a *Agent) other(u *unit, slot install.Slot) bool {
	if u.file.Kind != release.Agent {
		return false
	}
	own, err := a.FS.Lstat(filepath.Dir(a.Self))
	if slot != "" {
		of, errSlot := a.FS.Lstat(filepath.Join(u.dir, "slots", string(slot)))
		return err != nil || errSlot != nil || !os.SameFile(own, of)
	}
	above, err := a.FS.Lstat(filepath.Dir(filepath.Dir(a.Self)))
	slots, errSlots := a.FS.Lstat(filepath.Join(u.dir, "slots"))
	return err == nil && errSlots == nil && os.SameFile(above, slots)
}

// notify says a word to the launcher, if there is one.
func (a *Agent) notify(word string) {
	if a.Notify != nil {
		a.Notify(word)
	}
}

// aliveEvery is how often the launcher hears that the loop goes round. The loop itself says so, and it needs the agent's lock for it: when
// either hangs the launcher hears nothing.
const aliveEvery = 10 * time.Second

// live says that the loop goes round, not too often.
func (a *Agent) live() {
	if a.Notify == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if since := a.now().Sub(a.alive); a.alive.IsZero() || since < 0 || since >= aliveEvery/2 {
		a.alive = a.now()
		a.Notify(WordAlive)
	}
}

// rest sleeps, and shows signs of life meanwhile.
func (a *Agent) rest(ctx context.Context, d time.Duration) {
	for {
		step := d
		if a.Notify != nil {
			step = min(d, aliveEvery)
		}
		if a.Clock.Sleep(ctx, step) != nil {
			return
		}
		a.live()
		if d -= step; d <= 0 {
			return
		}
	}
}

// contact is whether the control plane is reached: the probe of the agent itself.
type contact struct{ state atomic.Int32 }

const (
	reached int32 = iota + 1
	away
)

// heard notes how a check-in ended.
func (a *Agent) heard(err error) {
	if err != nil {
		a.contact.state.Store(away)
		a.notify(WordAway)
		return
	}
	a.contact.state.Store(reached)
	a.notify(WordChecked)
}

// Name implements probe.Probe.
func (*contact) Name() string { return "check-in" }

// Check implements probe.Probe. A control plane that is away proves nothing against the agent (I7); whether it is only this agent that does
// not get there, the launcher finds out by asking another one.
func (c *contact) Check(context.Context) error {
	if c.state.Load() == reached {
		return nil
	}
	return fault.New(fault.Unavailable, "the control plane has not been reached")
}
