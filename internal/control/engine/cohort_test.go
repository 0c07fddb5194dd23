package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// watchOver is how long it takes at most until a cohort is compared.
const watchOver = deadline + 10*time.Second

// crowded is a world of two hosts that can report and many others, whose engine asks for hosts to be heard.
func crowded(t *testing.T, others int) *world {
	w := open(t, 3)
	w.hearing = time.Minute
	w.crowd(others)
	w.restart()
	return w
}

func (w *world) silence(from, to int) {
	for n := from; n <= to; n++ {
		w.mute[n] = true
	}
}

// Controls are hosts of the same class that have the component, were heard in the last minute, did not leave, are not held, and are not
// exposed in this rollout.
func TestControlsArePickedRight(t *testing.T) {
	t.Parallel()
	w := crowded(t, 197)
	w.describe(1, 200, func(n int, e *registry.Endpoint) { e.Subject.Attributes.Class = []string{"server", "laptop"}[n/101] })
	w.describe(91, 100, func(_ int, e *registry.Endpoint) { e.Components = nil })                           // without it: 10 servers
	w.describe(81, 90, func(_ int, e *registry.Endpoint) { e.Subject.Labels = fleet.Labels{"vip": "yes"} }) // to be held: 10
	w.silence(71, 80)                                                                                       // long unheard: 10
	w.silence(61, 70)
	id := w.start("v1", nil)
	_, err := w.engine.Act(t.Context(), id, rollout.OperatorActed{
		Action: rollout.HoldBack, Actor: "alice", Reason: "not the important ones", Select: fleet.Selector{"label.vip": {"yes"}},
	})
	w.ok(err)
	w.pass(2 * time.Minute)
	for n := 61; n <= 70; n++ { // leave: 10
		w.fleet.Leaves(host(n), w.clock.Now())
	}
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	w.pass(watchOver)
	want := []rollout.Compared{{
		Signal: breaker.Silence, Class: "server", Control: breaker.Arm{Watched: 58},
		Exposed: []rollout.StratumArm{{Stratum: "class server, os linux", Arm: breaker.Arm{Watched: 2}}},
	}}
	got := w.compared(id, breaker.Silence)
	for i := range got {
		got[i].At = time.Time{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("compared, with 60 servers of which 2 are exposed (-want +got):\n%s", diff)
	}
	w.replays(id)
}

// Hosts that took the release and are not heard, beside a thousand others that are: nobody reported anything, and the second one trips.
func TestSilenceBesideTalkingControlsTrips(t *testing.T) {
	t.Parallel()
	w := crowded(t, 1200)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.silence(1, 2)
	w.pass(watchOver)
	if v := w.view(id); v.Phase != "tripped" || v.Exposed != 2 {
		t.Errorf("got %s with %d exposed, want tripped with 2: %s", v.Phase, v.Exposed, v.Waiting.Text)
	}
	w.replays(id)
}

// Between the last host that is called silent and the comparison nobody else is exposed.
func TestNobodyIsExposedBeforeTheComparison(t *testing.T) {
	t.Parallel()
	w := crowded(t, 1200)
	id := w.start("v1", nil)
	w.lease(id, 1)
	w.pass(2 * time.Second)
	w.lease(id, 2)
	w.silence(1, 2)
	for range int(watchOver / time.Second) {
		w.pass(time.Second)
		if w.ask(id, 3) == "" {
			t.Fatalf("host 3 got a lease with %d silent: %s", w.view(id).Rings[0].Silent, w.view(id).Phase)
		}
	}
}

// An outage of everybody says nothing of the release, whether it is over before the deadline or not; nor does one that hits both sides
// alike.
func TestSilenceOfEverybodyTripsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		mute  func(n int) bool
		lasts time.Duration
		harms bool // the hosts are called silent, as they must be when others are heard
	}{
		{"everybody, for five minutes", func(int) bool { return true }, 5 * time.Minute, false},
		{"everybody, for a minute", func(int) bool { return true }, time.Minute, false},
		{"every second host and the exposed ones", func(n int) bool { return n < 3 || n%2 == 0 }, 5 * time.Minute, true},
	} {
		w := crowded(t, 1200)
		id := w.start("v1", nil)
		w.lease(id, 1, 2)
		w.pass(10 * time.Second)
		for n := 1; n <= w.fleet.Len(); n++ {
			w.mute[n] = c.mute(n)
		}
		w.pass(c.lasts)
		if v := w.view(id); v.Phase != "running" || v.Alarm != "quiet" || (v.Harmed > 0) != c.harms {
			t.Errorf("%s: got %s, %s with %d harmed, want it running and quiet: E %.3g", c.name, v.Phase, v.Alarm, v.Harmed, v.Evidence)
		}
		clear(w.mute)
		w.pass(5 * time.Minute)
		if v := w.view(id); v.Phase != "running" || v.Alarm != "quiet" {
			t.Errorf("%s, when it is over: got %s, %s, want it running and quiet: E %.3g", c.name, v.Phase, v.Alarm, v.Evidence)
		}
		w.replays(id)
	}
}

