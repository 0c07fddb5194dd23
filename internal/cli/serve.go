package cli

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func (p *program) serveCommand() *cobra.Command {
	o := ServeOptions{Out: p.Out, Log: p.Err}
	c := p.leaf(command{
		use: "serve", short: "Run the control plane", args: cobra.NoArgs,
		long: `
Runs the control plane until it is told to stop. It needs no configuration: state, artifacts and keys are kept in
one data directory, which belongs to one process at a time. It is safe to kill at any moment.

The first start creates keys and a CA, prints an operator token once, and the command with which a host joins.
Operators and the console are served on loopback unless --listen-operator says otherwise; put TLS in front of it
before you do. Agents are served over mutual TLS with certificates of the built-in CA.

Plans can have gates: metrics and checks that must be good before a ring opens. They are asked from here, and only at
--prometheus and the hosts of --gate-host, because a plan's author may have no business in this network. A gate that
cannot be asked is not met.`,
		example: "firebreak serve\nfirebreak serve --data /var/lib/firebreak --listen-agents :7443 --agent-host updates.example.net",
		run: func(ctx context.Context, _ []string) error {
			if p.Serve == nil {
				return fault.New(fault.Unavailable, "serve: this build has no control plane")
			}
			return forbidden(p.Serve(ctx, o), o.Data)
		},
	})
	flags := c.Flags()
	flags.StringVar(&o.Data, "data", "firebreak-data", "data directory; it is created with mode 0700")
	flags.StringVar(&o.ListenOperator, "listen-operator", "127.0.0.1:7080", "address for operators and the console")
	flags.StringVar(&o.ListenAgents, "listen-agents", "127.0.0.1:7443", "address for agents")
	flags.StringSliceVar(&o.AgentHosts, "agent-host", nil, "name or address under which agents reach it, for its certificate; may be given several times")
	flags.StringVar(&o.Prometheus, "prometheus", "", "base URL of the Prometheus that answers the queries of plans' gates")
	flags.StringSliceVar(&o.GateHosts, "gate-host", nil,
		"host or host:port that the HTTP checks of plans' gates may ask; may be given several times")
	flags.DurationVar(&o.PollIdle, "poll-idle", 30*time.Second, "how often agents check in while nothing is rolled out")
	flags.DurationVar(&o.PollActive, "poll-active", 2*time.Second, "how often agents check in during a rollout that concerns them")
	flags.StringVar(&o.LogLevel, "log-level", "info", "debug, info, warn or error")
	flags.BoolVar(&o.LogJSON, "log-json", false, "write the log as JSON")
	return c
}

// forbidden words the operating system's refusal as what it is.
func forbidden(err error, dir string) error {
	if !errors.Is(err, fs.ErrPermission) || fault.KindOf(err) != fault.Internal {
		return err
	}
	return fault.New(fault.Denied, "serve: %w", err).Hint("Make %s a directory that this user may read and write, or name another: --data DIR.", dir)
}
