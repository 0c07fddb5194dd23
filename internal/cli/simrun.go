package cli

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/sim"
	"github.com/firebreak-dev/firebreak/plans"
)

// game is what is played, as flags say it.
type game struct {
	scenario, file, hosts string
	effect, strata        float64
	silent                bool
	with, without         []string
	runs                  int
	seed                  uint64
	workers               int
	command               *cobra.Command // whose flags these are
}

const (
	defaultSeed = 1
	maxRuns     = 1_000_000
)

func (g *game) flags(runs int) {
	flags := g.command.Flags()
	flags.StringVar(&g.scenario, "scenario", "", "name of a scenario ('firebreak sim list')")
	flags.StringVar(&g.file, "scenario-file", "", "file of a scenario of your own; \"-\" reads standard input")
	flags.StringVar(&g.hosts, "hosts", "", "hosts in the fleet: 8500000, 8.5M or 20k (default: the scenario's); sites grow and shrink with it")
	flags.BoolVar(&g.silent, "silent", false, "harmed hosts only fall silent: nothing is ever reported")
	flags.StringSliceVar(&g.without, "without", nil, "defences to take away: validation, rings, breaker, recovery (validation unless --with has it)")
	flags.StringSliceVar(&g.with, "with", nil, "defences to have, of the same")
	flags.Float64Var(&g.strata, "strata", 0, "share of the strata that are concerned (default: the scenario's)")
	g.playing(runs)
	_ = g.command.RegisterFlagCompletionFunc("scenario", cobra.FixedCompletions(sim.Names(), cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"with", "without"} {
		_ = g.command.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(defences(), cobra.ShellCompDirectiveNoFileComp))
	}
}

// playing are the flags of everything that plays runs.
func (g *game) playing(runs int) {
	flags := g.command.Flags()
	flags.IntVar(&g.runs, "runs", runs, "how often to play it")
	flags.Uint64Var(&g.seed, "seed", defaultSeed, "run k has this seed plus k: the same seed gives the same figures on any machine")
	flags.IntVar(&g.workers, "workers", 0, "runs at a time (default: as many as there are cores and memory for)")
}

func defences() []string { return []string{"validation", "rings", "breaker", "recovery"} }

// scene is the scenario with everything that flags change in it.
func (p *program) scene(g *game) (sim.Scenario, error) {
	s, err := p.scenarioOf(g)
	if err != nil {
		return s, err
	}
	if g.command.Flags().Changed("hosts") {
		n, err := count(g.hosts)
		if err != nil {
			return s, err
		}
		s = s.Sized(n)
	}
	if g.command.Flags().Changed("effect") {
		s.Fault.Effect = g.effect
	}
	if g.command.Flags().Changed("strata") {
		s.Fault.Strata = g.strata
	}
	s.Fault.Reports = s.Fault.Reports && !g.silent
	if err := g.defend(&s.Defences); err != nil {
		return s, err
	}
	return s, fault.Problems("simulate "+s.Name, s.Check())
}

func (p *program) scenarioOf(g *game) (sim.Scenario, error) {
	switch {
	case (g.scenario == "") == (g.file == ""):
		return sim.Scenario{}, usage(g.command, "%s: give either --scenario or --scenario-file", g.command.CommandPath()).
			Hint("List what there is: firebreak sim list.")
	case g.scenario != "":
		return sim.Named(g.scenario)
	}
	data, err := p.readFile(g.file)
	if err != nil {
		return sim.Scenario{}, err
	}
	name := g.file
	if name == "-" {
		name = "standard input"
	}
	return sim.Load(name, data)
}

// defend switches defences on and off. Validation is off unless it is asked for: what a rollout does is the question once validation has
// let the release through, as it did that day.
func (g *game) defend(d *sim.Defences) error {
	switches := map[string]*bool{"validation": &d.NoValidation, "rings": &d.NoRings, "breaker": &d.NoBreaker, "recovery": &d.NoRecovery}
	d.NoValidation = true
	var problems []fault.Problem
	for _, change := range []struct {
		flag  string
		names []string
		off   bool
	}{{"--with", g.with, false}, {"--without", g.without, true}} {
		for _, name := range change.names {
			field, known := switches[name]
			if !known {
				problems = append(problems, fault.Problem{Path: change.flag, Message: fmt.Sprintf("there is no defence %q; use %s", name,
					strings.Join(defences(), ", "))})
				continue
			}
			if !change.off && slices.Contains(g.without, name) {
				problems = append(problems, fault.Problem{Path: change.flag, Message: fmt.Sprintf("%s is in --without too", name)})
			}
			*field = change.off
		}
	}
	return fault.Problems("choose defences", problems)
}

