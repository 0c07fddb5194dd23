package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/live"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
)

// streamed is a stream as a browser reads it.
type streamed struct {
	t      *testing.T
	answer *http.Response
	lines  *bufio.Scanner
	values map[string][]byte
}

// listen opens a stream with a token. It is cut when the test ends.
func listen(t *testing.T, w *servertest.World, token, query string) *streamed {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+"/api/v1/stream?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = answer.Body.Close()
	})
	s := &streamed{t: t, answer: answer, lines: bufio.NewScanner(answer.Body), values: map[string][]byte{}}
	s.lines.Buffer(nil, 10<<20)
	return s
}

// next reads the next event, or a sign of life, which has no name; over says that the stream has ended.
func (s *streamed) next() (name string, event api.StreamEvent, over bool) {
	s.t.Helper()
	for s.lines.Scan() {
		line := s.lines.Text()
		if strings.HasPrefix(line, ":") {
			return "", event, false
		}
		if after, ok := strings.CutPrefix(line, "event: "); ok {
			name = after
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(data), &event); err != nil {
				s.t.Fatalf("the stream has %.80q: %v", data, err)
			}
			s.apply(name, event)
			return name, event, false
		}
	}
	return "", event, true
}

func (s *streamed) apply(name string, event api.StreamEvent) {
	switch name {
	case live.Snapshot:
		s.values[event.Topic] = event.Value
	case live.Patch:
		next, err := jsonpatch.MergePatch(s.values[event.Topic], event.Patch)
		if err != nil {
			s.t.Fatal(err)
		}
		s.values[event.Topic] = next
	}
}

// until reads until a topic's value is as wanted.
func (s *streamed) until(topic string, want func(value string) bool) {
	s.t.Helper()
	for range 100 {
		if want(string(s.values[topic])) {
			return
		}
		if _, _, over := s.next(); over {
			s.t.Fatal("the stream has ended")
		}
	}
	s.t.Fatalf("got %.2000s of %s after 100 events, want something else", s.values[topic], topic)
}

func TestAStreamShowsARolloutAdvance(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "2")
	w.Join(10, "sensor-content")
	s := listen(t, w, w.Token, "topic=overview&topic=rollout:ro-1&topic=timeline:ro-1")
	if kind := s.answer.Header.Get("Content-Type"); s.answer.StatusCode != http.StatusOK || kind != "text/event-stream" {
		t.Fatalf("got %d %s, want a stream", s.answer.StatusCode, kind)
	}
	gone := 0
	for range 3 {
		if name, event, _ := s.next(); name == live.Gone && event.Gone == "there is no rollout ro-1" {
			gone++
		}
	}
	if gone != 2 {
		t.Errorf("got %d topics that are gone, want that there is no such rollout yet", gone)
	}
	w.Do("POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"2"}`)
	w.Pass(1)
	s.until("rollout:ro-1", func(v string) bool { return strings.Contains(v, `"phase":"running"`) })
	s.until("timeline:ro-1", func(v string) bool { return strings.Contains(v, `"started"`) })
	s.until("overview", func(v string) bool { return strings.Contains(v, `"running":1`) && strings.Contains(v, `"ro-1"`) })
	w.Do("POST", "/api/v1/rollouts/ro-1/halt", "")
	w.Pass(1)
	s.until("rollout:ro-1", func(v string) bool { return strings.Contains(v, `"phase":"halted"`) })
	_, asked := w.Do("GET", "/api/v1/rollouts/ro-1", "")
	if !jsonpatch.Equal([]byte(asked), s.values["rollout:ro-1"]) {
		t.Errorf("the stream has %s, who asks gets %s", s.values["rollout:ro-1"], asked)
	}
	s.until("overview", func(v string) bool { return strings.Contains(v, `"running":0`) })
	_, asked = w.Do("GET", "/api/v1/overview", "")
	var have, told api.Overview
	if json.Unmarshal([]byte(asked), &told) != nil || json.Unmarshal(s.values["overview"], &have) != nil || have.Rollouts["ro-1"].Phase != told.Rollouts["ro-1"].Phase {
		t.Errorf("the stream has %s, who asks gets %s", s.values["overview"], asked)
	}
}

