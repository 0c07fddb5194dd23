package ingest_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
)

// seeds are bodies to begin with.
func seeds(f *testing.F, bodies ...any) {
	f.Helper()
	for _, body := range bodies {
		data, err := json.Marshal(body)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, text := range []string{``, `{}`, ` { }`, `null`, `[]`, `{"reports":[{"seq":-1}]}`, `{"reports":[{"seq":9223372036854775807}]}`, `{"components":{"":{}}}`, "{\"boot\":\"\xff\"}"} {
		f.Add([]byte(text))
	}
}

func sent(path string, body []byte, chain []*x509.Certificate) *http.Request {
	r := request(chain)
	r.URL.Path = path
	r.Body, r.ContentLength = nopCloser{bytes.NewReader(body)}, int64(len(body))
	return r
}

// FuzzCheckIn sends anything as a check-in: the handler answers 200, or a problem that is the sender's fault and changes nothing, and never
// panics.
func FuzzCheckIn(f *testing.F) {
	w := open(f)
	h := w.enrolled()
	handler, chain := w.ingest.Handler(), h.chain()
	seeds(f, full(), api.CheckIn{Reports: reports(1, 2), Wishes: []api.Wish{{Component: component}}}, api.CheckIn{Leaving: true, Posture: &api.Posture{}})
	f.Fuzz(func(t *testing.T, body []byte) {
		before, _ := w.fleet.Get(h.id)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, sent(api.PathCheckIn, body, chain))
		after, _ := w.fleet.Get(h.id)
		switch answer.Code {
		case http.StatusOK:
			var reply api.CheckInReply
			if err := json.Unmarshal(answer.Body.Bytes(), &reply); err != nil || reply.PollMillis <= 0 {
				t.Errorf("got %s, want a reply", answer.Body)
			}
			if len(after.Components) > 64 || len(after.Boot) > 256 {
				t.Errorf("got %d components and a boot id of %d bytes kept", len(after.Components), len(after.Boot))
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("got a host changed by what was refused (-before +after):\n%s", diff)
			}
		default:
			t.Errorf("got %d %s, want 200 or 400", answer.Code, answer.Body)
		}
	})
}

// FuzzEnrol sends anything as a request to join, with a good token wherever it says "token": who is refused has joined nothing, and has not
// used the token up for a fault of the request.
func FuzzEnrol(f *testing.F) {
	w := open(f)
	h := w.stranger()
	secret := w.mint(store.Token{Left: 1 << 40})
	handler := w.ingest.Handler()
	good := api.EnrolRequest{Token: "token", CSR: h.csr(), Labels: map[string]string{"role": "web"}}
	seeds(f, good, api.EnrolRequest{Token: "token"}, api.EnrolRequest{Token: "token", CSR: h.csr(), Labels: labels(65)}, api.RenewRequest{CSR: h.csr()})
	left := func() int64 {
		tokens, err := w.db.Tokens(context.Background())
		if err != nil {
			return -1
		}
		return tokens[0].Left
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		hosts, uses := w.fleet.Len(), left()
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, sent(api.PathEnrol, bytes.ReplaceAll(body, []byte(`"token":"token"`), []byte(`"token":"`+secret+`"`)), nil))
		switch answer.Code {
		case http.StatusOK:
			if got := left(); got != uses-1 {
				t.Errorf("got %d uses left, want %d", got, uses-1)
			}
		case http.StatusBadRequest, http.StatusForbidden, http.StatusRequestEntityTooLarge:
			if got := left(); w.fleet.Len() != hosts || got != uses {
				t.Errorf("refused with %d: got %d hosts and %d uses left, want %d and %d", answer.Code, w.fleet.Len(), got, hosts, uses)
			}
		default:
			t.Errorf("got %d %s, want 200, 400 or 403", answer.Code, answer.Body)
		}
	})
}
