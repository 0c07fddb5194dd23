package engine_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// holidays is a freeze over the day on which these tests take place.
func holidays() calendar.Calendar {
	return calendar.Calendar{Freezes: []calendar.Freeze{{Name: "summer party", From: "2024-07-19", To: "2024-07-19"}}}
}

// A freeze of the installation stops leases of running and of new rollouts, over a restart too, and nothing else. Lifted, it lets them go
// on.
func TestFreezesSurviveARestart(t *testing.T) {
	t.Parallel()
	w := open(t, 12)
	id := w.start("v1", nil)
	w.lease(id, 1)
	w.ok(w.engine.SetFreezes(t.Context(), holidays(), "alice"))
	frozen := func(when, id string) {
		t.Helper()
		if refusal := w.ask(id, 2); refusal == "" || w.view(id).Waiting.Code != "calendar" {
			t.Errorf("%s: got refusal %q, waiting %+v, want it frozen", when, refusal, w.view(id).Waiting)
		}
		if diff := cmp.Diff(holidays(), w.engine.Freezes()); diff != "" {
			t.Errorf("%s: freezes (-want +got):\n%s", when, diff)
		}
	}
	frozen("at once", id)
	w.restart()
	frozen("after a restart", id)
	w.report(id, 1, "confirmed")
	if v := w.view(id); v.Confirmed != 1 {
		t.Errorf("in a freeze: got %d confirmed, want 1", v.Confirmed)
	}
	before := w.row(id).Revision
	w.ok(w.engine.SetFreezes(t.Context(), holidays(), "alice"))
	if got := w.row(id).Revision; got != before {
		t.Errorf("the same freezes again made %d events, want none", got-before)
	}
	w.component = "other"
	other := w.start("v1", nil)
	w.component = component
	if state := w.row(other).State; cmp.Diff(holidays(), state.Freezes) != "" {
		t.Errorf("a new rollout: got freezes %+v, want the installation's", state.Freezes)
	}
	w.ok(w.engine.SetFreezes(t.Context(), calendar.Calendar{}, "bob"))
	w.lease(id, 2)
	w.restart()
	if got := w.engine.Freezes(); len(got.Freezes) != 0 {
		t.Errorf("after they were lifted: got %+v, want none", got)
	}
	w.replays(id)
}

// Freezes that a rollout could not be told count all the same, as soon as they are stored.
func TestFreezesThatCouldNotBeTold(t *testing.T) {
	t.Parallel()
	w := open(t, 5)
	id := w.start("v1", nil)
	w.store.hold = func(store.Commit) error { return fault.New(fault.Internal, "write: this one cannot be") }
	refused(t, w.engine.SetFreezes(t.Context(), holidays(), "alice"), fault.Internal)
	w.store.hold = nil
	if refusal := w.ask(id, 1); refusal == "" {
		t.Error("got a lease in a freeze that the rollout was not told of")
	}
	w.replays(id)
}

func TestBadFreezes(t *testing.T) {
	t.Parallel()
	w := open(t, 1)
	bad := calendar.Calendar{Freezes: []calendar.Freeze{
		{Name: "backwards", From: "2024-07-19", To: "2024-07-01"},
		{Name: "nowhere", From: "2024-07-19", To: "2024-07-20", Zone: "Atlantis/Poseidon"},
	}}
	refused(t, w.engine.SetFreezes(t.Context(), bad, "alice"), fault.Invalid, "freezes[0]", "freezes[1]")
	if got := w.engine.Freezes(); len(got.Freezes) != 0 {
		t.Errorf("got freezes %+v, want none", got)
	}
	w.restart()
}
