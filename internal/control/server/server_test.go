package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// problem reads an answer that must be a problem.
func problem(t *testing.T, answer servertest.Answer, body string) api.Problem {
	t.Helper()
	var p api.Problem
	if got := answer.Header.Get("Content-Type"); got != api.ProblemType {
		t.Fatalf("content type is %q, want %q; body: %s", got, api.ProblemType, body)
	}
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != answer.StatusCode || p.Request == "" || p.Request != answer.Header.Get("X-Request-Id") {
		t.Errorf("problem has status %d and request %q, the answer %d and %q", p.Status, p.Request, answer.StatusCode, answer.Header.Get("X-Request-Id"))
	}
	return p
}

func TestOnlyValidOperatorTokensOpenThePort(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	past, future := servertest.Start().Add(-time.Second), servertest.Start().Add(time.Hour)
	for name, c := range map[string]struct {
		header string
		want   int
	}{
		"none":               {"", 401},
		"the first":          {"Bearer " + w.Token, 200},
		"any case of scheme": {"bearer " + w.Token, 200},
		"other scheme":       {"Basic " + w.Token, 401},
		"no secret":          {"Bearer ", 401},
		"garbage":            {"Bearer ' OR 1=1 --", 401},
		"a bit off":          {"Bearer " + w.Token[:len(w.Token)-1] + "!", 401},
		"longer":             {"Bearer " + w.Token + "a", 401},
		"two":                {"Bearer " + w.Token + " " + w.Token, 401},
		"join token":         {"Bearer " + w.Mint(store.Token{Kind: store.JoinToken, Left: -1}), 401},
		"expired":            {"Bearer " + w.Mint(store.Token{Kind: store.OperatorToken, Expires: past}), 401},
		"ends this instant":  {"Bearer " + w.Mint(store.Token{Kind: store.OperatorToken, Expires: servertest.Start()}), 401},
		"not yet expired":    {"Bearer " + w.Mint(store.Token{Kind: store.OperatorToken, Expires: future}), 200},
		"revoked":            {"Bearer " + w.Mint(store.Token{Kind: store.OperatorToken, Revoked: past}), 401},
		"join in disguise":   {"Bearer " + strings.Replace(w.Mint(store.Token{Kind: store.JoinToken, Left: 1}), "fb_join_", "fb_op_", 1), 401},
	} {
		for _, path := range []string{"/api/v1/status", "/tuf/timestamp.json", "/api/v1/blobs/sha256:00"} {
			answer, body := servertest.Send(t, http.MethodGet, w.URL+path, "", map[string]string{"Authorization": c.header})
			if got := answer.StatusCode == http.StatusUnauthorized; got != (c.want == 401) {
				t.Errorf("%s: GET %s: got %d, want %d", name, path, answer.StatusCode, c.want)
			}
			if c.want == 401 && (answer.Header.Get("WWW-Authenticate") == "" || problem(t, answer, body).Type != "urn:firebreak:denied") {
				t.Errorf("%s: GET %s: got %s, want a denied problem with a challenge", name, path, body)
			}
		}
	}
}

func TestARevokedTokenEndsAtOnceAndNobodyRevokesTheirOwn(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	_, body := w.Do("POST", "/api/v1/tokens", `{"kind":"operator"}`)
	var fresh api.Token
	if err := json.Unmarshal([]byte(body), &fresh); err != nil {
		t.Fatal(err)
	}
	other := map[string]string{"Authorization": "Bearer " + fresh.Secret}
	if answer, _ := servertest.Send(t, "DELETE", w.URL+"/api/v1/tokens/"+fresh.ID, "", other); answer.StatusCode != http.StatusConflict {
		t.Errorf("revoking one's own token: got %d, want 409", answer.StatusCode)
	}
	if answer, _ := w.Do("DELETE", "/api/v1/tokens/"+fresh.ID, ""); answer.StatusCode != http.StatusNoContent {
		t.Errorf("revoking another's token: got %d, want 204", answer.StatusCode)
	}
	if answer, _ := servertest.Send(t, "GET", w.URL+"/api/v1/status", "", other); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("using a revoked token: got %d, want 401", answer.StatusCode)
	}
}

func TestListedTokensHaveNoSecrets(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Do("POST", "/api/v1/tokens", `{"kind":"join"}`)
	_, body := w.Do("GET", "/api/v1/tokens", "")
	if strings.Contains(body, "fb_") || strings.Contains(body, "secret") || strings.Count(body, `"id"`) != 2 {
		t.Errorf("the list is %s, want two tokens without secrets", body)
	}
	if log := w.Log.String(); strings.Contains(log, "fb_op_") || strings.Contains(log, "fb_join_") {
		t.Error("the log has a secret")
	}
}

// broken is an engine of which everything fails in its own way.
type broken struct {
	server.Engine
	err error
}

