package ingest

import (
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// Limits of an event stream.
const (
	heartbeat    = 25 * time.Second // between two words on it, so that nobody takes the line for dead
	streamLife   = 5 * time.Minute  // then the host has to ask again
	writeTimeout = 10 * time.Second // a host that takes in nothing loses its stream
)

// events holds a line to a host that is exposed, and says when it should look again. It carries no authority: whatever changed, the host
// learns it from its check-in and from signed documents. Whoever is not exposed, or finds all streams taken, just goes on polling.
func (in *Ingest) events(w http.ResponseWriter, r *http.Request, id fleet.EndpointID) error {
	known, ok := in.Fleet.Glance(id)
	if !ok {
		return in.unknown(id)
	}
	names := known.Inventory.Names()
	if !in.exposed(id, names) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	s := in.hub.open(id, names)
	if s == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	defer in.hub.close(s)
	takeTime(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header()["Connection"] = in.goodbye
	in.stream(w, r, s, func() bool { return in.exposed(id, names) && in.Fleet.Known(id) })
	return nil
}

// stream writes what the hub says until the host is not exposed any more, goes away, or has had its time.
func (in *Ingest) stream(w http.ResponseWriter, r *http.Request, s *stream, exposed func() bool) {
	const look, beat = "data: look\n\n", ": still here\n\n"
	until := in.Clock.Now().Add(streamLife)
	line := http.NewResponseController(w)
	for word := look; ; { // at first what may have changed before the stream was there
		_ = line.SetWriteDeadline(in.Clock.Now().Add(writeTimeout)) // not every line has one
		if _, err := io.WriteString(w, word); err != nil {
			return
		}
		if line.Flush() != nil || !exposed() || in.Clock.Now().After(until) {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.end:
			return
		case <-s.look:
			word = look
		case <-s.beat:
			word = beat
		}
	}
}

// Nudge tells the hosts that hold a stream and have the component to look again. It waits for nobody.
func (in *Ingest) Nudge(component string) { in.hub.nudge(component) }

// hub knows the open streams. The zero hub lets none be opened.
type hub struct {
	mu      sync.Mutex
	most    int
	streams map[fleet.EndpointID]*stream
	having  map[string]map[*stream]bool // by component
}

// stream is one open line. Its channels hold one word each: two looks are no more than one.
type stream struct {
	id         fleet.EndpointID
	components []string
	look, beat chan struct{}
	end        chan struct{}
}

// open adds a stream, or returns nil if there is no room. A host has one: the older ends.
func (h *hub) open(id fleet.EndpointID, components []string) *stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	if old, has := h.streams[id]; has {
		h.drop(old)
	}
	if len(h.streams) >= h.most {
		return nil
	}
	s := &stream{
		id: id, components: components, look: make(chan struct{}, 1), beat: make(chan struct{}, 1), end: make(chan struct{}),
	}
	if h.streams == nil {
		h.streams, h.having = map[fleet.EndpointID]*stream{}, map[string]map[*stream]bool{}
	}
	h.streams[id] = s
	for _, name := range components {
		if h.having[name] == nil {
			h.having[name] = map[*stream]bool{}
		}
		h.having[name][s] = true
	}
	return s
}

func (h *hub) close(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[s.id] == s {
		h.drop(s)
	}
}

// drop ends a stream; the caller holds the lock.
func (h *hub) drop(s *stream) {
	close(s.end)
	delete(h.streams, s.id)
	for _, name := range s.components {
		if delete(h.having[name], s); len(h.having[name]) == 0 {
			delete(h.having, name)
		}
	}
}

func (h *hub) nudge(component string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.having[component] {
		say(s.look)
	}
}

// end ends the stream of one host.
func (h *hub) end(id fleet.EndpointID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s, has := h.streams[id]; has {
		h.drop(s)
	}
}

// pulse lets every stream say that it is still there, and look at its time.
func (h *hub) pulse() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.streams {
		say(s.beat)
	}
}

// shut ends all streams, and lets no more be opened.
func (h *hub) shut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.most = 0
	for _, s := range h.streams {
		h.drop(s)
	}
}

// say leaves a word, unless it is there already.
func say(word chan struct{}) {
	select {
	case word <- struct{}{}:
	default:
	}
}
