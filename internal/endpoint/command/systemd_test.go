package command_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/endpoint/command"
	"github.com/firebreak-dev/firebreak/internal/endpoint/consumer"
	"github.com/firebreak-dev/firebreak/internal/endpoint/disk"
)

// run runs one command with what systemd says in the environment and what the consumer said on standard input.
func run(t *testing.T, environ map[string]string, said string, args ...string) (code int, out, complaint string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code = command.Run(t.Context(), command.Env{
		Args: args, In: strings.NewReader(said), Out: &stdout, Err: &stderr, Getenv: func(name string) string { return environ[name] },
	})
	return code, stdout.String(), stderr.String()
}

func TestExited(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		environ map[string]string
		args    []string
		code    int
		want    *consumer.Exit
	}{
		"a signal": {
			map[string]string{"SERVICE_RESULT": "core-dump", "EXIT_CODE": "dumped", "EXIT_STATUS": "SEGV"},
			[]string{"--unit", "sensor.service"},
			0,
			&consumer.Exit{Status: -1, Signal: "SEGV", Message: "core-dump: signal SEGV", Headline: "panic: boom"},
		},
		"a status": {
			map[string]string{"SERVICE_RESULT": "exit-code", "EXIT_CODE": "exited", "EXIT_STATUS": "3"},
			[]string{"--component", "sensor"},
			0,
			&consumer.Exit{Status: 3, Message: "exit-code: status 3", Headline: "panic: boom"},
		},
		"a good end": {
			map[string]string{"SERVICE_RESULT": "success", "EXIT_CODE": "exited", "EXIT_STATUS": "0"}, []string{"--unit", "sensor.service"}, 0, nil,
		},
		"not by systemd": {nil, []string{"--unit", "sensor.service"}, 2, nil},
		"of nobody":      {map[string]string{"SERVICE_RESULT": "signal"}, nil, 2, nil},
		"no number": {
			map[string]string{"SERVICE_RESULT": "exit-code", "EXIT_CODE": "exited", "EXIT_STATUS": "x"}, []string{"--unit", "sensor.service"}, 2, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := t.TempDir()
			said := strings.Repeat("working\n", 200_000)[:100_000] + "panic: boom\n"
			code, _, complaint := run(t, c.environ, said, append([]string{"exited", "--state", state}, c.args...)...)
			if code != c.code {
				t.Fatalf("got exit code %d, want %d: %s", code, c.code, complaint)
			}
			found := consumer.Exits{FS: disk.OS{}, Dir: filepath.Join(state, "exits")}.Since(time.Time{}, "sensor", "sensor.service")
			if c.want == nil {
				if len(found) != 0 {
					t.Errorf("got %+v noted, want nothing", found)
				}
				return
			}
			if len(found) != 1 {
				t.Fatalf("got %d ends noted, want 1", len(found))
			}
			got := found[0]
			if got.Status != c.want.Status || got.Signal != c.want.Signal || got.Message != c.want.Message || got.Headline != c.want.Headline {
				t.Errorf("got %+v, want %+v", got, *c.want)
			}
		})
	}
}

func TestDropIn(t *testing.T) {
	t.Parallel()
	code, out, complaint := run(t, nil, "", "drop-in", "sensor")
	if code != 0 {
		t.Fatalf("got exit code %d: %s", code, complaint)
	}
	for _, line := range []string{
		"After=firebreak-guard.service", "ConditionPathExists=!/run/firebreak/safe-mode", "StartLimitIntervalSec=0", "exited --unit %n'",
		"/etc/systemd/system/sensor.service.d/firebreak.conf",
	} {
		if !strings.Contains(out, line) {
			t.Errorf("got\n%s\nwant it to have %q", out, line)
		}
	}
	if _, out, _ := run(t, nil, "", "drop-in", "sensor", "--state", "/srv/agent"); !strings.Contains(out, "exited --state /srv/agent --unit %n'") {
		t.Errorf("with a state directory of its own: got\n%s", out)
	}
	for _, unit := range []string{"", "a b", "../x", "-x", "a\nb", "%h"} {
		if code, _, _ := run(t, nil, "", "drop-in", "--", unit); code != 2 {
			t.Errorf("unit %q: got exit code %d, want 2", unit, code)
		}
	}
}
