package engine_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func TestGoodRolloutReachesEverybody(t *testing.T) {
	t.Parallel()
	w := open(t, 12)
	id := w.start("v1", nil)
	if d := w.directive(); d.Candidate == nil || d.Candidate.Rollout != id || d.Stable != nil {
		t.Errorf("after the start: got directive %+v, want v1 as candidate only", d)
	}
	w.finish(id)
	v := w.view(id)
	if v.Confirmed != 12 || v.Exposed != 12 || v.Harmed != 0 || v.Unconfirmed != 0 || v.Ended == nil {
		t.Errorf("got %+v, want 12 of 12 confirmed", v)
	}
	if d := w.directive(); d.Stable == nil || d.Stable.Rollout != id || d.Candidate != nil {
		t.Errorf("after completion: got directive %+v, want v1 stable", d)
	}
	for _, l := range w.pen.leases {
		if early := l.Issued.Sub(l.Started); early < careful().NotBefore(l.Ring) {
			t.Errorf("lease %s of ring %d was issued %s after the start, want at least %s", l.ID, l.Ring, early, careful().NotBefore(l.Ring))
		}
	}
	if n := w.bell.count("is complete"); n != 1 {
		t.Errorf("got %d notifications of completion, want 1", n)
	}
	w.replays(id)
}

// I3: after a trip no lease is granted for that release, ever, by any restart or clock.
func TestInvariantI3NoLeaseAfterTrip(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	good := w.start("v1", nil)
	w.finish(good)
	bad := w.start("v2", nil)
	w.trip(bad)
	leases := len(w.pen.leases)
	everybodyIsRefused := func(when string) {
		t.Helper()
		for n := 1; n <= 10; n++ {
			if envelope, refusal, err := w.tryAsk(bad, n); envelope != nil || refusal == "" || err != nil {
				t.Errorf("%s, host %d: got lease %s, refusal %q, error %v, want a refusal", when, n, envelope, refusal, err)
			}
		}
	}
	everybodyIsRefused("after the trip")
	w.restart()
	everybodyIsRefused("after a restart")
	for _, jump := range []time.Duration{365 * 24 * time.Hour, -2 * 365 * 24 * time.Hour} {
		w.clock.Move(jump)
		w.pass(2 * time.Minute)
		everybodyIsRefused("after the clock jumped by " + jump.String())
		w.restart()
		everybodyIsRefused("after that and a restart")
	}
	if got := len(w.pen.leases); got != leases {
		t.Errorf("got %d leases signed after the trip, want none", got-leases)
	}
	_, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v2"}, "alice")
	refused(t, err, fault.Conflict, "was recalled")
	w.replays(bad)
}

func TestTripIsTold(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	w.finish(w.start("v1", nil))
	before := w.directive().Sequence
	id := w.start("v2", nil)
	w.trip(id)
	d := w.directive()
	want := []api.Recalled{{
		Version: "v2", Manifest: w.manifest(id), Artifacts: []string{string(release.DigestOf([]byte("v2")))}, Reason: w.view(id).Reason,
	}}
	if diff := cmp.Diff(want, d.Recalls); diff != "" {
		t.Errorf("recalls of the directive (-want +got):\n%s", diff)
	}
	if d.Sequence != before+2 || d.Candidate != nil || d.Stable == nil || d.Stable.Version != "v1" {
		t.Errorf("got directive %+v, want number %d with v1 stable and no candidate", d, before+2)
	}
	incidents, err := w.db.Incidents(t.Context())
	w.ok(err)
	if len(incidents) != 1 || string(incidents[0].Rollout) != id || incidents[0].ID != w.view(id).Incident || !incidents[0].Closed.IsZero() {
		t.Errorf("got incidents %+v, shown %q, want one open incident of %s", incidents, w.view(id).Incident, id)
	}
	if n := w.bell.count("page: sensor-content v2 halted"); n != 1 {
		t.Errorf("got %d pages %q, want 1", n, w.bell.rung)
	}
	w.report(id, 1, api.OutcomeRecovered)
	w.report(id, 1, api.OutcomeRecovered)
	if v := w.view(id); v.Harmed != 2 || v.Recovered != 1 {
		t.Errorf("got %d harmed, %d recovered, want 2 and 1", v.Harmed, v.Recovered)
	}
}

