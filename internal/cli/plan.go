package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

func (p *program) planCommand() *cobra.Command {
	c := group("plan", "Check and list plans", `
A plan says how releases are rolled out: rings, growth, evidence, budget. Keep plans in git and 'firebreak apply' them.`)
	c.AddCommand(p.planCheck(), p.planList(), p.planShow())
	return c
}

func (p *program) planCheck() *cobra.Command {
	return p.leaf(command{
		use: "check FILE", short: "Check a plan without a server, and show what it can harm", args: cobra.ExactArgs(1),
		long: `
Checks a plan, alone or as a document of kind Plan, and lists every mistake with its path and line. For a valid plan it
prints the rings and the harm that the plan keeps a fault within on average, with the arithmetic. Needs no server. "-" reads
standard input. Exit code 2 if there are mistakes.`,
		example: "firebreak plan check plans/careful.yaml",
		run: func(_ context.Context, args []string) error {
			data, err := p.readFile(args[0])
			if err != nil {
				return err
			}
			plans, err := readPlans(args[0], data)
			if err != nil {
				return err
			}
			for _, wanted := range plans {
				if err := p.checked(wanted.Defaulted()); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// checked prints what a valid plan can harm.
func (p *program) checked(wanted plan.Plan) error {
	check, err := server.PlanBound(wanted)
	if err != nil {
		return err
	}
	return p.show(check, func() { p.describePlan(wanted, wanted.Bound()) })
}

func (p *program) describePlan(wanted plan.Plan, bound plan.Bound) {
	style := p.styleOf(p.Out)
	p.say("plan %s is valid", style.bold(wanted.Name))
	p.say("")
	t := newTable("RING", "SIZE", "EARLIEST", "NEXT OPENS AFTER")
	for k, r := range wanted.Rings {
		size := plural(r.Hosts, "host")
		if r.Share > 0 {
			size = fmt.Sprintf("%g %% of fleet", r.Share*100)
		}
		t.add(r.Name, size, exact(wanted.NotBefore(k)), asked(r, wanted.Last(k)))
	}
	t.print(p)
	p.say("")
	p.say("A fault harms at most %s on average:", style.bold(plural(bound.Hosts, "host")))
	for _, step := range bound.Steps {
		p.say("  %s", step)
	}
	if wanted.Budget.Hosts > 0 {
		p.say("The budget allows %s.", plural(wanted.Budget.Hosts, "host"))
	}
}

// asked puts a ring's evidence into words.
func asked(r plan.Ring, last bool) string {
	e, text := r.Evidence, "all confirmed"
	if e.Confirmed > 0 && e.Confirmed < 1 {
		text = fmt.Sprintf("%g %% confirmed", e.Confirmed*100)
	}
	if e.Bake > 0 {
		text += ", bake " + exact(time.Duration(e.Bake))
	}
	if e.Boots > 0 {
		text += ", " + plural(e.Boots, "boot")
	}
	if e.HostHours > 0 {
		text += fmt.Sprintf(", %g host-hours", e.HostHours)
	}
	if e.ExcessBelow > 0 {
		text += fmt.Sprintf(", excess below %g", e.ExcessBelow)
	}
	if last {
		return "completes: " + text
	}
	return text
}

func (p *program) planList() *cobra.Command {
	return p.leaf(command{
		use: "list", short: "List the plans that the control plane keeps", args: cobra.NoArgs,
		long: `Lists stored plans with the harm that each is bounded to.`, example: "firebreak plan list",
		run: func(ctx context.Context, _ []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			plans, err := c.Plans(ctx)
			if err != nil {
				return err
			}
			return p.show(plans, func() {
				t := newTable("NAME", "RINGS", "EXPECTED HARM", "UPDATED")
				for _, s := range plans {
					t.add(s.Name, fmt.Sprint(s.Rings), "at most "+plural(s.Bound, "host"), stamp(s.Updated))
				}
				t.print(p)
			})
		},
	})
}

func (p *program) planShow() *cobra.Command {
	return p.leaf(command{
		use: "show NAME", short: "Show a stored plan", args: cobra.ExactArgs(1), lists: "firebreak plan list",
		long: `Shows a stored plan with its defaults filled in, and what it can harm.`, example: "firebreak plan show careful",
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			stored, err := c.Plan(ctx, args[0])
			if err != nil {
				return err
			}
			var wanted plan.Plan
			if err := json.Unmarshal(stored.Plan, &wanted); err != nil {
				return fmt.Errorf("read plan %s from the server: %w", args[0], err)
			}
			return p.show(stored, func() { p.describePlan(wanted, wanted.Bound()) })
		},
	})
}
