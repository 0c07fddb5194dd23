package ingest_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/token"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

func TestEnrol(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.files["1.root.json"] = `{"root": 1}`
	h := w.stranger()
	reply := h.join(w.mint(store.Token{Left: 1}))
	if reply.Endpoint != string(h.id) || reply.Tenant != "acme" || string(reply.Root) != `{"root": 1}` || !bytes.Equal(reply.CA, w.ca.Certificate()) {
		t.Errorf("got %+v, want the identity of %s, the tenant of the token, the root and the CA", reply, h.id)
	}
	got, _ := w.fleet.Get(h.id)
	want := fleet.Subject{Tenant: "acme", Attributes: fleet.Attributes{OS: "linux", Site: "graz"}, Labels: fleet.Labels{"role": "web"}}
	if diff := cmp.Diff(want, got.Subject); diff != "" {
		t.Errorf("registered subject (-want +got):\n%s", diff)
	}
	row, err := w.db.Endpoint(t.Context(), h.id)
	w.ok(err)
	if row.Tenant != "acme" || row.Labels["role"] != "web" || row.Enrolled.IsZero() {
		t.Errorf("got row %+v, want what was registered", row)
	}
	h.checkIn(full())
	if strings.Contains(w.log.String(), "fb_join_") {
		t.Errorf("got a log with a secret in it: %s", w.log)
	}
}

func TestEnrolIsRefused(t *testing.T) {
	t.Parallel()
	w := open(t)
	used := w.mint(store.Token{Left: 1})
	w.stranger().join(used)
	expired := w.mint(store.Token{Left: 1, Expires: w.clock.Now().Add(-time.Second)})
	revoked := w.mint(store.Token{Left: 1, Revoked: w.clock.Now()})
	operator := w.mint(store.Token{Left: 1, Kind: store.OperatorToken})
	good := w.mint(store.Token{Left: 1})
	h := w.stranger()
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name   string
		body   any
		status int
		words  []string
	}{
		{"unknown token", api.EnrolRequest{Token: "fb_join_x_y", CSR: h.csr()}, http.StatusForbidden, []string{"not one of this server's", "new join token"}},
		{"no token", api.EnrolRequest{CSR: h.csr()}, http.StatusForbidden, []string{"not one of"}},
		{"used up", api.EnrolRequest{Token: used, CSR: h.csr()}, http.StatusForbidden, []string{"used up"}},
		{"expired", api.EnrolRequest{Token: expired, CSR: h.csr()}, http.StatusForbidden, []string{"expired on"}},
		{"revoked", api.EnrolRequest{Token: revoked, CSR: h.csr()}, http.StatusForbidden, []string{"revoked on"}},
		{"operator's token", api.EnrolRequest{Token: operator, CSR: h.csr()}, http.StatusForbidden, []string{"not a join token"}},
		{"no request", api.EnrolRequest{Token: good}, http.StatusBadRequest, []string{"certificate request"}},
		{"damaged request", api.EnrolRequest{Token: good, CSR: h.csr()[:50]}, http.StatusBadRequest, []string{"certificate request"}},
		{"not JSON", "token=" + good, http.StatusBadRequest, []string{"not the JSON"}},
		{
			"long texts",
			api.EnrolRequest{
				Token: good, CSR: h.csr(), Attributes: api.Attributes{OS: long, Site: long}, Labels: map[string]string{"": "a", "b": long},
			},
			http.StatusBadRequest,
			[]string{"attributes.os", "attributes.site", `has \"\"`, `has \"b\"`},
		},
		{"many labels", api.EnrolRequest{Token: good, CSR: h.csr(), Labels: labels(65)}, http.StatusBadRequest, []string{"are 65; 64 is the most"}},
	} {
		status, data := h.post(api.PathEnrol, c.body)
		if problem(t, status, data, c.status, c.words...); bytes.Contains(data, []byte(good)) {
			t.Errorf("%s: got a token in the answer: %s", c.name, data)
		}
	}
	if w.fleet.Len() != 1 {
		t.Errorf("got %d hosts enrolled, want the one", w.fleet.Len())
	}
	h.join(good) // what was refused for another reason did not use it up
}

