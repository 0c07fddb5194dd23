package health_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/health"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// world is a health whose database is as the test says.
type world struct {
	*health.Health
	log    *safe
	broken atomic.Pointer[error]
	hang   atomic.Bool
	looks  atomic.Int32
}

// safe is a buffer that goroutines may share.
type safe struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safe) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safe) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs the checks until the test's bubble ends.
func start(t *testing.T) *world {
	t.Helper()
	w := &world{log: &safe{}}
	w.Health = health.New(health.Options{
		Clock: clock.Wall{}, Log: slog.New(slog.NewTextHandler(w.log, nil)),
		Checks: []health.Check{{Name: "database", Look: w.look}, {Name: "blobs", Look: func(context.Context) error { return nil }}},
	})
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := w.Run(ctx); err != nil {
			t.Errorf("got %v, want no error at the end", err)
		}
	})
	t.Cleanup(func() { cancel(); done.Wait() })
	return w
}

func (w *world) look(ctx context.Context) error {
	w.looks.Add(1)
	if w.hang.Load() {
		_ = clock.Wall{}.Sleep(context.WithoutCancel(ctx), time.Minute) // and does not listen to its context
		return ctx.Err()
	}
	if err := w.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// pass lets time go by in the test's bubble.
func pass(d time.Duration) { _ = clock.Wall{}.Sleep(context.Background(), d) }

// ask reads /readyz, which must answer at once.
func (w *world) ask(t *testing.T) (int, health.Report) {
	t.Helper()
	before := clock.Wall{}.Now()
	r := httptest.NewRecorder()
	w.Ready().ServeHTTP(r, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
	if waited := (clock.Wall{}).Now().Sub(before); waited != 0 {
		t.Errorf("got an answer after %s, want it at once", waited)
	}
	var report health.Report
	if err := json.Unmarshal(r.Body.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	return r.Code, report
}

func TestReadyOnceEverythingWasLookedAt(t *testing.T) {
	t.Parallel()
	h := health.New(health.Options{Clock: clock.Wall{}, Checks: []health.Check{{Name: "database"}}})
	if r := h.Report(); r.Ready || r.Checks[0].OK || r.Checks[0].Why == "" {
		t.Errorf("got %+v, want not ready before the first look", r)
	}
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		synctest.Wait()
		code, report := w.ask(t)
		if code != http.StatusOK || !report.Ready || len(report.Checks) != 2 || report.Checks[0].Name != "blobs" {
			t.Errorf("got %d %+v, want ready with two checks by name", code, report)
		}
		if w.log.String() != "" {
			t.Errorf("got %s, want nothing in the log", w.log)
		}
	})
}

func TestSaysWhatIsWrongSinceWhenAndWhatToDo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		pass(time.Minute)
		broken := clock.Wall{}.Now()
		var err error = fault.New(fault.Unavailable, "the disk is gone").Hint("Put it back.")
		w.broken.Store(&err)
		pass(time.Minute)
		code, report := w.ask(t)
		database := report.Checks[1]
		if code != http.StatusServiceUnavailable || report.Ready || database.OK || database.Why != "the disk is gone" || database.Next != "Put it back." {
			t.Errorf("got %d %+v, want 503 because the disk is gone", code, report)
		}
		if since := database.Since.Sub(broken); since < 0 || since > 5*time.Second {
			t.Errorf("got since %s after it broke, want within one look", since)
		}
		if n := strings.Count(w.log.String(), "not ready"); n != 1 {
			t.Errorf("got it in the log %d times, want once:\n%s", n, w.log)
		}
		w.broken.Store(nil)
		pass(time.Minute)
		if code, _ = w.ask(t); code != http.StatusOK {
			t.Errorf("got %d, want it ready again", code)
		}
		if n := strings.Count(w.log.String(), "ready again"); n != 1 {
			t.Errorf("got it in the log %d times, want once:\n%s", n, w.log)
		}
	})
}

func TestACheckThatHangsHangsNobodyElse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		pass(time.Second)
		w.hang.Store(true)
		pass(10 * time.Second)
		code, report := w.ask(t)
		if code != http.StatusServiceUnavailable || !strings.Contains(report.Checks[1].Why, "did not answer within 2s") || report.Checks[1].Next == "" || !report.Checks[0].OK {
			t.Errorf("got %d %+v, want the database not to answer and the blobs well", code, report)
		}
		looks := w.looks.Load()
		pass(40 * time.Second)
		if more := w.looks.Load(); more != looks {
			t.Errorf("got %d more looks while one hangs, want none", more-looks)
		}
		w.hang.Store(false)
		pass(time.Minute)
		if code, _ := w.ask(t); code != http.StatusOK {
			t.Errorf("got %d after it came back, want ready", code)
		}
	})
}

func TestDrainComesFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := start(t)
		synctest.Wait()
		w.Drain()
		code, report := w.ask(t)
		if code != http.StatusServiceUnavailable || !report.Draining || report.Ready {
			t.Errorf("got %d %+v, want 503 because it drains", code, report)
		}
		r := httptest.NewRecorder()
		w.Live().ServeHTTP(r, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil))
		if r.Code != http.StatusOK {
			t.Errorf("got %d from /healthz, want that it lives", r.Code)
		}
	})
}

func TestStoppingIsNoFailure(t *testing.T) {
	t.Parallel()
	log := &safe{}
	ctx, cancel := context.WithCancel(t.Context())
	h := health.New(health.Options{Clock: clock.Wall{}, Log: slog.New(slog.NewTextHandler(log, nil)), Checks: []health.Check{{
		Name: "database", Look: func(ctx context.Context) error { cancel(); <-ctx.Done(); return errors.New("closed") },
	}}})
	if err := h.Run(ctx); err != nil || log.String() != "" {
		t.Errorf("got %v and %q in the log, want neither", err, log)
	}
}

func TestRoom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := health.Room(dir)
	if err != nil || d.Size == 0 || d.Free > d.Size || d.Inodes == 0 {
		t.Errorf("got %+v, %v, want a disk with some room", d, err)
	}
	if err := health.RoomFor(dir, 1).Look(t.Context()); err != nil {
		t.Errorf("got %v, want room for a byte", err)
	}
	err = health.RoomFor(dir, health.NoLimit).Look(t.Context())
	if fault.KindOf(err) != fault.Unavailable || fault.NextOf(err) == "" {
		t.Errorf("got %v, want a full disk with a next step", err)
	}
	if err := health.RoomFor(dir+"/nowhere", 1).Look(t.Context()); err == nil {
		t.Error("got no error for a directory that is not there")
	}
}
