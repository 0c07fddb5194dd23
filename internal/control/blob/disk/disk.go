// Package disk keeps blobs as files, in the layout of an OCI image (oci-layout, index.json, blobs/sha256/<hex>), so that tools
// for such layouts can copy and check it.
//
// A blob is written to a file in tmp, checked, made durable and only then renamed to its place. What a crash leaves in tmp is
// removed by an [Open] an hour later or more: several processes may share the directory, and write while another one opens it.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Store is a directory of blobs. All methods are safe for concurrent use; one process at a time may have the directory open.
type Store struct {
	dir, blobs, tmp string
	clock           clock.Clock
	aging           sync.Mutex // from looking at a blob's age until it is touched or removed
}

// Open opens the store in dir, creating it if it is not there, and removes what interrupted writers left.
func Open(dir string) (*Store, error) { return OpenAt(dir, clock.Wall{}) }

// OpenAt is [Open] with a clock, by which blobs age.
func OpenAt(dir string, c clock.Clock) (*Store, error) {
	s := &Store{dir: dir, blobs: filepath.Join(dir, "blobs", "sha256"), tmp: filepath.Join(dir, "tmp"), clock: c}
	if err := s.layOut(dir); err != nil {
		return nil, failed("open blob store "+dir, err)
	}
	return s, nil
}

func (s *Store) layOut(dir string) error {
	for _, d := range []string{s.blobs, s.tmp} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	if err := s.sweep(); err != nil {
		return err
	}
	files := map[string]string{
		"oci-layout": blob.LayoutFile,
		"index.json": blob.EmptyIndex,
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

// leftover is for how long nobody wrote to a file in tmp before it is taken for what a crash left. Uploads that stand still are ended sooner.
const leftover = time.Hour

// sweep removes what crashes left in tmp.
func (s *Store) sweep() error {
	files, err := os.ReadDir(s.tmp)
	if err != nil {
		return err
	}
	for _, f := range files {
		info, err := f.Info()
		if err == nil && s.clock.Now().Sub(info.ModTime()) > leftover {
			err = os.RemoveAll(filepath.Join(s.tmp, f.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // another process may have been faster
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
	return s.replace(path, []byte(content))
}

// replace writes a small file in one step.
func (s *Store) replace(path string, content []byte) error {
	f, err := os.CreateTemp(s.tmp, "layout-")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return s.settle(f, err, path)
}

const indexName = "index.json"

// Index reads the layout's index.json.
func (s *Store) Index(context.Context) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(s.dir, indexName))
	return data, failed("read the index of blob store "+s.dir, err)
}

// SetIndex replaces index.json in one step: readers find the old one or the new one.
func (s *Store) SetIndex(_ context.Context, data []byte) error {
	return failed("write the index of blob store "+s.dir, s.replace(filepath.Join(s.dir, indexName), data))
}

// Put stores the next size bytes of r, if they are all that r has and those that want addresses; anything else is a
// fault.Invalid that says what was wrong. It returns once they are durable. A blob that is there already is touched, and r
// is not read. A full disk is a fault.Unavailable. After an error nothing is left behind.
func (s *Store) Put(ctx context.Context, want release.Digest, size int64, r io.Reader) error {
	what := "store blob " + string(want)
	path, err := s.path(want)
	if err != nil {
		return failed(what, err)
	}
	have, err := s.touch(path)
	switch {
	case err == nil && have != size:
		return failed(what, blob.OtherSize(have, size))
	case err == nil:
		return failed(what, syncDir(s.blobs)) // whoever renamed it may not have come that far
	case !errors.Is(err, fs.ErrNotExist):
		return failed(what, err)
	}
	f, err := os.CreateTemp(s.tmp, want.Short()+"-")
	if err != nil {
		return failed(what, err)
	}
	_, err = io.Copy(f, blob.Verify(ctx, want, size, r))
	return failed(what, s.settle(f, err, path))
}

// touch makes a blob young again and tells its size.
func (s *Store) touch(path string) (int64, error) {
	s.aging.Lock()
	defer s.aging.Unlock()
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	now := s.clock.Now()
	return info.Size(), os.Chtimes(path, now, now)
}

// Touch makes a blob's age begin anew, so that whoever is about to name it finds it. One that is not there is a fault.NotFound.
func (s *Store) Touch(_ context.Context, d release.Digest) error {
	path, err := s.path(d)
	if err == nil {
		_, err = s.touch(path)
	}
	return failed("touch blob "+string(d), absent(err))
}

// settle makes a written file durable at its place, or removes it if writing it failed with err.
func (s *Store) settle(f *os.File, err error, path string) error {
	if err == nil {
		now := s.clock.Now()
		err = errors.Join(f.Sync(), os.Chtimes(f.Name(), now, now))
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

// Open reads a blob and tells its size. The caller closes it; what is open stays readable when the blob is removed. The reader is an
// *os.File, so that net/http can let the kernel copy it to a plain connection.
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

// List lists all blobs with sizes and ages, as [Store.Digests] does.
func (s *Store) List(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for d, err := range s.Digests(ctx) {
			if err != nil {
				yield(blob.Info{}, err)
				return
			}
			info, err := os.Stat(filepath.Join(s.blobs, d.Hex()))
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				yield(blob.Info{}, failed("list blobs", err))
				return
			}
			if !yield(blob.Info{Digest: d, Size: info.Size(), Put: info.ModTime()}, nil) {
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

// RemoveOlder deletes a blob that was neither put nor touched since before, and tells whether it did. Nobody can touch it in between.
func (s *Store) RemoveOlder(_ context.Context, d release.Digest, before time.Time) (bool, error) {
	what := "remove blob " + string(d)
	path, err := s.path(d)
	if err != nil {
		return false, failed(what, err)
	}
	s.aging.Lock()
	defer s.aging.Unlock()
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.ModTime().Before(before) {
		return false, nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err == nil {
		err = syncDir(s.blobs)
	}
	return err == nil, failed(what, err)
}

// path is where a blob is. Nothing but a well-formed digest ever becomes a path.
func (s *Store) path(d release.Digest) (string, error) {
	return filepath.Join(s.blobs, d.Hex()), blob.Check(d)
}

// absent gives the error about a file that is not there its kind.
func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return blob.Absent()
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
