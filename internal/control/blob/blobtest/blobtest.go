// Package blobtest is the contract that every store of blobs keeps.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Store is a store of blobs; package blob says what its methods promise.
type Store interface {
	Put(ctx context.Context, want release.Digest, size int64, r io.Reader) error
	Open(ctx context.Context, d release.Digest) (io.ReadSeekCloser, int64, error)
	Has(ctx context.Context, d release.Digest) (bool, error)
	Touch(ctx context.Context, d release.Digest) error
	Digests(ctx context.Context) iter.Seq2[release.Digest, error]
	List(ctx context.Context) iter.Seq2[blob.Info, error]
	Remove(ctx context.Context, d release.Digest) error
	RemoveOlder(ctx context.Context, d release.Digest, before time.Time) (bool, error)
	Index(ctx context.Context) ([]byte, error)
	SetIndex(ctx context.Context, data []byte) error
}

// Run runs the whole suite, each case on an empty store of its own, whose blobs age by the clock.
func Run(t *testing.T, open func(testing.TB, *clock.Fixed) Store) {
	aging := map[string]func(*testing.T, Store, *clock.Fixed){
		"old blobs go, touched ones stay": removeOlder,
		"sizes and ages":                  list,
	}
	for name, run := range aging {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := clock.At(start())
			run(t, open(t, c), c)
		})
	}
	tests := map[string]func(*testing.T, Store){
		"large blobs come back whole and in parts": large,
		"large blobs of other bytes are refused":   largeOther,
		"the index is replaced":                    index,
		"what was put comes back":                  putComesBack,
		"an empty blob":                            putEmpty,
		"putting again reads nothing":              putAgain,
		"other bytes are refused":                  putOtherBytes,
		"too few and too many bytes are refused":   putOtherSize,
		"a sender that fails":                      putBrokenSender,
		"a caller who went away":                   putCancelled,
		"the same blob from many at once":          putConcurrently,
		"what is not there":                        notThere,
		"what is no digest":                        noDigest,
		"all digests":                              digests,
		"listing can stop":                         digestsStop,
		"removed while it is read":                 removeOpened,
	}
	for name, run := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, open(t, clock.At(start())))
		})
	}
}

// start is when a suite's clock begins. It is not long ago: stores that others run have clocks of their own.
func start() time.Time { return time.Date(2026, time.July, 19, 4, 9, 0, 0, time.UTC) }

func put(t testing.TB, s Store, data string) release.Digest {
	t.Helper()
	d := release.DigestOf([]byte(data))
	if err := s.Put(t.Context(), d, int64(len(data)), strings.NewReader(data)); err != nil {
		t.Fatalf("got error %v, want %q stored", err, data)
	}
	return d
}

// refused checks the kind of an error.
func refused(t testing.TB, err error, want fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != want {
		t.Errorf("got error %v (%s), want kind %s", err, fault.KindOf(err), want)
	}
}

// empty checks that nothing is in the store.
func empty(t testing.TB, s Store) {
	t.Helper()
	for d, err := range s.Digests(t.Context()) {
		t.Errorf("got blob %s, %v, want none", d, err)
	}
}

// holds checks what is stored under a digest.
func holds(t testing.TB, s Store, d release.Digest, want string) {
	t.Helper()
	r, size, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatalf("got error %v, want %q", err, want)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if string(got) != want || size != int64(len(want)) || err != nil {
		t.Errorf("got %q of size %d, %v, want %q", got, size, err, want)
	}
}

