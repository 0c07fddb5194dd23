package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
	"github.com/firebreak-dev/firebreak/internal/endpoint/fetch"
)

// server serves one artifact, and misbehaves as told. It notes the Range headers it gets.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	handle http.HandlerFunc
	ranges []string
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.ranges = append(s.ranges, strings.TrimSpace(r.Header.Get("Range")+" "+r.Header.Get("If-Range")))
		handle := s.handle
		s.mu.Unlock()
		handle(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) do(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handle = h
}

// whole serves data as it should be.
func whole(data []byte, tag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if tag != "" {
			w.Header().Set("ETag", tag)
		}
		http.ServeContent(w, r, "artifact", time.Time{}, bytes.NewReader(data))
	}
}

// cut serves data and breaks the connection after n bytes.
func cut(data []byte, tag string, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", tag)
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:n])
		panic(http.ErrAbortHandler)
	}
}

func artifact() []byte {
	data := make([]byte, 300_000)
	r := rand.NewChaCha8([32]byte{1})
	_, _ = r.Read(data)
	return data
}

func request(t *testing.T, s *server, data []byte) fetch.Request {
	t.Helper()
	return fetch.Request{
		URL: s.URL + "/v1/artifacts/x", Digest: release.DigestOf(data), Size: int64(len(data)),
		Path: filepath.Join(t.TempDir(), "artifact"),
	}
}

func fetcher(s *server, fsys disk.FS) *fetch.Fetcher {
	return fetch.New(fetch.Options{Client: s.Client(), FS: fsys, Reserve: 1 << 10})
}

func TestFetchResumesWhereItBrokeOff(t *testing.T) {
	t.Parallel()
	s, data := newServer(t), artifact()
	r, f := request(t, s, data), fetcher(s, disk.OS{})
	s.do(cut(data, `"one"`, 100_000))
	if err := f.Fetch(t.Context(), r); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("got %v, want unavailable", err)
	}
	s.do(whole(data, `"one"`))
	if err := f.Fetch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	expect(t, r, data)
	if err := f.Fetch(t.Context(), r); err != nil { // it is there: nothing is asked
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"", `bytes=100000- "one"`}, s.ranges); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
}

func TestFetchStartsAgainWhenTheServerHasAnotherEntityOrKnowsNoRanges(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]func(data []byte) http.HandlerFunc{
		"other entity": func(data []byte) http.HandlerFunc { return whole(data, `"two"`) },
		"no ranges": func(data []byte) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, data := newServer(t), artifact()
			r, f := request(t, s, data), fetcher(s, disk.OS{})
			s.do(cut(bytes.Repeat([]byte("other"), 60_000), `"one"`, 100_000))
			if err := f.Fetch(t.Context(), r); err == nil {
				t.Fatal("got no error, want one")
			}
			s.do(second(data))
			if err := f.Fetch(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			expect(t, r, data)
		})
	}
}

func TestFetchRefusesWhatIsNotAsSigned(t *testing.T) {
	t.Parallel()
	data := artifact()
	bad := bytes.Clone(data)
	bad[200_000] ^= 1
	for name, row := range map[string]struct {
		part   []byte // from an earlier attempt
		handle http.HandlerFunc
		want   string
	}{
		"tampered":        {handle: whole(bad, ""), want: "what was sent has digest"},
		"tampered part":   {part: bad[:250_000], handle: whole(data, ""), want: "what was sent has digest"},
		"longer, said so": {handle: whole(append(bytes.Clone(data), 1), ""), want: "wants to send 300001 bytes"},
		"longer": {handle: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(data)
			w.(http.Flusher).Flush()
			_, _ = w.Write(data)
		}, want: "sent more than the 300000"},
		"endless": {handle: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(data); err != nil {
					return
				}
			}
		}, want: "sent more than the 300000"},
		"other range": {part: data[:100], handle: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 50-299999/300000")
			w.WriteHeader(http.StatusPartialContent)
		}, want: "the server sent the range"},
		"shorter entity": {part: data[:200_000], handle: whole(data[:100_000], ""), want: "has less than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			r := request(t, s, data)
			if row.part != nil {
				write(t, r.Path+".part", row.part)
			}
			s.do(row.handle)
			err := fetcher(s, disk.OS{}).Fetch(t.Context(), r)
			if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want denied with %q", err, row.want)
			}
			nothingLeft(t, r)
			s.do(whole(data, ""))
			if err := fetcher(s, disk.OS{}).Fetch(t.Context(), r); err != nil {
				t.Fatalf("the next attempt: %v", err)
			}
			expect(t, r, data)
		})
	}
}

