package ingest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/admission"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// loaded is a desk at a pressure that a test sets.
type loaded struct {
	*admission.Desk
	pressure atomic.Int64 // in hundredths
	inside   atomic.Int64
}

func (l *loaded) sheds(k admission.Kind) time.Duration {
	if pressure := float64(l.pressure.Load()) / 100; admission.Sheds(k, pressure) {
		return admission.Retry(pressure, 0.5)
	}
	l.inside.Add(1)
	return 0
}

func (l *loaded) Enter(k admission.Kind, _ float64) time.Duration { return l.sheds(k) }
func (l *loaded) Leave()                                          { l.inside.Add(-1) }
func (l *loaded) Fetch(fleet.EndpointID, float64) time.Duration   { return l.sheds(admission.Download) }
func (l *loaded) Fetched(fleet.EndpointID)                        { l.inside.Add(-1) }
func (l *loaded) Poll(poll time.Duration) time.Duration {
	return time.Duration(float64(poll) * admission.Stretch(float64(l.pressure.Load())/100))
}

func underLoad(t *testing.T) (*world, *loaded) {
	t.Helper()
	w := open(t)
	l := &loaded{Desk: admission.New(admission.Options{Large: 1, Clock: w.clock})}
	w.ingest = ingest.New(ingest.Options{
		Store: w.calls, Engine: w.engine, CA: w.ca, Metadata: w.files, Blobs: w.blobs, Fleet: w.fleet, Clock: w.clock, Log: w.ingest.Log,
		PollIdle: time.Minute, PollActive: time.Second, Flush: time.Second, Idle: 30 * time.Second, Streams: 2, Desk: l,
	})
	w.server = w.serve(w.ingest.Handler())
	return w, l
}

// What is put off first is what changes nothing; what may carry a recall never is.
func TestLoadIsShedInOrder(t *testing.T) {
	t.Parallel()
	w, load := underLoad(t)
	w.files["timestamp.json"] = "{}"
	h, blob := w.enrolled(), w.put("content")
	h.checkIn(full())
	requests := []struct {
		name, method, path, body string
		from                     int64 // pressure
	}{
		{"nothing new", http.MethodPost, api.PathCheckIn, "{}", 100},
		{"download", http.MethodGet, api.PathArtifacts + string(blob), "", 125},
		{"deltas", http.MethodGet, api.PathDeltas + string(blob), "", 125},
		{"report", http.MethodPost, api.PathCheckIn, `{"reports":[{"seq":1,"outcome":"confirmed"}]}`, 200},
		{"directive", http.MethodGet, api.PathDirectives + component, "", 1 << 40},
		{"metadata", http.MethodGet, api.PathTUF + "timestamp.json", "", 1 << 40},
	}
	csr, err := json.Marshal(api.RenewRequest{CSR: h.csr()})
	w.ok(err)
	requests = append(requests, struct {
		name, method, path, body string
		from                     int64
	}{"renewal", http.MethodPost, api.PathRenew, string(csr), 150})
	for _, pressure := range []int64{0, 100, 125, 150, 200, 1000} {
		load.pressure.Store(pressure)
		for _, r := range requests {
			answer, err := h.try(r.method, r.path, r.body, nil)
			w.ok(err)
			if shed := answer.status == http.StatusServiceUnavailable; shed != (pressure >= r.from) || !shed && answer.status != http.StatusOK {
				t.Errorf("%s at pressure %d: got %d %s", r.name, pressure, answer.status, answer.data)
			} else if after, _ := strconv.Atoi(answer.header.Get("Retry-After")); shed && (after < 2 || !answer.closed) {
				t.Errorf("%s: got Retry-After %q, closed %v, want when to come again, and the connection closed", r.name, answer.header.Get("Retry-After"), answer.closed)
			}
		}
	}
	if n := load.inside.Load(); n != 0 {
		t.Errorf("got %d requests that never left", n)
	}
	load.pressure.Store(1000)
	status, data := w.stranger().post(api.PathEnrol, api.EnrolRequest{})
	problem(t, status, data, http.StatusServiceUnavailable, "too much to do")
	w.engine.pending.Store(true)
	var reply api.CheckInReply
	status, data = h.post(api.PathCheckIn, "{}")
	if w.ok(json.Unmarshal(data, &reply)); status != http.StatusOK || reply.PollMillis != 1000 {
		t.Errorf("got %d %s for an exposed host, want it answered as ever", status, data)
	}
}

// Hosts that are not exposed come less often before anything has to be shed.
func TestPollsStretchUnderLoad(t *testing.T) {
	t.Parallel()
	w, load := underLoad(t)
	h := w.enrolled()
	h.checkIn(full())
	calm := h.checkIn(api.CheckIn{}).PollMillis
	load.pressure.Store(99)
	if got := h.checkIn(api.CheckIn{}).PollMillis; got < calm*3/2 || got > calm*5/2 {
		t.Errorf("got a pause of %d ms, want about twice %d", got, calm)
	}
}

