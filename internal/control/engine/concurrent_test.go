package engine_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// I2: however many hosts ask at once, unconfirmed activations never exceed the window, nor activations the open ring.
func TestInvariantI2Concurrent(t *testing.T) {
	t.Parallel()
	const hosts = 40
	w := open(t, hosts)
	id := w.start("v1", func(m *release.Manifest) { m.Plan.Window.Max = 6 })
	var unconfirmed, granted atomic.Int64
	everybody := func(do func(n int)) {
		var all sync.WaitGroup
		for n := 1; n <= hosts; n++ {
			all.Go(func() { do(n) })
		}
		all.Wait()
	}
	leased := make([]bool, hosts+1)
	for round := range 60 {
		before := w.row(id).State
		everybody(func(n int) {
			if leased[n] {
				return
			}
			envelope, _, err := w.engine.Ask(context.Background(), host(n), api.Wish{Rollout: id, Manifest: string(before.Release.Manifest)})
			if err != nil {
				t.Errorf("host %d: got error %v, want none", n, err)
			}
			if leased[n] = envelope != nil; leased[n] {
				unconfirmed.Add(1)
				granted.Add(1)
			}
		})
		if got := unconfirmed.Load(); got > before.Allowed() {
			t.Errorf("round %d: got %d hosts with a lease and no outcome, want at most the window of %d", round, got, before.Allowed())
		}
		if got := before.Rings[before.Ring].Leased + granted.Swap(0); got > before.Size() {
			t.Errorf("round %d: got %d hosts in ring %d, want at most %d", round, got, before.Ring, before.Size())
		}
		for n := range leased {
			if leased[n] && w.seq[host(n)] == 0 {
				w.acknowledge(id, n, "confirmed", "")
				unconfirmed.Add(-1)
			}
		}
		everybody(func(int) { w.drained(context.Background()) })
		w.pass(5 * time.Second)
		if w.phase(id) == "complete" {
			break
		}
	}
	if v := w.view(id); v.Phase != "complete" || v.Confirmed != hosts {
		t.Errorf("got %s with %d confirmed, want complete with %d", v.Phase, v.Confirmed, hosts)
	}
	w.replays(id)
}

func (w *world) drained(ctx context.Context) {
	if err := w.engine.Drain(ctx); err != nil {
		w.t.Errorf("got error %v, want none", err)
	}
}

// Everything at once, for the race detector: asks, reports, time, operators and readers.
func TestEverythingAtOnce(t *testing.T) {
	t.Parallel()
	w := open(t, 16)
	id := w.start("v1", nil)
	for n := 1; n <= 16; n++ {
		w.acknowledge(id, n, "goodbye", "")
	}
	w.clock.left = 40
	wish := api.Wish{Rollout: id, Manifest: w.manifest(id)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { _ = w.engine.Run(ctx) })
	for n := 1; n <= 16; n++ {
		all.Go(func() {
			for range 5 {
				_, _, err := w.engine.Ask(ctx, host(n), wish)
				if err != nil && fault.KindOf(err) != fault.Unavailable {
					t.Errorf("ask: got error %v", err)
				}
				w.engine.Pending(host(n), component)
				w.engine.Directive(component)
				w.drained(ctx)
			}
		})
	}
	all.Go(func() {
		for i := range 10 {
			action := []rollout.Action{rollout.Pause, rollout.Resume}[i%2]
			if _, err := w.engine.Act(ctx, id, rollout.OperatorActed{Action: action, Actor: "alice"}); err != nil {
				t.Errorf("%s: got error %v", action, err)
			}
			_, _ = w.engine.Rollouts(ctx, store.RolloutQuery{})
			_, err := w.engine.Start(ctx, api.StartRollout{Component: component, Version: "v1"}, fmt.Sprint("operator ", i))
			if fault.KindOf(err) != fault.Conflict {
				t.Errorf("second start: got error %v, want a conflict", err)
			}
		}
	})
	all.Wait()
	w.replays(id)
	if !w.directive().Issued.Before(w.clock.Now().Add(time.Second)) {
		t.Error("got a directive from the future")
	}
}

// Two operators start two releases of a component at once: one of them is told of the other.
func TestOnlyOneStartWins(t *testing.T) {
	t.Parallel()
	w := open(t, 3)
	const starts = 6
	for n := range starts {
		w.publish(fmt.Sprintf("v%d", n), nil)
	}
	var won atomic.Int64
	var all sync.WaitGroup
	for n := range starts {
		all.Go(func() {
			_, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: fmt.Sprintf("v%d", n)}, "alice")
			switch {
			case err == nil:
				won.Add(1)
			case fault.KindOf(err) != fault.Conflict:
				t.Errorf("got error %v, want a conflict", err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("got %d rollouts started, want 1", won.Load())
	}
}

// What an unchanged check-in asks the engine is answered while a decision waits for the disk.
func TestCheckInsWaitForNoCommit(t *testing.T) {
	t.Parallel()
	w := open(t, 3)
	id := w.start("v1", nil)
	w.lease(id, 1)
	entered, leave := make(chan struct{}), make(chan struct{})
	w.store.hold = func(store.Commit) error {
		close(entered)
		<-leave
		return nil
	}
	var all sync.WaitGroup
	all.Go(func() {
		if _, refusal, err := w.engine.Ask(t.Context(), host(2), api.Wish{Rollout: id, Manifest: w.view(id).ID}); refusal == "" || err != nil {
			t.Errorf("got %q, %v, want a refusal", refusal, err)
		}
		_, err := w.engine.Act(t.Context(), id, rollout.OperatorActed{Action: rollout.Pause, Actor: "alice"})
		if err != nil {
			t.Errorf("got error %v, want none", err)
		}
	})
	<-entered
	if !w.engine.Pending(host(1), component) || w.engine.Pending(host(2), component) {
		t.Error("got other hosts pending than host 1")
	}
	if _, sequence := w.engine.Directive(component); sequence != 1 {
		t.Errorf("got directive %d, want 1 while the next is not stored", sequence)
	}
	close(leave)
	all.Wait()
	if _, sequence := w.engine.Directive(component); sequence != 2 {
		t.Errorf("got directive %d, want 2", sequence)
	}
}
