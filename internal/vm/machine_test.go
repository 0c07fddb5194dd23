package vm

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
)

const bootLimit = time.Minute // for one boot of the tiny machine, from power on to its end

// machine is a computer that is switched on once per boot. Its disk is a file, which nobody else touches while it runs.
type machine struct {
	t      *testing.T
	name   string
	kernel string // path of a kernel; "" lets the firmware look for one
	initrd string
	disk   string
	memory string   // as qemu takes it
	args   []string // more of qemu's
	limit  time.Duration
}

// boot is one life of a machine: from power on until it was switched off, reset itself, or lost its power.
type boot struct {
	console string
	wall    time.Duration
	used    time.Duration // processor time: what wall would be on a machine with nothing else to do
	cut     bool          // the power was cut
}

// lifeline ends a running machine: it is called with every line of the console as it comes, and cut pulls the plug.
type lifeline func(line string, cut context.CancelFunc)

// boot runs the machine to its end. A machine that does not end within its limit fails the test.
func (m *machine) boot(line string) boot {
	m.t.Helper()
	b, err := m.watch(m.t.Context(), line, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	if b.cut {
		m.t.Fatalf("%s: still running after %s; console:\n%s", m.name, m.limit, last(b.console, 60))
	}
	return b
}

// watch runs the machine until it ends, its limit is over, or see cuts its power.
func (m *machine) watch(ctx context.Context, line string, see lifeline) (boot, error) {
	ctx, cut := context.WithTimeout(ctx, m.limit)
	defer cut()
	args := append([]string{
		"-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", m.memory, "-smp", "1", "-nodefaults", "-no-user-config", "-display", "none", "-monitor", "none",
		"-serial", "stdio", "-no-reboot", "-drive", "file=" + m.disk + ",if=virtio,format=raw,cache=writethrough",
	}, m.args...)
	if m.kernel != "" {
		args = append(args, "-kernel", m.kernel, "-initrd", m.initrd, "-append", line)
	}
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", args...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return boot{}, err
	}
	var complaints strings.Builder
	cmd.Stderr = &complaints
	began := clock.Wall{}.Now()
	if err = cmd.Start(); err != nil {
		return boot{}, fmt.Errorf("%s: %w; scripts/vm/setup installs it", m.name, err)
	}
	console := follow(out, func(l string) {
		if see != nil {
			see(l, cut)
		}
	})
	err = cmd.Wait()
	b := boot{console: console, wall: clock.Wall{}.Now().Sub(began), cut: ctx.Err() != nil}
	b.used = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	if err != nil && !b.cut {
		return b, fmt.Errorf("%s: qemu: %w: %s; console:\n%s", m.name, err, complaints.String(), last(console, 60))
	}
	return b, nil
}

// follow reads a console to its end and calls see with each line.
func follow(out io.Reader, see func(string)) string {
	var all strings.Builder
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		all.WriteString(line)
		if line != "" {
			see(strings.TrimRight(line, "\r\n"))
		}
		if err != nil {
			return all.String()
		}
	}
}

// panicked tells whether the kernel died.
func (b boot) panicked() bool { return strings.Contains(b.console, "Kernel panic") }

// said tells whether a line of the console holds all the words.
func (b boot) said(words ...string) bool {
	for line := range strings.Lines(b.console) {
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) }) {
			return true
		}
	}
	return false
}

func last(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// run runs a program of this machine to its end and returns what it wrote.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(name), args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, last(string(out), 30))
	}
	return string(out)
}

// program finds a program that may be for the administrator only.
func program(name string) string {
	if found, err := exec.LookPath(name); err == nil {
		return found
	}
	return filepath.Join("/usr/sbin", name)
}

// repository is the root of the repository, and cache what scripts/vm/setup fetched.
func repository(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func cache(t *testing.T) string {
	t.Helper()
	return filepath.Join(repository(t), ".cache", "vm")
}

var machines = flag.String("vm", "", "boot virtual machines: `tiny` ones, or full Debian ones (full); scripts/vm/setup fetches what they need")

// needs skips the test unless machines of that size were asked for.
func needs(t *testing.T, size string) {
	t.Helper()
	if *machines != size {
		t.Skipf("boots virtual machines; run with -vm %s", size)
	}
	if _, err := os.Stat(cache(t)); errors.Is(err, os.ErrNotExist) {
		t.Fatalf("%s is not there; scripts/vm/setup %s fetches it", cache(t), size)
	}
}

// builder builds programs of this repository once for all tests.
type builder struct {
	mu   sync.Mutex
	dir  string
	done map[string]string
}

var programs = &builder{done: map[string]string{}}

// build builds a main statically, as it is delivered, and returns its path.
func build(t *testing.T, pkg string) string {
	t.Helper()
	programs.mu.Lock()
	defer programs.mu.Unlock()
	if programs.done[pkg] == "" {
		out := filepath.Join(programs.dir, filepath.Base(pkg))
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "./"+pkg)
		cmd.Dir, cmd.Env = repository(t), append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v: %s", pkg, err, text)
		}
		programs.done[pkg] = out
	}
	return programs.done[pkg]
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "firebreak-vm-")
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	programs.dir = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
