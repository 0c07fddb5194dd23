package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/fetch"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
)

// longestWait is how long a next try is put off at most. Where it seems to be longer the clock was set back, and nobody waits for a year.
const longestWait = 5 * time.Minute

// prepare downloads, verifies, stages and checks a release. Nothing that runs changes.
func (a *Agent) prepare(ctx context.Context, u *unit, want install.Fetch) {
	wait := want.NotBefore.Sub(a.now())
	if wait > longestWait {
		wait = 0
	}
	if a.Clock.Sleep(ctx, max(0, wait)) != nil {
		return
	}
	if a.look(ctx, u) {
		return // it is prepared anew, from what there is
	}
	fetched, err := a.doPrepare(ctx, u, want.Target)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		kind := fault.KindOf(err)
		final := kind == fault.Invalid || kind == fault.Conflict // of the release itself; everything else may pass
		a.Log.WarnContext(ctx, "prepare", slog.String("component", u.file.Component), slog.String("version", want.Target.Version),
			slog.Bool("final", final), slog.Any("error", err))
		a.event(ctx, u, install.Failed{At: a.now(), Manifest: want.Target.Manifest, Why: err.Error(), Final: final})
		return
	}
	a.event(ctx, u, fetched)
}

func (a *Agent) doPrepare(ctx context.Context, u *unit, t install.Target) (install.Fetched, error) {
	name := u.file.Component
	if err := a.anchors.refresh(ctx, a.bound(), a.componentNames()); err != nil {
		return install.Fetched{}, fmt.Errorf("refresh the trusted metadata: %w", err)
	}
	m, err := a.anchors.manifest(ctx, name, t)
	if err != nil {
		return install.Fetched{}, err
	}
	artifact, err := a.fit(u, m)
	if err != nil {
		return install.Fetched{}, fmt.Errorf("preflight of %s %s: %w", name, m.Version, err)
	}
	if slot := a.quarantined(m, artifact); slot != "" {
		return install.Fetched{}, fault.New(fault.Conflict, "preflight of %s %s: the launcher has quarantined its executable, which ran here from slot %s",
			name, m.Version, slot).Hint("if the host was to blame: systemctl stop firebreak-agent, then firebreak-agent forgive %s", name)
	}
	slot, err := a.stage(ctx, u, m, artifact)
	if err != nil {
		return install.Fetched{}, fmt.Errorf("preflight of %s %s: %w", name, m.Version, err)
	}
	a.mu.Lock()
	u.prepared = m
	a.mu.Unlock()
	return install.Fetched{At: a.now(), Manifest: t.Manifest, Artifact: artifact.Digest, Serial: m.Serial, Slot: install.Slot(slot)}, nil
}

// fit judges the manifest against this host: kind, floor, validation, contract and platform.
func (a *Agent) fit(u *unit, m release.Manifest) (release.Artifact, error) {
	floor, err := a.raiseFloor(u.file.Component)
	if err != nil {
		return release.Artifact{}, err
	}
	switch {
	case m.Kind != u.file.Kind:
		return release.Artifact{}, fault.New(fault.Conflict, "it is of kind %s, the component file says %s", m.Kind, u.file.Kind)
	case m.Serial < floor:
		return release.Artifact{}, fault.New(fault.Denied, "its serial %d is below the signed floor %d", m.Serial, floor)
	}
	if err := fault.Problems("its contract is not met", u.file.Provided(m)); err != nil {
		return release.Artifact{}, err
	}
	artifact, ok := m.For(a.Platform)
	if !ok {
		return release.Artifact{}, fault.New(fault.Conflict, "it has no artifact for %s", a.Platform)
	}
	if m.Kind == release.Agent && (artifact.Format != release.File || artifact.Name != component.Agent) {
		return release.Artifact{}, fault.New(fault.Invalid, "an agent must be one file of the name %s, which its launcher starts; it is %s %s",
			component.Agent, artifact.Format, artifact.Name)
	}
	return artifact, nil
}

// quarantined is the slot in which the launcher had enough of this executable; "" if it is not quarantined. The launcher remembers also
// what this agent forgot with its journal.
func (a *Agent) quarantined(m release.Manifest, artifact release.Artifact) string {
	if m.Kind != release.Agent {
		return ""
	}
	of := string(installer.SlotOf("", artifact.Digest)) // under whatever version
	if i := slices.IndexFunc(a.Quarantined, func(slot string) bool { return strings.HasSuffix(slot, of) }); i >= 0 {
		return a.Quarantined[i]
	}
	return ""
}

