package guard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/journal"
)

// Book is what the guard remembers, in its directory. Agent, launcher and guard each open it; what one of them changes the others see.
// It is safe for concurrent use.
type Book struct {
	mu   sync.Mutex
	dir  string
	file *journal.Journal
}

const (
	slotSize = 64 << 10
	patience = 5 * time.Second // for the lock, which is held for as long as two small reads and a write take
	pause    = 10 * time.Millisecond
)

// Open opens the guard's memory, and makes it and its directory if need be. What lies in its place and is none is moved aside.
func Open(fsys disk.FS, dir string) (*Book, error) {
	if err := disk.MkdirAll(fsys, dir, 0o700); err != nil {
		return nil, disk.Explain(err, "make the guard's directory %s", dir)
	}
	if held, err := lock(dir); err == nil { // two that make the file at the same time would not share it
		defer func() { _ = held.Close() }()
	}
	return open(fsys, dir)
}

// open is Open where the directory exists.
func open(fsys disk.FS, dir string) (*Book, error) {
	path := filepath.Join(dir, stateFile)
	file, err := journal.Open(fsys, path, slotSize)
	if fault.KindOf(err) == fault.Conflict { // not even the size of one: no newer version wrote it
		if fsys.Rename(path, filepath.Join(dir, damagedFile)) == nil {
			file, err = journal.Open(fsys, path, slotSize)
		}
	}
	if err != nil {
		return nil, err
	}
	return &Book{dir: dir, file: file}, nil
}

// Close closes the file.
func (b *Book) Close() error { return b.file.Close() }

// Sync replaces all that there is to go back from. It is durable when it returns nil. The agent calls it before every switch, and whenever
// an entry changes. Entries that cannot be remembered are a fault.Invalid, and nothing changes.
func (b *Book) Sync(entries []bootguard.Entry) error {
	if err := bootguard.Fits(entries); err != nil {
		return fault.New(fault.Invalid, "tell the guard what to go back to: %w", err).Hint("look after fewer components, or give them shorter names")
	}
	return b.tell(bootguard.Synced{Entries: entries})
}

// Entries lists what there is to go back from, as it was synced last and with what the guard went back from since.
func (b *Book) Entries() ([]bootguard.Entry, error) {
	s, err := b.State()
	return s.Entries, err
}

// Undone lists what was gone back from and was not taken yet, oldest first.
func (b *Book) Undone() ([]bootguard.Undone, error) {
	s, err := b.State()
	return s.Undone, err
}

// Take forgets what was gone back from: the agent's journal has it.
func (b *Book) Take(taken []bootguard.Undone) error { return b.tell(bootguard.Taken{Undone: taken}) }

// Undid notes a release that somebody else went back from, such as the launcher, for the agent.
func (b *Book) Undid(u bootguard.Undone) error { return b.tell(bootguard.Noted{Undone: u}) }

// Blessed is the id of the newest boot that was blessed; "" if none was.
func (b *Book) Blessed() (string, error) {
	s, err := b.State()
	return s.Blessed, err
}

// Plan says that the next boot is wanted: it is not counted.
func (b *Book) Plan() error { return b.tell(bootguard.Planned{}) }

// State is all that is remembered. What is damaged counts as nothing, which a boot says in its log and [Look] tells.
func (b *Book) State() (bootguard.State, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, _, err := b.load()
	return s, err
}

// load reads the newest record; damaged says why there is none where there should be.
func (b *Book) load() (s bootguard.State, damaged, err error) {
	data, ok, err := b.file.Load()
	switch {
	case errors.Is(err, journal.ErrDamaged):
		return bootguard.State{}, err, nil
	case err != nil || !ok:
		return bootguard.State{}, nil, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return bootguard.State{}, fault.New(fault.Conflict, "read %s: %w", b.file.Path(), err), nil
	}
	return s, nil, nil
}

// save makes a state the record, unless it is.
func (b *Book) save(s bootguard.State) error {
	data, err := json.Marshal(s)
	if err != nil {
		return fault.New(fault.Internal, "encode the guard's state: %w", err)
	}
	if is, ok, err := b.file.Load(); err == nil && ok && bytes.Equal(is, data) {
		return nil
	}
	return b.file.Save(data)
}

func (b *Book) tell(e bootguard.Event) error {
	_, err := b.step(e)
	return err
}

// step takes an event in, durably, and returns what is to be done.
func (b *Book) step(e bootguard.Event) ([]bootguard.Effect, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	held, err := lock(b.dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = held.Close() }()
	s, _, err := b.load()
	if err != nil {
		return nil, err
	}
	next, effects := bootguard.Step(s, e)
	return effects, b.save(next)
}

// peek reads what is remembered and changes nothing, not even a file that is damaged or is not there.
func (h Host) peek(dir string) (s bootguard.State, damaged, err error) {
	if _, err = h.FS.Lstat(filepath.Join(dir, stateFile)); errors.Is(err, fs.ErrNotExist) {
		return s, nil, nil
	}
	book, err := open(looking{h.FS}, dir)
	if fault.KindOf(err) == fault.Conflict {
		return s, err, nil
	}
	if err != nil {
		return s, nil, err
	}
	defer func() { _ = book.Close() }()
	return book.load()
}

// looking is a file system of which nothing can be changed.
type looking struct{ disk.FS }

func (l looking) Open(path string, flag int, perm fs.FileMode) (disk.File, error) {
	if flag&(os.O_CREATE|os.O_TRUNC) != 0 {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrPermission}
	}
	return l.FS.Open(path, os.O_RDONLY, perm)
}

func (looking) Rename(from, _ string) error {
	return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrPermission}
}

// lock keeps other processes from changing the record between reading and writing it.
func lock(dir string) (io.Closer, error) {
	var wall clock.Wall
	for waited := time.Duration(0); ; waited += pause {
		held, err := disk.Lock(filepath.Join(dir, lockFile))
		switch {
		case fault.KindOf(err) != fault.Conflict:
			return held, err
		case waited >= patience:
			return nil, fault.New(fault.Conflict, "change what the guard remembers: %w", err).
				Hint("see who holds %s, with fuser; agent, launcher and guard hold it for milliseconds", filepath.Join(dir, lockFile))
		}
		_ = wall.Sleep(context.Background(), pause)
	}
}
