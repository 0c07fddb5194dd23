// Package disktest breaks file systems: it lets the n-th change of a [disk.FS] fail, fill the disk, kill the process or cut the power.
//
// [Enumerate] runs a scenario once for each change that it makes, with the fault at that change, so that a test covers every moment at
// which the world may end.
package disktest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// ErrKilled is the error of every operation after the process was killed. Nobody sees it in real life.
var ErrKilled = errors.New("killed")

// Kind is what goes wrong.
type Kind string

// The kinds of fault.
const (
	Fail Kind = "fail" // the change does not happen and returns Err; later ones work
	Full Kind = "full" // from here on, whatever needs space or an inode fails with ENOSPC; renaming over a name, removing, and overwriting do not
	Kill Kind = "kill" // the process dies before the change: all that was done stays, nothing more happens
	Cut  Kind = "cut"  // the power fails before the change: also whatever was not yet synced is undone
)

// Fault is one fault.
type Fault struct {
	Kind Kind
	At   int   // which change, from 1; 0 never strikes
	Err  error // of Fail; nil means EIO
	Tear bool  // a write that is struck has half of its bytes written
}

func (f Fault) String() string {
	tear := ""
	if f.Tear {
		tear = ", torn"
	}
	if f.Kind == Fail {
		return fmt.Sprintf("%s at %d (%v%s)", f.Kind, f.At, f.err(), tear)
	}
	return fmt.Sprintf("%s at %d%s", f.Kind, f.At, tear)
}

func (f Fault) err() error {
	if f.Err != nil {
		return f.Err
	}
	return syscall.EIO
}

// Enumerate calls try with the fault at the first change, at the second and so on, each in its own subtest, until a run ends before its
// fault would have struck. It returns the number of changes that a run makes.
func Enumerate(t *testing.T, fault Fault, try func(t *testing.T, fsys *Faulty)) int {
	t.Helper()
	for fault.At = 1; ; fault.At++ {
		fsys := New(disk.OS{}, fault)
		if !t.Run(fault.String(), func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					fsys.describe(t)
				}
			})
			try(t, fsys)
		}) {
			return fault.At // one counterexample is enough to read
		}
		if !fsys.Struck() {
			return fault.At - 1
		}
	}
}

// Faulty is a [disk.FS] with one fault. It is safe for concurrent use.
type Faulty struct {
	under disk.FS
	fault Fault

	mu     sync.Mutex
	count  int
	struck bool
	dead   bool
	trace  []string
	undo   undoer
}

var _ disk.FS = (*Faulty)(nil)

// New puts a fault into a file system.
func New(under disk.FS, fault Fault) *Faulty {
	return &Faulty{under: under, fault: fault, undo: undoer{under: under, on: fault.Kind == Cut}}
}

// Count is the number of changes so far.
func (f *Faulty) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// Struck tells whether the fault has happened.
func (f *Faulty) Struck() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.struck
}

func (f *Faulty) describe(t *testing.T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, line := range f.trace {
		t.Logf("change %d: %s", i+1, line)
	}
	if f.undo.err != nil {
		t.Logf("undoing what was not synced: %v", f.undo.err)
	}
}

// change is one operation that changes something.
type change struct {
	op, path string
	needs    bool          // space or an inode
	do       func() error  // the operation
	torn     func()        // the part of it that happens when it is torn; nil for none
	prepare  func() undone // notes how to undo it, before it is done; nil when it leaves nothing to undo
}

// run does the change unless the fault says otherwise.
func (f *Faulty) run(c change) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return &fs.PathError{Op: c.op, Path: c.path, Err: ErrKilled}
	}
	f.count++
	f.trace = append(f.trace, c.op+" "+c.path)
	if f.count >= f.fault.At && f.fault.At > 0 {
		if err := f.strike(c); err != nil {
			f.trace[len(f.trace)-1] += ": " + err.Error()
			return &fs.PathError{Op: c.op, Path: c.path, Err: err}
		}
	}
	var back undone
	if f.undo.on && c.prepare != nil {
		back = c.prepare()
	}
	err := c.do()
	if err == nil && back.do != nil {
		f.undo.pending = append(f.undo.pending, back)
	}
	return err
}

