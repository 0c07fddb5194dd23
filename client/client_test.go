package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

func dial(t *testing.T, url, token string) *client.Client {
	t.Helper()
	c, err := client.New(url, token)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientWalksTheWholePort(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Trip("sensor-content")
	c, ctx := dial(t, w.URL, w.Token), t.Context()
	check := func(what string, err error, ok bool) {
		t.Helper()
		if err != nil || !ok {
			t.Errorf("%s: got error %v, expectation %t; want none and true", what, err, ok)
		}
	}
	status, err := c.Status(ctx)
	check("status", err, status.Endpoints == 10)
	components, err := c.Components(ctx)
	check("components", err, len(components) == 1 && components[0].Name == "sensor-content")
	component, err := c.PutComponent(ctx, components[0])
	check("put component", err, component == components[0])
	plans, err := c.Plans(ctx)
	check("plans", err, len(plans) == 1 && plans[0].Rings == 3)
	stored, err := c.PutPlan(ctx, "careful", plans[0].Plan)
	check("put plan", err, bytes.Equal(stored.Plan, plans[0].Plan))
	bound, err := c.CheckPlan(ctx, plans[0].Plan)
	check("check plan", err, bound.Bound > 0 && len(bound.Problems) == 0)
	releases, err := c.Releases(ctx, "sensor-content")
	check("releases", err, len(releases) == 1 && releases[0].State == "recalled")
	one, err := c.Release(ctx, "sensor-content", "2")
	check("release", err, len(one.Document) > 0)
	rollouts, err := c.Rollouts(ctx, "")
	check("rollouts", err, len(rollouts) == 1)
	r, err := c.Rollout(ctx, "ro-1")
	check("rollout", err, r.Phase == "tripped" && r.Harmed == 2)
	leases, err := c.Leases(ctx, "ro-1")
	check("leases", err, len(leases) == 2)
	incidents, err := c.Incidents(ctx)
	check("incidents", err, len(incidents) == 1)
	incident, err := c.Incident(ctx, incidents[0].ID)
	check("incident", err, len(incident.Harmed) == 2 && incident.Summary != nil && len(incident.Timeline) > 0)
	endpoint, err := c.Endpoint(ctx, "ep-001")
	check("endpoint", err, len(endpoint.Leases) == 1)
	keys, err := c.OnlineKeys(ctx)
	check("online keys", err, len(keys.Director.Public) == 32)
	pending, err := c.PendingMetadata(ctx)
	check("pending metadata", err, len(pending) == 0)
	fresh, err := c.CreateToken(ctx, api.NewToken{Kind: "join"})
	check("create token", err, strings.HasPrefix(fresh.Secret, "fb_join_"))
	check("revoke token", c.RevokeToken(ctx, fresh.ID), true)
	tokens, err := c.Tokens(ctx)
	check("tokens", err, len(tokens) == 2)
	for range 2 {
		closed, err := c.CloseIncident(ctx, incidents[0].ID, "all are back")
		check("close an incident", err, closed.Closed != nil && closed.Note == "all are back")
	}
	halted, err := c.HaltAll(ctx, api.HaltRollouts{Rollouts: []string{"ro-1"}})
	check("halt by name", err, len(halted.Rollouts) == 1 && halted.Rollouts[0].State == api.HaltEnded)
	halted, err = c.HaltAll(ctx, api.HaltRollouts{Reason: "enough"})
	check("halt everything", err, len(halted.Rollouts) == 0)
	closings := 0
	for a, err := range c.EachAudit(ctx, client.AuditFilter{Act: "closeIncident", Actor: "alice", Target: incidents[0].ID}) {
		check("audit", err, a.Detail == "all are back")
		closings++
	}
	check("audit of two closings", nil, closings == 2)
	_, err = c.RollBack(ctx, "ro-1", "")
	check("rollback of a tripped rollout", nil, client.KindOf(err) == client.Conflict)
}

func TestClientHoldsAndFreezes(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	c, ctx := dial(t, w.URL, w.Token), t.Context()
	if _, err := c.StartRollout(ctx, api.StartRollout{Component: "sensor-content", Version: "1"}); err != nil {
		t.Fatal(err)
	}
	selects := map[string][]string{"site": {"site-1"}}
	r, err := c.Hold(ctx, "ro-1", selects, "odd")
	if err != nil || len(r.Holds) != 1 || r.Holds[0].Reason != "odd" || !cmp.Equal(r.Holds[0].Select, selects) {
		t.Errorf("hold: got %v, %v, want one of %v", r.Holds, err, selects)
	}
	if r, err = c.Unhold(ctx, "ro-1", selects, ""); err != nil || len(r.Holds) != 0 {
		t.Errorf("unhold: got %v, %v, want no hold", r.Holds, err)
	}
	if _, err = c.Approve(ctx, "ro-1", ""); client.KindOf(err) != client.Conflict {
		t.Errorf("approve a running rollout: got %v, want a conflict", err)
	}
	profile, err := c.FleetProfile(ctx, "sensor-content")
	if err != nil || profile.Hosts != 4 || len(profile.Groups) != 3 {
		t.Errorf("fleet profile: got %+v, %v, want 4 hosts in 3 groups", profile, err)
	}
}

func TestClientOverwritesNoFreezesThatWereNotRead(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	c, ctx := dial(t, w.URL, w.Token), t.Context()
	none, err := c.Freezes(ctx)
	if err != nil || len(none.Freezes) != 0 || none.Tag == "" {
		t.Fatalf("freezes: got %+v, %v, want an empty list with a tag", none, err)
	}
	july := api.Freezes{Freezes: []api.Freeze{{Name: "July", From: "2024-07-01", To: "2024-07-31"}}, Tag: none.Tag}
	stored, err := c.PutFreezes(ctx, july)
	if err != nil || !cmp.Equal(stored.Freezes, july.Freezes) || stored.Tag == none.Tag {
		t.Errorf("put freezes: got %+v, %v, want them back with another tag", stored, err)
	}
	if _, err = c.PutFreezes(ctx, none); client.KindOf(err) != client.Conflict {
		t.Errorf("put freezes over a list that was not read: got %v, want a conflict", err)
	}
}

func TestClientPagesThroughLongLists(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Join(1203, "sensor-content")
	c := dial(t, w.URL, w.Token)
	seen := map[string]bool{}
	for e, err := range c.Endpoints(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		seen[e.ID] = true
	}
	if len(seen) != 1203 {
		t.Errorf("saw %d endpoints, want 1203", len(seen))
	}
	for range c.Endpoints(t.Context()) {
		break // leaving early must not panic
	}
}

func TestErrorsKeepKindNextAndProblems(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	c := dial(t, w.URL, w.Token)
	_, err := c.PutPlan(t.Context(), "p", []byte(`{"name":"p","rings":[{"name":"a","hosts":0}],"x":1}`))
	var e *client.Error
	if !errors.As(err, &e) || e.Kind != client.Invalid || e.Status != 400 || len(e.Problems) < 3 || e.Request == "" {
		t.Errorf("got %#v, want an invalid one with every problem", e)
	}
	_, err = c.Component(t.Context(), "none")
	if !errors.As(err, &e) || e.Kind != client.NotFound || e.Next == "" {
		t.Errorf("got %#v, want not found and a next step", e)
	}
	_, err = dial(t, w.URL, "wrong").Status(t.Context())
	if client.KindOf(err) != client.Denied {
		t.Errorf("got %v, want denied", err)
	}
}

// Writes are sent again as reads are: they have a key, the same each time, by which the control plane knows them.
func TestRequestsAreTriedAgain(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var keys []string
	refuse := func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }
	port := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if keys = append(keys, r.Header.Get("Idempotency-Key")); len(keys) < 3 {
			refuse(w)
			return
		}
		_, _ = io.WriteString(w, `{"version":"7"}`)
	}))
	t.Cleanup(port.Close)
	c := dial(t, port.URL, "")
	check := func(what string, err error, calls int, keyed bool) {
		t.Helper()
		if err != nil || len(keys) != calls {
			t.Errorf("%s: got %v after %d calls, want none after %d", what, err, len(keys), calls)
		}
		for _, key := range keys {
			if key != keys[0] || (key != "") != keyed {
				t.Errorf("%s: got keys %q, want the same each time, if it has one: %t", what, keys, keyed)
			}
		}
		keys = nil
	}
	status, err := c.Status(t.Context())
	check("a read", err, 3, false)
	if status.Version != "7" {
		t.Errorf("got version %q, want 7", status.Version)
	}
	_, err = c.StartRollout(t.Context(), api.StartRollout{})
	check("a start", err, 3, true)
	_, err = c.Halt(t.Context(), "ro-1", "")
	check("a halt", err, 3, true)
	_, err = c.PutFreezes(t.Context(), api.Freezes{})
	check("a put", err, 3, true)
	check("a delete", c.RevokeToken(t.Context(), "x"), 3, false)
	for _, status := range []int{http.StatusConflict, http.StatusUnprocessableEntity, http.StatusBadRequest, http.StatusInternalServerError} {
		refuse = func(w http.ResponseWriter) { w.WriteHeader(status) }
		if _, err = c.Pause(t.Context(), "ro-1", ""); err == nil || len(keys) != 1 {
			t.Errorf("status %d: got %v after %d calls, want an error after one", status, err, len(keys))
		}
		keys = nil
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	var header atomic.Pointer[string]
	port := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls.Add(1)
		w.Header().Set("Retry-After", *header.Load())
		w.WriteHeader(http.StatusConflict) // the same request is being carried out
	}))
	t.Cleanup(port.Close)
	c := dial(t, port.URL, "")
	for text, want := range map[string]time.Duration{
		"3600": time.Hour, "99999999999999999999": 0, "-1": 0, "soon": 0, "": 0, "Thu, 01 Jan 1970 00:00:00 GMT": 0,
	} {
		calls.Store(0)
		header.Store(&text)
		_, err := c.Pause(t.Context(), "ro-1", "")
		var e *client.Error
		if !errors.As(err, &e) || e.RetryAfter != want || calls.Load() != 1 {
			t.Errorf("Retry-After %q: got %#v after %d calls, want %s, and that nobody waits for it", text, e, calls.Load(), want)
		}
	}
	calls.Store(0)
	one := "1"
	header.Store(&one)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := c.Pause(ctx, "ro-1", ""); err == nil || calls.Load() != 1 || ctx.Err() == nil {
		t.Errorf("got %v after %d calls, want one, and that the second is waited for", err, calls.Load())
	}
}

