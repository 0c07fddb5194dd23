package gate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// question is what is asked outside, without the bounds that the answer is compared with: exactly one field is set.
type question struct{ query, url string }

// answer is what came back.
type answer struct {
	samples []float64 // of a query
	status  int       // of a url
}

// sight is the newest answer to one question. Whoever holds its turn may read and write the rest, and everybody may while it has no users.
type sight struct {
	users int           // who hold or wait for the turn; guarded by Gates.mu
	turn  chan struct{} // one asks, the others wait for that answer
	asked time.Time     // zero before the first
	answer
	err error
}

// fresh tells whether the answer still stands.
func (s *sight) fresh(now time.Time) bool {
	age := now.Sub(s.asked)
	return !s.asked.IsZero() && age >= 0 && age < Freshness
}

// answer gives the answer that still stands, or asks. A failure stands as long as an answer, but not the failure of a caller who left.
func (g *Gates) answer(ctx context.Context, q question) (answer, error) {
	if err := g.refuse(q); err != nil {
		return answer{}, err
	}
	s := g.find(q)
	defer g.leave(s)
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return answer{}, abandoned(ctx)
	}
	if s.fresh(g.clock.Now()) {
		return s.answer, s.err
	}
	select {
	case g.slots <- struct{}{}:
		defer func() { <-g.slots }()
	case <-ctx.Done():
		return answer{}, abandoned(ctx)
	}
	now := g.clock.Now()
	got, err := g.request(ctx, q)
	if ctx.Err() != nil {
		return answer{}, abandoned(ctx)
	}
	s.asked, s.answer, s.err = now, got, err
	return got, err
}

// find gives the sight of a question to one more user, and forgets those that nobody uses and that no longer stand.
func (g *Gates) find(q question) *sight {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.Now()
	for old, s := range g.seen {
		if s.users == 0 && !s.fresh(now) {
			delete(g.seen, old)
		}
	}
	s := g.seen[q]
	if s == nil {
		s = &sight{turn: make(chan struct{}, 1)}
		g.seen[q] = s
	}
	s.users++
	return s
}

func (g *Gates) leave(s *sight) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s.users--
}

func abandoned(ctx context.Context) error {
	return fmt.Errorf("no data: gave up before the answer: %w", context.Cause(ctx))
}

// request asks once. There is no second try: the next look asks again.
func (g *Gates) request(ctx context.Context, q question) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	if q.url != "" {
		return g.check(ctx, q.url)
	}
	form := url.Values{"query": {q.query}, "timeout": {fmt.Sprintf("%dms", g.timeout.Milliseconds())}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, g.query, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, g.failed(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := g.client.Do(request)
	if err != nil {
		return answer{}, g.failed(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxBody+1))
	switch {
	case err != nil:
		return answer{}, g.failed(err)
	case len(body) > MaxBody:
		return answer{}, fmt.Errorf("no data: Prometheus answered more than %d bytes; make the query give fewer samples", MaxBody)
	}
	samples, err := parse(body)
	if response.StatusCode/100 != 2 && !errors.As(err, new(*refusal)) {
		return answer{}, fmt.Errorf("no data: Prometheus %s", status(response.StatusCode))
	}
	return answer{samples: samples}, err
}

// check asks a URL. Its status is all that counts; no byte of its body is read.
func (g *Gates) check(ctx context.Context, where string) (answer, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where, http.NoBody)
	if err != nil {
		return answer{}, g.failed(err)
	}
	response, err := g.client.Do(request)
	if err != nil {
		return answer{}, g.failed(err)
	}
	_ = response.Body.Close()
	return answer{status: response.StatusCode}, nil
}

// failed says why there was no answer, without the URL, which may hold a password.
func (g *Gates) failed(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no data: no answer within %s", g.timeout)
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return fmt.Errorf("no data: %w", err)
}
