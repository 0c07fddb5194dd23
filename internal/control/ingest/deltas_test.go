package ingest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// shelf has an artifact, and deltas of all forms that lead to it.
type shelf struct {
	*host
	artifact                []byte
	dcz, zstd, windows, old []byte
}

func newShelf(t *testing.T) shelf {
	t.Helper()
	w := open(t)
	s := shelf{
		host: w.enrolled(), artifact: []byte("the artifact"), dcz: []byte("by dictionary"), zstd: []byte("compressed"), windows: []byte("in windows"),
		old: []byte("the old artifact"),
	}
	s.put(s.artifact)
	for form, data := range map[string][]byte{api.DeltaDCZ: s.dcz, api.DeltaZstd: s.zstd, api.DeltaWindows: s.windows} {
		d := store.Delta{Artifact: release.DigestOf(s.artifact), Form: form, Blob: s.put(data), Size: int64(len(data))}
		if form != api.DeltaZstd {
			d.Base = release.DigestOf(s.old)
		}
		if form == api.DeltaZstd {
			d.Size += 1000 // listed last
		}
		w.ok(w.db.PutDelta(t.Context(), d))
	}
	return s
}

func (s shelf) put(data []byte) release.Digest {
	digest := release.DigestOf(data)
	s.ok(s.blobs.Put(s.t.Context(), digest, int64(len(data)), bytes.NewReader(data)))
	return digest
}

func TestDeltasAreListed(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	status, data := s.do(http.MethodGet, api.PathDeltas+string(release.DigestOf(s.artifact)), "", nil)
	var list api.DeltaList
	if err := json.Unmarshal(data, &list); err != nil || status != http.StatusOK {
		t.Fatalf("got %d %s, %v, want a list", status, data, err)
	}
	old := string(release.DigestOf(s.old))
	want := []api.Delta{
		{From: old, Digest: string(release.DigestOf(s.windows)), Size: int64(len(s.windows)), Form: api.DeltaWindows},
		{From: old, Digest: string(release.DigestOf(s.dcz)), Size: int64(len(s.dcz)), Form: api.DeltaDCZ},
		{Digest: string(release.DigestOf(s.zstd)), Size: int64(len(s.zstd)) + 1000, Form: api.DeltaZstd},
	}
	if diff := cmp.Diff(want, list.Deltas); diff != "" {
		t.Errorf("deltas (-want +got):\n%s", diff)
	}
	if status, data = s.do(http.MethodGet, api.PathDeltas+string(release.DigestOf(nil)), "", nil); status != http.StatusOK || string(data) != `{"deltas":[]}` {
		t.Errorf("of something unknown: got %d %s, want an empty list", status, data)
	}
	if status, data = s.do(http.MethodGet, api.PathDeltas+"sha256:1", "", nil); status == http.StatusOK {
		t.Errorf("of nothing: got %d %s, want a refusal", status, data)
	}
}

func TestArtifactComesInTheFormThatTheHostCanUse(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	dictionary := func(data []byte) string {
		sum := sha256.Sum256(data)
		return ":" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	}
	for name, row := range map[string]struct {
		accept, dictionary, ranges string
		coding                     string
		want                       []byte
	}{
		"nothing said":     {"", "", "", "", s.artifact},
		"dictionary":       {"dcz, zstd", dictionary(s.old), "", "dcz", s.dcz},
		"other dictionary": {"dcz, zstd", dictionary(s.zstd), "", "zstd", s.zstd},
		"only dcz":         {"dcz", dictionary(s.zstd), "", "", s.artifact},
		"no dictionary":    {"dcz;q=1, zstd ; q=0.5", "", "", "zstd", s.zstd},
		"dcz unwanted":     {"gzip, dcz;q=0, zstd", dictionary(s.old), "", "zstd", s.zstd},
		"none of them":     {"gzip, zstd;q=0.0", dictionary(s.old), "", "", s.artifact},
		"garbage":          {"dcz", ":????:", "", "", s.artifact},
		"a range":          {"dcz, zstd", dictionary(s.old), "bytes=4-", "", s.artifact[4:]},
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
			s.server.URL+api.PathArtifacts+string(release.DigestOf(s.artifact)), http.NoBody)
		s.ok(err)
		for key, value := range map[string]string{"Accept-Encoding": row.accept, "Available-Dictionary": row.dictionary, "Range": row.ranges} {
			if value != "" {
				request.Header.Set(key, value)
			}
		}
		response, err := s.client.Do(request)
		s.ok(err)
		data, err := io.ReadAll(response.Body)
		s.ok(err)
		s.ok(response.Body.Close())
		if got := response.Header.Get("Content-Encoding"); got != row.coding || !bytes.Equal(data, row.want) {
			t.Errorf("%s: got %q in the form %q, want %q in %q", name, data, got, row.want, row.coding)
		}
		if response.Header.Get("Vary") != "Accept-Encoding, Available-Dictionary" {
			t.Errorf("%s: got Vary %q, want that caches tell the forms apart", name, response.Header.Get("Vary"))
		}
		if plain := response.Header.Get("ETag") == `"`+release.DigestOf(s.artifact).Hex()+`"`; plain != (row.coding == "") {
			t.Errorf("%s: got the tag %s, want one for each form", name, response.Header.Get("ETag"))
		}
	}
}

// A delta whose bytes are gone is passed over.
func TestArtifactComesAsItIsWhenTheDeltaIsLost(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.ok(s.blobs.Remove(t.Context(), release.DigestOf(s.zstd)))
	status, data := s.do(http.MethodGet, api.PathArtifacts+string(release.DigestOf(s.artifact)), "", http.Header{"Accept-Encoding": {"zstd"}})
	if status != http.StatusOK || !bytes.Equal(data, s.artifact) {
		t.Errorf("got %d %s, want the artifact", status, data)
	}
}
