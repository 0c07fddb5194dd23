package bench

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// goals of check-ins; they are held at full size only.
const (
	leastRatio = 0.60 // of the throughput of a handler that does nothing
	mostP99    = 5.0  // times its slowest in a hundred
	leastFlat  = 0.90 // of the throughput with a hundredth of the hosts
)

const callers = 32

// rounds is how many rounds of how long are taken of each side.
func rounds() (int, time.Duration) {
	if *full {
		return 8, time.Second
	}
	return 2, 50 * time.Millisecond
}

// calm is an engine with a directive for each component and, but for the exposed, nothing to decide.
type calm struct {
	ingest.Engine
	mu       sync.RWMutex
	sequence int64
	exposed  map[fleet.EndpointID]bool
}

// Directive implements ingest.Engine.
func (c *calm) Directive(string) (envelope []byte, sequence int64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return nil, c.sequence
}

// Pending implements ingest.Engine.
func (c *calm) Pending(id fleet.EndpointID, _ string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.exposed[id]
}

// port is an agent port without anything behind it that a check-in which changes nothing could want.
func port(r *registry.Registry, e *calm) *ingest.Ingest {
	return ingest.New(ingest.Options{
		Engine: e, Fleet: r, Clock: clock.Wall{}, Log: slog.New(slog.DiscardHandler), PollIdle: time.Minute, PollActive: time.Second,
	})
}

// trivial answers as many bytes as a check-in gets and does nothing else.
func trivial(size int) http.Handler {
	body := bytes.Repeat([]byte("x"), size)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
}

// as lets requests of a connection without TLS come from host after host, as if each had its own.
func as(next http.Handler, hosts int) http.Handler {
	states := make([]*tls.ConnectionState, hosts)
	for i := range states {
		leaf := &x509.Certificate{RawSubjectPublicKeyInfo: publicKey(i)}
		states[i] = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{leaf}}}
	}
	var turn atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.TLS = states[int(turn.Add(1))%len(states)]
		next.ServeHTTP(w, r)
	})
}

// side is one of the two that are compared: a server, and the callers' connections to it.
type side struct {
	callers []*caller
	served  int
	took    time.Duration
	delays  []time.Duration
}

// caller sends the same request again and again over its connection, with as little work as can be: it shares the machine.
type caller struct {
	net.Conn
	answers *bufio.Reader
	size    int
}

