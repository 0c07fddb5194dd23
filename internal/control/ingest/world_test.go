package ingest_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob/disk"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
	"github.com/firebreak-dev/firebreak/internal/control/token"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

const component = "sensor-content"

// world is the agent port of a control plane over real TLS, with the real CA, store, blobs and registry. Its engine does as it is told.
type world struct {
	t      testing.TB
	db     *store.Store
	calls  *counting // what ingest gets
	ca     *ca.CA
	fleet  *registry.Registry
	engine *obedient
	blobs  *disk.Store
	files  files
	clock  *clock.Fixed
	log    *bytes.Buffer
	ingest *ingest.Ingest
	server *httptest.Server
}

func open(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, "firebreak.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{
		t: t, db: db, calls: &counting{Store: db}, fleet: registry.New(), engine: &obedient{sequence: map[string]int64{component: 3}},
		files: files{}, clock: clock.At(clock.Wall{}.Now()), log: &bytes.Buffer{}, // TLS knows no other time than today's
	}
	w.ca, err = ca.Open(filepath.Join(dir, "keys"), w.clock)
	w.ok(err)
	w.blobs, err = disk.Open(filepath.Join(dir, "blobs"))
	w.ok(err)
	w.ingest = w.new()
	w.server = w.serve(w.ingest.Handler())
	return w
}

func (w *world) new() *ingest.Ingest {
	return ingest.New(ingest.Options{
		Store: w.calls, Engine: w.engine, CA: w.ca, Metadata: w.files, Blobs: w.blobs, Fleet: w.fleet, Clock: w.clock,
		Log:      slog.New(slog.NewTextHandler(w.log, nil)),
		PollIdle: time.Minute, PollActive: time.Second, Flush: time.Second, Idle: 30 * time.Second, Streams: 2,
	})
}

// serve listens as the app does: a client certificate is asked for, and verified if there is one.
func (w *world) serve(handler http.Handler) *httptest.Server {
	w.t.Helper()
	certificate, err := w.ca.SignServer([]string{"127.0.0.1"})
	w.ok(err)
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: w.ca.Pool(),
	}
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	server.StartTLS()
	w.t.Cleanup(server.Close)
	return server
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("got error %v, want none", err)
	}
}

// mint stores a join token, of which ID and Hash are made here, and returns its secret.
func (w *world) mint(row store.Token) string {
	w.t.Helper()
	fresh, err := token.Mint(token.JoinPrefix, rand.Reader)
	w.ok(err)
	row.ID, row.Hash, row.Created = fresh.ID, fresh.Hash, w.clock.Now()
	if row.Kind == "" {
		row.Kind, row.Tenant = store.JoinToken, "acme"
	}
	w.ok(w.db.PutToken(w.t.Context(), row))
	return fresh.Secret
}

// host is an endpoint with its key and, once it joined, its certificate.
type host struct {
	*world
	key    *ecdsa.PrivateKey
	id     fleet.EndpointID
	client *http.Client
	der    []byte
}

// stranger makes a host that has not joined.
func (w *world) stranger() *host {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.ok(err)
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	w.ok(err)
	h := &host{world: w, key: key, id: ca.Identify(public)}
	h.present(nil)
	return h
}

// enrolled makes a host that has joined.
func (w *world) enrolled() *host {
	w.t.Helper()
	h := w.stranger()
	h.join(w.mint(store.Token{Left: 1}))
	return h
}

// present lets the host connect with a certificate, or with none.
func (h *host) present(der []byte) {
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: h.ca.Pool()}
	if der != nil {
		certificate := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: h.key}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certificate, nil }
	}
	transport := &http.Transport{TLSClientConfig: config, DisableCompression: true}
	h.t.Cleanup(transport.CloseIdleConnections)
	h.client, h.der = &http.Client{Transport: transport}, der
}

func (h *host) csr() []byte {
	h.t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, h.key)
	h.ok(err)
	return der
}

func (h *host) chain() []*x509.Certificate {
	h.t.Helper()
	leaf, err := x509.ParseCertificate(h.der)
	h.ok(err)
	return []*x509.Certificate{leaf}
}

func (h *host) join(secret string) api.EnrolReply {
	h.t.Helper()
	status, data := h.post(api.PathEnrol, api.EnrolRequest{
		Token: secret, CSR: h.csr(), Attributes: api.Attributes{OS: "linux", Site: "graz"}, Labels: map[string]string{"role": "web"},
	})
	if status != http.StatusOK {
		h.t.Fatalf("join: got %d %s, want 200", status, data)
	}
	var reply api.EnrolReply
	h.ok(json.Unmarshal(data, &reply))
	h.present(reply.Certificate)
	return reply
}

// post sends a value as JSON, or a string as it is.
func (h *host) post(path string, body any) (status int, data []byte) {
	h.t.Helper()
	text, raw := body.(string)
	if !raw {
		encoded, err := json.Marshal(body)
		h.ok(err)
		text = string(encoded)
	}
	return h.do(http.MethodPost, path, text, nil)
}

func (h *host) do(method, path, body string, header http.Header) (status int, data []byte) {
	h.t.Helper()
	answer, err := h.try(method, path, body, header)
	h.ok(err)
	return answer.status, answer.data
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	data   []byte
	closed bool // the connection
}

