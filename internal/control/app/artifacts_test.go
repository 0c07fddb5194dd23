package app

import (
	"context"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// A replica whose store lacks what is being rolled out is not ready: its hosts would fetch for ever.
func TestAReplicaWithoutTheArtifactsSaysSo(t *testing.T) {
	t.Parallel()
	here, elsewhere := release.DigestOf([]byte("here")), release.DigestOf([]byte("elsewhere"))
	has := func(_ context.Context, d release.Digest) (bool, error) { return d == here, nil }
	m := release.Manifest{Component: "sensor-content", Version: "v2", Artifacts: []release.Artifact{{Digest: here}}}
	if err := lacks(t.Context(), m, has); err != nil {
		t.Errorf("got %v, want that nothing is missing", err)
	}
	m.Artifacts = append(m.Artifacts, release.Artifact{Digest: elsewhere})
	err := lacks(t.Context(), m, has)
	if fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), "sensor-content v2") || !strings.Contains(fault.NextOf(err), "--blobs") {
		t.Errorf("got %v, want that it names the release and what to do", err)
	}
	away := func(context.Context, release.Digest) (bool, error) {
		return false, fault.New(fault.Unavailable, "away")
	}
	if err := lacks(t.Context(), m, away); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, want why the store does not answer", err)
	}
}
