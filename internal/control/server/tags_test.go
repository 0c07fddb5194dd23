package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

// asks sends a request of the world's operator with further headers, in pairs.
func asks(t *testing.T, w *servertest.World, method, path, body string, headers ...string) (servertest.Answer, string) {
	t.Helper()
	all := map[string]string{"Authorization": "Bearer " + w.Token}
	for i := 0; i < len(headers); i += 2 {
		all[headers[i]] = headers[i+1]
	}
	return servertest.Send(t, method, w.URL+path, body, all)
}

func TestTagsGuardWhatIsReplaced(t *testing.T) {
	t.Parallel()
	const plan = `{"name":"p","rings":[{"name":"a","hosts":2},{"name":"b","share":1}]}`
	const other = `{"name":"p","rings":[{"name":"a","hosts":3},{"name":"b","share":1}]}`
	for path, bodies := range map[string][2]string{
		"/api/v1/plans/p":      {plan, other},
		"/api/v1/components/c": {`{"kind":"content"}`, `{"kind":"content","validation":"none"}`},
		"/api/v1/freezes":      {`{"freezes":[{"name":"July","from":"2024-07-01","to":"2024-07-31"}]}`, `{"freezes":[]}`},
	} {
		w := servertest.Open(t, nil)
		put := func(want int, body string, headers ...string) servertest.Answer {
			t.Helper()
			answer, text := asks(t, w, http.MethodPut, path, body, headers...)
			if answer.StatusCode != want {
				t.Errorf("PUT %s %v: got %d %s, want %d", path, headers, answer.StatusCode, text, want)
			}
			return answer
		}
		if path != "/api/v1/freezes" { // which are always there
			put(http.StatusPreconditionFailed, bodies[0], "If-Match", `"0123"`)
			put(http.StatusOK, bodies[0], "If-None-Match", "*")
		}
		first := put(http.StatusOK, bodies[0])
		put(http.StatusPreconditionFailed, bodies[0], "If-None-Match", "*")
		got, _ := asks(t, w, http.MethodGet, path, "")
		tag := got.Header.Get("ETag")
		if tag == "" || strings.HasPrefix(tag, "W/") || tag != first.Header.Get("ETag") {
			t.Errorf("GET %s: got ETag %s, want a strong one, that of the PUT: %s", path, tag, first.Header.Get("ETag"))
		}
		if got, body := asks(t, w, http.MethodGet, path, "", "If-None-Match", `"x", `+tag); got.StatusCode != http.StatusNotModified || body != "" {
			t.Errorf("GET %s with its tag: got %d %q, want 304", path, got.StatusCode, body)
		}
		put(http.StatusOK, bodies[1], "If-Match", tag)
		answer, text := asks(t, w, http.MethodPut, path, bodies[0], "If-Match", tag)
		if p := problem(t, answer, text); p.Status != http.StatusPreconditionFailed || !strings.Contains(p.Detail, "changed since it was read: ") || p.Next == "" {
			t.Errorf("PUT %s with an old tag: got %s, want 412 that says what there is now", path, text)
		}
		if got, _ := asks(t, w, http.MethodGet, path, "", "If-None-Match", tag); got.StatusCode != http.StatusOK {
			t.Errorf("GET %s with an old tag: got %d, want 200", path, got.StatusCode)
		}
	}
}

// Whoever acts on what he saw is told what happened instead.
func TestACommandOnARolloutThatWentOnSaysWhatHappened(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	w.Do("POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`)
	seen, _ := asks(t, w, http.MethodGet, "/api/v1/rollouts/ro-1", "")
	tag := seen.Header.Get("ETag")
	if again, _ := asks(t, w, http.MethodGet, "/api/v1/rollouts/ro-1", "", "If-None-Match", tag); again.StatusCode != http.StatusNotModified {
		t.Errorf("unchanged: got %d, want 304", again.StatusCode)
	}
	answer, text := asks(t, w, "POST", "/api/v1/rollouts/ro-1/pause", `{"reason":"lunch","phase":"running"}`, "If-Match", tag)
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("a command on what is as it was seen: got %d %s", answer.StatusCode, text)
	}
	for name, c := range map[string]struct{ body, tag string }{
		"revision": {"", tag}, "phase": {`{"phase":"running"}`, ""}, "revision alone": {"", `"1"`}, "no tag of ours": {"", `"x"`},
	} {
		var headers []string
		if c.tag != "" {
			headers = []string{"If-Match", c.tag}
		}
		refused, why := asks(t, w, "POST", "/api/v1/rollouts/ro-1/halt", c.body, headers...)
		p := problem(t, refused, why)
		if p.Status != http.StatusPreconditionFailed || !strings.Contains(p.Detail, "it is paused, at revision 2") || !strings.Contains(p.Detail, `paused at 2024-07-19 04:09:00 UTC (operator token "alice"`) {
			t.Errorf("%s: got %s, want 412 that tells of the pause", name, why)
		}
	}
	now, _ := asks(t, w, http.MethodGet, "/api/v1/rollouts/ro-1", "")
	for _, tag := range []string{now.Header.Get("ETag"), "*"} {
		answer, text = asks(t, w, "POST", "/api/v1/rollouts/ro-1/"+map[string]string{"*": "halt"}[tag]+map[bool]string{true: "resume"}[tag != "*"], "", "If-Match", tag)
		if answer.StatusCode != http.StatusOK {
			t.Errorf("with tag %s: got %d %s, want 200", tag, answer.StatusCode, text)
		}
	}
}