func putComesBack(t *testing.T, s Store) {
	d := put(t, s, "some bytes")
	holds(t, s, d, "some bytes")
	if got, err := s.Has(t.Context(), d); !got || err != nil {
		t.Errorf("got %v, %v, want that it is there", got, err)
	}
	r, _, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Seek(5, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "bytes" || err != nil {
		t.Errorf("got %q, %v from byte 5, want %q", got, err, "bytes")
	}
}

func putEmpty(t *testing.T, s Store) { holds(t, s, put(t, s, ""), "") }

func putAgain(t *testing.T, s Store) {
	d := put(t, s, "bytes")
	unread := iotest.ErrReader(errors.New("was read"))
	if err := s.Put(t.Context(), d, 5, unread); err != nil {
		t.Errorf("got %v, want success without reading", err)
	}
	refused(t, s.Put(t.Context(), d, 6, unread), fault.Invalid)
	holds(t, s, d, "bytes")
}

func putOtherBytes(t *testing.T, s Store) {
	d := release.DigestOf([]byte("bytes"))
	err := s.Put(t.Context(), d, 5, strings.NewReader("other"))
	refused(t, err, fault.Invalid)
	for _, name := range []release.Digest{d, release.DigestOf([]byte("other"))} {
		if err != nil && !strings.Contains(err.Error(), string(name)) {
			t.Errorf("got %q, want %s named", err, name)
		}
	}
	empty(t, s)
	put(t, s, "bytes")
}

func putOtherSize(t *testing.T, s Store) {
	d := release.DigestOf([]byte("bytes"))
	for _, size := range []int64{-1, 0, 4, 6, 1 << 40} {
		refused(t, s.Put(t.Context(), d, size, strings.NewReader("bytes")), fault.Invalid)
	}
	endless := iotest.OneByteReader(neverEnds{})
	refused(t, s.Put(t.Context(), d, 5, endless), fault.Invalid)
	empty(t, s)
}

type neverEnds struct{}

func (neverEnds) Read(p []byte) (int, error) { return len(p), nil }

func putBrokenSender(t *testing.T, s Store) {
	broken := errors.New("connection reset")
	r := io.MultiReader(strings.NewReader("byt"), iotest.ErrReader(broken))
	err := s.Put(t.Context(), release.DigestOf([]byte("bytes")), 5, r)
	refused(t, err, fault.Unavailable)
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want it to wrap the sender's error", err)
	}
	empty(t, s)
}

func putCancelled(t *testing.T, s Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	refused(t, s.Put(ctx, release.DigestOf([]byte("bytes")), 5, strings.NewReader("bytes")), fault.Unavailable)
	empty(t, s)
}

func putConcurrently(t *testing.T, s Store) {
	data := bytes.Repeat([]byte("bytes"), 50_000)
	d := release.DigestOf(data)
	var senders sync.WaitGroup
	for range 8 {
		senders.Go(func() {
			if err := s.Put(t.Context(), d, int64(len(data)), bytes.NewReader(data)); err != nil {
				t.Errorf("got %v, want it stored", err)
			}
		})
	}
	senders.Wait()
	holds(t, s, d, string(data))
}

func notThere(t *testing.T, s Store) {
	d := release.DigestOf([]byte("never"))
	_, _, err := s.Open(t.Context(), d)
	refused(t, err, fault.NotFound)
	refused(t, s.Remove(t.Context(), d), fault.NotFound)
	refused(t, s.Touch(t.Context(), d), fault.NotFound)
	if gone, err := s.RemoveOlder(t.Context(), d, start().Add(time.Hour)); gone || err != nil {
		t.Errorf("got %v, %v, want nothing removed", gone, err)
	}
	if got, err := s.Has(t.Context(), d); got || err != nil {
		t.Errorf("got %v, %v, want that it is not there", got, err)
	}
	empty(t, s)
}

func noDigest(t *testing.T, s Store) {
	for _, d := range []release.Digest{"", "sha256:", "sha256:../../index.json", "sha512:00", "../oci-layout"} {
		_, _, err := s.Open(t.Context(), d)
		refused(t, err, fault.Invalid)
		_, err = s.Has(t.Context(), d)
		refused(t, err, fault.Invalid)
		refused(t, s.Put(t.Context(), d, 1, strings.NewReader("x")), fault.Invalid)
		refused(t, s.Remove(t.Context(), d), fault.Invalid)
		refused(t, s.Touch(t.Context(), d), fault.Invalid)
		_, err = s.RemoveOlder(t.Context(), d, start())
		refused(t, err, fault.Invalid)
	}
}

func digests(t *testing.T, s Store) {
	var want, got []release.Digest
	for _, data := range []string{"a", "b", "c", "d"} {
		want = append(want, put(t, s, data))
	}
	if err := s.Remove(t.Context(), want[0]); err != nil {
		t.Fatal(err)
	}
	want = want[1:]
	for d, err := range s.Digests(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, d)
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got digests %v, want %v", got, want)
	}
}

func digestsStop(t *testing.T, s Store) {
	put(t, s, "a")
	put(t, s, "b")
	n := 0
	for range s.Digests(t.Context()) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("got %d blobs, want 1", n)
	}
}

