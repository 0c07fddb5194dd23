package engine

import (
	"context"
	"slices"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// prepare checks the guardrails of a start and makes its event. The plan is frozen into it. The caller holds the lock
// for starts.
func (e *Engine) prepare(ctx context.Context, want api.StartRollout, actor string) (rollout.Started, error) {
	published, err := e.Releases.Release(ctx, want.Component, want.Version)
	if err != nil {
		return rollout.Started{}, err
	}
	m := published.Manifest
	if err = e.guard(ctx, published); err != nil {
		return rollout.Started{}, err
	}
	p, err := e.planFor(ctx, m, want.Plan)
	if err != nil {
		return rollout.Started{}, err
	}
	cell, err := e.cellFor(p)
	if err != nil {
		return rollout.Started{}, err
	}
	now := e.Clock.Now()
	if m.Created.After(now) {
		now = m.Created // the publisher's clock is a little ahead; no endpoint takes leases of a rollout older than its release
	}
	nobody := func(fleet.EndpointID) bool { return false }
	census := e.Fleet.Count(registry.Question{Component: m.Component, Since: now.Add(-e.Reach), Exposed: nobody, Posture: fleet.PostureOf(p.Posture)})
	return rollout.Started{
		At: stamp(now), ID: rollout.ID(e.NewID("ro")), Plan: p, Eligible: census.Eligible, Actor: actor, Reason: want.Reason,
		Cell: cell, Freezes: e.Freezes(),
		Release: rollout.Release{
			Component: m.Component, Version: m.Version, Serial: m.Serial, Manifest: published.Digest, Artifacts: e.unproven(m),
		},
	}, nil
}

// unproven lists the artifacts that a recall of the release will name: those that no completed release of the component has proved
// already. A release that changes one platform's artifact shares the others with its good predecessor.
func (e *Engine) unproven(m release.Manifest) []release.Digest {
	proven := map[release.Digest]bool{}
	for _, r := range e.list() {
		if r.component != m.Component {
			continue
		}
		r.mu.Lock()
		for _, a := range r.state.Release.Artifacts {
			proven[a] = proven[a] || r.state.Phase == rollout.Complete
		}
		r.mu.Unlock()
	}
	return slices.DeleteFunc(m.Digests(), func(d release.Digest) bool { return proven[d] })
}

// guard refuses what must not be rolled out: a recalled release, recalled bytes under a new name, a release below the floor or not above
// the stable one, and a second rollout of a component.
func (e *Engine) guard(ctx context.Context, p release.Published) error {
	recalls, err := e.Releases.Recalls(ctx, p.Manifest.Component)
	if err != nil {
		return err
	}
	for _, r := range recalls {
		if r.Manifest == p.Digest {
			return fault.New(fault.Conflict, "the release was recalled: %s", r.Reason).Hint("mend it and publish it as a new version")
		}
		for _, a := range p.Manifest.Digests() {
			if slices.Contains(r.Artifacts, a) {
				return fault.New(fault.Conflict, "its artifact %s was recalled with version %s: %s", a.Short(), r.Version, r.Reason).
					Hint("the same bytes under a new version are still the same bytes; mend them")
			}
		}
	}
	all, err := e.Releases.Releases(ctx, p.Manifest.Component)
	if err != nil {
		return err
	}
	for _, other := range all {
		if other.Manifest.Floor > p.Manifest.Serial {
			return fault.New(fault.Conflict, "it is below the floor that version %s set: serial %d, floor %d", other.Manifest.Version,
				p.Manifest.Serial, other.Manifest.Floor)
		}
	}
	if stable := e.board.runs(p.Manifest.Component); stable != nil && p.Manifest.Serial <= stable.Serial {
		return fault.New(fault.Conflict, "version %s is stable and not older: serial %d, this one has %d", stable.Version, stable.Serial, p.Manifest.Serial).
			Hint("to go back, publish the old content as a new version; hosts that come later get the stable release without a new rollout")
	}
	return e.vacant(ctx, p.Manifest.Component)
}

// vacant refuses a second rollout of a component. Those that have ended stay so, whatever is not known to be stored of them: there may be
// thousands, and they sleep on.
func (e *Engine) vacant(ctx context.Context, component string) error {
	for _, r := range e.list() {
		if r.component != component || r.glance().Phase.Ended() {
			continue
		}
		if err := e.hold(ctx, r); err != nil {
			return err
		}
		s := r.state
		r.mu.Unlock()
		if s.Release.Component == component && (s.Phase == rollout.Proposed || s.Phase == rollout.Running || s.Phase == rollout.Paused) {
			return fault.New(fault.Conflict, "rollout %s of version %s is %s", s.ID, s.Release.Version, s.Phase).
				Hint("wait for it, or end it with 'firebreak rollout halt %s'", s.ID)
		}
	}
	return nil
}

// planFor is the plan that was signed with the release, or a stored one that stays within it.
func (e *Engine) planFor(ctx context.Context, m release.Manifest, name string) (plan.Plan, error) {
	signed := m.Plan.Defaulted()
	if name == "" || name == signed.Name {
		return signed, nil
	}
	row, err := e.Releases.Plan(ctx, name)
	if err != nil {
		return plan.Plan{}, err
	}
	wanted := row.Plan.Defaulted()
	return wanted, fault.Problems("plan "+name+" is wider or faster than the plan signed with the release", plan.Within(signed, wanted))
}
