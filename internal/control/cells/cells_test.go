package cells_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/cells"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// wire answers requests without a network, so that time can be the test's.
type wire struct {
	mu     sync.Mutex
	answer func(*http.Request) (*http.Response, error)
	asked  []string
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, r.URL.String())
	return w.answer(r)
}

func (w *wire) say(status int, body string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = func(*http.Request) (*http.Response, error) {
		answer := httptest.NewRecorder()
		answer.WriteHeader(status)
		_, _ = answer.WriteString(body)
		return answer.Result(), nil
	}
}

func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answer = func(*http.Request) (*http.Response, error) { return nil, err }
}

func (w *wire) times() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked)
}

func told(t *testing.T, s api.CellState) string {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var manifest = release.DigestOf([]byte("manifest"))

// open makes Cells with a peer "us" that runs for the rest of the bubble.
func open(t *testing.T, w http.RoundTripper) *cells.Cells {
	t.Helper()
	c, err := cells.New(cells.Options{
		Peers: []cells.Peer{{Name: "us", URL: "https://us.example.net/firebreak", Token: "fb_peer_x"}}, Transport: w, Clock: clock.Wall{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return c
}

// rest lets time pass: in a bubble it takes none.
func rest(t *testing.T, d time.Duration) {
	t.Helper()
	_ = clock.Wall{}.Sleep(t.Context(), d)
}

func heard(c *cells.Cells) rollout.CellHeard {
	return c.Heard("rules", manifest, []string{"us"})[0]
}

// An answer stands for a while; then the cell is lost, since when it answered last, until it answers again.
func TestHeardAndLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		w.say(http.StatusOK, told(t, api.CellState{Cell: "us", Phase: "complete", Alarm: "quiet", Reason: "every ring is confirmed"}))
		c := open(t, w)
		live := func(d time.Duration) {
			for ; d > 0; d -= time.Second {
				heard(c)
				rest(t, time.Second)
			}
		}
		if got := heard(c); got.Lost != "it was not asked yet" || got.Phase != "" {
			t.Errorf("before it was asked: got %+v, want it lost", got)
		}
		live(2 * time.Second)
		want := rollout.CellHeard{Name: "us", Phase: rollout.Complete, Alarm: "quiet"}
		if diff := cmp.Diff(want, heard(c)); diff != "" {
			t.Errorf("heard (-want +got):\n%s", diff)
		}
		if got, want := w.asked[0], "https://us.example.net/firebreak/api/v1/cell/rules/"+string(manifest); got != want {
			t.Errorf("asked %s, want %s", got, want)
		}
		live(time.Minute)
		if n := w.times(); n < 10 || n > 16 {
			t.Errorf("asked %d times in a minute, want once in five seconds", n)
		}
		w.fail(fmt.Errorf("connection refused"))
		live(10 * time.Second)
		if got := heard(c); got.Lost != "" {
			t.Errorf("10 seconds later: got %+v, want the last answer to stand", got)
		}
		live(20 * time.Second)
		got := heard(c)
		if gone := (clock.Wall{}).Now().Sub(got.Since); got.Lost != "connection refused" || got.Phase != "" || gone > 40*time.Second || gone < 20*time.Second {
			t.Errorf("30 seconds later: got %+v, want it lost since then", got)
		}
		w.say(http.StatusOK, told(t, api.CellState{Cell: "us", Phase: "tripped", Alarm: "trip", Recalled: true, Reason: "crashes\n\x1b[31m" + strings.Repeat("x", 1000)}))
		live(10 * time.Second)
		got = heard(c)
		if got.Lost != "" || !got.Recalled || !strings.HasPrefix(got.Reason, "crashes  [31mxxx") || len(got.Reason) > 310 {
			t.Errorf("back again: got %+v", got)
		}
	})
}

// Whatever is no good answer is none.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	good := api.CellState{Cell: "us", Phase: "complete", Alarm: "quiet"}
	eu := good
	eu.Cell = "eu"
	for want, say := range map[string]func(*wire){
		"no answer within 5s": func(w *wire) {
			w.answer = func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() }
		},
		"does not take the token":   func(w *wire) { w.say(http.StatusUnauthorized, "") },
		"answered 503":              func(w *wire) { w.say(http.StatusServiceUnavailable, "") },
		"answered 302":              func(w *wire) { w.say(http.StatusFound, "") },
		"cannot be read":            func(w *wire) { w.say(http.StatusOK, "<html>") },
		`says that it is cell "eu"`: func(w *wire) { w.say(http.StatusOK, told(t, eu)) },
		`says that it is cell ""`:   func(w *wire) { w.say(http.StatusOK, "{}") },
		"answered more than":        func(w *wire) { w.say(http.StatusOK, told(t, good)+strings.Repeat(" ", 1<<20)) },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := &wire{}
				say(w)
				c := open(t, w)
				heard(c)
				rest(t, 10*time.Second)
				if got := heard(c); !strings.Contains(got.Lost, want) || got.Phase != "" {
					t.Errorf("got %+v, want it lost because it %s", got, want)
				}
			})
		})
	}
}

