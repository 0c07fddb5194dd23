package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

// said is a server that says what a test wants on each stream, one after the other.
func said(t *testing.T, streams ...string) (*client.Client, *atomic.Int64) {
	t.Helper()
	var opened atomic.Int64
	port := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := int(opened.Add(1))
		if n > len(streams) || r.URL.Query().Get("topic") != "overview" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = w.Write([]byte(streams[n-1]))
	}))
	t.Cleanup(port.Close)
	c, err := client.New(port.URL, "token")
	if err != nil {
		t.Fatal(err)
	}
	return c, &opened
}

func event(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }

func TestWatchMakesValuesWholeAndBeginsAgainWhenItIsCut(t *testing.T) {
	t.Parallel()
	c, opened := said(t,
		"retry: 2000\n\n: still here\n\n"+event("snapshot", `{"topic":"overview","value":{"a":1,"b":{"c":2}}}`)+event("patch", `{"topic":"overview","patch":{"a":null,"b":{"d":3}}}`)+
			event("stale", `{"topic":"overview","stale":"slow"}`)+event("patch", `{"topic":"overview","patch":{"a":4}}`),
		event("snapshot", `{"topic":"overview","value":{"a":5}}`)+event("bye", `{"topic":"","bye":"it stops"}`),
	)
	var got []string
	for e, err := range c.Watch(t.Context(), api.TopicOverview) {
		if err != nil {
			got = append(got, err.Error())
			continue
		}
		got = append(got, fmt.Sprintf("%s %s %s", e.Value, e.Patch, e.Stale))
	}
	want := []string{
		`{"a":1,"b":{"c":2}}  `, `{"b":{"c":2,"d":3}} {"a":null,"b":{"d":3}} `, `  slow`, `{"a":4,"b":{"c":2,"d":3}} {"a":4} `, "watch: the stream was cut",
		`{"a":5}  `, "watch: the stream has ended: it stops",
	}
	if len(got) != len(want)+1 || !strings.Contains(got[len(want)], "401") && opened.Load() != 3 {
		t.Fatalf("got %q, want it to end with the refusal of the third stream", got)
	}
	for i, text := range got[:len(want)] {
		if diff := cmp.Diff(norm(want[i]), norm(text)); diff != "" {
			t.Errorf("event %d (-want +got):\n%s", i, diff)
		}
	}
}

// norm makes the order of members not count.
func norm(text string) any {
	value, rest, found := strings.Cut(text, " ")
	var tree any
	if !found || json.Unmarshal([]byte(value), &tree) != nil {
		return text
	}
	return []any{tree, rest}
}

func TestWatchEndsWhenTheLoopIsLeft(t *testing.T) {
	t.Parallel()
	c, opened := said(t, event("snapshot", `{"topic":"overview","value":{}}`), "")
	for range c.Watch(t.Context(), api.TopicOverview) {
		break
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("got %d streams, want no second one", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range c.Watch(ctx, api.TopicOverview) {
		t.Errorf("got %v after the context had ended, want nothing", err)
	}
}

func TestWatchRefusesWhatIsNoStream(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"a page": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"garbage": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = w.Write([]byte("data: {\n\n"))
		},
	} {
		port := httptest.NewServer(answer)
		t.Cleanup(port.Close)
		c, err := client.New(port.URL, "token")
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range c.Watch(t.Context(), api.TopicOverview) {
			if err == nil {
				t.Errorf("%s: got %+v, want an error", name, e)
			}
			break
		}
	}
}

func TestWatchAgainstARealServer(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "2")
	w.Join(10, "sensor-content")
	c, err := client.New(w.URL, w.Token)
	if err != nil {
		t.Fatal(err)
	}
	started := false
	for e, err := range c.Watch(t.Context(), api.TopicRollout+"ro-1") {
		if err != nil {
			t.Fatal(err)
		}
		if e.Gone != "" && !started {
			started = true
			if _, err := c.StartRollout(t.Context(), api.StartRollout{Component: "sensor-content", Version: "2"}); err != nil {
				t.Fatal(err)
			}
		}
		var r api.Rollout
		if e.Value != nil && json.Unmarshal(e.Value, &r) == nil && r.Phase == "running" {
			break
		}
	}
	o, err := c.Overview(t.Context())
	if err != nil || o.Running != 1 {
		t.Errorf("got %+v, %v; want one rollout running", o, err)
	}
}
