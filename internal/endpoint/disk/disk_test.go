package disk_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
)

func TestWriteFileIsOldOrNewWhateverHappens(t *testing.T) {
	t.Parallel()
	for _, fault := range faults() {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			disktest.Enumerate(t, fault, func(t *testing.T, fsys *disktest.Faulty) {
				path := filepath.Join(t.TempDir(), "file")
				if err := disk.WriteFile(disk.OS{}, path, []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
				err := disk.WriteFile(fsys, path, []byte("new bytes"), 0o600)
				got := read(t, path)
				if err == nil && got != "new bytes" || got != "old" && got != "new bytes" {
					t.Errorf("got %q after %v, want old or new, and new if there was no error", got, err)
				}
				if err := disk.WriteFile(disk.OS{}, path, []byte("later"), 0o600); err != nil || read(t, path) != "later" {
					t.Errorf("write again: got %v and %q, want it to work", err, read(t, path))
				}
			})
		})
	}
}

func TestLinkIsOldOrNewWhateverHappens(t *testing.T) {
	t.Parallel()
	for _, fault := range faults() {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			disktest.Enumerate(t, fault, func(t *testing.T, fsys *disktest.Faulty) {
				path := filepath.Join(t.TempDir(), "link")
				if err := disk.Link(disk.OS{}, "old", path); err != nil {
					t.Fatal(err)
				}
				err := disk.Link(fsys, "new", path)
				got, readErr := disk.OS{}.Readlink(path)
				if readErr != nil || err == nil && got != "new" || got != "old" && got != "new" {
					t.Errorf("got %q (%v) after %v, want old or new, and new if there was no error", got, readErr, err)
				}
				if err := disk.Link(disk.OS{}, "later", path); err != nil {
					t.Errorf("link again: %v", err)
				}
			})
		})
	}
}

// faults are the kinds that every durable operation must stand.
func faults() []disktest.Fault {
	return []disktest.Fault{
		{Kind: disktest.Fail},
		{Kind: disktest.Fail, Err: syscall.ENOSPC, Tear: true},
		{Kind: disktest.Fail, Err: syscall.EROFS},
		{Kind: disktest.Full, Tear: true},
		{Kind: disktest.Kill},
		{Kind: disktest.Kill, Tear: true},
		{Kind: disktest.Cut},
		{Kind: disktest.Cut, Tear: true},
	}
}

func TestACutUndoesWhatWasNotSynced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kept, lost := filepath.Join(dir, "kept"), filepath.Join(dir, "lost")
	if err := disk.WriteFile(disk.OS{}, kept, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	fsys := disktest.New(disk.OS{}, disktest.Fault{Kind: disktest.Cut, At: 5})
	overwrite(t, fsys, kept, "new")       // change 1: never synced
	overwriteNewFile(t, fsys, lost)       // changes 2 and 3: a name that is never synced
	move(t, fsys, kept, kept+".moved")    // change 4: not synced either
	err := fsys.Mkdir(lost+".dir", 0o700) // change 5: the power fails
	if !errors.Is(err, disktest.ErrKilled) {
		t.Fatalf("got %v, want ErrKilled", err)
	}
	if got := read(t, kept); got != "old" {
		t.Errorf("got %q, want the old bytes under the old name", got)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("got %v (%v), want only the kept file", entries, err)
	}
	if _, err := fsys.Readlink(kept); !errors.Is(err, disktest.ErrKilled) {
		t.Errorf("reading after the end: got %v, want ErrKilled", err)
	}
}

