package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func TestATokenThatSendsTooMuchIsHeldBackButNotItsHalts(t *testing.T) {
	t.Parallel()
	now := clock.At(servertest.Start())
	w := servertest.Open(t, func(o *server.Options) { o.Clock, o.Rate = now, server.Rate{PerSecond: 0.5, Burst: 3} })
	statuses := func(n int) (got []int) {
		for range n {
			answer, text := w.Do("GET", "/api/v1/status", "")
			if answer.StatusCode == http.StatusTooManyRequests && (answer.Header.Get("Retry-After") != "2" || problem(t, answer, text).Next == "") {
				t.Errorf("got Retry-After %q with %s, want 2 seconds and a next step", answer.Header.Get("Retry-After"), text)
			}
			got = append(got, answer.StatusCode)
		}
		return got
	}
	if got := fmt.Sprint(statuses(5)); got != "[200 200 200 429 429]" {
		t.Errorf("got %s, want three and no more", got)
	}
	for _, act := range []string{"halt", "rollback"} {
		if answer, _ := w.Do("POST", "/api/v1/rollouts/ro-1/"+act, ""); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %d, want that it is looked at", act, answer.StatusCode)
		}
	}
	if answer, _ := w.Do("POST", "/api/v1/rollouts/ro-1/pause", ""); answer.StatusCode != http.StatusTooManyRequests {
		t.Errorf("pause: got %d, want 429", answer.StatusCode)
	}
	bob := w.Mint(store.Token{Kind: store.OperatorToken, Note: "bob"})
	if answer, _ := asks(t, w, "GET", "/api/v1/status", "", "Authorization", "Bearer "+bob); answer.StatusCode != http.StatusOK {
		t.Errorf("somebody else: got %d, want 200", answer.StatusCode)
	}
	now.Move(2 * time.Second)
	if got := fmt.Sprint(statuses(2)); got != "[200 429]" {
		t.Errorf("two seconds later: got %s, want one", got)
	}
	now.Move(-time.Hour)
	if got := fmt.Sprint(statuses(1)); got != "[429]" {
		t.Errorf("after the clock was set back: got %s, want one refused", got)
	}
}

// A sender that takes his time is cut off, and nobody waits for him.
func TestSlowBodiesAreCutOff(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, func(o *server.Options) { o.BodyTime = 50 * time.Millisecond })
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(w.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", w.Token)
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusRequestTimeout {
		t.Errorf("got %d, want 408", answer.StatusCode)
	}
	if _, err := io.Copy(io.Discard, conn); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("reading on: %v, want that the connection is closed", err)
	}
}

func TestLongQueriesAreRefused(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	answer, text := w.Do("GET", "/api/v1/endpoints?prefix="+strings.Repeat("a", 9000), "")
	if p := problem(t, answer, text); p.Status != http.StatusRequestURITooLong {
		t.Errorf("got %s, want 414", text)
	}
}