// strike decides what the fault does to this change; nil lets it happen.
func (f *Faulty) strike(c change) error {
	first := f.count == f.fault.At
	tear := func() {
		if f.fault.Tear && c.torn != nil {
			c.torn()
		}
	}
	switch f.fault.Kind {
	case Fail:
		if !first {
			return nil
		}
		f.struck = true
		tear()
		return f.fault.err()
	case Full:
		f.struck = true
		if !c.needs {
			return nil
		}
		tear()
		return syscall.ENOSPC
	case Kill, Cut:
		f.struck, f.dead = true, true
		f.undo.all()
		tear() // after the undoing: half of the last write may well have reached the disk
		return ErrKilled
	default:
		return fmt.Errorf("unknown kind of fault %q", f.fault.Kind)
	}
}

func (f *Faulty) alive(op, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead {
		return &fs.PathError{Op: op, Path: path, Err: ErrKilled}
	}
	return nil
}

// exists tells whether there is something at path. The caller may hold the lock.
func (f *Faulty) exists(path string) bool {
	_, err := f.under.Lstat(path)
	return err == nil
}

// Lstat implements [disk.Reader].
func (f *Faulty) Lstat(path string) (fs.FileInfo, error) {
	if err := f.alive("lstat", path); err != nil {
		return nil, err
	}
	return f.under.Lstat(path)
}

// ReadDir implements [disk.Reader].
func (f *Faulty) ReadDir(path string) ([]fs.DirEntry, error) {
	if err := f.alive("readdir", path); err != nil {
		return nil, err
	}
	return f.under.ReadDir(path)
}

// Readlink implements [disk.Reader].
func (f *Faulty) Readlink(path string) (string, error) {
	if err := f.alive("readlink", path); err != nil {
		return "", err
	}
	return f.under.Readlink(path)
}

// Free implements [disk.Reader]. A full disk has nothing free.
func (f *Faulty) Free(path string) (int64, error) {
	if err := f.alive("statfs", path); err != nil {
		return 0, err
	}
	if f.fault.Kind == Full && f.Struck() {
		return 0, nil
	}
	return f.under.Free(path)
}

// Open implements [disk.FS]. It is a change if it creates the file or truncates it.
func (f *Faulty) Open(path string, flag int, perm fs.FileMode) (disk.File, error) {
	if err := f.alive("open", path); err != nil {
		return nil, err
	}
	var opened disk.File
	open := func() (err error) {
		opened, err = f.under.Open(path, flag, perm)
		return err
	}
	creates := flag&os.O_CREATE != 0 && !f.exists(path)
	var err error
	switch {
	case creates:
		err = f.run(change{op: "create", path: path, needs: true, do: open, prepare: f.undo.name(path)})
	case flag&os.O_TRUNC != 0:
		err = f.run(change{op: "truncate", path: path, do: open, prepare: f.undo.contents(path)})
	default:
		err = open()
	}
	if err != nil {
		return nil, err
	}
	return &file{File: opened, fs: f, path: path, appends: flag&os.O_APPEND != 0}, nil
}

// Mkdir implements [disk.FS].
func (f *Faulty) Mkdir(path string, perm fs.FileMode) error {
	return f.run(change{
		op: "mkdir", path: path, needs: true,
		do: func() error { return f.under.Mkdir(path, perm) }, prepare: f.undo.name(path),
	})
}

// Symlink implements [disk.FS].
func (f *Faulty) Symlink(target, path string) error {
	return f.run(change{
		op: "symlink", path: path, needs: true,
		do: func() error { return f.under.Symlink(target, path) }, prepare: f.undo.name(path),
	})
}

// Rename implements [disk.FS]. Renaming to a new name may need space in the directory; to one that exists does not.
func (f *Faulty) Rename(from, to string) error {
	return f.run(change{
		op: "rename", path: from + " to " + filepath.Base(to), needs: !f.exists(to),
		do: func() error { return f.under.Rename(from, to) }, prepare: f.undo.rename(from, to),
	})
}

// Remove implements [disk.FS].
func (f *Faulty) Remove(path string) error {
	return f.run(change{
		op: "remove", path: path,
		do: func() error { return f.under.Remove(path) }, prepare: f.undo.removal(path),
	})
}

// Chmod implements [disk.FS].
func (f *Faulty) Chmod(path string, perm fs.FileMode) error {
	return f.run(change{op: "chmod", path: path, do: func() error { return f.under.Chmod(path, perm) }})
}

// SyncDir implements [disk.FS].
func (f *Faulty) SyncDir(path string) error {
	return f.run(change{op: "syncdir", path: path, do: func() error {
		f.undo.syncedDir(path)
		return f.under.SyncDir(path)
	}})
}
