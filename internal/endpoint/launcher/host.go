package launcher

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/launch"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// look finds out what there is to run.
func (l *launcher) look() launch.Have {
	link := l.link()
	have := launch.Have{Link: string(link), Current: l.runnable(link)}
	good, older := l.good(link)
	have.Good, have.Older = l.runnable(good), l.runnable(older)
	if l.keepHolds() {
		have.Keep = l.Keep.Slot
	}
	return have
}

// link is the slot that the component's link leads to; "" also if there is something else in its place.
func (l *launcher) link() slots.Slot {
	slot, err := l.dir.Target(slots.Current)
	if err != nil {
		l.Log("looking for the agent: %v", err)
	}
	return slot
}

// good tells which slots are good, by the book, or else by the way back that lies ready.
func (l *launcher) good(link slots.Slot) (good, older slots.Slot) {
	if e, ok := l.entry(); ok {
		good, older = slots.Slot(e.Good), slots.Slot(e.Older)
		if !e.Pending && e.Current != "" && e.Current != e.Good {
			good, older = slots.Slot(e.Current), slots.Slot(e.Good)
		}
		return good, older
	}
	if back, err := l.dir.Target(slots.Back); err == nil && back != link {
		return back, ""
	}
	return "", ""
}

// entry is what the book has about the agent.
func (l *launcher) entry() (bootguard.Entry, bool) {
	entries, err := l.Book.Entries()
	if err != nil {
		l.Log("going by the links: %v", err)
		return bootguard.Entry{}, false
	}
	i := slices.IndexFunc(entries, func(e bootguard.Entry) bool { return e.Component == Component })
	if i < 0 {
		return bootguard.Entry{}, false
	}
	return entries[i], true
}

// runnable returns the slot if it holds an agent.
func (l *launcher) runnable(s slots.Slot) string {
	if s == "" || !l.dir.Has(s) {
		return ""
	}
	if info, err := l.FS.Lstat(l.executable(s)); err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return ""
	}
	return string(s)
}

func (l *launcher) executable(s slots.Slot) string { return filepath.Join(l.dir.Slot(s), executable) }

// readOnly tells whether the agent's state lies on a file system that is mounted read-only, where no agent can keep what it promised.
func (l *launcher) readOnly() bool {
	f, err := l.FS.Open(l.state(lockedFile), os.O_WRONLY, 0)
	if err == nil {
		_ = f.Close() // nothing was written
	}
	return errors.Is(err, syscall.EROFS)
}

// quarantined is what the environment tells an agent of the slots that it must not ask for again.
func (l *launcher) quarantined() string {
	return QuarantineEnv + "=" + strings.Join(l.State.Barred(), ":")
}

// path is the executable on a rung.
func (l *launcher) path(rung launch.Rung, slot string) string {
	switch rung {
	case launch.Current, launch.Good, launch.Older:
		return l.executable(slots.Slot(slot))
	case launch.Keep:
		return filepath.Join(l.keepDir(), l.Keep.File)
	case launch.Factory:
	}
	return l.Factory
}
