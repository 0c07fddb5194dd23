package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/sim"
)

// comparison is plans side by side.
type comparison struct {
	Scenario string         `json:"scenario"`
	Hosts    int64          `json:"hosts"`
	Seed     uint64         `json:"seed"`
	Runs     int            `json:"runs"`
	Defences string         `json:"defences"`
	Plans    []comparedPlan `json:"plans"`
}

type comparedPlan struct {
	Plan        string   `json:"plan"`
	HoursIfGood float64  `json:"hours_if_good,omitempty"`
	Effects     []played `json:"effects"` // in the order that was asked for; fewer if somebody interrupted them
}

func (p *program) simCompare() *cobra.Command {
	var g game
	var names []string
	effects := []float64{1, 0.5, 0.1, 0.01, 0.001}
	g.command = p.leaf(command{
		use: "compare --scenario NAME --plan A --plan B", short: "Play a scenario on several plans and show them side by side", args: cobra.NoArgs,
		long: `
Plays a scenario on several plans, once for each effect, and shows how many hosts are harmed, on average and in the worst of a hundred
runs, and how long a good update takes. Everything else is as in 'firebreak sim run'.`,
		example: "firebreak sim compare --scenario crowdstrike-2024-07-19 --plan content --plan emergency --runs 50",
		run: func(ctx context.Context, _ []string) error {
			if len(names) == 0 {
				return usage(g.command, "%s: --plan is missing", g.command.CommandPath()).Hint("Those that come with Firebreak: firebreak plan shipped.")
			}
			return p.compare(ctx, &g, names, effects)
		},
	})
	g.flags(10)
	flags := g.command.Flags()
	flags.StringArrayVar(&names, "plan", nil, "plan that comes with Firebreak, or a file; repeat it")
	flags.Float64SliceVar(&effects, "effects", effects, "shares of the concerned hosts that are harmed")
	_ = g.command.RegisterFlagCompletionFunc("plan", planNames)
	return g.command
}

func (p *program) compare(ctx context.Context, g *game, names []string, effects []float64) error {
	s, err := p.scene(g)
	if err != nil {
		return err
	}
	var all []plan.Plan
	for _, name := range names {
		wanted, err := p.planOf(name)
		if err != nil {
			return err
		}
		all = append(all, wanted)
	}
	if err := checkEffects(s, effects); err != nil {
		return err
	}
	s.Defences.Validator = false // the table would be of zeros
	answer := comparison{Scenario: s.Name, Hosts: s.Fleet.Hosts, Seed: g.seed, Runs: g.runs, Defences: s.Defences.String()}
	failed := error(nil)
	for _, wanted := range all {
		var column comparedPlan
		if column, failed = p.column(ctx, g, s, wanted, effects); failed != nil && ctx.Err() == nil {
			return failed
		}
		answer.Plans = append(answer.Plans, column)
		if failed != nil {
			break
		}
	}
	if err := p.show(answer, func() { p.sayCompared(answer, effects) }); err != nil || failed == nil {
		return err
	}
	_, _ = fmt.Fprintln(p.Err, "interrupted; what is missing was not played to its end")
	return exitCode(ExitInterrupted)
}

func checkEffects(s sim.Scenario, effects []float64) error {
	var problems []fault.Problem
	for i, effect := range effects {
		s.Fault.Effect = effect
		for _, problem := range s.Check() {
			problem.Path = fmt.Sprintf("--effects[%d]", i)
			problems = append(problems, problem)
		}
	}
	return fault.Problems("compare plans", problems)
}

// column plays all effects on one plan, and at last a good update.
func (p *program) column(ctx context.Context, g *game, s sim.Scenario, wanted plan.Plan, effects []float64) (comparedPlan, error) {
	c := comparedPlan{Plan: wanted.Name}
	for i, effect := range effects {
		s.Fault.Effect = effect
		sum, err := p.many(ctx, g, s, wanted, i == len(effects)-1)
		if sum.Runs > 0 {
			c.Effects = append(c.Effects, played{
				Summary: sum, Seed: g.seed, Effect: effect, Silent: !s.Fault.Reports, Defences: s.Defences.String(), Day: s.Day.Hosts,
			})
		}
		if err != nil {
			return c, err
		}
		c.HoursIfGood = sum.HoursIfGood
	}
	return c, nil
}

func (p *program) sayCompared(r comparison, effects []float64) {
	p.say("%s", p.styleOf(p.Out).bold(r.Scenario))
	p.paragraph("", fmt.Sprintf("%s hosts, %s each from seed %d, %s. Harmed hosts: mean, and the 99th percentile.", thousands(r.Hosts),
		plural(int64(r.Runs), "run"), r.Seed, r.Defences))
	p.say("")
	head := []string{"EFFECT"}
	for _, c := range r.Plans {
		head = append(head, cut(c.Plan, 20))
	}
	t := newTable(head...)
	for i, effect := range effects {
		row := []string{strconv.FormatFloat(effect*100, 'g', 3, 64) + " %"}
		for _, c := range r.Plans {
			cell := "-"
			if i < len(c.Effects) {
				cell = figure(c.Effects[i].Harmed.Mean) + "  p99 " + figure(c.Effects[i].Harmed.P99)
			}
			row = append(row, cell)
		}
		t.add(row...)
	}
	good := []string{"good"}
	for _, c := range r.Plans {
		good = append(good, goodIn(c.HoursIfGood))
	}
	t.add(good...)
	t.print(p)
}
