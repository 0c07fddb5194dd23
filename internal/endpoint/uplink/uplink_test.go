package uplink

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// replica is one address of a control plane. It counts connections and requests.
type replica struct {
	*httptest.Server
	status               atomic.Int32 // of its answers; 0: OK
	asked, conns, resume atomic.Int32
	answer               atomic.Pointer[http.HandlerFunc] // nil: an empty object
}

func newReplica(t *testing.T) *replica {
	t.Helper()
	r := &replica{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.asked.Add(1)
		if h := r.answer.Load(); h != nil {
			(*h)(w, q)
			return
		}
		_, _ = io.Copy(io.Discard, q.Body)
		if status := r.status.Load(); status != 0 {
			w.WriteHeader(int(status))
		}
		_, _ = io.WriteString(w, "{}")
	}))
	r.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			r.conns.Add(1)
		}
	}
	r.TLS = &tls.Config{MinVersion: tls.VersionTLS13, VerifyConnection: func(state tls.ConnectionState) error {
		if state.DidResume {
			r.resume.Add(1)
		}
		return nil
	}}
	r.StartTLS()
	t.Cleanup(r.Close)
	return r
}

func (r *replica) does(h http.HandlerFunc) { r.answer.Store(&h) }

// clientOf makes a client of some replicas, which is at home at the first of them.
func clientOf(t *testing.T, all ...*replica) *Client {
	t.Helper()
	bases := make([]string, len(all))
	for i, r := range all {
		bases[i] = r.URL
	}
	for n := range 1000 {
		config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: all[0].Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
		c := Any(bases, fmt.Sprint(n), config)
		if "https://"+c.servers.all[0].host == all[0].URL && (len(all) < 2 || "https://"+c.servers.all[1].host == all[1].URL) {
			t.Cleanup(c.Close)
			return c
		}
	}
	t.Fatal("no endpoint is at home at the first replica")
	return nil
}

func (r *replica) wantAsked(t *testing.T, want int32) {
	t.Helper()
	if got := r.asked.Swap(0); got != want {
		t.Errorf("%s: got %d requests, want %d", r.URL, got, want)
	}
}

func ok(t *testing.T, c *Client) {
	t.Helper()
	if _, err := c.CheckIn(t.Context(), api.CheckIn{Boot: "boot"}); err != nil {
		t.Fatal(err)
	}
}

// An address that cannot be reached costs nothing but a moment: the same request goes to the next one, which is stayed with.
func TestNextAddressWhenOneIsGone(t *testing.T) {
	t.Parallel()
	a, b, c := newReplica(t), newReplica(t), newReplica(t)
	client := clientOf(t, a, b, c)
	ok(t, client)
	a.wantAsked(t, 1)
	a.Close()
	ok(t, client)
	ok(t, client)
	b.wantAsked(t, 2)
	b.Close()
	ok(t, client)
	c.wantAsked(t, 1)
	c.Close()
	if _, err := client.CheckIn(t.Context(), api.CheckIn{}); fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), b.URL) {
		t.Errorf("all gone: got %v, want that none of them can be reached", err)
	}
}

// A request that an address may have seen is not sent to another one: whoever sent it waits, and goes to the next one then. One that is
// refused for what it says stays where it is.
func TestNextAddressAfterAFailure(t *testing.T) {
	t.Parallel()
	hangUp := func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = conn.Close()
		}
	}
	answers := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for name, of := range map[string]struct {
		answer http.HandlerFunc
		leaves bool
	}{
		"hangs up": {hangUp, true}, "unavailable": {answers(503), true}, "of a gateway": {answers(502), true},
		"too many": {answers(429), false}, "denied": {answers(403), false}, "broken": {answers(500), false},
	} {
		a, b := newReplica(t), newReplica(t)
		client := clientOf(t, a, b)
		a.does(of.answer)
		if _, err := client.CheckIn(t.Context(), api.CheckIn{}); err == nil {
			t.Errorf("%s: got no error", name)
		}
		b.wantAsked(t, 0)
		if _, err := client.CheckIn(t.Context(), api.CheckIn{}); (err == nil) != of.leaves {
			t.Errorf("%s: then got %v, want it left: %t", name, err, of.leaves)
		}
	}
}

// An address that does not even refuse is left, also when the request's time is over; what the caller calls off says nothing.
func TestNextAddressAfterSilence(t *testing.T) {
	t.Parallel()
	a, b := newReplica(t), newReplica(t)
	client := clientOf(t, a, b)
	called, off := context.WithCancel(t.Context())
	a.does(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		off()
		<-r.Context().Done()
	})
	if _, err := client.CheckIn(called, api.CheckIn{}); err == nil || client.servers.current() != 0 {
		t.Errorf("called off: got %v at %d, want an error at the first", err, client.servers.current())
	}
	late, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := client.CheckIn(late, api.CheckIn{}); err == nil {
		t.Error("got an answer of an address that gives none")
	}
	ok(t, client)
	b.wantAsked(t, 1)
}

