package ingest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// What is answered without encoding/json is what encoding/json would write, whatever the host has and whatever is new.
func TestUnchangedAnswersTheSame(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	handler, chain := w.ingest.Handler(), h.chain()
	post := func(body string) string {
		return answered(t, handler, sent(api.PathCheckIn, []byte(body), chain)).Body.String()
	}
	several := full()
	several.Components["nginx"], several.Components["other"] = api.Component{Phase: "idle"}, api.Component{Phase: "idle"}
	for _, c := range []struct {
		name   string
		change func()
	}{
		{"nothing known", func() {}},
		{"components", func() { h.checkIn(full()) }},
		{"several", func() { h.checkIn(several) }},
		{"a new directive", func() { w.engine.sequence[component]++ }},
		{"another has one", func() { w.engine.sequence["nginx"] = 1 << 40 }},
		{"it has reported", func() { h.checkIn(api.CheckIn{Reports: reports(1, 2, 3)}) }},
		{"it is on its way", func() { several.Components["other"] = api.Component{Phase: "proving"}; h.checkIn(several) }},
		{"it is exposed", func() { w.engine.pending.Store(true) }},
		{"years later", func() { w.clock.Move(1000 * time.Hour) }},
	} {
		c.change()
		want := post(`{"leaving": false}`)
		for _, body := range []string{"{}", " {}\n"} {
			if got := post(body); got != want {
				t.Errorf("%s: got %s for %q, want %s", c.name, got, body, want)
			}
		}
	}
}

// A check-in that changes nothing makes next to no garbage: what there is belongs to the recorder and the routes.
func TestUnchangedAllocatesLittle(t *testing.T) { // not beside others: it counts what is allocated
	w := open(t)
	h := w.enrolled()
	h.checkIn(full())
	handler := w.ingest.Handler()
	body := bytes.NewReader(nil)
	r := request(h.chain())
	r = r.WithContext(w.ingest.ConnContext(context.Background(), nil))
	r.Body, r.ContentLength = nopCloser{body}, 2
	answer := &silent{header: http.Header{}}
	got := testing.AllocsPerRun(200, func() {
		body.Reset([]byte("{}"))
		handler.ServeHTTP(answer, r)
	})
	if answer.status != 0 || answer.bytes == 0 || got > 4 {
		t.Errorf("got %.0f allocations, status %d, %d bytes; want at most 4, and an answer", got, answer.status, answer.bytes)
	}
}

// silent is a ResponseWriter that keeps nothing.
type silent struct {
	header        http.Header
	status, bytes int
}

func (s *silent) Header() http.Header { return s.header }

func (s *silent) WriteHeader(status int) { s.status = status }

func (s *silent) Write(data []byte) (int, error) {
	s.bytes += len(data)
	return len(data), nil
}

// A connection remembers whose certificate it has, and nobody else's; who is not enrolled is refused on an old connection, too.
func TestIdentityIsKeptByConnection(t *testing.T) {
	t.Parallel()
	w := open(t)
	one, other, nobody := w.enrolled(), w.enrolled(), w.stranger()
	der, _, err := w.ca.SignEndpoint(nobody.csr())
	w.ok(err)
	nobody.der = der
	handler := w.ingest.Handler()
	ctx := w.ingest.ConnContext(t.Context(), nil)
	one.checkIn(full())
	for round, h := range []*host{one, one, other, one, nobody, one} {
		w.clock.Move(time.Second)
		r := sent(api.PathCheckIn, []byte("{}"), nil).WithContext(ctx)
		r.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{h.chain()}}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, r)
		if h == nobody {
			problem(t, answer.Code, answer.Body.Bytes(), http.StatusForbidden, "is not enrolled here")
			continue
		}
		if e, _ := w.fleet.Get(h.id); answer.Code != http.StatusOK || !e.LastSeen.Equal(w.clock.Now()) {
			t.Errorf("round %d: got %d, seen at %v, want it seen now", round, answer.Code, e.LastSeen)
		}
	}
}

// Hosts that ask together are not told to come back together; the same host is told the same at the same time.
func TestPollsAreSpread(t *testing.T) {
	t.Parallel()
	w := open(t)
	handler := w.ingest.Handler()
	h := w.enrolled()
	h.checkIn(full())
	poll := func() int64 {
		var reply api.CheckInReply
		w.ok(json.Unmarshal(answered(t, handler, sent(api.PathCheckIn, []byte("{}"), h.chain())).Body.Bytes(), &reply))
		return reply.PollMillis
	}
	if first, again := poll(), poll(); first != again {
		t.Errorf("got %d and %d ms at one time, want the same", first, again)
	}
	parts := [8]int{}
	for range 800 {
		w.clock.Move(time.Minute)
		got := poll()
		if got < 52_500 || got >= 67_500 {
			t.Fatalf("got %d ms, want a minute, give or take an eighth", got)
		}
		parts[(got-52_500)*8/15_000]++
	}
	for i, n := range parts {
		if n < 60 || n > 150 {
			t.Errorf("part %d of the span: got %d of 800, want about 100", i, n)
		}
	}
}

