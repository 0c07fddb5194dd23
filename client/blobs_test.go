package client_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// noise is n bytes that do not repeat.
func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(data) // does not fail
	return data
}

// flaky stands before a control plane. Broken tells, of each request with pieces, how many bytes of its body get through; below 0: all.
func flaky(t *testing.T, to string, broken func(n int64) int64) (address string, sent *atomic.Int64) {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	var pieces atomic.Int64
	sent = &atomic.Int64{}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = nil
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	port := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPatch {
			r.Body = &tap{ReadCloser: r.Body, count: sent, left: broken(pieces.Add(1))}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(port.Close)
	return port.URL, sent
}

// tap counts what goes through and breaks when left is used up.
type tap struct {
	io.ReadCloser
	count *atomic.Int64
	left  int64
}

func (b *tap) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errors.New("connection reset")
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left > 0 {
		b.left -= int64(n)
	}
	b.count.Add(int64(n))
	return n, err
}

func TestLargeUploadsGoOnAfterABreak(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	address, sent := flaky(t, w.URL, func(n int64) int64 {
		if n <= 3 {
			return 3 << 20 // three times in a row in the first piece
		}
		return -1
	})
	c := dial(t, address, w.Token)
	data := noise(20<<20 + 7)
	digest, size := string(release.DigestOf(data)), int64(len(data))
	var last atomic.Int64
	err := c.UploadBlob(t.Context(), digest, size, struct{ io.Reader }{bytes.NewReader(data)}, func(n int64) {
		if n <= last.Swap(n) {
			t.Errorf("progress went back to %d", n)
		}
	})
	if err != nil || last.Load() != size {
		t.Fatalf("got %v at %d, want all of %d", err, last.Load(), size)
	}
	if has, err := c.HasBlob(t.Context(), digest); !has || err != nil {
		t.Errorf("got %t, %v, want it there", has, err)
	}
	if sent.Load() > size+(1<<20) {
		t.Errorf("sent %d bytes of %d, want hardly any of them twice", sent.Load(), size)
	}
}

func TestAnUploadGoesOnWhereAnotherProcessStopped(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	data := noise(24 << 20)
	digest, size := string(release.DigestOf(data)), int64(len(data))
	ctx, cancel := context.WithCancel(t.Context())
	err := dial(t, w.URL, w.Token).UploadBlob(ctx, digest, size, bytes.NewReader(data), func(n int64) {
		if n > 12<<20 {
			cancel() // it is killed
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want it cancelled", err)
	}
	address, sent := flaky(t, w.URL, func(int64) int64 { return -1 })
	if err := dial(t, address, w.Token).UploadBlob(t.Context(), digest, size, struct{ io.Reader }{bytes.NewReader(data)}, nil); err != nil {
		t.Fatal(err)
	}
	if sent.Load() > 16<<20 {
		t.Errorf("sent %d bytes, want at most the 16 MiB that the first did not finish", sent.Load())
	}
}

func TestLargeUploadsOfOtherBytesAreRefused(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	c := dial(t, w.URL, w.Token)
	data := noise(9 << 20)
	digest := string(release.DigestOf(data))
	data[0] ^= 1
	if err := c.UploadBlob(t.Context(), digest, int64(len(data)), bytes.NewReader(data), nil); client.KindOf(err) != client.Invalid {
		t.Errorf("got %v, want it refused", err)
	}
	if err := c.UploadBlob(t.Context(), digest, int64(len(data)), bytes.NewReader(data[1:]), nil); client.KindOf(err) != client.Invalid {
		t.Errorf("got %v of too few bytes, want it refused", err)
	}
	data[0] ^= 1
	// What came of the wrong bytes is found out at the end, and then forgotten.
	if err := c.UploadBlob(t.Context(), digest, int64(len(data)), bytes.NewReader(data), nil); client.KindOf(err) != client.Invalid {
		t.Errorf("got %v of right bytes after wrong ones, want them refused once", err)
	}
	for range 2 { // the second time it is there already
		if err := c.UploadBlob(t.Context(), digest, int64(len(data)), bytes.NewReader(data), nil); err != nil {
			t.Errorf("got %v of the right bytes afterwards, want them stored", err)
		}
	}
}

func TestAnOlderControlPlaneGetsLargeBlobsInOnePiece(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, func(o *server.Options) { o.Uploads = nil })
	c := dial(t, w.URL, w.Token)
	data := noise(9 << 20)
	digest := string(release.DigestOf(data))
	if err := c.UploadBlob(t.Context(), digest, int64(len(data)), bytes.NewReader(data), nil); err != nil {
		t.Fatal(err)
	}
	if has, err := c.HasBlob(t.Context(), digest); !has || err != nil {
		t.Errorf("got %t, %v, want it there", has, err)
	}
}

func TestGarbageIsCollected(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	c := dial(t, w.URL, w.Token)
	published := w.Publish("sensor-content", "1")
	orphan := release.DigestOf([]byte("nobody's"))
	if err := w.Blobs.Put(t.Context(), orphan, 8, strings.NewReader("nobody's")); err != nil {
		t.Fatal(err)
	}
	for _, dry := range []bool{true, false} {
		g, err := c.CollectGarbage(t.Context(), dry)
		if err != nil || g.DryRun != dry || g.RemovedCount != 1 || g.RemovedBytes != 8 || g.Removed[0].Digest != string(orphan) {
			t.Errorf("got %+v, %v, want the orphan removed", g, err)
		}
		if g.KeptCount != 1 || g.Kept[0].Digest != string(published.Manifest.Artifacts[0].Digest) || g.Kept[0].Why == "" {
			t.Errorf("got %+v kept, want the release's artifact and why", g.Kept)
		}
		if has, err := w.Blobs.Has(t.Context(), orphan); has != dry || err != nil {
			t.Errorf("got the orphan there: %t, %v, want %t", has, err, dry)
		}
	}
}