func (b broken) Rollout(context.Context, string) (api.Rollout, error) {
	if b.err == nil {
		panic("something impossible happened")
	}
	return api.Rollout{}, b.err
}

func TestKindsOfErrorsBecomeStatuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err    error
		status int
		detail string
	}{
		{fault.New(fault.Invalid, "no good"), 400, "no good"},
		{fault.New(fault.Denied, "not yours"), 403, "not yours"},
		{fault.New(fault.NotFound, "no such thing"), 404, "no such thing"},
		{fault.New(fault.Conflict, "not now"), 409, "not now"},
		{fault.New(fault.Unavailable, "busy"), 503, "busy"},
		{fmt.Errorf("look: %w", fault.New(fault.NotFound, "no such thing")), 404, "look: no such thing"},
		{fault.New(fault.Internal, "password is hunter2"), 500, "internal error"},
		{errors.New("dial tcp 10.0.0.7: refused"), 500, "internal error"},
		{nil, 500, "internal error"}, // a panic
	} {
		w := servertest.Open(t, func(o *server.Options) { o.Engine = broken{o.Engine, c.err} })
		answer, body := w.Do("GET", "/api/v1/rollouts/ro-1", "")
		p := problem(t, answer, body)
		if p.Status != c.status || p.Detail != c.detail {
			t.Errorf("%v: got %d %q, want %d %q", c.err, p.Status, p.Detail, c.status, c.detail)
		}
		logged := strings.Count(w.Log.String(), "level=ERROR")
		if want := map[bool]int{true: 1, false: 0}[c.status == 500]; logged != want {
			t.Errorf("%v: logged %d errors, want %d", c.err, logged, want)
		}
		if c.status == 500 && !strings.Contains(w.Log.String(), "request_id="+p.Request) {
			t.Errorf("%v: the log does not name request %s", c.err, p.Request)
		}
	}
}

func TestHostileInputIsRefusedAndChangesNothing(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	deep := strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000)
	bomb := "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n" +
		"e: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n"
	for name, c := range map[string]struct {
		method, path, body string
		want               int
	}{
		"too large":           {"POST", "/api/v1/tokens", `{"note":"` + strings.Repeat("x", 2<<20) + `"}`, 413},
		"too large metadata":  {"POST", "/api/v1/trust/metadata/root", strings.Repeat(" ", 6<<20), 413},
		"nothing":             {"POST", "/api/v1/tokens", "", 400},
		"not JSON":            {"POST", "/api/v1/tokens", "\x00\xff", 400},
		"a list":              {"POST", "/api/v1/tokens", "[]", 400},
		"null":                {"POST", "/api/v1/tokens", "null", 400},
		"two documents":       {"POST", "/api/v1/tokens", "{}\n---\n{}", 400},
		"wrong type":          {"POST", "/api/v1/tokens", `{"kind":7,"uses":"many"}`, 400},
		"huge number":         {"POST", "/api/v1/tokens", `{"kind":"join","uses":99999999999999999999}`, 400},
		"deep":                {"POST", "/api/v1/plans/check", deep, 200}, // a mistake of the plan, not of the request
		"bomb":                {"POST", "/api/v1/plans/check", bomb, 200},
		"long reason":         {"POST", "/api/v1/rollouts/ro-1/halt", `{"reason":"` + strings.Repeat("x", 2000) + `"}`, 400},
		"path as a name":      {"PUT", "/api/v1/components/..%2f..%2fetc", `{"kind":"content"}`, 400},
		"spaces as a name":    {"PUT", "/api/v1/plans/%20%00", `{"rings":[]}`, 400},
		"path as a file":      {"GET", "/tuf/..%2fkeys%2fdirector.pem", "", 404},
		"path as a digest":    {"GET", "/api/v1/blobs/..%2f..%2fkeys", "", 400},
		"upper-case digest":   {"GET", "/api/v1/blobs/sha256:" + strings.Repeat("A", 64), "", 400},
		"unknown digest":      {"GET", "/api/v1/blobs/sha256:" + strings.Repeat("a", 64), "", 404},
		"long digest":         {"GET", "/api/v1/blobs/" + strings.Repeat("a", 5000), "", 400},
		"many endpoints":      {"GET", "/api/v1/endpoints?limit=1000000", "", 400},
		"strange limit":       {"GET", "/api/v1/endpoints?limit=0x10", "", 400},
		"strange outcome":     {"GET", "/api/v1/rollouts/ro-1/leases?outcome=fine", "", 400},
		"SQL as an endpoint":  {"GET", "/api/v1/endpoints/'%20OR%201=1%20--", "", 404},
		"SQL as a component":  {"GET", "/api/v1/releases?component='%20OR%201=1%20--", "", 404},
		"metadata of nothing": {"POST", "/api/v1/trust/metadata/%2e%2e", "{}", 400},
	} {
		answer, body := w.Do(c.method, c.path, c.body)
		if answer.StatusCode != c.want {
			t.Errorf("%s: got %d, want %d: %.300s", name, answer.StatusCode, c.want, body)
		}
		if len(body) > 64<<10 {
			t.Errorf("%s: the answer has %d bytes, want a short one", name, len(body))
		}
		if c.want == 200 && !strings.Contains(body, `"problems"`) {
			t.Errorf("%s: got %.300s, want problems", name, body)
		}
	}
	if _, body := w.Do("GET", "/api/v1/components", ""); !strings.Contains(body, `"items":[]`) {
		t.Errorf("components are %s, want none", body)
	}
	if strings.Contains(w.Log.String(), "level=ERROR") {
		t.Errorf("the log has errors:\n%s", w.Log)
	}
}