// look compares the disk with what the machine believes, and tells it if somebody has been at it: slots were removed, or current was
// changed. It must not be called while a release is proved, when it would count as a death. It tells whether anything was found.
func (a *Agent) look(ctx context.Context, u *unit) bool {
	err := u.make()
	found, errLook := u.installer.Inspect(ctx)
	if err = errors.Join(err, errLook); err != nil {
		a.Log.WarnContext(ctx, "look at a component", slog.String("component", u.file.Component), slog.Any("error", err))
		return false
	}
	a.mu.Lock()
	s := a.memory.Components[u.file.Component]
	a.mu.Unlock()
	e := install.Restarted{At: a.bound(), Current: install.Slot(found.Current), Gone: gone(s, found)}
	if len(e.Gone) == 0 && (e.Current == s.Current.Slot || s.Phase == install.Reverting) {
		return false
	}
	a.Log.WarnContext(ctx, "somebody changed the component's directory", slog.String("component", u.file.Component),
		slog.String("current", string(found.Current)))
	a.event(ctx, u, e)
	return true
}

// raiseFloor remembers the highest floor ever seen: metadata that names a lower one later changes nothing.
func (a *Agent) raiseFloor(component string) (int64, error) {
	floor, err := a.anchors.floor(component)
	if err != nil {
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if floor > a.memory.Floors[component] {
		a.memory.Floors[component] = floor
		return floor, a.save()
	}
	return a.memory.Floors[component], nil
}

// stage brings the artifact into its slot, unless it is there already, and lets the host's validator judge it.
func (a *Agent) stage(ctx context.Context, u *unit, m release.Manifest, artifact release.Artifact) (installer.Slot, error) {
	found, err := u.installer.Inspect(ctx)
	if err != nil {
		return "", err
	}
	slot := installer.SlotOf(m.Version, artifact.Digest)
	if !slices.Contains(found.Slots, slot) {
		path := filepath.Join(u.dir, "download", artifact.Digest.Hex())
		client, url := a.Uplink.Artifact(string(artifact.Digest))
		if err = u.download(ctx, fetch.Options{Client: client, Log: a.Log}, url, path, artifact, found); err != nil {
			return "", err
		}
		if slot, err = u.installer.Stage(ctx, installer.Stage{Version: m.Version, Artifact: artifact, Path: path}); err != nil {
			return "", err
		}
		if err := a.FS.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return slot, u.installer.Check(ctx, slot)
}

// swap switches current to the slot. Whether a failed swap happened nevertheless, the disk tells.
func (a *Agent) swap(ctx context.Context, u *unit, s install.State) {
	slot := s.Next.Slot
	u.unwell = u.isUnwell(ctx, s.Current.Slot)
	if !a.bound().Before(s.Lease.Expires) { // the host may have slept since the lease came
		a.event(ctx, u, install.SwapFailed{At: a.now(), Why: "the lease expired before the switch"})
		return
	}
	was, err := u.installer.Inspect(ctx)
	if err == nil {
		err = a.undisturbed(func() error { return u.installer.Activate(ctx, installer.Slot(slot), installer.Slot(s.Good.Slot)) })
	}
	u.switched = a.now() // after it: a consumer that was started during the switch may have found the old release, and is told
	if err == nil {
		a.event(ctx, u, install.Swapped{At: a.now()})
		return
	}
	a.Log.ErrorContext(ctx, "activate", slog.String("component", u.file.Component), slog.Any("error", err))
	found, lookErr := u.installer.Inspect(context.WithoutCancel(ctx))
	switch {
	case lookErr != nil:
		a.event(ctx, u, install.Broke{At: a.now(), Why: errors.Join(err, lookErr).Error()})
	case found.Current == installer.Slot(slot):
		a.event(ctx, u, install.Swapped{At: a.now()})
	case found.Current != was.Current || fault.KindOf(err) == fault.Invalid: // half done, or the release's own scripts failed
		a.event(ctx, u, install.Broke{At: a.now(), Why: err.Error()})
	default:
		a.event(ctx, u, install.SwapFailed{At: a.now(), Why: err.Error()})
		if fault.KindOf(err) == fault.NotFound { // a slot that was there is not
			a.event(ctx, u, install.Restarted{At: a.bound(), Current: install.Slot(found.Current), Gone: gone(s, found)})
		}
	}
}

// restore goes back, however often it takes.
func (a *Agent) restore(ctx context.Context, u *unit, slot install.Slot) {
	pause := 100 * time.Millisecond
	for {
		err := a.undisturbed(func() error { return u.installer.Revert(ctx, installer.Slot(slot)) })
		u.switched = a.now()
		if err == nil {
			a.taken(ctx, u, slot)
			a.event(ctx, u, install.Restored{At: a.now()})
			return
		}
		a.Log.ErrorContext(ctx, "revert; will try again", slog.String("component", u.file.Component), slog.Any("error", err))
		if fault.KindOf(err) == fault.NotFound && a.look(ctx, u) {
			return // there is another way back
		}
		if a.Clock.Sleep(ctx, pause) != nil {
			return
		}
		pause = min(2*pause, 10*time.Second)
	}
}

// taken tells the consumer when its content is gone: nothing will be proved then, so nobody else does.
func (a *Agent) taken(ctx context.Context, u *unit, slot install.Slot) {
	if slot != "" {
		return
	}
	if err := u.tell(ctx); err != nil && ctx.Err() == nil {
		a.Log.WarnContext(ctx, "tell the consumer that its content is gone", slog.String("component", u.file.Component), slog.Any("error", err))
	}
	a.collect(ctx, u)
	if a.other(u, slot) {
		a.renew(ctx)
	}
}

// begin starts a trial of what is current, and tells the consumer of it. Of a consumer that systemd restarts for it, only what is noted
// from then on counts: its end before was asked for.
func (u *unit) begin(ctx context.Context, slot install.Slot) (t trial, err error) {
	if t, err = u.newTrial(ctx, slot); err == nil {
		err = u.tell(ctx)
	}
	if u.file.Consumer.Tell.Unit != "" {
		t.since = u.clock.Now()
	}
	return t, err
}

// prove tells the consumer of what is current and probes it until the soak is over. A probe that cannot judge proves nothing and harms
// nothing, for some time; that of the agent itself for as long as it takes: a control plane that is away is nobody's fault.
func (a *Agent) prove(ctx context.Context, u *unit, slot install.Slot) {
	if a.other(u, slot) { // not for me to prove. Where it is for the third time, the machine gives up
		a.renew(ctx)
		return
	}
	if exit := a.diedUnseen(u); exit != nil {
		a.event(ctx, u, install.Broke{At: a.now(), Crashed: true, Why: "the consumer died while no agent ran" + lastWords(exit), Crash: crash(exit)})
		return
	}
	t, err := u.begin(ctx, slot)
	if err == nil {
		a.proving(ctx, u, t.since)
	}
	if err != nil && ctx.Err() == nil {
		broke := install.Broke{At: a.now(), Why: err.Error()}
		if exit := t.died(true); exit != nil {
			broke.Crashed, broke.Crash, broke.Why = true, crash(exit), "the consumer died when it was told"+lastWords(exit)
		}
		broke.Unwell = u.unwell || !broke.Crashed && fault.KindOf(err) == fault.Unavailable // there is nobody to tell: not the release's doing
		a.event(ctx, u, broke)
		return
	}
	soak, began := time.Duration(u.file.Soak), a.now()
	patience := max(4*soak, soak+time.Minute)
	for a.Clock.Sleep(ctx, time.Duration(u.file.Interval)) == nil {
		found, lived := t.round(ctx), a.now().Sub(began)
		switch {
		case ctx.Err() != nil:
			return
		case found.well && lived >= soak:
			a.proved(ctx, u)
			return
		case found.well || found.bad && !found.crashed && lived < time.Duration(u.file.Grace):
		case found.bad:
			a.event(ctx, u, install.Broke{At: a.now(), Crashed: found.crashed, Unwell: u.unwell, Why: found.why, Crash: found.crash})
			return
		case lived > patience && u.own == nil:
			a.event(ctx, u, install.Broke{At: a.now(), Unwell: u.unwell, Why: "it could not be proved: " + found.why})
			return
		}
	}
}

func (a *Agent) proved(ctx context.Context, u *unit) {
	boots := a.Guard != nil && u.file.Boot != nil && *u.file.Boot // without a guard no boot is ever blessed
	a.event(ctx, u, install.Proved{At: a.now(), Watch: time.Duration(u.file.Watch), Boots: boots})
	a.collect(ctx, u)
}

// recoverySoak bounds how long a host must be well again before it says so.
const recoverySoak = 30 * time.Second

// recover tells the consumer that the last-known-good release is back and probes it for as long as it takes: there is nothing older to
// go to.
func (a *Agent) recover(ctx context.Context, u *unit, slot install.Slot) {
	if a.other(u, slot) && !u.switched.IsZero() {
		a.renew(ctx)
		return
	}
	soak := min(time.Duration(u.file.Soak), recoverySoak)
	for ctx.Err() == nil {
		why := a.wellFor(ctx, u, slot, soak)
		switch {
		case ctx.Err() != nil:
			return
		case why == "":
			a.proved(ctx, u)
			return
		}
		a.event(ctx, u, install.Broke{At: a.now(), Why: why})
		_ = a.Clock.Sleep(ctx, time.Duration(u.file.Interval))
	}
}

// wellFor runs one trial and returns why it failed, or "" after the soak.
func (a *Agent) wellFor(ctx context.Context, u *unit, slot install.Slot, soak time.Duration) string {
	t, err := u.begin(ctx, slot)
	if err != nil {
		return err.Error()
	}
	began := a.now()
	for a.Clock.Sleep(ctx, time.Duration(u.file.Interval)) == nil {
		found := t.round(ctx)
		lived := a.now().Sub(began)
		switch {
		case found.well && lived >= soak:
			return ""
		case found.bad && (found.crashed || lived >= time.Duration(u.file.Grace)):
			return found.why
		}
	}
	return "interrupted"
}

// collect removes the slots that are not needed any more.
func (a *Agent) collect(ctx context.Context, u *unit) {
	a.mu.Lock()
	keep := a.memory.Components[u.file.Component].Keep()
	a.mu.Unlock()
	slots := make([]installer.Slot, len(keep))
	for i, s := range keep {
		slots[i] = installer.Slot(s)
	}
	if err := u.installer.Collect(ctx, slots); err != nil && ctx.Err() == nil {
		a.Log.WarnContext(ctx, "remove old releases", slog.String("component", u.file.Component), slog.Any("error", err))
	}
}

// strikes is how many rounds of probes in a row must fail before harm is called late harm: one may be chance.
const strikes = 3

// calm is the least time between two rounds of the vigil: somebody may be at work on the consumer.
const calm = 10 * time.Second

// watch looks for late harm while nothing is being activated. The caller holds the lock.
func (a *Agent) watch(u *unit, s install.State) {
	if !quiet(s) || !a.now().Before(s.Watched) {
		u.vigil.stop()
		u.watched = release.Digest("")
		return
	}
	if u.watched == s.Current.Manifest {
		return
	}
	u.watched = s.Current.Manifest
	a.start(&u.vigil, func(ctx context.Context) { a.keepVigil(ctx, u, s.Current.Slot, s.Watched) })
}

func (a *Agent) keepVigil(ctx context.Context, u *unit, slot install.Slot, until time.Time) {
	t, err := u.newTrial(ctx, slot)
	if err != nil {
		a.Log.ErrorContext(ctx, "watch for late harm", slog.String("component", u.file.Component), slog.Any("error", err))
		return
	}
	failed := 0
	for a.Clock.Sleep(ctx, max(time.Duration(u.file.Interval), calm)) == nil && a.now().Before(until) {
		found := t.round(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case found.well:
			failed = 0
			continue
		case !found.bad: // a consumer on its way up again is no proof of health
			continue
		}
		failed++
		if failed == strikes {
			a.event(ctx, u, install.Broke{At: a.now(), Crashed: found.crashed, Why: found.why, Crash: found.crash})
			return
		}
		if fresh, err := u.newTrial(ctx, slot); err == nil { // one death is one strike, not one in every round to come
			t = fresh
		}
	}
}