// A host that was exposed and goes back because of the recall, before it was proved, was not harmed.
func TestRecalledBeforeProved(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", func(m *release.Manifest) { m.Plan.Window.Start, m.Plan.Rings[0].Hosts = 4, 4 })
	w.lease(id, 3, 4)
	w.lease(id, 1, 2)
	for n := 1; n <= 3; n++ {
		w.report(id, n, "crashed")
	}
	w.report(id, 4, api.OutcomeRecovered)
	w.pass(2 * deadline)
	if v := w.view(id); v.Phase != "tripped" || v.Harmed != 3 || v.Returned != 1 || v.Unconfirmed != 0 || v.Rings[0].Goodbye != 1 {
		t.Errorf("got %+v, want it tripped, 3 harmed, 1 returned", v)
	}
	w.replays(id)
}

// Where there are few controls, two silent hosts of two are amber, and a third one trips.
func TestSilenceIsHarm(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", nil)
	w.mute[1], w.mute[2] = true, true
	w.lease(id, 1, 2)
	w.pass(deadline)
	if v := w.view(id); v.Harmed != 0 {
		t.Errorf("at the deadline: got %d harmed, want 0", v.Harmed)
	}
	w.pass(2 * time.Second)
	if v := w.view(id); v.Alarm != "amber" || v.Rings[0].Silent != 2 || v.Window != 1 {
		t.Errorf("after the deadline: got alarm %s with %d silent and window %d, want amber with 2 and 1", v.Alarm, v.Rings[0].Silent, v.Window)
	}
	w.mute[3] = true // a control so far: had it been silent before, it would have excused the others
	w.lease(id, 3)   // the places of silent hosts are given again, one at a time
	w.pass(deadline + 2*time.Second)
	if v := w.view(id); v.Phase != "tripped" || v.Rings[0].Silent != 3 {
		t.Errorf("after one more: got %s with %d silent, want tripped with 3: %s", v.Phase, v.Rings[0].Silent, v.Waiting.Text)
	}
	w.replays(id)
}

func TestLateReportDoesNotUndoSilence(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.report(id, 2, "confirmed")
	w.pass(deadline + 2*time.Second)
	if v := w.view(id); v.Rings[0].Silent != 1 {
		t.Fatalf("got %+v, want one silent host", v.Rings[0])
	}
	w.report(id, 1, "confirmed")
	w.report(id, 1, "confirmed")
	if v := w.view(id); v.Rings[0].Late != 1 || v.Harmed != 1 || v.Confirmed != 1 {
		t.Errorf("got %+v, want it late, which still is harm", v.Rings[0])
	}
	lease, err := w.db.Lease(t.Context(), rollout.ID(id), host(1))
	w.ok(err)
	if lease.Outcome != rollout.Late {
		t.Errorf("got lease outcome %s, want late", lease.Outcome)
	}
	w.replays(id)
}

// A report that was stored before the deadline counts, even if the engine looks at deadline and report at once.
func TestStoredReportComesBeforeSilence(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.pass(deadline)
	w.acknowledge(id, 1, "confirmed", "")
	w.acknowledge(id, 2, "goodbye", "")
	w.pass(5 * time.Second)
	if v := w.view(id); v.Confirmed != 1 || v.Rings[0].Goodbye != 1 || v.Harmed != 0 {
		t.Errorf("got %+v, want what the hosts reported", v.Rings[0])
	}
}

// While the server was not listening nobody could speak: that time makes nobody silent.
func TestPausedServerCallsNobodySilent(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.clock.pause = 24 * time.Hour
	w.pass(deadline - time.Second)
	if v := w.view(id); v.Harmed != 0 || v.Unconfirmed != 2 {
		t.Errorf("after a day's pause: got %d harmed, want 0", v.Harmed)
	}
	w.pass(5 * time.Second)
	if v := w.view(id); v.Rings[0].Silent != 2 {
		t.Errorf("after the rest of the deadline: got %d silent, want 2", v.Rings[0].Silent)
	}
}

