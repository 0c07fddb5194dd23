package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

var (
	shots = flag.String("shots", "", "directory for screenshots of every page")
	only  = flag.String("walks", "", "part of the names of the walks to be gone; empty: all")
	stay  = flag.Bool("stay", false, "keep the world until it is interrupted, for people who look themselves")
)

// Fleet sizes. Every host costs a goroutine and a connection.
const (
	walked = 48
	shown  = 60
)

// TestConsole walks through the console as people do, in a real browser.
func TestConsole(t *testing.T) {
	fulltest.Only(t)
	w := newWorld(t, walked)
	if *stay {
		t.Logf("http://%s, token %s", w.operators, w.token)
		<-t.Context().Done()
	}
	w.play(t, "walks", 4*time.Minute)
}

// TestScreenshots makes the pictures in docs/screenshots, if it is told where to.
func TestScreenshots(t *testing.T) {
	if *shots == "" {
		t.Skip("scripts/screenshots runs it")
	}
	w := newWorld(t, shown)
	must(t, w.remember(t.Context()))
	w.play(t, "screenshots", 5*time.Minute)
}

// play runs a program of console/e2e before this world.
func (w *world) play(t *testing.T, name string, within time.Duration) {
	t.Helper()
	desk := w.desk()
	defer desk.Close()
	told, err := json.Marshal(map[string]string{
		"url": "http://" + w.operators, "token": w.token, "desk": desk.URL, "shots": *shots, "scratch": t.TempDir(),
	})
	must(t, err)
	script, err := filepath.Abs(filepath.Join("..", "..", "scripts", "console-e2e"))
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	c := exec.CommandContext(ctx, script, name, *only)
	c.Env = append(os.Environ(), "FIREBREAK_E2E="+string(told))
	c.WaitDelay = 5 * time.Second
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	out, err := c.StdoutPipe()
	must(t, err)
	c.Stderr = os.Stderr
	must(t, c.Start())
	for lines := bufio.NewScanner(out); lines.Scan(); {
		t.Log(lines.Text())
	}
	if err := c.Wait(); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}
