package live

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// busy is a control plane on which as much goes on as an overview looks at, and something changes in each rollout at each look.
type busy struct {
	rollouts []api.Rollout
	looks    int64
	now      time.Time
}

func newBusy() *busy {
	b := &busy{now: time.Date(2026, time.July, 19, 4, 12, 0, 0, time.UTC)}
	for i := range looked {
		r := api.Rollout{
			ID: fmt.Sprintf("ro-%d", i), Component: fmt.Sprintf("component-%d", i), Version: "2", Phase: "running", Started: b.now, Approved: []string{"alice"},
			Waiting: api.Waiting{Code: "ring", Text: "the open ring is full; its evidence is not complete"}, Missing: make([]api.Lack, 4), Arms: make([]api.Arm, 3),
			Rings: make([]api.Ring, 6), Strata: make([]api.Stratum, 20), Suspects: make([]api.Suspect, 5), Holds: []api.RolloutHold{{Select: map[string][]string{"site": {"a"}}}},
		}
		b.rollouts = append(b.rollouts, r)
	}
	return b
}

func (b *busy) Now() time.Time {
	b.now = b.now.Add(500 * time.Millisecond)
	return b.now
}

func (b *busy) Sleep(context.Context, time.Duration) error { return nil }

func (b *busy) Rollout(context.Context, string) (api.Rollout, error) { return b.rollouts[0], nil }

func (b *busy) Rollouts(_ context.Context, q store.RolloutQuery) ([]api.Rollout, error) {
	if !q.Active {
		return nil, nil
	}
	b.looks++
	shown := make([]api.Rollout, len(b.rollouts))
	for i, r := range b.rollouts {
		r.Revision, r.Exposed = b.looks, b.looks*2
		shown[i] = r
	}
	return shown, nil
}

func (b *busy) Phases(context.Context) (map[rollout.Phase]int64, error) {
	return map[rollout.Phase]int64{rollout.Running: looked, rollout.Complete: 10_000}, nil
}

func (b *busy) OpenIncidents(context.Context, int) ([]store.Incident, error) {
	return make([]store.Incident, mostIncidents), nil
}

func (b *busy) NotableEvents(context.Context, rollout.ID, store.Notable, int64, int) ([]store.Event, error) {
	return nil, nil
}

func (b *busy) Samples(context.Context, string, time.Time, int) ([]store.Sample, error) {
	return nil, nil
}

// BenchmarkTick measures what one look at the busiest overview costs, however many watch it: composing, encoding, and making the patch.
// Showing the rollouts and counting the fleet are measured where that is done.
func BenchmarkTick(b *testing.B) {
	plane := newBusy()
	desk := NewDesk(DeskOptions{
		Rollouts: plane, Store: plane, Clock: plane, Freezes: func() calendar.Calendar { return calendar.Calendar{} },
		Fleet: func(time.Time) api.FleetState {
			return api.FleetState{Endpoints: 1_000_000, Versions: make([]api.VersionCount, 60)}
		},
	})
	see, t := desk.Source()(""), &topic{name: api.TopicOverview}
	for b.Loop() {
		value, err := see(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		data, err := encode(value)
		if err != nil {
			b.Fatal(err)
		}
		if !t.show(data, plane.now) {
			b.Fatal("nothing has changed")
		}
	}
	b.ReportMetric(float64(len(t.value)), "B/snapshot")
	b.ReportMetric(float64(len(t.steps[len(t.steps)-1].Data)), "B/patch")
}
