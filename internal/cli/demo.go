package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func (p *program) demoCommand() *cobra.Command {
	o := DemoOptions{Out: p.Out, Err: p.Err}
	var file string
	c := p.leaf(command{
		use: "demo", short: "Show the main job on real processes: a good, a bad and a mended update", args: cobra.NoArgs,
		long: `
Starts a control plane and 40 agents on this machine, each with a real consumer, and rolls out three releases of
detection content: a good one, a defective one and a mended one. It prints what happens as it happens and a table at
the end, and keeps the console open until you stop it, unless --exit. It needs no root and leaves nothing behind.`,
		example: "firebreak demo\nfirebreak demo --exit --json result.json",
		run: func(ctx context.Context, _ []string) error {
			if p.Demo == nil {
				return fault.New(fault.Unavailable, "demo: this build has no demo")
			}
			o.JSON, o.Colour = file, p.styleOf(p.Out).on
			return p.Demo(ctx, o)
		},
	})
	flags := c.Flags()
	flags.BoolVar(&o.Exit, "exit", false, "end after the table")
	flags.StringVar(&file, "json", "", "write the result to this file as JSON")
	flags.IntVar(&o.Agents, "agents", 40, "how many agents")
	flags.StringVar(&o.Bin, "bin", "", "directory with firebreak-agent and sensor (default: beside this program)")
	return c
}