func (h *host) try(method, path, body string, header http.Header) (answer, error) {
	r, err := http.NewRequestWithContext(h.t.Context(), method, h.server.URL+path, strings.NewReader(body))
	h.ok(err)
	for key := range header {
		r.Header.Set(key, header.Get(key))
	}
	response, err := h.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, response.Header, data, response.Close}, err
}

func (h *host) checkIn(body api.CheckIn) api.CheckInReply {
	h.t.Helper()
	status, data := h.post(api.PathCheckIn, body)
	if status != http.StatusOK {
		h.t.Fatalf("check in: got %d %s, want 200", status, data)
	}
	var reply api.CheckInReply
	h.ok(json.Unmarshal(data, &reply))
	return reply
}

// full is the first check-in after a start.
func full() api.CheckIn {
	return api.CheckIn{
		Attributes: &api.Attributes{OS: "linux", Kernel: "6.1", Site: "graz"}, Boot: "boot-1",
		Components: map[string]api.Component{component: {Kind: "content", Version: "v1", Phase: "idle"}},
	}
}

// problem checks that an answer is a problem of that status whose text holds all words.
func problem(t testing.TB, status int, data []byte, want int, words ...string) api.Problem {
	t.Helper()
	var p api.Problem
	if err := json.Unmarshal(data, &p); err != nil || status != want || p.Status != want {
		t.Errorf("got %d %s, want a problem of status %d", status, data, want)
	}
	for _, word := range words {
		if !bytes.Contains(data, []byte(word)) {
			t.Errorf("got %s, want it to say %q", data, word)
		}
	}
	return p
}

// counting is a store that counts its calls, and fails when told to.
type counting struct {
	*store.Store
	calls  atomic.Int64
	broken atomic.Bool
}

func (c *counting) call() error {
	c.calls.Add(1)
	if c.broken.Load() {
		return fault.New(fault.Unavailable, "write: the disk is full")
	}
	return nil
}

// Join implements ingest.Store.
func (c *counting) Join(ctx context.Context, hash []byte, now time.Time, e store.Endpoint) (store.Token, int64, error) {
	if err := c.call(); err != nil {
		return store.Token{}, 0, err
	}
	return c.Store.Join(ctx, hash, now, e)
}

// SaveEndpoints implements ingest.Store.
func (c *counting) SaveEndpoints(ctx context.Context, all []store.Endpoint) error {
	if err := c.call(); err != nil {
		return err
	}
	return c.Store.SaveEndpoints(ctx, all)
}

// Touch implements ingest.Store.
func (c *counting) Touch(ctx context.Context, seen []store.Seen) error {
	if err := c.call(); err != nil {
		return err
	}
	return c.Store.Touch(ctx, seen)
}

// AddReportsOfMany implements ingest.Store.
func (c *counting) AddReportsOfMany(ctx context.Context, now time.Time, all []store.EndpointReports) ([]store.Stored, error) {
	if err := c.call(); err != nil {
		return nil, err
	}
	return c.Store.AddReportsOfMany(ctx, now, all)
}

// obedient is an engine that says what the test wants.
type obedient struct {
	sequence map[string]int64
	refusal  string
	broken   error
	pending  atomic.Bool
	drained  atomic.Int64
	asked    []string
}

// Ask implements ingest.Engine.
func (o *obedient) Ask(_ context.Context, id fleet.EndpointID, wish api.Wish) (envelope []byte, refusal string, err error) {
	o.asked = append(o.asked, fmt.Sprintf("%s %s", id, wish.Component))
	if o.broken != nil || o.refusal != "" {
		return nil, o.refusal, o.broken
	}
	return []byte(`{"lease": true}`), "", nil
}

// Take implements ingest.Engine.
func (o *obedient) Take(context.Context, fleet.EndpointID) error {
	o.drained.Add(1)
	return o.broken
}

// Directive implements ingest.Engine.
func (o *obedient) Directive(component string) (envelope []byte, sequence int64) {
	if o.sequence[component] == 0 {
		return nil, 0
	}
	return []byte(`{"directive": true}`), o.sequence[component]
}

// Pending implements ingest.Engine.
func (o *obedient) Pending(fleet.EndpointID, string) bool { return o.pending.Load() }

func (o *obedient) Returned(context.Context, fleet.EndpointID, string) error { return nil }

// files are a repository's.
type files map[string]string

// File implements ingest.Metadata.
func (f files) File(_ context.Context, name string) ([]byte, error) {
	if data, ok := f[name]; ok {
		return []byte(data), nil
	}
	return nil, fault.New(fault.NotFound, "read metadata %s: there is no such file", name)
}

// Target implements ingest.Metadata.
func (f files) Target(ctx context.Context, path string) (io.ReadSeekCloser, int64, error) {
	data, err := f.File(ctx, "targets/"+path)
	return nopCloser{bytes.NewReader(data)}, int64(len(data)), err
}

type nopCloser struct{ *bytes.Reader }

func (nopCloser) Close() error { return nil }

func (w *world) put(content string) release.Digest {
	w.t.Helper()
	d := release.DigestOf([]byte(content))
	w.ok(w.blobs.Put(w.t.Context(), d, int64(len(content)), strings.NewReader(content)))
	return d
}