func removeOpened(t *testing.T, s Store) {
	d := put(t, s, "bytes")
	r, _, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := s.Remove(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "bytes" || err != nil { // a large one may end in an error, never in other bytes
		t.Errorf("got %q, %v, want what was opened", got, err)
	}
	if got, err := s.Has(t.Context(), d); got || err != nil {
		t.Errorf("got %v, %v, want that it is gone", got, err)
	}
}

// noise is n bytes that do not repeat.
func noise(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // does not fail
	return data
}

func large(t *testing.T, s Store) {
	data := noise(9<<20 + 13)
	d := release.DigestOf(data)
	if err := s.Put(t.Context(), d, int64(len(data)), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	r, size, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); !bytes.Equal(got, data) || size != int64(len(data)) || err != nil {
		t.Fatalf("got %d bytes of size %d, %v, want the %d that were put", len(got), size, err, len(data))
	}
	for _, from := range []int64{9 << 20, 0, 7<<20 - 3, 9<<20 + 12, 5} {
		part := make([]byte, 1)
		if _, err := r.Seek(from, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, part); err != nil || part[0] != data[from] {
			t.Errorf("got %v, %v at %d, want %d", part, err, from, data[from])
		}
	}
	if at, err := r.Seek(0, io.SeekEnd); at != size || err != nil {
		t.Errorf("got end %d, %v, want %d", at, err, size)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("got %d bytes, %v at the end, want io.EOF", n, err)
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("got a place before the beginning, want an error")
	}
}

func largeOther(t *testing.T, s Store) {
	data := noise(9 << 20)
	d := release.DigestOf(data)
	data[len(data)-1] ^= 1
	refused(t, s.Put(t.Context(), d, int64(len(data)), bytes.NewReader(data)), fault.Invalid)
	refused(t, s.Put(t.Context(), d, int64(len(data))+1, bytes.NewReader(data)), fault.Invalid)
	refused(t, s.Put(t.Context(), d, int64(len(data))-1, bytes.NewReader(data)), fault.Invalid)
	broken := io.MultiReader(bytes.NewReader(data[:8<<20+5]), iotest.ErrReader(errors.New("connection reset")))
	refused(t, s.Put(t.Context(), d, int64(len(data)), broken), fault.Unavailable)
	empty(t, s)
}

func index(t *testing.T, s Store) {
	if got, err := s.Index(t.Context()); string(got) != blob.EmptyIndex || err != nil {
		t.Errorf("got index %q, %v, want an empty one", got, err)
	}
	if err := s.SetIndex(t.Context(), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Index(t.Context()); string(got) != "{}" || err != nil {
		t.Errorf("got index %q, %v, want the new one", got, err)
	}
	empty(t, s)
}

func removeOlder(t *testing.T, s Store, c *clock.Fixed) {
	old, touched, again := put(t, s, "old"), put(t, s, "touched"), put(t, s, "again")
	c.Move(time.Hour)
	before := c.Now()
	c.Move(time.Hour)
	if err := s.Touch(t.Context(), touched); err != nil {
		t.Fatal(err)
	}
	put(t, s, "again")
	for d, want := range map[release.Digest]bool{old: true, touched: false, again: false} {
		if got, err := s.RemoveOlder(t.Context(), d, before); got != want || err != nil {
			t.Errorf("got %v, %v for %s, want %v", got, err, d.Short(), want)
		}
		if got, err := s.Has(t.Context(), d); got == want || err != nil {
			t.Errorf("got %s there: %v, %v, want %v", d.Short(), got, err, !want)
		}
	}
	holds(t, s, touched, "touched")
}

func list(t *testing.T, s Store, c *clock.Fixed) {
	want := map[release.Digest]blob.Info{}
	for _, data := range []string{"", "b", "cc"} {
		d := put(t, s, data)
		want[d] = blob.Info{Digest: d, Size: int64(len(data)), Put: c.Now()}
		c.Move(time.Hour)
	}
	for got, err := range s.List(t.Context()) {
		if w := want[got.Digest]; err != nil || got.Size != w.Size || !got.Put.Equal(w.Put) {
			t.Errorf("got %+v, %v, want %+v", got, err, w)
		}
		delete(want, got.Digest)
	}
	if len(want) > 0 {
		t.Errorf("got no word of %v", want)
	}
}