func TestStreamsThatMayNotBeginAreProblems(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	for query, want := range map[string]int{
		"": 400, "topic=": 400, "topic=fleet": 400, "topic=rollout:": 400, "topic=rollout:%27%20OR%201=1": 400, "topic=rollout:" + strings.Repeat("x", 2000): 400,
		"topic=" + strings.Repeat("rollout:1&topic=", 5000) + "x": 414, "topic=rollout:1&topic=rollout:2&topic=rollout:3&topic=rollout:4&topic=rollout:5&topic=rollout:6&topic=rollout:7&topic=rollout:8&topic=overview": 400,
	} {
		answer, body := w.Do("GET", "/api/v1/stream?"+query, "")
		if p := problem(t, answer, body); p.Status != want {
			t.Errorf("%.60s: got %d %s, want %d", query, p.Status, p.Detail, want)
		}
	}
	if answer, _ := w.Do("HEAD", "/api/v1/stream?topic=overview", ""); answer.StatusCode != http.StatusOK {
		t.Errorf("HEAD: got %d, want 200 and the end", answer.StatusCode)
	}
	for range 20 {
		if s := listen(t, w, w.Token, "topic=overview"); s.answer.StatusCode != http.StatusOK {
			t.Fatalf("got %d, want a stream", s.answer.StatusCode)
		}
	}
	answer, body := w.Do("GET", "/api/v1/stream?topic=overview", "")
	if p := problem(t, answer, body); p.Status != 429 || answer.Header.Get("Retry-After") == "" {
		t.Errorf("one more: got %d %s, want 429 and when to come again", p.Status, body)
	}
	other := w.Mint(store.Token{Kind: store.OperatorToken})
	if s := listen(t, w, other, "topic=overview"); s.answer.StatusCode != http.StatusOK {
		t.Errorf("somebody else: got %d, want a stream", s.answer.StatusCode)
	}
}

func TestAStreamEndsWithItsToken(t *testing.T) {
	t.Parallel()
	now := clock.At(servertest.Start())
	w := servertest.Open(t, func(o *server.Options) { o.Clock = now })
	other := w.Mint(store.Token{Kind: store.OperatorToken, Note: "bob"})
	_, tokens := w.Do("GET", "/api/v1/tokens", "")
	var page api.Page[api.Token]
	if err := json.Unmarshal([]byte(tokens), &page); err != nil {
		t.Fatal(err)
	}
	s := listen(t, w, other, "topic=overview")
	beats := 0
	for beats < 2*6+1 { // whoever has a token that is good reads on
		name, event, over := s.next()
		if over || name == live.Bye {
			t.Fatalf("got %+v, want the stream to go on", event)
		}
		if name == "" {
			beats++
			now.Move(10 * time.Second)
		}
	}
	for _, token := range page.Items {
		if token.Note == "bob" {
			w.Do("DELETE", "/api/v1/tokens/"+token.ID, "")
		}
	}
	for range 100 {
		name, event, over := s.next()
		now.Move(10 * time.Second)
		if over {
			t.Fatal("the stream has ended without a word")
		}
		if name == live.Bye {
			if _, _, over = s.next(); event.Bye == "" || !over {
				t.Errorf("got %+v, want why it ends, and its end", event)
			}
			return
		}
	}
	t.Error("got no end of the stream, want one within a minute's worth of signs of life")
}

// A stream on which so much happens that it never needs a sign of life ends with its token all the same: within a minute of a revocation,
// and at the end that it has, even if the database tells nothing.
func TestABusyStreamEndsWithItsToken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		expires time.Time
		passes  time.Duration
	}{
		"revoked": {time.Time{}, time.Minute}, "expired": {servertest.Start().Add(time.Second), time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n atomic.Int64
			var off atomic.Bool
			now := clock.At(servertest.Start())
			hub, _ := running(t, time.Millisecond, func(context.Context) (any, error) { return map[string]any{"n": n.Add(1)}, nil })
			w := servertest.Open(t, func(o *server.Options) { o.Watch, o.Clock, o.Tokens = hub, now, stuck{o.Tokens, &off} })
			s := listen(t, w, w.Mint(store.Token{Kind: store.OperatorToken, Note: "bob", Expires: c.expires}), "topic=overview")
			for range 20 {
				if name, event, over := s.next(); over || name == live.Bye || name == "" {
					t.Fatalf("got %q %+v, want events that follow one another", name, event)
				}
			}
			if c.expires.IsZero() {
				tokens, err := w.Store.Tokens(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, one := range tokens {
					if one.Note == "bob" {
						w.Do("DELETE", "/api/v1/tokens/"+one.ID, "")
					}
				}
			}
			off.Store(!c.expires.IsZero())
			now.Move(c.passes)
			for range 1000 { // what was on its way is still read
				name, event, over := s.next()
				if over {
					t.Fatal("the stream has ended without a word")
				}
				if name == live.Bye {
					if _, _, over = s.next(); event.Bye == "" || !over {
						t.Errorf("got %+v, want why it ends, and its end", event)
					}
					return
				}
			}
			t.Error("got 1000 events more, want the end")
		})
	}
}