// Artifacts come from where the check-in goes, over the same connection.
func TestArtifactsFollow(t *testing.T) {
	t.Parallel()
	a, b := newReplica(t), newReplica(t)
	client := clientOf(t, a, b)
	a.Close()
	ok(t, client)
	h, url := client.Artifact("sha256:00")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := h.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	b.wantAsked(t, 2)
	if got := b.conns.Load(); got != 1 {
		t.Errorf("got %d connections, want one for both", got)
	}
}

// An endpoint goes back to its own address after a while, so that a replica which was restarted does not stay empty.
func TestEndpointsComeHome(t *testing.T) {
	t.Parallel()
	a, b := newReplica(t), newReplica(t)
	client := clientOf(t, a, b)
	a.status.Store(http.StatusServiceUnavailable)
	_, _ = client.CheckIn(t.Context(), api.CheckIn{})
	a.status.Store(0)
	a.wantAsked(t, 1)
	for range client.servers.home {
		ok(t, client)
	}
	a.wantAsked(t, 0)
	ok(t, client)
	a.wantAsked(t, 1)
}

// Every address is the first of an equal part of all endpoints; and when it is gone the others take over equal parts.
func TestEndpointsAreSpread(t *testing.T) {
	t.Parallel()
	bases := []string{"https://a:7443", "https://b:7443", "https://c:7443", "https://d:7443"}
	const endpoints = 12_000
	first, second := map[string]int{}, map[string]int{}
	for n := range endpoints {
		s := newServers(bases, fmt.Sprint("ep_", n), &http.Transport{})
		first[s.all[0].host]++
		if s.all[0].host == "a:7443" {
			second[s.all[1].host]++
		}
		if s.home < homing || s.home >= 2*homing || len(s.all) != 4 {
			t.Fatalf("got %+v", s)
		}
	}
	for of, want := range map[*map[string]int]int{&first: endpoints / 4, &second: endpoints / 4 / 3} {
		for host, n := range *of {
			if math.Abs(float64(n-want)) > 0.1*float64(want) {
				t.Errorf("%s: got %d endpoints, want about %d", host, n, want)
			}
		}
	}
	if len(first) != 4 || len(second) != 3 {
		t.Errorf("got %v and %v, want all addresses", first, second)
	}
}

// A connection is kept as long as the server keeps it, and a session is resumed on the next one: a poll costs no full handshake.
func TestSessionsAreResumed(t *testing.T) {
	t.Parallel()
	a := newReplica(t)
	client := clientOf(t, a)
	ok(t, client)
	ok(t, client)
	if conns := a.conns.Load(); conns != 1 {
		t.Errorf("got %d connections, want one that is kept", conns)
	}
	a.does(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		_, _ = io.WriteString(w, "{}")
	})
	for range 3 {
		ok(t, client)
	}
	if conns, resumed := a.conns.Load(), a.resume.Load(); conns != 3 || resumed != 2 {
		t.Errorf("got %d connections and %d resumed, want one for each answer that closes it, all but the first resumed", conns, resumed)
	}
}

