package upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob/disk"
	"github.com/firebreak-dev/firebreak/internal/control/blob/upload"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

type world struct {
	t     *testing.T
	dir   string
	clock *clock.Fixed
	blobs *flaky
	*upload.Desk
}

// flaky is a store that can be made to fail.
type flaky struct {
	*disk.Store
	down atomic.Bool
}

func (f *flaky) Put(ctx context.Context, want release.Digest, size int64, r io.Reader) error {
	if f.down.Load() {
		return fault.New(fault.Unavailable, "store blob: the store is down")
	}
	return f.Store.Put(ctx, want, size, r)
}

func open(t *testing.T, l upload.Limits) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), clock: clock.At(time.Date(2026, 7, 19, 4, 9, 0, 0, time.UTC))}
	store, err := disk.OpenAt(t.TempDir(), w.clock)
	if err != nil {
		t.Fatal(err)
	}
	w.blobs = &flaky{Store: store}
	w.reopen(l)
	return w
}

func (w *world) reopen(l upload.Limits) {
	w.t.Helper()
	var err error
	if w.Desk, err = upload.Open(w.dir, w.blobs, w.clock, l); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) begin(data string) upload.Status {
	w.t.Helper()
	s, err := w.Begin(release.DigestOf([]byte(data)), int64(len(data)))
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) add(id string, at int64, data string) (upload.Status, error) {
	return w.Append(w.t.Context(), id, at, int64(len(data)), strings.NewReader(data), nil)
}

func (w *world) stored(data string, want bool) {
	w.t.Helper()
	if got, err := w.blobs.Has(w.t.Context(), release.DigestOf([]byte(data))); got != want || err != nil {
		w.t.Errorf("got %q stored: %t, %v, want %t", data, got, err, want)
	}
}

func refused(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != want {
		t.Errorf("got %v, want an error of kind %s", err, want)
	}
}

func TestPiecesBecomeABlobAcrossARestart(t *testing.T) {
	t.Parallel()
	w := open(t, upload.Limits{})
	s := w.begin("0123456789")
	if _, err := w.add(s.ID, 0, "0123"); err != nil {
		t.Fatal(err)
	}
	w.reopen(upload.Limits{})
	if again := w.begin("0123456789"); again.ID != s.ID || again.Offset != 4 {
		t.Errorf("got %+v after a restart, want %s at 4", again, s.ID)
	}
	w.stored("0123456789", false)
	got, err := w.add(s.ID, 4, "456789")
	if err != nil || !got.Complete || got.Offset != 10 {
		t.Errorf("got %+v, %v, want it complete", got, err)
	}
	w.stored("0123456789", true)
	_, err = w.Status(s.ID)
	refused(t, err, fault.NotFound)
	if left, err := os.ReadDir(w.dir); len(left) > 0 || err != nil {
		t.Errorf("got %v, %v left, want nothing", left, err)
	}
}

func TestOtherOffsetsAreRefusedWithTheRightOne(t *testing.T) {
	t.Parallel()
	w := open(t, upload.Limits{})
	s := w.begin("0123456789")
	if _, err := w.add(s.ID, 0, "0123"); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 3, 5, 10, 11, -1} {
		got, err := w.add(s.ID, at, "x")
		refused(t, err, fault.Conflict)
		if got.Offset != 4 {
			t.Errorf("got offset %d for a piece at %d, want 4", got.Offset, at)
		}
	}
	_, err := w.add(s.ID, 4, "4567890")
	refused(t, err, fault.Invalid)
	_, err = w.add(s.ID, 4, "")
	refused(t, err, fault.Invalid)
	if got, err := w.Status(s.ID); got.Offset != 4 || err != nil {
		t.Errorf("got %+v, %v, want it at 4 still", got, err)
	}
}

func TestWhatCameBeforeTheBreakStays(t *testing.T) {
	t.Parallel()
	w := open(t, upload.Limits{})
	s := w.begin("0123456789")
	broken := io.MultiReader(strings.NewReader("012"), iotest.ErrReader(errors.New("connection reset")))
	got, err := w.Append(t.Context(), s.ID, 0, 10, broken, nil)
	refused(t, err, fault.Unavailable)
	if got.Offset != 3 {
		t.Errorf("got offset %d, want 3", got.Offset)
	}
	got, err = w.Append(t.Context(), s.ID, 3, 7, strings.NewReader("34"), nil)
	refused(t, err, fault.Unavailable)
	if got.Offset != 5 {
		t.Errorf("got offset %d, want 5", got.Offset)
	}
	if got, err := w.add(s.ID, 5, "56789"); !got.Complete || err != nil {
		t.Errorf("got %+v, %v, want it complete", got, err)
	}
	w.stored("0123456789", true)
}