func TestRestartGivesGrace(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.pass(time.Minute) // the last decision that is stored is half a minute old at most
	w.clock.Move(48 * time.Hour)
	w.restart()
	w.pass(deadline - time.Minute + grace - time.Second)
	if v := w.view(id); v.Harmed != 0 || v.Unconfirmed != 2 {
		t.Errorf("after two days down: got %d harmed, want 0 before deadline and grace", v.Harmed)
	}
	w.pass(grace + 2*time.Second)
	if v := w.view(id); v.Rings[0].Silent != 2 {
		t.Errorf("after deadline and grace: got %d silent, want 2", v.Rings[0].Silent)
	}
	w.replays(id)
}

func TestOperatorActions(t *testing.T) {
	t.Parallel()
	const pause, resume, halt, back = rollout.Pause, rollout.Resume, rollout.Halt, rollout.RollBack
	for _, c := range []struct {
		name    string
		actions []rollout.Action
		phase   string
		last    fault.Kind // of the last action's error; empty for none
		recalls int
	}{
		{"paused", []rollout.Action{pause}, "paused", "", 0},
		{"resumed", []rollout.Action{pause, resume}, "running", "", 0},
		{"halted", []rollout.Action{halt}, "halted", "", 0},
		{"rolled back", []rollout.Action{back}, "rolled_back", "", 1},
		{"halted, then rolled back", []rollout.Action{halt, back}, "rolled_back", "", 1},
		{"paused twice", []rollout.Action{pause, pause}, "paused", fault.Conflict, 0},
		{"resumed while running", []rollout.Action{resume}, "running", fault.Conflict, 0},
		{"resumed after a halt", []rollout.Action{halt, resume}, "halted", fault.Conflict, 0},
		{"halted after a rollback", []rollout.Action{back, halt}, "rolled_back", fault.Conflict, 1},
		{"unknown", []rollout.Action{"explode"}, "running", fault.Conflict, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, 5)
			id := w.start("v1", nil)
			var err error
			for _, a := range c.actions {
				_, err = w.engine.Act(t.Context(), id, rollout.OperatorActed{Action: a, Actor: "alice", Reason: "because"})
			}
			if c.last != "" {
				refused(t, err, c.last, id, w.phase(id))
			} else {
				w.ok(err)
			}
			if got := w.phase(id); got != c.phase {
				t.Errorf("got phase %s, want %s", got, c.phase)
			}
			d := w.directive()
			if runs := c.phase == "running" || c.phase == "paused"; (d.Candidate != nil) != runs || runs && d.Candidate.Paused != (c.phase == "paused") {
				t.Errorf("got directive %+v while %s", d, c.phase)
			}
			if len(d.Recalls) != c.recalls {
				t.Errorf("got %d recalls, want %d", len(d.Recalls), c.recalls)
			}
			if leased := w.ask(id, 1) == ""; leased != (c.phase == "running") {
				t.Errorf("got a lease: %v while %s", leased, c.phase)
			}
			w.replays(id)
		})
	}
	w := open(t, 1)
	_, err := w.engine.Act(t.Context(), "ro-none", rollout.OperatorActed{Action: halt, Actor: "alice"})
	refused(t, err, fault.NotFound, "ro-none")
}

// A bad release that changes one platform's artifact shares the others with its good predecessor: those are not recalled.
func TestRecallSparesWhatIsProven(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	shared := release.Artifact{
		Platform: "linux/arm64", Format: release.File, Name: "rules.json", Digest: release.DigestOf([]byte("shared")), Size: 7,
	}
	add := func(m *release.Manifest) { m.Artifacts = append(m.Artifacts, shared) }
	w.finish(w.start("v1", add))
	w.trip(w.start("v2", add))
	recalls := w.directive().Recalls
	if len(recalls) != 1 || slices.Contains(recalls[0].Artifacts, string(shared.Digest)) || len(recalls[0].Artifacts) != 1 {
		t.Errorf("got recalls %+v, want v2's own artifact alone", recalls)
	}
	w.finish(w.start("v3", add))
}