func TestLargeBodiesTakeTurns(t *testing.T) {
	t.Parallel()
	w, load := underLoad(t)
	h := w.enrolled()
	large := `{"boot":"` + strings.Repeat(" ", 5000) + `"}`
	load.Hold()
	status, data := h.post(api.PathCheckIn, large)
	problem(t, status, data, http.StatusServiceUnavailable)
	load.Release()
	if status, _ := h.post(api.PathCheckIn, large); status != http.StatusBadRequest { // too long a boot id, but it was read
		t.Errorf("got %d, want it read", status)
	}
}

// What is sent packed might unpack to anything.
func TestPackedBodiesAreRefused(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	for _, path := range []string{api.PathCheckIn, api.PathRenew, api.PathEnrol} {
		status, data := h.do(http.MethodPost, path, "\x1f\x8b\x08", http.Header{"Content-Encoding": {"gzip"}})
		problem(t, status, data, http.StatusBadRequest, "encoded as")
	}
}

// lease gives a host a lease of a rollout, as the engine stores it.
func (w *world) lease(h *host, id rollout.ID) {
	w.t.Helper()
	state := rollout.State{ID: id, Release: rollout.Release{Component: component, Version: "v2", Manifest: "sha256:m"}, Phase: rollout.Running}
	w.ok(w.db.Commit(w.t.Context(), store.Commit{
		State: state, Events: []store.Event{{Rollout: id, Revision: 1, At: w.clock.Now(), Name: "started"}},
		Leases: []store.Lease{{ID: "l-" + string(id), Rollout: id, Endpoint: h.id, Tenant: "acme", Outcome: rollout.Pending}},
	}))
}

// A revoked endpoint is out at once, with the reason; its open lease ends with a goodbye, and its key cannot join again.
func TestRevokedEndpoints(t *testing.T) {
	t.Parallel()
	w := open(t)
	h, other := w.enrolled(), w.enrolled()
	h.checkIn(full())
	h.checkIn(api.CheckIn{Reports: reports(1, 2)})
	w.lease(h, "r1")
	w.ok(w.ingest.End(t.Context(), h.id, store.Revoked, "stolen"))
	for _, r := range []struct{ method, path string }{
		{http.MethodPost, api.PathCheckIn},
		{http.MethodPost, api.PathRenew},
		{http.MethodGet, api.PathEvents},
		{http.MethodGet, api.PathDirectives + component},
		{http.MethodGet, api.PathTUF + "1.root.json"},
		{http.MethodGet, api.PathArtifacts + "sha256:0"},
		{http.MethodGet, api.PathDeltas + "sha256:0"},
	} {
		status, data := h.do(r.method, r.path, "{}", nil)
		problem(t, status, data, http.StatusForbidden, string(h.id)+" was revoked: stolen", "join with a new token")
	}
	left, err := w.db.UntakenReports(t.Context(), 0, 0)
	w.ok(err)
	var last api.Report
	w.ok(json.Unmarshal(left[len(left)-1].Data, &last))
	if len(left) != 3 || last.Outcome != "goodbye" || last.Rollout != "r1" || last.Manifest != "sha256:m" || left[2].Endpoint != h.id || w.engine.drained.Load() < 2 {
		t.Errorf("got %d reports, the last %+v, %d drained, want a goodbye of the host, taken in", len(left), last, w.engine.drained.Load())
	}
	status, data := h.post(api.PathEnrol, api.EnrolRequest{Token: w.mint(store.Token{Left: 1}), CSR: h.csr()})
	problem(t, status, data, http.StatusForbidden, "was revoked")
	other.checkIn(api.CheckIn{})
	w.ok(w.ingest.End(t.Context(), other.id, store.Removed, "scrapped"))
	status, data = other.post(api.PathCheckIn, "{}")
	problem(t, status, data, http.StatusForbidden, "not enrolled here")
	other.present(nil)
	other.join(w.mint(store.Token{Left: 1}))
	other.checkIn(api.CheckIn{})
	// The same after a start, from the database.
	fresh := w.new()
	fresh.Fleet = newFleet(t, w)
	w.server = w.serve(fresh.Handler())
	h.present(h.der)
	status, data = h.post(api.PathCheckIn, "{}")
	problem(t, status, data, http.StatusForbidden, "was revoked: stolen")
	if fresh.Fleet.Len() != 1 {
		t.Errorf("got %d hosts after a start, want 1", fresh.Fleet.Len())
	}
}

// A reply that was lost costs no second use of the token.
func TestJoinWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	w := open(t)
	h, other, secret := w.stranger(), w.stranger(), w.mint(store.Token{Left: 1})
	first := h.join(secret)
	h.present(nil)
	if again := h.join(secret); again.Endpoint != first.Endpoint || again.Tenant != "acme" {
		t.Errorf("got %s of %s, want the same identity", again.Endpoint, again.Tenant)
	}
	status, data := other.post(api.PathEnrol, api.EnrolRequest{Token: secret, CSR: other.csr()})
	problem(t, status, data, http.StatusForbidden, "used up")
}