func TestOtherBytesEndTheUpload(t *testing.T) {
	t.Parallel()
	w := open(t, upload.Limits{})
	s := w.begin("0123456789")
	_, err := w.add(s.ID, 0, "0123456780")
	refused(t, err, fault.Invalid)
	w.stored("0123456789", false)
	if got := w.begin("0123456789"); got.Offset != 0 {
		t.Errorf("got offset %d, want to begin anew", got.Offset)
	}
}

func TestAStoreThatIsDownLosesNothing(t *testing.T) {
	t.Parallel()
	w := open(t, upload.Limits{})
	s := w.begin("0123456789")
	w.blobs.down.Store(true)
	_, err := w.add(s.ID, 0, "0123456789")
	refused(t, err, fault.Unavailable)
	if got, err := w.Status(s.ID); got.Offset != 10 || got.Complete || err != nil {
		t.Errorf("got %+v, %v, want all of it, not complete", got, err)
	}
	w.blobs.down.Store(false)
	if got, err := w.Finish(t.Context(), s.ID); !got.Complete || err != nil {
		t.Errorf("got %+v, %v, want it complete", got, err)
	}
	w.stored("0123456789", true)
}

// A sender whose connection hangs does not keep the one that follows it waiting.
func TestALaterSenderInterruptsAnEarlierOne(t *testing.T) {
	t.Parallel()
	w := open(t, upload.Limits{})
	s := w.begin("0123456789")
	r, sender := io.Pipe()
	first := make(chan error)
	go func() {
		_, err := w.Append(t.Context(), s.ID, 0, 10, r, func() { _ = sender.CloseWithError(os.ErrDeadlineExceeded) })
		first <- err
	}()
	if _, err := sender.Write([]byte("012")); err != nil { // it has the turn now
		t.Fatal(err)
	}
	_, err := w.add(s.ID, 0, "0123456789")
	refused(t, err, fault.Conflict)
	refused(t, <-first, fault.Unavailable)
	if got, err := w.add(s.ID, 3, "3456789"); !got.Complete || err != nil {
		t.Errorf("got %+v, %v, want it complete", got, err)
	}
}

func TestUploadsAreBoundedAndForgotten(t *testing.T) {
	t.Parallel()
	w := open(t, upload.Limits{Life: time.Hour, Most: 2, Room: 25})
	a := w.begin("0123456789")
	_, err := w.Begin(release.DigestOf(nil), 16)
	refused(t, err, fault.Unavailable)
	w.clock.Move(59 * time.Minute)
	if _, err := w.add(a.ID, 0, "0"); err != nil {
		t.Fatal(err)
	}
	b := w.begin("abcdefghij")
	_, err = w.Begin(release.DigestOf(nil), 1)
	refused(t, err, fault.Unavailable)
	w.clock.Move(59 * time.Minute)
	if len(w.Digests()) != 2 {
		t.Errorf("got %d uploads, want both", len(w.Digests()))
	}
	if _, err := w.add(b.ID, 0, "a"); err != nil {
		t.Fatal(err)
	}
	w.clock.Move(time.Minute)
	w.reopen(upload.Limits{Life: time.Hour, Most: 2, Room: 25})
	_, err = w.Status(a.ID)
	refused(t, err, fault.NotFound)
	if got, err := w.Status(b.ID); got.Offset != 1 || err != nil {
		t.Errorf("got %+v, %v, want the younger one", got, err)
	}
	if err := w.Cancel(t.Context(), b.ID); err != nil || len(w.Digests()) != 0 {
		t.Errorf("got %v with %d left, want none", err, len(w.Digests()))
	}
	if left, err := os.ReadDir(w.dir); len(left) > 0 || err != nil {
		t.Errorf("got %v, %v left, want nothing", left, err)
	}
}

