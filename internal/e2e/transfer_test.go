package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
)

// What is stored is changed on the control plane's disk: no host takes it, and once it is mended all do.
func TestTamperedArtifact(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	published := p.publish("v2", "good rules 2", atOnce())
	path := filepath.Join(p.dir, "blobs", "blobs", "sha256", published.Manifest.Artifacts[0].Digest.Hex())
	overwrite(t, path, "evil rules 2")
	id := p.begin("v2")
	h.says("what was sent has digest", "signed is")
	if got := h.current(); got != "good rules 1" {
		t.Errorf("in use: got %q, want the first release", got)
	}
	if r := p.await(id, "the rollout", func(api.Rollout) bool { return true }); r.Exposed != 0 || r.Phase != "running" {
		t.Errorf("rollout: got %s with %d exposed, want it running with nobody exposed", r.Phase, r.Exposed)
	}
	overwrite(t, path, "good rules 2")
	p.await(id, "v2 to be confirmed once the artifact is mended", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
	h.runs("v2")
}

func overwrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// halves serves an artifact and breaks off in the middle, once.
type halves struct {
	body   []byte
	mu     sync.Mutex
	ranges []string
}

func (s *halves) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	w.Header().Set("Etag", `"one"`)
	if len(s.ranges) > 1 {
		http.ServeContent(w, r, "", (&movable{}).Now(), bytes.NewReader(s.body))
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(s.body)))
	_, _ = w.Write(s.body[:len(s.body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// A download that breaks off goes on where it stopped.
func TestTruncatedDownloadGoesOn(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	text := strings.Repeat("good rules 2\n", 1000)
	proxy := &halves{body: []byte(text)}
	server := httptest.NewServer(proxy)
	defer server.Close()
	h.line.mu.Lock()
	h.line.server = server
	h.line.mu.Unlock()
	id := p.roll("v2", text, atOnce())
	h.says("download", fmt.Sprintf("at %d of %d bytes", len(text)/2, len(text)))
	p.await(id, "v2 to be confirmed", func(r api.Rollout) bool { return r.Confirmed == 1 && r.Harmed == 0 })
	if h.current() != text {
		t.Error("in use: got other bytes than were published")
	}
	proxy.mu.Lock()
	defer proxy.mu.Unlock()
	if want := fmt.Sprintf("bytes=%d-", len(text)/2); len(proxy.ranges) != 2 || proxy.ranges[1] != want {
		t.Errorf("ranges asked for: got %q, want nothing and then %q", proxy.ranges, want)
	}
}

func archive(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		h.Mode = 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte("x"), int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Archives that would leave their slot, that link or that unfold without end are refused before anything is exposed, with the reason.
func TestHostileArchives(t *testing.T) {
	t.Parallel()
	p, hosts := settled(t, 1)
	h := hosts[0]
	many := make([]tar.Header, 30)
	for i := range many {
		many[i] = tar.Header{Name: fmt.Sprintf("file-%d", i), Typeflag: tar.TypeReg}
	}
	for i, c := range []struct {
		archive []byte
		says    string
	}{
		{archive(t, tar.Header{Name: "../../../current", Typeflag: tar.TypeReg, Size: 1}), "leads out of the release"},
		{archive(t, tar.Header{Name: "/etc/passwd", Typeflag: tar.TypeReg, Size: 1}), "is an absolute path"},
		{archive(t, tar.Header{Name: "rules.txt", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}), "is a link to"},
		{archive(t, tar.Header{Name: "rules.txt", Typeflag: tar.TypeLink, Linkname: "../x"}), "is a link to"},
		{archive(t, tar.Header{Name: "rules.txt", Typeflag: tar.TypeReg, Size: 100_001}), "unpacks to more than 100000 bytes"},
		{archive(t, many...), "is one more than 20 files"},
	} {
		version := fmt.Sprintf("v%d", i+2)
		p.byHand(version, int64(i+2), c.archive)
		id := p.begin(version)
		h.says("prepare", "version="+version, c.says)
		eventually(t, "the control plane to hear why", func() error {
			e, err := p.client.Endpoint(t.Context(), h.id)
			if err == nil && !strings.Contains(e.Components[sensor].Why, c.says[:12]) {
				err = fmt.Errorf("got %+v", e.Components[sensor])
			}
			return err
		})
		if r := p.await(id, "the rollout", func(api.Rollout) bool { return true }); r.Exposed != 0 || r.Harmed != 0 {
			t.Errorf("%s: got %d exposed and %d harmed, want none", version, r.Exposed, r.Harmed)
		}
		if got := h.current(); got != "good rules 1" {
			t.Errorf("%s: in use: got %q, want the first release", version, got)
		}
		p.halt(id)
	}
	left, err := filepath.Glob(filepath.Join(h.dir, "components", sensor, "slots", "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("slots: got %q (%v), want only that of the first release", left, err)
	}
	p.await(p.roll("v99", "good rules 99", atOnce()), "a good release to follow", func(r api.Rollout) bool { return r.Confirmed == 1 })
	h.runs("v99")
}
