package replica_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// Whatever replica one talks to, it is as if there were one.
func TestFollowersAreAsGoodAsTheLeader(t *testing.T) {
	t.Parallel()
	w := open(t)
	leader, follower := w.join("a"), w.join("b")
	if !leads(leader) || leads(follower) {
		t.Fatalf("got leaders %t and %t, want the first one", leads(leader), leads(follower))
	}
	ro := w.start(follower)
	w.until("the follower has the directive", func() bool {
		_, sequence := follower.Directive(component)
		return sequence > 0
	})
	if follower.news.Load() == 0 || leader.news.Load() > 0 {
		t.Errorf("got %d and %d nudges, want some for the follower", follower.news.Load(), leader.news.Load())
	}
	for n := 1; n <= 2; n++ {
		envelope, refusal, err := w.ask(follower, ro.ID, n)
		if err != nil || envelope == nil {
			t.Fatalf("host %d: got %q, %v, want a lease", n, refusal, err)
		}
	}
	if _, refusal, err := w.ask(follower, ro.ID, 3); err != nil || refusal == "" {
		t.Errorf("got %q, %v, want a refusal while the canary is full", refusal, err)
	}
	if !follower.Pending(host(1), component) || follower.Pending(host(3), component) {
		t.Error("got other hosts pending than those that got a lease")
	}
	for n := 1; n <= 2; n++ {
		if err := w.report(follower, ro.ID, n, 1, "confirmed"); err != nil {
			t.Errorf("host %d: got error %v, want its report taken in", n, err)
		}
	}
	shown, err := follower.Rollout(t.Context(), ro.ID)
	w.ok(err)
	if shown.Confirmed != 2 {
		t.Errorf("got %d confirmed, want 2 once the reports are acknowledged", shown.Confirmed)
	}
	_, err = follower.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.Halt, Actor: "bob", Reason: "enough"})
	w.ok(err)
	_, err = follower.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.Pause, Actor: "bob"})
	if fault.KindOf(err) != fault.Conflict {
		t.Errorf("got error %v, want the leader's conflict", err)
	}
	if all, err := leader.Rollouts(t.Context(), store.RolloutQuery{Component: component}); err != nil || len(all) != 1 || all[0].Phase != "halted" {
		t.Errorf("got %v, %v, want it halted", all, err)
	}
	w.ok(follower.SetFreezes(t.Context(), calendar.Calendar{}, "bob"))
	if got, err := follower.Submit(t.Context(), "targets", []byte("12345")); err != nil || got.Version != 5 {
		t.Errorf("got %+v, %v, want the leader's answer", got, err)
	}
	if _, err := follower.Submit(t.Context(), "bad", nil); fault.KindOf(err) != fault.Denied {
		t.Errorf("got error %v, want the leader's refusal", err)
	}
}

// I2: however many replicas ask at once, unconfirmed activations never exceed ring and window.
func TestInvariantI2ThroughManyReplicas(t *testing.T) {
	t.Parallel()
	w := open(t)
	members := []*member{w.join("a"), w.join("b"), w.join("c")}
	ro := w.start(members[1])
	var all sync.WaitGroup
	var mu sync.Mutex
	granted := map[int]bool{}
	for n := 1; n <= hosts; n++ {
		for _, m := range members {
			all.Go(func() {
				envelope, _, err := w.ask(m, ro.ID, n)
				if err != nil {
					t.Errorf("host %d: got error %v", n, err)
				}
				if envelope != nil {
					mu.Lock()
					defer mu.Unlock()
					granted[n] = true
				}
			})
		}
	}
	all.Wait()
	if len(granted) != 2 {
		t.Errorf("got leases for %d hosts, want 2: the canary has room for two", len(granted))
	}
}

// I3: a leader that cannot say that it lives is replaced, and what it decides afterwards is refused.
func TestInvariantI3DeposedLeaderDoesNoHarm(t *testing.T) {
	t.Parallel()
	w := open(t)
	old, next := w.join("a"), w.join("b")
	ro := w.start(old)
	old.store.asleep.Store(true) // its heartbeats are lost; its engine still reaches the database
	w.until("the other one leads", func() bool { return leads(next) })
	_, err := next.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.RollBack, Actor: "bob", Reason: "bad"})
	w.ok(err)
	for n := 1; n <= hosts; n++ {
		if envelope, _, _ := w.ask(old, ro.ID, n); envelope != nil {
			t.Errorf("host %d got a lease from a leader that was replaced", n)
		}
	}
	leases, err := w.db.Leases(t.Context(), rollout.ID(ro.ID))
	w.ok(err)
	if len(leases) > 0 {
		t.Errorf("got %d leases, want none", len(leases))
	}
	w.until("it knows that it does not lead", func() bool { return !leads(old) })
	old.store.asleep.Store(false)
	if _, refusal, err := w.ask(old, ro.ID, 1); err != nil || refusal == "" {
		t.Errorf("got %q, %v, want the new leader's refusal through the old one", refusal, err)
	}
}