// An answer that is lost on its way costs nothing: the control plane knows the request when it comes again.
func TestALostAnswerIsAskedForAgain(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	c := dial(t, w.URL, w.Token)
	line := &lossy{lose: 1}
	c.HTTP = &http.Client{Transport: line}
	r, err := c.StartRollout(t.Context(), api.StartRollout{Component: "sensor-content", Version: "1"})
	if err != nil || r.ID != "ro-1" || r.Revision != 1 || line.replayed != 1 {
		t.Errorf("got %s at revision %d, %v, %d answers replayed; want that of the one rollout that began", r.ID, r.Revision, err, line.replayed)
	}
	if all, err := c.Rollouts(t.Context(), ""); err != nil || len(all) != 1 {
		t.Errorf("got %d rollouts, %v, want one", len(all), err)
	}
}

// lossy loses answers.
type lossy struct{ lose, replayed int }

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if l.lose > 0 {
		l.lose--
		_ = answer.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	if answer.Header.Get("Idempotency-Replayed") == "true" {
		l.replayed++
	}
	return answer, nil
}

func TestIteratorsGoThroughAllPages(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Join(1203, "sensor-content")
	for i := range 501 {
		w.Mint(store.Token{Kind: store.JoinToken, Note: fmt.Sprint(i)})
	}
	c := dial(t, w.URL, w.Token)
	tokens, err := c.Tokens(t.Context())
	if err != nil || len(tokens) != 502 {
		t.Errorf("got %d tokens, %v, want 502", len(tokens), err)
	}
	filter := client.EndpointFilter{Select: map[string][]string{"site": {"site-0", "site-2"}}, Component: "sensor-content", Version: "0", Prefix: "ep-"}
	n := 0
	for e, err := range c.FindEndpoints(t.Context(), filter) {
		if err != nil || e.Attributes.Site == "site-1" {
			t.Fatalf("got %+v, %v", e, err)
		}
		n++
	}
	count, estimated, err := c.CountEndpoints(t.Context(), filter)
	if n != 802 || count != 802 || estimated || err != nil {
		t.Errorf("found %d, counted %d (estimated: %t), %v; want 802", n, count, estimated, err)
	}
	filter = client.EndpointFilter{SilentSince: servertest.Start().Add(-time.Second)}
	if count, _, err := c.CountEndpoints(t.Context(), filter); err != nil || count != 0 {
		t.Errorf("silent before all began: got %d, %v, want none", count, err)
	}
	if _, _, err := c.CountEndpoints(t.Context(), client.EndpointFilter{}); client.KindOf(err) != client.Invalid {
		t.Errorf("counting with an empty filter: got %v, want invalid", err)
	}
}

