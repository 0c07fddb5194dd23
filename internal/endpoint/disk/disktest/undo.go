package disktest

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// undoer remembers how to undo what was not synced yet. Names become durable with a sync of their directory, contents with a sync of
// their file. It models the worst that POSIX allows a file system to do short of mixing old and new data within one write.
type undoer struct {
	under   disk.FS
	on      bool
	pending []undone
	err     error
}

// undone is how to undo one change. Exactly one of dir and file is set.
type undone struct {
	dir  string // the change is durable once this directory is synced
	file string // or: once the file that has this name now is synced
	do   func(file string) error
}

// all undoes everything, newest first.
func (u *undoer) all() {
	for _, p := range slices.Backward(u.pending) {
		u.err = errors.Join(u.err, p.do(p.file))
	}
	u.pending = nil
}

func (u *undoer) syncedDir(path string) {
	u.pending = slices.DeleteFunc(u.pending, func(p undone) bool { return p.dir == path })
}

func (u *undoer) syncedFile(path string) {
	u.pending = slices.DeleteFunc(u.pending, func(p undone) bool { return p.file == path })
}

// name undoes the making of path.
func (u *undoer) name(path string) func() undone {
	return func() undone {
		return undone{dir: filepath.Dir(path), do: func(string) error { return disk.RemoveAll(u.under, path) }}
	}
}

// contents undoes a change of the bytes of the file at path: it gets back those that it has now.
func (u *undoer) contents(path string) func() undone {
	return func() undone {
		for _, p := range u.pending {
			if p.file == path {
				return undone{} // the oldest unsynced contents are what comes back
			}
		}
		data, err := u.read(path)
		if err != nil {
			return undone{}
		}
		return undone{file: path, do: func(file string) error {
			if _, err := u.under.Lstat(file); errors.Is(err, fs.ErrNotExist) {
				return nil // removed for good
			}
			return u.write(file, data)
		}}
	}
}

// removal undoes the removal of path.
func (u *undoer) removal(path string) func() undone {
	return func() undone {
		restore := u.snapshot(path)
		return undone{dir: filepath.Dir(path), do: func(string) error { return restore() }}
	}
}

// rename undoes a renaming, and brings back what had the new name before.
func (u *undoer) rename(from, to string) func() undone {
	return func() undone {
		restore := u.snapshot(to)
		u.renamed(from, to)
		return undone{dir: filepath.Dir(to), do: func(string) error {
			u.renamed(to, from)
			return errors.Join(u.under.Rename(to, from), restore())
		}}
	}
}

// renamed lets contents that are not synced follow their file to its new name.
func (u *undoer) renamed(from, to string) {
	for i, p := range u.pending {
		if p.file == from {
			u.pending[i].file = to
		}
	}
}

// snapshot returns how to make again what is at path now, which may be nothing.
func (u *undoer) snapshot(path string) func() error {
	info, err := u.under.Lstat(path)
	switch {
	case err != nil:
		return func() error { return nil }
	case info.IsDir():
		return func() error { return u.under.Mkdir(path, info.Mode().Perm()) }
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := u.under.Readlink(path)
		return func() error { return errors.Join(err, u.under.Symlink(target, path)) }
	default:
		data, err := u.read(path)
		return func() error { return errors.Join(err, u.write(path, data), u.under.Chmod(path, info.Mode().Perm())) }
	}
}

func (u *undoer) read(path string) ([]byte, error) {
	const limit = 64 << 20
	return disk.ReadFile(u.under, path, limit)
}

func (u *undoer) write(path string, data []byte) error {
	f, err := u.under.Open(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
