package server

import (
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

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

// pace holds back who sends too much. What ends harm is never held back.
func (s *server) pace(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !urgent(r) {
			if wait := s.buckets.take(callerOf(r.Context()).token, s.Clock.Now()); wait > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
				s.fail(w, r, withStatus(http.StatusTooManyRequests,
					fault.New(fault.Unavailable, "%s %s: this token sends more than %g requests a second", r.Method, shorten(r.URL.Path), s.buckets.PerSecond).
						Hint("Wait as long as Retry-After says. Halts and rollbacks are never held back.")))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}
