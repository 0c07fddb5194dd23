package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/live"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// plane is what a desk asks, and how often it was asked.
type plane struct {
	rollouts  []api.Rollout
	incidents []store.Incident
	events    []store.Event
	samples   []store.Sample
	fleet     api.FleetState
	away      error // of the database
	slow      bool  // the database answers when it is given up
	asked     int   // of the database
	counted   int   // of the fleet
	clock     *clock.Fixed
}

func (p *plane) Rollout(_ context.Context, id string) (api.Rollout, error) {
	for _, r := range p.rollouts {
		if r.ID == id {
			return r, nil
		}
	}
	return api.Rollout{}, fault.New(fault.NotFound, "find it: SELECT failed")
}

func (p *plane) Rollouts(_ context.Context, q store.RolloutQuery) ([]api.Rollout, error) {
	var found []api.Rollout
	for _, r := range p.rollouts {
		if q.WantsPhase(rollout.Phase(r.Phase)) && len(found) < q.Limit {
			found = append(found, r)
		}
	}
	return found, nil
}

func (p *plane) Phases(context.Context) (map[rollout.Phase]int64, error) {
	phases := map[rollout.Phase]int64{}
	for _, r := range p.rollouts {
		phases[rollout.Phase(r.Phase)]++
	}
	return phases, nil
}

func (p *plane) database(ctx context.Context) error {
	p.asked++
	if p.slow {
		<-ctx.Done()
		return ctx.Err()
	}
	return p.away
}

func (p *plane) OpenIncidents(ctx context.Context, _ int) ([]store.Incident, error) {
	return p.incidents, p.database(ctx)
}

func (p *plane) NotableEvents(ctx context.Context, _ rollout.ID, _ store.Notable, _ int64, _ int) ([]store.Event, error) {
	return p.events, p.database(ctx)
}

func (p *plane) Samples(ctx context.Context, _ string, _ time.Time, _ int) ([]store.Sample, error) {
	return p.samples, p.database(ctx)
}

func (p *plane) desk() *live.Desk {
	p.clock = clock.At(night())
	return live.NewDesk(live.DeskOptions{
		Rollouts: p, Store: p, Clock: p.clock, Freezes: func() calendar.Calendar { return calendar.Calendar{} },
		Fleet: func(now time.Time) api.FleetState {
			p.counted++
			state := p.fleet
			state.At = now
			return state
		},
	})
}

func look(t *testing.T, d *live.Desk) api.Overview {
	t.Helper()
	o, err := d.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestTheOverviewWorksWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(*plane){
		"away": func(p *plane) { p.away = errors.New("away") }, "slow": func(p *plane) { p.slow = true },
	} {
		p := &plane{rollouts: []api.Rollout{running("ro-1")}, incidents: []store.Incident{{ID: "in-1", Title: "x"}}}
		d := p.desk()
		if o := look(t, d); len(o.Incidents) != 1 || len(o.Rollouts) != 1 {
			t.Fatalf("got %+v, want a rollout and an incident", o)
		}
		fail(p)
		p.asked = 0
		p.rollouts = append(p.rollouts, running("ro-2"))
		for range 20 {
			p.clock.Move(time.Second)
			if o := look(t, d); len(o.Incidents) != 1 || len(o.Rollouts) != 2 {
				t.Fatalf("%s: got %d incidents and %d rollouts, want what was known of the one and what is of the other", name, len(o.Incidents), len(o.Rollouts))
			}
		}
		if p.asked > 5 {
			t.Errorf("%s: got the database asked %d times in 20 seconds, want it left alone", name, p.asked)
		}
		p.away, p.slow, p.incidents = nil, false, nil
		p.clock.Move(10 * time.Second)
		if o := look(t, d); len(o.Incidents) != 0 {
			t.Errorf("%s: got %v when the database is back, want that the incident is closed", name, o.Incidents)
		}
	}
}

func TestTheOverviewIsWorkedOutOnceForAllWhoAskAtATime(t *testing.T) {
	t.Parallel()
	p := &plane{}
	d := p.desk()
	for range 1000 {
		look(t, d)
	}
	if p.counted != 1 || p.asked != 2 {
		t.Errorf("got the fleet counted %d times and the database asked %d times, want once and for two things", p.counted, p.asked)
	}
	for range 100 {
		p.clock.Move(100 * time.Millisecond)
		look(t, d)
	}
	if p.counted > 6 || p.asked > 8 {
		t.Errorf("got the fleet counted %d times and the database asked %d times in ten seconds, want every two seconds", p.counted, p.asked)
	}
	p.rollouts = []api.Rollout{running("ro-1")}
	p.clock.Move(-time.Hour) // somebody put the clock back
	if o := look(t, d); len(o.Rollouts) != 1 {
		t.Error("got an old overview after the clock was put back, want a new one")
	}
}

