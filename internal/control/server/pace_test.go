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
