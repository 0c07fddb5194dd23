package replica_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func (w *world) phase(id string) rollout.Phase {
	row, err := w.db.Rollout(w.t.Context(), rollout.ID(id))
	if err != nil {
		return rollout.Phase(err.Error())
	}
	return row.State.Phase
}

// A leader that was told to halt and could not store it is deposed. Whoever leads then, the halt is not lost.
func TestAHoldOutlivesTheReign(t *testing.T) {
	t.Parallel()
	for _, other := range []bool{true, false} {
		t.Run(map[bool]string{true: "another replica leads", false: "the same one leads again"}[other], func(t *testing.T) {
			t.Parallel()
			w := open(t)
			leader := w.join("a")
			ro := w.start(leader)
			leader.fails.Store(true)
			_, err := leader.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.Halt, Actor: "bob", Reason: "enough"})
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.NextOf(err), "unless this server stops before") {
				t.Errorf("got error %v, want that it is not stored yet", err)
			}
			leader.store.asleep.Store(true)
			if other {
				w.join("b")
			}
			w.until("it leads no more", func() bool { return !leads(leader) })
			if !other {
				leader.fails.Store(false)
				leader.store.asleep.Store(false)
				w.until("it leads again", func() bool { return leads(leader) })
				if envelope, refusal, err := w.ask(leader, ro.ID, 1); err != nil || envelope != nil || refusal == "" { // whether it is stored by now or not
					t.Errorf("got %q, refusal %q, error %v, want no lease", envelope, refusal, err)
				}
			}
			w.until("it is halted", func() bool { return w.phase(ro.ID) == rollout.Halted })
			w.until("nothing is wanted any more", func() bool { return len(leader.stops.Pending()) == 0 })
		})
	}
}

// What stops a rollout waits for no other command, and its answer comes though the leader's database hangs.
func TestHaltsDoNotWaitForCommands(t *testing.T) {
	t.Parallel()
	w := open(t)
	leader, follower := w.join("a"), w.join("b")
	ro := w.start(leader)
	leader.acts.shut()
	var acting sync.WaitGroup
	acting.Go(func() {
		_, _ = follower.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.Pause, Actor: "alice"})
	})
	w.until("the leader has the command", func() bool { return leader.acts.came.Load() > 0 })
	leader.write.shut()
	soon, enough := context.WithTimeout(t.Context(), 5*time.Second)
	defer enough()
	got, err := follower.Halt(soon, api.HaltRollouts{Reason: "enough"}, "bob")
	leader.write.open()
	leader.acts.open()
	acting.Wait()
	w.ok(err)
	if len(got.Rollouts) != 1 || got.Rollouts[0].State != api.HaltHolding {
		t.Errorf("got %+v, want it to hold", got)
	}
	w.until("it is halted", func() bool { return w.phase(ro.ID) == rollout.Halted })
}

// A leader of an earlier version knows no halt of many. It is told to halt one after the other.
func TestHaltOfEverythingByAnOlderLeader(t *testing.T) {
	t.Parallel()
	w := open(t)
	leader, follower := w.join("a"), w.join("b")
	ro := w.start(leader)
	follower.store.newer.Store(true)
	got, err := follower.Halt(t.Context(), api.HaltRollouts{Reason: "enough"}, "bob")
	w.ok(err)
	if len(got.Rollouts) != 1 || got.Rollouts[0].ID != ro.ID || got.Rollouts[0].State != api.HaltDone || got.Rollouts[0].Phase != "halted" {
		t.Errorf("got %+v, want %s halted", got, ro.ID)
	}
	got, err = follower.Halt(t.Context(), api.HaltRollouts{Rollouts: []string{ro.ID, "ro-nobody"}}, "bob")
	w.ok(err)
	if len(got.Rollouts) != 2 || got.Rollouts[0].State != api.HaltEnded || got.Rollouts[1].State != api.HaltFailed || !strings.Contains(got.Rollouts[1].Text, "there is no rollout") {
		t.Errorf("got %+v, want that one had ended, and that the other is none", got)
	}
	if got, err = follower.Halt(t.Context(), api.HaltRollouts{}, "bob"); err != nil || len(got.Rollouts) != 0 {
		t.Errorf("got %+v, %v, want that nothing was running", got, err)
	}
}

// An answer that is late says nothing of what was done: each rollout that may be halted is named, and nobody is told that it failed as a whole.
func TestAHaltWhoseAnswerIsLate(t *testing.T) {
	t.Parallel()
	w := open(t)
	leader, follower := w.join("a"), w.join("b")
	ro := w.start(leader)
	follower.store.stalls.Store(1000)
	soon, enough := context.WithTimeout(t.Context(), time.Second)
	defer enough()
	got, err := follower.Halt(soon, api.HaltRollouts{}, "bob")
	follower.store.stalls.Store(0)
	w.ok(err)
	if len(got.Rollouts) != 1 || got.Rollouts[0].ID != ro.ID || got.Rollouts[0].State != api.HaltFailed || !strings.Contains(got.Rollouts[0].Text, "not known whether it was halted") {
		t.Errorf("got %+v, want that nothing is known of %s", got, ro.ID)
	}
	w.until("it is halted", func() bool { return w.phase(ro.ID) == rollout.Halted })
}
