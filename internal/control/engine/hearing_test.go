package engine_test

import (
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// hearAll lets the hosts of these numbers be heard now.
func (w *world) hearAll(from, to int) {
	for n := from; n <= to; n++ {
		w.fleet.Seen(host(n), w.clock.Now())
	}
}

// listening is a world whose engine asks for hosts to be heard.
func listening(t *testing.T, n int) *world {
	w := open(t, n)
	w.hearing, w.mute = time.Minute, nil
	w.restart()
	return w
}

// Silence does not bake (I4): confirmed canaries that are never heard again open no ring.
func TestInvariantI4UnheardHostsProveNothing(t *testing.T) {
	t.Parallel()
	w := listening(t, 10)
	id := w.start("v1", func(m *release.Manifest) { m.Plan.Rings[0].Evidence.Bake = plan.Duration(5 * time.Minute) })
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	for range 20 {
		w.hearAll(3, 10)
		w.pass(30 * time.Second)
	}
	if got := w.view(id); got.Ring != 0 || got.Phase != "running" {
		t.Fatalf("with both canaries unheard: got ring %d, phase %s, want ring 0, running: %s", got.Ring, got.Phase, got.Waiting.Text)
	}
	if got := w.view(id); got.Alarm != "amber" {
		t.Errorf("with both canaries unheard, and the others heard: got alarm %s, want amber", got.Alarm)
	}
	for range 20 {
		w.hearAll(1, 10)
		w.pass(30 * time.Second)
	}
	if got := w.view(id); got.Ring != 0 || got.Alarm != "amber" {
		t.Errorf("with both heard again: got alarm %s, ring %d, want amber, 0: that they are back does not explain where they were", got.Alarm, got.Ring)
	}
	for n := 3; n <= 4; n++ { // at amber the ring has more places, one at a time
		w.lease(id, n)
		w.report(id, n, "confirmed")
		for range 30 {
			w.hearAll(1, 10)
			w.pass(30 * time.Second)
		}
	}
	if got := w.view(id); got.Ring != 0 || got.Evidence > 100 {
		t.Errorf("with two more that are well: got ring %d, evidence %g, want 0, far less than of two silent hosts of two", got.Ring, got.Evidence)
	}
	w.replays(id)
}

// When nobody at all is heard it is the line that is down: pending hosts are not called silent. When the others are heard, they are.
func TestOutageIsNotSilence(t *testing.T) {
	t.Parallel()
	w := listening(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.hearAll(1, 10)
	w.pass(10 * deadline)
	if got := w.view(id); got.Harmed != 0 || got.Phase != "running" {
		t.Fatalf("in an outage: got %d harmed, phase %s, want none, running", got.Harmed, got.Phase)
	}
	for range 20 {
		w.hearAll(3, 10)
		w.pass(30 * time.Second)
	}
	if got := w.view(id); got.Harmed != 2 || got.Alarm != "amber" {
		t.Errorf("with the others heard: got %d harmed, alarm %s, want 2, amber", got.Harmed, got.Alarm)
	}
}

// An outage that begins when all are confirmed says nothing either, in however small a fleet.
func TestOutageAfterConfirmationIsNotSilence(t *testing.T) {
	t.Parallel()
	w := listening(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	w.hearAll(1, 10)
	w.pass(10 * deadline)
	if got := w.view(id); got.Alarm != "quiet" {
		t.Errorf("in an outage: got alarm %s, want quiet: E %.3g", got.Alarm, got.Evidence)
	}
}

// At amber a vigil is kept in a small fleet too, but it can only clear the alarm: silence there tells too little.
func TestVigilAtAmberDoesNotTrip(t *testing.T) {
	t.Parallel()
	w := listening(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	live := func(from int, d time.Duration) {
		for ; d > 0; d -= 30 * time.Second {
			w.hearAll(from, 10)
			w.pass(30 * time.Second)
		}
	}
	live(3, 2*deadline)
	live(1, 5*time.Minute-2*deadline+10*time.Second) // the vigil begins
	before := w.view(id)
	live(3, 2*deadline)
	if got := w.view(id); before.Alarm != "amber" || got.Alarm != "amber" || got.Evidence != before.Evidence {
		t.Errorf("got alarm %s at E %.3g, then %s at E %.3g, want it amber and no worse", before.Alarm, before.Evidence, got.Alarm, got.Evidence)
	}
}

// After a start hosts that were not heard yet are waited for, so that a rollout does not complete on the few that came first.
func TestStartWaitsForTheFleet(t *testing.T) {
	t.Parallel()
	w := listening(t, 10)
	id := w.start("v1", nil)
	w.clock.Move(60 * 24 * time.Hour)
	w.restart()
	w.hearAll(1, 2)
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	for range 3 {
		w.hearAll(1, 2)
		w.pass(30 * time.Second)
	}
	if got := w.view(id); got.Phase != "running" || got.Ring != 1 {
		t.Errorf("got phase %s, ring %d, want running, ring 1: 8 hosts are still to come", got.Phase, got.Ring)
	}
}

// A host that is heard and still proves gets more time, but not for ever.
func TestProvingHostIsNotSilent(t *testing.T) {
	t.Parallel()
	w := listening(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1)
	w.fleet.Update(host(1), nil, map[string]api.Component{component: {Phase: "proving"}}, "")
	step := func(d time.Duration) {
		for ; d > 0; d -= 30 * time.Second {
			w.hearAll(1, 10)
			w.pass(30 * time.Second)
		}
	}
	step(3 * deadline)
	if got := w.view(id); got.Harmed != 0 {
		t.Fatalf("after three deadlines of proving: got %d harmed, want none", got.Harmed)
	}
	step(3 * deadline)
	if got := w.view(id); got.Harmed != 1 {
		t.Errorf("after six: got %d harmed, want 1", got.Harmed)
	}
}

// A tenant that is the whole fleet leaves no room for others, and a ring is full when the caps let nobody else in.
func TestCapsDoNotHangSmallFleets(t *testing.T) {
	t.Parallel()
	capped := func(caps plan.Caps) func(*release.Manifest) {
		return func(m *release.Manifest) { m.Plan.Caps = caps }
	}
	w := open(t, 12)
	w.finish(w.start("v1", capped(plan.Caps{Tenant: 0.02})))
	w.finish(w.start("v2", capped(plan.Caps{Site: 0.1})))
}

// Late harm in one rollout of a release ends every other rollout of it (I3).
func TestInvariantI3Twins(t *testing.T) {
	t.Parallel()
	w := open(t, 8)
	first := w.start("v1", nil)
	w.lease(first, 1, 2)
	w.report(first, 1, "confirmed")
	w.report(first, 2, "confirmed")
	_, err := w.engine.Act(t.Context(), first, rollout.OperatorActed{Action: rollout.Halt, Actor: "alice"})
	w.ok(err)
	again, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v1"}, "alice")
	w.ok(err)
	w.report(first, 1, "crashed")
	w.report(first, 2, "crashed")
	if got := w.phase(first); got != "tripped" {
		t.Fatalf("after late harm: got %s, want tripped", got)
	}
	if why := w.ask(again.ID, 5); why == "" {
		t.Error("the twin granted a lease after the trip")
	}
	w.pass(2 * time.Second)
	if got := w.phase(again.ID); got != "rolled_back" {
		t.Errorf("the twin: got %s, want rolled_back", got)
	}
}

// A host that said goodbye while it proved counts as unconfirmed again when it is back.
func TestReturnedHostCountsAgain(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.report(id, 1, "goodbye")
	w.ok(w.engine.Returned(t.Context(), host(1), component))
	w.ok(w.engine.Returned(t.Context(), host(2), component))
	if got := w.view(id); got.Unconfirmed != 2 || w.ask(id, 3) == "" {
		t.Errorf("got %d unconfirmed and a lease for a third host, want 2 and none", got.Unconfirmed)
	}
	w.pass(2 * deadline)
	lease, err := w.db.Lease(t.Context(), rollout.ID(id), host(1))
	w.ok(err)
	if lease.Outcome != rollout.Silent {
		t.Errorf("got outcome %s of the returned host after its deadline, want silent", lease.Outcome)
	}
}