// A leader that stops in good order is replaced at once, not when its time is up; and what was asked meanwhile is answered.
func TestLeadIsHandedOver(t *testing.T) {
	t.Parallel()
	w := open(t)
	first, second := w.join("a"), w.join("b")
	ro := w.start(first)
	first.stop()
	w.until("the second one leads", func() bool { return leads(second) })
	if envelope, refusal, err := w.ask(second, ro.ID, 1); err != nil || envelope == nil {
		t.Errorf("got %q, %v, want a lease", refusal, err)
	}
}

// I8: a report is not acknowledged before it is decided on, and not lost because nobody leads.
func TestInvariantI8NobodyLeads(t *testing.T) {
	t.Parallel()
	w := open(t)
	leader := w.join("a")
	follower := w.enter("b", &member{most: life}) // or the operator would wait for ten seconds
	ro := w.start(leader)
	if envelope, refusal, err := w.ask(leader, ro.ID, 1); err != nil || envelope == nil {
		t.Fatalf("got %q, %v, want a lease", refusal, err)
	}
	follower.store.asleep.Store(true) // it cannot take the lead
	leader.stop()
	if err := w.report(follower, ro.ID, 1, 1, "confirmed"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got error %v, want no acknowledgement while nobody leads", err)
	}
	if _, err := follower.Start(t.Context(), api.StartRollout{Component: component, Version: "v1"}, "alice"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got error %v, want it to say that nobody leads", err)
	}
	follower.store.asleep.Store(false)
	w.until("the follower leads and has taken the report in", func() bool {
		shown, err := follower.Rollout(t.Context(), ro.ID)
		return err == nil && shown.Confirmed == 1
	})
}

// Hosts that a replica heard which is gone are not silent.
func TestHostsOfAMissingReplicaAreNotSilent(t *testing.T) {
	t.Parallel()
	w := open(t)
	leader := w.join("a")
	other := w.join("b")
	now := clock.Wall{}.Now()
	other.fleet.Seen(host(1), now.Add(time.Minute))
	w.ok(w.db.AddHearings(t.Context(), "b", now, other.fleet.Hearings(10)))
	w.until("the leader knows whom the other one heard", func() bool {
		e, _ := leader.fleet.Get(host(1))
		return e.LastSeen.After(now.Add(-time.Second))
	})
}

// A leader that lost its database goes on telling hosts what it published: a recall that was known does not become unknown.
func TestDirectivesOutliveTheReign(t *testing.T) {
	t.Parallel()
	w := open(t)
	m := w.join("a")
	w.start(m)
	_, published := m.Directive(component)
	if published == 0 {
		t.Fatal("got no directive of a rollout that began")
	}
	m.store.asleep.Store(true)
	w.until("it does not lead any more", func() bool { return !leads(m) })
	if _, got := m.Directive(component); got != published {
		t.Errorf("got directive %d after its reign, want %d as before", got, published)
	}
	m.store.asleep.Store(false)
	w.until("it leads again, and goes on from there", func() bool {
		_, got := m.Directive(component)
		return leads(m) && got > published
	})
}

// So does a sole replica that stops in good order, while its last callers are answered.
func TestDirectivesOutliveAnOrderlyStop(t *testing.T) {
	t.Parallel()
	w := open(t)
	first := w.enter("a", &member{alone: true})
	ro := w.start(first)
	first.stop()
	m := w.enter("b", &member{alone: true})
	_, err := m.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.RollBack, Actor: "bob", Reason: "bad"})
	w.ok(err)
	envelope, published := m.Directive(component)
	m.stop()
	if got, sequence := m.Directive(component); sequence != published || string(got) != string(envelope) {
		t.Errorf("got directive %d after it stopped, want %d, which calls the release back", sequence, published)
	}
	if _, err := m.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.Pause, Actor: "bob"}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got error %v, want it to say that nobody leads", err)
	}
}

