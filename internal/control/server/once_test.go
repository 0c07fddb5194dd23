package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func TestAKeyedRequestIsCarriedOutOnce(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	for _, r := range []request{
		{"POST", "/api/v1/tokens", `{"kind":"join"}`},
		{"POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`},
		{"POST", "/api/v1/rollouts/ro-1/pause", `{"reason":"lunch"}`},
		{"POST", "/api/v1/rollouts/ro-1/pause", `{"reason":"a mistake is answered again, too"}`},
		{"PUT", "/api/v1/components/other", `{"kind":"config"}`},
		{"PUT", "/api/v1/components/other", `{"kind":"nonsense"}`},
	} {
		key := r.path + r.body
		first, body := asks(t, w, r.method, r.path, r.body, "Idempotency-Key", key)
		if first.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s %s: the first answer says that it is not", r.method, r.path)
		}
		again, same := asks(t, w, r.method, r.path, r.body, "Idempotency-Key", key)
		if again.StatusCode != first.StatusCode || same != body || again.Header.Get("Idempotency-Replayed") != "true" ||
			again.Header.Get("ETag") != first.Header.Get("ETag") || again.Header.Get("Content-Type") != first.Header.Get("Content-Type") {
			t.Errorf("%s %s: got %d %s, then %d %s; want the same, replayed", r.method, r.path, first.StatusCode, body, again.StatusCode, same)
		}
		answer, text := asks(t, w, r.method, r.path, r.body+" ", "Idempotency-Key", key)
		if p := problem(t, answer, text); p.Status != http.StatusUnprocessableEntity || p.Next == "" {
			t.Errorf("%s %s: another body with the key: got %s, want 422", r.method, r.path, text)
		}
	}
	_, body := w.Do("GET", "/api/v1/tokens", "")
	if n := strings.Count(body, `"id"`); n != 2 {
		t.Errorf("there are %d tokens, want the operator's and one that was made once", n)
	}
}

func TestKeysAreOfTheirToken(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	bob := w.Mint(store.Token{Kind: store.OperatorToken, Note: "bob"})
	_, mine := asks(t, w, "POST", "/api/v1/tokens", `{"kind":"join"}`, "Idempotency-Key", "1")
	_, his := asks(t, w, "POST", "/api/v1/tokens", `{"kind":"join"}`, "Idempotency-Key", "1", "Authorization", "Bearer "+bob)
	if mine == his {
		t.Error("bob got the token that alice made")
	}
	answer, text := asks(t, w, "POST", "/api/v1/tokens", `{"kind":"join"}`, "Idempotency-Key", strings.Repeat("k", 201))
	if p := problem(t, answer, text); p.Status != 400 || p.Problems[0].Path != "Idempotency-Key" {
		t.Errorf("a key that is too long: got %s, want 400", text)
	}
}

// What is kept shows nothing to whoever has the database: it is sealed with the secret of the token.
func TestKeptAnswersAreSealed(t *testing.T) {
	t.Parallel()
	var kept []byte
	w := servertest.Open(t, func(o *server.Options) { o.Tokens = spy{o.Tokens, &kept} })
	_, body := asks(t, w, "POST", "/api/v1/tokens", `{"kind":"join"}`, "Idempotency-Key", "1")
	var fresh api.Token
	if err := json.Unmarshal([]byte(body), &fresh); err != nil {
		t.Fatal(err)
	}
	if len(kept) == 0 || strings.Contains(string(kept), fresh.Secret) || strings.Contains(string(kept), "join") {
		t.Errorf("kept is %q, want something that says nothing", kept)
	}
}

// spy looks at what is kept.
type spy struct {
	server.Tokens
	kept *[]byte
}

func (s spy) KeepAnswer(ctx context.Context, k store.Keyed, answer []byte) error {
	*s.kept = answer
	return s.Tokens.KeepAnswer(ctx, k, answer)
}

// lazy is an engine that carries out a command when it is let.
type lazy struct {
	server.Engine
	begun, let chan struct{}
}

func (l lazy) Act(ctx context.Context, id string, c rollout.OperatorActed) (api.Rollout, error) {
	l.begun <- struct{}{}
	<-l.let
	return l.Engine.Act(ctx, id, c)
}

