package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func (w *world) act(id string, command rollout.OperatorActed) error {
	w.t.Helper()
	_, err := w.engine.Act(w.t.Context(), id, command)
	return err
}

// A hold is in the directive of a candidate and of a stable release, gets no host a lease, and holds up nobody else.
func TestHoldsReachTheDirective(t *testing.T) {
	t.Parallel()
	w := open(t, 12)
	site := fleet.Selector{"site": {"site-0"}} // hosts 3, 6, 9, 12
	id := w.start("v1", nil)
	w.ok(w.act(id, rollout.OperatorActed{Action: rollout.HoldBack, Actor: "alice", Reason: "they move house", Select: site}))
	want := []api.Hold{{Select: site, Reason: "they move house"}}
	if diff := cmp.Diff(want, w.directive().Candidate.Holds); diff != "" {
		t.Errorf("holds of the candidate (-want +got):\n%s", diff)
	}
	refused(t, w.act(id, rollout.OperatorActed{Action: rollout.HoldBack, Actor: "bob", Select: site}), fault.Conflict, "has a hold already")
	w.finish(id)
	if v := w.view(id); v.Confirmed != 8 || len(v.Holds) != 1 || v.Holds[0].By != "alice" || v.Holds[0].Text != "site site-0" {
		t.Errorf("got %d confirmed and holds %+v, want all 8 that are not held", v.Confirmed, v.Holds)
	}
	if refusal := w.ask(id, 3); !strings.Contains(refusal, "held for this host") || !strings.HasSuffix(refusal, ": they move house") {
		t.Errorf("held host: got refusal %q", refusal)
	}
	w.restart()
	if d := w.directive(); d.Stable == nil || cmp.Diff(want, d.Stable.Holds) != "" {
		t.Errorf("after a restart: got stable %+v, want the hold in it", d.Stable)
	}
	w.ok(w.act(id, rollout.OperatorActed{Action: rollout.Unhold, Actor: "bob", Select: site}))
	again := w.act(id, rollout.OperatorActed{Action: rollout.Unhold, Actor: "bob", Select: site})
	refused(t, again, fault.Conflict, "there is no hold on site site-0")
	if d := w.directive(); len(d.Stable.Holds) != 0 {
		t.Errorf("after it was lifted: got holds %+v, want none", d.Stable.Holds)
	}
	w.pass(time.Minute)
	w.lease(id, 3)
	w.replays(id)
}

// What does not say whom to hold is refused, all of it at once.
func TestBadHolds(t *testing.T) {
	t.Parallel()
	w := open(t, 2)
	id := w.start("v1", nil)
	hold := func(s fleet.Selector) error {
		return w.act(id, rollout.OperatorActed{Action: rollout.HoldBack, Actor: "alice", Select: s})
	}
	refused(t, hold(nil), fault.Invalid, "halt the rollout instead")
	refused(t, hold(fleet.Selector{"colour": {"red"}, "os": nil}), fault.Invalid, "select.colour", "select.os")
	if d := w.directive(); d.Sequence != 1 {
		t.Errorf("got directive %d, want nothing changed", d.Sequence)
	}
}

// The breaker holds a stratum that alone is harmed; the others go on, and the view says what it is.
func TestStratumIsHeldAlone(t *testing.T) {
	t.Parallel()
	w := open(t, 60)
	w.describe(31, 60, func(_ int, e *registry.Endpoint) { e.Subject.Attributes.Kernel = "6.9" })
	id := w.start("v1", func(m *release.Manifest) { m.Plan.Window.Start, m.Plan.Rings[0].Hosts = 40, 40 })
	for n := 1; n <= 35; n++ {
		w.lease(id, n)
	}
	for n := 1; n <= 30; n++ {
		w.report(id, n, "confirmed")
	}
	for n := 31; n <= 35; n++ {
		w.report(id, n, "crashed")
	}
	v := w.view(id)
	if v.Phase != "running" || len(v.Strata) != 1 || !v.Strata[0].Held || len(v.Holds) != 1 || v.Holds[0].By != "breaker" {
		t.Fatalf("got %s, strata %+v, holds %+v, want the new kernel held alone", v.Phase, v.Strata, v.Holds)
	}
	suspects := []api.Suspect{{Key: "kernel", Value: "6.9", Harmed: 5, Exposed: 5, ExposedElsewhere: 30}}
	if diff := cmp.Diff(suspects, v.Suspects); diff != "" {
		t.Errorf("suspects (-want +got):\n%s", diff)
	}
	if d := w.directive(); d.Candidate == nil || len(d.Candidate.Holds) != 1 || d.Candidate.Holds[0].Select["kernel"][0] != "6.9" {
		t.Errorf("got candidate %+v, want the hold in it", d.Candidate)
	}
	w.replays(id)
}

// An emergency waits for a second person: until then no directive names it, nobody gets a lease, and nothing else starts.
func TestApprovals(t *testing.T) {
	t.Parallel()
	w := open(t, 12)
	emergency := func(m *release.Manifest) {
		m.Plan.Emergency = true
		m.Plan.Approvals = 0
		m.Plan = m.Plan.Defaulted()
	}
	id := w.start("v1", emergency)
	w.publish("v2", nil)
	proposed := func(when string) {
		t.Helper()
		v := w.view(id)
		if v.Phase != "proposed" || !v.Emergency || v.Approvals != 2 || cmp.Diff([]string{"alice"}, v.Approved) != "" {
			t.Errorf("%s: got %s, emergency %v, approved by %v of %d, want it proposed by alice alone", when, v.Phase, v.Emergency, v.Approved,
				v.Approvals)
		}
		if envelope, _ := w.engine.Directive(component); envelope != nil {
			if d := w.directive(); d.Candidate != nil {
				t.Errorf("%s: got candidate %+v, want none", when, d.Candidate)
			}
		}
		if w.ask(id, 1) == "" {
			t.Errorf("%s: a host got a lease", when)
		}
		_, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v2"}, "bob")
		refused(t, err, fault.Conflict, id, "proposed")
	}
	proposed("after the start")
	refused(t, w.act(id, rollout.OperatorActed{Action: rollout.Approve, Actor: "alice"}), fault.Conflict, "alice has agreed already")
	w.pass(time.Minute)
	w.restart()
	proposed("after a restart")
	w.ok(w.act(id, rollout.OperatorActed{Action: rollout.Approve, Actor: "bob", Reason: "seen it"}))
	if v := w.view(id); v.Phase != "running" || len(v.Approved) != 2 || w.directive().Candidate == nil {
		t.Errorf("after bob agreed: got %s, approved by %v, want it running and directed", v.Phase, v.Approved)
	}
	refused(t, w.act(id, rollout.OperatorActed{Action: rollout.Approve, Actor: "carol"}), fault.Conflict, "it is running")
	w.finish(id)
	w.replays(id)
}

// A proposal that nobody wants is halted, and makes room.
func TestProposalIsHalted(t *testing.T) {
	t.Parallel()
	w := open(t, 3)
	id := w.start("v1", func(m *release.Manifest) { m.Plan.Approvals = 2 })
	w.ok(w.act(id, rollout.OperatorActed{Action: rollout.Halt, Actor: "bob"}))
	refused(t, w.act(id, rollout.OperatorActed{Action: rollout.Approve, Actor: "carol"}), fault.Conflict, "it is halted")
	w.lease(w.start("v2", nil), 1)
}
