package cli

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
)

func (p *program) gcCommand() *cobra.Command {
	var dry bool
	c := p.leaf(command{
		use: "gc", short: "Remove artifacts that nothing needs", args: cobra.NoArgs,
		long: `
Removes blobs from the control plane's store that no rollout, directive, endpoint, release to come, upload or pending
signature needs, and that nobody put or asked for within the last seven days. It looks twice and may be run at any time,
also while something is published.`,
		example: "firebreak gc --dry-run\nfirebreak gc",
		run: func(ctx context.Context, _ []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			g, err := c.CollectGarbage(ctx, dry)
			if err != nil {
				return err
			}
			return p.show(g, func() { p.sayGarbage(g) })
		},
	})
	c.Flags().BoolVar(&dry, "dry-run", false, "only tell what would be removed, and why the rest is kept")
	return c
}

func (p *program) sayGarbage(g api.Garbage) {
	verb := "removed"
	if g.DryRun {
		verb = "would remove"
		t := newTable("BLOB", "SIZE", "WHY IT IS KEPT")
		for _, b := range g.Kept {
			t.add(b.Digest, strconv.FormatInt(b.Size, 10), b.Why)
		}
		t.print(p)
	}
	p.say("%s %s, %d bytes; kept %d, %d bytes", verb, plural(int64(g.RemovedCount), "blob"), g.RemovedBytes, g.KeptCount, g.KeptBytes)
	for _, b := range g.Missing {
		p.say("missing: %s: %s; publish it again", b.Digest, b.Why)
	}
}
