package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
)

func (h *host) phase(want install.Phase) {
	h.t.Helper()
	eventually(h.t, fmt.Sprintf("%s to be %s", h.id, want), func() error {
		if s := h.state(); s.Phase != want {
			return fmt.Errorf("is %s; log: %s", s.Phase, tail(h.log.String()))
		}
		return nil
	})
}

// The control plane goes away while a host holds a lease: the host proves the release, keeps it, and tells when it is back.
func TestInvariantI7ControlPlaneGoneDuringALease(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	h.stop()
	h.file.Soak = component.Duration(time.Second)
	h.run()
	id := p.roll("v2", "good rules 2", atOnce())
	h.phase(install.Proving)
	p.stop()
	h.runs("v2")
	if got := h.current(); got != "good rules 2" {
		t.Errorf("in use without a control plane: got %q, want the second release", got)
	}
	p.start()
	p.await(id, "the report to arrive", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
}

// A bad release is left without the control plane as well.
func TestInvariantI5RevertsWithoutControlPlane(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	h.stop()
	h.file.Soak, h.file.Grace = component.Duration(2*time.Second), component.Duration(time.Second)
	h.run()
	id := p.roll("v2", "bad rules 2", atOnce())
	h.phase(install.Proving)
	p.stop()
	h.runs("v1")
	p.start()
	p.await(id, "the reports to arrive", func(r api.Rollout) bool { return r.Harmed == 1 && r.Recovered == 1 })
	if l := p.lease(id, h.id); l.Outcome != "reverted" || l.Detail == "" {
		t.Errorf("lease: got %s (%q), want reverted and why", l.Outcome, l.Detail)
	}
}

// A host that is cut off for longer than its lease's deadline counts as silent, keeps what it proved, and is late when it is back.
func TestCutOffPastTheDeadline(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	short := atOnce()
	// A busy machine switches within two seconds.
	short.Lease = plan.Lease{Expires: plan.Duration(2 * time.Second), Deadline: plan.Duration(2500 * time.Millisecond)}
	h.line.lie(func(_ api.CheckIn, reply api.CheckInReply) api.CheckInReply {
		h.line.dead = len(reply.Leases) > 0 || h.line.dead // the lock is held
		return reply
	})
	id := p.roll("v2", "good rules 2", short)
	p.await(id, "silence to count", func(r api.Rollout) bool { return r.Harmed == 1 })
	if got := p.lease(id, h.id).Outcome; got != "silent" {
		t.Errorf("lease past its deadline: got %s, want silent", got)
	}
	h.runs("v2")
	h.line.lie(nil)
	h.line.mend()
	eventually(t, "the host to be heard", func() error {
		if l := p.lease(id, h.id); l.Outcome != "late" {
			return fmt.Errorf("the lease is %s", l.Outcome)
		}
		return nil
	})
	if got := h.current(); got != "good rules 2" {
		t.Errorf("in use: got %q, want the second release", got)
	}
}

// A host that is shut down in good order while it proves a release says so, and is confirmed when it returns.
func TestGoodbyeAndReturn(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	h.stop()
	h.file.Soak = component.Duration(time.Second)
	h.run()
	id := p.roll("v2", "good rules 2", atOnce())
	h.phase(install.Proving)
	h.stop()
	if l := p.lease(id, h.id); l.Outcome != "goodbye" {
		t.Errorf("lease after an orderly shutdown: got %s, want goodbye; log: %s", l.Outcome, tail(h.log.String()))
	}
	h.run()
	p.await(id, "the host to return", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
}

// A consumer that was not well before the update is no evidence against it: the host goes back, and the release is not blamed.
func TestUnwellBeforeIsNotHarm(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	h.stop()
	h.file.Probes = append(h.file.Probes, component.Probe{TCP: "127.0.0.1:1", Timeout: component.Duration(time.Second), Name: "nobody there"})
	h.run()
	id := p.roll("v2", "good rules 2", atOnce())
	eventually(t, "the release to be given back", func() error {
		if l := p.lease(id, h.id); l.Outcome != "rejected" {
			return fmt.Errorf("lease: %s (%q)", l.Outcome, l.Detail)
		}
		return nil
	})
	p.await(id, "nobody to be harmed", func(r api.Rollout) bool { return r.Harmed == 0 && r.Unconfirmed == 0 })
	if got := h.current(); got != "good rules 1" {
		t.Errorf("in use: got %q, want what ran before", got)
	}
}

// A lease that arrives while its host shuts down is given back: nobody waits for its outcome, and the host gets another when it returns.
func TestLeaseThatMeetsAShutdown(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	ended := make(chan struct{})
	waitFor := ended
	h.line.lie(func(_ api.CheckIn, reply api.CheckInReply) api.CheckInReply {
		if len(reply.Leases) > 0 && ended != nil {
			go func(ended chan struct{}) {
				defer close(ended)
				h.stop()
			}(ended)
			ended = nil
			_ = clock.Wall{}.Sleep(t.Context(), 200*time.Millisecond) // until the agent was told to end
		}
		return reply
	})
	id := p.roll("v2", "good rules 2", atOnce())
	<-waitFor
	if l := p.lease(id, h.id); l.Outcome != "rejected" || h.current() != "good rules 1" {
		t.Errorf("got a lease that is %s (%s) and %q in use, want it rejected and the first release", l.Outcome, l.Detail, h.current())
	}
	h.run()
	p.await(id, "v2 to be confirmed after the return", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
}
