package engine_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// rush is a world whose only ring has room for everybody, with n hosts that wait for the same rollout while a commit of it is held.
func rush(t *testing.T, n int) (w *world, id string, ask func() []error) {
	t.Helper()
	w = open(t, n)
	id = w.start("v1", func(m *release.Manifest) {
		m.Plan.Rings = m.Plan.Rings[2:]
		m.Plan.Window.Start, m.Plan.Window.Max = int64(n), int64(n)
	})
	wish := api.Wish{Component: component, Rollout: id, Manifest: w.manifest(id)}
	ask = func() []error {
		errs := make([]error, n+1)
		var all sync.WaitGroup
		for i := 1; i <= n; i++ {
			all.Go(func() { _, _, errs[i] = w.engine.Ask(context.Background(), host(i), wish) })
		}
		all.Wait()
		return errs[1:]
	}
	return w, id, ask
}

// sameLeases compares what the engine goes by with what is stored: a new engine on the same database decides alike.
func (w *world) sameLeases(id string) {
	w.t.Helper()
	before := w.view(id)
	w.restart()
	after := w.view(id)
	if before.Exposed != after.Exposed || before.Unconfirmed != after.Unconfirmed {
		w.t.Errorf("got %d exposed and %d unconfirmed before a restart, %d and %d after", before.Exposed, before.Unconfirmed, after.Exposed, after.Unconfirmed)
	}
	w.replays(id)
}

// Those who wait for a rollout while it commits are decided on together.
func TestARushCostsFewCommits(t *testing.T) {
	t.Parallel()
	const hosts = 32
	w, id, ask := rush(t, hosts)
	var mu sync.Mutex
	commits, leases := 0, 0
	w.store.hold = func(c store.Commit) error {
		mu.Lock()
		first := commits == 0
		commits, leases = commits+1, leases+len(c.Leases)
		mu.Unlock()
		for first && w.engine.Asking(rollout.ID(id)) < hosts-1 {
			runtime.Gosched()
		}
		return nil
	}
	for _, err := range ask() {
		w.ok(err)
	}
	if commits > 2 || leases != hosts {
		t.Errorf("got %d leases in %d commits, want %d in 2", leases, commits, hosts)
	}
	w.sameLeases(id)
}

// I2, I10: a batch that is not stored leaves no trace in memory, and one that is stored although the store said no is carried out.
func TestInvariantI10BatchThatFails(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored=%t", late), func(t *testing.T) {
			t.Parallel()
			const hosts = 8
			w, id, ask := rush(t, hosts)
			first := w.store.writes.Load() + 1
			w.store.fail = func(n int64) (broken, after bool) { return n < first+2, late }
			failed := 0
			for _, err := range ask() {
				if err != nil {
					failed++
				}
			}
			if late && failed > 0 || !late && failed == 0 {
				t.Errorf("got %d of %d hosts refused", failed, hosts)
			}
			t.Log("failed", failed, "late", late)
			if got := int(w.view(id).Exposed); got != hosts-failed {
				t.Errorf("got %d hosts exposed, want the %d that were answered", got, hosts-failed)
			}
			w.sameLeases(id)
			for _, err := range ask() {
				w.ok(err)
			}
			if got := w.view(id).Exposed; got != hosts {
				t.Errorf("got %d hosts exposed in the end, want %d", got, hosts)
			}
			w.sameLeases(id)
		})
	}
}

// One report that cannot be taken in holds up its own host only.
func TestOneBadReportHoldsUpItsOwnHost(t *testing.T) {
	t.Parallel()
	const hosts = 6
	w, id, ask := rush(t, hosts)
	for _, err := range ask() {
		w.ok(err)
	}
	for n := 1; n <= hosts; n++ {
		w.acknowledge(id, n, "confirmed", "")
	}
	w.store.hold = func(c store.Commit) error {
		for _, key := range c.Reports {
			if key.Endpoint == host(3) {
				return fault.New(fault.Internal, "this one not")
			}
		}
		return nil
	}
	for n := 1; n <= hosts; n++ {
		if err := w.engine.Take(t.Context(), host(n)); (err != nil) != (n == 3) {
			t.Errorf("host %d: got error %v", n, err)
		}
	}
	if got := w.view(id).Confirmed; got != hosts-1 {
		t.Errorf("got %d confirmed, want %d", got, hosts-1)
	}
	w.store.hold = nil
	w.ok(w.engine.Take(t.Context(), host(3)))
	if got := w.view(id).Confirmed; got != hosts {
		t.Errorf("got %d confirmed, want %d", got, hosts)
	}
	w.sameLeases(id)
}

