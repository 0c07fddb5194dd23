package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// audited are the acts that are written down, newest first: operation, target, status and detail.
func audited(t *testing.T, w *servertest.World, query string) []string {
	t.Helper()
	var all []string
	for _, a := range auditOf(t, w, query).Items {
		all = append(all, fmt.Sprintf("%s | %s | %d | %s", a.Act, a.Target, a.Status, a.Detail))
	}
	return all
}

func auditOf(t *testing.T, w *servertest.World, query string) api.Page[api.AuditEntry] {
	t.Helper()
	answer, text := w.Do("GET", "/api/v1/audit?"+query, "")
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("audit?%s: got %d %s", query, answer.StatusCode, text)
	}
	var page api.Page[api.AuditEntry]
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		t.Fatal(err)
	}
	return page
}

// whole sends a request and returns when all is done that it brings with it, what comes after the answer too.
func whole(t *testing.T, w *servertest.World, method, path, body string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+w.Token)
	answer := httptest.NewRecorder()
	w.Handler.ServeHTTP(answer, r)
	return answer
}

func TestWhatPeopleDoIsWrittenDown(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	for _, r := range []request{
		{"GET", "/api/v1/rollouts", ""},
		{"POST", "/api/v1/plans/check", `{}`},
		{"POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"9","reason":"a try"}`},
		{"POST", "/api/v1/rollouts", "component: sensor-content\nversion: '1'\nreason: monday"},
		{"POST", "/api/v1/rollouts/ro-1/pause", `{"reason":"lunch"}`},
		{"POST", "/api/v1/rollouts/ro-1/pause", `{"phase":"running","reason":"again"}`},
		{"POST", "/api/v1/rollouts/ro-1/halt", `{"reason":"no"}`},
		{"POST", "/api/v1/halt", `{"rollouts":["ro-1","ro-9"]}`},
		{"PUT", "/api/v1/freezes", `{"freezes":[{"name":7}]}`},
		{"DELETE", "/api/v1/tokens/nobody", ""},
		{"DELETE", "/api/v1/trust/pending/root", ""},
	} {
		whole(t, w, r.method, r.path, r.body)
	}
	want := []string{
		"discardMetadata | pending metadata of root | 404 | ",
		"revokeToken | token nobody | 404 | ",
		"putFreezes | freezes | 400 | ",
		"halt | ro-1 ro-9 | 200 | 1 ended, 1 failed",
		"actOnRollout | rollout ro-1 | 200 | halt: no",
		"actOnRollout | rollout ro-1 | 412 | pause: again",
		"actOnRollout | rollout ro-1 | 200 | pause: lunch",
		"startRollout | rollout ro-1 of sensor-content 1 | 201 | monday",
		"startRollout | release sensor-content 9 | 404 | a try",
	}
	if diff := cmp.Diff(want, audited(t, w, "")); diff != "" {
		t.Errorf("written down (-want +got):\n%s", diff)
	}
	first := auditOf(t, w, "limit=1")
	if a := first.Items[0]; !strings.HasPrefix(a.Actor, `operator token "alice" (`) || a.Request == "" || !a.At.Equal(servertest.Start()) || first.Next == "" {
		t.Errorf("got %+v and next %q, want who, when and in which request, and more behind it", a, first.Next)
	}
	if diff := cmp.Diff(want[1:3], audited(t, w, "limit=2&after="+first.Next)); diff != "" {
		t.Errorf("the next two (-want +got):\n%s", diff)
	}
	for query, want := range map[string]int{
		"act=actOnRollout": 3, "actor=ALICE": 9, "actor=bob": 0, "target=ro-1": 5, "act=halt&target=ro-9": 1, "target=" + url.QueryEscape("' OR 1=1 --"): 0,
		"target=%25": 0, "actor=%00%FF": 0, "act=" + strings.Repeat("x", 5000): 0,
	} {
		if got := audited(t, w, query); len(got) != want {
			t.Errorf("audit?%.50s: got %d entries, want %d: %q", query, len(got), want, got)
		}
	}
}

func TestOfUploadsOnlyWhatIsCompleteIsWrittenDown(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	digest := digestOf("12345678")
	_, text := w.Do("POST", "/api/v1/uploads", `{"digest":"`+digest+`","size":8}`)
	var u api.Upload
	if err := json.Unmarshal([]byte(text), &u); err != nil {
		t.Fatal(err)
	}
	for _, piece := range [][2]string{{"1234", "bytes 0-3/8"}, {"12", "bytes 2-3/8"}, {"5678", "bytes 4-7/8"}} {
		asks(t, w, "PATCH", "/api/v1/uploads/"+u.ID, piece[0], "Content-Range", piece[1])
	}
	w.Do("PUT", "/api/v1/blobs/"+digestOf("x"), "x")
	want := []string{"putBlob | blob " + digestOf("x") + " | 204 | ", "patchUpload | blob " + digest + " | 200 | "}
	if diff := cmp.Diff(want, audited(t, w, "")); diff != "" {
		t.Errorf("written down (-want +got):\n%s", diff)
	}
}

func TestWhatIsWrittenDownIsOneHarmlessLine(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Trip("sensor-content")
	note := "a\n\x1b[2Jb\u202ec\u200bd\x00e<script>alert(1)</script>'); DROP TABLE audit; --\u2028f"
	body, err := json.Marshal(api.CloseIncident{Note: note})
	if err != nil {
		t.Fatal(err)
	}
	whole(t, w, "POST", "/api/v1/incidents/inc-4/close", string(body))
	whole(t, w, "POST", "/api/v1/incidents/"+url.PathEscape("x\n\x1b\u202e"+strings.Repeat("y", 500))+"/close", `{"note":"`+strings.Repeat("ü", 900)+`"}`)
	got := auditOf(t, w, "").Items
	if want := "a \uFFFD[2Jb\uFFFDc\uFFFDd\uFFFDe<script>alert(1)</script>'); DROP TABLE audit; -- f"; got[1].Detail != want {
		t.Errorf("got detail %q, want %q", got[1].Detail, want)
	}
	if a := got[0]; len(a.Detail) > 1000 || !strings.HasSuffix(a.Detail, "ü…") || len(a.Target) > 300 || strings.ContainsAny(a.Target, "\n\x1b\u202e") {
		t.Errorf("got target %q and detail of %d bytes, want both short and clean", a.Target, len(a.Detail))
	}
}

func TestSigningInIsWrittenDownAndFailingFillsNoDisk(t *testing.T) {
	t.Parallel()
	now := clock.At(servertest.Start())
	w := servertest.Open(t, func(o *server.Options) { o.Clock = now })
	b := &browser{t: t, w: w}
	try := func(token string) {
		b.do("POST", "/api/v1/session", `{"token":"`+token+`"}`, "X-Forwarded-For", "192.0.2.9")
	}
	for range 50 {
		try("fb_op_secret")
	}
	now.Move(time.Minute)
	try("x")
	try(w.Token)
	b.do("DELETE", "/api/v1/session", "")
	want := []string{
		"signOut | session | 204 | ",
		"signIn | session | 201 | ",
		"signIn | session | 401 | from 192.0.2.9; 49 more attempts have failed since 2024-07-19 04:09:00 UTC",
		"signIn | session | 401 | from 192.0.2.9",
	}
	if diff := cmp.Diff(want, audited(t, w, "")); diff != "" {
		t.Errorf("written down (-want +got):\n%s", diff)
	}
	all := auditOf(t, w, "").Items
	if all[3].Actor != "nobody" || all[1].Actor != all[0].Actor || !strings.Contains(all[1].Actor, "alice") {
		t.Errorf("got actors %q, %q and %q, want alice twice, and nobody", all[0].Actor, all[1].Actor, all[3].Actor)
	}
}

// unwritten is a database that keeps no audit.
type unwritten struct {
	server.Tokens
	came chan struct{}
}

func (u unwritten) AddAudit(ctx context.Context, _ store.AuditEntry) error {
	if u.came != nil {
		close(u.came)
		<-ctx.Done()
	}
	return fault.New(fault.Unavailable, "write: the disk is full")
}

func TestWhatCannotBeWrittenDownIsDoneAndLogged(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, func(o *server.Options) { o.Tokens = unwritten{Tokens: o.Tokens} })
	if answer, text := w.Do("POST", "/api/v1/tokens", `{"kind":"join","note":"rack 7"}`); answer.StatusCode != http.StatusCreated {
		t.Errorf("got %d %s, want 201", answer.StatusCode, text)
	}
	if log := w.Log.String(); !strings.Contains(log, "level=ERROR") || !strings.Contains(log, "act=createToken") || !strings.Contains(log, `detail="rack 7"`) {
		t.Errorf("the log does not tell what was done:\n%s", log)
	}
}

