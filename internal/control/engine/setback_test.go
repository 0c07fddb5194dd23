package engine_test

import (
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// A rollout that was started while the clock was ahead goes on when the clock is right again: hosts, which count rings from its start, are
// told of no start that is yet to come, and of none that is sooner than the rings allow.
func TestRolloutOfAWrongTimeGoesOnWhenTheClockIsPutBack(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	created := w.clock.Now()
	w.publish("v1", nil)
	w.clock.Move(time.Minute + time.Hour)
	r, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v1"}, "alice")
	w.ok(err)
	w.clock.Move(-time.Hour)
	w.lease(r.ID, 1, 2)
	w.report(r.ID, 1, "confirmed")
	w.report(r.ID, 2, "confirmed")
	w.pass(15 * time.Second)
	w.lease(r.ID, 3)
	if len(w.pen.leases) != 3 || w.pen.leases[2].Ring != 1 {
		t.Fatalf("got %+v, want three leases, the last one of ring 1", w.pen.leases)
	}
	for _, l := range w.pen.leases {
		if opens := l.Started.Add(careful().NotBefore(l.Ring)); l.Issued.Before(opens) || l.Started.Before(created) {
			t.Errorf("ring %d: got a lease issued at %v of a rollout started at %v; by the plan it opens at %v, and was created at %v", l.Ring, l.Issued,
				l.Started, opens, created)
		}
	}
	w.replays(r.ID)
}

// A new leader gives a lease no more than the time that leases have, wherever the clock was when it was granted.
func TestLeaseOfAWrongTimeTurnsSilentInItsTime(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	w.clock.Move(time.Hour)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.clock.Move(-time.Hour)
	w.report(id, 1, "confirmed")
	w.restart()
	w.pass(grace + deadline - 5*time.Second)
	w.has(id, 2, rollout.Pending)
	w.pass(10 * time.Second)
	w.has(id, 2, rollout.Silent)
}

// A clock that is put ahead uses up no lease's time, not even for the leader that comes then.
func TestLeaseKeepsItsTimeWhenTheClockIsPutAhead(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.clock.Move(time.Hour)
	w.report(id, 1, "confirmed")
	w.restart()
	w.pass(grace + deadline - 5*time.Second)
	w.has(id, 2, rollout.Pending)
	w.pass(10 * time.Second)
	w.has(id, 2, rollout.Silent)
}

func (w *world) has(id string, n int, want rollout.Outcome) {
	w.t.Helper()
	lease, err := w.db.Lease(w.t.Context(), rollout.ID(id), host(n))
	w.ok(err)
	if lease.Outcome != want {
		w.t.Errorf("host %d: got a lease that is %s, want %s", n, lease.Outcome, want)
	}
}
