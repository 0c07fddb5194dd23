package oci

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Handler serves the pull half of the OCI distribution specification under /v2/. A repository is a component, a tag a version. It asks
// nobody for a name: whoever mounts it decides who may read.
func Handler(c *Catalogue, log *slog.Logger) http.Handler {
	return &registry{catalogue: c, log: log}
}

type registry struct {
	catalogue *Catalogue
	log       *slog.Logger
}

// What a path is about.
const (
	base      = "base" // /v2/ itself: tells clients that this is a registry
	manifests = "manifests"
	blobs     = "blobs"
	tags      = "tags"
)

// target is a parsed path.
type target struct{ what, name, ref string }

// parse reads an unescaped path. Components have one-word names, so nothing but the four forms below is a path of ours.
func parse(path string) (target, bool) {
	rest, ok := strings.CutPrefix(path, "/v2")
	if !ok {
		return target{}, false
	}
	if rest == "" || rest == "/" {
		return target{what: base}, true
	}
	parts := strings.Split(rest, "/")
	if len(parts) != 4 || parts[0] != "" || !plan.Name(parts[1]) {
		return target{}, false
	}
	t := target{what: parts[2], name: parts[1], ref: parts[3]}
	switch t.what {
	case manifests:
		return t, release.Digest(t.ref).Valid() || isTag(t.ref)
	case blobs:
		return t, release.Digest(t.ref).Valid()
	case tags:
		return t, t.ref == "list"
	}
	return target{}, false
}

// ServeHTTP implements [http.Handler].
func (g *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "this registry is read-only: releases are published with firebreak release publish")
		return
	}
	t, ok := parse(r.URL.Path)
	if !ok {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "there is no such path")
		return
	}
	if t.what == base {
		answer(w, []byte("{}"))
		return
	}
	entries, err := g.catalogue.entries(r.Context(), t.name)
	switch {
	case err != nil:
		g.fail(w, r, err)
	case len(entries) == 0:
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "nothing is published under this name")
	case t.what == manifests:
		g.manifest(w, r, t, entries)
	case t.what == blobs:
		g.blob(w, r, t, entries)
	default:
		g.tags(w, r, t, entries)
	}
}

func (g *registry) manifest(w http.ResponseWriter, r *http.Request, t target, entries []entry) {
	e, ok := find(entries, t.ref)
	if !ok {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN", "there is no such manifest")
		return
	}
	serve(w, r, e.digest, ManifestType, bytes.NewReader(e.data), string(e.digest) == t.ref)
}

// find looks for a digest or a tag. Of several releases with the same tag it is the one whose version it is exactly, else the newest.
func find(entries []entry, ref string) (found entry, ok bool) {
	for _, e := range entries {
		if string(e.digest) == ref || e.tag == ref && (!ok || e.exact || !found.exact) {
			found, ok = e, true
		}
	}
	return found, ok
}

func (g *registry) blob(w http.ResponseWriter, r *http.Request, t target, entries []entry) {
	d := release.Digest(t.ref)
	if !slices.ContainsFunc(entries, func(e entry) bool { return slices.Contains(e.holds, d) }) {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "there is no such blob under this name")
		return
	}
	b, _, err := g.catalogue.blobs.Open(r.Context(), d)
	if err != nil {
		g.fail(w, r, err)
		return
	}
	defer b.Close()
	serve(w, r, d, "application/octet-stream", b, true)
}

// serve lets net/http do ranges and conditions. What a digest names never changes; what a tag names may.
func serve(w http.ResponseWriter, r *http.Request, d release.Digest, mediaType string, content io.ReadSeeker, forever bool) {
	header := w.Header()
	header.Set("Content-Type", mediaType)
	header.Set("Docker-Content-Digest", string(d))
	header.Set("ETag", `"`+string(d)+`"`)
	header.Set("Cache-Control", "no-cache")
	if forever {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, content)
}

// tagList is the specification's.
type tagList struct {
	Name string   `json:"name"`
	Tags []string `json:"tags"`
}

func (g *registry) tags(w http.ResponseWriter, r *http.Request, t target, entries []entry) {
	all := []string{}
	for _, e := range entries {
		if e.tag != "" {
			all = append(all, e.tag)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	query := r.URL.Query()
	if last := query.Get("last"); last != "" {
		from, found := slices.BinarySearch(all, last)
		if found {
			from++
		}
		all = all[from:]
	}
	if text := query.Get("n"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			refuse(w, http.StatusBadRequest, "UNSUPPORTED", "n must be a number of tags")
			return
		}
		if n > 0 && n < len(all) {
			all = all[:n]
			next := url.Values{"n": {text}, "last": {all[n-1]}}
			w.Header().Set("Link", "</v2/"+t.name+"/tags/list?"+next.Encode()+`>; rel="next"`)
		} else if n == 0 {
			all = []string{}
		}
	}
	data, err := json.Marshal(tagList{Name: t.name, Tags: all})
	if err != nil {
		g.fail(w, r, err)
		return
	}
	answer(w, data)
}

func answer(w http.ResponseWriter, data []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // nobody is left to be told of an error
}

// fail answers with what is not the caller's fault. Details stay in the log.
func (g *registry) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch fault.KindOf(err) {
	case fault.NotFound:
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN", "there is no such blob")
	case fault.Unavailable:
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusServiceUnavailable, "UNAVAILABLE", "the store of blobs does not answer")
	case fault.Internal, fault.Invalid, fault.Conflict, fault.Denied:
		if r.Context().Err() == nil {
			g.log.ErrorContext(r.Context(), "registry request failed", slog.String("path", r.URL.Path), slog.Any("error", err))
		}
		refuse(w, http.StatusInternalServerError, "UNKNOWN", "internal error")
	}
}

// refuse answers with an error as the specification has them.
func refuse(w http.ResponseWriter, status int, code, message string) {
	type problem struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}
	data, err := json.Marshal(map[string][]problem{"errors": {{code, message}}})
	if err != nil {
		data = []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(data) // nobody is left to be told of an error
}