func TestSinceWhenARolloutIsPausedIsInItsDecisions(t *testing.T) {
	t.Parallel()
	p := &plane{
		rollouts: []api.Rollout{changed("ro-1", func(r *api.Rollout) { r.Phase, r.Revision = "paused", 7 })},
		events: []store.Event{
			{At: *ago(time.Minute), Effects: json.RawMessage(`[{"effect":"Record","data":{"verdict":"held"}}]`)},
			{At: *ago(20 * time.Minute), Effects: pausing(t)},
			{At: *ago(50 * time.Minute), Effects: pausing(t)},
		},
	}
	d := p.desk()
	for range 100 {
		a := look(t, d).Attention["paused:ro-1"]
		if a.Since == nil || !a.Since.Equal(*ago(20 * time.Minute)) {
			t.Fatalf("got %+v, want that it is paused for 20 minutes", a)
		}
		p.clock.Move(time.Second)
	}
	if p.asked > 100/2+2+2 {
		t.Errorf("got the database asked %d times, want the decisions read once", p.asked)
	}
}

func pausing(t *testing.T) json.RawMessage {
	t.Helper()
	data, err := rollout.EncodeEffects([]rollout.Effect{rollout.Record{Verdict: rollout.DidPause}})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSilenceIsMeasuredAgainstWhatIsUsual(t *testing.T) {
	t.Parallel()
	p := &plane{fleet: api.FleetState{Endpoints: 1000, Silent: 400}}
	for h := range 24 {
		p.samples = append(p.samples, store.Sample{At: *ago(time.Duration(24-h) * time.Hour), Hosts: 1000, Heard: 650})
	}
	p.samples = append(p.samples, store.Sample{At: *ago(time.Minute), Hosts: 1000, Heard: 600})
	if o := look(t, p.desk()); len(o.Attention) != 0 {
		t.Errorf("got %v, want nothing about a fleet of which 35%% sleep at all times", o.Attention)
	}
	p.fleet.Silent = 500
	if o := look(t, p.desk()); o.Attention["silence"].Kind != "silence" {
		t.Errorf("got %v, want that half of the fleet is silent", o.Attention)
	}
}

func TestOnlyTheTimeIsNoNews(t *testing.T) {
	t.Parallel()
	p := &plane{}
	d := p.desk()
	p.clock.Move(time.Second)
	first, err := d.Source()("")(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p.clock.Move(5 * time.Second)
	second, err := d.Source()("")(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a, b := encoded(t, first), encoded(t, second); a != b {
		t.Errorf("got %s and five seconds later %s, want no difference", a, b)
	}
}

func encoded(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestATimelineIsReadWhenTheRolloutHasANewRevision(t *testing.T) {
	t.Parallel()
	p := &plane{rollouts: []api.Rollout{changed("ro-1", func(r *api.Rollout) { r.Revision = 3 })}}
	var fail error
	decisions := func(context.Context, string, int) ([]api.Decision, error) {
		p.asked++
		return []api.Decision{{Revision: p.rollouts[0].Revision, Event: "Started"}}, fail
	}
	see := live.Timeline(p.Rollout, decisions)("ro-1")
	step := func(want string, asked int) {
		t.Helper()
		got, err := see(t.Context())
		var have string
		if timeline, ok := got.(map[string]api.Decision); ok {
			for revision := range timeline {
				have += revision
			}
		}
		if have != want || p.asked != asked || (err != nil) != (fail != nil) {
			t.Errorf("got decisions %q, %d questions, %v; want %q, %d", have, p.asked, err, want, asked)
		}
	}
	step("3", 1)
	step("", 1) // as before
	p.rollouts[0].Revision = 4
	step("4", 2)
	p.rollouts[0].Revision, fail = 5, errors.New("away")
	step("", 3)
	fail = nil
	step("5", 4)
	if _, err := live.Timeline(p.Rollout, decisions)("ro-9")(t.Context()); fault.KindOf(err) != fault.NotFound || err.Error() != "there is no rollout ro-9" {
		t.Errorf("got %v, want which rollout there is not", err)
	}
}