// A restart makes nobody silent, and hides nobody's silence: pending hosts are followed on, beside hosts that were heard when they were.
func TestRestartInTheMiddleOfAWatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		mute  func(n int) bool // after the restart
		phase string
		alarm string
	}{
		{"the others are heard", func(n int) bool { return n < 3 }, "tripped", "trip"},
		{"all are heard", func(int) bool { return false }, "running", "quiet"},
		{"half of all went home meanwhile", func(n int) bool { return n < 3 || n%2 == 0 }, "running", "quiet"},
	} {
		w := crowded(t, 1200)
		id := w.start("v1", nil)
		w.lease(id, 1, 2)
		w.silence(1, 2)
		w.pass(30 * time.Second)
		w.clock.Move(2 * time.Hour)
		for n := 1; n <= w.fleet.Len(); n++ {
			w.mute[n] = c.mute(n)
		}
		w.restart()
		w.pass(30 * time.Second) // not over yet
		if v := w.view(id); v.Phase != "running" || v.Harmed != 0 {
			t.Errorf("%s, half a minute after the restart: got %s with %d harmed, want it running with none", c.name, v.Phase, v.Harmed)
		}
		w.pass(watchOver + grace)
		if v := w.view(id); v.Phase != c.phase || v.Alarm != c.alarm {
			t.Errorf("%s: got %s, %s, want %s, %s: E %.3g", c.name, v.Phase, v.Alarm, c.phase, c.alarm, v.Evidence)
		}
		w.replays(id)
	}
}

// While the server does not listen, the watch stands still.
func TestPausedServerComparesNobody(t *testing.T) {
	t.Parallel()
	w := crowded(t, 1200)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.pass(30 * time.Second)
	w.clock.pause = 24 * time.Hour
	w.pass(30 * time.Second)
	if got := len(w.compared(id, breaker.Silence)) + len(w.compared(id, breaker.Slow)); got != 0 {
		t.Errorf("after a day's pause in the middle: got %d comparisons, want none yet", got)
	}
}

// Hosts that leave in good order are no evidence of silence, and counted as goodbyes, on both sides alike.
func TestGoodbyesAreCompared(t *testing.T) {
	t.Parallel()
	w := crowded(t, 297)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.pass(20 * time.Second)
	w.report(id, 1, "goodbye")
	for _, n := range []int{1, 10, 11, 12} {
		w.mute[n] = true
		w.fleet.Leaves(host(n), w.clock.Now())
	}
	w.silence(20, 24)
	w.report(id, 2, "confirmed")
	w.pass(watchOver)
	arms := func(signal breaker.Signal) (exposed, control breaker.Arm) {
		for _, c := range w.compared(id, signal) {
			return c.Exposed[0].Arm, c.Control
		}
		t.Fatalf("%s was not compared", signal)
		return breaker.Arm{}, breaker.Arm{}
	}
	for signal, want := range map[breaker.Signal][2]breaker.Arm{
		breaker.Goodbye: {{Watched: 2, Showed: 1}, {Watched: 298, Showed: 3}},
		breaker.Silence: {{Watched: 1}, {Watched: 295, Showed: 5}},
	} {
		exposed, control := arms(signal)
		if diff := cmp.Diff(want, [2]breaker.Arm{exposed, control}); diff != "" {
			t.Errorf("%s: exposed and controls (-want +got):\n%s", signal, diff)
		}
	}
	if got := w.compared(id, breaker.Slow); len(got) != 0 {
		t.Errorf("got slowness compared: %+v, want nothing, because nobody was slow", got)
	}
}

// A host that was heard proving and then no more is silent: what it said before it died is no sign of life at the deadline.
func TestHostThatDiesWhileProvingIsSilent(t *testing.T) {
	t.Parallel()
	w := crowded(t, 1200)
	w.hearing = 30 * time.Second
	w.restart()
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.pass(30 * time.Second)
	w.silence(1, 2)
	w.pass(watchOver)
	if v := w.view(id); v.Phase != "tripped" {
		t.Errorf("got %s, want tripped: %+v", v.Phase, w.compared(id, breaker.Silence))
	}
}

