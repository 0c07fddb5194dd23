package live

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/firebreak-dev/firebreak/api"
)

// Event is one event of a stream. Its data is an api.StreamEvent, encoded once for all who watch: it must not be changed.
type Event struct {
	Name string // snapshot, patch, gone, stale, fresh or bye
	Data []byte
}

// Names of events.
const (
	Snapshot = "snapshot"
	Patch    = "patch"
	Gone     = "gone"
	Stale    = "stale"
	Fresh    = "fresh"
	Bye      = "bye"
)

// stopping is why streams end when the hub does.
const stopping = "this control plane is being stopped; connect again"

// Watcher is one open stream. Next must not be called concurrently.
type Watcher struct {
	hub   *Hub
	token string
	views []view
	more  chan struct{} // a topic has changed
	pulse chan struct{} // it is time for a sign of life
	end   chan struct{} // the hub ends
}

// view is how far a watcher has come with a topic.
type view struct {
	topic *topic
	have  int64 // its newest step that the watcher has
}

// unseen is what a watcher has of a topic at first: it is before all steps, so that it is never one of those that are kept.
const unseen = -1

// Next waits for what happens next: events in their order, or none when it is time for a sign of life. More is false when nothing comes
// after them.
func (w *Watcher) Next(ctx context.Context) (events []Event, more bool) {
	for {
		select {
		case <-w.end:
			return []Event{NewBye(stopping)}, false
		default:
		}
		if events = w.gather(); len(events) > 0 {
			return events, true
		}
		select {
		case <-w.more:
		case <-w.pulse:
			return nil, true
		case <-w.end:
		case <-ctx.Done():
			return nil, false
		}
	}
}

// gather takes what the topics have that the watcher does not.
func (w *Watcher) gather() []Event {
	var events []Event
	for i := range w.views {
		v := &w.views[i]
		var since []Event
		since, v.have = v.topic.since(v.have)
		events = append(events, since...)
	}
	return events
}

// Close ends the stream. It may be called more than once.
func (w *Watcher) Close() { w.hub.close(w) }

// NewBye is the last event of a stream.
func NewBye(why string) Event { return event(Bye, api.StreamEvent{Bye: why}) }

func event(name string, e api.StreamEvent) Event {
	data, err := json.Marshal(e)
	if err != nil { // only values that are no JSON can do that, and those are encoded before
		data = []byte(`{"topic":""}`)
	}
	return Event{name, data}
}

func digits(n int) string { return strconv.Itoa(n) }

// shorten quotes what somebody sent for a message.
func shorten(text string) string {
	const most = 60
	if len(text) > most {
		text = text[:most] + "..."
	}
	return strconv.Quote(text)
}
