package uplink

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of a connection's beginning. Whoever has another address to go to waits less for one that does not answer.
const (
	dialWithin  = 15 * time.Second
	dialOrLeave = 4 * time.Second
)

// homing is after how many answers elsewhere the address of its own is tried again: once it was restarted, its endpoints come back to it.
const homing = 64

// servers sends every request to one of a control plane's addresses. It stays with the one that works, and leaves one that cannot be reached,
// breaks a request off, or has a gateway or itself say that it cannot answer. A request that no connection was made for goes to the next
// address at once, since nobody has seen it; any other is for the caller to repeat, who waits first.
type servers struct {
	transport *http.Transport
	all       []address // in the order in which this endpoint tries them; never empty
	home      int       // see homing

	mu   sync.Mutex
	at   int
	away int // answers since it left the first
}

type address struct{ scheme, host string }

// newServers orders the addresses as this endpoint does: another order for every endpoint, so that each address is the first of an equal
// part of them, and the others take over equal parts when it is gone.
func newServers(bases []string, endpoint string, transport *http.Transport) *servers {
	s := &servers{transport: transport, home: homing}
	weight := func(base string) []byte {
		sum := sha256.Sum256([]byte(endpoint + "\x00" + base))
		return sum[:]
	}
	bases = slices.SortedFunc(slices.Values(bases), func(x, y string) int { return bytes.Compare(weight(x), weight(y)) })
	for _, base := range slices.Compact(bases) {
		a := address{host: base} // what is no URL is told by the request for it
		if u, err := url.Parse(base); err == nil {
			a = address{u.Scheme, u.Host}
		}
		s.all = append(s.all, a)
	}
	s.home += int(weight("")[0]) % homing // not all endpoints at once
	within := dialWithin
	if len(s.all) > 1 {
		within = dialOrLeave
	}
	transport.TLSHandshakeTimeout = within
	transport.DialContext = (&net.Dialer{Timeout: within}).DialContext
	return s
}

// RoundTrip implements http.RoundTripper.
func (s *servers) RoundTrip(r *http.Request) (*http.Response, error) {
	for tried := 1; ; tried++ {
		at := s.current()
		var connected atomic.Bool
		response, err := s.transport.RoundTrip(s.readdressed(r, s.all[at], &connected))
		s.judge(at, response, err)
		if err == nil || connected.Load() && !dialling(err) || tried == len(s.all) || r.Context().Err() != nil {
			return response, err
		}
		if r, err = again(r); err != nil {
			return nil, err
		}
	}
}

// dialling tells whether a request failed for want of a connection. A kept one may have been tried before, and found closed: net/http goes on
// from that only with requests that nobody has seen, or that may be seen twice.
func dialling(err error) bool {
	var failed *net.OpError
	return errors.As(err, &failed) && failed.Op == "dial"
}

// readdressed is the request for one address; it notes whether a connection was had for it.
func (s *servers) readdressed(r *http.Request, to address, connected *atomic.Bool) *http.Request {
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }}
	r = r.Clone(httptrace.WithClientTrace(r.Context(), trace))
	r.URL.Scheme, r.URL.Host, r.Host = to.scheme, to.host, to.host
	return r
}

// again is a request whose body can be read once more.
func again(r *http.Request) (*http.Request, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return r, nil
	}
	if r.GetBody == nil {
		return nil, errors.New("the request cannot be repeated")
	}
	body, err := r.GetBody()
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = body
	return r, nil
}

func (s *servers) current() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// judge stays with an address or leaves it, by how a request to it ended. What was called off says nothing.
func (s *servers) judge(at int, response *http.Response, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case at != s.at || errors.Is(err, context.Canceled):
	case err != nil || unable(response.StatusCode):
		s.at, s.away = (at+1)%len(s.all), 0
	case at != 0:
		if s.away++; s.away >= s.home {
			s.at, s.away = 0, 0
		}
	}
}

func unable(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// newTransport speaks HTTP/1.1 only: a stream of its own for each endpoint costs the server more than twice as much. Sessions are resumed: a
// handshake of its own for every poll is most of what an idle endpoint costs. Nothing is unpacked that the server sends: what is signed is
// signed as it is sent, and what is not must not grow here.
func newTransport(config *tls.Config, addresses int) *http.Transport {
	config = config.Clone()
	if config.ClientSessionCache == nil {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(max(1, addresses))
	}
	return &http.Transport{
		TLSClientConfig: config, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: timeout,
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}, DisableCompression: true, MaxResponseHeaderBytes: maxHeader,
	}
}

func trimmed(bases []string) []string {
	all := make([]string, len(bases))
	for i, base := range bases {
		all[i] = strings.TrimRight(base, "/")
	}
	return all
}