func TestFetchKeepsThePartWhenTheServerIsTheProblem(t *testing.T) {
	t.Parallel()
	data := artifact()
	for name, row := range map[string]struct {
		handle http.HandlerFunc
		kind   fault.Kind
	}{
		"truncated": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 1000-1999/300000")
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(data[1000:2000])
		}, fault.Unavailable},
		"busy":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, fault.Unavailable},
		"forbidden": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, fault.Unavailable},
		"not there": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, fault.NotFound},
		"down":      {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, fault.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			r := request(t, s, data)
			write(t, r.Path+".part", data[:1000])
			s.do(row.handle)
			if err := fetcher(s, disk.OS{}).Fetch(t.Context(), r); fault.KindOf(err) != row.kind {
				t.Errorf("got %v, want %s", err, row.kind)
			}
			s.do(whole(data, ""))
			if err := fetcher(s, disk.OS{}).Fetch(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			expect(t, r, data)
			if got := s.ranges[len(s.ranges)-1]; got != "bytes=1000-" && got != "bytes=2000-" {
				t.Errorf("got range %q, want the part to be continued", got)
			}
		})
	}
}

func TestFetchOnAFullDisk(t *testing.T) {
	t.Parallel()
	data := artifact()
	t.Run("known before", func(t *testing.T) {
		t.Parallel()
		s := newServer(t)
		r := request(t, s, data)
		s.do(whole(data, ""))
		f := fetch.New(fetch.Options{Client: s.Client(), FS: disk.OS{}, Reserve: 1 << 60})
		err := f.Fetch(t.Context(), r)
		if fault.KindOf(err) != fault.Unavailable || fault.NextOf(err) == "" || len(s.ranges) != 0 {
			t.Errorf("got %v after %d requests, want to be told before anything is asked", err, len(s.ranges))
		}
		nothingLeft(t, r)
	})
	t.Run("while writing", func(t *testing.T) {
		t.Parallel()
		disktest.Enumerate(t, disktest.Fault{Kind: disktest.Fail, Err: syscall.ENOSPC, Tear: true}, func(t *testing.T, fsys *disktest.Faulty) {
			s := newServer(t)
			r := request(t, s, data)
			s.do(whole(data, `"tag"`))
			err := fetcher(s, fsys).Fetch(t.Context(), r)
			if err == nil {
				expect(t, r, data) // the fault struck what is best effort
				return
			}
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.NextOf(err), "free some space") {
				t.Errorf("got %v, next %q, want a hint to free space", err, fault.NextOf(err))
			}
			if _, err := os.Stat(r.Path); errors.Is(err, fs.ErrNotExist) {
				nothingLeft(t, r)
			}
		})
	})
}

// TestFetchSurvivesEveryCrash kills and cuts at every change: the next attempt completes, and nothing unverified ever has the final name.
func TestFetchSurvivesEveryCrash(t *testing.T) {
	t.Parallel()
	data := artifact()
	for _, f := range []disktest.Fault{{Kind: disktest.Kill, Tear: true}, {Kind: disktest.Cut}} {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.do(whole(data, `"tag"`))
			disktest.Enumerate(t, f, func(t *testing.T, fsys *disktest.Faulty) {
				r := request(t, s, data)
				err := fetcher(s, fsys).Fetch(t.Context(), r)
				if _, statErr := os.Stat(r.Path); statErr == nil || err == nil {
					expect(t, r, data)
				}
				if err := fetcher(s, disk.OS{}).Fetch(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				expect(t, r, data)
			})
		})
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s, data := newServer(t), artifact()
	r := request(t, s, data)
	ctx, cancel := context.WithCancel(t.Context())
	s.do(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		_, _ = w.Write(data[:1000])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
	})
	if err := fetcher(s, disk.OS{}).Fetch(ctx, r); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestFetchReplacesADamagedFile(t *testing.T) {
	t.Parallel()
	s, data := newServer(t), artifact()
	r := request(t, s, data)
	write(t, r.Path, data[1:])
	s.do(whole(data, ""))
	if err := fetcher(s, disk.OS{}).Fetch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	expect(t, r, data)
}

func TestFetchRefusesABadRequest(t *testing.T) {
	t.Parallel()
	for _, r := range []fetch.Request{{Digest: "x", Size: 1}, {Digest: release.DigestOf(nil)}, {Digest: release.DigestOf(nil), Size: 1 << 40}} {
		if err := fetch.New(fetch.Options{}).Fetch(t.Context(), r); fault.KindOf(err) != fault.Invalid {
			t.Errorf("got %v, want invalid", err)
		}
	}
}

func expect(t *testing.T, r fetch.Request, want []byte) {
	t.Helper()
	got, err := os.ReadFile(r.Path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v, want the artifact", len(got), err)
	}
}

func nothingLeft(t *testing.T, r fetch.Request) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(r.Path))
	if err != nil || len(entries) != 0 {
		t.Errorf("got %v, %v, want nothing left", entries, err)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