func TestOnlyDigestsAndSizesBecomeFiles(t *testing.T) {
	t.Parallel()
	w := open(t, upload.Limits{})
	for _, size := range []int64{0, -1, release.MaxArtifactSize + 1} {
		_, err := w.Begin(release.DigestOf(nil), size)
		refused(t, err, fault.Invalid)
	}
	_, err := w.Begin("sha256:../../etc/passwd", 1)
	refused(t, err, fault.Invalid)
	for _, id := range []string{"", "..", "../x", strings.Repeat("a", 64) + "-1", strings.Repeat("x", 5000)} {
		_, err := w.add(id, 0, "x")
		refused(t, err, fault.NotFound)
		refused(t, w.Cancel(t.Context(), id), fault.NotFound)
	}
	for _, name := range []string{"README", "x-1", strings.Repeat("a", 64) + "-01", strings.Repeat("a", 64) + "-+1"} {
		if err := os.WriteFile(filepath.Join(w.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.reopen(upload.Limits{})
	if got := w.Digests(); len(got) > 0 {
		t.Errorf("got uploads %v of strange files, want none", got)
	}
}

func TestManySendersOfTheSameBytes(t *testing.T) {
	t.Parallel()
	w := open(t, upload.Limits{})
	data := strings.Repeat("firebreak", 1000)
	s := w.begin(data)
	done := make(chan error)
	for range 4 {
		go func() { done <- w.send(s.ID, data) }()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	w.stored(data, true)
}

// send sends until somebody has finished it.
func (w *world) send(id, data string) error {
	for at := int64(0); ; {
		n := min(100, int64(len(data))-at)
		s, err := w.Append(w.t.Context(), id, at, n, strings.NewReader(data[at:at+n]), nil)
		switch {
		case fault.KindOf(err) == fault.NotFound, s.Complete:
			return nil // another one finished it
		case err != nil && fault.KindOf(err) != fault.Conflict:
			return fmt.Errorf("append at %d: %w", at, err)
		}
		at = s.Offset
	}
}

func TestContentRange(t *testing.T) {
	t.Parallel()
	for header, want := range map[string][3]int64{
		"bytes 0-99/200": {0, 100, 200}, "bytes 199-199/200": {199, 1, 200}, "bytes 0-0/1": {0, 1, 1},
		"bytes 0-9223372036854775806/9223372036854775807": {0, 9223372036854775807, 9223372036854775807},
	} {
		from, n, size, err := upload.ContentRange(header)
		if got := [3]int64{from, n, size}; got != want || err != nil {
			t.Errorf("%q: got %v, %v, want %v", header, got, err, want)
		}
	}
	for _, header := range []string{
		"", "bytes", "bytes 0-1", "bytes 0-1/*", "bytes */5", "0-1/5", "bytes 1-0/5", "bytes 0-5/5", "bytes -1-2/5", "bytes +0-1/5", "bytes 0 -1/5",
		"items 0-1/5", "bytes 0-1/5 ", "bytes 0-1/99999999999999999999", "bytes ٠-1/5",
	} {
		if _, _, _, err := upload.ContentRange(header); fault.KindOf(err) != fault.Invalid || err == nil {
			t.Errorf("%q: got %v, want it refused", header, err)
		}
	}
}

func FuzzContentRange(f *testing.F) {
	f.Add("bytes 0-99/200")
	f.Add("bytes */200")
	f.Add("bytes 00-1/2")
	f.Fuzz(func(t *testing.T, header string) {
		from, n, size, err := upload.ContentRange(header)
		if err != nil {
			return
		}
		if from < 0 || n < 1 || from+n < 0 || from+n > size {
			t.Errorf("%q: got %d bytes from %d of %d, want a piece within", header, n, from, size)
		}
		canonical := fmt.Sprintf("bytes %d-%d/%d", from, from+n-1, size)
		if a, b, c, err := upload.ContentRange(canonical); a != from || b != n || c != size || err != nil {
			t.Errorf("%q: got %d, %d, %d, %v of its own words", canonical, a, b, c, err)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	store, err := disk.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	desk, err := upload.Open(b.TempDir(), store, clock.Wall{}, upload.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	data := bytes.Repeat([]byte("firebreak"), 1<<20)
	b.SetBytes(int64(len(data)))
	for i := 0; b.Loop(); i++ {
		copy(data, fmt.Sprint(i))
		s, err := desk.Begin(release.DigestOf(data), int64(len(data)))
		if err != nil {
			b.Fatal(err)
		}
		if s, err = desk.Append(b.Context(), s.ID, 0, s.Size, bytes.NewReader(data), nil); err != nil || !s.Complete {
			b.Fatal(s, err)
		}
	}
}
