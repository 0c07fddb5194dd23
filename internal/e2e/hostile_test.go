package e2e

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// light is a host without an agent: a key, a certificate and the requests of the agent port.
type light struct {
	p    *plane
	cert tls.Certificate
	pool *x509.CertPool
	http *http.Client
}

// joinLight makes a host that has joined, and connects from that loopback address.
func (p *plane) joinLight(from string) *light {
	p.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		p.t.Fatal(err)
	}
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} // it learns the CA here
	status, data := send(p.t, stranger, http.MethodPost, p.agents+api.PathEnrol, encoded(p.t, api.EnrolRequest{Token: p.join, CSR: csr}))
	var reply api.EnrolReply
	if err := json.Unmarshal(data, &reply); err != nil || status != http.StatusOK {
		p.t.Fatalf("join: got %d %s", status, data)
	}
	authority, err := x509.ParseCertificate(reply.CA)
	if err != nil {
		p.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(reply.Certificate)
	if err != nil {
		p.t.Fatal(err)
	}
	l := &light{p: p, cert: tls.Certificate{Certificate: [][]byte{reply.Certificate}, PrivateKey: key, Leaf: leaf}, pool: x509.NewCertPool()}
	l.pool.AddCert(authority)
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	transport := &http.Transport{TLSClientConfig: l.config(), DialContext: dialer.DialContext, TLSHandshakeTimeout: 5 * time.Second}
	p.t.Cleanup(transport.CloseIdleConnections)
	l.http = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	return l
}

func (l *light) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: l.pool, ServerName: "localhost", Certificates: []tls.Certificate{l.cert}}
}

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func send(t testing.TB, c *http.Client, method, url string, body []byte) (status int, data []byte) {
	t.Helper()
	status, data, err := trySend(t.Context(), c, method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return status, data
}

func trySend(ctx context.Context, c *http.Client, method, url string, body []byte) (status int, data []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	answer, err := c.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	data, err = io.ReadAll(answer.Body)
	return answer.StatusCode, data, err
}

// took are durations that many note.
type took struct {
	mu  sync.Mutex
	all []time.Duration
}

func (k *took) note(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, d)
}

// most is the p-th part of all from below, and how many there are.
func (k *took) most(p float64) (time.Duration, int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	slices.Sort(k.all)
	if len(k.all) == 0 {
		return 0, 0
	}
	return k.all[int(p*float64(len(k.all)-1))], len(k.all)
}

func timed(f func() error) (time.Duration, error) {
	begun := clock.Wall{}.Now()
	err := f()
	return clock.Wall{}.Now().Sub(begun), err
}

// attacker has connections from an address of its own.
type attacker struct {
	*light
	ctx   context.Context //nolint:containedctx // of the attack
	from  string
	conns sync.WaitGroup
}

// each does something on so many connections at the same time, until the attack ends.
func (a *attacker) each(n int, do func(net.Conn)) {
	gate := make(chan struct{}, 200)
	for range n {
		gate <- struct{}{}
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(a.from)}, Timeout: 2 * time.Second}
		c, err := dialer.DialContext(a.ctx, "tcp", a.p.addresses[1])
		<-gate
		if err != nil {
			continue
		}
		a.conns.Go(func() {
			defer func() { _ = c.Close() }()
			stop := context.AfterFunc(a.ctx, func() { _ = c.Close() })
			defer stop()
			do(c)
		})
	}
}

// secured does something over TLS, with the stolen identity.
func (a *attacker) secured(n int, do func(*tls.Conn)) {
	a.each(n, func(c net.Conn) {
		s := tls.Client(c, a.config())
		if s.HandshakeContext(a.ctx) == nil {
			do(s)
		}
	})
}

// drip writes a little at a time until nobody listens.
func (a *attacker) drip(c net.Conn, first, then string) {
	_, err := io.WriteString(c, first)
	for err == nil && (clock.Wall{}).Sleep(a.ctx, 200*time.Millisecond) == nil {
		_, err = io.WriteString(c, then)
	}
}

