package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// listed asks for rollouts, and gives their ids.
func (w *world) listed(q store.RolloutQuery) []string {
	w.t.Helper()
	all, err := w.engine.Rollouts(w.t.Context(), q)
	w.ok(err)
	ids := []string{}
	for _, r := range all {
		ids = append(ids, r.ID)
	}
	return ids
}

func TestRolloutsThatAreAskedFor(t *testing.T) {
	t.Parallel()
	w := open(t, 8)
	w.both()
	var other string
	w.of(library, func() { other = w.start("v1", nil) })
	first := w.start("v1", nil)
	w.finish(first)
	w.pass(time.Hour)
	bad := w.start("v2", nil)
	w.trip(bad)
	last := w.start("v3", nil)
	look := func(when string) {
		for name, c := range map[string]struct {
			q    store.RolloutQuery
			want []string
		}{
			"all":       {store.RolloutQuery{}, []string{last, bad, first, other}},
			"component": {store.RolloutQuery{Component: component, Limit: 2}, []string{last, bad}},
			"version":   {store.RolloutQuery{Component: component, Version: "v1"}, []string{first}},
			"active":    {store.RolloutQuery{Active: true}, []string{last, other}},
			"phase":     {store.RolloutQuery{Phases: []rollout.Phase{rollout.Tripped, rollout.Complete}}, []string{bad, first}},
			"behind":    {store.RolloutQuery{Behind: rollout.ID(bad), Limit: 1}, []string{first}},
			"nothing":   {store.RolloutQuery{Behind: rollout.ID(other)}, []string{}},
		} {
			if diff := cmp.Diff(c.want, w.listed(c.q)); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", when, name, diff)
			}
			rows, err := w.db.FindRollouts(t.Context(), c.q)
			w.ok(err)
			if len(rows) != len(c.want) {
				t.Errorf("%s, %s: got %d rows stored, want the same %d", when, name, len(rows), len(c.want))
			}
		}
		phases, err := w.engine.Phases(t.Context())
		w.ok(err)
		want := map[rollout.Phase]int64{rollout.Running: 2, rollout.Complete: 1, rollout.Tripped: 1}
		if diff := cmp.Diff(want, phases); diff != "" {
			t.Errorf("%s, phases (-want +got):\n%s", when, diff)
		}
		if got := w.view(bad).Incident; got == "" {
			t.Errorf("%s: got no incident of the tripped rollout", when)
		}
	}
	look("before a restart")
	w.restart()
	look("after a restart")
	if _, err := w.engine.Rollouts(t.Context(), store.RolloutQuery{Behind: "ro-nobody"}); err == nil {
		t.Error("got rollouts behind one that is not there")
	}
}

// What people look at waits for no decision: a database that hangs in the midst of one must not hide what is known.
func TestLooksWaitForNoDecision(t *testing.T) {
	t.Parallel()
	w := open(t, 4)
	id := w.start("v1", nil)
	hangs, back := make(chan struct{}), make(chan struct{})
	hung := sync.OnceFunc(func() { close(hangs) })
	w.store.hold = func(store.Commit) error {
		hung()
		<-back
		return nil
	}
	var asking sync.WaitGroup
	asking.Go(func() {
		_, _, _ = w.engine.Ask(context.Background(), host(1), api.Wish{Rollout: id, Manifest: w.manifest(id)})
	})
	<-hangs
	if v := w.view(id); v.Exposed != 0 || v.Revision != 1 {
		t.Errorf("got %d exposed at revision %d, want what is stored", v.Exposed, v.Revision)
	}
	if got := w.listed(store.RolloutQuery{Active: true}); !slices.Equal(got, []string{id}) {
		t.Errorf("got %v, want the rollout listed", got)
	}
	close(back)
	asking.Wait()
	if v := w.view(id); v.Exposed != 1 {
		t.Errorf("got %d exposed, want the lease that is stored now", v.Exposed)
	}
}