// A connection that would only be idle is closed; that of a host which comes back soon is kept.
func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	h.checkIn(full())
	closes := func(body string) bool {
		answer, err := h.try(http.MethodPost, api.PathCheckIn, body, nil)
		w.ok(err)
		return answer.status == http.StatusOK && answer.closed
	}
	for _, body := range []string{`{}`, `{"leaving":false}`} {
		if !closes(body) {
			t.Errorf("%s of an idle host: got the connection kept, want it closed", body)
		}
	}
	w.engine.pending.Store(true)
	for _, body := range []string{`{}`, `{"leaving":false}`} {
		if closes(body) {
			t.Errorf("%s of an exposed host: got the connection closed, want it kept", body)
		}
	}
}

// Reports that are stored already cost the database nothing. They are acknowledged, after the engine had its chance.
func TestOldReportsTouchNoDatabase(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	h.checkIn(api.CheckIn{Reports: reports(1, 2, 3)})
	w.calls.calls.Store(0)
	drained := w.engine.drained.Load()
	for _, seqs := range [][]int64{{1}, {1, 2, 3}} {
		if reply := h.checkIn(api.CheckIn{Reports: reports(seqs...)}); reply.Ack != 3 {
			t.Errorf("sent %v: got ack %d, want 3", seqs, reply.Ack)
		}
	}
	if calls := w.calls.calls.Load(); calls != 0 || w.engine.drained.Load() != drained+2 {
		t.Errorf("got %d calls of the database and the engine told %d times, want none and 2", calls, w.engine.drained.Load()-drained)
	}
	if reply := h.checkIn(api.CheckIn{Reports: reports(3, 4)}); reply.Ack != 4 || w.calls.calls.Load() != 1 {
		t.Errorf("got ack %d after %d calls, want 4 after 1", reply.Ack, w.calls.calls.Load())
	}
}

// Whoever may ask may get it from a cache: for a moment what changes, for ever what does not.
func TestCaching(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	w.files["timestamp.json"], w.files["3.snapshot.json"], w.files["targets/x"] = `{"t": 1}`, `{"s": 3}`, "x"
	for path, cache := range map[string]string{
		api.PathDirectives + component:         "public, max-age=1",
		api.PathTUF + "timestamp.json":         "public, max-age=1",
		api.PathTUF + "3.snapshot.json":        "public, max-age=31536000, immutable",
		api.PathTUF + "targets/x":              "public, max-age=31536000, immutable",
		api.PathArtifacts + string(w.put("a")): "public, max-age=31536000, immutable",
	} {
		first, err := h.try(http.MethodGet, path, "", nil)
		w.ok(err)
		if got := first.header.Get("Cache-Control"); first.status != http.StatusOK || got != cache {
			t.Errorf("%s: got %d, cache %q, want %q", path, first.status, got, cache)
		}
		tag := first.header.Get("ETag")
		if tag == "" {
			continue // targets are named by their digest
		}
		again, err := h.try(http.MethodGet, path, "", http.Header{"If-None-Match": {tag}})
		w.ok(err)
		if again.status != http.StatusNotModified || len(again.data) != 0 {
			t.Errorf("%s: got %d with %d bytes, want 304", path, again.status, len(again.data))
		}
	}
	w.files["timestamp.json"] = `{"t": 2}`
	before, err := h.try(http.MethodGet, api.PathTUF+"timestamp.json", "", nil)
	w.ok(err)
	w.files["timestamp.json"] = `{"t": 3}`
	after, err := h.try(http.MethodGet, api.PathTUF+"timestamp.json", "", http.Header{"If-None-Match": {before.header.Get("ETag")}})
	w.ok(err)
	if after.status != http.StatusOK || string(after.data) != `{"t": 3}` {
		t.Errorf("got %d %s, want the new file", after.status, after.data)
	}
}

// many has so many rows, and a gap in their numbers.
type many int64

const gap = 6000

// LastEndpoint implements ingest.Rows.
func (m many) LastEndpoint(context.Context) (int64, error) {
	if m == 0 {
		return 0, nil
	}
	return int64(m) + gap, nil
}

// EndpointsBetween implements ingest.Rows.
func (m many) EndpointsBetween(_ context.Context, after, upTo int64) ([]store.Endpoint, error) {
	var rows []store.Endpoint
	for number := after + 1; number <= min(upTo, int64(m)+gap); number++ {
		i := number
		if i > 4 {
			i -= gap
		}
		if number > 4 && i <= 4 {
			continue
		}
		components := json.RawMessage(fmt.Sprintf(`{"sensor":{"kind":"content","phase":"idle","version":"v%d"}}`, i%3))
		if i == 7 {
			components = json.RawMessage(`{"sensor`)
		}
		rows = append(rows, store.Endpoint{Number: number, ID: fleet.EndpointID(fmt.Sprintf("ep-%020d", i)), Components: components})
	}
	return rows, nil
}

func TestLoadAll(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 5, 5000, 10_001} {
		r := registry.New()
		if err := ingest.LoadAll(t.Context(), many(n), r, clock.Wall{}.Now()); err != nil || r.Len() != n {
			t.Errorf("got %d hosts and error %v, want %d", r.Len(), err, n)
		}
	}
	r := registry.New()
	if err := ingest.LoadAll(t.Context(), many(10), r, clock.Wall{}.Now()); err != nil {
		t.Fatal(err)
	}
	if e, _ := r.Get("ep-00000000000000000008"); e.Components["sensor"].Version != "v2" || e.Number != 8+gap {
		t.Errorf("got %+v, want what is stored", e)
	}
	if e, _ := r.Get("ep-00000000000000000007"); e.Components != nil {
		t.Errorf("got %+v of what cannot be read, want nothing", e.Components)
	}
}