// A host whose preflight says no is not waited for: it will not take the release.
func TestRefusingHostHoldsUpNothing(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	id := w.start("v1", nil)
	w.fleet.Update(host(10), nil, map[string]api.Component{component: {Phase: "idle", Refuses: []string{w.manifest(id)}}}, "")
	done := map[int]bool{}
	for range 40 {
		for n := 1; n < 10; n++ {
			if !done[n] && w.ask(id, n) == "" {
				w.report(id, n, "confirmed")
				done[n] = true
			}
		}
		w.pass(5 * time.Second)
	}
	if got := w.view(id); got.Phase != "complete" || got.Confirmed != 9 {
		t.Errorf("got phase %s with %d confirmed, want complete with 9: %+v", got.Phase, got.Confirmed, got.Waiting)
	}
}

func TestStartIsGuarded(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	begin := func(version, plan string) error {
		_, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: version, Plan: plan}, "alice")
		return err
	}
	refused(t, begin("v0", ""), fault.NotFound, "v0")
	first := w.start("v1", nil)
	w.publish("v2", nil)
	refused(t, begin("v2", ""), fault.Conflict, first, "v1", "running")
	w.trip(first)
	refused(t, begin("v1", ""), fault.Conflict, "was recalled", "exposed hosts were harmed")
	w.publish("v1-again", func(m *release.Manifest) { m.Artifacts[0].Digest = release.DigestOf([]byte("v1")) })
	refused(t, begin("v1-again", ""), fault.Conflict, "recalled with version v1")
	w.publish("v4", func(m *release.Manifest) { m.Floor = 4 })
	refused(t, begin("v2", ""), fault.Conflict, "below the floor that version v4 set", "serial 2, floor 4")
	refused(t, begin("v4", "nowhere"), fault.NotFound, "nowhere")

	wide := careful()
	wide.Name, wide.Rings[0].Hosts, wide.Rings[1].Hosts, wide.Rings[1].Evidence.Bake, wide.Window.Start = "wide", 4, 50, 0, 100
	w.ok(w.db.PutPlan(t.Context(), wide, w.clock.Now()))
	err := begin("v4", "wide")
	refused(t, err, fault.Invalid, "rings[0].hosts", "rings[1].hosts", "rings[2]", "window.start")
	narrow := careful()
	narrow.Name, narrow.Rings[1].Hosts = "narrow", 3
	w.ok(w.db.PutPlan(t.Context(), narrow, w.clock.Now()))
	r, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v4", Plan: "narrow", Reason: "mended"}, "alice")
	w.ok(err)
	if r.Plan != "narrow" || r.Reason != "mended" || r.Rings[1].Size != 3 {
		t.Errorf("got %+v, want it on the narrow plan", r)
	}
	if got, err := w.engine.Rollouts(t.Context(), store.RolloutQuery{Component: component}); err != nil || len(got) != 2 || got[0].ID != r.ID {
		t.Errorf("got rollouts %+v, %v, want two, the newest first", got, err)
	}
	if got, err := w.engine.Rollouts(t.Context(), store.RolloutQuery{Component: "other"}); err != nil || len(got) != 0 {
		t.Errorf("got rollouts %+v of another component, want none", got)
	}
}

// Whoever comes later needs a lease like everybody before; a release that was called back is not offered to it.
func TestLatecomer(t *testing.T) {
	t.Parallel()
	w := open(t, 5)
	good := w.start("v1", nil)
	w.finish(good)
	bad := w.start("v2", nil)
	w.trip(bad)
	w.join(1)
	if d := w.directive(); d.Stable.Rollout != good || d.Candidate != nil {
		t.Errorf("got directive %+v, want v1 for a latecomer", d)
	}
	if refusal := w.ask(bad, 6); refusal == "" {
		t.Error("the latecomer got a lease for the bad release")
	}
	w.pass(time.Minute)
	w.lease(good, 6)
	if v := w.view(good); v.Unconfirmed != 1 || v.Phase != "complete" {
		t.Errorf("got %s with %d unconfirmed, want complete with 1", v.Phase, v.Unconfirmed)
	}
	if !w.engine.Pending(host(6), component) {
		t.Error("got the latecomer not pending, want pending")
	}
	w.report(good, 6, "confirmed")
	if w.engine.Pending(host(6), component) || w.engine.Pending(host(6), "unheard-of") {
		t.Error("got the latecomer pending, want not")
	}
	w.replays(good)
}