func TestNotableEvents(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1)
	w.report(id, 1, "confirmed")
	w.lease(id, 2)
	w.report(id, 2, "crashed")
	w.pass(31 * time.Second)
	w.ok(w.act(id, rollout.OperatorActed{Action: rollout.Halt, Actor: "bob"}))
	events, err := w.db.Events(t.Context(), rollout.ID(id), 0, 0)
	w.ok(err)
	var matters []string
	for _, e := range events {
		if e.Notable == store.Matters {
			matters = append(matters, e.Name)
		} else if e.Notable != store.Routine {
			t.Errorf("event %d: got %d, want nothing of the kind with one harmed host", e.Revision, e.Notable)
		}
	}
	if want := []string{"started", "outcome_known", "operator_acted"}; !slices.Equal(matters, want) || len(events) < 6 {
		t.Errorf("got %v of %d events, want %v", matters, len(events), want)
	}
}

// After many harmed hosts one more is no news; what is decided on it is.
func TestHarmIsNewsForAWhile(t *testing.T) {
	t.Parallel()
	state := rollout.State{Rings: []rollout.RingState{{Crashed: engine.ManyHarmed}}}
	counted := rollout.Record{Verdict: rollout.DidCount}
	for name, c := range map[string]struct {
		crashed int64
		effects []rollout.Effect
		want    store.Notable
	}{
		"nothing":         {0, nil, store.Routine},
		"a lease":         {0, []rollout.Effect{rollout.GrantLease{}, rollout.WakeAt{}}, store.Routine},
		"the last news":   {0, []rollout.Effect{counted}, store.Matters},
		"another":         {1, []rollout.Effect{counted}, store.Another},
		"blamed":          {1, []rollout.Effect{rollout.Record{Verdict: rollout.DidShare}, counted}, store.Another},
		"another decides": {1, []rollout.Effect{counted, rollout.Record{Verdict: rollout.DidTrip}}, store.Matters},
	} {
		s := state.Clone()
		s.Rings[0].Crashed += c.crashed
		if got := engine.NotableOf(&s, c.effects); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestNext(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	next := func(n int) api.Next {
		t.Helper()
		all, err := w.engine.Next(t.Context(), host(n))
		w.ok(err)
		if len(all) == 0 {
			return api.Next{}
		}
		return all[0]
	}
	if got := next(1); got != (api.Next{}) {
		t.Errorf("without a rollout: got %+v, want nothing", got)
	}
	id := w.start("v1", func(m *release.Manifest) { m.Plan.Window.Start = 1 })
	want := api.Next{Component: component, Version: "v1", Rollout: id, Text: "it gets a lease when it asks"}
	for range 3 { // however often it is asked
		if diff := cmp.Diff(want, next(1)); diff != "" {
			t.Errorf("before the lease (-want +got):\n%s", diff)
		}
	}
	w.lease(id, 1)
	if got := next(1); got.Code != "" || !strings.Contains(got.Text, "holds a lease") {
		t.Errorf("with a lease: got %+v, want that it may activate", got)
	}
	told := w.ask(id, 2)
	if got := next(2); got.Code != rollout.WaitWindow || got.Text != told {
		t.Errorf("of a full window: got %+v, want what it is told when it asks, %q", got, told)
	}
	if v := w.view(id); v.Exposed != 1 {
		t.Errorf("got %d exposed, want one: looking changes nothing", v.Exposed)
	}
	w.describe(3, 4, func(n int, e *registry.Endpoint) {
		c := e.Components[component]
		if n == 3 {
			c.Refuses = []string{w.manifest(id)}
		} else {
			c.Version = "v1"
		}
		e.Components = map[string]api.Component{component: c}
	})
	if got := next(3); got.Code != "quarantine" {
		t.Errorf("in quarantine: got %+v", got)
	}
	if got := next(4); got != (api.Next{}) {
		t.Errorf("with the release: got %+v, want nothing", got)
	}
	w.ok(w.act(id, rollout.OperatorActed{Action: rollout.Pause, Actor: "bob"}))
	if got := next(5); got.Code != rollout.WaitPhase {
		t.Errorf("of a paused rollout: got %+v", got)
	}
	w.ok(w.act(id, rollout.OperatorActed{Action: rollout.RollBack, Actor: "bob"}))
	if got := next(5); got != (api.Next{}) {
		t.Errorf("of a recalled release: got %+v, want nothing", got)
	}
	if all, err := w.engine.Next(t.Context(), "ep-nobody"); len(all) != 0 || err != nil {
		t.Errorf("of nobody: got %+v, %v", all, err)
	}
}

func TestArmsAreShown(t *testing.T) {
	t.Parallel()
	state := rollout.State{Rings: []rollout.RingState{{}}, Plan: careful()}
	state.Breaker.Compare(breaker.Silence, "server", breaker.Arm{Watched: 20, Showed: 3}, breaker.Arm{Watched: 400, Showed: 2}, state.Plan.Breaker)
	state.Breaker.Compare(breaker.Silence, "laptop", breaker.Arm{Watched: 5}, breaker.Arm{Watched: 100, Showed: 30}, state.Plan.Breaker)
	state.Breaker.Compare(breaker.Goodbye, "laptop", breaker.Arm{Watched: 5, Showed: 5}, breaker.Arm{Watched: 100, Showed: 1}, state.Plan.Breaker)
	got := engine.Show(store.Rollout{State: state}).Arms
	if len(got) != 2 || got[0].Evidence <= 0 || got[1].Evidence <= 1 {
		t.Fatalf("got %+v, want silence and goodbyes, with evidence", got)
	}
	want := []api.Arm{
		{Name: "silence", Exposed: 25, ExposedHarmed: 3, Controls: 500, ControlsHarmed: 32, Evidence: got[0].Evidence},
		{Name: "goodbyes", Exposed: 5, ExposedHarmed: 5, Controls: 100, ControlsHarmed: 1, Evidence: got[1].Evidence},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("arms (-want +got):\n%s", diff)
	}
	if arms := engine.Show(store.Rollout{State: rollout.State{Rings: []rollout.RingState{{}}, Plan: careful()}}).Arms; arms != nil {
		t.Errorf("without comparisons: got %+v, want none", arms)
	}
}

// manyRollouts is how many there are in a large installation.
const manyRollouts = 10_000

// past stores so many rollouts of fifty components that are long over, and gives the database.
func past(tb testing.TB, n int) *store.Store {
	tb.Helper()
	db, err := sqlite.Open(tb.Context(), tb.TempDir()+"/firebreak.db")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = db.Close() })
	var all sync.WaitGroup
	for part := range 16 {
		all.Go(func() {
			for i := part; i < n; i += 16 {
				s, _ := rollout.Step(rollout.State{}, rollout.Started{
					At: start(), ID: rollout.ID(fmt.Sprint("ro-", i)), Plan: careful(), Eligible: 100, Actor: "alice",
					Release: rollout.Release{Component: fmt.Sprint("component-", i%50), Version: fmt.Sprint(i), Serial: int64(i), Manifest: release.DigestOf(fmt.Append(nil, i))},
				})
				s.Phase, s.Ended = rollout.Complete, start()
				for k := range 20 {
					s.Strata = append(s.Strata, rollout.Stratum{Name: fmt.Sprint("class server, os linux, site ", k), Leased: 9, Confirmed: 9})
				}
				e := store.Event{Rollout: s.ID, Revision: 1, At: start(), Name: "started", Data: []byte("{}"), Effects: []byte("[]")}
				if err := db.Commit(tb.Context(), store.Commit{State: s, Events: []store.Event{e}}); err != nil {
					tb.Error(err)
				}
			}
		})
	}
	all.Wait()
	return db
}
