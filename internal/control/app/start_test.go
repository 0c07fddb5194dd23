package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/health"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres/postgrestest"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// TestMain gives all tests credentials for an object store, and a PostgreSQL if they ask for one.
func TestMain(m *testing.M) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	postgrestest.Main(m)
}

// hurried waits for nothing longer than a moment, so that a test sees in a second what takes a server a minute.
type hurried struct {
	clock.Wall
	waited atomic.Int64
}

func (h *hurried) Sleep(ctx context.Context, d time.Duration) error {
	h.waited.Add(1)
	return h.Wall.Sleep(ctx, min(d, 30*time.Millisecond))
}

// words are what was written, for several goroutines.
type words struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// free is an address that nobody listens on.
func free(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// settings are those of a control plane in a directory of its own.
func settings(t *testing.T) Options {
	t.Helper()
	return Options{
		Data: filepath.Join(t.TempDir(), "data"), Operators: free(t), Agents: free(t), PollIdle: time.Second, PollActive: time.Second, Grace: time.Millisecond,
		Version: "test", Out: io.Discard, Log: slog.New(slog.DiscardHandler), Clock: &hurried{},
	}
}

// plane is a control plane that was told to serve.
type plane struct {
	t     *testing.T
	o     Options
	out   *words
	ended chan error
	stop  func() // as SIGTERM does
}

func serve(t *testing.T, o Options) *plane {
	t.Helper()
	p := &plane{t: t, o: o, out: &words{}, ended: make(chan error, 1)}
	p.o.Out = p.out
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p.stop = cancel
	go func() { p.ended <- Run(ctx, p.o); close(p.ended) }()
	t.Cleanup(func() {
		cancel()
		if err := <-p.ended; err != nil {
			t.Errorf("got %v at the end, want none", err)
		}
	})
	return p
}

// send asks the operators' port, with the first start's token if it was printed.
func (p *plane) send(method, path, body string) (int, http.Header, []byte, error) {
	r, err := http.NewRequestWithContext(p.t.Context(), method, "http://"+p.o.Operators+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	if m := regexp.MustCompile(`FIREBREAK_TOKEN=(\S+)`).FindStringSubmatch(p.out.String()); m != nil {
		r.Header.Set("Authorization", "Bearer "+m[1])
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header, data, err
}

// ready is what /readyz says.
func (p *plane) ready() (int, health.Report) {
	var report health.Report
	code, _, data, err := p.send(http.MethodGet, "/readyz", "")
	if err == nil {
		err = json.Unmarshal(data, &report)
	}
	if err != nil {
		return 0, health.Report{Checks: []health.State{{Why: err.Error()}}}
	}
	return code, report
}

// within waits until something holds.
func within(t *testing.T, what string, holds func() error) {
	t.Helper()
	var err error
	for range 1000 {
		if err = holds(); err == nil {
			return
		}
		_ = clock.Wall{}.Sleep(t.Context(), 20*time.Millisecond)
	}
	t.Fatalf("%s: got %v", what, err)
}

// isReady waits until /readyz says ready.
func (p *plane) isReady() {
	p.t.Helper()
	within(p.t, "ready", func() error {
		if code, report := p.ready(); code != http.StatusOK || !report.Ready || report.Starting {
			return fmt.Errorf("%d %+v", code, report)
		}
		return nil
	})
}

// waitsFor waits until /readyz says that a check is not well, and gives what it says of it.
func (p *plane) waitsFor(name string) (found health.State) {
	p.t.Helper()
	within(p.t, "wait for the "+name, func() error {
		code, report := p.ready()
		for _, c := range report.Checks {
			if c.Name == name && !c.OK && c.Next != "" && code == http.StatusServiceUnavailable {
				found = c
				return nil
			}
		}
		return fmt.Errorf("%d %+v", code, report)
	})
	return found
}

// notes are the notes of the tokens that are stored.
func (p *plane) notes() ([]string, error) {
	code, _, data, err := p.send(http.MethodGet, "/api/v1/tokens", "")
	if err != nil || code != http.StatusOK {
		return nil, fmt.Errorf("list tokens: %d %s %w", code, data, err)
	}
	var list struct {
		Items []api.Token `json:"items"`
	}
	if err := json.Unmarshal(data, &list); err != nil || len(list.Items) == 0 {
		return nil, fmt.Errorf("list tokens: %s %w", data, err)
	}
	var notes []string
	for _, token := range list.Items {
		notes = append(notes, token.Note)
	}
	return notes, nil
}

// note makes a token with a note, and tells whether it is stored.
func (p *plane) note(note string) error {
	code, _, data, err := p.send(http.MethodPost, "/api/v1/tokens", `{"kind":"operator","note":"`+note+`"}`)
	if err != nil || code >= http.StatusMultipleChoices {
		return fmt.Errorf("make a token: %d %s %w", code, data, err)
	}
	return nil
}

// bucket is an object store that can be switched off: then nobody listens at its address.
type bucket struct {
	t       *testing.T
	address string
	handler http.Handler
	server  *httptest.Server
}

func newBucket(t *testing.T) *bucket {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("blobs"); err != nil {
		t.Fatal(err)
	}
	b := &bucket{t: t, address: free(t), handler: gofakes3.New(backend, gofakes3.WithTimeSkewLimit(0), gofakes3.WithoutVersioning()).Server()}
	t.Cleanup(b.off)
	return b
}

func (b *bucket) location() string { return "s3://blobs/p?region=eu-1&endpoint=http://" + b.address }

func (b *bucket) on() {
	b.t.Helper()
	l, err := new(net.ListenConfig).Listen(b.t.Context(), "tcp", b.address)
	if err != nil {
		b.t.Fatal(err)
	}
	b.server = httptest.NewUnstartedServer(b.handler)
	_ = b.server.Listener.Close()
	b.server.Listener = l
	b.server.Start()
}

func (b *bucket) off() {
	if b.server != nil {
		b.server.CloseClientConnections()
		b.server.Close()
		b.server = nil
	}
}

// What is away at the start is waited for, in words, on ports that stay; and then the start goes on by itself.
func TestAStartWaitsForArtifactsThatAreAway(t *testing.T) {
	t.Parallel()
	b, o, log := newBucket(t), settings(t), &words{}
	o.Blobs, o.Private, o.Log = b.location(), free(t), slog.New(slog.NewTextHandler(log, nil))
	p := serve(t, o)
	state := p.waitsFor("artifacts")
	if !strings.Contains(state.Why, "s3://blobs/p") || !strings.Contains(state.Next, "object store") || state.Since.IsZero() {
		t.Errorf("got %+v, want it to say which object store, since when, and what to do", state)
	}
	for path, want := range map[string]int{"/healthz": 200, "/": 200, "/rollouts": 200, "/console/nothing": 404} {
		if code, _, data, err := p.send(http.MethodGet, path, ""); code != want || err != nil {
			t.Errorf("%s: got %d %s, %v, want %d", path, code, data, err, want)
		}
	}
	for _, path := range []string{"/api/v1/status", "/v2/", "/api/nowhere"} {
		p.isStarting(path, state.Why)
	}
	agents, err := new(net.Dialer).DialContext(t.Context(), "tcp", o.Agents)
	if err == nil {
		_ = agents.Close()
		t.Error("got a connection on the agents' port, want that nobody listens yet")
	}
	held, err := new(net.Dialer).DialContext(t.Context(), "tcp", o.Operators) // one connection through it all
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	b.on()
	p.isReady()
	if _, err := p.notes(); err != nil {
		t.Error(err)
	}
	if _, err := fmt.Fprintf(held, "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(held); err != nil || !strings.HasPrefix(string(data), "HTTP/1.1 200") {
		t.Errorf("got %q, %v on a connection from before, want that it is answered", data, err)
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		if code := get(t, "http://"+o.Private+path); code != http.StatusOK {
			t.Errorf("%s on the private port: got %d, want 200", path, code)
		}
	}
	if n := strings.Count(log.String(), "waiting to start"); n != 1 || !strings.Contains(log.String(), "waits no more") {
		t.Errorf("got it in the log %d times, want the first failure and its end:\n%s", n, log)
	}
}

// isStarting tells whether a path is refused with the words of /readyz.
func (p *plane) isStarting(path, why string) {
	p.t.Helper()
	began := clock.Wall{}.Now()
	code, header, data, err := p.send(http.MethodGet, path, "")
	if err != nil {
		p.t.Fatal(err)
	}
	if took := (clock.Wall{}).Now().Sub(began); took >= patience {
		p.t.Errorf("%s: got an answer after %v, want it at once: it is known what is away", path, took)
	}
	var got api.Problem
	if err := json.Unmarshal(data, &got); err != nil {
		p.t.Fatalf("%s: got %s: %v", path, data, err)
	}
	if code != http.StatusServiceUnavailable || header.Get("Content-Type") != api.ProblemType || header.Get("Retry-After") == "" {
		p.t.Errorf("%s: got %d %v, want a problem and when to come again", path, code, header)
	}
	if got.Code != "starting" || got.Type != "urn:firebreak:unavailable" || !strings.Contains(got.Detail, why) || got.Next == "" {
		p.t.Errorf("%s: got %+v, want the code starting and %q", path, got, why)
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Errorf("got %v", err)
		return 0
	}
	defer answer.Body.Close()
	return answer.StatusCode
}

// Nobody sees that the ports are handed over: while it waits and while it opens, every connection is accepted and answered.
func TestPortsDoNotFlap(t *testing.T) {
	t.Parallel()
	b, o := newBucket(t), settings(t)
	o.Blobs = b.location()
	p := serve(t, o)
	p.waitsFor("artifacts")
	var asking sync.WaitGroup
	done, fresh := make(chan struct{}), &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, path := range []string{"/healthz", "/readyz", "/api/v1/status"} {
		asking.Go(func() {
			for {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+o.Operators+path, nil)
				if err != nil {
					t.Error(err)
					return
				}
				answer, err := fresh.Do(r)
				if err != nil {
					t.Errorf("%s: got %v, want an answer", path, err)
					return
				}
				_ = answer.Body.Close()
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	b.on()
	p.isReady()
	close(done)
	asking.Wait()
}

// Requests that come while a start goes well wait for it, as they would in the kernel, for a while; those that come while it waits do not.
func TestRequestsWaitForAStartThatGoesWell(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		happens func(ctx context.Context, s *start, p *port)
		code    int
		after   time.Duration
	}{
		"it opens": {func(ctx context.Context, _ *start, p *port) {
			_ = clock.Wall{}.Sleep(ctx, time.Second)
			p.open(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
		}, http.StatusTeapot, time.Second},
		"something is away": {func(_ context.Context, s *start, _ *port) { s.stick() }, http.StatusServiceUnavailable, 0},
		"it takes long":     {func(context.Context, *start, *port) {}, http.StatusServiceUnavailable, patience},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStart(Options{Clock: clock.Wall{}, Log: slog.New(slog.DiscardHandler)})
				p := &port{opened: make(chan struct{})}
				p.meanwhile = s.handler(p)
				began, answer, answered := clock.Wall{}.Now(), httptest.NewRecorder(), make(chan struct{})
				go func() {
					defer close(answered)
					p.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/api/v1/status", nil))
				}()
				synctest.Wait()
				test.happens(t.Context(), s, p)
				<-answered
				if took := (clock.Wall{}).Now().Sub(began); answer.Code != test.code || took != test.after {
					t.Errorf("got %d after %v, want %d after %v", answer.Code, took, test.code, test.after)
				}
			})
		})
	}
}

// SIGTERM ends a start that waits, in good order, and gives the ports back.
func TestAStartThatWaitsCanBeStopped(t *testing.T) {
	t.Parallel()
	o := settings(t)
	o.Database = "postgres://u:pw@" + free(t) + "/db?sslmode=disable"
	o.Clock = clock.Wall{} // it is in the middle of a pause
	p := serve(t, o)
	if state := p.waitsFor("database"); !strings.Contains(state.Why, "connection refused") || strings.Contains(state.Why, "pw@") || strings.Contains(state.Why, "\n") {
		t.Errorf("got %q, want why in one line, without the password", state.Why)
	}
	p.stop()
	if err := <-p.ended; err != nil {
		t.Errorf("got %v, want no error", err)
	}
	for _, address := range []string{o.Operators, o.Agents} {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err != nil {
			t.Errorf("got %v, want %s free again", err, address)
			continue
		}
		_ = l.Close()
	}
}

// What waiting cannot mend ends the start at once, with what is wrong and what to do.
func TestAStartEndsAtOnceIfWaitingCannotMendIt(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	refusing := func(status int, code string) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
		}))
		t.Cleanup(s.Close)
		return "s3://blobs?endpoint=" + s.URL
	}
	tlsStore := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(tlsStore.Close)
	nowhere := "postgres://u@" + free(t) + "/db" // away: that must not hide what is wrong
	for name, test := range map[string]struct {
		change func(t *testing.T, o *Options)
		kind   fault.Kind
		want   string
	}{
		"operators on a network": {func(_ *testing.T, o *Options) { o.Operators, o.Database = "0.0.0.0:0", nowhere }, fault.Invalid, "clear text"},
		"URL of the database":    {func(_ *testing.T, o *Options) { o.Database = "mysql://u:pw@db/x" }, fault.Invalid, "read the database's URL"},
		"location of artifacts":  {func(_ *testing.T, o *Options) { o.Database, o.Blobs = nowhere, "ftp://x" }, fault.Invalid, "no s3:// URL"},
		"peers without a name":   {func(_ *testing.T, o *Options) { o.Database, o.Peers = nowhere, []string{"us=https://us"} }, fault.Invalid, "no name among them"},
		"the operators' port":    {func(_ *testing.T, o *Options) { o.Operators = taken.Addr().String() }, fault.Unavailable, "--listen-operator"},
		"the agents' port":       {func(_ *testing.T, o *Options) { o.Agents, o.Database = taken.Addr().String(), nowhere }, fault.Unavailable, "--listen-agents"},
		"the private port":       {func(_ *testing.T, o *Options) { o.Private = taken.Addr().String() }, fault.Unavailable, "--listen-private"},
		"keys of the artifacts":  {func(_ *testing.T, o *Options) { o.Blobs = refusing(http.StatusForbidden, "AccessDenied") }, fault.Denied, "access key"},
		"no such bucket":         {func(_ *testing.T, o *Options) { o.Blobs = refusing(http.StatusNotFound, "NoSuchBucket") }, fault.NotFound, "Make the bucket"},
		"a stranger's certificate": {func(_ *testing.T, o *Options) {
			o.Blobs = "s3://blobs?endpoint=" + tlsStore.URL
		}, fault.Unavailable, "certificate"},
		"a file where the directory should be": {func(t *testing.T, o *Options) {
			write(t, o.Data, "x")
		}, fault.Internal, "not a directory"},
		"no database": {func(t *testing.T, o *Options) {
			write(t, filepath.Join(o.Data, databaseName), strings.Repeat("no database ", 1000))
		}, fault.Internal, "restore it from a backup"},
		"keys that others may read": {func(t *testing.T, o *Options) {
			write(t, filepath.Join(o.Data, "keys", "ca.pem"), "x")
			if err := os.Chmod(filepath.Join(o.Data, "keys", "ca.pem"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, fault.Denied, "chmod 600"},
		"damaged keys": {func(t *testing.T, o *Options) {
			write(t, filepath.Join(o.Data, "keys", "ca.pem"), "x")
		}, fault.Invalid, "restore the file"},
		"somebody else's directory": {func(t *testing.T, o *Options) {
			if os.Geteuid() == 0 {
				t.Skip("root may write everywhere")
			}
			o.Data = "/"
		}, fault.Internal, "permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, c := settings(t), &hurried{}
			o.Clock = c
			test.change(t, &o)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // it ends without an error then
			defer cancel()
			err := Run(ctx, o)
			said := fmt.Sprint(err, " next: ", fault.NextOf(err))
			if fault.KindOf(err) != test.kind || !strings.Contains(said, test.want) {
				t.Errorf("got %s error %s, want %s and %q", fault.KindOf(err), said, test.kind, test.want)
			}
			if n := c.waited.Load(); n > 0 {
				t.Errorf("got %d pauses, want none: waiting does not mend it", n)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// A second process on the same data says that, whatever else is taken too.
func TestAStartOnDataThatIsInUse(t *testing.T) {
	t.Parallel()
	p := serve(t, settings(t))
	p.isReady()
	other := settings(t)
	other.Data = p.o.Data
	for name, o := range map[string]Options{"everything is the same": p.o, "other ports": other} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // it ends without an error then
		defer cancel()
		if err := Run(ctx, o); fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "another process has this database open") {
			t.Errorf("%s: got %v, want that the data is in use", name, err)
		}
	}
	p.isReady()
}

// has tells whether all that was acknowledged is there.
func (p *plane) has(want ...string) {
	p.t.Helper()
	var notes []string
	within(p.t, "list tokens", func() (err error) { notes, err = p.notes(); return err })
	for _, note := range want {
		if !strings.Contains(strings.Join(notes, " "), note) {
			p.t.Errorf("got %q, want %q among them: it was acknowledged", notes, note)
		}
	}
}
