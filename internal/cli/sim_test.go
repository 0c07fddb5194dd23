package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/firebreak-dev/firebreak/internal/cli"
	"github.com/firebreak-dev/firebreak/internal/clock"
)

// stopwatch is a clock that is a second later each time somebody looks.
type stopwatch struct {
	clock.Wall
	mu sync.Mutex
	at time.Time
}

func (s *stopwatch) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = s.at.Add(time.Second)
	return s.at
}

// play runs a command of the simulator. Errors go to a terminal if there is a writer for them.
func play(ctx context.Context, terminal io.Writer, memory int64, args ...string) result {
	var out, errs bytes.Buffer
	env := cli.Env{
		Args: args, In: strings.NewReader(""), Out: &out, Err: &errs, Clock: &stopwatch{}, Getenv: func(string) string { return "" },
		Terminal: func(w io.Writer) (int, bool) { return 80, terminal != nil && w == terminal }, Memory: func() int64 { return memory },
	}
	if terminal != nil {
		env.Err = terminal
	}
	code := cli.Run(ctx, env)
	return result{code, out.String(), errs.String()}
}

// Ctrl-C in the middle prints what is done, as people and as programs read it.
func TestInterruptedRunsArePrinted(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"--json=false", "--json"} {
		ctx, cancel := context.WithCancel(t.Context())
		screen := &notepad{when: "2/1000 runs", then: cancel}
		r := play(ctx, screen, 0, "sim", "run", "--scenario", "crowdstrike-2024-07-19", "--hosts", "2k", "--runs", "1000", "--workers", "1", format)
		if r.code != cli.ExitInterrupted || !strings.Contains(screen.String(), "interrupted after ") || !strings.Contains(screen.String(), " of 1000 runs\n") {
			t.Errorf("%s: got code %d and %q, want %d and how many runs were done", format, r.code, screen, cli.ExitInterrupted)
		}
		if format != "--json" {
			if !strings.Contains(r.out, "harmed") || !strings.Contains(r.out, "not played to its end") {
				t.Errorf("got %q, want the figures of the runs that were done", r.out)
			}
			continue
		}
		var sum struct{ Runs, Asked int }
		if err := json.Unmarshal([]byte(r.out), &sum); err != nil || sum.Runs < 2 || sum.Runs > 900 || sum.Asked != 1000 {
			t.Errorf("got %d of %d runs, %v; want at least 2 of 1000", sum.Runs, sum.Asked, err)
		}
	}
}

// On a terminal a line says how far it is, how fast and how long it takes still; it fits, and it is gone in the end.
func TestProgressOfRuns(t *testing.T) {
	t.Parallel()
	screen := &notepad{}
	r := play(t.Context(), screen, 0, "sim", "run", "--scenario", "crowdstrike-2024-07-19", "--hosts", "2k", "--runs", "4", "--workers", "1")
	if r.code != cli.ExitOK {
		t.Fatalf("exit code %d: %s", r.code, screen)
	}
	frames := strings.Split(screen.String(), "\r\x1b[K")
	if last := frames[len(frames)-1]; last != "" {
		t.Errorf("the line is still there: %q", last)
	}
	for _, want := range []string{"░ 0/4 runs", "█", "1/4 runs, ", "s a run, ", "s left", "a good update: "} {
		if !strings.Contains(screen.String(), want) {
			t.Errorf("no line says %q, as in %q", want, frames[max(0, len(frames)-4):])
		}
	}
	for _, frame := range frames {
		if n := utf8.RuneCountInString(frame); n > 79 {
			t.Errorf("a line has %d columns, want less than 80: %q", n, frame)
		}
	}
}

// Memory that would not suffice is said before anything is played; with less of it fewer runs are played at a time.
func TestMemoryOfRuns(t *testing.T) {
	t.Parallel()
	args := []string{"sim", "run", "--scenario", "crowdstrike-2024-07-19", "--runs", "1", "--hosts"}
	r := play(t.Context(), nil, 100<<20, append(args, "50M")...)
	if r.code != cli.ExitUsage || !strings.Contains(r.err, "MB are needed and 100 MB are free") {
		t.Errorf("got code %d and %q, want %d and how much is missing", r.code, r.err, cli.ExitUsage)
	}
	if r := play(t.Context(), nil, 100<<20, append(args, "2k", "--workers", "8", "--runs", "8")...); r.code != cli.ExitUsage {
		t.Errorf("8 at a time: got code %d, want %d: %s", r.code, cli.ExitUsage, r.err)
	}
	if r := play(t.Context(), nil, 100<<20, append(args, "2k", "--runs", "8")...); r.code != cli.ExitOK {
		t.Errorf("as many at a time as fit: got code %d, want %d: %s", r.code, cli.ExitOK, r.err)
	}
}

// notepad keeps what is written, and does something once it has been told something.
type notepad struct {
	mu   sync.Mutex
	text strings.Builder
	when string
	then func()
}

func (n *notepad) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text.Write(p)
	if n.then != nil && strings.Contains(n.text.String(), n.when) {
		n.then()
	}
	return len(p), nil
}

func (n *notepad) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}