func overwrite(t *testing.T, fsys disk.FS, path, text string) {
	t.Helper()
	f, err := fsys.Open(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteAt([]byte(text), 0)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func overwriteNewFile(t *testing.T, fsys disk.FS, path string) {
	t.Helper()
	f, err := fsys.Open(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.Write([]byte("x"))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func move(t *testing.T, fsys disk.FS, from, to string) {
	t.Helper()
	if err := fsys.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestAFullDiskAllowsWhatNeedsNoSpace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := disk.WriteFile(disk.OS{}, path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	fsys := disktest.New(disk.OS{}, disktest.Fault{Kind: disktest.Full, At: 1})
	overwrite(t, fsys, path, "new")
	if got := read(t, path); got != "new" {
		t.Errorf("got %q, want an overwrite in place to work", got)
	}
	if err := disk.WriteFile(fsys, path, []byte("more"), 0o600); !disk.Full(err) {
		t.Errorf("got %v, want no space", err)
	}
	if n, err := fsys.Free(path); n != 0 || err != nil {
		t.Errorf("got %d, %v free, want none", n, err)
	}
}

func TestRemoveAllRemovesReadOnlyTreesAndNotWhatLinksPointTo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	outside, tree := filepath.Join(dir, "outside"), filepath.Join(dir, "tree")
	for _, err := range []error{
		os.WriteFile(outside, []byte("x"), 0o600),
		disk.MkdirAll(disk.OS{}, filepath.Join(tree, "a", "b"), 0o700),
		os.WriteFile(filepath.Join(tree, "a", "b", "file"), nil, 0o400),
		disk.OS{}.Symlink(outside, filepath.Join(tree, "a", "link")),
		os.Chmod(filepath.Join(tree, "a"), 0o500),
		disk.RemoveAll(disk.OS{}, tree),
		disk.RemoveAll(disk.OS{}, tree),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Lstat(tree); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want the tree gone", err)
	}
	if got := read(t, outside); got != "x" {
		t.Errorf("got %q, want what the link pointed to untouched", got)
	}
}

func TestMkdirAllRefusesAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := disk.MkdirAll(disk.OS{}, filepath.Join(path, "x"), 0o700); err == nil {
		t.Error("got no error, want one: a file is in the way")
	}
}

func TestReadFileHasALimit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := disk.ReadFile(disk.OS{}, path, 5); err != nil || string(got) != "12345" {
		t.Errorf("got %q, %v, want all of it", got, err)
	}
	if _, err := disk.ReadFile(disk.OS{}, path, 4); err == nil {
		t.Error("got no error, want one: it is larger than the limit")
	}
}

func TestExplainGivesAKindAndANextStep(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		err  error
		kind fault.Kind
		next string
	}{
		{&fs.PathError{Op: "write", Path: "/x/y", Err: syscall.ENOSPC}, fault.Unavailable, "/x/y"},
		{&os.LinkError{Op: "rename", Old: "/a", New: "/b", Err: syscall.EROFS}, fault.Unavailable, "/b"},
		{&fs.PathError{Op: "open", Path: "/x", Err: syscall.EACCES}, fault.Denied, "/x"},
		{errors.New("odd"), fault.Internal, ""},
	} {
		err := disk.Explain(row.err, "stage %s", "thing")
		if fault.KindOf(err) != row.kind || !strings.Contains(fault.NextOf(err), row.next) || !errors.Is(err, row.err) {
			t.Errorf("got %s %q next %q, want %s with %q", fault.KindOf(err), err, fault.NextOf(err), row.kind, row.next)
		}
	}
	if err := disk.Explain(nil, "x"); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}

func TestFreeTellsOfSpace(t *testing.T) {
	t.Parallel()
	if n, err := (disk.OS{}).Free(t.TempDir()); err != nil || n <= 0 {
		t.Errorf("got %d, %v, want some", n, err)
	}
	if _, err := (disk.OS{}).Free("/nowhere/at/all"); err == nil {
		t.Error("got no error, want one")
	}
}

func TestLockIsForOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	first, err := disk.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = disk.Lock(path); fault.KindOf(err) != fault.Conflict || fault.NextOf(err) == "" {
		t.Errorf("got %v, want a conflict with a next step", err)
	}
	if err = first.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := disk.Lock(path)
	if err != nil {
		t.Fatalf("after the first let go: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestReadlinkRefusesAFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (disk.OS{}).Readlink(path); err == nil {
		t.Errorf("got no error on %s, want one: it is no link", runtime.GOOS)
	}
}
