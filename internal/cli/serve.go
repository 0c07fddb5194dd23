package cli

import (
	"context"
	"errors"
	"fmt"
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
With --database any number of replicas serve one installation over one PostgreSQL: give all of them the same keys (--keys) and the same
artifacts (--blobs). One of them decides; when it is gone another one does within twenty seconds.

Operators and the console are served on loopback unless --listen-operator says otherwise; put TLS in front of it
before you do. Agents are served over mutual TLS with certificates of the built-in CA.

Plans can have gates: metrics and checks that must be good before a ring opens. They are asked from here, and only at
--prometheus and the hosts of --gate-host, because a plan's author may have no business in this network. A gate that
cannot be asked is not met.

Plans can go from cell to cell, each a control plane with its own database and endpoints. --cell names this one, each --peer another, which
is asked how releases stand there. While one of a plan's cells cannot be asked, nobody gets the release.`,
		example: "firebreak serve\nfirebreak serve --data /var/lib/firebreak --listen-agents :7443 --agent-host updates.example.net",
		run: func(ctx context.Context, _ []string) error {
			if p.Serve == nil {
				return fault.New(fault.Unavailable, "serve: this build has no control plane")
			}
			o.Database = first(o.Database, p.Getenv("FIREBREAK_DATABASE"))
			if o.Database != "" && o.Blobs == "" {
				_, _ = fmt.Fprintln(p.Err, "artifacts are kept in the data directory: replicas on other machines do not see them (--blobs)")
			}
			return forbidden(p.Serve(ctx, o), o.Data)
		},
	})
	flags := c.Flags()
	flags.StringVar(&o.Data, "data", "firebreak-data", "data directory; it is created with mode 0700")
	flags.StringVar(&o.ListenOperator, "listen-operator", "127.0.0.1:7080", "address for operators and the console")
	flags.StringVar(&o.ListenAgents, "listen-agents", "127.0.0.1:7443", "address for agents")
	flags.StringSliceVar(&o.AgentHosts, "agent-host", nil, "name or address under which agents reach it, for its certificate; may be given several times")
	flags.StringVar(&o.Database, "database", "",
		"postgres://user@host/name, shared by replicas; the password may come from PGPASSWORD or ~/.pgpass (env FIREBREAK_DATABASE)")
	flags.StringVar(&o.KeyDir, "keys", "", "directory of the authority's and the director's keys, the same for all replicas (default DATA/keys)")
	flags.StringVar(&o.Blobs, "blobs", "", "s3://bucket/prefix?endpoint=URL&region=NAME for artifacts, shared by replicas (default DATA/blobs)")
	flags.StringVar(&o.Replica, "replica", "", "name of this replica in logs (default the host's name)")
	flags.Int64Var(&o.Downloads, "download-rate", 0, "bytes a second that all downloads of agents may take together (default no limit)")
	flags.Int64Var(&o.TenantDownloads, "tenant-download-rate", 0, "bytes a second that the downloads of one tenant may take (default no limit)")
	flags.StringVar(&o.ListenPrivate, "listen-private", "", "address for metrics and profiles, without a token: loopback, or what only your monitoring reaches")
	flags.StringVar(&o.Prometheus, "prometheus", "", "base URL of the Prometheus that answers the queries of plans' gates")
	flags.StringSliceVar(&o.GateHosts, "gate-host", nil,
		"host or host:port that the HTTP checks of plans' gates may ask; may be given several times")
	flags.StringVar(&o.Cell, "cell", "", "name of this control plane among the cells of plans")
	flags.StringSliceVar(&o.Peers, "peer", nil, "NAME=URL of another cell's operator port; may be given several times")
	flags.StringVar(&o.PeerTokens, "peer-tokens", "", "file with the peers' tokens, one NAME TOKEN a line; they are of the kind peer")
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
