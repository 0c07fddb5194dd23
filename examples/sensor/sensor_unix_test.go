//go:build unix

package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// point makes link a symbolic link to a content directory, by an atomic rename as an agent does it.
func point(t *testing.T, link, version string) {
	t.Helper()
	target, err := filepath.Abs(filepath.Join("content", version))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link+".next"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+".next", link); err != nil {
		t.Fatal(err)
	}
}

func (p *process) hangUp(t *testing.T) {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func TestSensorReloadsOnHangup(t *testing.T) {
	t.Parallel()
	current := filepath.Join(t.TempDir(), "current")
	p := start(t, "--content", current)
	p.wantLoaded(t, "")

	point(t, current, "v1")
	p.wantLoaded(t, "") // not before it is told
	p.hangUp(t)
	p.await(t, "content loaded")
	p.wantLoaded(t, digestOf(t, "content/v1"))

	point(t, current, "v3")
	p.hangUp(t)
	p.await(t, "content loaded")
	p.wantLoaded(t, digestOf(t, "content/v3"))

	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	p.hangUp(t)
	p.await(t, "no content, idling")
	p.wantLoaded(t, "")
}

func TestSensorKeepsOldContentWhenTheNewIsBroken(t *testing.T) {
	t.Parallel()
	current := filepath.Join(t.TempDir(), "current")
	point(t, current, "v1")
	p := start(t, "--content", current)

	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(current, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(current, "detections.json"), []byte(`{"template":`), 0o600); err != nil {
		t.Fatal(err)
	}
	p.hangUp(t)
	p.await(t, "content not loaded, keeping what there was")
	p.wantLoaded(t, digestOf(t, "content/v1"))
}

func TestSensorCrashesOnReload(t *testing.T) {
	t.Parallel()
	current := filepath.Join(t.TempDir(), "current")
	point(t, current, "v1")
	p := start(t, "--content", current)
	point(t, current, "v2")
	p.hangUp(t)
	if got, want := p.end(t).ExitCode(), 2; got != want {
		t.Errorf("exit code: got %d, want %d", got, want)
	}
	if log := p.seen.String(); !strings.Contains(log, "index out of range [20] with length 20") {
		t.Errorf("last words: got\n%s\nwant an index out of range", log)
	}
}

func TestSensorStopsInOrder(t *testing.T) {
	t.Parallel()
	p := start(t, "--content", "content/v1")
	if err := p.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := p.end(t).ExitCode(); got != exitFine {
		t.Errorf("exit code: got %d, want %d", got, exitFine)
	}
	if !strings.Contains(p.seen.String(), "sensor stopped") {
		t.Errorf("log: got\n%s\nwant it to say that it stopped", p.seen.String())
	}
}
