package ingest_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
)

// line is a held event stream.
type line struct {
	*host
	status int
	words  *bufio.Scanner
	body   io.Closer
}

func (h *host) listen() *line {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.server.URL+api.PathEvents, http.NoBody)
	h.ok(err)
	response, err := h.client.Do(r)
	h.ok(err)
	h.t.Cleanup(func() { _ = response.Body.Close() })
	return &line{host: h, status: response.StatusCode, words: bufio.NewScanner(response.Body), body: response.Body}
}

// next is the next word, or "" if the stream has ended.
func (l *line) next() string {
	for l.words.Scan() {
		if text := l.words.Text(); text != "" {
			return text
		}
	}
	return ""
}

func (l *line) want(words ...string) {
	l.t.Helper()
	for _, want := range words {
		if got := l.next(); got != want {
			l.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// exposed is a world with that many exposed hosts. Its clock is ahead, so that no time to write runs out.
func exposed(t *testing.T, n int) (*world, []*host) {
	t.Helper()
	w := open(t)
	var hosts []*host
	for range n {
		h := w.enrolled()
		h.checkIn(full())
		hosts = append(hosts, h)
	}
	w.engine.pending.Store(true)
	w.clock.Move(time.Hour)
	return w, hosts
}

// has gives the host another component.
func (h *host) has(name string) {
	h.t.Helper()
	body := full()
	body.Components[name] = body.Components[component]
	h.checkIn(body)
}

func TestEventsSayLook(t *testing.T) {
	t.Parallel()
	w, hosts := exposed(t, 2)
	hosts[0].has("own")
	one, other := hosts[0].listen(), hosts[1].listen()
	one.want("data: look")
	other.want("data: look")
	w.ingest.Nudge("nobody-has-it")
	w.ingest.Nudge("own")
	one.want("data: look")
	w.ingest.Pulse()
	one.want(": still here")
	other.want(": still here") // and nothing before: neither nudge was for it
	w.ingest.Nudge(component)
	one.want("data: look")
	other.want("data: look")
	w.engine.pending.Store(false)
	w.ingest.Nudge(component)
	one.want("data: look", "") // whoever is not exposed any more hears why
	other.want("data: look", "")
}

func TestEventsAreForTheExposed(t *testing.T) {
	t.Parallel()
	w, hosts := exposed(t, 3)
	w.engine.pending.Store(false)
	if l := hosts[0].listen(); l.status != http.StatusNoContent {
		t.Errorf("got %d for a host that is not exposed, want 204", l.status)
	}
	w.engine.pending.Store(true)
	one, other := hosts[0].listen(), hosts[1].listen()
	one.want("data: look")
	other.want("data: look")
	if l := hosts[2].listen(); l.status != http.StatusNoContent {
		t.Errorf("got %d for a third stream, want 204: there is room for two", l.status)
	}
	again := hosts[0].listen()
	again.want("data: look")
	one.want("") // a host has one
	if got := w.ingest.Open(); got != 2 {
		t.Errorf("got %d streams open, want 2", got)
	}
}

func TestEventsEnd(t *testing.T) {
	t.Parallel()
	w, hosts := exposed(t, 2)
	hosts[0].has("own")
	one, other := hosts[0].listen(), hosts[1].listen()
	one.want("data: look")
	other.want("data: look")
	w.clock.Move(time.Hour)
	w.ingest.Nudge("own")
	one.want("data: look", "") // it had its time
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.ok(w.ingest.Run(ctx)) // the server stops
	other.want("")
	if err := errors.Join(one.words.Err(), other.words.Err()); err != nil {
		t.Errorf("got %v, want both ended in good order", err)
	}
	if l := hosts[0].listen(); l.status != http.StatusNoContent {
		t.Errorf("got %d after the end, want 204", l.status)
	}
}

// A host that goes away takes its stream with it.
func TestEventsOfTheGone(t *testing.T) {
	t.Parallel()
	w, hosts := exposed(t, 1)
	one := hosts[0].listen()
	one.want("data: look")
	_ = one.body.Close()
	hosts[0].client.CloseIdleConnections()
	for w.ingest.Open() > 0 && t.Context().Err() == nil {
		w.ingest.Pulse()
	}
}
