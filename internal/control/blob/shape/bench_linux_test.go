package shape_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob/shape"
)

// BenchmarkServe shows what the kernel's copying saves: "file" hands *os.File to net/http as blob/disk does, "shaped" does so through a
// shaper, "bytes" hides that it is a file. The time of loopback says little; what counts is the processor time of the serving thread.
func BenchmarkServe(b *testing.B) {
	const size = 64 * mib
	path := filepath.Join(b.TempDir(), "blob")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	for name, of := range map[string]struct {
		wrap   func(io.ReadSeeker) io.ReadSeeker
		limits shape.Limits
	}{
		"file":   {func(r io.ReadSeeker) io.ReadSeeker { return r }, shape.Limits{}},
		"shaped": {func(r io.ReadSeeker) io.ReadSeeker { return r }, shape.Limits{Global: 1 << 50, Slowest: 1024}},
		"bytes":  {func(r io.ReadSeeker) io.ReadSeeker { return struct{ io.ReadSeeker }{r} }, shape.Limits{}},
	} {
		b.Run(name, func(b *testing.B) {
			var used atomic.Int64
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				f, err := os.Open(path)
				if err != nil {
					b.Error(err)
					return
				}
				defer f.Close()
				runtime.LockOSThread() // for good: the thread ends with the connection
				before := spent(b)
				defer func() { used.Add(int64(spent(b) - before)) }()
				w.Header().Set("Content-Type", "application/octet-stream")
				http.ServeContent(w, r, "", time.Time{}, of.wrap(f))
			})
			port := httptest.NewServer(shape.New(clock.Wall{}, of.limits).Handler(handler, func(*http.Request) string { return "one" }))
			defer port.Close()
			b.SetBytes(size)
			for b.Loop() {
				drain(b, port.URL, size)
			}
			b.ReportMetric(float64(used.Load())/1e6/float64(b.N)/size*(1<<30), "cpu-ms/GiB")
		})
	}
}

// spent is the processor time of this thread.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var usage unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
		b.Error(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// drain reads an answer and throws it away.
func drain(b *testing.B, url string, size int) {
	b.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://")) //nolint:noctx // a benchmark's
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		b.Fatal(err)
	}
	buffer := make([]byte, mib)
	n := 0
	for {
		read, err := conn.Read(buffer)
		n += read
		if err != nil {
			break
		}
	}
	if n < size {
		b.Fatalf("got %d bytes, want %d", n, size)
	}
}
