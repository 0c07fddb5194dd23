package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/installer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/slots"
)

// Guard is the boot guard's book on this host: what it may have to undo when the host does not come up, and what it did.
type Guard interface {
	// Sync replaces all entries, durably.
	Sync(entries []bootguard.Entry) error
	// Entries are those of the last Sync, with what guard and launcher went back from since.
	Entries() ([]bootguard.Entry, error)
	// Undone tells what guard and launcher went back from since Take.
	Undone() ([]bootguard.Undone, error)
	// Take forgets what is in the agent's journal by now.
	Take(taken []bootguard.Undone) error
	// Blessed is the id of the newest boot that was blessed.
	Blessed() (boot string, err error)
}

// entry tells the boot guard of one component. While something is activated or left, and until what matters at boot was booted, it is
// pending: the guard may go back from it when the host does not come up.
func entry(u *unit, s install.State, since switched) bootguard.Entry {
	e := bootguard.Entry{
		Component: u.file.Component, Kind: string(u.file.Kind), Current: string(s.Current.Slot), Good: string(s.Good.Slot),
		Older: string(s.Previous.Slot), At: since.At, Boot: since.Boot,
	}
	if u.linked {
		e.Dir = u.dir
	}
	if u.keepsFactory() && u.has(s.Factory.Slot) {
		e.Factory = string(s.Factory.Slot)
	}
	switch s.Phase {
	case install.Activating, install.Proving, install.Reverting:
		e.Current, e.Pending = string(s.Next.Slot), true
	case install.Idle, install.Fetching, install.Ready:
		e.Pending = s.Unbooted || since.Pending && s.Current.Slot != s.Good.Slot
	case install.Recovering:
	}
	return e
}

// keepsFactory tells whether the component has a factory release at all: the host was asked to keep it, and the boot guard can go there.
func (u *unit) keepsFactory() bool { return u.file.Factory && u.linked }

// waits tells whether a blessed boot changes anything.
func (u *unit) waits(s install.State) bool {
	if !u.keepsFactory() {
		return s.Unbooted || s.Factory.Slot != ""
	}
	return s.Unbooted || !u.has(s.Factory.Slot) && s.Current == s.Good && s.Good.Slot != ""
}

func (u *unit) has(slot install.Slot) bool {
	return slots.Dir{FS: u.fs, Path: u.dir}.Has(slots.Slot(slot))
}

// sync brings the boot guard's book up to date. The caller holds the lock.
func (a *Agent) sync() error {
	if a.Guard == nil {
		return nil
	}
	if err := a.readBook(); err != nil {
		return err
	}
	entries := []bootguard.Entry{}
	for _, name := range slices.Sorted(maps.Keys(a.all)) {
		if e := entry(a.all[name], a.memory.Components[name], a.memory.Switched[name]); e.Current != "" {
			entries = append(entries, e)
		}
	}
	entries = withAsManyAsFit(entries, a.others())
	data, err := json.Marshal(entries)
	if err != nil || bytes.Equal(data, a.synced) {
		return err
	}
	if err := a.Guard.Sync(entries); err != nil {
		return fmt.Errorf("tell the boot guard: %w", err)
	}
	a.synced = data
	return nil
}

// readBook reads, once, what the boot guard knew when the agent started.
func (a *Agent) readBook() (err error) {
	if a.Guard == nil || a.book != nil {
		return nil
	}
	if a.book, err = a.Guard.Entries(); err != nil {
		return fmt.Errorf("ask the boot guard what it knows: %w", err)
	}
	a.book = slices.Concat([]bootguard.Entry{}, a.book) // not nil any more
	return nil
}

// others are the entries of components that are not at work and of which the memory knows nothing that is newer: a mistake in their file,
// or a disk that fails for a while, takes no way back. The entry of a component that was removed goes, unless the host has yet to boot well
// with what was activated last: see [Agent.forget].
func (a *Agent) others() []bootguard.Entry {
	var kept []bootguard.Entry
	for _, e := range a.book {
		_, known := a.memory.Components[e.Component]
		if a.removed(e) && !e.Pending {
			continue
		}
		if a.all[e.Component] == nil || !known {
			kept = append(kept, e)
		}
	}
	return kept
}

// removed tells whether the component has no file any more, as far as the files can be read.
func (a *Agent) removed(e bootguard.Entry) bool {
	named := func(f component.File) bool { return f.Component == e.Component }
	return !a.Partial && a.all[e.Component] == nil && !slices.ContainsFunc(a.Files, named)
}

