// Package shape bounds how fast artifacts leave: for all downloads together, for those of one tenant, and downwards for a reader that
// takes too little.
//
// Tenants share the whole evenly, however many hosts of each are loading: a tenant has one piece at a time in the queue for the common
// bandwidth. Pieces are passed to the connection as they come, so that the kernel still copies files to plain connections by itself;
// without any limit there is nothing in between at all.
package shape

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
)

// Limits are what a Shaper keeps to. 0 means none.
type Limits struct {
	Global  int64 // bytes a second, of all downloads together
	Tenant  int64 // bytes a second, of one tenant's downloads together
	Slowest int64 // bytes a second that a reader takes at least, over Window; one that takes less is cut off
	// Window is over what time Slowest is measured; 0 means 30 s. The kernel takes a few megabytes ahead of the reader, and these count
	// as taken.
	Window time.Duration
}

const (
	piece         = 128 << 10              // bytes that wait for their turn together
	burst         = 250 * time.Millisecond // of unused bandwidth is kept
	defaultWindow = 30 * time.Second
)

// Shaper is safe for concurrent use. It has no goroutines.
type Shaper struct {
	limits Limits
	clock  clock.Clock

	mu      sync.Mutex
	global  bucket
	tenants map[string]*tenant // of verified identities, so there are not many
}

type tenant struct {
	turn   chan struct{} // held while a piece is in the queue
	bucket bucket
}

// New makes a shaper.
func New(c clock.Clock, l Limits) *Shaper {
	if l.Window <= 0 {
		l.Window = defaultWindow
	}
	return &Shaper{limits: l, clock: c, tenants: map[string]*tenant{}}
}

// Handler shapes what next writes. Tenant tells whose request it is; it is called before next. The server that serves it must have a
// WriteTimeout if there is a Slowest: it is what gives the connection's next request a deadline of its own.
func (s *Shaper) Handler(next http.Handler, tenant func(*http.Request) string) http.Handler {
	if s.limits.Global <= 0 && s.limits.Tenant <= 0 && s.limits.Slowest <= 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(s.Writer(r.Context(), w, tenant(r)), r)
	})
}

// Writer shapes what is written to w. Without limits it is w.
func (s *Shaper) Writer(ctx context.Context, w http.ResponseWriter, tenant string) http.ResponseWriter {
	if s.limits.Global <= 0 && s.limits.Tenant <= 0 && s.limits.Slowest <= 0 {
		return w
	}
	return &writer{ResponseWriter: w, ctx: ctx, shaper: s, tenant: s.tenant(tenant)}
}

func (s *Shaper) tenant(name string) *tenant {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tenants[name]
	if t == nil {
		t = &tenant{turn: make(chan struct{}, 1)}
		s.tenants[name] = t
	}
	return t
}

// take waits until n bytes may go.
func (s *Shaper) take(ctx context.Context, t *tenant, n int64) error {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.turn }()
	if err := s.wait(ctx, &t.bucket, s.limits.Tenant, n); err != nil {
		return err
	}
	return s.wait(ctx, &s.global, s.limits.Global, n)
}

func (s *Shaper) wait(ctx context.Context, b *bucket, rate, n int64) error {
	if rate <= 0 {
		return nil
	}
	s.mu.Lock()
	d := b.take(s.clock.Now(), rate, n)
	s.mu.Unlock()
	if d <= 0 {
		return nil
	}
	return s.clock.Sleep(ctx, d)
}

// bucket is a token bucket as the time at which all that was taken will have been refilled.
type bucket struct{ full time.Time }

// take takes n bytes and tells how long to wait before they may go.
func (b *bucket) take(now time.Time, rate, n int64) time.Duration {
	if earliest := now.Add(-burst); b.full.Before(earliest) {
		b.full = earliest
	}
	b.full = b.full.Add(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	return b.full.Sub(now)
}

// writer passes pieces on when they may go.
type writer struct {
	http.ResponseWriter
	ctx    context.Context //nolint:containedctx // an io.Writer has no other way to get it; it lives as long as one request
	shaper *Shaper
	tenant *tenant
	left   int64 // bytes that the reader may still take before it gets another window
}

// Unwrap lets http.ResponseController reach the connection.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Write implements [io.Writer].
func (w *writer) Write(p []byte) (int, error) {
	var written int
	for len(p) > 0 {
		n := min(len(p), piece)
		if err := w.allow(int64(n)); err != nil {
			return written, err
		}
		did, err := w.ResponseWriter.Write(p[:n])
		written += did
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// ReadFrom implements [io.ReaderFrom]. It hands the connection the file itself, limited to a piece: only so does net recognise it.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	all, limited := r.(*io.LimitedReader)
	if !limited {
		all = &io.LimitedReader{R: r, N: 1<<63 - 1}
	}
	var written int64
	for all.N > 0 {
		n := min(all.N, piece)
		if err := w.allow(n); err != nil {
			return written, err
		}
		did, err := io.Copy(w.ResponseWriter, &io.LimitedReader{R: all.R, N: n})
		written += did
		all.N -= did
		if err != nil || did < n {
			return written, err
		}
	}
	return written, nil
}

// allow waits until n bytes may go, and gives the reader time to take them.
func (w *writer) allow(n int64) error {
	if err := w.shaper.take(w.ctx, w.tenant, n); err != nil {
		return err
	}
	slowest, window := w.shaper.limits.Slowest, w.shaper.limits.Window
	if slowest <= 0 {
		return nil
	}
	if w.left -= n; w.left > 0 && w.shaper.limits.Global <= 0 && w.shaper.limits.Tenant <= 0 {
		return nil
	}
	// Time that was spent waiting for bandwidth is ours, not the reader's: then every piece begins a window.
	w.left = int64(float64(slowest) * window.Seconds())
	err := http.NewResponseController(w.ResponseWriter).SetWriteDeadline(w.shaper.clock.Now().Add(window))
	if errors.Is(err, http.ErrNotSupported) {
		return nil // not a connection: a test's recorder, or HTTP/2 without deadlines
	}
	return err
}