// I3: once a report that trips is acknowledged, which is when Take returns, no lease is committed, however many hosts ask meanwhile.
func TestInvariantI3NoLeaseAfterTheAcknowledgedTrip(t *testing.T) {
	t.Parallel()
	const hosts = 64
	w, id, _ := rush(t, hosts)
	for n := 1; n <= 4; n++ {
		w.lease(id, n)
	}
	var mu sync.Mutex
	tripped, after := false, 0
	w.store.hold = func(c store.Commit) error {
		mu.Lock()
		defer mu.Unlock()
		if tripped {
			after += len(granted(c))
		}
		return nil
	}
	var all sync.WaitGroup
	wish := api.Wish{Component: component, Rollout: id, Manifest: w.manifest(id)}
	for n := 5; n <= hosts; n++ {
		all.Go(func() {
			for w.phase(id) == "running" {
				if _, _, err := w.engine.Ask(context.Background(), host(n), wish); err != nil {
					t.Errorf("got error %v, want none", err)
				}
			}
		})
	}
	for n := 1; n <= 4; n++ {
		w.acknowledge(id, n, "crashed", "")
		w.ok(w.engine.Take(t.Context(), host(n)))
	}
	mu.Lock()
	tripped = w.phase(id) == "tripped"
	mu.Unlock()
	if !tripped {
		t.Errorf("got %s, want it tripped by four crashes", w.phase(id))
	}
	all.Wait()
	for n := 5; n <= hosts; n++ {
		if refusal := w.ask(id, n); refusal == "" {
			t.Errorf("host %d got a lease after the trip", n)
		}
	}
	if after > 0 {
		t.Errorf("got %d leases committed after the trip was acknowledged, want none", after)
	}
	w.replays(id)
}

// granted lists the hosts that get a lease with the commit.
func granted(c store.Commit) []fleet.EndpointID {
	var ids []fleet.EndpointID
	for _, l := range c.Leases {
		if l.Outcome == rollout.Pending {
			ids = append(ids, l.Endpoint)
		}
	}
	return ids
}

// I2: after a batch of which it is not known whether it is stored, nothing more is decided before that is known.
func TestInvariantI2DoubtBetweenBatches(t *testing.T) {
	t.Parallel()
	const hosts = 300
	w, id, ask := rush(t, hosts)
	var commits atomic.Int64
	w.store.hold = func(store.Commit) error {
		switch commits.Add(1) {
		case 1:
			for w.engine.Asking(rollout.ID(id)) < hosts-1 {
				runtime.Gosched()
			}
		case 2:
			w.store.blind.Store(true) // nor can it be read
			return errDisk
		default:
			w.store.blind.Store(false)
		}
		return nil
	}
	ask()
	w.store.blind.Store(false)
	w.store.hold = nil
	for _, err := range ask() {
		w.ok(err)
	}
	leases, err := w.db.Leases(t.Context(), rollout.ID(id))
	w.ok(err)
	state := w.row(id).State
	if got := state.Exposed(); len(leases) != hosts || got != hosts {
		t.Errorf("got %d leases and %d hosts counted as exposed, want %d", len(leases), got, hosts)
	}
	w.sameLeases(id)
}

