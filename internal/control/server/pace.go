package server

import (
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/token"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Rate is how many requests a token may send.
type Rate struct {
	PerSecond float64 // 0 means 100, below 0 there is no limit
	Burst     float64 // at once, after a pause; 0 means 1000
}

func (r Rate) orDefault() Rate {
	if r.PerSecond == 0 {
		r.PerSecond = 100
	}
	if r.Burst == 0 {
		r.Burst = 1000
	}
	return r
}

// buckets limits how fast each token sends: what a script does by mistake must not slow down the others.
type buckets struct {
	Rate
	mu  sync.Mutex
	all map[string]bucket // by token
}

type bucket struct {
	left float64
	at   time.Time
}

const mostBuckets = 10_000 // full ones are dropped beyond

// take takes one request of a token. If it may not be, it tells for how long to wait.
func (b *buckets) take(token string, now time.Time) (wait time.Duration) {
	if b.PerSecond < 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	one, known := b.all[token]
	if !known {
		b.forget(now)
		one = bucket{b.Burst, now}
	}
	one = b.filled(one, now)
	if one.left < 1 {
		return time.Duration((1 - one.left) / b.PerSecond * float64(time.Second))
	}
	one.left--
	b.all[token] = one
	return 0
}

func (b *buckets) filled(one bucket, now time.Time) bucket {
	passed := max(0, now.Sub(one.at).Seconds()) // a clock that was set back takes nothing away
	return bucket{min(b.Burst, one.left+passed*b.PerSecond), now}
}

// forget drops those that are full again once there are many.
func (b *buckets) forget(now time.Time) {
	if len(b.all) < mostBuckets {
		return
	}
	for token, one := range b.all {
		if b.filled(one, now).left >= b.Burst {
			delete(b.all, token)
		}
	}
}

// give gives one request back.
func (b *buckets) give(token string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if one, known := b.all[token]; known {
		one = b.filled(one, now)
		one.left = min(b.Burst, one.left+1)
		b.all[token] = one
	}
}

// signIns limits how often anybody tries to sign in. Behind a tunnel many people have one address, and any program on this host can name
// another one, so whoever sends nonsense must not keep out those who have a token: what looks like one is counted apart.
type signIns struct{ nonsense, tokens attempts }

// With nonsense an address has ten attempts, and one more every six seconds; all of them have a hundred, and ten more each second. With what
// looks like a token it is six times, and ten times, as much.
func newSignIns() signIns {
	limit := func(perSecond, burst float64) *buckets {
		return &buckets{Rate: Rate{perSecond, burst}, all: map[string]bucket{}}
	}
	return signIns{nonsense: attempts{each: limit(1.0/6, 10), all: limit(10, 100)}, tokens: attempts{each: limit(1, 60), all: limit(100, 1000)}}
}

// with is what counts attempts with such a token.
func (s signIns) with(secret string) attempts {
	if token.Plausible(token.OperatorPrefix, secret) {
		return s.tokens
	}
	return s.nonsense
}

// attempts counts them for the one who makes them, and for all together, so that an attack from many addresses neither keeps the database
// busy nor fills the memory. Those that succeed do not count.
type attempts struct{ each, all *buckets }

// take takes one attempt of an address. If it may not be, it tells for how long to wait.
func (a attempts) take(from string, now time.Time) (wait time.Duration) {
	if wait = a.all.take("", now); wait > 0 {
		return wait
	}
	if wait = a.each.take(from, now); wait > 0 {
		a.all.give("", now) // it costs nothing to refuse it
	}
	return wait
}

func (a attempts) giveBack(from string, now time.Time) {
	a.all.give("", now)
	a.each.give(from, now)
}

// clientOf is the address that a request came from. Of what X-Forwarded-For says only the last hop counts, which the proxy in front has
// added, and only if the request comes from this host, where that proxy is: anybody else could say anything. Of IPv6 it is the network
// that one customer has.
func clientOf(r *http.Request) string {
	said, _ := netip.ParseAddrPort(r.RemoteAddr)
	from := said.Addr().Unmap()
	if from.IsLoopback() {
		all := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		if told, err := netip.ParseAddr(strings.TrimSpace(all[len(all)-1])); err == nil && !told.Unmap().IsLoopback() {
			from = told.Unmap()
		}
	}
	if from.Is6() {
		if network, err := from.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return from.String()
}

// comeLater makes an error one that tells when to try again.
func comeLater(w http.ResponseWriter, wait time.Duration, err error) error {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
	return withStatus(http.StatusTooManyRequests, err)
}

// pace holds back who sends too much. What ends harm is never held back.
func (s *server) pace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !urgent(r) {
			if wait := s.buckets.take(callerOf(r.Context()).token, s.Clock.Now()); wait > 0 {
				s.fail(w, r, comeLater(w, wait,
					fault.New(fault.Unavailable, "%s %s: this token sends more than %g requests a second", r.Method, shorten(r.URL.Path), s.buckets.PerSecond).
						Hint("Wait as long as Retry-After says. Halts and rollbacks are never held back.")))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