// An ask for another release than the rollout's, or for no rollout, is refused and not an error.
func TestAskForWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := open(t, 2)
	id := w.start("v1", nil)
	for name, wish := range map[string]api.Wish{
		"no such rollout":         {Rollout: "ro-none", Manifest: w.manifest(id)},
		"fetch the directive":     {Rollout: id, Manifest: "sha256:00"},
		"there is no such rollou": {},
	} {
		if envelope, refusal, err := w.engine.Ask(t.Context(), host(1), wish); err != nil || envelope != nil || !strings.Contains(refusal, name) {
			t.Errorf("got %s, %q, %v, want a refusal with %q", envelope, refusal, err, name)
		}
	}
	_, _, err := w.tryAsk(id, 99)
	refused(t, err, fault.Denied, "ep-99")
}

// A lease that was granted but could not be signed is granted again, and takes no second place.
func TestLeaseThatCouldNotBeSigned(t *testing.T) {
	t.Parallel()
	w := open(t, 5)
	id := w.start("v1", nil)
	w.pen.broken = fault.New(fault.Unavailable, "sign: the key is not there")
	if _, _, err := w.tryAsk(id, 1); err == nil {
		t.Error("got no error, want that of the signer")
	}
	w.pen.broken = nil
	w.lease(id, 1)
	w.lease(id, 1)
	if v := w.view(id); v.Exposed != 1 || v.Unconfirmed != 1 {
		t.Errorf("got %d exposed, %d unconfirmed, want 1 and 1", v.Exposed, v.Unconfirmed)
	}
	if a, b := w.pen.leases[0], w.pen.leases[1]; a.ID == b.ID || a.Endpoint != string(host(1)) || a.Component != component || a.Rollout != id {
		t.Errorf("got leases %+v and %+v, want two of ep-1", a, b)
	}
	w.replays(id)
}

// Reports of all kinds count once, and those that mean nothing change nothing.
func TestReportsThatMeanNothing(t *testing.T) {
	t.Parallel()
	w := open(t, 5)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.report(id, 1, api.OutcomeBooted) // not confirmed: it may be a boot loop
	w.report(id, 3, "confirmed")       // never leased
	w.report(id, 1, "late")
	w.report(id, 1, "silent")
	w.report(id, 1, "splendid")
	w.report(id, 1, "confirmed")
	w.report(id, 1, "confirmed")
	w.report(id, 1, "goodbye")
	w.report(id, 1, api.OutcomeBooted)
	stray := []store.Report{
		{Seq: 1, Data: json.RawMessage(`{"rollout": "ro-none", "outcome": "crashed"}`)},
		{Seq: 2, Data: json.RawMessage(`{"rollout": "` + id + `", "manifest": "sha256:00", "outcome": "crashed"}`)},
		{Seq: 3, Data: json.RawMessage(`"not a report"`)},
	}
	_, err := w.db.AddReports(t.Context(), host(2), w.clock.Now(), stray)
	w.ok(err)
	w.ok(w.engine.Drain(t.Context()))
	v := w.view(id)
	if v.Confirmed != 1 || v.Harmed != 0 || v.Unconfirmed != 1 || v.Rings[0].Boots != 1 {
		t.Errorf("got %+v, want one confirmed host that booted once", v.Rings[0])
	}
	if left, err := w.db.UntakenReports(t.Context(), 0, 0); err != nil || len(left) != 0 {
		t.Errorf("got %d reports not taken in, %v, want 0", len(left), err)
	}
	w.replays(id)
}

