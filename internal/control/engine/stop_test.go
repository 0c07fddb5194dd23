package engine_test

import (
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// A halt holds from the moment it is wanted: while the database refuses it nobody gets a lease, and it is stored once the database is back.
func TestHaltHoldsBeforeItIsStored(t *testing.T) {
	t.Parallel()
	w := open(t, 4)
	id := w.start("v1", nil)
	w.lease(id, 1)
	w.store.fail = func(int64) (broken, late bool) { return true, false }
	act := func(a rollout.Action) error {
		_, err := w.engine.Act(t.Context(), id, rollout.OperatorActed{Action: a, Actor: "alice", Reason: "enough"})
		return err
	}
	if err := act(rollout.RollBack); fault.KindOf(err) != fault.Unavailable || fault.NextOf(err) == "" {
		t.Fatalf("got error %v, want it to say that the halt is not stored, and what that means", err)
	}
	if err := act(rollout.Halt); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got error %v, want the same of a halt after it", err)
	}
	w.store.fail = nil
	if refusal := w.ask(id, 2); refusal == "" {
		t.Error("host 2 got a lease of a rollout that is to be halted")
	}
	w.pass(2 * time.Second)
	if v := w.view(id); v.Phase != "rolled_back" || v.Reason != "enough" {
		t.Errorf("got %s (%s), want the roll-back: a halt does not take its place", v.Phase, v.Reason)
	}
	if err := act(rollout.Halt); fault.KindOf(err) != fault.Conflict {
		t.Errorf("got error %v, want a conflict", err)
	}
	w.replays(id)
}
