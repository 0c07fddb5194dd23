//go:build unix

package consumer_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
	"github.com/firebreak-dev/firebreak/internal/endpoint/consumer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
	"github.com/firebreak-dev/firebreak/internal/endpoint/process"
)

// supervise runs a shell script under a supervisor until the test ends.
func supervise(t *testing.T, script string, change ...func(*consumer.Options)) (s *consumer.Supervisor, stop func()) {
	t.Helper()
	o := consumer.Options{
		Argv: []string{"/bin/sh", "-c", script}, FS: disk.OS{}, Clock: clock.Wall{}, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Grace: 2 * time.Second,
	}
	for _, c := range change {
		c(&o)
	}
	s = consumer.NewSupervisor(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return s, stop
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !ok() {
		if err := (clock.Wall{}).Sleep(ctx, 5*time.Millisecond); err != nil {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func TestSupervisorRestartsWhatCrashes(t *testing.T) {
	t.Parallel()
	script := `echo noise >&2; echo "panic: runtime error: index out of range [20] with length 20 at 0xc000$$" >&2; exit 2`
	s, _ := supervise(t, script)
	eventually(t, "three restarts", func() bool { return s.Restarts() >= 3 })
	last := s.Stats().Last
	if last.Status != 2 || last.Signal != "" || !strings.Contains(last.Tail, "index out of range") || len(last.Signature) != 12 {
		t.Errorf("got %+v, want the crash described", last)
	}
	signature := last.Signature
	eventually(t, "one more", func() bool { return s.Restarts() >= 4 })
	if got := s.Stats().Last.Signature; got != signature {
		t.Errorf("got signature %s after %s, want equal crashes to have the same", got, signature)
	}
}

func TestSupervisorTellsTheSignal(t *testing.T) {
	t.Parallel()
	s, _ := supervise(t, "kill -SEGV $$")
	eventually(t, "an end", func() bool { return s.Stats().Last != nil })
	if last := s.Stats().Last; last.Signal != "SEGV" || last.Status != -1 {
		t.Errorf("got %+v, want signal SEGV", last)
	}
}

func TestSupervisorBacksOff(t *testing.T) {
	t.Parallel()
	s, _ := supervise(t, "exit 1", func(o *consumer.Options) { o.Argv = []string{"/no/such/program"} })
	eventually(t, "restarts", func() bool { return s.Restarts() >= 3 })
	first := s.Stats()
	if first.Running || first.Starts != 0 || first.Last.Status != -1 || !strings.Contains(first.Last.Message, "no such file") {
		t.Errorf("got %+v, want a program that never started", first)
	}
	fixed := clock.At(time.Unix(0, 0))
	s, stop := supervise(t, "exit 1", func(o *consumer.Options) { o.Clock = fixed })
	eventually(t, "ten restarts", func() bool { return s.Restarts() >= 10 })
	stop()
	want, pause := time.Duration(0), consumer.MinBackoff
	for range s.Restarts() {
		want += pause
		pause = min(2*pause, consumer.MaxBackoff)
	}
	if got := fixed.Now().Sub(time.Unix(0, 0)); got != want {
		t.Errorf("slept %s over %d restarts, want %s", got, s.Restarts(), want)
	}
}

func TestSupervisorStopsTheWholeGroup(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, script := range map[string]string{
		"gentle":   "sleep 1000 & echo $! > %s; wait",
		"stubborn": "trap '' TERM; sleep 1000 & echo $! > %s; while :; do wait; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pidFile := filepath.Join(dir, name)
			s, stop := supervise(t, fmt.Sprintf(script, pidFile), func(o *consumer.Options) { o.Grace = 200 * time.Millisecond })
			eventually(t, "the child", func() bool { return s.Running() && pidOf(pidFile) > 0 })
			main := s.Stats().PID
			stop()
			if s.Running() {
				t.Error("got a running process, want none")
			}
			eventually(t, "the group to be gone", func() bool { return gone(main) && gone(pidOf(pidFile)) })
		})
	}
}

func TestRestartIsNotHeldAgainstTheRelease(t *testing.T) {
	t.Parallel()
	s, _ := supervise(t, "exec sleep 1000")
	eventually(t, "a start", s.Running)
	before := s.Stats()
	if err := s.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := s.Stats()
	if after.PID == before.PID || after.Starts != 2 || after.Restarts != 0 || after.Last != nil {
		t.Errorf("got %+v after %+v, want another process and nothing held against it", after, before)
	}
}

func TestRestartEndsABackoffAtOnce(t *testing.T) {
	t.Parallel()
	ready := filepath.Join(t.TempDir(), "ready")
	asleep := make(chan struct{}, 100)
	s, _ := supervise(t, fmt.Sprintf("test -e %s && exec sleep 1000; exit 1", ready), func(o *consumer.Options) { o.Clock = stuck{asleep} })
	<-asleep // it would wait for ever
	if err := os.WriteFile(ready, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (consumer.Teller{}).Tell(t.Context(), component.Consumer{Tell: component.Tell{Signal: "HUP"}}, s); err != nil {
		t.Fatal(err)
	}
	if !s.Running() {
		t.Error("got no process, want it started at once")
	}
}

// stuck is a clock on which every sleep lasts until its context ends.
type stuck struct{ asleep chan<- struct{} }

func (stuck) Now() time.Time { return time.Unix(0, 0) }

func (s stuck) Sleep(ctx context.Context, _ time.Duration) error {
	s.asleep <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// TestSupervisorEndsWhatAKilledAgentLeftBehind: a process that an earlier supervisor noted and never ended is ended by the next one;
// another process that has its number by now is not.
func TestSupervisorEndsWhatAKilledAgentLeftBehind(t *testing.T) {
	t.Parallel()
	if process.Identity(os.Getpid()) == "" {
		t.Skip("processes have no identity on this system")
	}
	for name, ours := range map[string]bool{"the same process": true, "another process": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			old, pidFile := orphan(t), filepath.Join(t.TempDir(), "consumer.pid")
			identity := process.Identity(old)
			if !ours {
				identity += "0"
			}
			note := fmt.Sprintf(`{"pid": %d, "identity": %q}`, old, identity)
			if err := os.WriteFile(pidFile, []byte(note), 0o600); err != nil {
				t.Fatal(err)
			}
			s, _ := supervise(t, "exec sleep 1000", func(o *consumer.Options) { o.PIDFile = pidFile })
			eventually(t, "its own process to be noted", func() bool {
				return s.Running() && strings.Contains(content(pidFile), fmt.Sprintf(`"pid":%d`, s.Stats().PID))
			})
			if gone(old) != ours {
				t.Errorf("the process is gone: %v, want %v", gone(old), ours)
			}
		})
	}
}

// orphan starts a process in a group of its own, as a supervisor does.
func orphan(t *testing.T) int {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	process.Group(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

func TestSignalReachesTheProcess(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "mark")
	s, _ := supervise(t, fmt.Sprintf("trap 'echo told > %[1]s' HUP; echo ready > %[1]s; while :; do sleep 0.01; done", mark))
	eventually(t, "the trap", func() bool { return content(mark) == "ready\n" })
	if err := (consumer.Teller{}).Tell(t.Context(), component.Consumer{Tell: component.Tell{Signal: "HUP"}}, s); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the signal", func() bool { return content(mark) == "told\n" })
	if err := s.Signal("NONSENSE"); err == nil {
		t.Error("got no error for an unknown signal, want one")
	}
}

func TestTell(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	systemctl := filepath.Join(dir, "systemctl")
	if err := os.WriteFile(systemctl, []byte("#!/bin/sh\necho \"$@\" >> "+log+"\ntest \"$2\" != bad.service\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	teller := consumer.Teller{FS: disk.OS{}, Systemctl: systemctl}
	for name, row := range map[string]struct {
		consumer component.Consumer
		kind     fault.Kind
	}{
		"nothing":       {component.Consumer{}, ""},
		"reload":        {component.Consumer{Unit: "nginx.service", Tell: component.Tell{Unit: "reload"}}, ""},
		"reload fails":  {component.Consumer{Unit: "bad.service", Tell: component.Tell{Unit: "reload"}}, fault.Conflict},
		"command":       {component.Consumer{Tell: component.Tell{Command: []string{"/bin/sh", "-c", "echo told >> " + log}}}, ""},
		"no command":    {component.Consumer{Tell: component.Tell{Command: []string{"/no/such"}}}, fault.Unavailable},
		"command hangs": {component.Consumer{Tell: component.Tell{Command: []string{"sleep", "1000"}, Timeout: component.Duration(50 * time.Millisecond)}}, fault.Conflict},
		"no pid file":   {component.Consumer{Tell: component.Tell{Signal: "HUP", PIDFile: filepath.Join(dir, "none")}}, fault.Unavailable},
		"bad pid file":  {component.Consumer{Tell: component.Tell{Signal: "HUP", PIDFile: write("bad", "hello")}}, fault.Conflict},
		"init":          {component.Consumer{Tell: component.Tell{Signal: "TERM", PIDFile: write("init", "1\n")}}, fault.Conflict},
		"everybody":     {component.Consumer{Tell: component.Tell{Signal: "TERM", PIDFile: write("all", "-1")}}, fault.Conflict},
		"nobody there":  {component.Consumer{Tell: component.Tell{Signal: "TERM", PIDFile: write("gone", strconv.Itoa(1<<22+7))}}, fault.Unavailable},
		"no supervisor": {component.Consumer{Tell: component.Tell{Restart: true}}, fault.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := teller.Tell(t.Context(), row.consumer, nil)
			if row.kind == "" && err != nil || row.kind != "" && (err == nil || fault.KindOf(err) != row.kind) {
				t.Errorf("got %v, want %q", err, row.kind)
			}
		})
	}
}

// A unit that is down is not reloaded but started, and systemd is told to forget how often it was started before.
func TestTellAUnitThatIsDown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log, systemctl := filepath.Join(dir, "log"), filepath.Join(dir, "systemctl")
	script := "#!/bin/sh\necho \"$@\" >> " + log + "\ntest \"$1\" != is-active\n"
	if err := os.WriteFile(systemctl, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	c := component.Consumer{Unit: "sensor.service", Tell: component.Tell{Unit: "reload"}}
	if err := (consumer.Teller{FS: disk.OS{}, Systemctl: systemctl}).Tell(t.Context(), c, nil); err != nil {
		t.Fatal(err)
	}
	const want = "is-active --quiet sensor.service\nreset-failed sensor.service\nrestart sensor.service\n"
	if got := content(log); got != want {
		t.Errorf("got calls\n%swant\n%s", got, want)
	}
}

// A program that cannot be started at all is no good, and whoever tells it knows at once.
func TestTellRestartOfWhatCannotStart(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "sensor")
	if err := os.WriteFile(program, []byte("\x7fELF, of another machine"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, _ := supervise(t, "", func(o *consumer.Options) { o.Argv = []string{program} })
	err := (consumer.Teller{}).Tell(t.Context(), component.Consumer{Tell: component.Tell{Restart: true}}, s)
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "exec format error") {
		t.Errorf("got %v, want a conflict that says why", err)
	}
	eventually(t, "it to be noted", func() bool { return s.Restarts() > 0 })
	if last := s.Stats().Last; last.Status != -1 || len(last.Signature) != 12 || !strings.Contains(last.Headline, "exec format error") {
		t.Errorf("got %+v, want a start that failed", last)
	}
}

func TestTellRestartGivesUpInTime(t *testing.T) {
	t.Parallel()
	s := consumer.NewSupervisor(consumer.Options{Argv: []string{"x"}}) // nobody runs it
	tell := component.Tell{Restart: true, Timeout: component.Duration(20 * time.Millisecond)}
	err := (consumer.Teller{}).Tell(t.Context(), component.Consumer{Tell: tell}, s)
	if !errors.Is(err, context.DeadlineExceeded) || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %v, want it to give up", err)
	}
}

func content(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(data)
}

func pidOf(path string) int {
	pid, err := strconv.Atoi(strings.TrimSpace(content(path)))
	if err != nil {
		return 0
	}
	return pid
}

// gone tells whether a process has ended; one that nobody waited for yet has too.
func gone(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return true
	}
	return strings.Contains(content(fmt.Sprintf("/proc/%d/stat", pid)), ") Z ")
}
