package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
)

func (p *program) planForecast() *cobra.Command {
	var component string
	c := p.leaf(command{
		use: "forecast NAME", short: "Say what a bad release would cost, as the control plane plays it", args: cobra.ExactArgs(1), lists: "firebreak plan list",
		long: `
Lets the control plane play bad releases under a plan that it keeps, on the fleet as it is now. It plays few runs and at a smaller scale if
the fleet is large, so that it takes a second or two; what was played within the last hour is told again. 'firebreak plan simulate' plays
as much as you like on this machine.`,
		example: "firebreak plan forecast careful --component sensor-content", ids: p.planIDs,
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			f, err := c.Forecast(ctx, args[0], component)
			if err != nil {
				return err
			}
			return p.show(f, func() { p.sayForecast(f) })
		},
	})
	c.Flags().StringVar(&component, "component", "", "only hosts that have this component (default: all)")
	return c
}

func (p *program) sayForecast(f api.Forecast) {
	scale := ""
	if f.Hosts < f.Fleet {
		scale = fmt.Sprintf(", played on %s", thousands(f.Hosts))
	}
	p.say("plan %s on your fleet of %s%s, as of %s", p.styleOf(p.Out).bold(f.Plan), plural(f.Fleet, "host"), scale, stamp(f.Taken))
	p.say("")
	t := newTable("A RELEASE THAT", "HARMED: MEAN", "P99", "MINUTES TO HALT", "STOPPED", "FROZEN")
	undecided := false
	for _, k := range f.Cases {
		minutes := "-"
		if k.Stopped > 0 {
			minutes = figure(k.Minutes)
		}
		t.add(k.Name, figure(k.Mean), thousands(k.P99), minutes, fmt.Sprintf("%d/%d", k.Stopped, k.Runs), fmt.Sprintf("%d/%d", k.Frozen, k.Runs))
		undecided = undecided || k.Stopped+k.Frozen < k.Runs
	}
	t.print(p)
	p.say("")
	p.paragraph("", "Stopped: the breaker halted the rollout, or held a part of the fleet. Frozen: nobody more gets it until a person looks.")
	if undecided {
		p.paragraph("", "Other runs were neither as far as they were played; their harm may grow. More: firebreak plan simulate "+f.Plan+".")
	}
	p.paragraph("", fmt.Sprintf("The plan is bounded to %s harmed on average.", plural(f.Bound, "host")))
}
