package engine_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// oracle answers gates as it is told, and counts how often it was asked.
type oracle struct {
	mu    sync.Mutex
	said  []evidence.GateResult
	asked int
}

func (o *oracle) say(results ...evidence.GateResult) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.said = results
}

// Ask implements engine.Gates.
func (o *oracle) Ask(_ context.Context, gates []evidence.Gate) []evidence.GateResult {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.asked++
	if len(gates) != 1 || gates[0].Name != "errors" {
		return nil
	}
	return o.said
}

func gated(m *release.Manifest) {
	below := 0.01
	m.Plan.Rings[0].Evidence.Gates = []evidence.Gate{{Name: "errors", Query: "sum(rate(errors[5m]))", Below: &below}}
}

// A ring waits for its gates: no answer, no data and a bad answer mean wait (I4), and only a good one opens the next ring.
func TestInvariantI4GatesWait(t *testing.T) {
	t.Parallel()
	w := open(t, 12)
	o := &oracle{}
	w.gates = o
	w.restart()
	id := w.start("v1", gated)
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	for _, said := range [][]evidence.GateResult{
		nil,
		{{Name: "errors", Text: "no data"}},
		{{Name: "errors", Text: "0.5"}},
		{{Name: "something-else", OK: true}},
	} {
		o.say(said...)
		w.pass(time.Minute)
		w.pass(time.Minute)
		v := w.view(id)
		if v.Ring != 0 || len(v.Missing) != 1 || v.Missing[0].Name != "gate errors" {
			t.Fatalf("gate says %+v: got ring %d, missing %+v, want it to wait for the gate alone", said, v.Ring, v.Missing)
		}
	}
	o.say(evidence.GateResult{Name: "errors", OK: true, Text: "0.001"})
	w.pass(time.Minute) // the answer may come as late as its end: it is waited for there
	w.pass(time.Minute)
	if v := w.view(id); v.Ring != 1 {
		t.Errorf("gate is met: got ring %d, want 1: %+v", v.Ring, v.Missing)
	}
	asked := o.asked
	w.pass(2 * time.Minute)
	if o.asked != asked {
		t.Errorf("got the gates of the first ring asked %d times after it was done, want 0", o.asked-asked)
	}
	w.replays(id)
}

// Without anybody to ask, a gate is never met.
func TestInvariantI4NobodyToAsk(t *testing.T) {
	t.Parallel()
	w := open(t, 12)
	id := w.start("v1", gated)
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	w.pass(10 * time.Minute)
	if v := w.view(id); v.Ring != 0 || len(v.Missing) != 1 || v.Missing[0].Have != "no data" {
		t.Errorf("got ring %d, missing %+v, want it to wait", v.Ring, v.Missing)
	}
}

// A ring that must see the large strata waits until each has a confirmed host, and does not wait for small ones.
func TestStrataAreCovered(t *testing.T) {
	t.Parallel()
	w := open(t, 20)
	w.describe(11, 15, func(_ int, e *registry.Endpoint) { e.Subject.Attributes.OS = "windows" })
	w.describe(16, 16, func(_ int, e *registry.Endpoint) { e.Subject.Attributes.OS = "plan9" })
	id := w.start("v1", func(m *release.Manifest) { m.Plan.Rings[0].Evidence.Strata = 0.1 })
	w.lease(id, 1, 2)
	w.report(id, 1, "confirmed")
	w.report(id, 2, "confirmed")
	w.pass(2 * time.Minute)
	v := w.view(id)
	if v.Ring != 0 || len(v.Missing) != 1 || v.Missing[0].Name != "strata" || v.Missing[0].Have != "1" || v.Missing[0].Need != "2" {
		t.Fatalf("got ring %d, missing %+v, want 1 of 2 strata", v.Ring, v.Missing)
	}
	if w.ask(id, 3) == "" {
		t.Error("one more of the stratum that was seen got a lease")
	}
	w.lease(id, 11)
	w.report(id, 11, "confirmed")
	w.pass(2 * time.Minute)
	if v := w.view(id); v.Ring != 1 {
		t.Errorf("with both seen: got ring %d, want 1: %+v", v.Ring, v.Missing)
	}
	w.replays(id)
}
