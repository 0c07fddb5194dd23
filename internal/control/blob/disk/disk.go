// Package disk keeps blobs as files, in the layout of an OCI image (oci-layout, index.json, blobs/sha256/<hex>), so that tools
// for such layouts can copy and check it.
//
// A blob is written to a file in tmp, checked, made durable and only then renamed to its place. What a crash leaves in tmp is
// cleaned by the next [Open].
package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Store is a directory of blobs. All methods are safe for concurrent use; one process at a time may have the directory open.
type Store struct {
	blobs string
	tmp   string
}

// Open opens the store in dir, creating it if it is not there, and removes what interrupted writers left.
func Open(dir string) (*Store, error) {
	s := &Store{blobs: filepath.Join(dir, "blobs", "sha256"), tmp: filepath.Join(dir, "tmp")}
	if err := s.layOut(dir); err != nil {
		return nil, failed("open blob store "+dir, err)
	}
	return s, nil
}

func (s *Store) layOut(dir string) error {
	if err := os.RemoveAll(s.tmp); err != nil {
		return err
	}
	for _, d := range []string{s.blobs, s.tmp} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	files := map[string]string{
		"oci-layout": `{"imageLayoutVersion":"1.0.0"}`,
		"index.json": `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`,
	}
	for name, content := range files {
		if err := s.ensure(filepath.Join(dir, name), content); err != nil {
			return err
		}
	}
	for _, d := range []string{filepath.Dir(s.blobs), dir} {
		if err := syncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// ensure writes a file that is not there yet.
func (s *Store) ensure(path, content string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.CreateTemp(s.tmp, "layout-")
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	return s.settle(f, err, path)
}

// Put stores the next size bytes of r, if they are all that r has and those that want addresses; anything else is a
// fault.Invalid that says what was wrong. It returns once they are durable. A blob that is there already is left alone, and r
// is not read. A full disk is a fault.Unavailable. After an error nothing is left behind.
func (s *Store) Put(ctx context.Context, want release.Digest, size int64, r io.Reader) error {
	what := "store blob " + string(want)
	path, err := s.path(want)
	if err != nil {
		return failed(what, err)
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.Size() != size:
		return failed(what, fault.New(fault.Invalid, "it has %d bytes, not %d", info.Size(), size))
	case err == nil:
		return failed(what, syncDir(s.blobs)) // whoever renamed it may not have come that far
	case !errors.Is(err, fs.ErrNotExist):
		return failed(what, err)
	}
	f, err := os.CreateTemp(s.tmp, want.Short()+"-")
	if err != nil {
		return failed(what, err)
	}
	err = receive(ctx, f, want, size, r)
	return failed(what, s.settle(f, err, path))
}

// settle makes a written file durable at its place, or removes it if writing it failed with err.
func (s *Store) settle(f *os.File, err error, path string) error {
	if err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says more; Open cleans too
		return err
	}
	return syncDir(filepath.Dir(path))
}

// receive copies a blob and judges it.
func receive(ctx context.Context, w io.Writer, want release.Digest, size int64, r io.Reader) error {
	in := &source{ctx: ctx, from: r, sum: sha256.New()}
	n, err := io.Copy(w, io.LimitReader(in, size+1))
	switch {
	case in.err != nil:
		return fault.New(fault.Unavailable, "its sender failed after %d of %d bytes: %w", n, size, in.err).Hint("Send it again.")
	case err != nil:
		return err
	case n > size:
		return fault.New(fault.Invalid, "it is longer than the %d bytes that were announced", size)
	case n < size:
		return fault.New(fault.Invalid, "it ended after %d of %d bytes", n, size).Hint("Send it again.")
	}
	if got := release.DigestFrom([sha256.Size]byte(in.sum.Sum(nil))); got != want {
		return fault.New(fault.Invalid, "its bytes have digest %s", got).
			Hint("It was damaged or exchanged on its way: build and send it again.")
	}
	return nil
}

// source sums up what is read and tells the sender's errors from the disk's.
type source struct {
	ctx  context.Context //nolint:containedctx // an io.Reader has no other way to get it; it lives as long as one Put
	from io.Reader
	sum  hash.Hash
	err  error
}

// Read implements [io.Reader].
func (s *source) Read(p []byte) (int, error) {
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.from.Read(p)
	s.sum.Write(p[:n])
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// Open reads a blob and tells its size. The caller closes it; what is open stays readable when the blob is removed.
func (s *Store) Open(_ context.Context, d release.Digest) (io.ReadSeekCloser, int64, error) {
	what := "open blob " + string(d)
	path, err := s.path(d)
	if err != nil {
		return nil, 0, failed(what, err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, failed(what, absent(err))
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, failed(what, err)
	}
	return f, info.Size(), nil
}

// Has tells whether a blob is there.
func (s *Store) Has(_ context.Context, d release.Digest) (bool, error) {
	path, err := s.path(d)
	if err == nil {
		_, err = os.Stat(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, failed("look for blob "+string(d), err)
}

// page is how many names are read from the directory at a time.
const page = 256

// Digests lists all blobs, in no order. Blobs that come or go meanwhile may or may not be among them. It ends at the first error.
func (s *Store) Digests(ctx context.Context) iter.Seq2[release.Digest, error] {
	return func(yield func(release.Digest, error) bool) {
		dir, err := os.Open(s.blobs)
		if err != nil {
			yield("", failed("list blobs", err))
			return
		}
		defer dir.Close()
		for {
			names, err := dir.Readdirnames(page)
			for _, name := range names {
				if d := release.Digest("sha256:" + name); d.Valid() && !yield(d, nil) {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield("", failed("list blobs", err))
				return
			}
		}
	}
}

// Remove deletes a blob. One that is not there is a fault.NotFound.
func (s *Store) Remove(_ context.Context, d release.Digest) error {
	path, err := s.path(d)
	if err == nil {
		err = absent(os.Remove(path))
	}
	if err == nil {
		err = syncDir(s.blobs)
	}
	return failed("remove blob "+string(d), err)
}

// path is where a blob is. Nothing but a well-formed digest ever becomes a path.
func (s *Store) path(d release.Digest) (string, error) {
	if !d.Valid() {
		return "", fault.New(fault.Invalid, `not a digest: it must be "sha256:" and 64 hexadecimal digits`)
	}
	return filepath.Join(s.blobs, d.Hex()), nil
}

// absent gives the error about a file that is not there its kind.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.NotFound, "there is no such blob")
	}
	return err
}

// failed says what was being done and gives an error of the file system its kind; nil stays nil.
func failed(what string, err error) error {
	var known *fault.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return fmt.Errorf("%s: %w", what, err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Unavailable, "%s: %w", what, err)
	case full(err):
		return fault.New(fault.Unavailable, "%s: the disk is full: %w", what, err).
			Hint("Free space where the blobs are, and try again. Nothing was lost.")
	}
	return fmt.Errorf("%s: %w", what, err)
}

// syncDir makes what was renamed into a directory, or removed from it, durable. Windows has no such call and needs none.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closing := d.Close(); err == nil {
		err = closing
	}
	return err
}