// What a host says is cut to size, but never inside of a character, so that a replay gives the same bytes.
func TestInvariantI10LongDetail(t *testing.T) {
	t.Parallel()
	w := open(t, 5)
	id := w.start("v1", nil)
	w.lease(id, 1)
	w.acknowledge(id, 1, "crashed", "x"+strings.Repeat("ü", 400))
	w.ok(w.engine.Drain(t.Context()))
	lease, err := w.db.Lease(t.Context(), rollout.ID(id), host(1))
	w.ok(err)
	if want := "x" + strings.Repeat("ü", 249) + "…"; lease.Detail != want {
		t.Errorf("got detail %q, want %q", lease.Detail, want)
	}
	w.replays(id)
}

// I10: a rollout with something of everything can be explained from its events.
func TestInvariantI10(t *testing.T) {
	t.Parallel()
	w := open(t, 20)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "goodbye")
	w.lease(id, 2)
	w.report(id, 2, "confirmed")
	w.report(id, 2, api.OutcomeBooted)
	w.pass(90 * time.Second)
	w.lease(id, 3, 4)
	_, err := w.engine.Act(t.Context(), id, rollout.OperatorActed{Action: rollout.Pause, Actor: "alice", Reason: "lunch"})
	w.ok(err)
	w.report(id, 3, "rejected")
	w.clock.Move(-365 * 24 * time.Hour)
	w.restart()
	_, err = w.engine.Act(t.Context(), id, rollout.OperatorActed{Action: rollout.Resume, Actor: "bob"})
	w.ok(err)
	w.lease(id, 5)
	w.report(id, 4, "reverted")
	w.report(id, 4, api.OutcomeRecovered)
	w.pass(2*deadline + grace)
	w.clock.Move(2 * 365 * 24 * time.Hour)
	w.pass(time.Minute)
	w.report(id, 5, "confirmed")
	w.replays(id)
	events, err := w.db.Events(t.Context(), rollout.ID(id), 0, 0)
	w.ok(err)
	var records int
	for _, e := range events {
		r, err := rollout.DecodeRecords(e.Effects)
		w.ok(err)
		records += len(r)
	}
	if records < 8 {
		t.Errorf("got %d decision records, want one for each decision", records)
	}
}

// Events that keep coming must not put the look off that opens the next ring.
func TestReportsDoNotStarveTheClock(t *testing.T) {
	t.Parallel()
	w := open(t, 12)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	for range 30 {
		w.report(id, 1, api.OutcomeBooted)
		w.pass(2 * time.Second)
	}
	if v := w.view(id); v.Ring == 0 {
		t.Errorf("after a minute of reports: got ring %d, want the next; it waits %s", v.Ring, v.Waiting.Text)
	}
	w.replays(id)
}

// A complete rollout with nobody left writes nothing, but sees who comes.
func TestCompleteRolloutRests(t *testing.T) {
	t.Parallel()
	w := open(t, 2)
	id := w.start("v1", nil)
	w.finish(id)
	if v := w.view(id); v.Ring != 0 {
		t.Fatalf("got ring %d, want completion in the first: nobody is left", v.Ring)
	}
	w.pass(2 * deadline) // until the last host's watch is over
	before := w.row(id).Revision
	w.pass(10 * time.Minute)
	if got := w.row(id).Revision; got != before {
		t.Errorf("got %d events in ten idle minutes, want 0", got-before)
	}
	w.join(1)
	w.pass(2 * time.Minute)
	w.lease(id, 3)
	w.replays(id)
}

func TestDirectiveIsRenewed(t *testing.T) {
	t.Parallel()
	w := open(t, 2)
	id := w.start("v1", nil)
	w.pass(time.Minute)
	if d := w.directive(); d.Sequence != 1 || d.Expires.Sub(d.Issued) != freshness {
		t.Errorf("after a minute: got number %d, life %s, want 1 and %s", d.Sequence, d.Expires.Sub(d.Issued), freshness)
	}
	w.clock.Move(freshness / 2)
	w.pass(time.Second)
	if d := w.directive(); d.Sequence != 2 || w.clock.Now().Sub(d.Issued) > freshness/2 {
		t.Errorf("after half its life: got number %d of %s, want 2", d.Sequence, d.Issued)
	}
	w.clock.Move(-365 * 24 * time.Hour)
	w.pass(time.Second)
	if d := w.directive(); d.Sequence != 3 || w.clock.Now().Sub(d.Issued).Abs() > time.Minute {
		t.Errorf("after the clock was put back: got number %d of %s, want 3 of now", d.Sequence, d.Issued)
	}
	w.replays(id)
}

