package e2e

import (
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
)

// A host that proves a release holds a line to the control plane: when the rollout is rolled back it has the release before in use again
// within a second, though its next poll is a minute away.
func TestHaltIsSeenWithinASecond(t *testing.T) { //nolint:paralleltest // it measures
	p := newPlane(t, time.Minute, time.Minute)
	first := p.roll("v1", "good rules 1", atOnce())
	h := p.newHost()
	h.file.Soak = component.Duration(200 * time.Millisecond)
	h.run()
	h.runs("v1")
	p.await(first, "the first release to be everywhere", complete)
	h.stop()
	h.file.Soak = component.Duration(time.Minute)
	id := p.roll("v2", "good rules 2", atOnce())
	h.run()
	h.phase(install.Proving)
	_ = clock.Wall{}.Sleep(t.Context(), time.Second) // until it has said so, and holds its line
	if _, err := p.client.RollBack(t.Context(), id, "it is no good"); err != nil {
		t.Fatal(err)
	}
	began := clock.Wall{}.Now()
	eventually(t, "the release before to be in use again", func() error {
		if got := h.current(); got != "good rules 1" {
			return errCut
		}
		return nil
	})
	took := clock.Wall{}.Now().Sub(began)
	t.Logf("from the halt's answer to the release before: %s", took)
	if took > time.Second {
		t.Errorf("got the release before %s after the halt's answer, want at most 1 s", took)
	}
}
