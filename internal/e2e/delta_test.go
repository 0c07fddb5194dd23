package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// Of the second release a host moves what changed, in one request, and nobody had to ask for it.
func TestDelta(t *testing.T) {
	t.Parallel()
	p := newPlane(t)
	h := p.newHosts(1)[0]
	var b strings.Builder
	for i := range 1200 {
		fmt.Fprintf(&b, "rule %d says good if the score is %d\n", i, i*i*2654435761%1_000_003)
	}
	rules := b.String()
	p.await(p.roll("v1", rules, atOnce()), "v1 to be everywhere", complete)
	h.says("artifact transfer", "form=zstd")
	published := p.publish("v2", rules+"one more good rule\n", atOnce())
	if len(published.Deltas) != 2 || published.Deltas[1].From != "v1" || published.NoDeltas != "" {
		t.Errorf("got deltas %v, %s, want one from nothing and one from v1", published.Deltas, published.NoDeltas)
	}
	p.await(p.begin("v2"), "v2 to be everywhere", complete)
	h.says("artifact transfer", "form=dcz", "complete=true")
	if got := h.current(); got != rules+"one more good rule\n" {
		t.Errorf("in use: got %d bytes, want those of v2", len(got))
	}
}
