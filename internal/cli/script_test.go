package cli_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/firebreak-dev/firebreak/internal/cli"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/backup/backuptest"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
	"github.com/firebreak-dev/firebreak/internal/sim/forecast"
)

// TestMain makes the test binary be the command, so that scripts run it as people do.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"firebreak": run})
}

// later is a clock two minutes after the start of every world, that does sleep.
type later struct{ clock.Wall }

func (later) Now() time.Time { return servertest.Start().Add(2 * time.Minute) }

func run() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := cli.Run(ctx, cli.Env{
		Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv,
		Terminal: func(io.Writer) (int, bool) { return 0, false },
		Clock:    later{}, Version: "1.2.3", Platform: "test/test",
		Serve: func(_ context.Context, o cli.ServeOptions) error {
			_, err := fmt.Fprintln(o.Out, "serving", o.Data, o.ListenOperator, o.ListenAgents, o.AgentHosts, o.PollIdle, o.PollActive, o.Prometheus,
				o.GateHosts)
			return err
		},
	})
	stop()
	os.Exit(code)
}

type worldKey struct{}

// TestScripts runs the scripts in testdata, one for each command, each against a control plane of its own. Beside testscript's own
// commands they use
//
//	exits CODE firebreak ARGS...    runs the command and wants that exit code
//	world COMMAND ARGS...           see the function world
//	installation DIR                makes a data directory that a server has open
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			w := servertest.Open(t, func(o *server.Options) { o.Forecast = forecast.New(o.Clock).Forecast })
			env.Values[worldKey{}] = w
			env.Setenv("GORACE", "atexit_sleep_ms=0") // or every command waits a second before it ends
			env.Setenv("FIREBREAK_SERVER", w.URL)
			env.Setenv("FIREBREAK_TOKEN", w.Token)
			env.Setenv("FIREBREAK_KEYS", filepath.Join(env.WorkDir, "keys"))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond != "full" { // everything is to be proved
				return false, fmt.Errorf("there is no condition %q", cond)
			}
			return fulltest.Asked(), nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits": exits, "world": world,
			"installation": func(ts *testscript.TestScript, _ bool, args []string) { backuptest.In(t, ts.MkAbs(args[0])) },
		},
	})
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code is %d, want %d", got, want)
	}
}

// world lets things happen on the other side:
//
//	world publish COMPONENT VERSION, world join N COMPONENT, world ask ROLLOUT HOST, world report ROLLOUT HOST OUTCOME [DETAIL],
//	world stand HOST WORD..., world pass SECONDS, world trip COMPONENT, world complete COMPONENT N,
//	world litter (a blob that nothing needs)
func world(ts *testscript.TestScript, _ bool, args []string) {
	w, _ := ts.Value(worldKey{}).(*servertest.World)
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		ts.Check(err)
		return n
	}
	switch args[0] {
	case "publish":
		w.Publish(args[1], args[2])
	case "join":
		w.Join(number(args[1]), args[2])
	case "ask":
		if refusal := w.Ask(args[1], number(args[2])); refusal != "" {
			ts.Logf("has to wait: %s", refusal)
		}
	case "report":
		w.Report(args[1], number(args[2]), args[3], "")
	case "stand":
		w.Stand(number(args[1]), args[2:]...)
	case "pass":
		w.Pass(number(args[1]))
	case "trip":
		w.Trip(args[1])
	case "complete":
		w.Complete(args[1], number(args[2]))
	case "litter":
		ts.Check(w.Blobs.Put(context.Background(), release.DigestOf([]byte("litter")), 6, strings.NewReader("litter")))
	default:
		ts.Fatalf("unknown command of world: %s", args[0])
	}
}
