// Package live shows what goes on while it goes on: topics that change, and those who watch them.
//
// A [Hub] works each topic out once, however many watch it, and only while somebody does. Whoever begins to watch gets a snapshot, then
// patches. Nobody is waited for: who reads slowly gets a snapshot of what is there by then in place of the patches that were missed. What
// cannot be worked out - the database is slow, or away - keeps its last value and is called stale.
//
// [Desk] composes the first of the topics, the overview, and [Timeline] that of a rollout's decisions.
package live

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Look works out what a topic shows now: a value that becomes a JSON object, fault.NotFound if there is nothing to show, or nil if the
// value is that of the call before, which did not fail. It is never called while it is still running, and must heed its context.
type Look func(ctx context.Context) (any, error)

// Source makes the look at one topic. ID is what follows the colon in the topic's name; empty if it has none.
type Source func(id string) Look

// ErrFull is why somebody may not watch: too many do.
var ErrFull = errors.New("too many streams are open")

// Options are what a hub needs. Of the limits 0 means what is said.
type Options struct {
	Sources map[string]Source // by topic; those with an id by what comes before it: "rollout:"
	Every   time.Duration     // between two looks at a topic that changes; 0 means 500 ms. A quiet one is looked at less often
	Within  time.Duration     // what takes longer to work out is stale; 0 means 2 s
	Beat    time.Duration     // between two signs of life on a stream; 0 means 10 s
	Topics  int               // of one stream; 0 means 8
	Each    int               // streams of one token; 0 means 20
	All     int               // streams in all; 0 means 500
	Clock   clock.Clock
	Log     *slog.Logger
}

// Hub knows the topics and who watches them. Its methods are safe for concurrent use.
type Hub struct {
	Options
	more chan struct{} // there are new topics to run

	mu       sync.Mutex
	topics   map[string]*topic
	fresh    []*topic // Run does not know of them yet
	watchers map[*Watcher]bool
	streams  map[string]int // by token
	ended    bool
}

// New makes a hub. Nothing is looked at before Run.
func New(o Options) *Hub {
	o.Every, o.Within, o.Beat = cmp.Or(o.Every, 500*time.Millisecond), cmp.Or(o.Within, 2*time.Second), cmp.Or(o.Beat, 10*time.Second)
	o.Topics, o.Each, o.All = cmp.Or(o.Topics, 8), cmp.Or(o.Each, 20), cmp.Or(o.All, 500)
	return &Hub{
		Options: o, more: make(chan struct{}, 1), topics: map[string]*topic{}, watchers: map[*Watcher]bool{}, streams: map[string]int{},
	}
}

// Run looks at what is watched until ctx ends. Then it ends all streams, lets none begin, and waits for the looks under way. It owns every
// goroutine of the hub: one that beats, and one for each topic that is watched.
func (h *Hub) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error {
		for h.Clock.Sleep(ctx, h.Beat) == nil {
			h.beat()
		}
		return nil
	})
	for {
		select {
		case <-h.more:
			for _, t := range h.take() {
				group.Go(func() error {
					h.follow(ctx, t)
					return nil
				})
			}
		case <-ctx.Done():
			h.end()
			return group.Wait()
		}
	}
}

// Ring says that something may have changed: everything that is watched is looked at soon. It waits for nobody, and may be called as often
// as one likes.
func (h *Hub) Ring() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.topics {
		say(t.bell)
	}
}

// Watch opens a stream of topics for whoever has that token, to be closed by the caller. It returns an [ErrFull] if there are too many.
func (h *Hub) Watch(token string, names []string) (*Watcher, error) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	looks, err := h.looks(names)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.ended:
		return nil, fault.New(fault.Unavailable, "watch: %s", stopping)
	case len(h.watchers) >= h.All:
		return nil, fault.New(fault.Unavailable, "watch: %d are open here: %w", h.All, ErrFull).Hint("Close what nobody looks at, and try again.")
	case h.streams[token] >= h.Each:
		return nil, fault.New(fault.Unavailable, "watch: %d are open with this token: %w", h.Each, ErrFull).
			Hint("Close some of them, and try again.")
	}
	w := &Watcher{hub: h, token: token, more: make(chan struct{}, 1), pulse: make(chan struct{}, 1), end: make(chan struct{})}
	for i, name := range names {
		w.views = append(w.views, view{topic: h.topic(name, looks[i]), have: unseen})
	}
	h.watchers[w] = true
	h.streams[token]++
	for _, v := range w.views {
		v.topic.join(w)
	}
	return w, nil
}

// looks finds out what the topics are made of.
func (h *Hub) looks(names []string) ([]func() Look, error) {
	var problems []fault.Problem
	wrong := func(message string) { problems = append(problems, fault.Problem{Path: "topic", Message: message}) }
	if len(names) == 0 {
		wrong("is missing; it may be " + h.known())
	}
	if len(names) > h.Topics {
		wrong("is there too often: a stream has at most " + digits(h.Topics) + "; open another one")
		names = nil
	}
	var looks []func() Look
	for _, name := range names {
		kind, id, has := strings.Cut(name, ":")
		if has {
			kind += ":"
		}
		source, known := h.Sources[kind]
		if !known || has && !shape.MatchString(id) {
			wrong("must be " + h.known() + ", is " + shorten(name))
			continue
		}
		looks = append(looks, func() Look { return source(id) })
	}
	return looks, fault.Problems("watch", problems)
}

// shape is what ids look like.
var shape = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// known are the topics that there are, in words.
func (h *Hub) known() string {
	names := slices.Sorted(maps.Keys(h.Sources))
	for i, name := range names {
		if strings.HasSuffix(name, ":") {
			names[i] += "ID"
		}
	}
	return strings.Join(names, " or ")
}

// topic finds a topic, and begins it if nobody watches it yet; the caller holds the lock.
func (h *Hub) topic(name string, look func() Look) *topic {
	t, known := h.topics[name]
	if !known {
		t = &topic{name: name, look: look(), bell: make(chan struct{}, 1), watchers: map[*Watcher]bool{}}
		h.topics[name] = t
		h.fresh = append(h.fresh, t)
		say(h.more)
	}
	t.watched++
	return t
}

// take hands out the topics that are new.
func (h *Hub) take() []*topic {
	h.mu.Lock()
	defer h.mu.Unlock()
	fresh := h.fresh
	h.fresh = nil
	return fresh
}

// leave forgets a topic that nobody watches any more, and tells whether that is so.
func (h *Hub) leave(t *topic) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t.watched > 0 {
		return false
	}
	delete(h.topics, t.name)
	return true
}

// close takes a watcher out.
func (h *Hub) close(w *Watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.watchers[w] {
		return
	}
	delete(h.watchers, w)
	if h.streams[w.token]--; h.streams[w.token] == 0 {
		delete(h.streams, w.token)
	}
	for _, v := range w.views {
		v.topic.watched--
		v.topic.part(w)
		say(v.topic.bell) // so that it ends soon if w was the last
	}
}

// beat lets every stream give a sign of life.
func (h *Hub) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.watchers {
		say(w.pulse)
	}
}

// end ends every stream.
func (h *Hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for w := range h.watchers {
		close(w.end)
	}
}

// say leaves a word, unless it is there already.
func say(word chan struct{}) {
	select {
	case word <- struct{}{}:
	default:
	}
}
