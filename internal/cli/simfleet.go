package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/sim"
)

const fleetNow = "now"

// foreseen is what a plan would do on a fleet, as `plan simulate --json` prints it.
type foreseen struct {
	Plan        string    `json:"plan"`
	Component   string    `json:"component,omitempty"`
	Taken       time.Time `json:"taken"` // when the fleet was counted
	Hosts       int64     `json:"hosts"`
	Online      int64     `json:"online"`
	Sites       int64     `json:"sites"`
	Tenants     int64     `json:"tenants"`
	Seed        uint64    `json:"seed"`
	Cases       []hazard  `json:"cases"`
	HoursIfGood float64   `json:"hours_if_good,omitempty"`
	Waiting     string    `json:"waiting,omitempty"` // what a good update waits for in the end, if it does not get done
}

// hazard is one thing that may be wrong with a release, and what came of it.
type hazard struct {
	Case      string `json:"case"`
	Stratum   string `json:"stratum,omitempty"`   // if it is only in this one
	Concerned int64  `json:"concerned,omitempty"` // hosts of it
	sim.Summary

	fault     sim.Fault
	inStratum bool // only in one stratum
}

func (p *program) planSimulate() *cobra.Command {
	var g game
	var fleet, component string
	var effects []float64
	g.command = p.leaf(command{
		use: "simulate PLAN --fleet now", short: "Say what a bad release would cost the fleet on a plan", args: cobra.ExactArgs(1),
		long: `
Plays bad releases and a good one on a plan and on your own fleet as it is now: its strata, sites, tenants and classes, and as much of it
online as was heard in the last quarter of an hour. Says how many hosts would be harmed before the rollout is halted, and how long a good
release takes.

PLAN is a plan that the control plane keeps, one that comes with Firebreak, or a file. --fleet can also be a file that 'firebreak fleet
profile --json' printed; then no server is needed.`,
		example: "firebreak plan simulate careful --fleet now --component sensor-content\n" +
			"firebreak plan simulate careful.yaml --fleet fleet.json --effect 1,0.2",
		ids: p.planIDs, lists: "firebreak plan list",
		run: func(ctx context.Context, args []string) error {
			profile, wanted, err := p.fleetAndPlan(ctx, fleet, component, args[0])
			if err != nil {
				return err
			}
			return p.foresee(ctx, &g, profile, wanted, hazards(effects))
		},
	})
	flags := g.command.Flags()
	flags.StringVar(&fleet, "fleet", fleetNow, "now: as the control plane knows it; or the file of a fleet profile")
	flags.StringVar(&component, "component", "", "only hosts that have this component (default: all)")
	flags.Float64SliceVar(&effects, "effect", nil, "shares of the hosts that a bad release harms (default: all, a tenth, one stratum)")
	g.playing(20)
	return g.command
}

func (p *program) planIDs(ctx context.Context) ([]string, error) {
	c, err := p.connect()
	if err != nil {
		return nil, err
	}
	stored, err := c.Plans(ctx)
	names := make([]string, len(stored))
	for i, s := range stored {
		names[i] = s.Name
	}
	return names, err
}

// fleetAndPlan are those that the arguments name. A plan that the control plane keeps comes before one that comes with Firebreak.
func (p *program) fleetAndPlan(ctx context.Context, fleet, component, name string) (api.FleetProfile, plan.Plan, error) {
	if fleet != fleetNow {
		profile, err := p.readProfile(fleet)
		if err != nil {
			return profile, plan.Plan{}, err
		}
		wanted, err := p.planOf(name)
		return profile, wanted, err
	}
	c, err := p.connect()
	if err != nil {
		return api.FleetProfile{}, plan.Plan{}, err
	}
	profile, err := c.FleetProfile(ctx, component)
	if err != nil {
		return profile, plan.Plan{}, err
	}
	wanted, err := storedPlan(ctx, c, name)
	if client.KindOf(err) == client.NotFound || client.KindOf(err) == client.Invalid { // a path is no name
		wanted, err = p.planOf(name)
	}
	return profile, wanted, err
}

func storedPlan(ctx context.Context, c *client.Client, name string) (plan.Plan, error) {
	stored, err := c.Plan(ctx, name)
	if err != nil {
		return plan.Plan{}, err
	}
	var wanted plan.Plan
	if err := json.Unmarshal(stored.Plan, &wanted); err != nil {
		return plan.Plan{}, fmt.Errorf("read plan %s from the server: %w", name, err)
	}
	return wanted, nil
}

