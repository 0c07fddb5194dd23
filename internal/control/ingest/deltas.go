package ingest

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Deltas knows how artifacts are had from others. *store.Store is one.
type Deltas interface {
	// Deltas lists those that lead to an artifact, the shortest first.
	Deltas(ctx context.Context, artifact release.Digest) ([]store.Delta, error)
}

// whileFresh is how long a list of deltas may be kept: publishers add to it for a while after they published.
const whileFresh = "max-age=60"

// deltas lists the deltas that lead to an artifact. There may be none.
func (in *Ingest) deltas(w http.ResponseWriter, r *http.Request, _ fleet.EndpointID) error {
	digest := release.Digest(r.PathValue("digest"))
	if !digest.Valid() {
		return fault.New(fault.Invalid, `list deltas: %q is not "sha256:" and 64 hexadecimal digits`, string(digest))
	}
	known, err := in.Store.Deltas(r.Context(), digest)
	if err != nil {
		return err
	}
	list := api.DeltaList{Deltas: []api.Delta{}}
	for _, d := range known[:min(len(known), api.MaxDeltas)] {
		list.Deltas = append(list.Deltas, api.Delta{From: string(d.Base), Digest: string(d.Blob), Size: d.Size, Form: d.Form})
	}
	w.Header().Set("Cache-Control", whileFresh)
	return answer(w, list)
}

// encoded serves an artifact in a form that the request accepts, as RFC 9842 and RFC 9110 have it, and tells whether it did. What stands
// in its way is no error: the artifact is then served as it is.
func (in *Ingest) encoded(w http.ResponseWriter, r *http.Request, digest release.Digest) bool {
	w.Header().Set("Vary", "Accept-Encoding, Available-Dictionary")
	if r.Method != http.MethodGet || r.Header.Get("Range") != "" || !accepts(r, api.DeltaZstd) && !accepts(r, api.DeltaDCZ) {
		return false
	}
	known, err := in.Store.Deltas(r.Context(), digest)
	if err != nil {
		in.Log.WarnContext(r.Context(), "list deltas; the artifact is served as it is", slog.Any("error", err))
		return false
	}
	base := dictionaryOf(r)
	i := slices.IndexFunc(known, func(d store.Delta) bool {
		return d.Form == api.DeltaZstd && accepts(r, d.Form) || d.Form == api.DeltaDCZ && accepts(r, d.Form) && d.Base == base
	})
	if i < 0 {
		return false
	}
	blob, size, err := in.Blobs.Open(r.Context(), known[i].Blob)
	if err != nil {
		in.Log.WarnContext(r.Context(), "open a delta; the artifact is served as it is", slog.Any("error", err))
		return false
	}
	defer func() { _ = blob.Close() }()
	w.Header().Set("Content-Encoding", known[i].Form)
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+digest.Hex()+"-"+known[i].Blob.Short()+`"`)
	w.Header().Set("Cache-Control", "no-transform, max-age=300") // a shorter delta may come
	_, _ = io.Copy(w, blob)                                      // a host that went away meanwhile is no error of ours
	return true
}

// accepts tells whether the request names a content coding and does not refuse it.
func accepts(r *http.Request, coding string) bool {
	for _, line := range r.Header.Values("Accept-Encoding") {
		for item := range strings.SplitSeq(line, ",") {
			name, weight, _ := strings.Cut(item, ";")
			if strings.EqualFold(strings.TrimSpace(name), coding) {
				return strings.Trim(strings.TrimSpace(weight), "q=0.") != "" || strings.TrimSpace(weight) == ""
			}
		}
	}
	return false
}

// dictionaryOf is the artifact that the host has, by its own words; no digest if it has none.
func dictionaryOf(r *http.Request) release.Digest {
	text := strings.TrimSpace(r.Header.Get("Available-Dictionary"))
	sum, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(strings.TrimPrefix(text, ":"), ":"))
	if digest := release.Digest("sha256:" + hex.EncodeToString(sum)); err == nil && digest.Valid() {
		return digest
	}
	return "none"
}
