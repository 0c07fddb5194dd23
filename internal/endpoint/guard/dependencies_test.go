package guard_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const program = "github.com/firebreak-dev/firebreak/cmd/firebreak-guard"

// The guard's program is small and depends on little, none of it a network: testdata/dependencies.txt is the reviewed list of all that is
// linked into it beside the inner parts of the standard library. A package more is a decision.
func TestDependencies(t *testing.T) {
	t.Parallel()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", program)
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var got []string
	for dep := range strings.FieldsSeq(string(out)) {
		inner := strings.HasPrefix(dep, "internal/") || strings.HasPrefix(dep, "vendor/") || strings.Contains(dep, "/internal/") &&
			!strings.HasPrefix(dep, "github.com/")
		if !inner {
			got = append(got, dep)
		}
		if dep == "net" || strings.HasPrefix(dep, "net/") || strings.HasPrefix(dep, "crypto/") || dep == "log/slog" {
			t.Errorf("%s is linked into the guard", dep)
		}
	}
	slices.Sort(got)
	data, err := os.ReadFile("testdata/dependencies.txt")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			want = append(want, line)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the program depends on something else than testdata/dependencies.txt says (-list +program):\n%s", diff)
	}
}

func TestTheProgramIsSmallAndStatic(t *testing.T) {
	t.Parallel()
	const most = 3_000_000
	path := filepath.Join(t.TempDir(), "firebreak-guard")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, program)
	build.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the guard has %d bytes", len(data))
	if len(data) > most {
		t.Errorf("the guard has %d bytes, want at most %d", len(data), most)
	}
	if strings.Contains(string(data), "/lib64/ld-linux") {
		t.Error("the guard needs a dynamic linker")
	}
}
