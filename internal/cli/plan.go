package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

func (p *program) planCommand() *cobra.Command {
	c := group("plan", "Check, derive and list plans", `
A plan says how releases are rolled out: rings, growth, evidence, budget. Keep plans in git and 'firebreak apply' them. Begin with one
that comes with Firebreak ('firebreak plan shipped'), or let a budget of harm make one ('firebreak plan derive').`)
	c.AddCommand(p.planCheck(), p.planDerive(), p.planSimulate(), p.planForecast(), p.planShipped(), p.planList(), p.planShow())
	return c
}

func (p *program) planCheck() *cobra.Command {
	return p.leaf(command{
		use: "check FILE", short: "Check a plan without a server, and show what it can harm", args: cobra.ExactArgs(1),
		long: `
Checks a plan, alone or as a document of kind Plan, and lists every mistake with its path and line. A plan whose bound is above its
budget is a mistake. For a valid plan it prints the rings and the harm that the plan keeps each kind of fault within on average, with
the arithmetic. Needs no server. "-" reads standard input. Exit code 2 if there are mistakes.`,
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
	p.say("plan %s is valid", p.styleOf(p.Out).bold(wanted.Name))
	p.say("")
	p.describeRings(wanted)
	p.say("")
	p.describeCells(wanted.Cells)
	p.describeBound(wanted, bound)
	p.say("")
	for _, step := range append(bound.Steps, plan.Assumed) {
		p.paragraph("  ", step)
	}
}

func (p *program) describeRings(wanted plan.Plan) {
	rows := [][]string{{"RING", "SIZE", "EARLIEST"}}
	for k, r := range wanted.Rings {
		size := plural(r.Hosts, "host")
		if r.Share > 0 {
			size = fmt.Sprintf("%g %% of fleet", r.Share*100)
		}
		rows = append(rows, []string{r.Name, size, exact(wanted.NotBefore(k))})
	}
	head := padded(rows)
	style := p.styleOf(p.Out)
	p.say("%s", style.dim(head[0]+"NEXT OPENS AFTER"))
	for k, r := range wanted.Rings {
		p.paragraph(head[k+1], asked(r, wanted.Last(k)))
	}
}

// describeCells shows which cells go one after the other.
func (p *program) describeCells(waves []plan.Wave) {
	if len(waves) == 0 {
		return
	}
	t := newTable("WAVE", "BEGINS", "CELLS")
	widest := 0
	for i, w := range waves {
		begins := "at once"
		if i > 0 {
			begins = "when those before are complete"
		}
		if w.After > 0 {
			begins = "when those before held " + exact(time.Duration(w.After))
		}
		t.add(fmt.Sprint(i+1), begins, strings.Join(w.Names, ", "))
		widest = max(widest, len(w.Names))
	}
	t.print(p)
	p.say("")
	text := "Rings, harm and budget are of each cell. None exposes anybody while another one cannot be heard, and a trip in one ends it in all."
	if widest > 1 {
		text += fmt.Sprintf(" Until they have heard of it, the %d cells of one wave can each harm as much.", widest)
	}
	p.paragraph("", text)
	p.say("")
}

// padded makes columns of rows, each followed by two spaces.
func padded(rows [][]string) []string {
	lines := make([]string, len(rows))
	for column := range rows[0] {
		width := 0
		for _, row := range rows {
			width = max(width, wide(row[column]))
		}
		for i, row := range rows {
			lines[i] += row[column] + strings.Repeat(" ", width-wide(row[column])+2)
		}
	}
	return lines
}

// paragraph says a text in lines that fit, each indented as far as the head of the first.
func (p *program) paragraph(head, text string) {
	for _, line := range wrap(head, text, p.width()) {
		p.say("%s", strings.TrimRight(line, " "))
	}
}

// describeBound shows what each kind of fault harms, and what the budget says to it.
func (p *program) describeBound(wanted plan.Plan, bound plan.Bound) {
	t := newTable("HARMED ON AVERAGE, AT MOST", "REPORTED", "SILENT")
	for _, f := range bound.Faults {
		name := f.Name
		if f.Covered {
			name += " *"
		}
		t.add(name, harm(f.Reported), harm(f.Silent))
	}
	t.print(p)
	p.say("")
	reported := ""
	if wanted.Budget.By == plan.ByReports {
		reported = ", if its harm is reported,"
	}
	p.paragraph("", fmt.Sprintf("A fault marked *%s harms at most %s on average, %d in a site of %d.", reported,
		plural(bound.Hosts, "host"), bound.Site, plan.SiteHosts))
	if wanted.Budget.Hosts > 0 {
		p.say("The budget allows %s.", plural(wanted.Budget.Hosts, "host"))
	} else {
		p.say("The plan sets no budget for that.")
	}
	if wanted.Budget.Site > 0 {
		p.paragraph("", fmt.Sprintf("The budget allows %d in a site of %d.", wanted.Budget.Site, plan.SiteHosts))
	}
}

func harm(h plan.Harm) string {
	if h.Open {
		return "not bounded"
	}
	return plural(h.Hosts, "host")
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
	if e.Strata > 0 {
		text += fmt.Sprintf(", every stratum from %g %%", e.Strata*100)
	}
	if e.ExcessBelow > 0 {
		text += fmt.Sprintf(", excess below %g %%", e.ExcessBelow*100)
	}
	for _, gate := range e.Gates {
		text += ", gate " + gate.Name
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
