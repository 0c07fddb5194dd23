package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

const library = "openssl"

// both gives every host a second component.
func (w *world) both() {
	w.describe(1, w.fleet.Len(), func(_ int, e *registry.Endpoint) {
		e.Components = map[string]api.Component{component: {Kind: "content", Phase: "idle"}, library: {Kind: "content", Phase: "idle"}}
	})
}

// of lets the world speak of a component for a while.
func (w *world) of(name string, do func()) {
	before := w.component
	w.component = name
	do()
	w.component = before
}

// A host takes one risk at a time: while it proves one release, and as long again after it confirmed, no other rollout gets it.
func TestBusyHostWaits(t *testing.T) {
	t.Parallel()
	w := open(t, 12)
	w.both()
	id := w.start("v1", nil)
	var other string
	w.of(library, func() { other = w.start("v1", nil) })
	w.lease(id, 1)
	busy := func(when string) {
		t.Helper()
		w.of(library, func() {
			if refusal := w.ask(other, 1); !strings.Contains(refusal, "proving a release of rollout "+id) {
				t.Errorf("%s: got refusal %q, want that it is busy", when, refusal)
			}
		})
	}
	busy("while it proves")
	w.pass(10 * time.Second)
	w.report(id, 1, "confirmed")
	busy("just after it confirmed")
	w.restart()
	busy("after a restart")
	w.lease(id, 1) // in its own rollout it is welcome back
	w.report(id, 1, "confirmed")
	w.pass(deadline + grace + 2*time.Second)
	w.of(library, func() { w.lease(other, 1) })
	w.replays(other)
}

// late lets two hosts that confirmed the content long ago, and the library just now, report that the content broke.
func late(t *testing.T) (w *world, content, other string) {
	t.Helper()
	w = open(t, 12)
	w.both()
	content = w.start("v1", nil)
	w.finish(content)
	w.clock.pause = 2 * time.Hour
	w.pass(2 * time.Second)
	w.of(library, func() {
		other = w.start("v1", nil)
		w.lease(other, 1, 2)
		w.report(other, 1, "confirmed")
		w.report(other, 2, "confirmed")
	})
	w.clock.pause = 10 * time.Minute
	w.pass(2 * time.Second)
	return w, content, other
}

// What breaks right after something else was activated on the host is put down to that, and there it trips; the release that the report
// speaks of is not blamed.
func TestBlameIsShared(t *testing.T) {
	t.Parallel()
	w, content, other := late(t)
	w.report(content, 1, "reverted")
	w.report(content, 2, "reverted")
	if v := w.view(other); v.Phase != "tripped" || v.Harmed != 2 {
		t.Errorf("the library: got %s with %d harmed, want tripped with 2", v.Phase, v.Harmed)
	}
	if v := w.view(content); v.Phase != "complete" || v.Alarm != "quiet" || v.Harmed != 2 {
		t.Errorf("the content: got %s, %s with %d harmed, want it complete, quiet, and the harm on record: E %.3g", v.Phase, v.Alarm, v.Harmed,
			v.Evidence)
	}
	lease, err := w.db.Lease(t.Context(), rollout.ID(content), host(1))
	w.ok(err)
	if !strings.Contains(lease.Detail, "the host also got openssl v1 by rollout "+other) {
		t.Errorf("got detail %q, want the overlap in it", lease.Detail)
	}
	lease, err = w.db.Lease(t.Context(), rollout.ID(other), host(1))
	w.ok(err)
	if !strings.Contains(lease.Detail, "harm that rollout "+content) {
		t.Errorf("got detail %q, want where the harm was reported", lease.Detail)
	}
	w.replays(content)
	w.replays(other)
}

// Hosts that break without the other release speak for it: the blame stays where the harm is.
func TestVetoesKeepTheBlame(t *testing.T) {
	t.Parallel()
	w, content, other := late(t)
	for n := 5; n <= 9; n++ {
		w.report(content, n, "reverted")
	}
	if v := w.view(content); v.Phase != "tripped" {
		t.Fatalf("five hosts without the library: got %s, want the content tripped", v.Phase)
	}
	w.report(content, 1, "reverted")
	if v := w.view(other); v.Harmed != 0 || v.Phase != "running" {
		t.Errorf("the library: got %s with %d harmed, want it running with none", v.Phase, v.Harmed)
	}
}

// Harm is never dropped: where the other rollout cannot take it any more, it counts where it was reported.
func TestBlameThatNobodyTakesStays(t *testing.T) {
	t.Parallel()
	w, content, other := late(t)
	w.ok(w.act(other, rollout.OperatorActed{Action: rollout.RollBack, Actor: "alice"}))
	w.report(content, 1, "reverted")
	w.report(content, 2, "reverted")
	w.report(content, 3, "reverted")
	if v := w.view(content); v.Alarm == "quiet" {
		t.Errorf("got %s, %s with %d harmed, want an alarm: E %.3g", v.Phase, v.Alarm, v.Harmed, v.Evidence)
	}
	if v := w.view(other); v.Harmed != 0 {
		t.Errorf("the library: got %d harmed after it was rolled back, want 0", v.Harmed)
	}
}

// A crash between the two decisions that move harm counts it once in each.
func TestBlameSurvivesFailedWrites(t *testing.T) {
	t.Parallel()
	for _, at := range []int64{1, 2} {
		for _, took := range []bool{false, true} {
			w, content, other := late(t)
			w.acknowledge(content, 1, "reverted", "")
			first := w.store.writes.Load()
			w.store.fail = func(n int64) (bool, bool) { return n >= first+at, took && n == first+at }
			_ = w.engine.Drain(t.Context())
			w.store.fail = nil
			w.restart()
			w.ok(w.engine.Drain(t.Context()))
			if a, b := w.view(content), w.view(other); a.Harmed != 1 || a.Alarm != "quiet" || b.Harmed != 1 {
				t.Errorf("write %d fails, took effect %v: got %d harmed in the content (%s), %d in the library, want 1 (quiet) and 1", at, took,
					a.Harmed, a.Alarm, b.Harmed)
			}
			w.replays(content)
			w.replays(other)
		}
	}
}

// Twins of one component are no overlap: one host runs one of them.
func TestOneComponentIsNoOverlap(t *testing.T) {
	t.Parallel()
	w := open(t, 6)
	w.finish(w.start("v1", nil))
	id := w.start("v2", func(m *release.Manifest) { m.Plan.Window.Start = 2 })
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	w.report(id, 1, "crashed")
	w.report(id, 2, "crashed")
	if v := w.view(id); v.Phase != "tripped" {
		t.Errorf("got %s, want tripped", v.Phase)
	}
}