// forget drops the entries of components that were removed while pending, once a boot that began after their activation was blessed.
// The caller holds the lock.
func (a *Agent) forget() error {
	count := len(a.book)
	a.book = slices.DeleteFunc(a.book, func(e bootguard.Entry) bool { return a.removed(e) && e.Boot != a.Boot })
	if len(a.book) == count {
		return nil
	}
	return a.sync()
}

// withAsManyAsFit adds the entries of components that are not at work to those that are: what is pending first, and then the newest.
func withAsManyAsFit(entries, others []bootguard.Entry) []bootguard.Entry {
	slices.SortStableFunc(others, func(x, y bootguard.Entry) int {
		if x.Pending != y.Pending {
			if x.Pending {
				return -1
			}
			return 1
		}
		return y.At.Compare(x.At)
	})
	for n := len(others); n > 0; n-- {
		if whole := slices.Concat(entries, others[:n]); bootguard.Fits(whole) == nil {
			return whole
		}
	}
	return entries
}

// seed gives a machine that remembers nothing, as after the journal was lost, a way back: as the boot guard has it, or else to what runs.
// The caller holds the lock.
func (a *Agent) seed(ctx context.Context, name string, found installer.Inspection) {
	if _, known := a.memory.Components[name]; known {
		return
	}
	if err := a.readBook(); err != nil {
		a.Log.ErrorContext(ctx, "look for what the component ran", slog.String("component", name), slog.Any("error", err))
	}
	in := func(slot string) install.Installed { return install.Installed{Slot: install.Slot(slot)} }
	s := install.State{Component: name, Phase: install.Idle}
	if i := slices.IndexFunc(a.book, func(e bootguard.Entry) bool { return e.Component == name }); i >= 0 {
		e := a.book[i]
		s.Current, s.Good, s.Previous, s.Factory = in(e.Current), in(e.Good), in(e.Older), in(e.Factory)
		a.memory.Switched[name] = switched{At: e.At, Boot: e.Boot, Pending: e.Pending}
	} else if slices.Contains(found.Slots, found.Current) {
		s.Current, s.Good = in(string(found.Current)), in(string(found.Current))
	}
	a.memory.Components[name] = s
}

// undone asks what guard and launcher did while no agent ran.
func (a *Agent) undone(ctx context.Context) []bootguard.Undone {
	if a.Guard == nil {
		return nil
	}
	all, err := a.Guard.Undone()
	if err != nil {
		a.Log.ErrorContext(ctx, "ask the boot guard what it did", slog.Any("error", err))
	}
	for _, u := range all {
		a.Log.WarnContext(ctx, "the host went back by itself", slog.String("component", u.Component), slog.String("from", u.From),
			slog.String("to", u.To), slog.Int("level", u.Level), slog.String("verdict", string(u.Verdict)), slog.String("why", u.Why))
	}
	return all
}

// undoneOf picks what was done about a component: guard and launcher may have gone back more than once.
func undoneOf(all []bootguard.Undone, component string) (undone []install.Undone) {
	for _, u := range all {
		if u.Component == component && u.From != "" {
			undone = append(undone, install.Undone{From: install.Slot(u.From), Why: u.Why, Conclusive: u.Verdict == bootguard.Crash})
		}
	}
	return undone
}

// take lets the guard forget what the journal knows now. The caller holds the lock.
func (a *Agent) take(ctx context.Context, undone []bootguard.Undone) {
	if len(undone) == 0 {
		return
	}
	if err := a.Guard.Take(undone); err != nil {
		a.Log.ErrorContext(ctx, "tell the boot guard that its doings are known", slog.Any("error", err))
	}
}

// bless makes good what matters at boot, and keeps the first release as the factory's where the host does so, once a boot was blessed that
// began after the activation.
func (a *Agent) bless(ctx context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var waiting []*unit
	for name, u := range a.units {
		since := a.memory.Switched[name]
		if u.waits(a.memory.Components[name]) && since.Boot != a.Boot && since.Back != a.Boot {
			waiting = append(waiting, u)
		}
	}
	if a.Guard == nil || a.Boot == "" || len(waiting) == 0 && !slices.ContainsFunc(a.book, a.removed) {
		return
	}
	boot, err := a.Guard.Blessed()
	if err != nil {
		a.Log.ErrorContext(ctx, "ask whether this boot was blessed", slog.Any("error", err))
	}
	if err != nil || boot != a.Boot {
		return
	}
	for _, u := range waiting {
		a.apply(ctx, u, install.Blessed{At: a.now(), Factory: u.keepsFactory()})
	}
	if err := a.forget(); err != nil {
		a.Log.ErrorContext(ctx, "forget components that were removed", slog.Any("error", err))
	}
}
