package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// freezes are when nobody is exposed in the whole installation.
type freezes struct {
	setting sync.Mutex // one change at a time
	mu      sync.RWMutex
	set     frozen
}

// frozen is a calendar and who set it, as it is stored.
type frozen struct {
	Calendar calendar.Calendar `json:"calendar"`
	Actor    string            `json:"actor"`
}

// freezesKey names the freezes among the settings.
const freezesKey = "freezes"

func (f *freezes) get() frozen {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.set
}

func (f *freezes) put(set frozen) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.set = set
}

// Freezes are when no rollout of the installation exposes anybody. The lists in them must not be changed.
func (e *Engine) Freezes() calendar.Calendar { return e.freezes.get().Calendar }

// SetFreezes replaces the installation's freezes. They are stored first, then every rollout is told; one that cannot be told now learns it
// before it exposes anybody else.
func (e *Engine) SetFreezes(ctx context.Context, c calendar.Calendar, actor string) error {
	if err := fault.Problems("set the freezes", c.Check("")); err != nil {
		return err
	}
	e.freezes.setting.Lock()
	defer e.freezes.setting.Unlock()
	set := frozen{Calendar: c, Actor: actor}
	data, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("encode the freezes: %w", err)
	}
	if err := e.Settings.PutSetting(ctx, freezesKey, string(data)); err != nil {
		return fmt.Errorf("store the freezes: %w", err)
	}
	e.freezes.put(set)
	for _, r := range e.list() {
		if err := e.hold(ctx, r); err != nil {
			return err
		}
		err := e.agree(ctx, r)
		r.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// loadFreezes reads the freezes. Rollouts that were not told before the server stopped are told with the first thing they do.
func (e *Engine) loadFreezes(ctx context.Context) error {
	set, err := readFreezes(ctx, e.Settings)
	if err != nil {
		return err
	}
	e.freezes.put(set)
	return nil
}

// LoadFreezes reads the installation's freezes for a replica that does not lead. None were ever set: there are none.
func LoadFreezes(ctx context.Context, s SettingReader) (calendar.Calendar, error) {
	set, err := readFreezes(ctx, s)
	return set.Calendar, err
}

func readFreezes(ctx context.Context, s SettingReader) (set frozen, err error) {
	text, err := s.Setting(ctx, freezesKey)
	if fault.KindOf(err) == fault.NotFound {
		return frozen{}, nil
	}
	if err != nil {
		return frozen{}, fmt.Errorf("load the freezes: %w", err)
	}
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return frozen{}, fault.New(fault.Internal, "load the freezes: what is stored cannot be read: %w", err)
	}
	return set, nil
}

// agree tells a rollout the installation's freezes if it knows others. A complete one that no directive names exposes nobody and is told
// when it is named again. The caller holds its lock.
func (e *Engine) agree(ctx context.Context, r *entry) error {
	s, set := r.state, e.freezes.get()
	asleep := s.Phase == rollout.None || s.Phase.Final() || s.Phase == rollout.Complete && !e.board.current(s)
	if asleep || sameCalendar(s.Freezes, set.Calendar) {
		return nil
	}
	_, err := e.step(ctx, r, rollout.FreezesSet{At: stamp(e.Clock.Now()), Freezes: set.Calendar, Actor: set.Actor})
	return err
}

// sameCalendar tells whether two calendars are written alike.
func sameCalendar(a, b calendar.Calendar) bool {
	left, errA := json.Marshal(a)
	right, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(left, right)
}
