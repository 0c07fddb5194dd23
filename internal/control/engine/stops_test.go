package engine_test

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// until waits for what another goroutine brings about.
func (w *world) until(what string, so func() bool) {
	w.t.Helper()
	for range 10_000_000 {
		if so() {
			return
		}
		runtime.Gosched()
	}
	w.t.Fatalf("it does not happen: %s", what)
}

// hang lets the next commits hang until back is called, which may be called again. Hung is closed when the first of them does.
func (w *world) hang() (hung <-chan struct{}, back func()) {
	hangs, goes := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(hangs) })
	w.store.hold = func(store.Commit) error {
		first()
		<-goes
		return nil
	}
	return hangs, sync.OnceFunc(func() { close(goes) })
}

// over is a context that has ended: there is no time to wait for anything.
func over(t *testing.T) context.Context {
	t.Helper()
	ctx, enough := context.WithCancel(t.Context())
	enough()
	return ctx
}

// What the database is just keeping is not handed out once a halt was answered, and the host that never got its lease is not called silent.
func TestNoLeaseIsHandedOutAfterAHaltWasAnswered(t *testing.T) {
	t.Parallel()
	w := open(t, 8)
	id := w.start("v1", nil)
	w.lease(id, 1)
	hung, first := w.hang()
	defer first()
	var asking sync.WaitGroup
	asking.Go(func() {
		_ = w.act(id, rollout.OperatorActed{Action: rollout.HoldBack, Actor: "bob", Select: fleet.Selector{"site": {"nowhere"}}})
	})
	<-hung
	for n := 1; n <= 2; n++ { // host 1 asks again: it may have used the lease that it has
		asking.Go(func() {
			if envelope, refusal, err := w.tryAsk(id, n); err != nil || len(envelope) > 0 || !strings.Contains(refusal, "halt") {
				t.Errorf("host %d: got %q, refusal %q, error %v, want no lease after the halt was answered", n, envelope, refusal, err)
			}
		})
	}
	w.until("they ask", func() bool { return w.engine.Asking(rollout.ID(id)) == 2 })
	hung, back := w.hang() // both in one commit
	defer back()
	first()
	<-hung
	got := w.halt(over(t))
	if one := got.Rollouts[0]; one.State != api.HaltHolding || got.InFlight != 1 || !strings.Contains(one.Text, "are not counted, and do not get them") {
		t.Errorf("got %+v, want it to hold, with the lease in flight that host 1 has", got)
	}
	back()
	asking.Wait()
	w.halt(t.Context(), id)
	w.pass(10 * deadline)
	if v := w.view(id); v.Phase != "halted" || v.Rings[0].Rejected != 1 || v.Rings[0].Silent != 1 || v.Exposed != 1 || v.Unconfirmed != 0 {
		t.Errorf("got %+v, want host 1 silent, and that host 2 never had it", v)
	}
	w.replays(id)
}

// A halt of everything means what is just being started too.
func TestAHaltOfEverythingHaltsAStartUnderWay(t *testing.T) {
	t.Parallel()
	w := open(t, 8)
	w.publish("v1", nil)
	hung, back := w.hang()
	defer back()
	var begun api.Rollout
	var starting sync.WaitGroup
	starting.Go(func() {
		var err error
		if begun, err = w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v1"}, "alice"); err != nil {
			t.Errorf("start: got error %v", err)
		}
	})
	<-hung
	got := w.halt(over(t))
	if len(got.Rollouts) != 1 || got.Rollouts[0].State != api.HaltHolding || got.Rollouts[0].Version != "v1" {
		t.Errorf("got %+v, want what is being started to hold", got)
	}
	back()
	starting.Wait()
	if row := w.row(begun.ID); begun.Phase != "halted" || row.State.Phase != rollout.Halted || row.State.Reason != "enough" {
		t.Errorf("got %s, stored %s (%s), want it halted", begun.Phase, row.State.Phase, row.State.Reason)
	}
	if refusal := w.ask(begun.ID, 1); refusal == "" {
		t.Error("host 1 got a lease")
	}
	w.publish("v2", nil)
	w.store.hold = nil
	if again, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v2"}, "alice"); err != nil || again.Phase != "running" {
		t.Errorf("a start after it: got %s, %v, want it to run", again.Phase, err)
	}
}

