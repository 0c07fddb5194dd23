package engine_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// stand lets hosts say what they could survive alone.
func (w *world) stand(from, to int, words ...string) {
	for n := from; n <= to; n++ {
		w.fleet.Stand(host(n), fleet.PostureOf(words))
	}
}

func guarded(m *release.Manifest) {
	m.Plan.Posture = []string{"guard", "good"}
	for i := range m.Plan.Rings {
		m.Plan.Rings[i].Evidence.Strata = 0.2 // hosts that do not get it must not hold up the coverage either
	}
}

// A plan that asks for posture goes through on the hosts that have it. The others get no lease, are told why, are counted, and are waited for
// by nobody; whoever has it later is a latecomer.
func TestUnfitHostsAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	w := open(t, 12)
	w.stand(1, 8, "guard", "good", "watchdog")
	w.stand(9, 11, "good")
	w.describe(9, 12, func(_ int, e *registry.Endpoint) { e.Subject.Attributes.Kernel = "6.9" }) // a stratum that nobody can show
	id := w.start("v1", guarded)
	if got := w.view(id).Eligible; got != 8 {
		t.Errorf("at the start: got %d eligible hosts, want 8", got)
	}
	if got := w.ask(id, 9); !strings.Contains(got, "misses: guard (install firebreak-guard") {
		t.Errorf("got refusal %q, want what is missing and what to do", got)
	}
	w.pass(time.Minute)
	v := w.view(id)
	want := &api.Unfit{Hosts: 4, Lacks: map[string]int64{"guard": 4, "good": 1}}
	if diff := cmp.Diff(want, v.Unfit); diff != "" || v.Eligible != 8 {
		t.Errorf("got %d eligible, want 8; unfit (-want +got):\n%s", v.Eligible, diff)
	}
	if !strings.HasSuffix(v.Waiting.Text, "; 4 hosts miss posture: guard, good (1)") {
		t.Errorf("got waiting %q, want it to say who is missing what", v.Waiting.Text)
	}
	if w.ask(id, 10); w.view(id).Waiting != v.Waiting {
		t.Errorf("got waiting %+v after a host that is not fit asked, want %+v", w.view(id).Waiting, v.Waiting)
	}
	w.finish(id)
	if v := w.view(id); v.Confirmed != 8 || v.Phase != "complete" {
		t.Errorf("got %d confirmed and %s, want 8 and complete", v.Confirmed, v.Phase)
	}
	w.stand(9, 9, "guard", "good")
	w.pass(time.Minute)
	w.lease(id, 9)
	w.stand(9, 9) // it has its place
	w.report(id, 9, "confirmed")
	w.pass(time.Minute)
	if v := w.view(id); v.Eligible != 9 || v.Confirmed != 9 {
		t.Errorf("got %d eligible, %d confirmed, want the latecomer among them", v.Eligible, v.Confirmed)
	}
	w.replays(id)
}

// Where nobody is fit, nothing is complete and it is said why, also after a restart.
func TestNobodyIsFit(t *testing.T) {
	t.Parallel()
	w := open(t, 5)
	id := w.start("v1", guarded)
	if w.ask(id, 1) == "" {
		t.Error("a host that said nothing got a lease")
	}
	w.pass(5 * time.Minute)
	for _, when := range []string{"before", "after"} {
		v := w.view(id)
		if v.Phase != "running" || v.Exposed != 0 || v.Waiting.Code != rollout.WaitPosture || !strings.Contains(v.Waiting.Text, "5 hosts miss posture: good, guard") {
			t.Errorf("%s a restart: got %s, %d exposed, waiting %+v, want it to wait for posture", when, v.Phase, v.Exposed, v.Waiting)
		}
		w.restart()
	}
	w.replays(id)
}

// Controls are as fit as the hosts that they are compared with.
func TestControlsAreFit(t *testing.T) {
	t.Parallel()
	w := open(t, 40)
	w.stand(1, 10, "guard", "good")
	w.mute[1], w.mute[2] = true, true
	id := w.start("v1", guarded)
	w.lease(id, 1, 2)
	w.pass(10 * time.Minute)
	compared := w.compared(id, breaker.Silence)
	if len(compared) == 0 {
		t.Fatal("got no comparison, want one")
	}
	for _, c := range compared {
		if c.Control.Watched > 8 {
			t.Errorf("got %d controls, want at most the 8 other hosts that are fit", c.Control.Watched)
		}
	}
}

// crash lets host n report a crash that it could look into.
func (w *world) crash(id string, n int, c api.Crash) {
	w.t.Helper()
	w.seq[host(n)]++
	data, err := json.Marshal(api.Report{
		Seq: w.seq[host(n)], At: w.clock.Now(), Component: w.component, Rollout: id, Manifest: w.manifest(id), Outcome: "crashed", Crash: &c,
	})
	w.ok(err)
	_, err = w.db.AddReports(w.t.Context(), host(n), w.clock.Now(), []store.Report{{Seq: w.seq[host(n)], Data: data}})
	w.ok(err)
	w.ok(w.engine.Drain(w.t.Context()))
}

// clusters are the crashes of a rollout, by its stored events.
func (w *world) clusters(id string) []rollout.Cluster {
	w.t.Helper()
	events, err := w.db.Events(w.t.Context(), rollout.ID(id), 0, 0)
	w.ok(err)
	var crashes rollout.Crashes
	for _, stored := range events {
		event, err := rollout.DecodeEvent(stored.Name, stored.Data)
		w.ok(err)
		if e, ok := event.(rollout.OutcomeKnown); ok {
			crashes.Add(e)
		}
	}
	return crashes.Largest(10)
}

// Equal crashes are found together in the stored events (I10).
func TestCrashesAreInTheEvents(t *testing.T) {
	t.Parallel()
	w := open(t, 5)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	for n := 1; n <= 2; n++ {
		w.crash(id, n, api.Crash{Signal: "SEGV", Status: -1, Signature: "f00d", Headline: fmt.Sprint("at ", n)})
	}
	want := []rollout.Cluster{{
		Crash: rollout.Crash{Signal: "SEGV", Status: -1, Signature: "f00d", Headline: "at 1"}, Hosts: 2, First: w.clock.Now(),
	}}
	if diff := cmp.Diff(want, w.clusters(id)); diff != "" || w.phase(id) != "tripped" {
		t.Errorf("got %s; clusters (-want +got):\n%s", w.phase(id), diff)
	}
	w.replays(id)
}

// Harm that another rollout carries takes its crash along: there it is evidence, where it was reported it is not.
func TestCrashMovesWithTheBlame(t *testing.T) {
	t.Parallel()
	w, content, other := late(t)
	w.crash(content, 1, api.Crash{Signature: "f00d"})
	if got := w.clusters(content); len(got) != 0 {
		t.Errorf("got %+v where it was reported, want none", got)
	}
	if got := w.clusters(other); len(got) != 1 || got[0].Signature != "f00d" || got[0].Hosts != 1 {
		t.Errorf("got %+v where it counts, want f00d of one host", got)
	}
}
