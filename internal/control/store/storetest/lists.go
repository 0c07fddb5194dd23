package storetest

import (
	"slices"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// OldRollouts checks lists of rollouts while a leader of the version before writes, which knows no columns for them. Exec runs a statement
// past the store, which is empty.
func OldRollouts(t *testing.T, s *store.Store, exec func(statement string)) {
	t.Helper()
	phased(t, s, "r1", "a", "v1", 1, rollout.Running)
	phased(t, s, "r2", "a", "v2", 1, rollout.Complete)
	phased(t, s, "r3", "a", "v3", 1, rollout.Running)
	phased(t, s, "r4", "a", "v4", 1, rollout.Paused)
	phased(t, s, "r5", "a", "v5", 1, rollout.Tripped)
	exec(`UPDATE rollouts SET phase = '', version = '' WHERE id IN ('r4', 'r5')`)                                                        // it began them
	exec(`UPDATE rollouts SET revision = 2, state = replace(state, '"phase":"running"', '"phase":"complete"') WHERE id IN ('r1', 'r3')`) // it decided
	exec(`UPDATE rollouts SET revision = 3, state = replace(state, '"phase":"complete"', '"phase":"paused"') WHERE id = 'r1'`)
	seen := func() {
		t.Helper()
		for name, c := range map[string]struct {
			q    store.RolloutQuery
			want []rollout.ID
		}{
			"active":               {store.RolloutQuery{Active: true}, []rollout.ID{"r4", "r1"}},
			"active, two":          {store.RolloutQuery{Active: true, Limit: 2}, []rollout.ID{"r4", "r1"}},
			"active, one":          {store.RolloutQuery{Active: true, Limit: 1}, []rollout.ID{"r4"}},
			"active behind, three": {store.RolloutQuery{Active: true, Behind: "r4", Limit: 3}, []rollout.ID{"r1"}},
			"complete":             {store.RolloutQuery{Phases: []rollout.Phase{rollout.Complete}}, []rollout.ID{"r3", "r2"}},
			"complete, one":        {store.RolloutQuery{Phases: []rollout.Phase{rollout.Complete}, Limit: 1}, []rollout.ID{"r3"}},
			"tripped":              {store.RolloutQuery{Phases: []rollout.Phase{rollout.Tripped}}, []rollout.ID{"r5"}},
			"running":              {store.RolloutQuery{Phases: []rollout.Phase{rollout.Running}}, nil},
			"version":              {store.RolloutQuery{Version: "v4"}, []rollout.ID{"r4"}},
		} {
			got := []rollout.ID{}
			for _, r := range must[[]store.Rollout](t)(s.FindRollouts(t.Context(), c.q)) {
				got = append(got, r.State.ID)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: got %v, want %v", name, got, c.want)
			}
		}
		same(t, must[map[rollout.Phase]int64](t)(s.RolloutPhases(t.Context())),
			map[rollout.Phase]int64{rollout.Complete: 2, rollout.Paused: 2, rollout.Tripped: 1})
	}
	seen()
	all := must[[]store.Rollout](t)(s.Rollouts(t.Context(), "", 0))
	late := all[0]
	late.State.Phase, late.Revision = rollout.Running, late.Revision-1 // as it was before it was changed
	ok(t, s.Relist(t.Context(), append(all, late)))
	ok(t, s.Relist(t.Context(), nil))
	seen()
	for _, r := range must[[]store.Rollout](t)(s.Rollouts(t.Context(), "", 0)) {
		if r.Listed != r.State.Phase {
			t.Errorf("rollout %s is listed as %q, want %q", r.State.ID, r.Listed, r.State.Phase)
		}
	}
}
