package disk

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// WriteFile replaces the file at path durably: whoever reads it finds the old bytes or the new ones. The directory must exist.
func WriteFile(fsys FS, path string, data []byte, perm fs.FileMode) error {
	tmp := path + ".tmp"
	if err := discard(fsys, tmp); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err := create(fsys, tmp, data, perm)
	if err == nil {
		err = fsys.Rename(tmp, path)
	}
	if err != nil {
		_ = discard(fsys, tmp) // best effort: the next write tries again
		return fmt.Errorf("write %s: %w", path, err)
	}
	return fsys.SyncDir(filepath.Dir(path))
}

func create(fsys FS, path string, data []byte, perm fs.FileMode) error {
	f, err := fsys.Open(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// ReadFile reads a file of at most limit bytes; a larger one is an error.
func ReadFile(fsys FS, path string, limit int64) ([]byte, error) {
	f, err := fsys.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("read %s: is larger than %d bytes", path, limit)
	}
	return data, nil
}

// Link makes path a link to target durably, replacing a link that is there: whoever follows it gets the old target or the new one.
func Link(fsys FS, target, path string) error {
	tmp := path + ".tmp"
	if err := discard(fsys, tmp); err != nil {
		return fmt.Errorf("link %s: %w", path, err)
	}
	err := fsys.Symlink(target, tmp)
	if err == nil {
		err = fsys.Rename(tmp, path)
	}
	if err != nil {
		_ = discard(fsys, tmp) // best effort: the next link tries again
		return fmt.Errorf("link %s: %w", path, err)
	}
	return fsys.SyncDir(filepath.Dir(path))
}

// discard removes what an interrupted operation left behind, if it did.
func discard(fsys FS, path string) error {
	if _, err := fsys.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fsys.Remove(path)
}

// MkdirAll makes the directory and those above it durably. One that exists is left as it is.
func MkdirAll(fsys FS, path string, perm fs.FileMode) error {
	info, err := fsys.Lstat(path)
	switch {
	case err == nil && (info.IsDir() || info.Mode()&fs.ModeSymlink != 0): // the host may have linked it elsewhere
		return nil
	case err == nil:
		return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("is not a directory")}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(fsys, parent, perm); err != nil {
			return err
		}
	}
	if err := fsys.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(parent)
}

// RemoveAll removes the tree at path, also one whose directories were made read-only, and does not follow links. It is no error if
// there is nothing.
func RemoveAll(fsys FS, path string) error {
	info, err := fsys.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		if err := empty(fsys, path, info); err != nil {
			return err
		}
	}
	return fsys.Remove(path)
}

func empty(fsys FS, path string, info fs.FileInfo) error {
	const owner = 0o700
	if info.Mode().Perm()&owner != owner {
		if err := fsys.Chmod(path, owner); err != nil {
			return err
		}
	}
	entries, err := fsys.ReadDir(path)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := RemoveAll(fsys, filepath.Join(path, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
