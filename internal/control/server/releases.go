package server

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// States of a release.
const (
	statePublished = "published"
	stateRecalled  = "recalled"
)

func (s *server) listReleases(w http.ResponseWriter, r *http.Request) error {
	component := r.URL.Query().Get("component")
	if component != "" {
		if _, err := s.Components.Component(r.Context(), component); err != nil {
			return err
		}
	}
	releases, err := s.Releases.Releases(r.Context(), component)
	if err != nil {
		return err
	}
	recalled, err := s.recalled(r, component)
	if err != nil {
		return err
	}
	return writeAll(w, each(releases, func(p release.Published) api.Release { return releaseWire(p, recalled[p.Digest]) }))
}

func (s *server) getRelease(w http.ResponseWriter, r *http.Request) error {
	p, err := s.Releases.Release(r.Context(), r.PathValue("component"), r.PathValue("version"))
	if err != nil {
		return err
	}
	recalled, err := s.recalled(r, p.Manifest.Component)
	if err != nil {
		return err
	}
	answer := releaseWire(p, recalled[p.Digest])
	if answer.Document, err = json.Marshal(p.Manifest); err != nil {
		return fmt.Errorf("encode manifest of %s %s: %w", p.Manifest.Component, p.Manifest.Version, err)
	}
	return writeOK(w, answer)
}

// recalled is the set of recalled manifests of a component, or of all.
func (s *server) recalled(r *http.Request, component string) (map[release.Digest]bool, error) {
	recalls, err := s.Releases.Recalls(r.Context(), component)
	if err != nil {
		return nil, err
	}
	set := make(map[release.Digest]bool, len(recalls))
	for _, c := range recalls {
		set[c.Manifest] = true
	}
	return set, nil
}

func releaseWire(p release.Published, recalled bool) api.Release {
	answer := api.Release{
		Component: p.Manifest.Component, Version: p.Manifest.Version, Serial: p.Manifest.Serial, Manifest: string(p.Digest),
		Created: p.Manifest.Created, State: statePublished, Validated: p.Manifest.Validated(),
	}
	if recalled {
		answer.State = stateRecalled
	}
	return answer
}

func (s *server) onlineKeys(w http.ResponseWriter, r *http.Request) error {
	keys, err := s.Repository.Online(r.Context())
	if err != nil {
		return err
	}
	return writeOK(w, keys)
}

func (s *server) pendingMetadata(w http.ResponseWriter, r *http.Request) error {
	pending, err := s.Repository.Pending(r.Context())
	if err != nil {
		return err
	}
	return writeAll(w, pending)
}

func (s *server) submitMetadata(w http.ResponseWriter, r *http.Request) error {
	data, err := read(w, r, trust.MaxMetadata)
	if err != nil {
		return err
	}
	role, err := roleOf(r)
	if err != nil {
		return err
	}
	answer, err := s.Repository.Submit(r.Context(), role, data)
	if err != nil {
		return err
	}
	return writeOK(w, answer)
}

func (s *server) discardMetadata(w http.ResponseWriter, r *http.Request) error {
	role, err := roleOf(r)
	if err != nil {
		return err
	}
	if err := s.Repository.Discard(r.Context(), role); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// roleOf is the role that the path names.
func roleOf(r *http.Request) (string, error) {
	role := r.PathValue("role")
	if !plan.Name(role) {
		return "", fault.New(fault.Invalid, "read role %q: must be 1 to 63 lower-case letters, digits and dashes", shorten(role))
	}
	return role, nil
}

func (s *server) metadataFile(w http.ResponseWriter, r *http.Request) error {
	data, err := s.Repository.File(r.Context(), r.PathValue("file"))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) //nolint:gosec // signed metadata, served as JSON that nobody sniffs
	return nil
}

// getBlob serves HEAD and GET, with ranges. HEAD is how a publisher asks what to upload, so a damaged blob is not found.
func (s *server) getBlob(w http.ResponseWriter, r *http.Request) error {
	digest, err := digestOf(r)
	if err != nil {
		return err
	}
	blob, _, err := s.Blobs.Open(r.Context(), digest)
	if err != nil {
		return err
	}
	defer blob.Close()
	if r.Method == http.MethodHead {
		if err := sound(digest, blob); err != nil {
			return err
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+string(digest)+`"`)
	http.ServeContent(w, r, "", time.Time{}, blob)
	return nil
}

func (s *server) putBlob(w http.ResponseWriter, r *http.Request) error {
	digest, err := digestOf(r)
	if err != nil {
		return err
	}
	switch {
	case r.ContentLength < 0:
		return withStatus(http.StatusLengthRequired, fault.New(fault.Invalid, "upload %s: the request does not say how long it is", digest))
	case r.ContentLength > release.MaxArtifactSize:
		return withStatus(http.StatusRequestEntityTooLarge, fault.New(fault.Invalid, "upload %s: it has %d bytes; %d is the most",
			digest, r.ContentLength, int64(release.MaxArtifactSize)))
	}
	if err := s.dropDamaged(r.Context(), digest); err != nil {
		return err
	}
	if err := s.Blobs.Put(r.Context(), digest, r.ContentLength, io.LimitReader(r.Body, r.ContentLength)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// dropDamaged removes a blob that no longer has the bytes of its digest, so that it can be stored anew.
func (s *server) dropDamaged(ctx context.Context, digest release.Digest) error {
	blob, _, err := s.Blobs.Open(ctx, digest)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	err = sound(digest, blob)
	_ = blob.Close() // it was only read
	if fault.KindOf(err) != fault.NotFound {
		return err
	}
	s.Log.ErrorContext(ctx, "damaged blob is replaced", slog.String("digest", string(digest)))
	return s.Blobs.Remove(ctx, digest)
}

// sound reads a blob to its end and rewinds it. A damaged one is fault.NotFound: the bytes that the digest names are not there.
func sound(digest release.Digest, blob io.ReadSeeker) error {
	sum := sha256.New()
	if _, err := io.Copy(sum, blob); err != nil {
		return fmt.Errorf("read blob %s: %w", digest, err)
	}
	if release.DigestFrom([sha256.Size]byte(sum.Sum(nil))) != digest {
		return fault.New(fault.NotFound, "read blob %s: its file is damaged", digest).Hint("Publish the same content again: it is uploaded anew.")
	}
	if _, err := blob.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read blob %s: %w", digest, err)
	}
	return nil
}

func digestOf(r *http.Request) (release.Digest, error) {
	digest := release.Digest(r.PathValue("digest"))
	if !digest.Valid() {
		return "", fault.New(fault.Invalid, `read digest %q: must be "sha256:" and 64 hexadecimal digits`, shorten(string(digest)))
	}
	return digest, nil
}

// shorten keeps what a stranger sent readable in a message.
func shorten(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
