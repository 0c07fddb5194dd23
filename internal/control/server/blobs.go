package server

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/blob/upload"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

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
		if err := s.Blobs.Touch(r.Context(), digest); err != nil { // it is about to be published: garbage collection leaves it alone now
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

// beginUpload makes room for a large blob, unless it is here already.
func (s *server) beginUpload(w http.ResponseWriter, r *http.Request) error {
	var wanted newUpload
	if err := decode(w, r, &wanted); err != nil {
		return err
	}
	digest := release.Digest(wanted.Digest)
	if err := s.dropDamaged(r.Context(), digest); err != nil {
		return err
	}
	err := s.Blobs.Touch(r.Context(), digest)
	if err == nil {
		return writeUpload(w, upload.Status{Digest: digest, Size: wanted.Size, Offset: wanted.Size, Complete: true}, nil)
	}
	if fault.KindOf(err) != fault.NotFound {
		return err
	}
	begun, err := s.Uploads.Begin(digest, wanted.Size)
	if err != nil {
		return err
	}
	if begun.Offset == begun.Size { // all of it came before, but the store did not answer then
		begun, err = s.Uploads.Finish(r.Context(), begun.ID)
	}
	return writeUpload(w, begun, err)
}

// newUpload is api.NewUpload with its rules.
type newUpload struct{ api.NewUpload }

// Check implements resource.Checker.
func (u newUpload) Check() []fault.Problem {
	var problems []fault.Problem
	if !release.Digest(u.Digest).Valid() {
		problems = append(problems, fault.Problem{Path: "digest", Message: `must be "sha256:" and 64 hexadecimal digits`})
	}
	if u.Size < 1 || u.Size > release.MaxArtifactSize {
		problems = append(problems, fault.Problem{Path: "size", Message: fmt.Sprintf("must be 1 to %d bytes", int64(release.MaxArtifactSize))})
	}
	return problems
}

// getUpload serves HEAD and GET.
func (s *server) getUpload(w http.ResponseWriter, r *http.Request) error {
	status, err := s.Uploads.Status(r.PathValue("id"))
	return writeUpload(w, status, err)
}

func (s *server) patchUpload(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	offset, length, size, err := upload.ContentRange(r.Header.Get("Content-Range"))
	if err != nil {
		return err
	}
	status, err := s.Uploads.Status(id)
	if err != nil {
		return err
	}
	if size != status.Size || r.ContentLength >= 0 && r.ContentLength != length {
		return fault.New(fault.Invalid, "append to upload %s: its range and its lengths disagree: %d bytes of %d in a body of %d, and the upload has %d",
			id, length, size, r.ContentLength, status.Size)
	}
	connection := http.NewResponseController(w)
	interrupt := func() { _ = connection.SetReadDeadline(time.Unix(1, 0)) } // a sender that cannot be interrupted is waited for
	status, err = s.Uploads.Append(r.Context(), id, offset, length, r.Body, interrupt)
	if deedOf(r.Context()).to("blob %s", status.Digest); err != nil || !status.Complete {
		deedOf(r.Context()).drop() // a piece of an upload is no act
	}
	return writeUpload(w, status, err)
}

func (s *server) cancelUpload(w http.ResponseWriter, r *http.Request) error {
	if err := s.Uploads.Cancel(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// writeUpload tells where an upload stands, with an error too if that is known.
func writeUpload(w http.ResponseWriter, u upload.Status, err error) error {
	if err == nil || u.ID != "" {
		w.Header().Set(api.UploadOffset, strconv.FormatInt(u.Offset, 10))
	}
	if err != nil {
		return err
	}
	return writeOK(w, api.Upload{
		ID: u.ID, Digest: string(u.Digest), Size: u.Size, Offset: u.Offset, Complete: u.Complete, Expires: u.Expires.UTC(),
	})
}

// layOut shows a new release in the layout of the store. It is published whether or not that works.
func (s *server) layOut(ctx context.Context, submitted api.Submission) {
	if s.Catalogue == nil || submitted.State != api.SubmissionPublished {
		return
	}
	if err := s.Catalogue.Published(ctx); err != nil && ctx.Err() == nil {
		s.Log.ErrorContext(ctx, "write the OCI index", slog.Any("error", err))
	}
}

// atHand makes sure that the blobs of a release are there, and stay while its rollout starts. What does not exist is the engine's to say.
// The manifest is not looked for: it goes and stays with the artifacts, and the database has it.
func (s *server) atHand(ctx context.Context, component, version string) error {
	p, err := s.Releases.Release(ctx, component, version)
	if err != nil {
		return nil //nolint:nilerr // the engine asks for the release too, and says it better
	}
	for _, d := range append(p.Manifest.Digests(), p.Digest) {
		err := s.Blobs.Touch(ctx, d)
		if fault.KindOf(err) == fault.NotFound && err != nil && d != p.Digest {
			return fault.New(fault.Conflict, "start a rollout of %s %s: its artifact %s is not here any more", component, version, d.Short()).
				Hint("Publish the same content again: it is uploaded anew.")
		}
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
	}
	return nil
}

// registry mounts the OCI paths. Clients of registries send a token as the password of basic authentication.
func (s *server) registry() http.Handler {
	inner := s.authenticate(s.OCI)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, ok := r.BasicAuth(); ok {
			r.Header.Set("Authorization", "Bearer "+password)
		}
		inner.ServeHTTP(&challenge{w}, r)
	})
}

// challenge asks for the kind of authentication that clients of registries understand.
type challenge struct{ http.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (c *challenge) WriteHeader(status int) {
	if status == http.StatusUnauthorized {
		c.Header().Set("WWW-Authenticate", `Basic realm="firebreak"`)
	}
	c.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (c *challenge) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// ReadFrom lets the kernel copy files to the connection.
func (c *challenge) ReadFrom(r io.Reader) (int64, error) { return io.Copy(c.ResponseWriter, r) }

// ReadFrom lets the kernel copy files to the connection.
func (w *watched) ReadFrom(r io.Reader) (int64, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return io.Copy(w.ResponseWriter, r)
}