// readProfile reads a fleet profile as the control plane gives it. It may be larger than documents that people write.
func (p *program) readProfile(file string) (api.FleetProfile, error) {
	data, err := p.readFile(file)
	if err != nil {
		return api.FleetProfile{}, err
	}
	var profile api.FleetProfile
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&profile); err != nil {
		return profile, fault.New(fault.Invalid, "read fleet profile %s: %w", file, err).Hint("Make one: firebreak fleet profile --json > fleet.json.")
	}
	return profile, nil
}

// hazards are what is played: those of the effects, or the usual ones.
func hazards(effects []float64) []hazard {
	if len(effects) == 0 {
		return []hazard{
			{Case: "every host, and it is reported", fault: sim.Fault{Effect: 1, Reports: true}},
			{Case: "every host, silent", fault: sim.Fault{Effect: 1}},
			{Case: "one host in 10, silent", fault: sim.Fault{Effect: 0.1}},
			{Case: "one stratum, silent", fault: sim.Fault{Effect: 1}, inStratum: true},
		}
	}
	var all []hazard
	for _, effect := range effects {
		all = append(all, hazard{Case: percent(effect) + " of hosts, and it is reported", fault: sim.Fault{Effect: effect, Reports: true}},
			hazard{Case: percent(effect) + " of hosts, silent", fault: sim.Fault{Effect: effect}})
	}
	return all
}

// foresee plays the hazards and a good release on a fleet. When somebody interrupts it, it shows what is done.
func (p *program) foresee(ctx context.Context, g *game, profile api.FleetProfile, wanted plan.Plan, cases []hazard) error {
	s, err := sim.FromProfile(profile, sim.Fault{})
	if err != nil {
		return err
	}
	answer := foreseen{
		Plan: wanted.Name, Component: profile.Component, Taken: profile.Taken, Seed: g.seed,
		Hosts: s.Fleet.Hosts, Sites: s.Fleet.Sites, Tenants: s.Fleet.Tenants,
	}
	for _, group := range profile.Groups {
		answer.Online += group.Heard
	}
	answer.Cases, err = p.endure(ctx, g, s, wanted, cases)
	if err == nil {
		err = p.foreseeGood(ctx, g, s, wanted, &answer)
	}
	interrupted := err != nil && ctx.Err() != nil
	if err != nil && !interrupted {
		return err
	}
	if err := p.show(answer, func() { p.sayForeseen(answer) }); err != nil || !interrupted {
		return err
	}
	_, _ = fmt.Fprintln(p.Err, "interrupted; what is missing was not played to its end")
	return exitCode(ExitInterrupted)
}

