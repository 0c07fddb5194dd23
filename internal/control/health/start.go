package health

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// sayAgain is how often a start that waits says so in the log.
const sayAgain = time.Minute

// Start is the health of a server that is not open yet: it lives, is not ready, and says what it waits for. All methods are safe for
// concurrent use.
type Start struct {
	clock clock.Clock
	log   *slog.Logger

	mu     sync.Mutex
	at     string // what is being opened
	state  State  // what /readyz says
	waits  time.Time
	logged time.Time
}

// NewStart begins: nothing was opened yet, and nothing failed.
func NewStart(c clock.Clock, log *slog.Logger) *Start {
	s := &Start{clock: c, log: log}
	s.state = State{Name: "start", Since: c.Now().UTC(), Why: "it is being opened"}
	return s
}

// Opening notes what is being opened now, by the name of the check that will watch it later.
func (s *Start) Opening(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = name
	if s.waits.IsZero() {
		s.state.Name = name
	}
}

// Failed notes why it cannot be opened yet. The first time is in the log, and then at most one a minute.
func (s *Start) Failed(ctx context.Context, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, first := s.clock.Now(), s.waits.IsZero()
	if first {
		s.waits = now
	}
	if first || s.state.Name != s.at {
		s.state.Name, s.state.Since = s.at, now.UTC()
	}
	s.state.Why, s.state.Next = strings.Join(strings.Fields(err.Error()), " "), fault.NextOf(err) // in one line
	if s.logged.IsZero() || now.Sub(s.logged) >= sayAgain {
		s.logged = now
		s.log.WarnContext(ctx, "waiting to start", slog.String("check", s.at), slog.Time("since", s.state.Since), slog.Any("error", err),
			slog.String("next", s.state.Next))
	}
}

// Opened notes that what failed does so no more, if anything did.
func (s *Start) Opened(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waits.IsZero() {
		return
	}
	now := s.clock.Now()
	s.log.InfoContext(ctx, "waits no more", slog.String("check", s.state.Name), slog.Duration("after", now.Sub(s.waits)))
	s.waits, s.logged = time.Time{}, time.Time{}
	s.state = State{Name: s.at, Since: now.UTC(), Why: "it is being opened"}
}

// Waits says in one sentence what the start waits for and since when; the hint is what to do. It is a fault.Unavailable.
func (s *Start) Waits() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.state.Since.Format(time.RFC3339)
	if s.waits.IsZero() {
		return fault.New(fault.Unavailable, "the control plane is starting since %s: %s: %s", since, s.state.Name, s.state.Why)
	}
	return fault.New(fault.Unavailable, "the control plane is starting: it has been waiting for the %s since %s: %s", s.state.Name, since, s.state.Why).
		Hint("%s", s.state.Next)
}

// Report is what /readyz says.
func (s *Start) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Report{Starting: true, Checks: []State{s.state}}
}

// Live answers /healthz, as [Health.Live] does.
func (s *Start) Live() http.Handler { return live() }

// Ready answers /readyz with 503 and a [Report].
func (s *Start) Ready() http.Handler { return ready(s.Report) }
