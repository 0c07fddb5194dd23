package disktest

import (
	"io/fs"

	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// file is an open file of a [Faulty] file system.
type file struct {
	disk.File
	fs      *Faulty
	path    string
	appends bool
}

func (f *file) Read(p []byte) (int, error) {
	if err := f.fs.alive("read", f.path); err != nil {
		return 0, err
	}
	return f.File.Read(p)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	if err := f.fs.alive("read", f.path); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f *file) Stat() (fs.FileInfo, error) {
	if err := f.fs.alive("stat", f.path); err != nil {
		return nil, err
	}
	return f.File.Stat()
}

// Write implements io.Writer. A torn write returns how much of it was written, as the operating system does.
func (f *file) Write(p []byte) (n int, err error) {
	err = f.fs.run(change{
		op: "write", path: f.path, needs: true, prepare: f.fs.undo.contents(f.path),
		do:   func() (err error) { n, err = f.File.Write(p); return err },
		torn: func() { n, _ = f.File.Write(p[:len(p)/2]) },
	})
	return n, err
}

// WriteAt implements io.WriterAt. It needs space only where the file grows.
func (f *file) WriteAt(p []byte, off int64) (n int, err error) {
	size := int64(0)
	if info, statErr := f.File.Stat(); statErr == nil {
		size = info.Size()
	}
	err = f.fs.run(change{
		op: "write in place", path: f.path, needs: off+int64(len(p)) > size, prepare: f.fs.undo.contents(f.path),
		do:   func() (err error) { n, err = f.File.WriteAt(p, off); return err },
		torn: func() { n, _ = f.File.WriteAt(p[:len(p)/2], off) },
	})
	return n, err
}

func (f *file) Truncate(size int64) error {
	return f.fs.run(change{
		op: "truncate", path: f.path, prepare: f.fs.undo.contents(f.path),
		do: func() error { return f.File.Truncate(size) },
	})
}

func (f *file) Sync() error {
	return f.fs.run(change{op: "sync", path: f.path, do: func() error {
		f.fs.undo.syncedFile(f.path)
		return f.File.Sync()
	}})
}

func (f *file) Datasync() error {
	return f.fs.run(change{op: "datasync", path: f.path, do: func() error {
		f.fs.undo.syncedFile(f.path)
		return f.File.Datasync()
	}})
}