// A halt is answered, whole, before anything is written of it, and the next request need not wait behind that.
func TestAHaltIsAnsweredBeforeItIsWrittenDown(t *testing.T) {
	t.Parallel()
	came := make(chan struct{})
	w := servertest.Open(t, func(o *server.Options) { o.Tokens = unwritten{o.Tokens, came} })
	for _, r := range []request{{"POST", "/api/v1/halt", ""}, {"GET", "/api/v1/rollouts", ""}} {
		begun := clock.Wall{}.Now()
		answer, text := w.Do(r.method, r.path, r.body)
		if took := (clock.Wall{}).Now().Sub(begun); answer.StatusCode != http.StatusOK || !json.Valid([]byte(text)) || took > time.Second {
			t.Errorf("%s: got %d %s after %s, want 200 at once", r.path, answer.StatusCode, text, took)
		}
	}
	soon, enough := context.WithTimeout(t.Context(), 20*time.Second)
	defer enough()
	select {
	case <-came:
	case <-soon.Done():
		t.Error("nothing was written down")
	}
}

// late is a database in which whatever is written down takes as long as it may, and one engine that panics once it has acted.
type late struct {
	server.Tokens
	server.Engine
}

func (late) AddAudit(ctx context.Context, _ store.AuditEntry) error {
	<-ctx.Done()
	return fault.New(fault.Unavailable, "write: %w", ctx.Err())
}

