package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob/blobtest"
	"github.com/firebreak-dev/firebreak/internal/control/blob/s3"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

const secret = "s3cr3t-of-the-tests"

// ticking is a clock as the fake wants it.
type ticking struct{ *clock.Fixed }

func (t ticking) Since(at time.Time) time.Duration { return t.Now().Sub(at) }

// bucket is an object store with one bucket, whose requests pass through gate if that is not nil.
func bucket(t testing.TB, c *clock.Fixed, gate func(http.ResponseWriter, *http.Request) bool) string {
	t.Helper()
	source := gofakes3.TimeSource(ticking{c})
	backend := s3mem.New(s3mem.WithTimeSource(source))
	if err := backend.CreateBucket("blobs"); err != nil {
		t.Fatal(err)
	}
	fake := gofakes3.New(backend, gofakes3.WithTimeSource(source), gofakes3.WithTimeSkewLimit(0), gofakes3.WithoutVersioning()).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gate == nil || gate(w, r) {
			fake.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func open(t testing.TB, c clock.Clock, endpoint string) (*s3.Store, error) {
	t.Helper()
	return s3.Open(t.Context(), "s3://blobs/a/prefix?region=eu-1&endpoint="+endpoint, s3.Options{
		Credentials: credentials.NewStaticCredentialsProvider("key", secret, ""), Clock: c,
	})
}

func opened(t testing.TB, c clock.Clock, endpoint string) *s3.Store {
	t.Helper()
	s, err := open(t, c, endpoint)
	if err != nil {
		t.Fatalf("got %v, want an open store", err)
	}
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t testing.TB, c *clock.Fixed) blobtest.Store { return opened(t, c, bucket(t, c, nil)) })
}

func put(t testing.TB, s *s3.Store, data []byte) release.Digest {
	t.Helper()
	d := release.DigestOf(data)
	if err := s.Put(t.Context(), d, int64(len(data)), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return d
}

// An object is not seen under its digest before the last byte was judged, and an upload that fails leaves no parts.
func TestNothingIsSeenBeforeItIsRight(t *testing.T) {
	t.Parallel()
	var aborted, completed atomic.Int64
	c := clock.At(time.Date(2026, 7, 19, 0, 0, 0, 0, time.UTC))
	s := opened(t, c, bucket(t, c, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Has("uploadId") && r.Method == http.MethodDelete {
			aborted.Add(1)
		}
		if r.URL.Query().Has("uploadId") && r.Method == http.MethodPost {
			completed.Add(1)
		}
		return true
	}))
	data := bytes.Repeat([]byte("firebreak"), 1<<20)
	d := release.DigestOf(data)
	watching := &watcher{Reader: bytes.NewReader(data), look: func() {
		if has, err := s.Has(t.Context(), d); has || err != nil {
			t.Errorf("got it there: %t, %v, while it is being sent", has, err)
		}
	}}
	if err := s.Put(t.Context(), d, int64(len(data)), watching); err != nil || completed.Load() != 1 {
		t.Errorf("got %v after %d completions, want it stored by one", err, completed.Load())
	}
	wrong := release.DigestOf([]byte("other"))
	if err := s.Put(t.Context(), wrong, int64(len(data)), bytes.NewReader(data)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v, want it refused", err)
	}
	if aborted.Load() != 1 || completed.Load() != 1 {
		t.Errorf("got %d aborted and %d completed, want 1 and 1", aborted.Load(), completed.Load())
	}
}

// watcher looks at every third megabyte.
type watcher struct {
	*bytes.Reader
	look func()
	next int
}

func (w *watcher) Read(p []byte) (int, error) {
	if w.Size()-int64(w.Len()) >= int64(w.next)*3<<20 {
		w.next++
		w.look()
	}
	return w.Reader.Read(p)
}

func TestASmallRangeOfALargeBlobIsCheap(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	c := clock.At(time.Date(2026, 7, 19, 0, 0, 0, 0, time.UTC))
	s := opened(t, c, bucket(t, c, func(_ http.ResponseWriter, r *http.Request) bool {
		var from, to int64
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); err == nil {
			sent.Add(to - from + 1)
		}
		return true
	}))
	data := bytes.Repeat([]byte("firebreak"), 2<<20)
	d := put(t, s, data)
	port := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _, err := s.Open(r.Context(), d)
		if err != nil {
			t.Error(err)
			return
		}
		defer b.Close()
		http.ServeContent(w, r, "a.bin", time.Time{}, b)
	}))
	defer port.Close()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, port.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Range", "bytes=18000000-18000008")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if want := string(data[18000000:18000009]); string(got) != want || err != nil || answer.StatusCode != http.StatusPartialContent {
		t.Errorf("got %d %q, %v, want 206 %q", answer.StatusCode, got, err, want)
	}
	if sent.Load() > 9<<20 {
		t.Errorf("asked for %d bytes of %d, want at most a window", sent.Load(), len(data))
	}
}