// A cell that nobody can ask is lost, and what nobody wants to know any more is not asked.
func TestStrangersAndOldQuestions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		w.say(http.StatusOK, told(t, api.CellState{Cell: "us"}))
		c := open(t, w)
		got := c.Heard("rules", manifest, []string{"moon", "us"})
		if len(got) != 2 || !strings.Contains(got[0].Lost, "no peer") || got[0].Name != "moon" {
			t.Errorf("got %+v, want that moon is no peer", got)
		}
		rest(t, 2*time.Minute)
		asked := w.times()
		rest(t, time.Minute)
		if w.times() != asked {
			t.Errorf("asked %d times more, want no more", w.times()-asked)
		}
		if got := heard(c); got.Lost == "" {
			t.Errorf("got %+v, want nothing of what was heard two minutes ago", got)
		}
		for i := range 2 * cells.MaxQuestions {
			c.Heard(fmt.Sprint("rules", i), manifest, []string{"us"})
		}
		rest(t, 2*time.Second)
		if n := w.times() - asked; n < 1000 || n > cells.MaxQuestions+10 {
			t.Errorf("asked %d times, want %d questions at most", n, cells.MaxQuestions)
		}
	})
}

// The token goes to the peer, and to nobody whom it redirects to.
func TestTokenStaysWithThePeer(t *testing.T) {
	t.Parallel()
	stolen := make(chan string, 10)
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { stolen <- r.Header.Get("Authorization") }))
	t.Cleanup(thief.Close)
	shown := make(chan string, 1)
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case shown <- r.Header.Get("Authorization"):
		default:
		}
		http.Redirect(w, r, thief.URL, http.StatusFound)
	}))
	t.Cleanup(peer.Close)
	c, err := cells.New(cells.Options{
		Peers: []cells.Peer{{Name: "us", URL: peer.URL, Token: "fb_peer_x"}}, Every: time.Millisecond, Clock: clock.Wall{}, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	heard(c)
	if got := <-shown; got != "Bearer fb_peer_x" {
		t.Errorf("the peer was shown %q", got)
	}
	for tries := 0; !strings.Contains(heard(c).Lost, "302"); tries++ {
		if rest(t, time.Millisecond); tries > 20_000 {
			t.Fatalf("got %+v, want the redirect refused", heard(c))
		}
	}
	stop()
	<-done
	if len(stolen) > 0 {
		t.Errorf("the thief was shown %q", <-stolen)
	}
}

func TestPeers(t *testing.T) {
	t.Parallel()
	got, err := cells.Peers([]string{"us=https://us.example.net:7080", "eu=http://127.0.0.1:7080"}, "# tokens\n\nus fb_peer_a\n eu  fb_peer_b \n")
	want := []cells.Peer{{"us", "https://us.example.net:7080", "fb_peer_a"}, {"eu", "http://127.0.0.1:7080", "fb_peer_b"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("got error %v, peers (-want +got):\n%s", err, diff)
	}
	for says, flags := range map[string][]string{
		"NAME=URL":            {"https://us.example.net"},
		"given twice":         {"us=https://a.example", "us=https://b.example"},
		"must have a URL":     {"us=us.example.net"},
		"clear text":          {"us=http://us.example.net"},
		"has no token":        {"eu=https://eu.example.net"},
		"which is no --peer":  nil,
		"must be a cell's na": {"us=https://us.example.net", "secret"},
	} {
		tokens := "us fb_peer_a\n"
		if len(flags) > 1 && flags[1] == "secret" {
			flags, tokens = flags[:1], "us fb_peer_a\nfb_peer_alone\n"
		}
		_, err := cells.Peers(flags, tokens)
		if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "fb_peer") {
			t.Errorf("peers %q: got error %v, want one that says %q and no secret", flags, err, says)
		}
	}
}
