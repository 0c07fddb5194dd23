package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
)

// direct shows the host directives with the given holds on the candidate, each newer than those before.
func (h *host) direct(director *trust.Signer, later int64, holds ...api.Hold) {
	h.t.Helper()
	h.line.show(func(envelope []byte) []byte {
		d := payload[api.Directive](h.t, envelope)
		d.Sequence += later
		if d.Candidate != nil {
			d.Candidate.Holds = holds
		}
		sealed, err := trust.SealDirective(d, director)
		if err != nil {
			h.t.Error(err)
		}
		return sealed
	})
	h.line.lie(func(_ api.CheckIn, reply api.CheckInReply) api.CheckInReply {
		for name := range reply.Directives {
			reply.Directives[name] += later
		}
		return reply
	})
}

// A release that is held while a host proves it is left at once and without the control plane, which may be gone by then. The host says
// why it does not take the release, also after a restart, and turns to it again when the hold is lifted. Hosts that are not picked go on.
func TestInvariantI5HeldReleaseIsLeft(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 2)
	held, other := hosts[0], hosts[1]
	for i, h := range hosts {
		h.stop()
		h.file.Soak = component.Duration(3 * time.Second)
		h.file.Provides = map[string]string{"version": fmt.Sprintf("7.1%d", 1+i)}
		h.run()
	}
	id := p.roll("v2", "good rules 2", atOnce())
	held.phase(install.Proving)
	hold := api.Hold{Select: map[string][]string{"site": {"here"}, "consumer": {"7.11"}}, Reason: "crashes with consumer 7.11"}
	for _, h := range hosts {
		h.direct(p.director(), 1000, hold)
	}
	eventually(t, "the way back to begin", func() error {
		if s := held.state(); s.Phase != install.Reverting && s.Phase != install.Recovering || !strings.Contains(s.Why, hold.Reason) {
			return fmt.Errorf("is %s: %s", s.Phase, s.Why)
		}
		return nil
	})
	held.line.cut()
	held.runs("v1")
	held.stop()
	held.run()
	held.direct(p.director(), 1000, hold)
	eventually(t, "the host to say why it does not take v2", func() error {
		if s := held.state(); s.Phase != install.Idle || !strings.Contains(s.Why, "does not try v2: it is held for this host: "+hold.Reason) {
			return fmt.Errorf("is %s: %s", s.Phase, s.Why)
		}
		return nil
	})
	other.runs("v2")
	p.await(id, "the report of the host that is not held", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
	held.direct(p.director(), 2000)
	eventually(t, "the host to turn to v2 again", func() error {
		if s := held.state(); s.Next.Version != "v2" && s.Current.Version != "v2" {
			return fmt.Errorf("is %s: %s", s.Phase, s.Why)
		}
		return nil
	})
}
