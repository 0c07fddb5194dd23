package cli_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/cli"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

// keyboard is where somebody types; it is a terminal, as is what it is written to.
type keyboard struct {
	io.Reader
	io.Writer
}

// onScreen runs a command on a terminal of 80 by 24, with somebody at its keyboard who answers what the screen says: when a text has come,
// the keys of that step are typed.
func onScreen(t *testing.T, w *servertest.World, env map[string]string, steps [][2]string, args ...string) (code int, screen, errs string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	hands, typed := io.Pipe()
	defer typed.Close()
	out := &notepad{}
	var complaint bytes.Buffer
	next := make(chan struct{}, 1)
	go func() {
		for _, step := range steps {
			out.await(ctx, step[0], next)
			_, _ = io.WriteString(typed, step[1])
		}
	}()
	code = cli.Run(ctx, cli.Env{
		Args: args, In: keyboard{hands, io.Discard}, Out: out, Err: &complaint, Clock: later{}, Version: "1.2.3", Platform: "test/test",
		Getenv: func(key string) string {
			switch key {
			case "FIREBREAK_SERVER":
				return w.URL
			case "FIREBREAK_TOKEN":
				return w.Token
			case "TERM":
				return "xterm-256color"
			}
			return env[key]
		},
		Terminal: func(io.Writer) (int, bool) { return 80, true }, Height: func(io.Writer) int { return 24 },
	})
	return code, out.String(), complaint.String()
}

// await waits until the notepad has a text after what it had when it was asked for the last one.
func (n *notepad) await(ctx context.Context, text string, came chan struct{}) {
	n.mu.Lock()
	n.when, n.then = text, func() {
		select {
		case came <- struct{}{}:
		default:
		}
	}
	n.text.Reset()
	n.mu.Unlock()
	select {
	case <-came:
	case <-ctx.Done():
	}
}

// From the first look to a halt that is stored, with real keys, against a real server; the terminal is as it was in the end.
func TestTopHaltsFromTheKeyboard(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "2")
	w.Join(10, "sensor-content")
	if r := invoke(t, w, 0, nil, "rollout", "start", "sensor-content", "2"); r.code != cli.ExitOK {
		t.Fatal(r.err)
	}
	code, screen, errs := onScreen(t, w, map[string]string{"NO_COLOR": "1"}, [][2]string{
		{"1 moving", "H"}, {"Halt sensor-content 2", "\r"}, {"1 rollout halted", "\x1b"}, {"Enter opens", "q"},
	}, "top")
	if code != cli.ExitOK || errs != "" {
		t.Errorf("got code %d and %s", code, errs)
	}
	if r := invoke(t, w, 0, nil, "rollout", "show", "ro-1"); !strings.Contains(r.out, "halted") {
		t.Errorf("got %s, want it halted", r.out)
	}
	for _, want := range []string{"\x1b[?1049l", "\x1b[?25h", "1 rollout halted; 0 hosts are still in flight"} {
		if !strings.Contains(screen, want) {
			t.Errorf("the end of the screen does not have %q: %q", want, screen)
		}
	}
	if strings.Contains(screen, "\x1b[31m") || strings.Contains(screen, "\x1b[2m") {
		t.Errorf("there are colours, but NO_COLOR is set: %q", screen)
	}
}

func TestTopNeedsATerminal(t *testing.T) {
	t.Parallel()
	w := &servertest.World{URL: "http://127.0.0.1:1"}
	for _, args := range [][]string{{"top"}, {"top", "--json"}} {
		if r := invoke(t, w, 0, nil, args...); r.code != cli.ExitUsage || !strings.Contains(r.err, "firebreak rollout watch") || r.out != "" {
			t.Errorf("%v: got code %d, %q and %q; want a hint at rollout watch", args, r.code, r.out, r.err)
		}
	}
}

// A token that is not valid ends it with what the server says, on a clean terminal.
func TestTopEndsWhenItIsRefused(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	wrong := &servertest.World{URL: w.URL, Token: "fb_op_wrong"}
	code, screen, errs := onScreen(t, wrong, nil, nil, "top")
	if code != cli.ExitDenied || !strings.Contains(errs, "token") || !strings.Contains(screen, "\x1b[?1049l") {
		t.Errorf("got code %d, %s and %q, want it denied", code, errs, screen)
	}
}
