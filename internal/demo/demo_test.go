package demo_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/demo"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// The whole product as its users get it: real binaries, real processes, real crashes.
func TestDemo(t *testing.T) {
	fulltest.Only(t)
	t.Parallel()
	if testing.Short() {
		t.Skip("starts many processes")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/...", "./examples/...")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	program, result := filepath.Join(bin, "firebreak"), filepath.Join(t.TempDir(), "result.json")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	play := exec.CommandContext(t.Context(), program, "demo", "--exit", "--json", result, "--agents", "12")
	play.Dir = root
	out, err := play.CombinedOutput()
	if err != nil {
		t.Fatalf("demo: %v\n%s", err, out)
	}
	data, err := os.ReadFile(result)
	if err != nil {
		t.Fatal(err)
	}
	var got demo.Result
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	b := got.Bad
	switch {
	case got.Fleet != 12 || got.Good.Confirmed != 12 || got.Mended.Confirmed != 13:
		t.Errorf("good releases: got %s, want 12 of 12 and 13 of 13 confirmed", data)
	case b.Harmed < 1 || b.Harmed > 3 || b.Recovered != b.Harmed || b.Leased < b.Harmed || b.NeverExposed != got.Fleet-b.Leased || b.Incident == "":
		t.Errorf("bad release: got %s, want 1 to 3 harmed, all recovered, and an incident", data)
	case got.Latecomer.ActivatedBad:
		t.Errorf("latecomer: got %s, want it never to activate the bad release", data)
	}
	if !strings.Contains(string(out), "with Firebreak") {
		t.Errorf("output: got %s, want a table at the end", out)
	}
}