func labels(n int) map[string]string {
	all := map[string]string{}
	for i := range n {
		all[fmt.Sprint("key", i)] = "value"
	}
	return all
}

// A host that joins again with its key counts its reports on from where it was.
func TestEnrolAgain(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	h.checkIn(api.CheckIn{Components: full().Components, Reports: reports(1, 2, 3)})
	h.join(w.mint(store.Token{Left: 1, Tenant: "globex", Kind: store.JoinToken}))
	reply := h.checkIn(api.CheckIn{})
	if reply.Reported != 3 || !reply.Resync {
		t.Errorf("got %+v, want it to count on from 3 and to send its state again", reply)
	}
	if got, _ := w.fleet.Get(h.id); got.Subject.Tenant != "globex" || len(got.Components) != 1 {
		t.Errorf("got %+v, want the new tenant and the old components", got)
	}
}

//nolint:tparallel // the cases share one host and what its engine was asked
func TestIdentity(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	paths := []string{api.PathRenew, api.PathCheckIn}
	t.Run("no certificate", func(t *testing.T) {
		s := w.stranger()
		for _, path := range paths {
			status, data := s.post(path, "{}")
			problem(t, status, data, http.StatusForbidden, "without a client certificate", "firebreak-agent join")
		}
		for _, path := range []string{api.PathDirectives + component, api.PathTUF + "timestamp.json", api.PathArtifacts + "sha256:00"} {
			status, data := s.do(http.MethodGet, path, "", nil)
			problem(t, status, data, http.StatusForbidden, "without a client certificate")
		}
	})
	t.Run("not enrolled", func(t *testing.T) {
		s := w.stranger()
		der, id, err := w.ca.SignEndpoint(s.csr())
		w.ok(err)
		s.present(der)
		status, data := s.post(api.PathCheckIn, "{}")
		problem(t, status, data, http.StatusForbidden, string(id)+" is not enrolled here")
	})
	t.Run("another authority", func(t *testing.T) {
		forged, err := ca.Open(t.TempDir(), w.clock)
		w.ok(err)
		s := w.stranger()
		der, _, err := forged.SignEndpoint(h.csr()) // even for a key that is enrolled
		w.ok(err)
		s.key = h.key
		s.present(der)
		if answer, err := s.try(http.MethodPost, api.PathCheckIn, "{}", nil); err == nil {
			t.Errorf("got %d %s, want the connection refused", answer.status, answer.data)
		}
	})
	t.Run("expired", func(t *testing.T) {
		w.clock.Move(-2 * ca.EndpointLife)
		der, _, err := w.ca.SignEndpoint(h.csr())
		w.clock.Move(2 * ca.EndpointLife)
		w.ok(err)
		s := w.stranger()
		s.key = h.key
		s.present(der)
		if answer, err := s.try(http.MethodPost, api.PathCheckIn, "{}", nil); err == nil {
			t.Errorf("got %d %s, want the connection refused", answer.status, answer.data)
		}
	})
	t.Run("from the certificate only", func(t *testing.T) {
		other := w.enrolled()
		answer, err := h.try(http.MethodPost, api.PathCheckIn,
			`{"endpoint": "`+string(other.id)+`", "id": "`+string(other.id)+`", "wishes": [{"component": "sensor-content"}], "boot": "mine"}`,
			http.Header{"X-Endpoint": {string(other.id)}, "X-Forwarded-Client-Cert": {string(other.id)}})
		w.ok(err)
		if answer.status != http.StatusOK {
			t.Fatalf("got %d %s, want 200", answer.status, answer.data)
		}
		if got, _ := w.fleet.Get(h.id); got.Boot != "mine" {
			t.Errorf("got boot %q of the sender, want it noted", got.Boot)
		}
		if got, _ := w.fleet.Get(other.id); got.Boot != "" {
			t.Error("got the other host changed")
		}
		if diff := cmp.Diff([]string{string(h.id) + " " + component}, w.engine.asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
	})
	t.Run("without TLS", func(t *testing.T) {
		answer := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, api.PathCheckIn, strings.NewReader("{}"))
		r.TLS = &tls.ConnectionState{PeerCertificates: h.chain()} // presented, never verified
		w.ingest.Handler().ServeHTTP(answer, r)
		problem(t, answer.Code, answer.Body.Bytes(), http.StatusForbidden)
	})
}

