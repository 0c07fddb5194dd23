package problem_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/problem"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	mistakes := fault.Problems("read the plan", []fault.Problem{{Path: "rings", Message: "has none", Line: 3}, {Path: "name", Message: "is missing"}})
	for _, c := range []struct {
		name string
		err  error
		want api.Problem
	}{
		{
			"invalid", fault.New(fault.Invalid, "read x: it is wrong").Hint("mend it"),
			api.Problem{Type: "urn:firebreak:invalid", Title: "invalid", Status: 400, Detail: "read x: it is wrong", Next: "mend it"},
		},
		{
			"every mistake", fmt.Errorf("start a rollout: %w", mistakes),
			api.Problem{
				Type: "urn:firebreak:invalid", Title: "invalid", Status: 400, Detail: "start a rollout: read the plan",
				Problems: []api.FieldProblem{{Path: "rings", Message: "has none", Line: 3}, {Path: "name", Message: "is missing"}},
			},
		},
		{
			"mistakes inside of another fault", fault.New(fault.Conflict, "start: %w", mistakes),
			api.Problem{
				Type: "urn:firebreak:conflict", Title: "conflict", Status: 409, Detail: "start: read the plan",
				Problems: []api.FieldProblem{{Path: "rings", Message: "has none", Line: 3}, {Path: "name", Message: "is missing"}},
			},
		},
		{
			"not found", fault.New(fault.NotFound, "find x: there is none"),
			api.Problem{Type: "urn:firebreak:not_found", Title: "not found", Status: 404, Detail: "find x: there is none"},
		},
		{"denied", fault.New(fault.Denied, "no"), api.Problem{Type: "urn:firebreak:denied", Title: "denied", Status: 403, Detail: "no"}},
		{
			"unavailable", fault.New(fault.Unavailable, "later"),
			api.Problem{Type: "urn:firebreak:unavailable", Title: "unavailable", Status: 503, Detail: "later"},
		},
		{
			"our own fault", fault.New(fault.Internal, "the password is hunter2").Hint("look into /etc/secret"),
			api.Problem{Type: "urn:firebreak:internal", Title: "internal", Status: 500, Detail: "internal error"},
		},
		{
			"an error without a kind", errors.New("the password is hunter2"),
			api.Problem{Type: "urn:firebreak:internal", Title: "internal", Status: 500, Detail: "internal error"},
		},
	} {
		w := httptest.NewRecorder()
		w.Header().Set("ETag", `"1"`)
		w.Header().Set("Content-Length", "9000")
		problem.Write(w, c.err, "request-7")
		c.want.Request, c.want.Instance = "request-7", "urn:firebreak:request:request-7"
		var got api.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Errorf("%s: got %s: %v", c.name, w.Body, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || w.Code != c.want.Status {
			t.Errorf("%s: got status %d, problem (-want +got):\n%s", c.name, w.Code, diff)
		}
		h := w.Header()
		if h.Get("Content-Type") != api.ProblemType || h.Get("ETag") != "" || h.Get("Content-Length") != strconv.Itoa(w.Body.Len()) {
			t.Errorf("%s: got header %v, want that of a problem only", c.name, h)
		}
		if (h.Get("Retry-After") != "") != (w.Code == http.StatusServiceUnavailable) {
			t.Errorf("%s: got Retry-After %q with status %d", c.name, h.Get("Retry-After"), w.Code)
		}
	}
}

func TestWriteStatus(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	problem.WriteStatus(w, http.StatusRequestEntityTooLarge, fault.New(fault.Invalid, "read the request: too large"), "")
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("got status %d, want 413", w.Code)
	}
}
