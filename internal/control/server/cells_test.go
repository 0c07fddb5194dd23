package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func cellState(t *testing.T, w *servertest.World, token, manifest string) (api.CellState, int) {
	t.Helper()
	answer, body := servertest.Send(t, http.MethodGet, w.URL+api.CellPath+"sensor-content/"+manifest, "", map[string]string{"Authorization": "Bearer " + token})
	var s api.CellState
	if answer.StatusCode == http.StatusOK {
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			t.Fatal(err)
		}
	}
	return s, answer.StatusCode
}

// A peer is told how a release stands: that it is not here, how its rollout goes, and that it was recalled.
func TestCellState(t *testing.T) {
	t.Parallel()
	leads := error(nil)
	w := servertest.Open(t, func(o *server.Options) {
		o.Cell, o.Leads = "eu", func(context.Context) error { return leads }
	})
	peer := w.Mint(store.Token{Kind: store.PeerToken, Note: "us"})
	w.Publish("sensor-content", "1")
	if s, status := cellState(t, w, peer, "sha256:00"); status != http.StatusOK || s != (api.CellState{Cell: "eu"}) {
		t.Errorf("a release that is not here: got %d %+v, want none", status, s)
	}
	w.Join(4, "sensor-content")
	_, body := w.Do(http.MethodPost, "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`)
	var r api.Rollout
	if err := json.Unmarshal([]byte(body), &r); err != nil || r.Manifest == "" {
		t.Fatalf("got %s, error %v, want a rollout with its manifest", body, err)
	}
	if s, _ := cellState(t, w, peer, r.Manifest); s.Cell != "eu" || s.Rollout != r.ID || s.Phase != "running" || s.Alarm != "quiet" || s.Recalled || s.Ended != nil {
		t.Errorf("while it runs: got %+v", s)
	}
	w.Do(http.MethodPost, "/api/v1/rollouts/"+r.ID+"/rollback", `{"reason":"odd"}`)
	if s, _ := cellState(t, w, peer, r.Manifest); s.Phase != "rolled_back" || !s.Recalled || !strings.Contains(s.Reason, "odd") || s.Ended == nil {
		t.Errorf("after a rollback: got %+v", s)
	}
	if s, _ := cellState(t, w, w.Token, r.Manifest); !s.Recalled {
		t.Errorf("an operator: got %+v", s)
	}
	leads = fault.New(fault.Unavailable, "nobody leads")
	if _, status := cellState(t, w, peer, r.Manifest); status != http.StatusServiceUnavailable {
		t.Errorf("while nobody decides: got %d, want no answer", status)
	}
}

// A peer's token opens that one path.
func TestPeerTokenOpensNothingElse(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	_, body := w.Do(http.MethodPost, "/api/v1/tokens", `{"kind":"peer","note":"us"}`)
	var made api.Token
	if err := json.Unmarshal([]byte(body), &made); err != nil || !strings.HasPrefix(made.Secret, "fb_peer_") || made.Expires != nil {
		t.Fatalf("got %s, error %v, want a token of a peer", body, err)
	}
	if _, status := cellState(t, w, made.Secret, "sha256:00"); status != http.StatusOK {
		t.Fatalf("got %d, want the token to open how releases stand", status)
	}
	header := map[string]string{"Authorization": "Bearer " + made.Secret}
	d := descriptionOf(t, w)
	for path, item := range d.Paths {
		for method := range item {
			if strings.HasPrefix(path, api.CellPath) || path == "/healthz" || path == "/api/v1/openapi.json" || path+method == "/api/v1/sessionpost" {
				continue // the last one takes a token in its document, and refuses a peer's
			}
			answer, _ := servertest.Send(t, strings.ToUpper(method), w.URL+strings.NewReplacer("{", "", "}", "").Replace(path), "", header)
			if answer.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s %s: got %d, want the token refused", method, path, answer.StatusCode)
			}
		}
	}
	w.Do(http.MethodDelete, "/api/v1/tokens/"+made.ID, "")
	if _, status := cellState(t, w, made.Secret, "sha256:00"); status != http.StatusUnauthorized {
		t.Errorf("revoked: got %d, want it refused", status)
	}
	join := w.Mint(store.Token{Kind: store.JoinToken, Tenant: "default", Left: 1})
	if _, status := cellState(t, w, join, "sha256:00"); status != http.StatusUnauthorized {
		t.Errorf("a join token: got %d, want it refused", status)
	}
}