func TestRenew(t *testing.T) {
	t.Parallel()
	w := open(t)
	h, other := w.enrolled(), w.stranger()
	status, data := h.post(api.PathRenew, api.RenewRequest{CSR: h.csr()})
	var reply api.RenewReply
	if err := json.Unmarshal(data, &reply); err != nil || status != http.StatusOK {
		t.Fatalf("got %d %s, want a new certificate", status, data)
	}
	if bytes.Equal(reply.Certificate, h.der) {
		t.Error("got the old certificate again")
	}
	h.present(reply.Certificate)
	h.checkIn(api.CheckIn{})
	status, data = h.post(api.PathRenew, api.RenewRequest{CSR: other.csr()})
	problem(t, status, data, http.StatusForbidden, string(h.id), "for another key")
	status, data = h.post(api.PathRenew, api.RenewRequest{})
	problem(t, status, data, http.StatusBadRequest, "certificate request")
}

func TestCheckInListsAllMistakes(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	long := strings.Repeat("x", 257)
	body := api.CheckIn{
		Attributes: &api.Attributes{Kernel: long, Region: long}, Boot: long, Components: map[string]api.Component{"Bad Name": {}},
		Reports: []api.Report{{Seq: 0}, {Seq: 5}, {Seq: 5}},
	}
	for range 65 {
		body.Wishes = append(body.Wishes, api.Wish{})
	}
	status, data := h.post(api.PathCheckIn, body)
	p := problem(t, status, data, http.StatusBadRequest)
	var paths []string
	for _, m := range p.Problems {
		paths = append(paths, m.Path)
	}
	want := []string{"wishes", "boot", "reports[0].seq", "reports[2].seq", "components", "attributes.kernel", "attributes.region"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
	status, data = h.post(api.PathCheckIn, api.CheckIn{Posture: &api.Posture{Have: make([]string, 33), Missing: make([]string, 32)}})
	problem(t, status, data, http.StatusBadRequest, "posture", "has 65 words; 64 is the most")
	status, data = h.post(api.PathCheckIn, api.CheckIn{Reports: make([]api.Report, 257)})
	problem(t, status, data, http.StatusBadRequest, "are 257; 256 is the most")
	many := map[string]api.Component{}
	for i := range 65 {
		many[fmt.Sprint("c-", i)] = api.Component{}
	}
	status, data = h.post(api.PathCheckIn, api.CheckIn{Components: many})
	problem(t, status, data, http.StatusBadRequest, "are 65; 64 is the most")
	if got, _ := w.fleet.Get(h.id); got.Boot != "" || len(got.Components) != 0 {
		t.Errorf("got %+v, want nothing taken from bad check-ins", got)
	}
	if left, err := w.db.UntakenReports(t.Context(), 0, 0); err != nil || len(left) != 0 {
		t.Errorf("got %d reports stored, want none", len(left))
	}
}

func TestBodiesAreBounded(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	huge := `{"boot": "` + strings.Repeat("x", 300<<10) + `"}`
	for _, path := range []string{api.PathEnrol, api.PathRenew, api.PathCheckIn} {
		status, data := h.post(path, huge)
		problem(t, status, data, http.StatusRequestEntityTooLarge, "too large")
	}
	h.checkIn(api.CheckIn{Boot: "fine"}) // the next connection is as good as any
	for _, junk := range []string{"", "null and void", "[]", `{"reports": 7}`, `{"reports": [{"seq": 1e99}]}`, strings.Repeat(`{"components":`, 5000)} {
		status, data := h.post(api.PathCheckIn, junk)
		problem(t, status, data, http.StatusBadRequest, "read the request")
	}
}

// What a host says of a component is cut to what is worth keeping, the consumer's version too.
func TestComponentsAreBounded(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	body := full()
	body.Components[component] = api.Component{Kind: "content", Phase: "idle", Version: "v1", Consumer: strings.Repeat("7", 300)}
	h.checkIn(body)
	e, _ := w.fleet.Get(h.id)
	want := api.Component{Kind: "content", Phase: "idle", Version: "v1", Consumer: strings.Repeat("7", 256)}
	if diff := cmp.Diff(want, e.Components[component]); diff != "" {
		t.Errorf("component (- want, + got):\n%s", diff)
	}
}

// A host that says that it leaves is known to have left, until it is heard again.
func TestLeavingIsNoted(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	left := func() bool {
		e, _ := w.fleet.Get(h.id)
		return e.Left && e.LastSeen.Equal(w.clock.Now())
	}
	h.checkIn(full())
	w.clock.Move(time.Second)
	h.checkIn(api.CheckIn{Leaving: true})
	if !left() {
		t.Error("after the last check-in: want it seen, and left")
	}
	h.checkIn(api.CheckIn{})
	if left() {
		t.Error("after it came back: got that it left")
	}
}

func reports(seqs ...int64) []api.Report {
	var all []api.Report
	for _, seq := range seqs {
		all = append(all, api.Report{Seq: seq, Component: component, Rollout: "ro-1", Outcome: "confirmed"})
	}
	return all
}

// I8: a report that was acknowledged is stored; one that is sent twice is stored once; one that could not be stored is not acknowledged.
func TestInvariantI8(t *testing.T) {
	t.Parallel()
	w := open(t)
	h, other := w.enrolled(), w.enrolled()
	stored := func() int {
		left, err := w.db.UntakenReports(t.Context(), 0, 0)
		w.ok(err)
		return len(left)
	}
	for _, c := range []struct {
		sent   []int64
		ack    int64
		stored int
	}{
		{[]int64{1, 2}, 2, 2},
		{[]int64{1, 2}, 2, 2},
		{[]int64{2, 3}, 3, 3},
		{[]int64{1}, 3, 3},
		{nil, 0, 3},
	} {
		reply := h.checkIn(api.CheckIn{Reports: reports(c.sent...)})
		if reply.Ack != c.ack || stored() != c.stored {
			t.Errorf("sent %v: got ack %d with %d stored, want %d with %d", c.sent, reply.Ack, stored(), c.ack, c.stored)
		}
	}
	w.calls.broken.Store(true)
	reply := h.checkIn(api.CheckIn{Reports: reports(4), Wishes: []api.Wish{{Component: component}}})
	if reply.Ack != 0 || stored() != 3 || reply.Reported != 3 {
		t.Errorf("on a full disk: got %+v with %d stored, want no ack", reply, stored())
	}
	if len(reply.Leases) != 0 || len(reply.Refusals) != 1 {
		t.Errorf("on a full disk: got %+v, want a refusal", reply)
	}
	if !strings.Contains(w.log.String(), "could not be taken in") {
		t.Errorf("got log %s, want the failure in it", w.log)
	}
	w.calls.broken.Store(false)
	w.engine.broken = fault.New(fault.Unavailable, "decide: not now")
	if reply := h.checkIn(api.CheckIn{Reports: reports(4)}); reply.Ack != 0 || stored() != 4 {
		t.Errorf("with nobody who can decide: got ack %d with %d stored, want none: a lease might follow that the report forbids", reply.Ack, stored())
	}
	w.engine.broken = nil
	if reply := h.checkIn(api.CheckIn{Reports: reports(4)}); reply.Ack != 4 || stored() != 4 {
		t.Errorf("sent again: got ack %d with %d stored, want 4, stored once", reply.Ack, stored())
	}
	if reply := other.checkIn(api.CheckIn{Reports: reports(1)}); reply.Ack != 1 || stored() != 5 {
		t.Errorf("another host's report 1: got ack %d with %d stored, want 1 with 5", reply.Ack, stored())
	}
	if got := w.engine.drained.Load(); got != 7 {
		t.Errorf("got the engine told %d times of reports, want 7", got)
	}
}

// Whatever is broken, a host hears which directives are new: they may recall what it runs.
func TestDirectivesAreToldWhateverIsBroken(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	h.checkIn(full())
	w.calls.broken.Store(true)
	w.engine.broken = fault.New(fault.Internal, "decide: secret detail")
	status, data := h.post(api.PathCheckIn, api.CheckIn{Reports: reports(1), Wishes: []api.Wish{{Component: component}}})
	var reply api.CheckInReply
	if err := json.Unmarshal(data, &reply); err != nil || status != http.StatusOK || reply.Directives[component] != 3 || bytes.Contains(data, []byte("secret")) {
		t.Errorf("got %d %s, want directive 3 and no detail", status, data)
	}
}

func TestWishes(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	h.checkIn(full())
	wish := api.CheckIn{Wishes: []api.Wish{{Component: component, Rollout: "ro-1"}}}
	if reply := h.checkIn(wish); len(reply.Leases) != 1 || string(reply.Leases[0]) != `{"lease":true}` || reply.PollMillis != 1000 {
		t.Errorf("got %+v, want a lease and a short poll", reply)
	}
	w.engine.refusal = "the ring is full"
	want := []api.Refusal{{Component: component, Reason: "the ring is full"}}
	if reply := h.checkIn(wish); len(reply.Leases) != 0 || !cmp.Equal(want, reply.Refusals) {
		t.Errorf("got %+v, want the refusal", reply)
	}
	w.engine.refusal, w.engine.broken = "", fault.New(fault.Internal, "decide: secret detail")
	if reply := h.checkIn(wish); len(reply.Refusals) != 1 || strings.Contains(reply.Refusals[0].Reason, "secret") {
		t.Errorf("got %+v, want a refusal without detail", reply)
	}
	if !strings.Contains(w.log.String(), "secret detail") {
		t.Errorf("got log %s, want the detail in it", w.log)
	}
}

func TestPoll(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	phase := func(p string) api.CheckIn {
		return api.CheckIn{Components: map[string]api.Component{component: {Phase: p}}}
	}
	for _, c := range []struct {
		name    string
		body    api.CheckIn
		pending bool
		want    int64
	}{
		{"nothing to do", phase("idle"), false, 60_000},
		{"on its way", phase("proving"), false, 1000},
		{"still on its way", api.CheckIn{}, false, 1000},
		{"back", phase("idle"), false, 60_000},
		{"holds a lease", api.CheckIn{}, true, 1000},
		{"reports", api.CheckIn{Reports: reports(1)}, false, 1000},
	} {
		w.engine.pending.Store(c.pending)
		if got := h.checkIn(c.body).PollMillis; got != c.want && (c.want == 1000 || got < c.want*7/8 || got > c.want*9/8) {
			t.Errorf("%s: got poll after %d ms, want about %d", c.name, got, c.want)
		}
	}
}

// stored are rows as a database gives them.
type stored []store.Endpoint

// LastEndpoint implements ingest.Rows.
func (all stored) LastEndpoint(context.Context) (int64, error) { return all[len(all)-1].Number, nil }

// EndpointsBetween implements ingest.Rows.
func (all stored) EndpointsBetween(_ context.Context, after, upTo int64) (page []store.Endpoint, err error) {
	for _, e := range all {
		if after < e.Number && e.Number <= upTo {
			page = append(page, e)
		}
	}
	return page, nil
}

// What was written by a clock that was ahead makes nobody heard in the future: until then nobody would miss the host.
func TestLoadedFromTheFuture(t *testing.T) {
	t.Parallel()
	now := clock.Wall{}.Now()
	rows := []store.Endpoint{{ID: "ep-1", Number: 1, LastSeen: now.Add(time.Hour).Round(0)}, {ID: "ep-2", Number: 2, LastSeen: now.Add(-time.Hour).Round(0)}}
	for name, load := range map[string]func(*registry.Registry){
		"load": func(r *registry.Registry) {
			if err := ingest.LoadAll(t.Context(), stored(rows), r, now); err != nil {
				t.Error(err)
			}
		},
		"merge": func(r *registry.Registry) { ingest.Merge(rows, r, now) },
	} {
		r := registry.New()
		load(r)
		ahead, _ := r.Get("ep-1")
		past, _ := r.Get("ep-2")
		if !ahead.LastSeen.Equal(now) || !past.LastSeen.Equal(now.Add(-time.Hour)) {
			t.Errorf("%s: got heard at %v and %v, want %v and an hour before", name, ahead.LastSeen, past.LastSeen, now)
		}
	}
}

// A server that was restarted asks each host for its state once, and knows meanwhile what was written behind.
func TestResyncAfterRestart(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	if !h.checkIn(api.CheckIn{}).Resync || h.checkIn(full()).Resync || h.checkIn(api.CheckIn{}).Resync {
		t.Error("got resync wrong: want it until the state was sent")
	}
	h.checkIn(api.CheckIn{Reports: reports(1, 2), Posture: &api.Posture{Have: []string{"guard", "of-tomorrow"}, Missing: []string{"good"}}})
	w.clock.Move(time.Minute)
	h.checkIn(api.CheckIn{})
	seen := w.clock.Now()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.ok(w.ingest.Run(ctx)) // the last words of a server that stops

	w.fleet = registry.New()
	w.ok(ingest.LoadAll(t.Context(), w.db, w.fleet, w.clock.Now()))
	w.server.Config.Handler = w.new().Handler()
	got, _ := w.fleet.Get(h.id)
	if got.Components[component].Version != "v1" || got.Boot != "boot-1" || got.Subject.Attributes.Kernel != "6.1" || seen.Sub(got.LastSeen).Abs() > time.Millisecond {
		t.Errorf("after the restart: got %+v, want what the host said", got)
	}
	if !got.Posture.Said() || !slices.Equal(got.Posture.Have(), []string{"guard"}) {
		t.Errorf("after the restart: got posture %v, want guard", got.Posture.Have())
	}
	if reply := h.checkIn(api.CheckIn{}); !reply.Resync || reply.Reported != 2 || reply.Directives[component] != 3 {
		t.Errorf("after the restart: got %+v, want a resync, and what is known", reply)
	}
	if h.checkIn(full()).Resync {
		t.Error("got a resync after the state was sent")
	}
	bare := w.enrolled() // a host without any component has a whole state, too
	if bare.checkIn(api.CheckIn{Boot: "b", Attributes: full().Attributes}).Resync {
		t.Error("got a resync of a host without components")
	}
}

// A check-in that changes nothing touches no database, neither at once nor, but for the time it was seen, when it is written behind.
func TestUnchangedCheckInTouchesNoDatabase(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	h.checkIn(full())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.ok(w.ingest.Run(ctx))
	w.calls.calls.Store(0)
	for range 10 {
		h.checkIn(api.CheckIn{})
	}
	h.checkIn(full()) // says everything again, and nothing new
	if got := w.calls.calls.Load(); got != 0 {
		t.Errorf("got %d calls of the database, want none", got)
	}
	w.ok(w.ingest.Run(ctx))
	if got := w.calls.calls.Load(); got != 1 {
		t.Errorf("got %d calls of the database for all written behind, want 1", got)
	}
}

// What cannot be written behind is written the next time.
func TestWriteBehindTriesAgain(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	h.checkIn(full())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.calls.broken.Store(true)
	w.ok(w.ingest.Run(ctx))
	w.calls.broken.Store(false)
	w.clock.Move(time.Minute)
	w.ok(w.ingest.Run(ctx))
	row, err := w.db.Endpoint(t.Context(), h.id)
	w.ok(err)
	if row.Boot != "boot-1" || len(row.Components) == 0 || row.LastSeen.IsZero() {
		t.Errorf("got %+v, want what the host said", row)
	}
}

func TestDirectives(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	answer, err := h.try(http.MethodGet, api.PathDirectives+component, "", nil)
	w.ok(err)
	if answer.status != http.StatusOK || string(answer.data) != `{"directive": true}` || answer.header.Get("ETag") != `"3"` {
		t.Errorf("got %d %s with ETag %s, want the directive", answer.status, answer.data, answer.header.Get("ETag"))
	}
	answer, err = h.try(http.MethodGet, api.PathDirectives+component, "", http.Header{"If-None-Match": {`"3"`}})
	w.ok(err)
	if answer.status != http.StatusNotModified || len(answer.data) != 0 {
		t.Errorf("got %d %s, want 304", answer.status, answer.data)
	}
	w.engine.sequence[component]++
	if status, _ := h.do(http.MethodGet, api.PathDirectives+component, "", http.Header{"If-None-Match": {`"3"`}}); status != http.StatusOK {
		t.Errorf("got %d after a change, want 200", status)
	}
	status, data := h.do(http.MethodGet, api.PathDirectives+"nothing", "", nil)
	problem(t, status, data, http.StatusNotFound, "nothing", "there is none yet")
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	path := api.PathArtifacts + string(w.put("0123456789"))
	for _, c := range []struct {
		header http.Header
		status int
		body   string
	}{
		{nil, http.StatusOK, "0123456789"},
		{http.Header{"Range": {"bytes=4-"}}, http.StatusPartialContent, "456789"},
		{http.Header{"Range": {"bytes=2-3"}}, http.StatusPartialContent, "23"},
		{http.Header{"Range": {"bytes=4-"}, "If-Range": {`"other"`}}, http.StatusOK, "0123456789"},
	} {
		if status, data := h.do(http.MethodGet, path, "", c.header); status != c.status || string(data) != c.body {
			t.Errorf("%v: got %d %q, want %d %q", c.header, status, data, c.status, c.body)
		}
	}
	if status, _ := h.do(http.MethodGet, path, "", http.Header{"Range": {"bytes=10-"}}); status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("past the end: got %d, want 416", status)
	}
	status, data := h.do(http.MethodGet, api.PathArtifacts+"sha256:"+strings.Repeat("0", 64), "", nil)
	problem(t, status, data, http.StatusNotFound)
	for _, bad := range []string{"sha256:00", "md5:" + strings.Repeat("0", 64), "..%2f..%2fkeys%2fca.pem"} {
		status, data := h.do(http.MethodGet, api.PathArtifacts+bad, "", nil)
		problem(t, status, data, http.StatusBadRequest, "hexadecimal")
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	w.files["timestamp.json"], w.files["targets/sensor-content/v1/00.release.json"] = `{"timestamp": 1}`, "0123456789"
	if status, data := h.do(http.MethodGet, api.PathTUF+"timestamp.json", "", nil); status != http.StatusOK || string(data) != `{"timestamp": 1}` {
		t.Errorf("got %d %s, want the file", status, data)
	}
	target := api.PathTUF + "targets/sensor-content/v1/00.release.json"
	if status, data := h.do(http.MethodGet, target, "", http.Header{"Range": {"bytes=8-"}}); status != http.StatusPartialContent || string(data) != "89" {
		t.Errorf("got %d %s, want the end of the target", status, data)
	}
	for _, missing := range []string{"7.root.json", "targets/none"} {
		status, data := h.do(http.MethodGet, api.PathTUF+missing, "", nil)
		problem(t, status, data, http.StatusNotFound, "no such file")
	}
}

func TestFailuresAreLoggedAndNotTold(t *testing.T) {
	t.Parallel()
	w := open(t)
	w.calls.broken.Store(true)
	s := w.stranger()
	unknown, err := token.Mint(token.JoinPrefix, rand.Reader)
	w.ok(err)
	status, data := s.post(api.PathEnrol, api.EnrolRequest{Token: unknown.Secret, CSR: s.csr()})
	problem(t, status, data, http.StatusServiceUnavailable, "the disk is full")
	if !strings.Contains(w.log.String(), "the disk is full") {
		t.Errorf("got log %s, want the failure in it", w.log)
	}
}

// What a host found of a crash is stored with its report, cut to what is worth keeping.
func TestCrashesAreBounded(t *testing.T) {
	t.Parallel()
	w := open(t)
	h := w.enrolled()
	long := strings.Repeat("é", 300)
	crashed := reports(1)[0]
	crashed.Outcome, crashed.Crash = "crashed", &api.Crash{Signal: long, Status: -1, Signature: long, Headline: long}
	h.checkIn(api.CheckIn{Reports: []api.Report{crashed}})
	stored, err := w.db.UntakenReports(t.Context(), 0, 0)
	w.ok(err)
	var got api.Report
	w.ok(json.Unmarshal(stored[0].Data, &got))
	short := strings.Repeat("é", 128)
	want := &api.Crash{Signal: short, Status: -1, Signature: short, Headline: short}
	if diff := cmp.Diff(want, got.Crash); diff != "" {
		t.Errorf("crash (-want +got):\n%s", diff)
	}
}
