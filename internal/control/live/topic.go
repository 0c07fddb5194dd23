package live

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// topic is something that is watched. Its goroutine alone looks at it and notes steps.
type topic struct {
	name    string
	look    Look
	bell    chan struct{}
	watched int // by so many; the hub's lock is for it

	mu       sync.Mutex
	newest   int64   // number of the last step
	steps    []Event // the last of them: a short way for those who are nearly up to date
	value    []byte  // JSON; nil: none
	whole    *Event  // the snapshot of the value, once somebody needed it
	trouble  *Event  // stale or gone, if it is now
	good     time.Time
	watchers map[*Watcher]bool
}

// kept is how many steps a topic keeps. Who lacks more gets a snapshot.
const kept = 16

// Between two looks.
const (
	least   = 5  // a topic is looked at once in so many parts of Every at most, however often the bell rings
	settles = 25 // a bell is answered so many parts of Every later: what comes together is seen together
	quiet   = 4  // a topic that does not change is looked at every so many Every
)

// follow looks at a topic again and again, until nobody watches it or ctx ends.
func (h *Hub) follow(ctx context.Context, t *topic) {
	wait := h.Every
	for !h.leave(t) {
		if h.see(ctx, t) {
			wait = h.Every
		} else {
			wait = min(wait*3/2, quiet*h.Every)
		}
		if h.Clock.Sleep(ctx, h.Every/least) != nil {
			return
		}
		if rung(ctx, t.bell, wait-h.Every/least) {
			wait = h.Every
			_ = h.Clock.Sleep(ctx, h.Every/settles)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// rung waits for the bell, for d at most, and tells whether it was rung.
func rung(ctx context.Context, bell <-chan struct{}, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	select {
	case <-bell:
		return true
	case <-ctx.Done():
		return false
	}
}

// found is what a look found.
type found struct {
	value any
	err   error
}

// see looks once, and tells whether anything has changed. A look that takes too long makes the topic stale, and is waited for: there is
// never more than one under way.
func (h *Hub) see(ctx context.Context, t *topic) bool {
	limited, cancel := context.WithTimeout(ctx, h.Within)
	defer cancel()
	done := make(chan found, 1)
	go func() { done <- h.safely(limited, t) }() // waited for below
	select {
	case f := <-done:
		return h.settle(ctx, t, f)
	case <-limited.Done():
		late := h.settle(ctx, t, found{err: fault.New(fault.Unavailable, "look at %s: it takes longer than %s", t.name, h.Within)})
		return h.settle(ctx, t, <-done) || late
	}
}

// safely keeps a look that panics from ending the control plane.
func (h *Hub) safely(ctx context.Context, t *topic) (f found) {
	defer func() {
		if p := recover(); p != nil {
			h.Log.ErrorContext(ctx, "looking at a topic panicked", slog.String("topic", t.name), slog.String("panic", fmt.Sprint(p)),
				slog.String("stack", string(debug.Stack())))
			f = found{err: fault.New(fault.Internal, "panic")}
		}
	}()
	value, err := t.look(ctx)
	return found{value, err}
}

// settle takes in what was found, and tells whether that is news.
func (h *Hub) settle(ctx context.Context, t *topic, f found) bool {
	if ctx.Err() != nil {
		return false // the hub ends: what fails now fails because of that
	}
	var data []byte
	if f.err == nil && f.value != nil {
		data, f.err = encode(f.value)
	}
	switch {
	case f.err == nil:
		return t.show(data, h.Clock.Now())
	case fault.KindOf(f.err) == fault.NotFound:
		return t.note(true, event(Gone, api.StreamEvent{Topic: t.name, Gone: f.err.Error()}))
	}
	why, level := f.err.Error(), slog.LevelInfo // what is away says so elsewhere
	if fault.KindOf(f.err) == fault.Internal {
		why, level = "internal error", slog.LevelError
	}
	e := api.StreamEvent{Topic: t.name, Stale: why}
	if !t.good.IsZero() {
		at := t.good.UTC()
		e.At = &at
	}
	news := t.note(false, event(Stale, e))
	if news {
		h.Log.LogAttrs(ctx, level, "what is watched is stale", slog.String("topic", t.name), slog.Any("error", f.err))
	}
	return news
}

// state is what troubles a topic: stale, gone, or nothing.
func (t *topic) state() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.trouble == nil {
		return ""
	}
	return t.trouble.Name
}

// note notes trouble, unless it is known; lost says that there is no value any more.
func (t *topic) note(lost bool, e Event) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.trouble != nil && t.trouble.Name == e.Name {
		return false
	}
	if lost {
		t.value, t.whole = nil, nil
	}
	t.trouble = &e
	t.step(e)
	return true
}

// show notes that all is well, and the value that there is now; nil is the same as before.
func (t *topic) show(data []byte, now time.Time) bool {
	var steps []Event
	if t.state() == Stale {
		steps = append(steps, event(Fresh, api.StreamEvent{Topic: t.name}))
	}
	if data != nil && !bytes.Equal(data, t.value) { // this goroutine alone writes the value
		if e, changed := t.change(data); changed {
			steps = append(steps, e)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trouble, t.good = nil, now
	if data != nil && !bytes.Equal(data, t.value) {
		t.value, t.whole = data, nil
	}
	for _, e := range steps {
		t.step(e)
	}
	return len(steps) > 0
}

// change is the event that makes the new value of the one before.
func (t *topic) change(data []byte) (e Event, changed bool) {
	if t.value != nil {
		patch, err := jsonpatch.CreateMergePatch(t.value, data)
		if err == nil {
			return event(Patch, api.StreamEvent{Topic: t.name, Patch: patch}), string(patch) != "{}"
		}
	}
	return event(Snapshot, api.StreamEvent{Topic: t.name, Value: data}), true
}

// step adds a step and wakes who watches; the caller holds the lock.
func (t *topic) step(e Event) {
	t.newest++
	if t.steps = append(t.steps, e); len(t.steps) > kept {
		t.steps = append(t.steps[:0], t.steps[1:]...)
	}
	for w := range t.watchers {
		say(w.more)
	}
}

// since is what brings somebody up to date who has the topic as it was after a step, and the step that they have then.
func (t *topic) since(have int64) ([]Event, int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if lacks := t.newest - have; lacks <= int64(len(t.steps)) {
		return append([]Event(nil), t.steps[len(t.steps)-int(lacks):]...), t.newest
	}
	var events []Event
	if t.value != nil {
		if t.whole == nil {
			whole := event(Snapshot, api.StreamEvent{Topic: t.name, Value: t.value})
			t.whole = &whole
		}
		events = append(events, *t.whole)
	}
	if t.trouble != nil {
		events = append(events, *t.trouble)
	}
	return events, t.newest
}

func (t *topic) join(w *Watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watchers[w] = true
}

func (t *topic) part(w *Watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watchers, w)
}