func TestASecondRequestDuringTheFirstIsToldToWait(t *testing.T) {
	t.Parallel()
	slow := lazy{begun: make(chan struct{}), let: make(chan struct{})}
	w := servertest.Open(t, func(o *server.Options) { slow.Engine = o.Engine; o.Engine = slow })
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	w.Do("POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`)
	var group sync.WaitGroup
	group.Go(func() {
		if first, text := asks(t, w, "POST", "/api/v1/rollouts/ro-1/pause", "", "Idempotency-Key", "1"); first.StatusCode != http.StatusOK {
			t.Errorf("the first: got %d %s", first.StatusCode, text)
		}
	})
	<-slow.begun
	second, text := asks(t, w, "POST", "/api/v1/rollouts/ro-1/pause", "", "Idempotency-Key", "1")
	if second.StatusCode != http.StatusConflict || second.Header.Get("Retry-After") == "" {
		t.Errorf("the second: got %d %s, want 409 with Retry-After", second.StatusCode, text)
	}
	close(slow.let)
	group.Wait()
	third, _ := asks(t, w, "POST", "/api/v1/rollouts/ro-1/pause", "", "Idempotency-Key", "1")
	if third.StatusCode != http.StatusOK || third.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the third: got %d, want what the first got", third.StatusCode)
	}
}

// A request that could not be carried out for what the server is like is carried out when it is sent again.
func TestWhatWasNotCarriedOutIsNotReplayed(t *testing.T) {
	t.Parallel()
	for _, bad := range []error{fault.New(fault.Unavailable, "busy"), nil} { // nil: it panics
		flaky := &flaky{err: bad}
		w := servertest.Open(t, func(o *server.Options) { flaky.Engine = o.Engine; o.Engine = flaky })
		w.Publish("sensor-content", "1")
		w.Join(4, "sensor-content")
		const start = `{"component":"sensor-content","version":"1"}`
		if first, text := asks(t, w, "POST", "/api/v1/rollouts", start, "Idempotency-Key", "1"); first.StatusCode < 500 {
			t.Errorf("the first: got %d %s, want an error", first.StatusCode, text)
		}
		second, text := asks(t, w, "POST", "/api/v1/rollouts", start, "Idempotency-Key", "1")
		if second.StatusCode != http.StatusCreated || second.Header.Get("Idempotency-Replayed") != "" {
			t.Errorf("the second: got %d %s, want that it is carried out", second.StatusCode, text)
		}
	}
}

// flaky fails to start a rollout at the first attempt.
type flaky struct {
	server.Engine
	err   error
	tried bool
}

func (f *flaky) Start(ctx context.Context, start api.StartRollout, actor string) (api.Rollout, error) {
	if f.tried {
		return f.Engine.Start(ctx, start, actor)
	}
	f.tried = true
	if f.err == nil {
		panic("something impossible happened")
	}
	return api.Rollout{}, f.err
}

// Another process, or another replica, that has the same database gives the same answer.
func TestKeptAnswersSurviveARestart(t *testing.T) {
	t.Parallel()
	var options server.Options
	w := servertest.Open(t, func(o *server.Options) { options = *o })
	_, first := asks(t, w, "POST", "/api/v1/tokens", `{"kind":"join"}`, "Idempotency-Key", "1")
	restarted := httptest.NewServer(server.New(options))
	t.Cleanup(restarted.Close)
	w.URL = restarted.URL
	answer, again := asks(t, w, "POST", "/api/v1/tokens", `{"kind":"join"}`, "Idempotency-Key", "1")
	if again != first || answer.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("got %s after a restart, want %s replayed", again, first)
	}
}

func TestAnswersAreForgottenAfterADay(t *testing.T) {
	t.Parallel()
	now := clock.At(servertest.Start())
	w := servertest.Open(t, func(o *server.Options) { o.Clock = now })
	_, first := asks(t, w, "POST", "/api/v1/tokens", `{"kind":"join"}`, "Idempotency-Key", "1")
	now.Move(24*time.Hour - time.Second)
	if _, again := asks(t, w, "POST", "/api/v1/tokens", `{"kind":"join"}`, "Idempotency-Key", "1"); again != first {
		t.Error("within a day: got another answer")
	}
	now.Move(2 * time.Second)
	if _, later := asks(t, w, "POST", "/api/v1/tokens", `{"kind":"join"}`, "Idempotency-Key", "1"); later == first {
		t.Error("after a day: got the same answer")
	}
}