func (l late) Act(ctx context.Context, id string, c rollout.OperatorActed) (api.Rollout, error) {
	if _, err := l.Engine.Act(ctx, id, c); err != nil {
		return api.Rollout{}, err
	}
	panic("something impossible happened")
}

// Nobody waits for what is written of their own act, whatever it was and whatever came of it.
func TestEveryActIsAnsweredBeforeItIsWrittenDown(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, func(o *server.Options) { l := late{o.Tokens, o.Engine}; o.Tokens, o.Engine = l, l })
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	for _, r := range []struct {
		request
		want int
	}{
		{request{"POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`}, 201},
		{request{"POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`}, 201}, // replayed
		{request{"POST", "/api/v1/rollouts/ro-1/resume", ""}, 409},
		{request{"POST", "/api/v1/rollouts/ro-1/pause", ""}, 500},
		{request{"DELETE", "/api/v1/tokens/nobody", ""}, 404},
		{request{"PUT", "/api/v1/blobs/" + digestOf("x"), "x"}, 204},
		{request{"PUT", "/api/v1/freezes", `{"freezes":[]}`}, 200},
	} {
		begun := clock.Wall{}.Now()
		answer, text := asks(t, w, r.method, r.path, r.body, "Idempotency-Key", r.path, "Connection", "close")
		if took := (clock.Wall{}).Now().Sub(begun); answer.StatusCode != r.want || took >= 2*time.Second {
			t.Errorf("%s %s: got %d %s after %s, want %d at once", r.method, r.path, answer.StatusCode, text, took, r.want)
		}
	}
}

// A handler may have acted before it panicked.
func TestAnActThatPanicsIsWrittenDown(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, func(o *server.Options) { o.Engine = late{o.Tokens, o.Engine} })
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	whole(t, w, "POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`)
	for _, act := range []string{"pause", "halt"} {
		if answer := whole(t, w, "POST", "/api/v1/rollouts/ro-1/"+act, `{"reason":"odd"}`); answer.Code != http.StatusInternalServerError {
			t.Errorf("%s: got %d, want 500", act, answer.Code)
		}
	}
	want := []string{"actOnRollout | rollout ro-1 | 500 | halt: odd", "actOnRollout | rollout ro-1 | 500 | pause: odd"}
	if diff := cmp.Diff(want, audited(t, w, "act=actOnRollout")); diff != "" {
		t.Errorf("written down (-want +got):\n%s", diff)
	}
	if log := w.Log.String(); strings.Count(log, "request panicked") != 2 {
		t.Errorf("the log does not tell of two panics:\n%s", log)
	}
}

// An answer that breaks off in the middle is an act that failed, whatever it began with.
func TestAnAnswerThatBreaksOffIsWrittenDownAsFailed(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, func(o *server.Options) { o.Repository = breaks{o.Repository} })
	r := httptest.NewRequestWithContext(t.Context(), "DELETE", "/api/v1/trust/pending/root", http.NoBody)
	r.Header.Set("Authorization", "Bearer "+w.Token)
	func() {
		defer func() {
			if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // the value itself is the signal
				t.Errorf("got %v, want that the answer is cut off", p)
			}
		}()
		w.Handler.ServeHTTP(httptest.NewRecorder(), r)
	}()
	if diff := cmp.Diff([]string{"discardMetadata | pending metadata of root | 500 | "}, audited(t, w, "")); diff != "" {
		t.Errorf("written down (-want +got):\n%s", diff)
	}
}

// breaks gives up whoever asks it to forget metadata.
type breaks struct{ server.Repository }

func (breaks) Discard(context.Context, string) error { panic(http.ErrAbortHandler) }
