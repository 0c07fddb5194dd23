package disk

import (
	"io/fs"
	"os"
)

// OS is the file system of the host.
//
// On Windows, where an unprivileged process cannot make symbolic links and no process can atomically replace a link to a directory, a
// link is a small text file that names its target: [OS.Readlink] understands it, and so must a consumer that reads through one.
type OS struct{}

var _ FS = OS{}

// Lstat implements [Reader].
func (OS) Lstat(path string) (fs.FileInfo, error) { return os.Lstat(path) }

// ReadDir implements [Reader].
func (OS) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }

// Readlink implements [Reader].
func (OS) Readlink(path string) (string, error) { return readlink(path) }

// Free implements [Reader].
func (OS) Free(path string) (int64, error) {
	n, err := free(path)
	if err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return n, nil
}

// Open implements [FS].
func (OS) Open(path string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(path, flag, perm)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

// Mkdir implements [FS].
func (OS) Mkdir(path string, perm fs.FileMode) error { return os.Mkdir(path, perm) }

// Symlink implements [FS].
func (OS) Symlink(target, path string) error { return symlink(target, path) }

// Rename implements [FS].
func (OS) Rename(from, to string) error { return os.Rename(from, to) }

// Remove implements [FS].
func (OS) Remove(path string) error { return os.Remove(path) }

// Chmod implements [FS].
func (OS) Chmod(path string, perm fs.FileMode) error { return os.Chmod(path, perm) }

// SyncDir implements [FS].
func (OS) SyncDir(path string) error { return syncDir(path) }

type file struct{ *os.File }

// Datasync implements [File].
func (f file) Datasync() error {
	if err := datasync(f.File); err != nil {
		return &fs.PathError{Op: "datasync", Path: f.Name(), Err: err}
	}
	return nil
}
