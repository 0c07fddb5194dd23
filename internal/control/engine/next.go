package engine

import (
	"context"
	"maps"
	"slices"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// waitQuarantine is the code of a host that keeps a release in quarantine, beside the codes of rollout.Waiting.
const waitQuarantine = "quarantine"

// Next tells for each component of a host what it would be told if it asked for a lease now. It is tried on a copy: nothing is decided, and
// nothing changes. Components whose release the host has already, and those without one, are left out.
func (e *Engine) Next(ctx context.Context, id fleet.EndpointID) ([]api.Next, error) {
	host, _ := e.Fleet.Get(id)
	var all []api.Next
	for _, name := range slices.Sorted(maps.Keys(host.Components)) {
		target, has := e.board.offers(name), host.Components[name]
		if target == nil || target.Version == has.Version {
			continue
		}
		next := api.Next{Component: name, Version: target.Version, Rollout: target.Rollout}
		if slices.Contains(has.Refuses, target.Manifest) {
			next.Code, next.Text = waitQuarantine, "the host keeps this release in quarantine, and does not ask for it"
		} else if err := e.foretell(ctx, id, &next); err != nil {
			return nil, err
		}
		all = append(all, next)
	}
	return all, nil
}

// foretell fills in what the host would be told of a rollout.
func (e *Engine) foretell(ctx context.Context, id fleet.EndpointID, next *api.Next) error {
	r, err := e.entry(rollout.ID(next.Rollout))
	if err != nil {
		return err
	}
	if err := e.hold(ctx, r); err != nil {
		return err
	}
	defer r.mu.Unlock()
	host, known := e.host(r, id)
	c, stopping := e.Stops.pending(r.id)
	switch {
	case !known:
		next.Code, next.Text = rollout.WaitPhase, "the host is not enrolled any more"
		return nil
	case stopping:
		next.Code, next.Text = rollout.WaitPhase, "an operator wants to "+string(c.Action)+" it"
		return nil
	case e.board.barred(r.state):
		next.Code, next.Text = rollout.WaitPhase, "the release was recalled"
		return nil
	}
	asked := rollout.Dated(r.state, rollout.LeaseAsked{At: stamp(e.Clock.Now()), Host: host})
	_, effects := rollout.Step(r.state.Clone(), asked)
	switch waiting, no := refused(effects); {
	case no:
		next.Code, next.Text = waiting.Code, waiting.Text
	case host.Prior == rollout.Pending:
		next.Text = "it holds a lease, and may activate the release now"
	default:
		next.Text = "it gets a lease when it asks"
	}
	return nil
}