// A control that gets a lease itself stays a control: whatever it shows counts on that side too, so that it can raise no alarm.
func TestControlThatGetsALease(t *testing.T) {
	t.Parallel()
	w := crowded(t, 197)
	id := w.start("v1", nil)
	w.lease(id, 1)
	w.report(id, 1, "confirmed")
	w.pass(20 * time.Second)
	w.lease(id, 2)
	w.silence(2, 2)
	w.pass(watchOver - 20*time.Second)
	got := w.compared(id, breaker.Silence)
	if len(got) == 0 || got[0].Control != (breaker.Arm{Watched: 199, Showed: 1}) {
		t.Errorf("got %+v, want 199 controls of which one is silent", got)
	}
}

// In a fleet of many sites one host stands for each of them, on both sides.
func TestSitesAreThinned(t *testing.T) {
	t.Parallel()
	w := crowded(t, 297)
	w.describe(1, 300, func(n int, e *registry.Endpoint) { e.Subject.Attributes.Site = fmt.Sprint("site-", n%25) })
	w.describe(1, 3, func(_ int, e *registry.Endpoint) { e.Subject.Attributes.Site = "site-1" })
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	w.pass(watchOver)
	got := w.compared(id, breaker.Silence)
	if len(got) != 1 || got[0].Exposed[0].Watched != 1 || got[0].Control.Watched != 25 {
		t.Errorf("got %+v, want one of two exposed hosts of a site, and one control of each of 25 sites", got)
	}
}

// Controls stand in one cohort at a time. Only a small cohort shares them where there are too few.
func TestControlsAreShared(t *testing.T) {
	t.Parallel()
	for window, shares := range map[int]bool{4: true, 60: false} {
		w := open(t, 64)
		w.crowd(186)
		id := w.start("v1", func(m *release.Manifest) { m.Plan.Window.Start, m.Plan.Rings[0].Hosts = int64(window), int64(window) })
		w.lease(id, 1)
		w.pass(10 * time.Second)
		for n := 2; n <= window; n++ {
			w.lease(id, n)
		}
		for n := 1; n <= window; n++ {
			w.report(id, n, "confirmed")
		}
		w.pass(watchOver + 10*time.Second)
		got := w.compared(id, breaker.Silence)
		if len(got) != 2 || got[0].Control.Watched != 249 || got[1].Exposed[0].Watched != int64(window)-1 {
			t.Fatalf("got %+v, want one host and then %d compared, the first with 249 controls", got, window-1)
		}
		if controls := got[1].Control.Watched; (controls > 0) != shares {
			t.Errorf("%d hosts: got %d controls that stand in another cohort, want some: %v", window-1, controls, shares)
		}
	}
}

// Hosts that confirmed and brick much later say nothing of it: the vigil finds them.
func TestVigilFindsLateSilence(t *testing.T) {
	t.Parallel()
	w := crowded(t, 1200)
	id := w.start("v1", func(m *release.Manifest) { m.Plan.Rings[0].Evidence.Boots = 100 })
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	w.pass(5*time.Minute + 5*time.Second)
	if v := w.view(id); v.Alarm != "quiet" || v.Confirmed != 2 {
		t.Fatalf("got alarm %s with %d confirmed, want quiet with 2", v.Alarm, v.Confirmed)
	}
	w.silence(1, 2)
	w.pass(watchOver)
	if v := w.view(id); v.Phase != "tripped" || v.Harmed != 0 {
		t.Errorf("got %s with %d known to be harmed, want tripped by what nobody reported: %s", v.Phase, v.Harmed, v.Waiting.Text)
	}
	w.replays(id)
}

// A vigil in a small fleet raises no alarm: hosts go home in the evening.
func TestVigilIsQuietInSmallFleets(t *testing.T) {
	t.Parallel()
	w := crowded(t, 30)
	id := w.start("v1", func(m *release.Manifest) { m.Plan.Rings[0].Evidence.Boots = 100 })
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	w.pass(5*time.Minute + 5*time.Second)
	w.silence(1, 20)
	w.pass(15 * time.Minute)
	if v := w.view(id); v.Alarm != "quiet" || v.Phase != "running" {
		t.Errorf("got %s, %s, want it running and quiet: E %.3g", v.Phase, v.Alarm, v.Evidence)
	}
}

