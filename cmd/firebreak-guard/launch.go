package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/firebreak-dev/firebreak/internal/endpoint/guard"
	"github.com/firebreak-dev/firebreak/internal/endpoint/launcher"
)

func launch(h *guard.Host, flags *flag.FlagSet) func(context.Context, io.Writer) int {
	about(flags, `
firebreak-guard launch [AGENT'S ARGUMENTS] runs the agent and stays its parent. Before it starts one it has the last good agent ask for a
newer one or a recall, for at most 5 seconds. After 3 bad exits in 10 minutes it goes back to the last good agent, and to the one that came
with the package when that fails too. Arguments after -- are the agent's; by default "run --state DIRECTORY --guard DIRECTORY".`)
	state := flags.String("state", "/var/lib/firebreak-agent", "the agent's state `directory`")
	factory := flags.String("factory", "/usr/lib/firebreak/firebreak-agent", "the agent that came with the package, a `file`")
	return func(ctx context.Context, out io.Writer) int {
		signals := make(chan os.Signal, 4)
		signal.Notify(signals, syscall.SIGHUP)
		defer signal.Stop(signals)
		o := launcher.Options{
			FS: h.FS, AgentState: *state, GuardDir: h.Dir, Factory: *factory, Args: flags.Args(), Env: os.Environ(), Clock: h.Clock,
			Boot: h.BootID(), Signals: signals, Output: os.Stdout, Socket: os.Getenv("NOTIFY_SOCKET"), Times: launcher.Defaults(),
			Log: func(format string, args ...any) { fmt.Fprintf(h.Log, "launcher: "+format+"\n", args...) },
		}
		if len(o.Args) == 0 {
			o.Args = []string{"run", "--state", *state, "--guard", h.Dir}
		}
		if us, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64); err == nil && us > 0 {
			o.Times.Watchdog = time.Duration(us) * time.Microsecond / 2
		}
		book, err := guard.Open(h.FS, h.Dir) //nolint:contextcheck // its lock is waited for within a limit of its own
		if err != nil {
			o.Log("going on without the guard's memory: %v", err)
			return complain(out, launcher.Run(ctx, o))
		}
		o.Book = book
		return complain(out, errors.Join(launcher.Run(ctx, o), book.Close()))
	}
}
