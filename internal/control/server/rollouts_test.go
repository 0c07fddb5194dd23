package server_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
)

// Two people are two tokens: the same token never counts twice, and two tokens with one note do.
func TestTwoApproversAreTwoTokens(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	together := servertest.Plan()
	together.Name, together.Approvals = "together", 2
	document, err := json.Marshal(together)
	if err != nil {
		t.Fatal(err)
	}
	send := func(token, method, path, body string, want int) api.Rollout {
		t.Helper()
		answer, text := servertest.Send(t, method, w.URL+path, body, map[string]string{"Authorization": "Bearer " + token})
		if answer.StatusCode != want {
			t.Fatalf("%s %s: got %d, want %d: %s", method, path, answer.StatusCode, want, text)
		}
		var r api.Rollout
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	w.Do("PUT", "/api/v1/plans/together", string(document))
	r := send(w.Token, "POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1","plan":"together"}`, http.StatusCreated)
	if r.Phase != "proposed" || r.Approvals != 2 || len(r.Approved) != 1 {
		t.Errorf("after the start it is %s with %d of %d approvals, want proposed with 1 of 2", r.Phase, len(r.Approved), r.Approvals)
	}
	if refusal := w.Ask("ro-1", 1); refusal == "" {
		t.Error("a host gets a lease of a proposed rollout, want none before enough people agreed")
	}
	send(w.Token, "POST", "/api/v1/rollouts/ro-1/approve", "", http.StatusConflict)
	namesake := w.Mint(store.Token{Kind: store.OperatorToken, Note: "alice"})
	r = send(namesake, "POST", "/api/v1/rollouts/ro-1/approve", `{"reason":"looked at it"}`, http.StatusOK)
	if r.Phase != "running" || len(r.Approved) != 2 {
		t.Errorf("after another token agreed it is %s with %q, want running with two", r.Phase, r.Approved)
	}
	w.Pass(1)
	if refusal := w.Ask("ro-1", 1); refusal != "" {
		t.Errorf("the first host has to wait: %s", refusal)
	}
}