func TestAnUnreachableServerSaysWhatToDo(t *testing.T) {
	t.Parallel()
	port := httptest.NewServer(http.NotFoundHandler())
	port.Close()
	_, err := dial(t, port.URL, "").Status(t.Context())
	var e *client.Error
	if !errors.As(err, &e) || e.Kind != client.Unavailable || !strings.Contains(e.Next, "firebreak serve") {
		t.Errorf("got %#v, want unavailable and a next step", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := dial(t, port.URL, "").Status(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestStrangeAnswersAreErrors(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request){
		"not JSON":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"wrong shape": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"items":7}`) },
		"redirect":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"plain error": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "teapot", http.StatusTeapot) },
		"broken problem": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", api.ProblemType)
			w.WriteHeader(http.StatusInternalServerError)
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "{")
		},
	} {
		port := httptest.NewServer(http.HandlerFunc(answer))
		c := dial(t, port.URL, "secret")
		c.Attempts = 1
		if _, err := c.Rollouts(t.Context(), ""); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want an error without the token", name, err)
		}
		port.Close()
	}
}

func TestNamesCannotReachOtherRoutes(t *testing.T) {
	t.Parallel()
	var paths []string
	port := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.EscapedPath())
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(port.Close)
	c := dial(t, port.URL+"/", "")
	for _, name := range []string{"", "..", "a/b", "a?b=c", "a#b", "../tokens"} {
		_, err := c.Rollout(t.Context(), name)
		if client.KindOf(err) != client.NotFound {
			t.Errorf("%q: got %v, want not found", name, err)
		}
	}
	var want []string
	for _, name := range []string{"%20", "%20", "a%2Fb", "a%3Fb=c", "a%23b", "..%2Ftokens"} {
		want = append(want, "/api/v1/rollouts/"+name)
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("paths asked for (-want +got):\n%s", diff)
	}
}

func TestServersAreURLs(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "localhost:7080", "ftp://host", "http://", "://", "http://ho st"} {
		if _, err := client.New(base, ""); client.KindOf(err) != client.Invalid || err == nil {
			t.Errorf("New(%q): got %v, want invalid", base, err)
		}
	}
}

func TestBlobsStreamWithProgress(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	c := dial(t, w.URL, w.Token)
	data := bytes.Repeat([]byte("firebreak"), 100_000)
	digest, size := string(release.DigestOf(data)), int64(len(data))
	has := func(want bool) {
		t.Helper()
		if got, err := c.HasBlob(t.Context(), digest); err != nil || got != want {
			t.Errorf("HasBlob: got %t, %v, want %t", got, err, want)
		}
	}
	has(false)
	var last atomic.Int64
	progress := func(sent int64) {
		if sent <= last.Swap(sent) {
			t.Errorf("progress went from %d to %d, want it to grow", last.Load(), sent)
		}
	}
	if err := c.UploadBlob(t.Context(), digest, size, bytes.NewReader(data), progress); err != nil {
		t.Fatal(err)
	}
	if last.Load() != size {
		t.Errorf("progress ended at %d, want %d", last.Load(), size)
	}
	has(true)
	body, err := c.Blob(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, data) {
		t.Errorf("Blob: got %d bytes, %v, want what was uploaded", len(got), err)
	}
	if err := c.UploadBlob(t.Context(), string(release.DigestOf([]byte("x"))), 3, strings.NewReader("abc"), nil); client.KindOf(err) != client.Invalid {
		t.Errorf("uploading other bytes: got %v, want invalid", err)
	}
}

// A blob that was damaged on the server's disk is not there, and uploading it again mends it.
func TestDamagedBlobsAreReplaced(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	c := dial(t, w.URL, w.Token)
	data := []byte("what was published")
	digest := release.DigestOf(data)
	for range 2 {
		if has, err := c.HasBlob(t.Context(), string(digest)); err != nil || has {
			t.Errorf("HasBlob: got %t, %v, want that it is not there", has, err)
		}
		if err := c.UploadBlob(t.Context(), string(digest), int64(len(data)), bytes.NewReader(data), nil); err != nil {
			t.Fatal(err)
		}
		if has, err := c.HasBlob(t.Context(), string(digest)); err != nil || !has {
			t.Errorf("HasBlob after the upload: got %t, %v, want that it is there", has, err)
		}
		w.Damage(digest)
	}
}

func TestMetadataRoutes(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	c := dial(t, w.URL, w.Token)
	if _, err := c.MetadataFile(t.Context(), "timestamp.json"); client.KindOf(err) != client.NotFound {
		t.Errorf("MetadataFile: got %v, want not found", err)
	}
	if _, err := c.SubmitMetadata(t.Context(), "root", []byte("{}")); client.KindOf(err) != client.Invalid {
		t.Errorf("SubmitMetadata: got %v, want invalid", err)
	}
	if err := c.DiscardMetadata(t.Context(), "root"); client.KindOf(err) != client.NotFound {
		t.Errorf("DiscardMetadata: got %v, want not found", err)
	}
}

func ExampleClient_Events() {
	ctx := context.Background()
	c, err := client.New("http://127.0.0.1:7080", "fb_op_...")
	if err != nil {
		return
	}
	for decision, err := range c.Events(ctx, "ro-k3v7q2xa5m", 0) {
		if err != nil {
			return
		}
		for _, record := range decision.Records {
			fmt.Println(record.Verdict, record.Reason)
		}
	}
}
