package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/chart/picture"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// mostPoints is how many points of a rollout's course are asked for: more than a picture shows.
const mostPoints = 2000

func (p *program) rolloutPlot() *cobra.Command {
	var out string
	var weighed bool
	c := p.leaf(command{
		use: "plot [ID]", short: "Draw a rollout: exposed and harmed hosts, or the evidence, over time", args: cobra.MaximumNArgs(1),
		ids: p.rolloutIDs, lists: "firebreak rollout list",
		long: `
Draws how many hosts a rollout exposed and how many it harmed, over time; with --evidence the breaker's evidence against the release, with
the levels at which it freezes growth and trips. Without an ID of the newest rollout. The picture is an SVG file that needs nothing else.`,
		example: "firebreak rollout plot ro-4q2k\nfirebreak rollout plot ro-4q2k --evidence --out e.svg",
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			id, err := oneOrNewest(ctx, c, args)
			if err != nil {
				return err
			}
			r, err := c.Rollout(ctx, id)
			if err != nil {
				return err
			}
			series, err := c.Series(ctx, id, mostPoints)
			if err != nil {
				return err
			}
			if weighed {
				return p.draw(first(out, "rollout-"+fileName(id)+"-evidence.svg"), picture.Evidence(r, series))
			}
			return p.draw(first(out, "rollout-"+fileName(id)+".svg"), picture.Exposure(r, series))
		},
	})
	c.Flags().StringVar(&out, "out", "", "file to draw into, - for standard output (default rollout-ID.svg in this directory)")
	c.Flags().BoolVar(&weighed, "evidence", false, "draw the evidence against the release instead")
	return c
}

func (p *program) fleetPlot() *cobra.Command {
	var out, component string
	var since time.Duration
	c := p.leaf(command{
		use: "plot", short: "Draw the fleet over time: heard hosts, or the versions of a component", args: cobra.NoArgs,
		long: `
Draws how many endpoints there were and how many of them were heard; with --component how many hosts ran which version of it. The picture
is an SVG file that needs nothing else.`,
		example: "firebreak fleet plot\nfirebreak fleet plot --component sensor-content --since 168h --out versions.svg",
		run: func(ctx context.Context, _ []string) error {
			if since <= 0 {
				return fault.New(fault.Invalid, "draw the fleet: --since must be above 0, is %s", since)
			}
			c, err := p.connect()
			if err != nil {
				return err
			}
			history, err := c.FleetHistory(ctx, component, p.Clock.Now().Add(-since))
			if err != nil {
				return err
			}
			if len(history.Samples) == 0 {
				return fault.New(fault.NotFound, "draw the fleet: nothing was noted in the last %s", exact(since)).
					Hint("The control plane notes how the fleet is once a minute; come back then.")
			}
			if component != "" {
				return p.draw(first(out, "versions.svg"), picture.Versions(history, component))
			}
			return p.draw(first(out, "heartbeats.svg"), picture.Heartbeats(history))
		},
	})
	flags := c.Flags()
	flags.StringVar(&out, "out", "", "file to draw into, - for standard output (default heartbeats.svg or versions.svg in this directory)")
	flags.StringVar(&component, "component", "", "draw the versions of this component instead")
	flags.DurationVar(&since, "since", 24*time.Hour, "how far back")
	return c
}
