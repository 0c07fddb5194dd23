package engine

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Rollout shows one rollout.
func (e *Engine) Rollout(ctx context.Context, id string) (api.Rollout, error) {
	r, err := e.entry(rollout.ID(id))
	if err != nil {
		return api.Rollout{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	shown := e.view(r)
	if r.state.Phase == rollout.Tripped {
		shown.Incident, err = e.incidentOf(ctx, r.state.ID)
	}
	return shown, err
}

// Rollouts shows the rollouts of a component, or all, newest first.
func (e *Engine) Rollouts(_ context.Context, component string) ([]api.Rollout, error) {
	shown := []api.Rollout{}
	for _, r := range e.list() {
		r.mu.Lock()
		if component == "" || r.state.Release.Component == component {
			shown = append(shown, e.view(r))
		}
		r.mu.Unlock()
	}
	slices.SortFunc(shown, func(a, b api.Rollout) int { return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(b.ID, a.ID)) })
	return shown, nil
}

func (e *Engine) incidentOf(ctx context.Context, id rollout.ID) (string, error) {
	incidents, err := e.Releases.Incidents(ctx)
	if err != nil {
		return "", err
	}
	for _, i := range incidents {
		if i.Rollout == id {
			return i.ID, nil
		}
	}
	return "", nil
}

// view shows an entry; the caller holds its lock.
func (e *Engine) view(r *entry) api.Rollout { return show(r.state, r.revision, r.refusal) }

// Show shows a rollout as it is stored: what a replica knows of it that does not lead.
func Show(row store.Rollout) api.Rollout { return show(row.State, row.Revision, rollout.Waiting{}) }

// show shows a state. Refusal is what hosts that ask were told last; it may be none.
func show(s rollout.State, revision int64, refusal rollout.Waiting) api.Rollout {
	v := api.Rollout{
		ID: string(s.ID), Component: s.Release.Component, Version: s.Release.Version, Manifest: string(s.Release.Manifest), Plan: s.Plan.Name, Phase: string(s.Phase),
		Reason: s.Reason, Revision: revision, Started: s.Started, Ended: optional(s.Ended), FirstHarm: optional(s.FirstHarm),
		Ring: s.Ring, Window: s.Allowed(), Unconfirmed: s.Unconfirmed, Eligible: max(s.Eligible, s.Exposed()), Exposed: s.Exposed(), Confirmed: s.Confirmed(),
		Harmed: s.Harmed(), Recovered: s.Recovered, Returned: s.Returned,
		Evidence: s.Evidence(), Doubt: s.Doubt(), Amber: s.Plan.Breaker.Amber, Trip: s.Plan.Breaker.Trip(), Alarm: string(s.Alarm),
		Emergency: s.Plan.Emergency, Approvals: s.Plan.Approvals, Approved: slices.Clone(s.Approved), Strata: viewStrata(s),
	}
	v.Cell, v.Wave, v.Cells = viewCells(s)
	if s.Unfit.Hosts > 0 {
		v.Unfit = &api.Unfit{Hosts: s.Unfit.Hosts, Lacks: maps.Clone(s.Unfit.Lacks)}
	}
	for _, h := range s.Holds {
		v.Holds = append(v.Holds, api.RolloutHold{Select: h.Select, Text: h.Select.String(), Reason: h.Reason, At: h.At, By: h.By})
	}
	for _, x := range s.Explain() {
		v.Suspects = append(v.Suspects, api.Suspect{
			Key: x.Key, Value: x.Value, Harmed: x.Harmed, Exposed: x.Exposed, HarmedElsewhere: x.HarmedElsewhere,
			ExposedElsewhere: x.ExposedElsewhere,
		})
	}
	w := s.Waiting()
	if w.Code == rollout.WaitHosts && refusal.Code != "" && refusal.Code != rollout.WaitPosture {
		w = refusal // hosts do ask, and this is what they were told
	}
	v.Waiting = api.Waiting{Code: w.Code, Text: w.Text}
	for _, l := range s.Missing() {
		v.Missing = append(v.Missing, api.Lack{Name: l.Name, Have: l.Have, Need: l.Need})
	}
	var earlier int64
	for k, ring := range s.Rings {
		size := s.Plan.Size(k, s.Eligible, earlier)
		v.Rings = append(v.Rings, viewRing(s, k, size))
		if k < s.Ring {
			size = ring.Leased
		}
		earlier += size
	}
	return v
}

// mostStrata is how many strata in trouble are shown.
const mostStrata = 20

// viewStrata shows the strata in trouble, those with the most harm first.
func viewStrata(s rollout.State) []api.Stratum {
	var shown []api.Stratum
	for i := range s.Strata {
		if x := &s.Strata[i]; x.Harmed > 0 || x.Suspect || x.Held {
			shown = append(shown, api.Stratum{
				Name: x.Name, Leased: x.Leased, Confirmed: x.Confirmed, Harmed: x.Harmed, Suspect: x.Suspect, Held: x.Held,
				Evidence: x.Suspicion(s.Plan.Breaker),
			})
		}
	}
	slices.SortFunc(shown, func(a, b api.Stratum) int {
		return cmp.Or(cmp.Compare(b.Harmed, a.Harmed), cmp.Compare(b.Evidence, a.Evidence), cmp.Compare(a.Name, b.Name))
	})
	return shown[:min(len(shown), mostStrata)]
}

func viewRing(s rollout.State, k int, size int64) api.Ring {
	r, state := s.Rings[k], "closed"
	switch {
	case k < s.Ring || s.Phase == rollout.Complete && k == s.Ring:
		state = "done"
	case k == s.Ring && s.Phase == rollout.Running:
		state = "open"
	case k == s.Ring:
		state = string(s.Phase)
	}
	return api.Ring{
		Name: s.Plan.Rings[k].Name, Size: size, State: state, Leased: r.Leased, Confirmed: r.Confirmed, Crashed: r.Crashed,
		Reverted: r.Reverted, Silent: r.Silent, Goodbye: r.Goodbye, Late: r.Late, Rejected: r.Rejected, Boots: r.Boots, HostHours: r.HostHours,
	}
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