// planOf is a plan by its name, of those that come with Firebreak, or from a file.
func (p *program) planOf(name string) (plan.Plan, error) {
	data, shipped := plans.Named(name)
	file := name + ".yaml"
	if !shipped {
		if _, err := os.Stat(name); err != nil && name != "-" {
			return plan.Plan{}, fault.New(fault.NotFound, "find plan %q: no plan of that name comes with Firebreak, and there is no such file", name).
				Hint("Those that come with it: %s.", strings.Join(plans.Names(), ", "))
		}
		read, err := p.readFile(name)
		if err != nil {
			return plan.Plan{}, err
		}
		data, file = read, name
	}
	all, err := readPlans(file, data)
	if err != nil {
		return plan.Plan{}, err
	}
	if len(all) != 1 {
		return plan.Plan{}, fault.New(fault.Invalid, "read plan: %s holds %d plans; give a file with one", file, len(all))
	}
	return all[0].Defaulted(), nil
}

func planNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return plans.Names(), cobra.ShellCompDirectiveDefault
}

// many plays the runs, with their progress on a terminal.
func (p *program) many(ctx context.Context, g *game, s sim.Scenario, wanted plan.Plan, good bool) (sim.Summary, error) {
	if g.runs < 1 || g.runs > maxRuns {
		return sim.Summary{}, fault.New(fault.Invalid, "simulate %s: --runs must be between 1 and %d, is %d", s.Name, maxRuns, g.runs)
	}
	workers, err := p.workers(g, s)
	if err != nil {
		return sim.Summary{}, err
	}
	bar := p.progressOf("plan "+wanted.Name, int64(g.runs), inRuns())
	defer bar.end()
	exposed := func(hosts int64) {
		bar.then(fmt.Sprintf("a good update: %d %% of the fleet", 100*hosts/max(1, s.Fleet.Hosts)))
	}
	return sim.Many(ctx, s, wanted, sim.ManyOptions{
		Options: sim.Options{Horizon: horizon(wanted), Progress: exposed}, Runs: g.runs, Seed: g.seed, Workers: workers, Good: good, Done: func(finished int) { bar.at(int64(finished)) },
	})
}

// horizon is how long a rollout is played at most: as long as the plan asks for, and a day.
func horizon(wanted plan.Plan) time.Duration {
	last := len(wanted.Rings) - 1
	return 24*time.Hour + wanted.NotBefore(last) + time.Duration(wanted.Rings[last].Evidence.Bake)
}

// workers is how many runs are played at a time. Memory that would not suffice is said before anything begins.
func (p *program) workers(g *game, s sim.Scenario) (int, error) {
	available := int64(0)
	if p.Memory != nil {
		available = p.Memory()
	}
	if g.workers < 0 {
		return 0, fault.New(fault.Invalid, "simulate %s: --workers must not be negative, is %d", s.Name, g.workers)
	}
	n := min(cmp.Or(g.workers, runtime.GOMAXPROCS(0)), g.runs)
	for n > 1 && g.workers == 0 && sim.CheckMemory(s, n, available) != nil {
		n--
	}
	return n, sim.CheckMemory(s, n, available)
}

// played is the figures of one scenario on one plan.
type played struct {
	sim.Summary
	Seed     uint64  `json:"seed"`
	Effect   float64 `json:"effect"`
	Silent   bool    `json:"silent"`
	Defences string  `json:"defences"`
	Rejected bool    `json:"rejected,omitempty"` // by validation: no run was needed
	Day      int64   `json:"day,omitempty"`      // hosts that were harmed that day
}

func (p *program) simRun() *cobra.Command {
	var g game
	var planName, plot string
	g.command = p.leaf(command{
		use: "run --scenario NAME", short: "Play a scenario on a plan, many times", args: cobra.NoArgs,
		long: `
Plays a scenario on a plan and says how many hosts are harmed before the rollout is halted, how many people have to mend by hand, and how
long a good update takes on the same plan. The figures are the same for the same seed, on any machine.

Validation is left out unless --with validation: the question is what a rollout does with a release that validation let through, as on
that day. With it, a release that a check in the real consumer rejects reaches nobody.

Ctrl-C prints what is done (exit code 130).`,
		example: "firebreak sim run --scenario crowdstrike-2024-07-19 --runs 100\n" +
			"firebreak sim run --scenario crowdstrike-2024-07-19 --plan emergency --silent --plot day.svg\n" +
			"firebreak sim run --scenario-file mine.yaml --plan careful.yaml --without rings,breaker --json",
		run: func(ctx context.Context, _ []string) error { return p.runScenario(ctx, &g, planName, plot) },
	})
	g.flags(20)
	flags := g.command.Flags()
	flags.StringVar(&planName, "plan", "", "plan that comes with Firebreak, or a file (default: the scenario's)")
	flags.Float64Var(&g.effect, "effect", 0, "share of the concerned hosts that are harmed (default: the scenario's)")
	flags.StringVar(&plot, "plot", "", "draw the median run beside what happened that day: an SVG file")
	_ = g.command.RegisterFlagCompletionFunc("plan", planNames)
	return g.command
}