// An outcome names the stratum of the lease, whatever the host became since; harm comes with what else is harmed there.
func TestOutcomesNameTheirSlices(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	w.describe(1, 10, func(n int, e *registry.Endpoint) {
		e.Subject.Tenant = []fleet.TenantID{"acme", "globex"}[n%2]
		e.Components[component] = api.Component{Kind: "content", Phase: "idle", Consumer: "7.1"}
	})
	id := w.start("v1", func(m *release.Manifest) { m.Plan.Window.Start, m.Plan.Rings[0].Hosts = 8, 8 })
	w.lease(id, 1, 2, 3, 4, 5)
	w.describe(1, 10, func(_ int, e *registry.Endpoint) { e.Subject.Attributes.Kernel = "6.9" })
	w.report(id, 4, "goodbye")
	w.lease(id, 4) // it is another sort of host by now, and counted as the one it was
	if lease, err := w.db.Lease(t.Context(), rollout.ID(id), host(4)); err != nil || lease.Stratum != "os linux, consumer 7.1" {
		t.Errorf("got lease of stratum %q, %v, want the one that it is counted in", lease.Stratum, err)
	}
	w.report(id, 1, "reverted")
	w.report(id, 2, "confirmed")
	w.report(id, 3, "reverted")
	got := w.outcome(id, 3)
	want := rollout.OutcomeKnown{
		At: w.clock.Now(), Endpoint: host(3), Was: rollout.Pending, Outcome: rollout.Reverted, Stratum: "os linux, consumer 7.1", Fleet: 10,
		Tenant: rollout.Scope{Name: "globex", Size: 5, Exposed: 3, Harmed: 1}, Site: rollout.Scope{Name: "site-0", Size: 3, Exposed: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("second harm (-want +got):\n%s", diff)
	}
	lease, err := w.db.Lease(t.Context(), rollout.ID(id), host(3))
	w.ok(err)
	if lease.Stratum != "os linux, consumer 7.1" || lease.Class != "" {
		t.Errorf("got lease of stratum %q and class %q", lease.Stratum, lease.Class)
	}
	v := w.view(id)
	if len(v.Strata) != 1 || v.Strata[0].Harmed != 2 || v.Strata[0].Leased != 5 || v.Doubt < 20 {
		t.Errorf("got strata in trouble %+v, doubt %.3g, want one with 2 of 5 harmed", v.Strata, v.Doubt)
	}
}

// outcome is the last that the rollout was told of host n.
func (w *world) outcome(id string, n int) rollout.OutcomeKnown {
	w.t.Helper()
	events, err := w.db.Events(w.t.Context(), rollout.ID(id), 0, 0)
	w.ok(err)
	var last rollout.OutcomeKnown
	for _, stored := range events {
		event, err := rollout.DecodeEvent(stored.Name, stored.Data)
		w.ok(err)
		if o, ok := event.(rollout.OutcomeKnown); ok && o.Endpoint == host(n) {
			last = o
		}
	}
	return last
}

// A silent host that turns out to have crashed is not one of the others that are harmed there.
func TestHarmedHostIsNotAnother(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1)
	w.pass(watchOver)
	w.report(id, 1, "crashed")
	if got := w.outcome(id, 1); got.Was != rollout.Silent || got.Tenant.Harmed != 0 || got.Site.Harmed != 0 || got.Tenant.Exposed != 1 {
		t.Errorf("got %+v, want nobody else harmed", got)
	}
}

// Of a good release as many hosts fall silent by themselves as of any other, also when most controls get a lease while they are watched,
// as in the last rounds of every rollout.
func TestControlsThatGetLeasesRaiseNoAlarm(t *testing.T) {
	t.Parallel()
	w := open(t, 400)
	w.hearing = time.Minute
	w.restart()
	id := w.start("v1", func(m *release.Manifest) { m.Plan.Window.Start, m.Plan.Rings[0].Hosts = 400, 400 })
	for n := 1; n <= 60; n++ {
		w.lease(id, n)
	}
	w.pass(20 * time.Second)
	for n := 61; n <= 360; n++ {
		w.lease(id, n)
	}
	for n := 4; n <= 400; n += 4 {
		w.silence(n, n)
	}
	w.pass(watchOver)
	got := w.compared(id, breaker.Silence)
	if len(got) == 0 || got[0].Exposed[0].Arm != (breaker.Arm{Watched: 60, Showed: 15}) || got[0].Control != (breaker.Arm{Watched: 340, Showed: 85}) {
		t.Errorf("got %+v, want every fourth silent on both sides", got)
	}
	if v := w.view(id); v.Phase != "running" || v.Alarm != "quiet" {
		t.Errorf("got %s, %s, want it running and quiet: E %.3g", v.Phase, v.Alarm, v.Evidence)
	}
}

// A silent host reported nothing: it makes the report of another one of its tenant no second one.
func TestSilenceIsNoReport(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.pass(watchOver)
	w.report(id, 1, "crashed")
	if got := w.outcome(id, 1); got.Tenant.Harmed != 0 || got.Tenant.Exposed != 2 {
		t.Errorf("got %+v, want nobody else of the tenant to have reported harm", got.Tenant)
	}
}

// A host that asks for its lease again and again, and never proves anything, holds the others up for a while and not for ever.
func TestRenewalsEnd(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.report(id, 2, "confirmed")
	for range 10 {
		w.pass(time.Minute)
		if w.view(id).Rings[0].Silent == 1 {
			return
		}
		w.lease(id, 1)
	}
	t.Errorf("got %+v after ten renewals, want the host called silent", w.view(id).Rings[0])
}