// A heartbeat that hangs ends the reign in time, whatever becomes of it: hosts of the old leader hear what the new one says.
func TestReignEndsWhileTheHeartbeatHangs(t *testing.T) {
	t.Parallel()
	w := open(t)
	old, next := w.join("a"), w.join("b")
	ro := w.start(old)
	old.store.heart.shut()
	defer old.store.heart.open()
	w.until("it knows that it does not lead", func() bool { return !leads(old) })
	w.until("the other one leads", func() bool { return leads(next) })
	_, err := next.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.RollBack, Actor: "bob", Reason: "bad"})
	w.ok(err)
	_, want := next.Directive(component)
	w.until("the old one has the new one's directive", func() bool {
		_, got := old.Directive(component)
		return got >= want
	})
}

// A leader that was replaced and does not know it answers no letter: the new one finds them all.
func TestDeposedLeaderAnswersNobody(t *testing.T) {
	t.Parallel()
	w := open(t)
	old, next, other := w.join("a"), w.join("b"), w.join("c")
	other.store.asleep.Store(true) // it does not lead
	ro := w.start(old)
	old.clock.shut() // it does not see its time pass, and is woken by letters
	defer old.clock.open()
	w.until("the other one leads", func() bool { return leads(next) })
	for n, action := range []rollout.Action{rollout.Pause, rollout.Resume, rollout.Pause, rollout.Resume, rollout.Pause, rollout.Resume} {
		if _, err := other.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: action, Actor: "bob", Reason: "to see"}); err != nil {
			t.Errorf("command %d: got error %v, want the new leader's answer", n, err)
		}
	}
	if !leads(old) {
		t.Error("got the old leader to know that it was replaced, which this test is not about")
	}
}

// Loading may take longer than a leader that is not heard from goes on leading.
func TestLoadingKeepsTheLead(t *testing.T) {
	t.Parallel()
	w := open(t)
	first := w.join("first")
	slow := []*member{w.enter("a", &member{slow: 3 * life}), w.enter("b", &member{slow: 3 * life})}
	first.stop()
	w.until("one of the others leads", func() bool { return leads(slow[0]) || leads(slow[1]) })
	if n := slow[0].opens.Load() + slow[1].opens.Load(); n != 1 {
		t.Errorf("got %d engines loaded, want 1", n)
	}
}

// A replica that cannot load what is stored lets another one try at once.
func TestLeaderThatCannotLoadResigns(t *testing.T) {
	t.Parallel()
	w := open(t)
	if err := w.try("a", &member{bad: true}); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got error %v, want what went wrong", err)
	}
	if !leads(w.join("b")) {
		t.Error("got no other leader at once")
	}
}

// Who has the database alone is deposed by nobody, however long nothing can be written.
func TestSoleReplicaLeadsOn(t *testing.T) {
	t.Parallel()
	w := open(t)
	const life = 200 * time.Millisecond // nothing but time could depose it
	m := w.enter("a", &member{alone: true, life: life})
	m.store.asleep.Store(true)
	begun := clock.Wall{}.Now()
	w.until("three lives have passed", func() bool { return clock.Wall{}.Now().Sub(begun) > 3*life })
	if !leads(m) || m.opens.Load() != 1 {
		t.Errorf("got leads %t after %d engines, want one that leads on", leads(m), m.opens.Load())
	}
}

// What is left of a first reign can write nothing in the second one of the same replica.
func TestEachReignHasItsTerm(t *testing.T) {
	t.Parallel()
	w := open(t)
	m := w.join("a")
	_, first, _ := m.Leads()
	m.store.asleep.Store(true)
	w.until("it does not lead any more", func() bool { return !leads(m) })
	m.store.asleep.Store(false)
	w.until("it leads again", func() bool { return leads(m) })
	if _, second, _ := m.Leads(); second <= first {
		t.Errorf("got term %d after %d, want a new one", second, first)
	}
	if err := w.db.Fenced(first).PutSetting(t.Context(), "k", "v"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("got error %v, want what is left of the first reign refused", err)
	}
}

// An operator who was told that a command failed does not see it carried out when somebody leads again.
func TestFailedCommandsAreNotCarriedOut(t *testing.T) {
	t.Parallel()
	fulltest.Only(t) // it waits until an operator gives up
	w := open(t)
	leader, other := w.join("a"), w.join("b")
	ro := w.start(leader)
	_, err := leader.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.Pause, Actor: "bob", Reason: "looks bad"})
	w.ok(err)
	other.store.asleep.Store(true) // it cannot take the lead
	leader.stop()
	_, err = other.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.Resume, Actor: "alice"})
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.NextOf(err), "look whether it was done") {
		t.Errorf("got error %v, want it to say that nobody answered, and to look", err)
	}
	other.store.asleep.Store(false)
	w.until("the other one leads", func() bool { return leads(other) })
	_, err = w.join("c").Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.Pause, Actor: "bob", Reason: "looks bad"})
	if fault.KindOf(err) != fault.Conflict { // it comes after the other letter
		t.Errorf("got error %v, want it paused still", err)
	}
}

