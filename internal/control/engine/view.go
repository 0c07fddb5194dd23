package engine

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// shown is what of a rollout may be looked at without its lock, which is held for as long as the database takes: the newest decision that is
// stored, and the newest refusal since.
type shown struct {
	stored  atomic.Pointer[store.Rollout]
	refusal atomic.Pointer[rollout.Waiting]
}

// become takes over what is stored. The caller holds the entry's lock, or is the only one who knows it.
func (r *entry) become(s rollout.State, revision int64) {
	r.state, r.revision = s, revision
	r.shown.stored.Store(&store.Rollout{State: s, Revision: revision, Incident: r.incident})
}

// glance is how a rollout stood after its newest decision, for those who must not wait for its lock. It must not be changed.
func (r *entry) glance() *rollout.State { return &r.shown.stored.Load().State }

// refuse notes what hosts that ask are told; nothing if there is no code.
func (s *shown) refuse(w rollout.Waiting) {
	if known := s.refusal.Load(); known == nil || *known != w {
		s.refusal.Store(&w)
	}
}

// view shows the rollout.
func (s *shown) view() api.Rollout {
	refusal := rollout.Waiting{}
	if told := s.refusal.Load(); told != nil {
		refusal = *told
	}
	return show(*s.stored.Load(), refusal)
}

// Rollout shows one rollout. It waits for no decision and no database.
func (e *Engine) Rollout(_ context.Context, id string) (api.Rollout, error) {
	r, err := e.entry(rollout.ID(id))
	if err != nil {
		return api.Rollout{}, err
	}
	return r.shown.view(), nil
}

// Rollouts shows the rollouts that are asked for, newest first, and no others. It waits for no decision and no database.
func (e *Engine) Rollouts(_ context.Context, q store.RolloutQuery) ([]api.Rollout, error) {
	all := e.list()
	if q.Behind != "" {
		r, err := e.entry(q.Behind)
		if err != nil {
			return nil, err
		}
		all = all[:r.order-1]
	}
	views := []api.Rollout{}
	for _, r := range slices.Backward(all) {
		if q.Component != "" && r.component != q.Component || !q.Wants(r.glance()) {
			continue
		}
		if views = append(views, r.shown.view()); len(views) == q.Limit {
			break
		}
	}
	return views, nil
}

// Phases counts all rollouts by their phase. It waits for no decision and no database.
func (e *Engine) Phases(context.Context) (map[rollout.Phase]int64, error) {
	phases := map[rollout.Phase]int64{}
	for _, r := range e.list() {
		phases[r.glance().Phase]++
	}
	return phases, nil
}

// Show shows a rollout as it is stored: what a replica knows of it that does not lead.
func Show(row store.Rollout) api.Rollout { return show(row, rollout.Waiting{}) }

// show shows a rollout. Refusal is what hosts that ask were told last; it may be none.
func show(row store.Rollout, refusal rollout.Waiting) api.Rollout {
	s := row.State
	v := api.Rollout{
		ID: string(s.ID), Component: s.Release.Component, Version: s.Release.Version, Manifest: string(s.Release.Manifest), Plan: s.Plan.Name, Phase: string(s.Phase),
		Reason: s.Reason, Revision: row.Revision, Incident: row.Incident, Started: s.Started, Ended: optional(s.Ended), FirstHarm: optional(s.FirstHarm),
		Ring: s.Ring, Window: s.Allowed(), Unconfirmed: s.Unconfirmed, Eligible: max(s.Eligible, s.Exposed()), Exposed: s.Exposed(), Confirmed: s.Confirmed(),
		Harmed: s.Harmed(), Recovered: s.Recovered, Returned: s.Returned,
		Evidence: s.Evidence(), Doubt: s.Doubt(), Amber: s.Plan.Breaker.Amber, Trip: s.Plan.Breaker.Trip(), Alarm: string(s.Alarm),
		Emergency: s.Plan.Emergency, Approvals: s.Plan.Approvals, Approved: slices.Clone(s.Approved), Strata: viewStrata(s), Arms: viewArms(s),
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

// viewArms shows what the comparisons with controls came to.
func viewArms(s rollout.State) []api.Arm {
	names := map[breaker.Signal]string{breaker.Silence: "silence", breaker.Slow: "slowness", breaker.Goodbye: "goodbyes"}
	var arms []api.Arm
	for _, c := range s.Breaker.Comparisons(s.Plan.Breaker) {
		arms = append(arms, api.Arm{
			Name: names[c.Signal], Exposed: c.Exposed.Watched, ExposedHarmed: c.Exposed.Showed, Controls: c.Control.Watched,
			ControlsHarmed: c.Control.Showed, Evidence: c.E,
		})
	}
	return arms
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
