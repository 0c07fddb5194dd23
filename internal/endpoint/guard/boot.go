package guard

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
)

// Stage is where in the boot the guard runs.
type Stage int

// The stages. Both count the same boot once.
const (
	Initramfs Stage = 1 // the root file system is mounted below Host.Root, mostly read-only
	Unit      Stage = 2 // the first unit of the host
)

const limit = 8 * time.Second

// Boot counts the boot and goes back if it is time. It returns within [Host].Limit, whatever happens, and tells nobody of a failure but
// the log: a host whose guard is broken boots as if it had none.
func Boot(ctx context.Context, h Host, stage Stage) {
	if h.Limit == 0 {
		h.Limit = limit
	}
	ctx, cancel := context.WithTimeout(ctx, h.Limit)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if r := recover(); r != nil {
				h.alarm("stage %d broke and leaves the boot alone: %v", stage, r)
			}
		}()
		h.guard(ctx, stage)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		h.alarm("stage %d gave up after %s and leaves the boot alone", stage, h.Limit)
	}
}

func (h Host) guard(ctx context.Context, stage Stage) {
	if why := h.disabled(); why != "" {
		h.say("stage %d does nothing: disabled %s", stage, why)
		return
	}
	dir, err := h.at(h.Dir)
	if err == nil {
		_, err = h.FS.Lstat(dir)
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			h.say("stage %d has nothing to guard: there is no %s", stage, dir)
		} else {
			h.alarm("stage %d fails open: %v", stage, err)
		}
		return
	}
	w := &writable{host: h}
	if stage == Initramfs {
		defer w.restore()
		w.make(dir)
	}
	book, err := open(h.FS, dir)
	if err != nil {
		h.alarm("stage %d fails open: %v", stage, err)
		return
	}
	defer func() { _ = book.Close() }() // before the mount is made read-only again
	h.count(ctx, stage, book, w)
}

// count takes the boot in, and carries out what follows. A state that cannot be saved does not keep the host from going back.
func (h Host) count(ctx context.Context, stage Stage, book *Book, w *writable) {
	s, damaged, err := book.load()
	if err != nil {
		h.alarm("stage %d fails open: %v", stage, err)
		return
	}
	if damaged != nil {
		h.alarm("begins with an empty state, and nothing to go back from: %v", damaged)
	}
	e := bootguard.Booted{
		Boot: h.BootID(), At: h.Clock.Now(), Dumps: h.dumps(), Watchdog: h.watchdog(), Shows: h.shows(s.Entries),
	}
	s, effects := bootguard.Step(s, e)
	h.say("stage %d: boot %d since one was blessed, level %d, %d of %d components pending",
		stage, s.Boots, s.Level, len(s.Pending()), len(s.Entries))
	if err := book.save(s); err != nil {
		h.alarm("cannot remember this boot: %v", err)
	}
	if stage == Initramfs {
		for _, effect := range effects {
			if g, ok := effect.(bootguard.GoBack); ok {
				if at, err := h.at(g.Dir); err == nil {
					w.make(at)
				}
			}
		}
	}
	h.carryOut(ctx, book, s, effects)
	h.sign(stage)
}

// sign leaves the mark by which the agent tells that a stage saw this boot.
func (h Host) sign(stage Stage) {
	name := lateFile
	if stage == Initramfs {
		name = earlyFile
	}
	if err := h.mark(name, h.BootID()+"\n"); err != nil {
		h.say("stage %d cannot leave its mark: %v", stage, err)
	}
}

// carryOut does what was decided, and saves after each way back what became of it. What is not done when the time is over is owed.
func (h Host) carryOut(ctx context.Context, book *Book, s bootguard.State, effects []bootguard.Effect) bootguard.State {
	for len(effects) > 0 && ctx.Err() == nil {
		effect := effects[0]
		effects = effects[1:]
		switch e := effect.(type) {
		case bootguard.SafeMode:
			if err := h.mark(safeModeFile, "three levels of going back did not help\n"); err != nil {
				h.alarm("cannot ask for safe mode: %v", err)
			}
		case bootguard.GoBack:
			var more []bootguard.Effect
			s, more = bootguard.Step(s, h.took(e))
			effects = append(effects, more...)
			if err := book.save(s); err != nil {
				h.alarm("cannot remember what became of %s: %v", e.Component, err)
			}
		case bootguard.Reboot: // no boot asks for one
		}
	}
	return s
}

// took goes back and tells what became of it.
func (h Host) took(g bootguard.GoBack) bootguard.Event {
	to := g.To
	if to == "" {
		to = "nothing"
	}
	if err := h.goBack(g.Dir, g.To); err != nil {
		h.alarm("level %d: %s cannot go back to %s: %v", g.Level, g.Component, to, err)
		return bootguard.Failed{Component: g.Component, Why: err.Error(), Gone: errors.Is(err, fs.ErrNotExist)}
	}
	h.alarm("level %d: %s went back to %s", g.Level, g.Component, to)
	return bootguard.Went{Component: g.Component}
}

// Mounts makes file systems writable.
type Mounts interface {
	// ReadOnly tells whether the file system that holds path is mounted read-only.
	ReadOnly(path string) (bool, error)
	// Remount mounts the file system that holds path anew, read-only or not.
	Remount(path string, readOnly bool) error
}

// writable remembers which file systems the first stage has made so.
type writable struct {
	host  Host
	paths []string
}

func (w *writable) make(path string) {
	if w.host.Mounts == nil {
		return
	}
	readOnly, err := w.host.Mounts.ReadOnly(path)
	if err == nil && readOnly {
		if err = w.host.Mounts.Remount(path, false); err == nil {
			w.paths = append(w.paths, path)
		}
	}
	if err != nil {
		w.host.alarm("cannot make %s writable: %v", filepath.Clean(path), err)
	}
}

// restore leaves mounts as they were: the host checks and mounts its root itself.
func (w *writable) restore() {
	for _, path := range w.paths {
		if err := w.host.Mounts.Remount(path, true); err != nil {
			w.host.alarm("cannot make %s read-only again: %v", path, err)
		}
	}
}