// Two hosts with one identity show by what one host never does.
func TestTwinsAreNoticed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		says  []api.CheckIn
		signs int
		sign  string
	}{
		{"boots in turn", []api.CheckIn{{Boot: "a"}, {Boot: "b"}, {Boot: "a"}, {Boot: "b"}}, 2, "boot id"},
		{"reboots", []api.CheckIn{{Boot: "a"}, {Boot: "a"}, {Boot: "b"}, {Boot: "b"}, {Boot: "c"}}, 0, ""},
		{"one number for two", []api.CheckIn{{Reports: reports(1, 2)}, {Reports: []api.Report{{Seq: 2, Outcome: "crashed"}}}}, 1, "one number"},
		{"numbers go back", []api.CheckIn{{Reports: reports(4, 5)}, {Reports: reports(3)}}, 1, "backwards"},
		{"sent again", []api.CheckIn{{Reports: reports(1, 2)}, {Reports: reports(1, 2)}, {Reports: reports(2, 3)}}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t)
			h := w.enrolled()
			for _, says := range c.says {
				h.checkIn(says)
			}
			got, found := w.ingest.Twins(h.id)
			if got.Signs != c.signs || found != (c.signs > 0) || !strings.Contains(got.Sign, c.sign) {
				t.Errorf("got %+v, want %d signs with %q", got, c.signs, c.sign)
			}
			if said := strings.Count(w.log.String(), "share one identity"); said != min(c.signs, 1) {
				t.Errorf("got it said %d times, want once an hour:\n%s", said, w.log)
			}
		})
	}
}

// Whoever has a host's key speaks for that host alone: nothing that it sends is taken for another's.
func TestAnIdentitySpeaksForItself(t *testing.T) {
	t.Parallel()
	w := open(t)
	thief, victim := w.enrolled(), w.enrolled()
	victim.checkIn(full())
	victim.checkIn(api.CheckIn{Reports: reports(1, 2, 3)})
	before, _ := w.fleet.Get(victim.id)
	forged := fmt.Sprintf(`"endpoint":%q,"id":%q,"tenant":"globex","number":1,"reported":99,"labels":{"role":"db"},"token":"x"`, victim.id, victim.id)
	for _, body := range []string{
		`{` + forged + `,"leaving":true}`,
		`{` + forged + `,"reports":[{"seq":4,"outcome":"crashed","endpoint":"` + string(victim.id) + `"}]}`,
		`{` + forged + `,"reports":[{"seq":1,"outcome":"crashed"}]}`, // a number that was counted
		`{` + forged + `,"wishes":[{"component":"sensor-content","endpoint":"` + string(victim.id) + `"}]}`,
		`{` + forged + `,"attributes":{"tenant":"globex","os":"x"},"components":{"sensor-content":{"kind":"content","phase":"idle"}}}`,
	} {
		answer, err := thief.try(http.MethodPost, api.PathCheckIn, body, http.Header{"X-Endpoint": {string(victim.id)}, "X-Tenant": {"globex"}})
		w.ok(err)
		if answer.status != http.StatusOK {
			t.Errorf("got %d %s for %s", answer.status, answer.data, body)
		}
	}
	if after, _ := w.fleet.Get(victim.id); after.Reported != before.Reported || after.Left || after.Subject.Tenant != before.Subject.Tenant {
		t.Errorf("got the other host changed: %+v, want %+v", after, before)
	}
	if self, _ := w.fleet.Get(thief.id); self.Subject.Tenant != "acme" || self.Subject.Labels["role"] != "web" || self.Reported != 4 {
		t.Errorf("got %+v, want tenant and labels of the token and the join", self)
	}
	left, err := w.db.UntakenReports(t.Context(), 0, 0)
	w.ok(err)
	for _, r := range left {
		if strings.Contains(string(r.Data), "crashed") && r.Endpoint != thief.id {
			t.Errorf("got a report of %s that it did not send", r.Endpoint)
		}
	}
	for _, asked := range w.engine.asked {
		if !strings.HasPrefix(asked, string(thief.id)) {
			t.Errorf("got a wish of %s, want only the sender's", asked)
		}
	}
	status, data := thief.post(api.PathRenew, api.RenewRequest{CSR: victim.csr()})
	problem(t, status, data, http.StatusForbidden, "for another key")
	thief.key = victim.key // a certificate is no good without its key
	thief.present(thief.der)
	if answer, err := thief.try(http.MethodPost, api.PathCheckIn, "{}", nil); err == nil {
		t.Errorf("got %d, want the connection refused", answer.status)
	}
}

// newFleet is the fleet as a start finds it.
func newFleet(t *testing.T, w *world) *registry.Registry {
	t.Helper()
	all := registry.New()
	w.ok(ingest.LoadAll(t.Context(), w.db, all, w.clock.Now()))
	return all
}