// A server that closed the connection meanwhile is no failure.
func TestStaleConnectionIsNoFailure(t *testing.T) {
	t.Parallel()
	a := newReplica(t)
	client := clientOf(t, a)
	for range 20 {
		ok(t, client)
		a.CloseClientConnections()
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status      int
		value, date string
		want        time.Duration
		told        bool
	}{
		{503, "7", "", 7 * time.Second, true},
		{429, "120", "", 2 * time.Minute, true},
		{503, "-5", "", 0, true},
		{503, "9223372036854775807", "", longest, true},
		{503, "92233720368547758070", "", 0, false},
		{503, "soon", "", 0, false},
		{503, "Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 07:28:00 GMT", 30 * time.Second, true},
		{503, "Wed, 21 Oct 2015 07:28:30 GMT", "Wed, 21 Oct 2015 08:28:00 GMT", 0, true},
		{503, "Wed, 21 Oct 2015 07:28:30 GMT", "today", 0, false},
		{503, "", "", 0, false},
		{500, "7", "", 0, false},
	} {
		a := newReplica(t)
		a.does(func(w http.ResponseWriter, _ *http.Request) {
			if c.value != "" {
				w.Header().Set("Retry-After", c.value)
			}
			if c.date != "" {
				w.Header().Set("Date", c.date)
			}
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, `{"type":"urn:firebreak:unavailable","detail":"busy","next":"wait"}`)
		})
		_, err := clientOf(t, a).CheckIn(t.Context(), api.CheckIn{})
		var later *Later
		if told := errors.As(err, &later); told != c.told || told && later.RetryAfter() != c.want {
			t.Errorf("%d with Retry-After %q: got %v, want %s (%t)", c.status, c.value, err, c.want, c.told)
		}
		if fault.KindOf(err) != fault.Unavailable || fault.NextOf(err) != "wait" {
			t.Errorf("%d: got %v, want the problem as it was sent", c.status, err)
		}
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stream string
		want   string // l: look, a: alive
		kind   fault.Kind
	}{
		"words":         {"data: look\n\n: still here\n\ndata: look\r\n\r\ndata: something new\n\n", "alala", ""},
		"nothing":       {"", "a", ""},
		"cut off":       {"data: look\n\ndata: lo", "al", ""},
		"a long line":   {"data: look\n\n: " + strings.Repeat("x", maxLine) + "\n", "al", fault.Denied},
		"without end":   {strings.Repeat("\n", 2*maxStream) + "data: look\n\n", "a", ""},
		"only just fit": {strings.Repeat("\n", maxStream-len("data: look\n")) + "data: look\n", "al", ""},
	} {
		a := newReplica(t)
		a.does(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, c.stream)
		})
		var got strings.Builder
		err := clientOf(t, a).Events(t.Context(), func(look bool) {
			word := "a"
			if look {
				word = "l"
			}
			got.WriteString(word)
		})
		if (err != nil) != (c.kind != "") || err != nil && fault.KindOf(err) != c.kind || got.String() != c.want {
			t.Errorf("%s: heard %q, %v, want %q and kind %q", name, got.String(), err, c.want, c.kind)
		}
	}
}

func TestEventsAreRefused(t *testing.T) {
	t.Parallel()
	a := newReplica(t)
	client, never := clientOf(t, a), func(bool) { t.Error("heard something") }
	a.status.Store(http.StatusNoContent)
	if err := client.Events(t.Context(), never); !errors.Is(err, ErrNoEvents) {
		t.Errorf("no line: got %v, want %v", err, ErrNoEvents)
	}
	a.status.Store(http.StatusForbidden)
	if err := client.Events(t.Context(), never); err == nil {
		t.Error("denied: got no error")
	}
	a.Close()
	if err := client.Events(t.Context(), never); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("gone: got %v, want unavailable", err)
	}
}

// A line ends with its context, however quiet it is.
func TestEventsEnd(t *testing.T) {
	t.Parallel()
	a := newReplica(t)
	a.does(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithCancel(t.Context())
	var once sync.Once
	if err := clientOf(t, a).Events(ctx, func(bool) { once.Do(cancel) }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
}

// counted counts what goes over a connection, under TLS.
type counted struct {
	net.Conn
	in, out *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.in.Add(int64(n))
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.out.Add(int64(n))
	return n, err
}

// A poll that has nothing to say is one packet, and so is a large answer that has nothing to say to eight components; the headers of all
// that a server could say are bounded.
func TestPollFitsAPacket(t *testing.T) {
	t.Parallel()
	a := newReplica(t)
	var reply strings.Builder
	reply.WriteString(`{"directives":{`)
	for n := range 8 {
		fmt.Fprintf(&reply, `"component-with-a-name-%d":1234567,`, n)
	}
	reply.WriteString(`"x":1},"poll_ms":30000,"reported":1234567,"now":"2026-03-01T12:00:00.123456789Z"}`)
	a.does(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, reply.String())
	})
	client := clientOf(t, a)
	var in, out atomic.Int64
	transport := client.servers.transport
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		return counted{c, &in, &out}, err
	}
	poll := func() {
		t.Helper()
		if _, err := client.CheckIn(t.Context(), api.CheckIn{}); err != nil {
			t.Fatal(err)
		}
	}
	poll()
	poll() // what the handshake left is read by now
	in.Store(0)
	out.Store(0)
	poll()
	t.Logf("%d bytes there, %d bytes back, with TLS", out.Load(), in.Load())
	if out.Load() == 0 || out.Load() >= 1200 || in.Load() == 0 || in.Load() >= 1200 {
		t.Errorf("got %d bytes there and %d back, want less than 1,200 each", out.Load(), in.Load())
	}
	a.does(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 2*maxHeader)) })
	if _, err := client.CheckIn(t.Context(), api.CheckIn{}); err == nil {
		t.Error("got an answer with headers without end, want an error")
	}
}