// endure plays hazards on a fleet. One in a single stratum is left out where no stratum is a small part of the fleet.
func (p *program) endure(ctx context.Context, g *game, s sim.Scenario, wanted plan.Plan, cases []hazard) ([]hazard, error) {
	var done []hazard
	for _, k := range cases {
		if k.fault.Effect < 0 || k.fault.Effect > 1 {
			return nil, fault.New(fault.Invalid, "simulate plan %s: --effect is a share; must be between 0 and 1, is %g", wanted.Name, k.fault.Effect)
		}
		s.Fault = k.fault
		played := s.Defaulted()
		if k.inStratum {
			if played, k.Stratum, k.Concerned = played.InStratum(wanted.Strata); k.Concerned == 0 {
				continue
			}
		}
		var err error
		if k.Summary, err = p.many(ctx, g, played, wanted, false); k.Runs > 0 {
			done = append(done, k)
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (p *program) foreseeGood(ctx context.Context, g *game, s sim.Scenario, wanted plan.Plan, answer *foreseen) error {
	r, err := sim.Run(ctx, s, wanted, g.seed, sim.Options{Horizon: horizon(wanted), Brief: true})
	if err == nil && r.Done == 0 {
		answer.Waiting = first(r.Waiting, r.Phase)
	}
	answer.HoursIfGood = r.Done / 60
	return err
}

func (p *program) sayForeseen(r foreseen) {
	p.say("plan %s on your fleet as of %s", p.styleOf(p.Out).bold(r.Plan), stamp(r.Taken))
	with := ""
	if r.Component != "" {
		with = " with " + r.Component
	}
	p.paragraph("", fmt.Sprintf("%s%s, %s online, %s, %s; seed %d", plural(r.Hosts, "host"), with, thousands(r.Online),
		plural(r.Sites, "site"), plural(r.Tenants, "tenant"), r.Seed))
	p.say("")
	t := newTable("A RELEASE THAT HARMS", "HARMED: MEAN", "P99", "MINUTES TO HALT", "STOPPED")
	for _, k := range r.Cases {
		t.add(k.Case, figure(k.Harmed.Mean), figure(k.Harmed.P99), figure(k.MinutesToHalt.Mean), fmt.Sprintf("%d/%d", k.HaltedRuns+k.HeldRuns, k.Runs))
	}
	t.print(p)
	for _, k := range r.Cases {
		if k.Stratum != "" {
			p.paragraph("", fmt.Sprintf("The stratum has %s: %s.", plural(k.Concerned, "host"), k.Stratum))
		}
	}
	p.say("")
	if r.Waiting != "" {
		p.paragraph("", "A good release is not through within a day. It waits: "+r.Waiting+".")
	} else {
		p.say("A good release on the hosts that are online: %s.", goodIn(r.HoursIfGood))
	}
	p.paragraph("", "Assumed: "+sim.Assumed)
}

const (
	predictWithin = 2 * time.Second // before a rollout is started; a good one may be cut off
	predictRuns   = 10
)

// predict says what to expect of a rollout that is about to be started. It never keeps anybody from starting it.
func (p *program) predict(ctx context.Context, c *client.Client, start api.StartRollout) {
	wanted, err := planToBe(ctx, c, start)
	if err != nil {
		return // the start itself says what is wrong
	}
	profile, err := c.FleetProfile(ctx, start.Component)
	if err != nil {
		p.paragraph("no prediction: ", err.Error())
		return
	}
	s, err := sim.FromProfile(profile, sim.Fault{Effect: 1})
	if err != nil {
		p.paragraph("no prediction: ", err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(ctx, predictWithin)
	defer cancel()
	g := &game{runs: predictRuns, seed: defaultSeed}
	if g.workers, err = p.workers(g, s); err != nil {
		p.paragraph("no prediction: ", err.Error())
		return
	}
	sum, _ := sim.Many(ctx, s, wanted, sim.ManyOptions{Options: sim.Options{Horizon: horizon(wanted)}, Runs: g.runs, Seed: g.seed, Workers: g.workers})
	if sum.Runs == 0 {
		p.say("no prediction: the fleet is too large to play in %s; see: firebreak plan simulate", predictWithin)
		return
	}
	p.say("%s", predicted(sum))
	s.Fault.Effect = 0
	good, _ := sim.Run(ctx, s, wanted, defaultSeed, sim.Options{Horizon: horizon(wanted), Brief: true})
	switch {
	case good.Done > 0:
		p.say("            a good one is through in about %s on the hosts that are online", span(time.Duration(math.Ceil(good.Done))*time.Minute))
	case ctx.Err() == nil:
		p.paragraph("            ", "a good one is not through within a day; it waits: "+first(good.Waiting, good.Phase))
	}
}

// predicted is the prediction about a bad release, of the kind that is found last: hosts fall silent and nobody reports why.
func predicted(sum sim.Summary) string {
	reach := fmt.Sprintf("prediction: a bad release that silences every host reaches about %s", plural(int64(math.Ceil(sum.Exposed.Mean)), "host"))
	if sum.HaltedRuns < sum.Runs {
		reach += fmt.Sprintf(";\n            %d of %d runs are halted", sum.HaltedRuns, sum.Runs)
	}
	return reach
}

// planToBe is the plan that a rollout will have: the stored one that is named, or the one that was signed with the release.
func planToBe(ctx context.Context, c *client.Client, start api.StartRollout) (plan.Plan, error) {
	if start.Plan != "" {
		return storedPlan(ctx, c, start.Plan)
	}
	r, err := c.Release(ctx, start.Component, start.Version)
	if err != nil {
		return plan.Plan{}, err
	}
	var manifest struct {
		Plan plan.Plan `json:"plan"`
	}
	if err := json.Unmarshal(r.Document, &manifest); err != nil {
		return plan.Plan{}, fmt.Errorf("read manifest of %s %s from the server: %w", start.Component, start.Version, err)
	}
	return manifest.Plan.Defaulted(), nil
}
