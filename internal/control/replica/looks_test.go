package replica_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Whoever is asked shows the same.
func TestFollowersShowTheSame(t *testing.T) {
	t.Parallel()
	w := open(t)
	leader, follower := w.join("a"), w.join("b")
	ro := w.start(leader)
	if _, refusal, err := w.ask(leader, ro.ID, 1); err != nil || refusal != "" {
		t.Fatalf("got %q, %v, want a lease", refusal, err)
	}
	for name, q := range map[string]store.RolloutQuery{"all": {}, "active": {Active: true}, "ended": {Phases: []rollout.Phase{rollout.Complete}}} {
		want, err := leader.Rollouts(t.Context(), q)
		w.ok(err)
		got, err := follower.Rollouts(t.Context(), q)
		w.ok(err)
		if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(api.Rollout{}, "Waiting")); diff != "" || (len(got) == 1) == (name == "ended") {
			t.Errorf("%s: the leader shows and the follower (-want +got):\n%s", name, diff)
		}
	}
	phases, err := follower.Phases(t.Context())
	w.ok(err)
	if diff := cmp.Diff(map[rollout.Phase]int64{rollout.Running: 1}, phases); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	for n := 1; n <= 3; n++ {
		want, err := leader.Next(t.Context(), host(n))
		w.ok(err)
		got, err := follower.Next(t.Context(), host(n))
		w.ok(err)
		if diff := cmp.Diff(want, got); diff != "" || len(got) != 1 {
			t.Errorf("next of host %d: the leader tells and the follower (-want +got):\n%s", n, diff)
		}
	}
}

// The leader writes down how the fleet is, and only it.
func TestTheLeaderTakesSamples(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.enter("a", &member{most: 5 * time.Millisecond})
	w.until("there is a sample of the whole fleet", func() bool {
		all, err := w.db.Samples(t.Context(), "", time.Time{}, 0)
		return err == nil && len(all) > 0 && all[0].Hosts == hosts && all[0].Heard == hosts
	})
}