func (p *program) runScenario(ctx context.Context, g *game, planName, plot string) error {
	s, err := p.scene(g)
	if err != nil {
		return err
	}
	wanted, err := p.planOf(cmp.Or(planName, s.Plan))
	if err != nil {
		return err
	}
	answer := played{Seed: g.seed, Effect: s.Fault.Effect, Silent: !s.Fault.Reports, Defences: s.Defences.String(), Day: s.Day.Hosts}
	if answer.Rejected = s.Defences.Validator && !s.Defences.NoValidation; answer.Rejected {
		answer.Summary = sim.Summary{Scenario: s.Name, Plan: wanted.Name, Hosts: s.Fleet.Hosts}
		return p.show(answer, func() {
			p.paragraph("", "A check in the real consumer rejects this release: it reaches nobody. Leave out '--with validation' to see what becomes of "+
				"one that passes.")
		})
	}
	sum, err := p.many(ctx, g, s, wanted, true)
	answer.Summary = sum
	interrupted := err != nil && ctx.Err() != nil
	if err != nil && (!interrupted || sum.Runs == 0) {
		return err
	}
	if err := p.show(answer, func() { p.sayPlayed(answer, s, slices.Contains(g.with, "validation")) }); err != nil {
		return err
	}
	if plot != "" {
		if err := p.plot(plot, s, sum); err != nil {
			return err
		}
	}
	return p.unlessInterrupted(interrupted, sum.Runs, g.runs)
}

// unlessInterrupted ends a command that a signal ended, after what was done is printed.
func (p *program) unlessInterrupted(interrupted bool, done, asked int) error {
	if !interrupted {
		return nil
	}
	_, _ = fmt.Fprintf(p.Err, "interrupted after %d of %d runs\n", done, asked)
	return exitCode(ExitInterrupted)
}

func (p *program) sayPlayed(r played, s sim.Scenario, validated bool) {
	style := p.styleOf(p.Out)
	p.say("%s on plan %s", style.bold(r.Scenario), style.bold(r.Plan))
	p.paragraph("", fmt.Sprintf("%s hosts, %s, seed %d; %s; %s", thousands(r.Hosts), plural(int64(r.Runs), "run"), r.Seed, effectOf(s.Fault), r.Defences))
	if validated {
		p.say("No check in the real consumer would have caught this release.")
	}
	p.say("")
	t := newTable("", "MEAN", "P50", "P99", "MAX")
	for _, row := range []struct {
		name  string
		stats sim.Stats
		shown bool
	}{
		{"harmed", r.Harmed, true},
		{"exposed", r.Exposed, true},
		{"minutes to halt", r.MinutesToHalt, r.HaltedRuns+r.HeldRuns > 0},
		{"needs hands", r.NeedsHands, true},
		{"repair hours", r.RepairHours, r.NeedsHands.Max > 0},
	} {
		if row.shown {
			t.add(row.name, figure(row.stats.Mean), figure(row.stats.P50), figure(row.stats.P99), figure(row.stats.Max))
		}
	}
	t.print(p)
	p.say("")
	p.paragraph("", fmt.Sprintf("Runs: %d halted, %d held a part of the fleet, %d wait for a person. False halts: %d.", r.HaltedRuns, r.HeldRuns,
		r.FrozenRuns, r.FalseHalts))
	p.say("A good update on this plan: %s.", goodIn(r.HoursIfGood))
	if r.Day > 0 && s.Fault.Effect > 0 {
		p.paragraph("", fmt.Sprintf("That day %s hosts were harmed; here %s of %s on average.", thousands(r.Day), figure(r.Harmed.Mean),
			thousands(r.Hosts)))
	}
}

// effectOf puts a fault into words.
func effectOf(f sim.Fault) string {
	if f.Effect == 0 {
		return "a release that harms nobody"
	}
	text := percent(f.Effect) + " of hosts harmed"
	if f.Strata < 1 {
		text += " in " + percent(f.Strata) + " of the strata"
	}
	if len(f.Classes) > 0 {
		text += ", only " + strings.Join(f.Classes, " and ")
	}
	if !f.Reports {
		return text + ", which only fall silent"
	}
	return text + ", which report it"
}

func percent(share float64) string { return fmt.Sprintf("%.3g %%", share*100) }

func goodIn(hours float64) string {
	switch {
	case hours == 0:
		return "not played to its end"
	case hours < 1:
		return fmt.Sprintf("done in %.0f min", math.Ceil(hours*60))
	default:
		return fmt.Sprintf("done in %.1f h", hours)
	}
}

// figure writes a number with as many digits as anybody acts on.
func figure(v float64) string {
	switch {
	case v == math.Trunc(v) || v >= 100:
		return thousands(int64(math.Round(v)))
	case v < 0.1:
		return fmt.Sprintf("%.2g", v)
	default:
		return fmt.Sprintf("%.1f", v)
	}
}
