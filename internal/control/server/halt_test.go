package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
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

// halts sends a halt, which must be answered within a second.
func halts(t *testing.T, w *servertest.World, body string, want int) (api.Halted, string) {
	t.Helper()
	begun := clock.Wall{}.Now()
	answer, text := w.Do("POST", "/api/v1/halt", body)
	if took := (clock.Wall{}).Now().Sub(begun); answer.StatusCode != want || took > time.Second {
		t.Errorf("halt %s: got %d %s after %s, want %d within a second", body, answer.StatusCode, text, took, want)
	}
	var h api.Halted
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		t.Fatal(err)
	}
	return h, text
}

func TestAHaltTellsWhoHadHaltedBefore(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Trip("sensor-content")
	w.Publish("nginx-config", "1")
	w.Do("POST", "/api/v1/rollouts", `{"component":"nginx-config","version":"1"}`)
	all, _ := halts(t, w, `{"reason":"odd"}`, http.StatusOK)
	if len(all.Rollouts) != 1 || all.Rollouts[0].State != "halted" || all.Rollouts[0].Component != "nginx-config" {
		t.Fatalf("got %+v, want the one that ran halted", all)
	}
	id := all.Rollouts[0].ID
	again, _ := halts(t, w, `{"rollouts":["`+id+`","ro-1","nobody"]}`, http.StatusOK)
	for i, want := range []string{`token "alice" (`, "nothing to stop since ", "there is no rollout"} {
		if text := again.Rollouts[i].Text; !strings.Contains(text, want) {
			t.Errorf("%s: got %q, want %q in it", again.Rollouts[i].ID, text, want)
		}
	}
	if text := again.Rollouts[0].Text; !strings.Contains(text, "halted it: odd") || !strings.Contains(text, "since 2024-07-19 04:09:") {
		t.Errorf("got %q, want who halted it, why and when", text)
	}
	if text := again.Rollouts[1].Text; !strings.Contains(text, "2 of 2 exposed hosts were harmed") {
		t.Errorf("got %q, want that the breaker stopped it", text)
	}
}

// away is an installation whose database answers nothing, and whose decisions therefore hang.
type away struct {
	server.Tokens
	server.Records
	server.Engine
	now *atomic.Bool
}

func (a away) wait(ctx context.Context) error {
	if a.now.Load() {
		<-ctx.Done()
		return fault.New(fault.Unavailable, "the database is away: %w", ctx.Err())
	}
	return nil
}

func (a away) TokenByHash(ctx context.Context, hash []byte) (store.Token, error) {
	if err := a.wait(ctx); err != nil {
		return store.Token{}, err
	}
	return a.Tokens.TokenByHash(ctx, hash)
}

func (a away) AddAudit(ctx context.Context, e store.AuditEntry) error {
	if err := a.wait(ctx); err != nil {
		return err
	}
	return a.Tokens.AddAudit(ctx, e)
}

func (a away) NotableEvents(ctx context.Context, id rollout.ID, n store.Notable, before int64, limit int) ([]store.Event, error) {
	if err := a.wait(ctx); err != nil {
		return nil, err
	}
	return a.Records.NotableEvents(ctx, id, n, before, limit)
}

func (a away) Halt(ctx context.Context, want api.HaltRollouts, actor string) (api.Halted, error) {
	_ = a.wait(ctx)
	return a.Engine.Halt(ctx, want, actor)
}

// With the database away a halt takes all of its time everywhere, and is answered within a second all the same.
func TestAHaltIsAnsweredWithinASecondWhateverTheDatabaseDoes(t *testing.T) {
	t.Parallel()
	var off atomic.Bool
	w := servertest.Open(t, func(o *server.Options) {
		a := away{o.Tokens, o.Records, o.Engine, &off}
		o.Tokens, o.Records, o.Engine = a, a, a
	})
	w.Publish("sensor-content", "1")
	w.Do("POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`)
	halts(t, w, "", http.StatusOK)
	off.Store(true)
	for range 2 {
		if h, text := halts(t, w, `{"rollouts":["ro-1"]}`, http.StatusOK); h.Rollouts[0].State != "ended" || !strings.Contains(h.Rollouts[0].Text, "it was halted") {
			t.Errorf("got %s, want that it was halted before", text)
		}
	}
	off.Store(false) // what waits to be written down gives up
}

// unled is a replica that does not reach the one that leads.
type unled struct{ server.Engine }

func (unled) Halt(ctx context.Context, _ api.HaltRollouts, _ string) (api.Halted, error) {
	<-ctx.Done()
	return api.Halted{}, fault.New(fault.Unavailable, "halt: no replica answered that leads")
}

func TestAHaltThatReachesNobodySaysSo(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, func(o *server.Options) { o.Engine = unled{o.Engine} })
	h, text := halts(t, w, `{"rollouts":["ro-1","ro-2"]}`, http.StatusOK)
	if len(h.Rollouts) != 2 || h.Rollouts[1].State != "failed" || !strings.Contains(h.Rollouts[1].Text, "ask again") {
		t.Errorf("got %s, want of each that it failed, and what to do", text)
	}
	if _, text := halts(t, w, "", http.StatusServiceUnavailable); !strings.Contains(text, "not known whether anything was halted") || !strings.Contains(text, "ask again") {
		t.Errorf("got %s, want that nothing is known, and what to do", text)
	}
}

func TestHaltsOfNonsenseAreRefused(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	for body, want := range map[string]int{
		`{"rollouts":[""]}`: 400, `{"rollouts":["` + strings.Repeat("x", 101) + `"]}`: 400, `{"reason":"` + strings.Repeat("x", 1001) + `"}`: 400,
		`{"rollouts":["' OR 1=1 --","<script>","\u0000\u202e"]}`: 200, `{"rollouts":[]}`: 200, `{}`: 200,
	} {
		if _, text := halts(t, w, body, want); strings.Contains(text, `"halted"`) {
			t.Errorf("%.60s: got %.200s, want that nothing was halted", body, text)
		}
	}
}

func TestClosingAnIncidentKeepsTheFirstWord(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Trip("sensor-content")
	var first, again api.Incident
	for i, into := range []*api.Incident{&first, &again} {
		answer, text := w.Do("POST", "/api/v1/incidents/inc-4/close", []string{`{"note":"<b>done</b>'; --"}`, ""}[i])
		if answer.StatusCode != http.StatusOK {
			t.Fatalf("close: got %d %s", answer.StatusCode, text)
		}
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	if first.Closed == nil || first.Note != "<b>done</b>'; --" || !strings.Contains(first.ClosedBy, "alice") {
		t.Errorf("got %+v, want who closed it, and what they said", first)
	}
	if again.Note != first.Note || again.ClosedBy != first.ClosedBy || !again.Closed.Equal(*first.Closed) {
		t.Errorf("again: got %+v, want it as it was", again)
	}
	if _, text := w.Do("GET", "/api/v1/incidents", ""); !strings.Contains(text, `"closed_by":"operator token \"alice\"`) {
		t.Errorf("the list is %s, want who closed it", text)
	}
	for path, want := range map[string]int{"/api/v1/incidents/nobody/close": 404, "/api/v1/incidents/%27%20OR%201=1/close": 404} {
		if answer, text := w.Do("POST", path, `{"note":"x"}`); answer.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", path, answer.StatusCode, text, want)
		}
	}
	if answer, _ := w.Do("POST", "/api/v1/incidents/inc-4/close", `{"note":"`+strings.Repeat("x", 1001)+`"}`); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("a long note: got %d, want 400", answer.StatusCode)
	}
}
