package engine_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// halted are the states of what was halted, by id.
func halted(h api.Halted) map[string]string {
	states := map[string]string{}
	for _, r := range h.Rollouts {
		states[r.ID] = r.State
	}
	return states
}

func (w *world) halt(ctx context.Context, ids ...string) api.Halted {
	w.t.Helper()
	h, err := w.engine.Halt(ctx, api.HaltRollouts{Reason: "enough", Rollouts: ids}, "alice")
	w.ok(err)
	return h
}

func TestHaltOfEverythingHaltsWhatExposesAndTellsWhoHasIt(t *testing.T) {
	t.Parallel()
	w := open(t, 8)
	w.both()
	done := w.start("v1", nil)
	w.finish(done)
	w.pass(time.Hour)
	running := w.start("v2", nil)
	w.lease(running, 1, 2)
	w.report(running, 1, "confirmed")
	var paused string
	w.of(library, func() { paused = w.start("v1", nil) })
	w.ok(w.act(paused, rollout.OperatorActed{Action: rollout.Pause, Actor: "bob"}))
	got := w.halt(t.Context())
	if diff := cmp.Diff(map[string]string{running: "halted", paused: "halted"}, halted(got)); diff != "" || got.InFlight != 1 {
		t.Errorf("got %+v, want both halted and one host in flight (-want +got):\n%s", got, diff)
	}
	one := got.Rollouts[1]
	want := api.HaltedRollout{
		ID: running, Component: component, Version: "v2", Was: "running", Phase: "halted", State: "halted", InFlight: 1, Exposed: 2,
		Text: "halted: no other host gets it; the 2 hosts that have it keep it until it is rolled back, and 1 of them have yet to say how they are",
	}
	if diff := cmp.Diff(want, one); diff != "" {
		t.Errorf("the running one (-want +got):\n%s", diff)
	}
	if got := w.halt(t.Context()); len(got.Rollouts) != 0 {
		t.Errorf("again: got %+v, want that nothing was running", got)
	}
	again := w.halt(t.Context(), running, running, "ro-nobody")
	if diff := cmp.Diff(map[string]string{running: "ended", "ro-nobody": "failed"}, halted(again)); diff != "" || len(again.Rollouts) != 2 {
		t.Errorf("again, named (-want +got):\n%s", diff)
	}
	if text := again.Rollouts[0].Text; !strings.Contains(text, "nothing to stop since 2") || !strings.Contains(text, "it was halted (enough)") {
		t.Errorf("got %q, want when and why it was halted", text)
	}
	if got := w.halt(t.Context(), done); got.Rollouts[0].State != "halted" || got.Rollouts[0].Was != "complete" || w.phase(done) != "halted" {
		t.Errorf("got %+v, want a complete rollout that is named halted", got)
	}
	w.replays(running)
}

// The database hangs in the midst of a decision, whose lock is held: a halt of everything holds in memory and says so when its time is up,
// however often it is asked for; it is stored once the database is back.
func TestHaltOfEverythingWaitsForNoDecision(t *testing.T) {
	t.Parallel()
	w := open(t, 8)
	w.both()
	id := w.start("v1", nil)
	var other string
	w.of(library, func() { other = w.start("v1", nil) })
	hangs, back := make(chan struct{}), make(chan struct{})
	hung := sync.OnceFunc(func() { close(hangs) })
	w.store.hold = func(store.Commit) error {
		hung()
		<-back
		return nil
	}
	var asking sync.WaitGroup
	asking.Go(func() {
		_, _ = w.engine.Act(context.Background(), id, rollout.OperatorActed{Action: rollout.Pause, Actor: "bob"})
	})
	<-hangs
	for range 3 {
		over, enough := context.WithCancel(t.Context())
		enough() // there is no time at all
		got := w.halt(over)
		if diff := cmp.Diff(map[string]string{id: "holding", other: "holding"}, halted(got)); diff != "" {
			t.Errorf("while it hangs (-want +got):\n%s", diff)
		}
	}
	close(back)
	asking.Wait()
	for _, one := range w.halt(t.Context(), id, other).Rollouts {
		if one.Phase != "halted" {
			t.Errorf("after it: got %+v, want it halted", one)
		}
	}
	for _, id := range []string{id, other} {
		if row := w.row(id); row.State.Phase != rollout.Halted || row.State.Reason != "enough" {
			t.Errorf("stored: got %s (%s), want the halt", row.State.Phase, row.State.Reason)
		}
	}
	w.replays(id)
}

// A halt that the database refuses holds, and the rollout's next look stores it.
func TestHaltOfEverythingIsStoredByItself(t *testing.T) {
	t.Parallel()
	w := open(t, 4)
	id := w.start("v1", nil)
	w.lease(id, 1)
	w.store.fail = func(int64) (broken, late bool) { return true, false }
	if got := w.halt(t.Context()); got.Rollouts[0].State != "holding" || got.Rollouts[0].Phase != "running" {
		t.Errorf("got %+v, want it to hold", got)
	}
	w.store.fail = nil
	if refusal := w.ask(id, 2); refusal == "" {
		t.Error("host 2 got a lease of a rollout that is to be halted")
	}
	w.pass(2 * time.Second)
	if v := w.view(id); v.Phase != "halted" || v.Reason != "enough" {
		t.Errorf("got %s (%s), want it halted by itself", v.Phase, v.Reason)
	}
	w.replays(id)
}