// answers writes a request and tells what comes back; 0 if nothing does.
func answers(c net.Conn, request string) int {
	_, _ = io.WriteString(c, request)
	_ = c.SetReadDeadline(clock.Wall{}.Now().Add(5 * time.Second))
	var status int
	head := make([]byte, 64)
	n, _ := io.ReadAtLeast(c, head, 12)
	_, _ = fmt.Sscanf(string(head[:n]), "HTTP/1.1 %d", &status)
	return status
}

// drain reads until the other side is done.
func drain(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// idleConnections is how many connections only stand there: 10,000 where the system lets this process have both ends of them.
func idleConnections() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 500
	}
	return int(min(10_000, limit.Cur/2-1000))
}

// wrong is a certificate for the key of the attacker that somebody else made, or that ended long ago.
func (a *attacker) wrong(name string, until time.Time) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.p.t.Error(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: until.Add(-time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		a.p.t.Error(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

const checkInHead = "POST /v1/checkin HTTP/1.1\r\nHost: localhost\r\n"

// attacks are the ways in which clients are bad. What must be answered in one way only is checked.
func (a *attacker) attacks(artifact string) map[string]func() {
	expect := func(name string, n int, request string, want ...int) func() {
		return func() {
			a.secured(n, func(c *tls.Conn) {
				if got := answers(c, request); a.ctx.Err() == nil && got != 0 && !slices.Contains(want, got) {
					a.p.t.Errorf("%s: got status %d, want one of %v or none", name, got, want)
				}
				drain(c)
			})
		}
	}
	refused := func(name string, change func(*tls.Config)) func() {
		return func() {
			a.each(30, func(c net.Conn) {
				config := a.config()
				change(config)
				s := tls.Client(c, config)
				if got := answers(s, checkInHead+"Content-Length: 2\r\n\r\n{}"); got == http.StatusOK {
					a.p.t.Errorf("%s: got let in", name)
				}
			})
		}
	}
	garbage := make([]byte, 4096)
	_, _ = rand.Read(garbage)
	return map[string]func(){
		"slow headers": func() { a.secured(150, func(c *tls.Conn) { a.drip(c, checkInHead, "X") }) },
		"slow bodies": func() {
			a.secured(150, func(c *tls.Conn) { a.drip(c, checkInHead+"Content-Length: 200000\r\n\r\n{", " ") })
		},
		"no end of chunks": func() {
			a.secured(50, func(c *tls.Conn) { a.drip(c, checkInHead+"Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n") })
		},
		"giant headers": expect("giant headers", 30, checkInHead+strings.Repeat("X-Large: "+strings.Repeat("x", 1000)+"\r\n", 200)+"\r\n", 431, 400),
		"giant body":    expect("giant body", 20, checkInHead+"Content-Length: 9000000000\r\n\r\n"+strings.Repeat(" ", 300<<10), 413, 400, 503),
		"gzip bomb":     expect("gzip bomb", 20, checkInHead+"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00", 400),
		"preface":       expect("preface", 20, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, 403, 404, 505),
		"pipelined garbage": expect("pipelined garbage", 30, checkInHead+"Content-Length: 2\r\n\r\n{}"+string(garbage),
			200, 503),
		"smuggling": expect("smuggling", 20, checkInHead+"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400),
		"a thousand ranges": expect("a thousand ranges", 20,
			"GET "+api.PathArtifacts+artifact+" HTTP/1.1\r\nHost: localhost\r\nRange: bytes="+strings.TrimSuffix(strings.Repeat("0-0,", 1000), ",")+"\r\n\r\n",
			200, 206, 416, 503),
		"half of a handshake": func() {
			a.each(200, func(c net.Conn) { a.drip(c, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x00") })
		},
		"garbage for TLS": func() {
			a.each(200, func(c net.Conn) {
				_, _ = c.Write(garbage)
				drain(c)
			})
		},
		"plain HTTP":     func() { a.each(50, func(c net.Conn) { answers(c, checkInHead+"Content-Length: 2\r\n\r\n{}") }) },
		"old TLS":        refused("old TLS", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS12, tls.VersionTLS12 }),
		"foreign CA":     refused("foreign CA", func(c *tls.Config) { c.Certificates[0] = a.wrong("ep-1", clock.Wall{}.Now().Add(time.Hour)) }),
		"expired":        refused("expired", func(c *tls.Config) { c.Certificates[0] = a.wrong("ep-1", clock.Wall{}.Now().Add(-time.Hour)) }),
		"stolen chain":   refused("stolen chain", func(c *tls.Config) { c.Certificates[0].PrivateKey = a.wrong("x", clock.Wall{}.Now()).PrivateKey }),
		"nothing at all": func() { a.each(idleConnections(), drain) },
	}
}

// honest checks in at once and again until the context ends, and notes how long each took.
func (l *light) honest(ctx context.Context, waited *took, putOff *atomic.Int64) {
	for ctx.Err() == nil {
		var status int
		d, err := timed(func() (err error) {
			status, _, err = trySend(ctx, l.http, http.MethodPost, l.p.agents+api.PathCheckIn, []byte("{}"))
			return err
		})
		if ctx.Err() != nil {
			return
		}
		if err == nil && status == http.StatusServiceUnavailable { // there was too much to do, and it changes nothing
			putOff.Add(1)
			_ = clock.Wall{}.Sleep(ctx, 200*time.Millisecond)
			continue
		}
		if err != nil || status != http.StatusOK {
			l.p.t.Errorf("an honest host: got %d, %v, want it served", status, err)
			return
		}
		waited.note(d)
		_ = clock.Wall{}.Sleep(ctx, 50*time.Millisecond)
	}
}

// holds is what the control plane's process has: memory in MiB, and open files and connections.
func (p *plane) holds() (mebibytes, files int) {
	p.t.Helper()
	proc := fmt.Sprintf("/proc/%d", p.process.Process.Pid)
	status, err := os.ReadFile(proc + "/statm")
	if err != nil {
		p.t.Fatal(err)
	}
	open, err := os.ReadDir(proc + "/fd")
	if err != nil {
		p.t.Fatal(err)
	}
	var size, resident int
	_, _ = fmt.Sscan(string(status), &size, &resident)
	return resident * os.Getpagesize() >> 20, len(open)
}

// alone is a control plane in a process of its own, so that its load is its own.
func alone(t *testing.T) *plane {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("it looks into /proc, and connects from many loopback addresses")
	}
	return newProcess(t)
}

// Whatever bad clients do, honest hosts and operators are served, and nothing of it stays behind.
func TestHostileClientsLeaveOthersServed(t *testing.T) { //nolint:paralleltest // it measures
	fulltest.Only(t)
	p := alone(t)
	published := p.publish("1", "content", atOnce())
	id := p.begin("1")
	hosts := make([]*light, 20)
	for i := range hosts {
		hosts[i] = p.joinLight("127.0.0.1")
	}
	thief := p.joinLight("127.0.0.1")
	before, files := p.holds()
	ctx, cancel := context.WithCancel(t.Context())
	var waited, operator took
	var putOff atomic.Int64
	var serving, attacking sync.WaitGroup
	for _, h := range hosts {
		serving.Go(func() { h.honest(ctx, &waited, &putOff) })
	}
	serving.Go(func() {
		for ctx.Err() == nil {
			d, err := timed(func() error { _, err := p.client.Rollout(ctx, id); return err })
			if err != nil && ctx.Err() == nil {
				t.Errorf("the operator: %v", err)
				return
			}
			operator.note(d)
			_ = clock.Wall{}.Sleep(ctx, 100*time.Millisecond)
		}
	})
	var attackers []*attacker
	artifact := string(published.Manifest.Artifacts[0].Digest)
	names := (&attacker{light: thief, ctx: ctx}).attacks(artifact)
	n := 0
	for name := range names {
		n++
		a := &attacker{light: thief, ctx: ctx, from: fmt.Sprintf("127.0.1.%d", n)}
		attackers = append(attackers, a)
		attacking.Go(a.attacks(artifact)[name])
	}
	_ = clock.Wall{}.Sleep(t.Context(), 5*time.Second)
	newcomer := hosts[0]
	newcomer.http.CloseIdleConnections()
	d, err := timed(func() error { _, err := p.client.Halt(t.Context(), id, "test"); return err })
	if err != nil || d > time.Second {
		t.Errorf("halt while %d kinds of bad clients are at it: got %v after %v, want it within a second", n, err, d)
	}
	_ = clock.Wall{}.Sleep(t.Context(), time.Second)
	most, mostFiles := p.holds()
	cancel()
	serving.Wait()
	attacking.Wait()
	for _, a := range attackers {
		a.conns.Wait()
	}
	slow, count := waited.most(0.99)
	slowOperator, looks := operator.most(0.99)
	t.Logf("%d check-ins, p99 %v; %d looks of the operator, p99 %v; halt %v; %d MiB and %d files before, %d MiB and %d files during it; %d check-ins put off",
		count, slow, looks, slowOperator, d, before, files, most, mostFiles, putOff.Load())
	if count < 20*10 || slow > 2*time.Second || slowOperator > 2*time.Second || most > before+700 || putOff.Load() > int64(count/2) {
		t.Error("want all served within two seconds, hundreds of times, in bounded memory")
	}
	for _, h := range slices.Concat(hosts, []*light{thief}) {
		h.http.CloseIdleConnections()
	}
	eventually(t, "all to be given back", func() error {
		if after, left := p.holds(); left > files+10 || after > before+700 {
			return fmt.Errorf("got %d files and %d MiB, want about %d as before, and no more than during it", left, after, files)
		}
		return nil
	})
}

// A few thousand handshakes within seconds: the port takes them at its own pace, and an operator's halt is answered meanwhile.
func TestAStormOfHandshakes(t *testing.T) { //nolint:paralleltest // it measures
	fulltest.Only(t)
	p := alone(t)
	p.publish("1", "content", atOnce())
	id := p.begin("1")
	hosts := make([]*light, 20)
	for i := range hosts {
		hosts[i] = p.joinLight("127.0.0.1")
	}
	heap, _ := p.holds()
	const storm = 3000
	var tries, in atomic.Int64
	var returning sync.WaitGroup
	gate := make(chan struct{}, 64)
	begun := clock.Wall{}.Now()
	for i := range storm {
		returning.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			for backoff := 100 * time.Millisecond; t.Context().Err() == nil; backoff *= 2 {
				tries.Add(1)
				if hosts[i%len(hosts)].once(t.Context(), i) == nil {
					in.Add(1)
					return
				}
				_ = clock.Wall{}.Sleep(t.Context(), min(backoff, time.Second)*time.Duration(i%16+1)/16)
			}
		})
	}
	_ = clock.Wall{}.Sleep(t.Context(), 300*time.Millisecond)
	before := in.Load()
	halted, err := timed(func() error { _, err := p.client.Halt(t.Context(), id, "test"); return err })
	if err != nil || halted > time.Second || before == storm {
		t.Errorf("halt with %d of %d in: got %v after %v, want it within a second", before, storm, err, halted)
	}
	returning.Wait()
	all := clock.Wall{}.Now().Sub(begun)
	after, _ := p.holds()
	t.Logf("%d hosts in after %v and %d tries, the halt with %d of them took %v; %d MiB before, %d MiB after", in.Load(), all, tries.Load(), before, halted, heap, after)
	if in.Load() != storm || after > heap+256 {
		t.Errorf("got %d of %d in, want all, in bounded memory", in.Load(), storm)
	}
}

// once connects without a ticket, checks in, and leaves.
func (l *light) once(ctx context.Context, i int) error {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, byte(i))}, Timeout: 5 * time.Second}
	c, err := dialer.DialContext(ctx, "tcp", l.p.addresses[1])
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(clock.Wall{}.Now().Add(10 * time.Second))
	s := tls.Client(c, l.config())
	if err := s.HandshakeContext(ctx); err != nil {
		return err
	}
	if status := answers(s, checkInHead+"Content-Length: 2\r\nConnection: close\r\n\r\n{}"); status != http.StatusOK {
		return cmp.Or(errors.New(http.StatusText(status)), io.ErrUnexpectedEOF)
	}
	return nil
}