// Whoever had a good token a moment ago does not wait for as long as one who is not known.
func TestACommandThatEndsHarmIsAtOnceForWhoIsKnown(t *testing.T) {
	t.Parallel()
	var off atomic.Bool
	const patience = 10 * time.Second
	w := servertest.Open(t, func(o *server.Options) { o.Tokens, o.Patience = stuck{o.Tokens, &off}, patience })
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	w.Do("POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`)
	off.Store(true)
	for _, act := range []string{"halt", "rollback"} {
		begun := clock.Wall{}.Now()
		answer, text := w.Do("POST", "/api/v1/rollouts/ro-1/"+act, "")
		if took := (clock.Wall{}).Now().Sub(begun); answer.StatusCode != http.StatusOK || took >= patience {
			t.Errorf("%s: got %d %s after %s, want 200 at once", act, answer.StatusCode, text, took)
		}
	}
}

// A database that does not answer holds up neither what ends harm nor its answer: its key is looked at afterwards. Whoever sends it again
// gets the answer again.
func TestWhatEndsHarmWaitsForNoKey(t *testing.T) {
	t.Parallel()
	bound, enough := context.WithTimeout(t.Context(), 20*time.Second)
	defer enough()
	slow := &slowKeys{bound: bound, let: make(chan struct{}), kept: make(chan struct{}, 10)}
	w := servertest.Open(t, func(o *server.Options) {
		slow.Tokens, slow.Engine = o.Tokens, o.Engine
		o.Tokens, o.Engine = slow, slow
	})
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	w.Do("POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`)
	sent := []request{{"POST", "/api/v1/rollouts/ro-1/halt", `{"phase":"running"}`}, {"POST", "/api/v1/rollouts/ro-1/rollback", ""}}
	first := make([]string, len(sent))
	for i, r := range sent {
		answer, text := asks(t, w, r.method, r.path, r.body, "Idempotency-Key", r.path)
		if first[i] = text; answer.StatusCode != http.StatusOK || bound.Err() != nil {
			t.Fatalf("%s: got %d %s, want 200 while the database does not answer", r.path, answer.StatusCode, text)
		}
	}
	close(slow.let)
	for range sent {
		select {
		case <-slow.kept:
		case <-bound.Done():
			t.Fatal("the answers were not kept")
		}
	}
	for i, r := range sent {
		answer, text := asks(t, w, r.method, r.path, r.body, "Idempotency-Key", r.path)
		if answer.StatusCode != http.StatusOK || text != first[i] || answer.Header.Get("Idempotency-Replayed") != "true" || answer.Header.Get("ETag") == "" {
			t.Errorf("%s again: got %d %s, want what came first", r.path, answer.StatusCode, text)
		}
		if answer, _ = asks(t, w, r.method, r.path, r.body, "Idempotency-Key", "another"); answer.StatusCode < 400 || answer.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s with another key: got %d, want that there is nothing to do", r.path, answer.StatusCode)
		}
	}
}

// slowKeys is a database that looks at keys only when it is let, whoever goes away meanwhile: a write that has begun is carried through.
type slowKeys struct {
	server.Tokens
	server.Engine
	bound context.Context //nolint:containedctx // of the test
	let   chan struct{}
	kept  chan struct{}
}

func (s *slowKeys) ClaimAnswer(ctx context.Context, k store.Keyed) ([]byte, error) {
	select {
	case <-s.let:
	case <-s.bound.Done():
	}
	return s.Tokens.ClaimAnswer(context.WithoutCancel(ctx), k)
}

func (s *slowKeys) KeepAnswer(ctx context.Context, k store.Keyed, answer []byte) error {
	err := s.Tokens.KeepAnswer(context.WithoutCancel(ctx), k, answer)
	s.kept <- struct{}{}
	return err
}

// stuck is a database that has stopped answering.
type stuck struct {
	server.Tokens
	now *atomic.Bool
}

func (s stuck) TokenByHash(ctx context.Context, hash []byte) (store.Token, error) {
	if s.now.Load() {
		<-ctx.Done()
		return store.Token{}, fault.New(fault.Unavailable, "find token: %w", ctx.Err())
	}
	return s.Tokens.TokenByHash(ctx, hash)
}

func (s stuck) ClaimAnswer(ctx context.Context, k store.Keyed) ([]byte, error) {
	if s.now.Load() {
		<-ctx.Done()
		return nil, fault.New(fault.Unavailable, "note the key: %w", ctx.Err())
	}
	return s.Tokens.ClaimAnswer(ctx, k)
}

// A halt reaches the engine while the database does not say whose token it is: whoever had a good one a moment ago may end harm.
func TestAHaltWaitsForNoTokenAndNoKey(t *testing.T) {
	t.Parallel()
	var off atomic.Bool
	now := clock.At(servertest.Start())
	w := servertest.Open(t, func(o *server.Options) {
		o.Tokens, o.Clock, o.Patience = stuck{o.Tokens, &off}, now, 50*time.Millisecond
	})
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	w.Do("POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`)
	off.Store(true)
	if answer, text := asks(t, w, "POST", "/api/v1/rollouts/ro-1/halt", "", "Idempotency-Key", "1"); answer.StatusCode != http.StatusOK {
		t.Errorf("halt: got %d %s, want 200", answer.StatusCode, text)
	}
	never := w.Mint(store.Token{Kind: store.OperatorToken, Note: "eve"}) // it was never seen here
	now.Move(time.Hour)
	for _, token := range []string{never, w.Token} {
		if answer, _ := asks(t, w, "POST", "/api/v1/rollouts/ro-1/halt", "", "Authorization", "Bearer "+token); answer.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("halt with a token that was not seen lately: got %d, want 503", answer.StatusCode)
		}
	}
}