func TestAStoreThatCannotBeUsedSaysSo(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c := clock.At(time.Date(2026, 7, 19, 0, 0, 0, 0, time.UTC))
	refuse := func(status int, code string) string {
		return bucket(t, c, func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, r.Header.Get("Authorization"))
			return false
		})
	}
	for name, test := range map[string]struct {
		endpoint string
		want     fault.Kind
	}{
		"unreachable": {gone.URL, fault.Unavailable},
		"broken":      {refuse(http.StatusNotImplemented, "NotImplemented"), fault.Unavailable},
		"silent":      {refuse(http.StatusBadGateway, ""), fault.Unavailable},
		"denied":      {refuse(http.StatusForbidden, "AccessDenied"), fault.Denied},
		"no bucket":   {refuse(http.StatusNotFound, "NoSuchBucket"), fault.NotFound},
	} {
		_, err := open(t, c, test.endpoint)
		if fault.KindOf(err) != test.want || fault.NextOf(err) == "" || !strings.Contains(err.Error(), "s3://blobs/a/prefix") {
			t.Errorf("%s: got %v (next %q), want %s, the place and a next step", name, err, fault.NextOf(err), test.want)
		}
		for _, leak := range []string{secret, "Signature=", "Credential="} {
			if err != nil && strings.Contains(err.Error(), leak) {
				t.Errorf("%s: got %q in %q", name, leak, err)
			}
		}
	}
}

func TestAStoreThatGoesAwayIsUnavailableAndComesBack(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	c := clock.At(time.Date(2026, 7, 19, 0, 0, 0, 0, time.UTC))
	s := opened(t, c, bucket(t, c, func(w http.ResponseWriter, _ *http.Request) bool {
		if down.Load() {
			w.WriteHeader(http.StatusNotImplemented) // that the SDK does not wait for
		}
		return !down.Load()
	}))
	d := put(t, s, []byte("bytes"))
	down.Store(true)
	_, _, err := s.Open(t.Context(), d)
	_, errHas := s.Has(t.Context(), d)
	_, errIndex := s.Index(t.Context())
	for what, err := range map[string]error{
		"open": err, "has": errHas, "index": errIndex, "remove": s.Remove(t.Context(), d), "touch": s.Touch(t.Context(), d),
		"put": s.Put(t.Context(), release.DigestOf([]byte("x")), 1, strings.NewReader("x")), "set index": s.SetIndex(t.Context(), nil),
	} {
		if fault.KindOf(err) != fault.Unavailable || fault.NextOf(err) == "" {
			t.Errorf("%s: got %v, want unavailable with a next step", what, err)
		}
	}
	down.Store(false)
	if has, err := s.Has(t.Context(), d); !has || err != nil {
		t.Errorf("got %t, %v, want it back", has, err)
	}
}

// A read that breaks off is an error, never a shorter blob.
func TestABrokenAnswerIsNoEnd(t *testing.T) {
	t.Parallel()
	var cut atomic.Bool
	c := clock.At(time.Date(2026, 7, 19, 0, 0, 0, 0, time.UTC))
	s := opened(t, c, bucket(t, c, func(w http.ResponseWriter, r *http.Request) bool {
		if !cut.Load() || r.Method != http.MethodGet {
			return true
		}
		w.Header().Set("Content-Range", "bytes 262144-8650751/9437184")
		w.Header().Set("Content-Length", "8388608")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write([]byte("cut off"))
		return false
	}))
	d := put(t, s, bytes.Repeat([]byte("f"), 9<<20))
	b, _, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	cut.Store(true)
	if n, err := io.Copy(io.Discard, b); fault.KindOf(err) != fault.Unavailable || n != 256<<10+7 {
		t.Errorf("got %d bytes and %v, want unavailable after 262151", n, err)
	}
}

func TestLocations(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]string{
		"": "s3://", "https://bucket": "s3://", "s3:///prefix": "s3://", "s3://b/../c": "prefix", "s3://b?endpoint=ftp://x": "query.endpoint",
		"s3://key:" + secret + "@b": "user", "s3://b?endpoint=https://key:" + secret + "@host": "query.endpoint", "s3://b?regoin=x": "unknown",
		"s3://b?region=a&region=b": "more than once", "s3://b?path_style=maybe": "path_style", "s3://b:80": "bucket", "s3://b#x": "fragment", "s3://b?%zz": "query",
	} {
		_, err := s3.Open(t.Context(), location, s3.Options{})
		if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error()+fault.NextOf(err), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: got %v, want invalid that says %q and no secret", location, err, want)
		}
	}
}

func TestACancelledCallerIsHeard(t *testing.T) {
	t.Parallel()
	c := clock.At(time.Date(2026, 7, 19, 0, 0, 0, 0, time.UTC))
	s := opened(t, c, bucket(t, c, nil))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Has(ctx, release.DigestOf(nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}