// A leader that dies while it carries a command out does not leave it to the next one, who would do it a second time.
func TestCommandsAreCarriedOutOnce(t *testing.T) {
	t.Parallel()
	w := open(t)
	old, next, other := w.join("a"), w.join("b"), w.join("c")
	other.store.asleep.Store(true)
	ro := w.start(old)
	act := func(ctx context.Context) error {
		_, err := other.Act(ctx, ro.ID, rollout.OperatorActed{Action: rollout.Pause, Actor: "bob", Reason: "to see"})
		return err
	}
	old.acts.shut()
	defer old.acts.open()
	ctx, cancel := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	asking.Go(func() {
		if act(ctx) == nil {
			t.Error("got an answer of a leader that is about to carry it out")
		}
	})
	w.until("the leader has the command", func() bool { return old.acts.came.Load() == 1 })
	old.store.asleep.Store(true)
	w.until("the other one leads", func() bool { return leads(next) })
	w.ok(act(t.Context()))
	if n := next.acts.came.Load(); n != 1 {
		t.Errorf("got %d commands carried out by the new leader, want 1: the first was the old one's", n)
	}
	cancel()
	asking.Wait()
}

// A halt waits for no lease.
func TestCommandsDoNotWaitForLeases(t *testing.T) {
	t.Parallel()
	w := open(t)
	leader, follower := w.join("a"), w.join("b")
	ro := w.start(leader)
	leader.asks.shut()
	defer leader.asks.open()
	var asking sync.WaitGroup
	asking.Go(func() { _, _, _ = w.ask(follower, ro.ID, 1) })
	w.until("the leader decides on a lease", func() bool { return leader.asks.came.Load() > 0 })
	_, err := follower.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.Halt, Actor: "bob", Reason: "enough"})
	w.ok(err)
	asking.Wait()
}

// A line on which nothing comes back keeps a replica from going on no longer than those wait who asked.
func TestStalledLine(t *testing.T) {
	t.Parallel()
	w := open(t)
	leader, follower := w.join("a"), w.join("b")
	ro := w.start(leader)
	follower.store.stalls.Store(1)
	_, err := follower.Act(t.Context(), ro.ID, rollout.OperatorActed{Action: rollout.Pause, Actor: "bob", Reason: "to see"})
	w.ok(err)
	follower.store.stalls.Store(1)
	w.ok(w.report(follower, ro.ID, 1, 1, "confirmed"))
	leader.store.stalls.Store(1)
	var stopping sync.WaitGroup
	var stopped atomic.Bool
	stopping.Go(func() {
		leader.stop()
		stopped.Store(true)
	})
	w.until("the leader has stopped", stopped.Load)
	stopping.Wait()
}

// A replica that stops in good order is not missed.
func TestLastWord(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.join("a")
	other := w.join("b")
	other.fleet.Seen(host(1), clock.Wall{}.Now())
	other.stop()
	rows, err := w.db.HearingsAfter(t.Context(), 0, "a", 0)
	w.ok(err)
	if n := len(rows); n < 2 || string(rows[n-1].Data) != "\x00" || len(rows[n-2].Data) < 2 {
		t.Errorf("got %+v, want whom it heard last, and a goodbye", rows)
	}
}

// A halt of everything goes through any replica. If nobody leads, it says so in the time that it was given.
func TestHaltOfEverythingThroughAFollower(t *testing.T) {
	t.Parallel()
	w := open(t)
	leader, follower := w.join("a"), w.join("b")
	ro := w.start(leader)
	got, err := follower.Halt(t.Context(), api.HaltRollouts{Reason: "enough"}, "bob")
	w.ok(err)
	if len(got.Rollouts) != 1 || got.Rollouts[0].ID != ro.ID || got.Rollouts[0].State != api.HaltDone {
		t.Errorf("got %+v, want %s halted", got, ro.ID)
	}
	leader.stop()
	follower.store.asleep.Store(true) // it cannot take the lead, nor reach anybody
	w.until("nobody leads", func() bool { return !leads(leader) && !leads(follower) })
	soon, enough := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer enough()
	if _, err = follower.Halt(soon, api.HaltRollouts{}, "bob"); fault.KindOf(err) != fault.Unavailable || fault.NextOf(err) == "" {
		t.Errorf("got error %v, want that nobody leads, and what to do", err)
	}
}