// Whoever was told that its wish cannot be answered now gets no lease later, when perhaps it is not there any more.
func TestUnansweredWishesAreForgotten(t *testing.T) {
	t.Parallel()
	w, id, ask := rush(t, 20)
	w.store.fail = func(int64) (broken, late bool) { return true, false }
	w.store.blind.Store(true)
	for _, err := range ask() {
		if err == nil {
			t.Error("got a wish answered without a database")
		}
	}
	if got := w.engine.Asking(rollout.ID(id)); got > 0 {
		t.Errorf("got %d wishes that still wait", got)
	}
	w.store.fail = nil
	w.store.blind.Store(false)
	if refusal := w.ask(id, 1); refusal != "" {
		t.Errorf("got %q, want a lease", refusal)
	}
	if got := w.view(id).Exposed; got != 1 {
		t.Errorf("got %d hosts exposed, want the one that asked again", got)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	wish := api.Wish{Component: component, Rollout: id, Manifest: w.manifest(id)}
	if envelope, _, err := w.engine.Ask(gone, host(2), wish); err == nil || envelope != nil {
		t.Errorf("got %s, %v, want no lease for a host that does not wait any more", envelope, err)
	}
}

// Many hosts that fall silent together are booked together: a halt waits for one commit, not for hundreds.
func TestManySilentHostsAreBookedTogether(t *testing.T) {
	t.Parallel()
	const hosts = 600
	w, id, ask := rush(t, hosts)
	for _, err := range ask() {
		w.ok(err)
	}
	w.pass(time.Second)
	for n := 1; n <= hosts; n++ {
		w.mute[n] = true
	}
	w.crowd(50) // others are heard
	largest, commits := 0, 0
	w.store.hold = func(c store.Commit) error {
		if c.Events[0].Name == "outcome_known" {
			largest, commits = max(largest, len(c.Events)), commits+1
		}
		return nil
	}
	w.pass(3 * deadline)
	if v := w.view(id); v.Unconfirmed != 0 || commits > 3 || largest > 256 {
		t.Errorf("got %d unconfirmed after %d commits of at most %d hosts, want none after 3 of at most 256", v.Unconfirmed, commits, largest)
	}
	w.replays(id)
}

// A commit that the store said it could not make, and makes a moment later, is carried out: people are told of a trip.
func TestTripThatIsStoredLate(t *testing.T) {
	t.Parallel()
	w, id, ask := rush(t, 8)
	for _, err := range ask() {
		w.ok(err)
	}
	var once sync.Once
	w.store.hold = func(c store.Commit) (err error) {
		if c.Recall != nil {
			once.Do(func() {
				err = errDisk
				w.store.late.Go(func() {
					if err := w.db.Commit(context.Background(), c); err != nil {
						t.Errorf("got error %v, want it stored", err)
					}
				})
			})
		}
		return err
	}
	for n := 1; n <= 8; n++ {
		w.acknowledge(id, n, "crashed", "")
		w.ok(w.engine.Take(t.Context(), host(n)))
	}
	if w.phase(id) != "tripped" || len(w.bell.rung) == 0 {
		t.Errorf("got %s and %v told to people, want it tripped and said", w.phase(id), w.bell.rung)
	}
	if d := w.directive(); len(d.Recalls) != 1 {
		t.Errorf("got %d recalls in the directive, want 1", len(d.Recalls))
	}
	w.replays(id)
}

// I3: no lease is stored after a recall of the same release by another rollout, which may trip while leases are on their way.
func TestInvariantI3RecallByAnotherRollout(t *testing.T) {
	t.Parallel()
	w, first, ask := rush(t, 8)
	for _, err := range ask()[:4] {
		w.ok(err)
	}
	_, err := w.engine.Act(t.Context(), first, rollout.OperatorActed{Action: rollout.Halt, Actor: "alice"})
	w.ok(err)
	again, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v1"}, "alice")
	w.ok(err)
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	var all sync.WaitGroup
	var once sync.Once
	w.store.hold = func(c store.Commit) error {
		switch {
		case c.Recall != nil:
			note("recall")
		case len(granted(c)) > 0 && c.State.ID == rollout.ID(again.ID):
			once.Do(func() {
				all.Go(func() {
					for n := 1; n <= 8; n++ {
						w.acknowledge(first, n, "crashed", "")
						if err := w.engine.Take(context.Background(), host(n)); err != nil {
							t.Errorf("got error %v, want it taken in", err)
						}
					}
				})
				for wall, begun := (clock.Wall{}), (clock.Wall{}.Now()); wall.Now().Sub(begun) < 200*time.Millisecond; { // time for the trip to overtake, were it allowed to
					runtime.Gosched()
				}
			})
			note("grant")
		}
		return nil
	}
	w.ask(again.ID, 1)
	all.Wait()
	for n := 2; n <= 8; n++ {
		if refusal := w.ask(again.ID, n); refusal == "" {
			t.Errorf("host %d got a lease of a release that was recalled", n)
		}
	}
	if len(order) < 2 || order[len(order)-1] != "recall" {
		t.Errorf("got the order %v, want no grant after the recall", order)
	}
}

// Rollouts that are long over cost no memory, and are roused when one of their hosts has something to say.
func TestOldRolloutsSleep(t *testing.T) {
	t.Parallel()
	w, first, ask := rush(t, 4)
	finish := func(id string) {
		for n := 1; n <= 4; n++ {
			w.acknowledge(id, n, "confirmed", "")
		}
		w.ok(w.engine.Drain(t.Context()))
		w.pass(2 * time.Minute)
		if got := w.phase(id); got != "complete" {
			t.Fatalf("got %s, want it complete", got)
		}
	}
	for _, err := range ask() {
		w.ok(err)
	}
	finish(first)
	second := w.start("v2", func(m *release.Manifest) {
		m.Plan.Rings = m.Plan.Rings[2:]
		m.Plan.Window.Start, m.Plan.Window.Max = 4, 4
	})
	w.lease(second, 1, 2, 3, 4)
	finish(second)
	w.clock.Move(30 * 24 * time.Hour)
	w.store.loads.Store(0)
	w.restart()
	if got := w.store.loads.Load(); got != 1 {
		t.Errorf("got the leases of %d rollouts loaded, want only those of the stable release's", got)
	}
	w.acknowledge(first, 2, "recovered", "")
	w.ok(w.engine.Take(t.Context(), host(2)))
	if got := w.store.loads.Load(); got != 2 || w.view(first).Returned != 1 {
		t.Errorf("got %d loads and %d hosts returned, want the old rollout roused and the host counted", got, w.view(first).Returned)
	}
	w.pass(2 * time.Second)
	if got := w.store.loads.Load(); got != 2 {
		t.Errorf("got %d loads, want none more while it is awake", got)
	}
	w.replays(first)
}
