package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

func TestDeltasAreNotedOnceTheirBytesAreThere(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	put := func(text string) (digest string) {
		t.Helper()
		digest = string(release.DigestOf([]byte(text)))
		if err := w.Blobs.Put(t.Context(), release.Digest(digest), int64(len(text)), strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		return digest
	}
	artifact, blob, nowhere := put("artifact"), put("delta"), string(release.DigestOf(nil))
	body := func(from, digest string, size int, form string) string {
		return fmt.Sprintf(`{"from":%q,"digest":%q,"size":%d,"form":%q}`, from, digest, size, form)
	}
	good := body(nowhere, blob, 5, api.DeltaDCZ)
	for name, row := range map[string]struct {
		path, body string
		want       int
	}{
		"good":             {artifact, good, http.StatusNoContent},
		"no artifact":      {nowhere, good, http.StatusNotFound},
		"no bytes":         {artifact, body(nowhere, nowhere, 5, api.DeltaDCZ), http.StatusNotFound},
		"another size":     {artifact, body(nowhere, blob, 6, api.DeltaDCZ), http.StatusBadRequest},
		"no digest":        {artifact, body(nowhere, "x", 5, api.DeltaDCZ), http.StatusBadRequest},
		"unknown form":     {artifact, body(nowhere, blob, 5, "telepathy"), http.StatusBadRequest},
		"dcz from nothing": {artifact, body("", blob, 5, api.DeltaDCZ), http.StatusBadRequest},
		"zstd from one":    {artifact, body(nowhere, blob, 5, api.DeltaZstd), http.StatusBadRequest},
		"not an artifact":  {"sha256:1", good, http.StatusBadRequest},
	} {
		if answer, text := w.Do(http.MethodPut, "/api/v1/deltas/"+row.path, row.body); answer.StatusCode != row.want {
			t.Errorf("%s: got %d %s, want %d", name, answer.StatusCode, text, row.want)
		}
	}
	_, text := w.Do(http.MethodGet, "/api/v1/deltas/"+artifact, "")
	var page api.Page[api.Delta]
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]api.Delta{{From: nowhere, Digest: blob, Size: 5, Form: api.DeltaDCZ}}, page.Items); diff != "" {
		t.Errorf("deltas (-want +got):\n%s", diff)
	}
}
