package cli_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/firebreak-dev/firebreak/internal/cli"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

// result is what one run said.
type result struct {
	code     int
	out, err string
}

// invoke runs the command in this process. Width is the terminal's, 0 for none.
func invoke(t *testing.T, w *servertest.World, width int, env map[string]string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out, errs bytes.Buffer
	code := cli.Run(ctx, cli.Env{
		Args: args, In: strings.NewReader(""), Out: &out, Err: &errs, Clock: later{}, Version: "1.2.3", Platform: "test/test",
		Getenv: func(key string) string {
			switch key {
			case "FIREBREAK_SERVER":
				return w.URL
			case "FIREBREAK_TOKEN":
				return w.Token
			}
			return env[key]
		},
		Terminal: func(io.Writer) (int, bool) { return width, width > 0 },
	})
	return result{code, out.String(), errs.String()}
}

func TestOutputFitsTheTerminal(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Trip("a-component-with-a-name-of-some-length")
	plan := filepath.Join(t.TempDir(), "plan.yaml")
	if err := os.WriteFile(plan, []byte("name: careful\nrings: [{name: canary, hosts: 2, evidence: {bake: 72h, boots: 3}}, {name: rest, share: 1}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"rollout list", "rollout show ro-1 --leases", "rollout explain ro-1 --all --verify", "fleet list", "fleet show ep-001", "incident list",
		"release list", "release show a-component-with-a-name-of-some-length 2", "token list", "plan list", "version --remote",
	} {
		for _, width := range []int{0, 80} {
			r := invoke(t, w, width, map[string]string{"NO_COLOR": "1"}, strings.Fields(command)...)
			if r.code != cli.ExitOK {
				t.Errorf("%s: exit code %d: %s", command, r.code, r.err)
			}
			for line := range strings.Lines(r.out) {
				if width == 0 && strings.Contains(line, "…") {
					t.Errorf("%s: a line is cut, but not for a terminal: %s", command, line)
				}
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 && width > 0 {
					t.Errorf("%s: a line has %d columns, want at most 80: %s", command, n, line)
				}
			}
		}
	}
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Trip("sensor-content")
	const escape = "\x1b["
	for _, c := range []struct {
		width int
		env   map[string]string
		want  bool
	}{{0, nil, false}, {100, nil, true}, {100, map[string]string{"NO_COLOR": "1"}, false}, {100, map[string]string{"TERM": "dumb"}, false}} {
		for _, args := range [][]string{{"rollout", "list"}, {"rollout", "show", "ro-1"}, {"rollout", "show", "ro-9"}} {
			r := invoke(t, w, c.width, c.env, args...)
			if got := strings.Contains(r.out+r.err, escape); got != c.want {
				t.Errorf("%v on a terminal of %d columns with %v: colours %t, want %t", args, c.width, c.env, got, c.want)
			}
		}
	}
}

func TestWatchRedrawsInPlaceOnATerminal(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "2")
	w.Join(10, "sensor-content")
	if r := invoke(t, w, 0, nil, "rollout", "start", "sensor-content", "2"); r.code != cli.ExitOK {
		t.Fatal(r.err)
	}
	done := make(chan result)
	go func() { done <- invoke(t, w, 100, nil, "rollout", "watch", "--every", "20ms") }()
	w.Pass(1)
	w.Ask("ro-1", 1)
	w.Ask("ro-1", 2)
	w.Report("ro-1", 1, "crashed", "")
	w.Report("ro-1", 2, "crashed", "")
	r := <-done
	if r.code != cli.ExitStopped {
		t.Errorf("exit code is %d, want %d: %s", r.code, cli.ExitStopped, r.err)
	}
	last := r.out[strings.LastIndex(r.out, "\x1b[1msensor-content 2 on plan"):]
	for _, want := range []string{"tripped", "XXXX", "2 harmed", "trip 10000", "ended: the rollout is tripped for good", "incident inc-", "breaker tripped"} {
		if !strings.Contains(last, want) {
			t.Errorf("the last picture does not have %q:\n%s", want, last)
		}
	}
}

// A watch that hardly ever asks still sees everything: it comes by the live stream.
func TestWatchIsToldByTheStream(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "2")
	w.Join(10, "sensor-content")
	if r := invoke(t, w, 0, nil, "rollout", "start", "sensor-content", "2"); r.code != cli.ExitOK {
		t.Fatal(r.err)
	}
	for _, format := range []string{"--json=false", "--json"} {
		done := make(chan result)
		go func() { done <- invoke(t, w, 0, nil, "rollout", "watch", "--every", "1h", format) }()
		if format == "--json=false" {
			w.Pass(1)
			w.Ask("ro-1", 1)
			w.Ask("ro-1", 2)
			w.Report("ro-1", 1, "crashed", "")
			w.Report("ro-1", 2, "crashed", "")
		}
		if r := <-done; r.code != cli.ExitStopped || !strings.Contains(r.out, "tripped") {
			t.Errorf("%s: got code %d and %s%s, want it to end with the trip", format, r.code, r.out, r.err)
		}
	}
}

func TestWatchWaitsForTheControlPlane(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Complete("sensor-content", 9)
	calls := 0
	w.Gate(func() bool { calls++; return calls%2 == 0 }) // every other answer is that it is too busy
	r := invoke(t, w, 0, nil, "rollout", "watch", "ro-1", "--every", "10ms")
	if r.code != cli.ExitOK || !strings.Contains(r.out, "9 of 9 exposed") {
		t.Errorf("got code %d and %s%s, want 0 and the end of the rollout", r.code, r.out, r.err)
	}
}

func TestAnInterruptedWatchSaysSo(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "2")
	invoke(t, w, 0, nil, "rollout", "start", "sensor-content", "2")
	ctx, cancel := context.WithCancel(t.Context())
	out := &waiter{done: cancel}
	var errs bytes.Buffer
	code := cli.Run(ctx, cli.Env{
		Args: []string{"rollout", "watch", "--server", w.URL, "--token", w.Token}, In: strings.NewReader(""), Out: out, Err: &errs, Clock: later{},
		Getenv: func(string) string { return "" }, Terminal: func(io.Writer) (int, bool) { return 0, false },
	})
	if code != cli.ExitInterrupted || errs.String() != "interrupted\n" {
		t.Errorf("got code %d and %q, want %d and that it was interrupted", code, errs.String(), cli.ExitInterrupted)
	}
}

// waiter calls done when something was written.
type waiter struct{ done func() }

func (w *waiter) Write(p []byte) (int, error) {
	w.done()
	return len(p), nil
}

// TestHelpFitsItsWidth looks at the help of every command group and of those with the longest flags.
func TestHelpFitsItsWidth(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	for _, command := range []string{"", "serve", "release publish", "rollout watch", "rollout show", "key init", "key new", "key sign", "token create", "sim", "sim run", "sim compare", "plan simulate"} {
		r := invoke(t, w, 0, nil, append(strings.Fields(command), "--help")...)
		for line := range strings.Lines(r.out) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 100 {
				t.Errorf("%s --help: a line has %d columns, want at most 100: %s", command, n, line)
			}
		}
	}
}
