package fetch

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"

	"github.com/firebreak-dev/firebreak/internal/delta"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// maxEntries is how many files and directories a slot may have to be built from: their headers are held in memory.
const maxEntries = 4096

// base is the artifact that was unpacked into a slot, put together again from its files. Its digest is of what is there now: if somebody
// changed a file, or if the artifact was a tar that another program had made, it is that of no artifact, and no delta starts from it.
type base struct {
	fs    disk.FS
	parts []part
	size  int64

	open     disk.File // the file that was read last
	openPath string
}

// part is some bytes of an artifact: a header, padding, or a file.
type part struct {
	at   int64
	size int64
	data []byte // if path is ""
	path string
}

var _ io.ReaderAt = (*base)(nil)

// openBase puts the artifact of a slot together. It has no digest yet.
func openBase(fsys disk.FS, dir string, format release.Format) (*base, error) {
	b := &base{fs: fsys}
	if format == release.Tar {
		if err := b.tree(dir, ""); err != nil {
			return nil, err
		}
		b.add(part{data: make([]byte, 2*block)}) // the end of a tar
		return b, nil
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) != 1 || !entries[0].Type().IsRegular() {
		return nil, fault.New(fault.NotFound, "open %s as a base: it is not one file", dir)
	}
	info, err := entries[0].Info()
	if err != nil {
		return nil, err
	}
	b.add(part{path: filepath.Join(dir, entries[0].Name()), size: info.Size()})
	return b, nil
}

// block is what headers and files of a tar are filled up to.
const block = 512

// tree adds what is in a directory, in the order in which publishers pack it.
func (b *base) tree(dir, prefix string) error {
	entries, err := b.fs.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if len(b.parts) > 3*maxEntries {
			return fault.New(fault.NotFound, "open %s as a base: it has more than %d files", dir, maxEntries)
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, path := prefix+e.Name(), filepath.Join(dir, e.Name())
		switch {
		case info.IsDir():
			if err = b.header(name+"/", 0, true); err == nil {
				err = b.tree(path, name+"/")
			}
		case info.Mode().IsRegular():
			if err = b.header(name, info.Size(), info.Mode()&0o100 != 0); err == nil {
				b.add(part{path: path, size: info.Size()})
				b.add(part{data: make([]byte, -info.Size()&(block-1))})
			}
		default:
			err = fault.New(fault.NotFound, "open %s as a base: %s is neither a file nor a directory", dir, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *base) header(name string, size int64, program bool) error {
	var header bytes.Buffer
	if err := tar.NewWriter(&header).WriteHeader(delta.TarHeader(name, size, program)); err != nil {
		return err
	}
	b.add(part{data: header.Bytes()})
	return nil
}

func (b *base) add(p part) {
	if p.path == "" {
		p.size = int64(len(p.data))
	}
	p.at = b.size
	b.size += p.size
	b.parts = append(b.parts, p)
}

// ReadAt implements [io.ReaderAt]. It must not be called twice at once.
func (b *base) ReadAt(to []byte, offset int64) (int, error) {
	n := 0
	next := sort.Search(len(b.parts), func(i int) bool { return b.parts[i].at+b.parts[i].size > offset })
	for ; n < len(to) && next < len(b.parts); next++ {
		p := b.parts[next]
		within := offset + int64(n) - p.at
		want := to[n:min(int64(len(to)), int64(n)+p.size-within)]
		got, err := b.read(p, want, within)
		n += got
		if got < len(want) {
			return n, errors.Join(io.ErrUnexpectedEOF, err)
		}
	}
	if n < len(to) {
		return n, io.EOF
	}
	return n, nil
}

func (b *base) read(p part, to []byte, within int64) (int, error) {
	if p.path == "" {
		return copy(to, p.data[within:]), nil
	}
	if b.openPath != p.path {
		b.close()
		f, err := b.fs.Open(p.path, os.O_RDONLY, 0)
		if err != nil {
			return 0, err
		}
		b.open, b.openPath = f, p.path
	}
	return b.open.ReadAt(to, within)
}

func (b *base) close() {
	if b.open != nil {
		_ = b.open.Close() // it was only read
		b.open, b.openPath = nil, ""
	}
}

// source reads all of it once, to know what it is.
func (b *base) source(ctx context.Context) (delta.Source, error) {
	sum := sha256.New()
	if n, err := io.Copy(sum, reader{ctx, io.NewSectionReader(b, 0, b.size)}); err != nil || n != b.size {
		return delta.Source{}, errors.Join(fs.ErrInvalid, err)
	}
	return delta.Source{Bytes: b, Size: b.size, Digest: digest(sum)}, nil
}