// running is a hub that shows what the test says.
func running(t *testing.T, every time.Duration, look live.Look) (hub *live.Hub, stop func()) {
	t.Helper()
	hub = live.New(live.Options{
		Sources: map[string]live.Source{"overview": func(string) live.Look { return look }}, Every: every, Clock: clock.Wall{},
		Log: slog.New(slog.DiscardHandler),
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var done sync.WaitGroup
	done.Go(func() { _ = hub.Run(ctx) }) // it has no errors
	stop = func() { cancel(); done.Wait() }
	t.Cleanup(stop)
	return hub, stop
}

func TestStreamsEndWhenTheServerStops(t *testing.T) {
	t.Parallel()
	hub, stop := running(t, 0, func(context.Context) (any, error) { return map[string]int{"n": 1}, nil })
	w := servertest.Open(t, func(o *server.Options) { o.Watch = hub })
	s := listen(t, w, w.Token, "topic=overview")
	if name, _, _ := s.next(); name != live.Snapshot {
		t.Fatalf("got %q, want a snapshot", name)
	}
	stop()
	name, event, _ := s.next()
	if _, _, over := s.next(); name != live.Bye || !strings.Contains(event.Bye, "stopped") || !over {
		t.Errorf("got %s %+v, want a goodbye and the end", name, event)
	}
	answer, body := w.Do("GET", "/api/v1/stream?topic=overview", "")
	if p := problem(t, answer, body); p.Status != 503 {
		t.Errorf("a new one: got %d, want 503", p.Status)
	}
}

// piped is an answer on a line that holds nothing: whoever writes waits until it is read.
type piped struct {
	*io.PipeWriter
	header http.Header
}

func (p *piped) Header() http.Header { return p.header }
func (p *piped) WriteHeader(int)     {}
func (p *piped) FlushError() error   { return nil }

func TestASlowReaderHoldsUpNobodyAndCatchesUp(t *testing.T) {
	t.Parallel()
	const changes = 200
	var n atomic.Int64
	var handler http.Handler
	hub, _ := running(t, time.Millisecond, func(context.Context) (any, error) { return map[string]any{"n": min(changes, n.Add(1))}, nil })
	w := servertest.Open(t, func(o *server.Options) {
		o.Watch = hub
		handler = server.New(*o)
	})
	quick := listen(t, w, w.Token, "topic=overview")
	out, in := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	request := httptest.NewRequestWithContext(ctx, http.MethodGet, "/api/v1/stream?topic=overview", nil)
	request.Header.Set("Authorization", "Bearer "+w.Token)
	var done sync.WaitGroup
	done.Go(func() { handler.ServeHTTP(&piped{in, http.Header{}}, request) })
	t.Cleanup(func() {
		cancel()
		_ = out.Close()
		done.Wait()
	})
	slow := &streamed{t: t, lines: bufio.NewScanner(out), values: map[string][]byte{}}
	read := func(s *streamed) (events int) {
		for string(s.values["overview"]) != fmt.Sprintf(`{"n":%d}`, changes) {
			if _, _, over := s.next(); over {
				t.Fatal("the stream has ended, want it to go on")
			}
			events++
		}
		return events
	}
	read(quick) // while nobody reads the other
	if events := read(slow); events > 20 {
		t.Errorf("got %d events for who is slow, want a snapshot in place of most of %d", events, changes)
	}
}
