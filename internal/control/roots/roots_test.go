package roots_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/roots"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// TestWhatIsNeededAndWhy walks one component through its life.
func TestWhatIsNeededAndWhy(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	old := w.Publish("sensor-content", "0.5") // never rolled out, and overtaken
	w.Trip("sensor-content")                  // version 2, by ro-1
	three := w.Publish("sensor-content", "3")
	runs := release.DigestOf([]byte("what somebody runs"))
	row, err := w.Store.Endpoint(t.Context(), "ep-009")
	if err != nil {
		t.Fatal(err)
	}
	row.Components, err = json.Marshal(map[string]api.Component{"sensor-content": {Artifact: string(runs)}, "other": {Artifact: "nonsense"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Store.SaveEndpoint(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	delta := func(p release.Published) release.Digest {
		d := release.DigestOf([]byte("delta to " + p.Manifest.Version))
		err := w.Store.PutDelta(t.Context(), store.Delta{Artifact: p.Manifest.Artifacts[0].Digest, Base: runs, Form: api.DeltaDCZ, Blob: d, Size: 5})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	toOld, toThree := delta(old), delta(three)
	uploading, pinned := release.DigestOf([]byte("uploading")), release.DigestOf([]byte("pinned"))
	got := needed(t, w, uploading, pinned)
	two, err := w.Store.Release(t.Context(), "sensor-content", "2")
	if err != nil {
		t.Fatal(err)
	}
	for d, want := range map[release.Digest]string{
		two.Digest: "rollout ro-1 (tripped)", two.Manifest.Artifacts[0].Digest: "rollout ro-1", three.Manifest.Artifacts[0].Digest: "published",
		toThree: "delta: sensor-content 3", runs: "endpoint ep-009", uploading: "uploaded", pinned: "pinned",
	} {
		if !strings.Contains(got[d], want) || got[d] == "" {
			t.Errorf("got %s needed because %q, want %q", d.Short(), got[d], want)
		}
	}
	for _, d := range []release.Digest{old.Digest, old.Manifest.Artifacts[0].Digest, toOld} {
		if why, ok := got[d]; ok {
			t.Errorf("got %s needed because %q, want it free", d.Short(), why)
		}
	}
}

func TestAnEndpointKeepsWhatItRunsAndWhereItWouldGoBackTo(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	zero, one := w.Publish("sensor-content", "0"), w.Publish("sensor-content", "1")
	w.Trip("sensor-content")
	row, err := w.Store.Endpoint(t.Context(), "ep-001")
	if err != nil {
		t.Fatal(err)
	}
	row.Components = json.RawMessage(`{"sensor-content":{"version":"1","previous":"0"}}`)
	if err := w.Store.SaveEndpoint(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	got := needed(t, w, "", "")
	for p, want := range map[string]release.Published{"endpoint ep-001 runs it": one, "go back to it": zero} {
		if why := got[want.Manifest.Artifacts[0].Digest]; !strings.Contains(why, p) {
			t.Errorf("got version %s needed because %q, want %q", want.Manifest.Version, why, p)
		}
	}
	row.Components = json.RawMessage(`{"sensor-content":7}`)
	if err := w.Store.SaveEndpoint(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	if err := (roots.Roots{Store: w.Store}).Needed(t.Context(), func(release.Digest, string) {}); err == nil {
		t.Error("got an answer although an endpoint's words cannot be read, want an error")
	}
}

func needed(t *testing.T, w *servertest.World, uploading, pinned release.Digest) map[release.Digest]string {
	t.Helper()
	got := map[release.Digest]string{}
	r := roots.Roots{
		Store: w.Store, Uploads: func() []release.Digest { return []release.Digest{uploading} },
		Pins: func(context.Context) ([]release.Digest, error) { return []release.Digest{pinned}, nil },
	}
	err := r.Needed(t.Context(), func(d release.Digest, why string) {
		if got[d] == "" || strings.Contains(why, "delta") {
			got[d] = why
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
