package server

import (
	"context"
	"net/http"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Deltas notes how artifacts are had from others. *store.Store is one.
type Deltas interface {
	PutDelta(ctx context.Context, d store.Delta) error
	Deltas(ctx context.Context, artifact release.Digest) ([]store.Delta, error)
}

func (s *server) listDeltas(w http.ResponseWriter, r *http.Request) error {
	artifact, err := digestOf(r)
	if err != nil {
		return err
	}
	all, err := s.Releases.Deltas(r.Context(), artifact)
	if err != nil {
		return err
	}
	return writeAll(w, each(all, func(d store.Delta) api.Delta {
		return api.Delta{From: string(d.Base), Digest: string(d.Blob), Size: d.Size, Form: d.Form}
	}))
}

// putDelta notes a delta whose blob was uploaded before. Whether it leads where it says nobody needs to know: hosts find out.
func (s *server) putDelta(w http.ResponseWriter, r *http.Request) error {
	artifact, err := digestOf(r)
	if err != nil {
		return err
	}
	var wanted deltaBody
	if err = decode(w, r, &wanted); err != nil {
		return err
	}
	known, err := s.Releases.Deltas(r.Context(), artifact)
	if err != nil {
		return err
	}
	if len(known) >= api.MaxDeltas {
		return fault.New(fault.Conflict, "note a delta of %s: it has %d already", artifact.Short(), len(known))
	}
	for _, digest := range []release.Digest{artifact, release.Digest(wanted.Digest)} {
		size, errSize := s.sizeOf(r.Context(), digest)
		if errSize != nil {
			return errSize
		}
		if digest != artifact && size != wanted.Size {
			return fault.New(fault.Invalid, "note a delta of %s: %s has %d bytes, not %d", artifact.Short(), digest, size, wanted.Size)
		}
	}
	err = s.Releases.PutDelta(r.Context(), store.Delta{
		Artifact: artifact, Base: release.Digest(wanted.From), Form: wanted.Form, Blob: release.Digest(wanted.Digest), Size: wanted.Size,
	})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// sizeOf is how long a blob is.
func (s *server) sizeOf(ctx context.Context, digest release.Digest) (int64, error) {
	blob, size, err := s.Blobs.Open(ctx, digest)
	if err != nil {
		return 0, err
	}
	return size, blob.Close()
}

// deltaBody is api.Delta with its rules.
type deltaBody api.Delta

// Check implements resource.Checker.
func (d deltaBody) Check() []fault.Problem {
	var problems []fault.Problem
	require := func(ok bool, path, message string) {
		if !ok {
			problems = append(problems, fault.Problem{Path: path, Message: message})
		}
	}
	require(d.From == "" || release.Digest(d.From).Valid(), "from", `must be a digest, or empty for none`)
	require(release.Digest(d.Digest).Valid(), "digest", `must be "sha256:" and 64 hexadecimal digits`)
	require(d.Size > 0 && d.Size <= release.MaxArtifactSize, "size", "must be the size of the delta in bytes")
	require(d.Form == api.DeltaDCZ || d.Form == api.DeltaZstd || d.Form == api.DeltaWindows, "form", "must be dcz, zstd or windows")
	require(d.Form != api.DeltaDCZ || d.From != "", "from", "is missing; dcz needs it")
	require(d.Form != api.DeltaZstd || d.From == "", "from", "must be left out; zstd needs none")
	return problems
}
