package health_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/health"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

var (
	morning = time.Date(2026, 7, 19, 4, 9, 0, 0, time.UTC)
	away    = fault.New(fault.Unavailable, "open the database:\n\tnobody\n\tanswers").Hint("Start it.")
	full    = fault.New(fault.Unavailable, "open the artifacts: the disk is full").Hint("Free space.")
)

// readyOf is what /readyz of a start says.
func readyOf(t *testing.T, s *health.Start) (int, health.Report) {
	t.Helper()
	r := httptest.NewRecorder()
	s.Ready().ServeHTTP(r, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
	var report health.Report
	if err := json.Unmarshal(r.Body.Bytes(), &report); err != nil {
		t.Fatalf("got %s: %v", r.Body, err)
	}
	return r.Code, report
}

func TestAStartSaysWhatItWaitsForSinceWhenAndWhatToDo(t *testing.T) {
	t.Parallel()
	c := clock.At(morning)
	s := health.NewStart(c, slog.New(slog.DiscardHandler))
	expect := func(want health.State) {
		t.Helper()
		code, got := readyOf(t, s)
		if diff := cmp.Diff(health.Report{Starting: true, Checks: []health.State{want}}, got); diff != "" || code != http.StatusServiceUnavailable {
			t.Errorf("got %d (-want +got):\n%s", code, diff)
		}
	}
	expect(health.State{Name: "start", Since: morning, Why: "it is being opened"})
	s.Opening("database")
	expect(health.State{Name: "database", Since: morning, Why: "it is being opened"})

	c.Move(time.Second)
	s.Failed(t.Context(), away)
	c.Move(time.Second)
	s.Failed(t.Context(), away) // again: since the first time
	waits := health.State{Name: "database", Since: morning.Add(time.Second), Why: "open the database: nobody answers", Next: "Start it."}
	expect(waits)
	sentence := s.Waits()
	if want := "the control plane is starting: it has been waiting for the database since 2026-07-19T04:09:01Z: open the database: nobody answers"; sentence.Error() != want ||
		fault.KindOf(sentence) != fault.Unavailable || fault.NextOf(sentence) != "Start it." {
		t.Errorf("got %q (next %q), want %q", sentence, fault.NextOf(sentence), want)
	}

	s.Opening("artifacts") // the database is open at last; nothing is known of these yet
	expect(waits)
	c.Move(time.Second)
	s.Failed(t.Context(), full)
	expect(health.State{Name: "artifacts", Since: morning.Add(3 * time.Second), Why: "open the artifacts: the disk is full", Next: "Free space."})
	r := httptest.NewRecorder()
	s.Live().ServeHTTP(r, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil))
	if r.Code != http.StatusOK {
		t.Errorf("got %d from /healthz, want that it lives", r.Code)
	}
}

func TestAStartLogsTheFirstFailureAndThenOneAMinute(t *testing.T) {
	t.Parallel()
	c, log := clock.At(morning), &safe{}
	s := health.NewStart(c, slog.New(slog.NewTextHandler(log, nil)))
	s.Opening("database")
	s.Opened(t.Context())
	if log.String() != "" {
		t.Errorf("got %q, want nothing of a start that goes well", log)
	}
	const tries = 200 // in ten minutes
	for range tries {
		s.Failed(t.Context(), away)
		c.Move(3 * time.Second)
	}
	if n := strings.Count(log.String(), "waiting to start"); n != 10 {
		t.Errorf("got it in the log %d times in ten minutes, want 10:\n%s", n, log)
	}
	s.Opened(t.Context())
	s.Opened(t.Context())
	if n := strings.Count(log.String(), "waits no more"); n != 1 || !strings.Contains(log.String(), "after=10m0s") {
		t.Errorf("got its end in the log %d times, want once and how long it took:\n%s", n, log)
	}
	s.Failed(t.Context(), away) // something else later is news
	if n := strings.Count(log.String(), "waiting to start"); n != 11 {
		t.Errorf("got it in the log %d times, want 11", n)
	}
}