// A directive's number only grows, over restarts and failures of every kind.
func TestSequenceOnlyGrows(t *testing.T) {
	t.Parallel()
	w := open(t, 2)
	id := w.start("v1", nil)
	last := w.directive().Sequence
	grows := func(when string) {
		t.Helper()
		if got := w.directive().Sequence; got <= last {
			t.Errorf("%s: got number %d, want above %d", when, got, last)
		}
		last = w.directive().Sequence
	}
	for range 3 {
		w.clock.Move(-time.Hour)
		w.restart()
		grows("after a restart")
	}
	for _, late := range []bool{false, true} {
		var broken bool
		w.store.fail = func(int64) (bool, bool) { broken = !broken; return !broken, late } // every second write: the directives
		_, err := w.engine.Act(t.Context(), id, rollout.OperatorActed{Action: rollout.Pause, Actor: "alice"})
		w.ok(err)
		w.store.fail = nil
		w.pass(time.Second)
		grows(fmt.Sprintf("after a failed write that took effect: %v", late))
		if d := w.directive(); d.Candidate == nil || !d.Candidate.Paused {
			t.Errorf("got directive %+v, want the pause in it", d)
		}
		_, err = w.engine.Act(t.Context(), id, rollout.OperatorActed{Action: rollout.Resume, Actor: "alice"})
		w.ok(err)
		grows("after resuming")
	}
	if !slices.IsSorted(w.pen.sequences) || len(slices.Compact(slices.Clone(w.pen.sequences))) != len(w.pen.sequences) {
		t.Errorf("got numbers %v signed, want each once and growing", w.pen.sequences)
	}
}

// What is stable is the release that was completed last, not the one with the latest date.
func TestStableDoesNotFollowTheClock(t *testing.T) {
	t.Parallel()
	w := open(t, 3)
	w.clock.Move(365 * 24 * time.Hour)
	w.finish(w.start("v1", nil))
	w.clock.Move(-365 * 24 * time.Hour)
	second := w.start("v2", nil)
	w.finish(second)
	for range 2 {
		if d := w.directive(); d.Stable == nil || d.Stable.Version != "v2" {
			t.Errorf("got stable %+v, want v2", d.Stable)
		}
		w.restart()
	}
	_, err := w.engine.Act(t.Context(), second, rollout.OperatorActed{Action: rollout.RollBack, Actor: "alice"})
	w.ok(err)
	if d := w.directive(); d.Stable == nil || d.Stable.Version != "v1" {
		t.Errorf("after rolling v2 back: got stable %+v, want v1", d.Stable)
	}
}

// A report that the engine cannot take in holds up its own endpoint only.
func TestStuckReportHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	w := open(t, 5)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.store.hold = func(c store.Commit) error {
		if len(c.Reports) > 0 && c.Reports[0].Endpoint == host(1) {
			return fault.New(fault.Internal, "write: this one cannot be")
		}
		return nil
	}
	w.acknowledge(id, 1, "goodbye", "")
	w.acknowledge(id, 1, "confirmed", "")
	w.acknowledge(id, 2, "confirmed", "")
	refused(t, w.engine.Drain(t.Context()), fault.Internal, "take in report 1 of ep-1")
	if v := w.view(id); v.Confirmed != 1 || v.Unconfirmed != 1 {
		t.Errorf("got %d confirmed, want host 2", v.Confirmed)
	}
	w.pass(2 * deadline)
	if v := w.view(id); v.Harmed != 0 {
		t.Errorf("got %d harmed, want nobody called silent while reports wait", v.Harmed)
	}
	w.store.hold = nil
	w.ok(w.engine.Drain(t.Context()))
	if v := w.view(id); v.Confirmed != 2 || v.Harmed != 0 {
		t.Errorf("got %d confirmed, %d harmed, want 2 and 0", v.Confirmed, v.Harmed)
	}
	w.replays(id)
}
