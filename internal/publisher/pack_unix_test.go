//go:build unix

package publisher_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/publisher"
)

func packed(t *testing.T, path string) (publisher.Packed, []byte) {
	t.Helper()
	p, err := publisher.Pack(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.Write(t.Context(), &b); err != nil {
		t.Fatal(err)
	}
	if got := release.DigestOf(b.Bytes()); got != p.Digest || int64(b.Len()) != p.Size {
		t.Errorf("got %s, %d bytes, the pack says %s, %d", got, b.Len(), p.Digest, p.Size)
	}
	return p, b.Bytes()
}

func TestPackIsCanonical(t *testing.T) {
	t.Parallel()
	var digests []release.Digest
	for i, names := range [][]string{{"b/z.txt", "a.txt", "b/run.sh"}, {"b/run.sh", "a.txt", "b/z.txt"}} {
		dir := filepath.Join(t.TempDir(), "rules")
		for _, name := range names {
			write(t, filepath.Join(dir, name), name)
		}
		if err := os.Chmod(filepath.Join(dir, "b/run.sh"), 0o700+os.FileMode(i)); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(dir, "a.txt"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, "a.txt"), start, start.AddDate(i, 0, 0)); err != nil {
			t.Fatal(err)
		}
		p, data := packed(t, dir)
		if p.Format != release.Tar || p.Name != "rules.tar" {
			t.Errorf("got %+v", p)
		}
		digests = append(digests, p.Digest)
		var got []string
		for r := tar.NewReader(bytes.NewReader(data)); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if !h.ModTime.Equal(time.Unix(0, 0)) || h.Uid != 0 || h.Uname != "" {
				t.Errorf("%s: got time %s, user %d %q", h.Name, h.ModTime, h.Uid, h.Uname)
			}
			got = append(got, h.FileInfo().Mode().String()+" "+h.Name)
		}
		want := []string{"-rw-r--r-- a.txt", "drwxr-xr-x b/", "-rwxr-xr-x b/run.sh", "-rw-r--r-- b/z.txt"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("the same content has digests %s and %s", digests[0], digests[1])
	}
}

func TestPackSingleFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rules.json")
	write(t, path, "rules")
	p, data := packed(t, path)
	if p.Format != release.File || p.Name != "rules.json" || string(data) != "rules" {
		t.Errorf("got %+v, %q", p, data)
	}
}

func TestPackRefusesAllAtOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "rules")
	write(t, filepath.Join(dir, "Sub", "good.txt"), "x")
	write(t, filepath.Join(dir, "sub", "good.txt"), "x")
	write(t, filepath.Join(dir, "new\nline"), "x")
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("Sub", filepath.Join(dir, "linked-dir")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "Sub", "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := publisher.Pack(t.Context(), dir)
	refused(t, err, fault.Invalid, "link: is a symbolic link", "linked-dir: is a symbolic link", "Sub/pipe: is a named pipe",
		"name that not every system", "sub: differs from Sub only in upper and lower case")
}

func TestPackRefuses(t *testing.T) {
	t.Parallel()
	empty, hidden := t.TempDir(), filepath.Join(t.TempDir(), ".hidden")
	write(t, hidden, "x")
	nothing := filepath.Join(t.TempDir(), "nothing")
	write(t, nothing, "")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, part := range map[string]string{
		empty: "has no files", hidden: `cannot be named ".hidden"`, nothing: "0 bytes", pipe: "named pipe", filepath.Join(empty, "x"): "no such file",
	} {
		_, err := publisher.Pack(t.Context(), path)
		refused(t, err, fault.Invalid, path, part)
	}
}

func TestPackNoticesChanges(t *testing.T) {
	t.Parallel()
	dir := content(t, "one")
	p, _ := packed(t, dir)
	write(t, filepath.Join(dir, "detections.json"), "three")
	err := p.Write(t.Context(), io.Discard)
	refused(t, err, fault.Conflict, "detections.json", "changed while it was read")
}