func request() []byte {
	return []byte("POST " + api.PathCheckIn + " HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
}

func (c *caller) call(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	size := -1
	for first := true; ; first = false {
		text, err := c.answers.ReadSlice('\n')
		switch {
		case err != nil:
			return err
		case first && !bytes.Contains(text, []byte(" 200 ")):
			return fmt.Errorf("answered with %s", text)
		case len(text) <= 2:
			c.size = size
			_, err = c.answers.Discard(size)
			return err
		}
		if value, is := bytes.CutPrefix(text, []byte("Content-Length: ")); is {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
	}
}

// connect starts a server, with TLS if there is a configuration, and the callers.
func connect(t *testing.T, handler http.Handler, in *ingest.Ingest, config *tls.Config, dial func(i int, address string) (net.Conn, error)) *side {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	if in != nil {
		server.Config.ConnContext = in.ConnContext
	}
	if config == nil {
		server.Start()
	} else {
		server.TLS = config
		server.StartTLS()
	}
	t.Cleanup(server.Close)
	s := &side{}
	for i := range callers {
		conn, err := dial(i, server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		s.callers = append(s.callers, &caller{Conn: conn, answers: bufio.NewReader(conn)})
	}
	s.play(t, time.Millisecond)
	s.served, s.took, s.delays = 0, 0, nil
	return s
}

// play lets all callers call for so long.
func (s *side) play(t *testing.T, length time.Duration) {
	t.Helper()
	begin := clock.Wall{}.Now()
	delays := make([][]time.Duration, len(s.callers))
	var calling sync.WaitGroup
	for i, c := range s.callers {
		calling.Go(func() {
			text := request()
			for last := begin; last.Sub(begin) < length; {
				if err := c.call(text); err != nil {
					t.Error(err)
					return
				}
				now := clock.Wall{}.Now()
				delays[i] = append(delays[i], now.Sub(last))
				last = now
			}
		})
	}
	calling.Wait()
	s.took += clock.Wall{}.Now().Sub(begin)
	for _, some := range delays {
		s.served += len(some)
		s.delays = append(s.delays, some...)
	}
	if t.Failed() {
		t.FailNow()
	}
}

func (s *side) rate() float64 { return float64(s.served) / s.took.Seconds() }

// p99 is the delay that one call of a hundred exceeds.
func (s *side) p99() float64 {
	slices.Sort(s.delays)
	return s.delays[len(s.delays)*99/100].Seconds()
}

// compare plays sides in turns.
func compare(t *testing.T, sides ...*side) {
	t.Helper()
	n, length := rounds()
	for range n {
		for _, s := range sides {
			s.play(t, length)
		}
	}
}

func plainly(_ int, address string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(context.Background(), "tcp", address)
}

// TestCheckInPlain compares check-ins that change nothing with a handler that does nothing, without TLS.
func TestCheckInPlain(t *testing.T) {
	const hosts = 2000
	in := port(populate(hosts), &calm{sequence: 7})
	ours := connect(t, as(in.Handler(), hosts), in, nil, plainly)
	theirs := connect(t, trivial(ours.callers[0].size), nil, nil, plainly)
	compare(t, ours, theirs)
	ratio, slow := ours.rate()/theirs.rate(), ours.p99()/theirs.p99()
	figure(t, "checkin_plain_ratio", ratio, "ratio")
	figure(t, "checkin_plain_rate", ours.rate(), "1/s")
	figure(t, "checkin_p99_ratio", slow, "ratio")
	if *full && (ratio < leastRatio || slow > mostP99) {
		t.Errorf("got a throughput of %.2f and a p99 of %.2f of a trivial handler's, want at least %.2f, at most %.0f", ratio, slow, leastRatio, mostP99)
	}
}

// TestCheckInTLS does the same with client certificates, on connections that are used again.
func TestCheckInTLS(t *testing.T) {
	authority, err := ca.Open(t.TempDir(), clock.Wall{})
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := authority.SignServer([]string{"127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: authority.Pool(),
		NextProtos: []string{"http/1.1"},
	}
	fleetOf := populate(10_000)
	dial := dialTLS(t, authority, func(id fleet.EndpointID) {
		e := member(0)
		e.ID, e.Number = id, 0
		fleetOf.Put(e)
	})
	in := port(fleetOf, &calm{sequence: 7})
	ours := connect(t, in.Handler(), in, config.Clone(), dial)
	theirs := connect(t, trivial(ours.callers[0].size), nil, config.Clone(), dial)
	compare(t, ours, theirs)
	ratio := ours.rate() / theirs.rate()
	figure(t, "checkin_tls_ratio", ratio, "ratio")
	figure(t, "checkin_tls_rate", ours.rate(), "1/s")
	figure(t, "checkin_tls_p99_ratio", ours.p99()/theirs.p99(), "ratio")
	if *full && ratio < leastRatio {
		t.Errorf("got a throughput of %.2f of a trivial handler's, want at least %.2f", ratio, leastRatio)
	}
}

// dialTLS gives each caller an identity, which is enrolled.
func dialTLS(t *testing.T, authority *ca.CA, enrol func(fleet.EndpointID)) func(int, string) (net.Conn, error) {
	t.Helper()
	own := make([]tls.Certificate, callers)
	for i := range own {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		if err != nil {
			t.Fatal(err)
		}
		der, id, err := authority.SignEndpoint(csr)
		if err != nil {
			t.Fatal(err)
		}
		enrol(id)
		own[i] = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	return func(i int, address string) (net.Conn, error) {
		dialer := tls.Dialer{Config: &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: authority.Pool(), ServerName: "127.0.0.1", Certificates: own[i : i+1], NextProtos: []string{"http/1.1"},
		}}
		return dialer.DialContext(context.Background(), "tcp", address)
	}
}

// TestCheckInFlatness compares check-ins of fleets of different sizes; and of the large one while a tenth of it is exposed, the fleet is
// counted once a second as for a rollout, hosts report new states, and directives change.
func TestCheckInFlatness(t *testing.T) {
	few, many := 1000, 5000
	if *full {
		few, many = 10_000, 1_000_000
	}
	small := port(populate(few), &calm{sequence: 7})
	fleetOf, engine := populate(many), &calm{sequence: 7, exposed: map[fleet.EndpointID]bool{}}
	large := port(fleetOf, engine)
	one := connect(t, as(small.Handler(), few), small, nil, plainly)
	other := connect(t, as(large.Handler(), 5*few), large, nil, plainly)
	compare(t, one, other)
	flat := other.rate() / one.rate()
	figure(t, "checkin_flatness", flat, "ratio")

	for i := 0; i < many; i += 10 {
		engine.exposed[ca.Identify(publicKey(i))] = true
	}
	one.served, one.took, other.served, other.took = 0, 0, 0, 0
	ctx, cancel := context.WithCancel(t.Context())
	var rollout sync.WaitGroup
	rollout.Go(func() { busy(ctx, fleetOf, engine, many) })
	compare(t, one, other)
	cancel()
	rollout.Wait()
	during := other.rate() / one.rate() // while both share the machine with the rollout
	figure(t, "checkin_flatness_rollout", during, "ratio")
	if *full && (flat < leastFlat || during < leastFlat) {
		t.Errorf("got %.2f of the throughput with a hundred times the hosts, and %.2f during a rollout, want at least %.2f", flat, during, leastFlat)
	}
}

// busy does to a registry what a rollout does, until ctx ends.
func busy(ctx context.Context, r *registry.Registry, e *calm, hosts int) {
	exposed := func(id fleet.EndpointID) bool { return e.Pending(id, "") }
	for n := 0; (clock.Wall{}).Sleep(ctx, 10*time.Millisecond) == nil; n++ {
		for i := range 20 {
			host := member((n*20 + i) * 7919 % hosts)
			c := host.Components["sensor"]
			c.Phase = []string{"proving", "idle"}[n%2]
			host.Components["sensor"] = c
			r.Update(host.ID, nil, host.Components, "")
		}
		if n%100 == 0 {
			e.mu.Lock()
			e.sequence++
			e.mu.Unlock()
			r.Sizes("sensor")
			r.Count(registry.Question{Component: "sensor", Exposed: exposed, Strata: []string{"os", "class"}})
		}
	}
}
