package cli

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func zipped(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		into, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = into.Write([]byte("of " + name))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAnArchiveOfAServerLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	files, err := unpack(zipped(t, "report.md", "evidence.svg"), "out")
	if err != nil || len(files) != 2 || files[1].name != filepath.Join("out", "evidence.svg") || string(files[1].data) != "of evidence.svg" {
		t.Errorf("got %v %v, want two files in out", files, err)
	}
	for _, name := range []string{"../up.md", "/etc/passwd", "a/b", `a\b`, "..", ".", "", "c:d", "dir/"} {
		if files, err := unpack(zipped(t, "report.md", name), "out"); fault.KindOf(err) != fault.Denied {
			t.Errorf("%q: got %v %v, want it refused", name, files, err)
		}
	}
	var many []string
	for i := range mostFiles + 1 {
		many = append(many, fmt.Sprint(i))
	}
	if _, err := unpack(zipped(t, many...), "out"); err == nil {
		t.Error("very many files are unpacked")
	}
	if _, err := unpack([]byte(strings.Repeat("x", 1000)), "out"); err == nil {
		t.Error("what is no archive is unpacked")
	}
}

func TestKeepOverwritesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	there, fresh := filepath.Join(dir, "there"), filepath.Join(dir, "sub", "fresh")
	if err := os.WriteFile(there, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := []namedFile{{fresh, []byte("new")}, {there, []byte("new")}}
	if err := keep(files, false); fault.KindOf(err) != fault.Conflict {
		t.Errorf("got %v, want a conflict", err)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("a part was written though another was in the way")
	}
	if err := keep(files, true); err != nil {
		t.Error(err)
	}
	if got, _ := os.ReadFile(there); string(got) != "new" {
		t.Errorf("forced: got %q, want new", got)
	}
}
