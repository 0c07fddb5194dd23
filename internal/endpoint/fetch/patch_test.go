package fetch_test

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/delta"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk/disktest"
	"github.com/firebreak-dev/firebreak/internal/endpoint/fetch"
)

// depot serves blobs and what it says are deltas, and notes what it is asked.
type depot struct {
	*server
	mu    sync.Mutex
	blobs map[string][]byte
	lists map[string]any // by artifact
	cut   map[string]int // blobs that break off after so many bytes, once
	asked []string
	moved int
}

func newDepot(t *testing.T) *depot {
	t.Helper()
	d := &depot{server: newServer(t), blobs: map[string][]byte{}, lists: map[string]any{}, cut: map[string]int{}}
	d.do(d.serve)
	return d
}

func (d *depot) serve(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if digest, ok := strings.CutPrefix(r.URL.Path, api.PathDeltas); ok {
		d.note(r, "deltas")
		if list, ok := d.lists[digest]; ok {
			_ = json.NewEncoder(w).Encode(list)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		return
	}
	digest := strings.TrimPrefix(r.URL.Path, api.PathArtifacts)
	data, ok := d.blobs[digest]
	d.note(r, digest[7:15])
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	w.Header().Set("ETag", `"`+digest+`"`)
	if n, ok := d.cut[digest]; ok {
		delete(d.cut, digest)
		d.moved += n
		cut(data, `"`+digest+`"`, n)(w, r)
	}
	if encoding, encoded := d.encoded(r, digest); encoding != "" {
		d.moved += len(encoded)
		w.Header().Set("Content-Encoding", encoding)
		w.Header().Set("ETag", `"other"`)
		_, _ = w.Write(encoded)
		return
	}
	d.moved += len(data)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// encoded is the form that the request asks for, if there is one. That of a base is known by the base.
func (d *depot) encoded(r *http.Request, digest string) (string, []byte) {
	list, _ := d.lists[digest].(api.DeltaList)
	for _, c := range list.Deltas {
		accepted := strings.Contains(r.Header.Get("Accept-Encoding"), c.Form)
		raw, _ := hex.DecodeString(release.Digest(c.From).Hex())
		if accepted && (c.From == "" || r.Header.Get("Available-Dictionary") == ":"+base64.StdEncoding.EncodeToString(raw)+":") {
			return c.Form, d.blobs[c.Digest]
		}
	}
	return "", nil
}

func (d *depot) note(r *http.Request, what string) {
	d.asked = append(d.asked, strings.TrimSpace(what+" "+r.Header.Get("Range")))
}

func (d *depot) put(data []byte) string {
	digest := string(release.DigestOf(data))
	d.blobs[digest] = data
	return digest
}

// offer stores a delta and lists it.
func (d *depot) offer(target, data []byte, from []byte, form string) api.Delta {
	c := api.Delta{Digest: d.put(data), Size: int64(len(data)), Form: form}
	if from != nil {
		c.From = string(release.DigestOf(from))
	}
	key := string(release.DigestOf(target))
	list, _ := d.lists[key].(api.DeltaList)
	list.Deltas = append(list.Deltas, c)
	d.lists[key] = list
	return c
}

func windows(t *testing.T, base, target []byte) []byte {
	t.Helper()
	var from delta.Source
	if base != nil {
		from = sourceOf(base)
	}
	var b bytes.Buffer
	if err := delta.Make(t.Context(), &b, from, sourceOf(target)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const large = delta.MaxSmall + 300_000

func noise(size int, seed byte) []byte {
	data := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// next is the next version of some bytes: something was inserted, and some of them changed.
func next(data []byte, changed int) []byte {
	data = append(bytes.Clone(data[:5000]), data[4000:]...)
	copy(data[len(data)/2:], noise(changed, 8))
	return data
}

// grown is bytes with zeros behind them, so many that they are a large artifact. Zeros are quick to encode.
func grown(data []byte) []byte { return append(bytes.Clone(data), make([]byte, large)...) }

// world is a host with an old release in a slot, a server with the new one and the delta, and what to fetch.
type world struct {
	*depot
	old, is []byte
	delta   api.Delta
	request fetch.Request
}

func newWorld(t *testing.T) *world {
	t.Helper()
	old := noise(400_000, 1)
	is := grown(next(old, 30_000))
	return worldOf(t, old, is, windows(t, old, is))
}

// again is the same world anew: making a delta takes a while.
func (w *world) again(t *testing.T) *world {
	t.Helper()
	return worldOf(t, w.old, w.is, bytes.Clone(w.blobs[w.delta.Digest]))
}

func worldOf(t *testing.T, old, is, data []byte) *world {
	t.Helper()
	w := &world{depot: newDepot(t), old: old, is: is}
	w.put(w.is)
	w.delta = w.depot.offer(w.is, data, w.old, api.DeltaWindows)
	w.request = w.fresh(t)
	return w
}

// fresh is the request on another host.
func (w *world) fresh(t *testing.T) fetch.Request {
	t.Helper()
	slot := t.TempDir()
	write(t, filepath.Join(slot, "program"), w.old)
	return w.want(t, w.is, release.File, slot)
}

func (d *depot) want(t *testing.T, is []byte, format release.Format, slots ...string) fetch.Request {
	t.Helper()
	digest := release.DigestOf(is)
	return fetch.Request{
		URL: d.URL + api.PathArtifacts + string(digest), Digest: digest, Size: int64(len(is)),
		Path: filepath.Join(t.TempDir(), "artifact"), Format: format, Bases: slots,
	}
}

func (w *world) fetch(t *testing.T, fsys disk.FS) error {
	t.Helper()
	return fetcher(w.server, fsys).Fetch(t.Context(), w.request)
}

func (d *depot) short(data []byte) string { return release.DigestOf(data).Hex()[:8] }

func TestFetchMovesADeltaInsteadOfTheArtifact(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log bytes.Buffer
	f := fetch.New(fetch.Options{Client: w.Client(), FS: disk.OS{}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err := f.Fetch(t.Context(), w.request); err != nil {
		t.Fatal(err)
	}
	expect(t, w.request, w.is)
	if diff := cmp.Diff([]string{"deltas", w.delta.Digest[7:15]}, w.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	if w.moved > len(w.is)/100 {
		t.Errorf("got %d bytes moved of %d, want less than 1 %%", w.moved, len(w.is))
	}
	onlyTheArtifact(t, w.request)
	if !strings.Contains(log.String(), "form=windows") {
		t.Errorf("got the log %q, want the form in it", log.String())
	}
}

func onlyTheArtifact(t *testing.T, r fetch.Request) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(r.Path))
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v, %v, want the artifact and nothing else", entries, err)
	}
}

// A release that was a directory is put together again from its files, whatever mode they were unpacked with.
func TestFetchStartsFromAnUnpackedDirectory(t *testing.T) {
	t.Parallel()
	d, slot := newDepot(t), t.TempDir()
	var b bytes.Buffer
	archive := tar.NewWriter(&b)
	long := strings.Repeat("long", 30)
	for _, e := range []struct {
		name    string
		data    []byte
		program bool
	}{
		{"a/", nil, false},
		{"a/b", noise(300_000, 1), false},
		{"a-b", nil, false},
		{"bin", noise(777, 2), true},
		{long + "/", nil, false},
		{long + "/x" + long, noise(512, 3), false},
		{"z", noise(1000, 4), false},
	} {
		if err := archive.WriteHeader(delta.TarHeader(e.name, int64(len(e.data)), e.program)); err != nil {
			t.Fatal(err)
		}
		_, _ = archive.Write(e.data)
		path := filepath.Join(slot, filepath.FromSlash(e.name))
		if strings.HasSuffix(e.name, "/") {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			continue
		}
		write(t, path, e.data)
		if e.program {
			if err := os.Chmod(path, 0o555); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	old := b.Bytes()
	is := grown(next(old, 100))
	d.put(is)
	d.offer(is, windows(t, old, is), old, api.DeltaWindows)
	r := d.want(t, is, release.Tar, t.TempDir(), slot)
	if err := fetcher(d.server, disk.OS{}).Fetch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	expect(t, r, is)
	if d.moved > len(is)/100 {
		t.Errorf("got %d bytes moved of %d, want less than 1 %%", d.moved, len(is))
	}
}

func TestFetchWithoutABaseMovesItCompressed(t *testing.T) {
	t.Parallel()
	d := newDepot(t)
	is := grown(noise(50_000, 1))
	d.put(is)
	d.offer(is, []byte("short"), noise(100, 2), api.DeltaWindows) // needs what is not here
	d.offer(is, windows(t, nil, is), nil, api.DeltaWindows)
	r := d.want(t, is, release.File)
	if err := fetcher(d.server, disk.OS{}).Fetch(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	expect(t, r, is)
	if d.moved > len(is)/10 {
		t.Errorf("got %d bytes moved of %d, want them compressed", d.moved, len(is))
	}
}

// Whatever is wrong with a delta, the same attempt ends with the artifact.
func TestFetchFallsBackToTheArtifact(t *testing.T) {
	t.Parallel()
	first := newWorld(t)
	for name, spoil := range map[string]func(t *testing.T, w *world){
		"none is known":  func(_ *testing.T, w *world) { delete(w.lists, string(w.request.Digest)) },
		"no list":        func(_ *testing.T, w *world) { w.lists[string(w.request.Digest)] = "what?" },
		"a long list":    func(_ *testing.T, w *world) { w.lists[string(w.request.Digest)] = strings.Repeat("x", 1<<20) },
		"the delta lost": func(_ *testing.T, w *world) { delete(w.blobs, w.delta.Digest) },
		"a flipped bit":  func(_ *testing.T, w *world) { w.blobs[w.delta.Digest][1000] ^= 1 },
		"truncated": func(_ *testing.T, w *world) {
			data := w.blobs[w.delta.Digest]
			w.relist(w.put(data[:len(data)-1]), len(data)-1)
		},
		"no delta": func(_ *testing.T, w *world) { w.relist(w.put(noise(1000, 4)), 1000) },
		"longer than said": func(_ *testing.T, w *world) {
			w.relist(w.delta.Digest, int(w.delta.Size)-1)
		},
		"shorter than said": func(_ *testing.T, w *world) {
			w.relist(w.delta.Digest, int(w.delta.Size)+1)
		},
		"longer than the artifact": func(_ *testing.T, w *world) { w.relist(w.delta.Digest, len(w.is)) },
		"no size":                  func(_ *testing.T, w *world) { w.relist(w.delta.Digest, -1) },
		"no digest":                func(_ *testing.T, w *world) { w.relist("sha256:../../x", 100) },
		"from something else": func(_ *testing.T, w *world) {
			data := w.blobs[w.delta.Digest]
			copy(data[8+32:], "another base")
			w.relist(w.put(data), len(data))
		},
		"to something else": func(_ *testing.T, w *world) {
			data := w.blobs[w.delta.Digest]
			copy(data[8:], "another target")
			w.relist(w.put(data), len(data))
		},
		"to something else, and lies": func(t *testing.T, w *world) {
			data := windows(t, nil, make([]byte, len(w.is)))
			sum, _ := hex.DecodeString(release.DigestOf(w.is).Hex())
			copy(data[8:], sum)
			w.delta.From = ""
			w.relist(w.put(data), len(data))
		},
		"the base was changed": func(t *testing.T, w *world) {
			write(t, filepath.Join(w.request.Bases[0], "program"), next(w.old, 1))
		},
		"the base is gone": func(_ *testing.T, w *world) { w.request.Bases = []string{"/nowhere"} },
		"a form of the future": func(_ *testing.T, w *world) {
			w.delta.Form = "telepathy"
			w.relist(w.delta.Digest, int(w.delta.Size))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := first.again(t)
			spoil(t, w)
			err := w.fetch(t, disk.OS{})
			if name == "shorter than said" && fault.KindOf(err) == fault.Unavailable { // it may only have broken off
				err = w.fetch(t, disk.OS{})
			}
			if err != nil {
				t.Fatal(err)
			}
			expect(t, w.request, w.is)
			onlyTheArtifact(t, w.request)
			if got := w.asked[len(w.asked)-1]; got != w.short(w.is) {
				t.Errorf("asked last for %q, want the whole artifact", got)
			}
		})
	}
}

func (w *world) relist(digest string, size int) {
	w.delta.Digest, w.delta.Size = digest, int64(size)
	w.lists[string(w.request.Digest)] = api.DeltaList{Deltas: []api.Delta{w.delta}}
}

func TestFetchGoesOnWithADeltaThatBrokeOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	half := int(w.delta.Size / 2)
	w.cut[w.delta.Digest] = half
	if err := w.fetch(t, disk.OS{}); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("got %v, want unavailable", err)
	}
	if err := w.fetch(t, disk.OS{}); err != nil {
		t.Fatal(err)
	}
	expect(t, w.request, w.is)
	name := w.delta.Digest[7:15]
	want := []string{"deltas", name, "deltas", fmt.Sprintf("%s bytes=%d-", name, half)}
	if diff := cmp.Diff(want, w.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// A delta that comes no further must not be waited for.
func TestFetchDoesNotWaitForADeltaThatComesNoFurther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.cut[w.delta.Digest] = 0
	if err := w.fetch(t, disk.OS{}); err != nil {
		t.Fatal(err)
	}
	expect(t, w.request, w.is)
}

// What was downloaded as it is counts, and a delta goes on behind it only if it is shorter than what is missing.
func TestFetchGoesOnWithADeltaWhereADownloadStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	write(t, w.request.Path+".part", w.is[:200_000])
	if err := w.fetch(t, disk.OS{}); err != nil {
		t.Fatal(err)
	}
	expect(t, w.request, w.is)
	if diff := cmp.Diff([]string{"deltas", w.delta.Digest[7:15]}, w.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
	w.request, w.asked = w.fresh(t), nil
	write(t, w.request.Path+".part", w.is[:len(w.is)-100])
	if err := w.fetch(t, disk.OS{}); err != nil {
		t.Fatal(err)
	}
	expect(t, w.request, w.is)
	if diff := cmp.Diff([]string{"deltas", fmt.Sprintf("%s bytes=%d-", w.short(w.is), len(w.is)-100)}, w.asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

func TestFetchByDeltaSurvivesEveryCrash(t *testing.T) {
	t.Parallel()
	first := newWorld(t)
	for _, f := range []disktest.Fault{{Kind: disktest.Kill, Tear: true}, {Kind: disktest.Cut}} {
		t.Run(f.String(), func(t *testing.T) {
			t.Parallel()
			w := first.again(t)
			disktest.Enumerate(t, f, func(t *testing.T, fsys *disktest.Faulty) {
				w.request = w.fresh(t)
				err := w.fetch(t, fsys)
				if _, statErr := os.Stat(w.request.Path); statErr == nil || err == nil {
					expect(t, w.request, w.is)
				}
				w.moved = 0 // what a dead process asks for, nobody gets
				if err := w.fetch(t, disk.OS{}); err != nil {
					t.Fatal(err)
				}
				expect(t, w.request, w.is)
				onlyTheArtifact(t, w.request)
				if w.moved > len(w.is)/100 {
					t.Errorf("got %d bytes moved of %d, want nothing but the delta", w.moved, len(w.is))
				}
			})
		})
	}
}

func TestFetchByDeltaOnAFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	disktest.Enumerate(t, disktest.Fault{Kind: disktest.Fail, Err: syscall.ENOSPC, Tear: true}, func(t *testing.T, fsys *disktest.Faulty) {
		w.request = w.fresh(t)
		err := w.fetch(t, fsys)
		if err == nil {
			expect(t, w.request, w.is)
			return
		}
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(fault.NextOf(err), "free some space") {
			t.Errorf("got %v, next %q, want a hint to free space", err, fault.NextOf(err))
		}
		if _, err := os.Stat(w.request.Path); err != nil {
			nothingLeft(t, w.request)
		}
	})
}

// A file of 50 kB costs one round trip, and moves what changed.
func TestFetchOfASmallFileIsOneRoundTrip(t *testing.T) {
	t.Parallel()
	old := []byte(strings.Repeat("a rule that is like the others\n", 1700))
	copy(old, noise(10_000, 1))
	is := next(old, 100)
	dcz, err := delta.EncodeDictionary(old, is)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := delta.Compress(is)
	if err != nil {
		t.Fatal(err)
	}
	slot, empty := t.TempDir(), t.TempDir()
	write(t, filepath.Join(slot, "rules"), old)
	for name, row := range map[string]struct {
		forms map[string][]byte
		slots []string
		most  int // bytes moved
	}{
		"changed":          {map[string][]byte{api.DeltaDCZ: dcz}, []string{empty, slot}, 500},
		"new":              {map[string][]byte{api.DeltaZstd: plain, api.DeltaDCZ: dcz}, []string{empty}, len(is) / 3},
		"as it is":         {nil, []string{slot}, len(is)},
		"nothing to use":   {map[string][]byte{api.DeltaDCZ: dcz}, nil, len(is)},
		"large slot first": {map[string][]byte{api.DeltaDCZ: dcz}, []string{largeSlot(t), slot}, 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDepot(t)
			d.put(is)
			for form, data := range row.forms {
				from := old
				if form == api.DeltaZstd {
					from = nil
				}
				d.offer(is, data, from, form)
			}
			r := d.want(t, is, release.File, row.slots...)
			if err := fetcher(d.server, disk.OS{}).Fetch(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			expect(t, r, is)
			if diff := cmp.Diff([]string{d.short(is)}, d.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			if d.moved > row.most {
				t.Errorf("got %d bytes moved, want at most %d", d.moved, row.most)
			}
		})
	}
}

func largeSlot(t *testing.T) string {
	t.Helper()
	slot := t.TempDir()
	write(t, filepath.Join(slot, "rules"), noise(large, 1))
	return slot
}

func TestFetchOfASmallFileFallsBack(t *testing.T) {
	t.Parallel()
	old := noise(50_000, 1)
	is := next(old, 100)
	slot := t.TempDir()
	write(t, filepath.Join(slot, "rules"), old)
	dcz, err := delta.EncodeDictionary(old, is)
	if err != nil {
		t.Fatal(err)
	}
	other, err := delta.EncodeDictionary(old, next(is, 100))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := delta.EncodeDictionary(next(old, 100), is)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"flipped": append(bytes.Clone(dcz[:60]), noise(len(dcz)-60, 3)...), "truncated": dcz[:len(dcz)-3], "other target": other, "other base": foreign,
		"empty": {}, "longer than the artifact": noise(60_000, 4),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDepot(t)
			d.put(is)
			d.offer(is, data, old, api.DeltaDCZ)
			r := d.want(t, is, release.File, slot)
			if err := fetcher(d.server, disk.OS{}).Fetch(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			expect(t, r, is)
			if diff := cmp.Diff([]string{d.short(is), d.short(is)}, d.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// sourceOf is bytes in memory as a source.
func sourceOf(data []byte) delta.Source {
	return delta.Source{Bytes: bytes.NewReader(data), Size: int64(len(data)), Digest: release.DigestOf(data)}
}
