//go:build unix

package launcher_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/launcher"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// rootEnv makes the test binary a launcher on the host below that directory; deadlyEnv names the rename that kills it.
const (
	rootEnv   = "FIREBREAK_TEST_LAUNCHER"
	deadlyEnv = "FIREBREAK_TEST_DEADLY"
)

func TestMain(m *testing.M) {
	root := os.Getenv(rootEnv)
	if root == "" {
		os.Exit(m.Run())
	}
	o := options(root)
	o.FS, o.Output = deadly{to: os.Getenv(deadlyEnv)}, os.Stdout
	o.Log = func(format string, args ...any) { fmt.Fprintf(os.Stdout, format+"\n", args...) }
	if err := launcher.Run(context.Background(), o); err != nil {
		o.Log("%v", err)
		os.Exit(1)
	}
}

// deadly is a file system on which one rename is the last thing that the process does not do.
type deadly struct {
	disk.OS
	to string
}

func (d deadly) Rename(from, to string) error {
	if filepath.Base(to) == d.to {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
	return d.OS.Rename(from, to)
}

// another starts a launcher in a process of its own.
func (h *host) another(deadly string) *exec.Cmd {
	h.t.Helper()
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.CommandContext(h.t.Context(), self)
	process.Group(cmd)
	cmd.Env = append(os.Environ(), rootEnv+"="+h.root, deadlyEnv+"="+deadly)
	cmd.Stdout, cmd.Stderr = h.said, h.said
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = process.KillGroup(cmd.Process) })
	return cmd
}

func TestALauncherKilledWhileGoingBack(t *testing.T) {
	t.Parallel()
	h := newHost(t, script("new", nothin, `exit 1`))
	h.activate("new", "good")
	cmd := h.another("current")
	if err := cmd.Wait(); err == nil || process.SignalOf(cmd.ProcessState) != "KILL" || h.link() != "new" {
		t.Fatalf("got %v, the link to %q, want it killed before it moved the link", err, h.link())
	}
	h.said.forget()
	h.launch()
	h.said.await("good runs")
	if n, _ := h.said.count("new runs"); n != 0 || h.link() != "good" || len(h.undone()) != 1 {
		t.Errorf("got %d more starts, the link to %q, told %+v, want it to go on where the first was", n, h.link(), h.undone())
	}
}

func TestAnAgentDiesWithItsLauncher(t *testing.T) {
	t.Parallel()
	if process.Identity(os.Getpid()) == "" {
		t.Skip("only Linux ends a process with its parent")
	}
	h := newHost(t, "")
	h.install("good", script("good", nothin, `say ready; echo $$ >"$S/pid"; echo pid; exec sleep 1000`))
	cmd := h.another("")
	h.said.await("pid\n")
	pid, err := strconv.Atoi(strings.TrimSpace(h.get("agent/pid")))
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	h.eventually(func() bool { return process.Identity(pid) == "" })
	stop := h.launch()
	h.said.await("good runs", 2)
	stop()
	if h.undone() != nil {
		t.Errorf("told %+v, want nothing: that was not the agent's fault", h.undone())
	}
}

// A release that takes the launcher down with it each time is noticed all the same.
func TestAnAgentThatKillsItsLauncher(t *testing.T) {
	t.Parallel()
	h := newHost(t, script("new", nothin, `kill -KILL $PPID; exec sleep 1000`))
	h.activate("new", "good")
	for range 3 {
		cmd := h.another("")
		if err := cmd.Wait(); err == nil || process.SignalOf(cmd.ProcessState) != "KILL" {
			t.Fatalf("got %v, want it killed", err)
		}
	}
	h.launch()
	h.said.await("good runs")
}

func (h *host) run(argv ...string) {
	h.t.Helper()
	if out, err := exec.CommandContext(h.t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
		h.t.Fatalf("%v: %s", err, out)
	}
}

// eventually waits until ok holds.
func (h *host) eventually(ok func() bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 30*time.Second)
	defer cancel()
	for !ok() {
		if err := (clock.Wall{}).Sleep(ctx, 5*time.Millisecond); err != nil {
			h.t.Fatal("waited in vain")
		}
	}
}

// newer is the file of a launcher that is newer than this one.
func newer(t *testing.T) string {
	t.Helper()
	data := []byte(framed(t, `{"state": {"all": "different"}}`))
	binary.LittleEndian.PutUint32(data[4:], 99)
	return seal(data)
}

// framed is a journal file with a payload.
func framed(t *testing.T, payload string) string {
	t.Helper()
	data := make([]byte, 128<<10)
	copy(data, "FBJL")
	binary.LittleEndian.PutUint32(data[4:], 1)
	binary.LittleEndian.PutUint64(data[8:], 7)
	binary.LittleEndian.PutUint32(data[16:], uint32(len(payload)))
	copy(data[24:], payload)
	return seal(data)
}

func seal(data []byte) string {
	end := 24 + binary.LittleEndian.Uint32(data[16:])
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(data[20:], crc32.Update(crc32.Checksum(data[:20], table), table, data[24:end]))
	return string(data)
}
