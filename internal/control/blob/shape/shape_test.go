package shape_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob/shape"
)

const mib = 1 << 20

// counter is a reader that takes all.
type counter struct {
	http.ResponseWriter
	n atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { return len(p), nil }

// load lets connections of tenants load for a time of the bubble, and tells how many bytes each tenant got a second.
func load(t *testing.T, l shape.Limits, during time.Duration, connections map[string]int) map[string]float64 {
	t.Helper()
	s := shape.New(clock.Wall{}, l)
	ctx, cancel := context.WithTimeout(t.Context(), during)
	defer cancel()
	counts := map[string]*counter{}
	done, n := make(chan error), 0
	for tenant, many := range connections {
		counts[tenant] = &counter{}
		for range many {
			n++
			w := s.Writer(ctx, counts[tenant], tenant)
			go func() {
				_, err := io.Copy(w, zeroes{})
				done <- err
			}()
		}
	}
	for range n {
		if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want to be ended by the deadline", err)
		}
	}
	got := map[string]float64{}
	for tenant, c := range counts {
		got[tenant] = float64(c.n.Load()) / during.Seconds()
	}
	return got
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 0.05*want {
		t.Errorf("%s: got %.0f bytes/s, want %.0f", what, got, want)
	}
}

func TestTenantsShareEvenlyHoweverManyConnectionsTheyHave(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := load(t, shape.Limits{Global: 3 * mib}, 60*time.Second, map[string]int{"one": 1, "many": 50, "few": 2})
		for tenant, rate := range got {
			near(t, tenant, rate, mib)
		}
	})
}

func TestATenantStaysInItsShareAndOthersGetTheRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		near(t, "alone", load(t, shape.Limits{Global: 4 * mib, Tenant: mib}, 60*time.Second, map[string]int{"one": 8})["one"], mib)
		near(t, "alone, no limit of its own", load(t, shape.Limits{Global: 4 * mib}, 60*time.Second, map[string]int{"one": 3})["one"], 4*mib)
		both := load(t, shape.Limits{Global: 1.5 * mib, Tenant: mib}, 60*time.Second, map[string]int{"a": 4, "b": 1})
		near(t, "together", both["a"]+both["b"], 1.5*mib)
		near(t, "each", both["a"], 0.75*mib)
	})
}

func TestUnusedBandwidthIsNotSaved(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := shape.New(clock.Wall{}, shape.Limits{Global: mib})
		w := s.Writer(t.Context(), &counter{}, "one")
		var wall clock.Wall
		if err := wall.Sleep(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		begun := wall.Now()
		if _, err := w.Write(make([]byte, 10*mib)); err != nil {
			t.Fatal(err)
		}
		if took := wall.Now().Sub(begun); took < 9*time.Second {
			t.Errorf("took %s for 10 s of bandwidth after an hour's rest, want 9 s at least", took)
		}
	})
}

func TestWithoutLimitsNothingIsInBetween(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	if got := shape.New(clock.Wall{}, shape.Limits{}).Writer(t.Context(), w, "one"); got != http.ResponseWriter(w) {
		t.Errorf("got %T, want the writer itself", got)
	}
}

// zeroCopy is a response that tells what it was given to copy from.
type zeroCopy struct {
	counter
	from []io.Reader
}

func (z *zeroCopy) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return 0, errors.New("not limited")
	}
	z.from = append(z.from, limited.R)
	return io.Copy(io.Discard, r)
}

// The kernel copies files only: what reaches the connection must be the file, under one limit.
func TestFilesReachTheConnectionAsFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, make([]byte, mib), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	inner := &zeroCopy{}
	w := shape.New(clock.Wall{}, shape.Limits{Global: 1 << 40, Slowest: 1}).Writer(t.Context(), inner, "one")
	if n, err := io.CopyN(w, f, mib-5); n != mib-5 || err != nil {
		t.Fatalf("got %d, %v, want all", n, err)
	}
	for _, from := range inner.from {
		if from != io.Reader(f) {
			t.Errorf("got %T, want the file", from)
		}
	}
	if len(inner.from) == 0 {
		t.Error("got nothing copied from the file")
	}
}

func TestASlowReaderIsCutOffAndAGoodOneIsNot(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("firebreak"), 4*mib)
	s := shape.New(clock.Wall{}, shape.Limits{Slowest: 64 * mib, Window: 100 * time.Millisecond})
	ended := make(chan error, 1)
	port := httptest.NewServer(s.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := io.Copy(w, struct{ io.Reader }{bytes.NewReader(data)})
		ended <- err
	}), func(*http.Request) string { return "one" }))
	defer port.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(port.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) { // it reads nothing
		t.Errorf("got %v, want it cut off", err)
	}
	gentle := shape.New(clock.Wall{}, shape.Limits{Slowest: 1024, Window: time.Minute})
	w := gentle.Writer(t.Context(), &counter{}, "one")
	if n, err := w.Write(data); n != len(data) || err != nil {
		t.Errorf("got %d, %v, want all", n, err)
	}
}