// The database failed in the midst of a start that was stored all the same: it comes to light, and is halted.
func TestAHaltOfEverythingHaltsAStartThatSeemedToFail(t *testing.T) {
	t.Parallel()
	w := open(t, 8)
	w.publish("v1", nil)
	w.store.fail = func(int64) (broken, late bool) { return true, true }
	w.store.hold = func(store.Commit) error {
		w.store.blind.Store(true) // so that nobody finds out at once
		return nil
	}
	if _, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v1"}, "alice"); err == nil {
		t.Fatal("got no error of a start without a database")
	}
	w.halt(over(t))
	w.store.fail, w.store.hold = nil, nil
	w.store.blind.Store(false)
	w.pass(3 * time.Second)
	rows, err := w.db.Rollouts(t.Context(), component, 0)
	w.ok(err)
	if len(rows) != 1 || rows[0].State.Phase != rollout.Halted {
		t.Errorf("got %+v, want one rollout, halted", rows)
	}
}

// prepared lets a start hang before anything of it is stored.
type prepared struct {
	*store.Store
	hung func()
	back chan struct{}
}

func (p prepared) Recalls(ctx context.Context, name string) ([]store.Recall, error) {
	p.hung()
	<-p.back
	return p.Store.Recalls(ctx, name)
}

// A start that was only being prepared when everything was halted does not go ahead.
func TestAHaltOfEverythingRefusesAStartThatIsPrepared(t *testing.T) {
	t.Parallel()
	w := open(t, 8)
	w.publish("v1", nil)
	hangs := make(chan struct{})
	p := prepared{w.db, sync.OnceFunc(func() { close(hangs) }), make(chan struct{})}
	w.engine.Releases = p
	var starting sync.WaitGroup
	starting.Go(func() {
		_, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v1"}, "alice")
		refused(t, err, fault.Conflict, "alice halted everything")
	})
	<-hangs
	w.halt(t.Context())
	close(p.back)
	starting.Wait()
}

// What an operator wants stopped is not forgotten with the reign in which it could not be stored.
func TestAHoldOutlivesTheEngine(t *testing.T) {
	t.Parallel()
	w := open(t, 8)
	id := w.start("v1", nil)
	w.store.hold = func(store.Commit) error { return fault.New(fault.Conflict, "term 1 has passed: b leads with term 2") }
	if got := w.halt(t.Context()); got.Rollouts[0].State != api.HaltHolding {
		t.Errorf("got %+v, want it to hold", got)
	}
	w.store.hold = nil
	w.restart()
	if refusal := w.ask(id, 2); !strings.Contains(refusal, "wants to halt") {
		t.Errorf("got refusal %q, want that it is to be halted", refusal)
	}
	w.pass(2 * time.Second)
	if phase := w.phase(id); phase != "halted" {
		t.Errorf("got %s, want it halted by itself", phase)
	}
	if left := w.stops.Pending(); len(left) != 0 {
		t.Errorf("got %v still wanted, want nothing", left)
	}
	w.replays(id)
}

// A halt that is stored does not take a roll-back with it that was wanted meanwhile.
func TestStopsKeepWhatIsMore(t *testing.T) {
	t.Parallel()
	w := open(t, 4)
	id := w.start("v1", nil)
	hung, back := w.hang()
	defer back()
	var acting sync.WaitGroup
	for _, a := range []rollout.Action{rollout.Halt, rollout.RollBack} {
		acting.Go(func() {
			_ = w.act(id, rollout.OperatorActed{Action: a, Actor: "alice"})
		})
		w.until("it is wanted", func() bool { return w.stops.Pending()[rollout.ID(id)].Action == a })
		<-hung
	}
	commits := 0
	w.store.hold = func(store.Commit) error {
		if commits++; commits == 1 {
			return errDisk // of the roll-back's own try
		}
		return nil
	}
	back()
	acting.Wait()
	w.pass(2 * time.Second)
	if phase := w.phase(id); phase != "rolled_back" {
		t.Errorf("got %s, want it rolled back", phase)
	}
}
