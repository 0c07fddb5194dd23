// Package health says whether a control plane lives and whether it is ready, over HTTP and in the log.
//
// /healthz answers as long as the process does, whatever the database does: whoever restarts what does not answer must not restart a
// server because its database is away. /readyz is for load balancers. It says what the checks found last and never waits for them: they
// run in the background, each with a deadline of its own. A server that is not open yet says what it waits for: [Start].
package health

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Check is one thing that must hold for the server to be ready.
type Check struct {
	Name   string
	Every  time.Duration // between two looks; 0 means 5 s
	Within time.Duration // what does not answer for so long is not well; 0 means 2 s
	// Look returns what is wrong, with the next step as its hint; nil if nothing is. A look that outlives its context is not started
	// again before it has returned.
	Look func(ctx context.Context) error
}

// Defaults of checks.
const (
	every  = 5 * time.Second
	within = 2 * time.Second
)

// Options are what [New] needs.
type Options struct {
	Checks []Check
	Clock  clock.Clock
	Log    *slog.Logger
}

// State is what a check found last.
type State struct {
	Name  string    `json:"name"`
	OK    bool      `json:"ok"`
	Since time.Time `json:"since"`          // when it became so
	Why   string    `json:"why,omitempty"`  // what is wrong
	Next  string    `json:"next,omitempty"` // what to do about it
}

// Report is what /readyz says.
type Report struct {
	Ready    bool    `json:"ready"`
	Draining bool    `json:"draining,omitempty"` // it is being stopped: send nobody here any more
	Starting bool    `json:"starting,omitempty"` // it is not open yet: the check that is named keeps it
	Checks   []State `json:"checks"`
}

// Health keeps what the checks found. All methods are safe for concurrent use.
type Health struct {
	Options
	mu       sync.Mutex
	draining bool
	states   []State // as the checks
	asked    []bool
}

// notYet is what a check says before its first look.
const notYet = "it was not looked at yet"

// New makes the health of a server that is not ready: its checks did not look yet.
func New(o Options) *Health {
	h := &Health{Options: o, states: make([]State, len(o.Checks)), asked: make([]bool, len(o.Checks))}
	for i, c := range o.Checks {
		h.states[i] = State{Name: c.Name, Since: o.Clock.Now().UTC(), Why: notYet}
	}
	return h
}

// Run looks at everything again and again until ctx ends.
func (h *Health) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, c := range h.Checks {
		group.Go(func() error {
			for ctx.Err() == nil {
				h.look(ctx, i, c)
				_ = h.Clock.Sleep(ctx, cmp.Or(c.Every, every))
			}
			return nil
		})
	}
	return group.Wait()
}

// look looks once, and does not come back before the look has: there is never more than one under way.
func (h *Health) look(ctx context.Context, i int, c Check) {
	limit := cmp.Or(c.Within, within)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan error, 1)
	go func() { // waited for below
		defer close(done)
		done <- c.Look(limited)
	}()
	select {
	case err := <-done:
		if limited.Err() != nil && err != nil {
			err = hung(limit)
		}
		h.found(ctx, i, err)
	case <-limited.Done():
		h.found(ctx, i, hung(limit))
		for range done { // what it says now is too late
		}
	}
}

func hung(limit time.Duration) error {
	return fault.New(fault.Unavailable, "it did not answer within %s", limit).
		Hint("Look whether it runs, can be reached from here and keeps up. It is asked again by itself.")
}

// found notes what a look found, and logs it if that is new.
func (h *Health) found(ctx context.Context, i int, err error) {
	if ctx.Err() != nil {
		return // the server stops: what fails now fails because of that
	}
	h.mu.Lock()
	before, first := h.states[i], !h.asked[i]
	now := State{Name: before.Name, OK: err == nil, Since: before.Since, Next: fault.NextOf(err)}
	if err != nil {
		now.Why = err.Error()
	}
	if now.OK != before.OK {
		now.Since = h.Clock.Now().UTC()
	}
	h.states[i], h.asked[i] = now, true
	h.mu.Unlock()
	switch {
	case !now.OK && (first || before.OK):
		h.Log.WarnContext(ctx, "not ready", slog.String("check", now.Name), slog.Any("error", err), slog.String("next", now.Next))
	case now.OK && !first && !before.OK:
		h.Log.InfoContext(ctx, "ready again", slog.String("check", now.Name), slog.Duration("after", now.Since.Sub(before.Since)))
	}
}

// Drain makes /readyz say that nobody should be sent here any more. Call it some seconds before the listeners close.
func (h *Health) Drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// Report is what the checks found last, by name.
func (h *Health) Report() Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := Report{Draining: h.draining, Ready: !h.draining, Checks: slices.Clone(h.states)}
	for _, s := range r.Checks {
		r.Ready = r.Ready && s.OK
	}
	slices.SortStableFunc(r.Checks, func(a, b State) int { return strings.Compare(a.Name, b.Name) })
	return r
}

// Live answers /healthz. That it answers is all it says.
func (h *Health) Live() http.Handler { return live() }

func live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte("ok\n"))
	})
}

// Ready answers /readyz with a [Report]: 200 if it is ready, else 503.
func (h *Health) Ready() http.Handler { return ready(h.Report) }

func ready(look func() Report) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		report := look()
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if !report.Ready {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		_ = encoder.Encode(report)
	})
}