func TestBlobsGoInAndOut(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	content := "detection content"
	digest := string(release.DigestOf([]byte(content)))
	path := "/api/v1/blobs/" + digest
	if answer, _ := w.Do("HEAD", path, ""); answer.StatusCode != http.StatusNotFound {
		t.Errorf("HEAD before: got %d, want 404", answer.StatusCode)
	}
	if answer, body := w.Do("PUT", path, "something else!!!"); answer.StatusCode != http.StatusBadRequest {
		t.Errorf("PUT of other bytes: got %d %s, want 400", answer.StatusCode, body)
	}
	for range 2 {
		if answer, body := w.Do("PUT", path, content); answer.StatusCode != http.StatusNoContent {
			t.Errorf("PUT: got %d %s, want 204", answer.StatusCode, body)
		}
	}
	answer, body := w.Do("GET", path, "")
	if body != content || answer.Header.Get("ETag") != `"`+digest+`"` {
		t.Errorf("GET: got %q with ETag %s, want what was put", body, answer.Header.Get("ETag"))
	}
	answer, body = servertest.Send(t, "GET", w.URL+path, "", map[string]string{"Authorization": "Bearer " + w.Token, "Range": "bytes=10-"})
	if answer.StatusCode != http.StatusPartialContent || body != "content" {
		t.Errorf("GET of a range: got %d %q, want 206 %q", answer.StatusCode, body, "content")
	}
	if answer, _ := w.Do("HEAD", path, ""); answer.StatusCode != http.StatusOK || answer.Length != int64(len(content)) {
		t.Errorf("HEAD: got %d with %d bytes, want 200 with %d", answer.StatusCode, answer.Length, len(content))
	}
}

func TestUploadsSayHowLongTheyAre(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, w.URL+"/api/v1/blobs/sha256:"+strings.Repeat("a", 64), &chunked{strings.NewReader("x")})
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+w.Token)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusLengthRequired {
		t.Errorf("an upload of unknown length: got %d, want 411", answer.StatusCode)
	}
}

// chunked hides how long a body is.
type chunked struct{ *strings.Reader }

func (c *chunked) Len() int { return 0 }

func TestTheConsoleNeedsNoTokenButItsDataDoes(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	for path, want := range map[string]int{
		"/": 200, "/rollouts/ro-1": 200, "/nothing": 404, "/healthz": 200, "/api/v1/rollouts": 401, "/api/v1/incidents": 401, "/api/v1/overview": 401,
		"/api/v1/stream?topic=overview": 401, "/api/v1/nothing": 404, "/api": 404, "/tuf": 404, "/v2": 401,
	} {
		if answer, _ := servertest.Send(t, "GET", w.URL+path, "", nil); answer.StatusCode != want {
			t.Errorf("GET %s without a token: got %d, want %d", path, answer.StatusCode, want)
		}
	}
}

// TestInvariantI10StoredEventsExplainEveryDecision: what the port tells of a rollout has a reason for every change.
func TestInvariantI10StoredEventsExplainEveryDecision(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Trip("sensor-content")
	_, body := w.Do("GET", "/api/v1/rollouts/ro-1/events", "")
	var page api.Page[api.Decision]
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatal(err)
	}
	var verdicts []string
	for i, d := range page.Items {
		if d.Revision != int64(i+1) || len(d.Data) == 0 {
			t.Errorf("event %d has revision %d and data %s, want all events in order with their data", i+1, d.Revision, d.Data)
		}
		for _, r := range d.Records {
			verdicts = append(verdicts, r.Verdict)
			if r.Reason == "" {
				t.Errorf("event %d: verdict %q has no reason", d.Revision, r.Verdict)
			}
		}
	}
	if got := strings.Join(verdicts, ", "); !strings.HasSuffix(got, "outcome counted, growth frozen, outcome counted, breaker tripped") {
		t.Errorf("verdicts are %s, want two counted outcomes, amber after the first, the trip after the second", got)
	}
}

func digestOf(content string) string { return string(release.DigestOf([]byte(content))) }
