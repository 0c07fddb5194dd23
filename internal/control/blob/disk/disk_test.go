package disk_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/blob/blobtest"
	"github.com/firebreak-dev/firebreak/internal/control/blob/disk"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

func openAt(t testing.TB, dir string) *disk.Store {
	t.Helper()
	s, err := disk.Open(dir)
	if err != nil {
		t.Fatalf("got error %v, want an open store", err)
	}
	return s
}

func TestContract(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t testing.TB, c *clock.Fixed) blobtest.Store {
		s, err := disk.OpenAt(t.TempDir(), c)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestLayout(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "blobs")
	s := openAt(t, dir)
	d := release.DigestOf([]byte("bytes"))
	if err := s.Put(t.Context(), d, 5, strings.NewReader("bytes")); err != nil {
		t.Fatal(err)
	}
	var layout struct {
		Version string `json:"imageLayoutVersion"`
	}
	var index struct {
		Schema    int   `json:"schemaVersion"`
		Manifests []any `json:"manifests"`
	}
	for name, to := range map[string]any{"oci-layout": &layout, "index.json": &index} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, to); err != nil {
			t.Errorf("got %s %q, want JSON: %v", name, data, err)
		}
	}
	if layout.Version != "1.0.0" || index.Schema != 2 || index.Manifests == nil {
		t.Errorf("got layout %+v and index %+v, want version 1.0.0 and an empty list", layout, index)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "blobs", "sha256", d.Hex())); string(got) != "bytes" || err != nil {
		t.Errorf("got %q, %v in its file, want the bytes", got, err)
	}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := openAt(t, dir)
	d := release.DigestOf([]byte("bytes"))
	if err := first.Put(t.Context(), d, 5, strings.NewReader("bytes")); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(dir, "index.json")
	if err := os.WriteFile(index, []byte("{}"), 0o600); err != nil { // another tool's
		t.Fatal(err)
	}
	left, young := filepath.Join(dir, "tmp", "left by a crash"), filepath.Join(dir, "tmp", "of another process")
	for _, path := range []string{left, young} {
		if err := os.WriteFile(path, []byte("byt"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := clock.Wall{}.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	second := openAt(t, dir)
	if got, err := second.Has(t.Context(), d); !got || err != nil {
		t.Errorf("got %v, %v after opening it again, want that the blob is there", got, err)
	}
	if _, err := os.Stat(left); !os.IsNotExist(err) {
		t.Errorf("got %v, want what a crash left to be gone", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("got %v, want that what is being written stays", err)
	}
	if got, err := os.ReadFile(index); string(got) != "{}" || err != nil {
		t.Errorf("got index %q, %v, want it left alone", got, err)
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	if err := s.Put(t.Context(), release.DigestOf([]byte("bytes")), 5, strings.NewReader("other")); err == nil {
		t.Error("got other bytes stored, want an error")
	}
	if left, err := os.ReadDir(filepath.Join(dir, "tmp")); len(left) > 0 || err != nil {
		t.Errorf("got %v, %v left, want nothing", left, err)
	}
}

func TestForeignFilesAreNoBlobs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "blobs", "sha256", "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for d, err := range s.Digests(t.Context()) {
		t.Errorf("got %q, %v, want no blob", d, err)
	}
}

func TestLostDirectoryIsAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openAt(t, dir)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range s.Digests(t.Context()) {
		if n++; err == nil {
			t.Error("got a blob, want an error")
		}
	}
	if n != 1 {
		t.Errorf("got %d results, want one error", n)
	}
	if err := s.Put(t.Context(), release.DigestOf([]byte("bytes")), 5, strings.NewReader("bytes")); err == nil {
		t.Error("got a blob stored nowhere, want an error")
	}
}

// Only an *os.File is copied to a plain connection by the kernel.
func TestWhatIsOpenIsAFile(t *testing.T) {
	t.Parallel()
	s := openAt(t, t.TempDir())
	d := release.DigestOf([]byte("bytes"))
	if err := s.Put(t.Context(), d, 5, strings.NewReader("bytes")); err != nil {
		t.Fatal(err)
	}
	b, _, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, ok := b.(*os.File); !ok {
		t.Errorf("got a %T, want an *os.File", b)
	}
}
