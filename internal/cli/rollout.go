package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func (p *program) rolloutCommand() *cobra.Command {
	c := group("rollout", "Start, watch, stop and explain rollouts", `
A rollout is one release going through one plan. It needs nobody to watch it: it waits for evidence by itself, and a
bad release trips the breaker, which halts, recalls and rolls back. Halting needs nobody's approval.`)
	c.AddCommand(
		p.rolloutStart(), p.rolloutApprove(), p.rolloutWatch(), p.rolloutExplain(), p.rolloutList(), p.rolloutShow(), p.rolloutPlot(),
		p.rolloutAct("pause", "Expose nobody until it is resumed", `
Exposes nobody new until 'firebreak rollout resume'. Hosts that were exposed go on, and the breaker stays armed.`, (*client.Client).Pause),
		p.rolloutAct("resume", "Go on with a paused rollout", `
Goes on with a paused rollout where it stood.`, (*client.Client).Resume),
		p.rolloutHold(), p.rolloutUnhold(),
		p.rolloutAct("halt", "Expose nobody any more; exposed hosts keep the release", `
Ends the exposure for good. Exposed hosts keep what they run; 'firebreak rollout rollback' also puts them back.`, (*client.Client).Halt),
		p.rolloutAct("rollback", "Put exposed hosts back and recall the release for good", `
Ends the exposure for good, puts every exposed host back on what it ran before, and bars the release's bytes from ever
running again anywhere. It also works on halted and complete rollouts.`, (*client.Client).RollBack),
	)
	return c
}

func (p *program) rolloutStart() *cobra.Command {
	var start api.StartRollout
	var watch, blind bool
	var cells string
	c := p.leaf(command{
		use: "start COMPONENT VERSION", short: "Start a rollout of a published release", args: cobra.ExactArgs(2),
		lists: "firebreak release list",
		long: `
Starts a rollout of a published release on the plan that was signed with it, or on a stored plan that is nowhere wider
or faster. A component has at most one rollout under way. On a plan that needs several people to agree, emergency plans
above all, nobody gets the release before 'firebreak rollout approve'.

With --cells it is started in every control plane of a file, each of which waits for its turn as the plan says. Where it runs already it
is left alone, so the same command mends a start that reached only some of them.

For people it first says what to expect, from a short simulation on the fleet as it is now: see 'firebreak plan simulate'.`,
		example: "firebreak rollout start sensor-content 2\nfirebreak rollout start sensor-content 2 --plan careful --reason 'CVE-2026-1' --watch",
		ids:     p.componentNames,
		run: func(ctx context.Context, args []string) error {
			start.Component, start.Version = args[0], args[1]
			if cells != "" {
				return p.startCells(ctx, cells, start)
			}
			c, err := p.connect()
			if err != nil {
				return err
			}
			if !blind && !p.json {
				p.predict(ctx, c, start)
			}
			r, err := c.StartRollout(ctx, start)
			if err != nil {
				return unlessWaiting(ctx, c, err, start.Component, start.Version)
			}
			if watch {
				return p.watch(ctx, c, r.ID, defaultEvery)
			}
			return p.show(r, func() {
				p.say("rollout %s of %s %s is %s on plan %s", r.ID, r.Component, r.Version, r.Phase, r.Plan)
				p.sayNext(r)
			})
		},
	})
	flags := c.Flags()
	flags.StringVar(&start.Plan, "plan", "", "stored plan (default: the one signed with the release)")
	flags.StringVar(&start.Reason, "reason", "", "why, for the record")
	flags.StringVar(&cells, "cells", "", "start it in every cell of this file (see docs/cells.md)")
	flags.BoolVar(&watch, "watch", false, "watch it until it ends")
	flags.BoolVar(&blind, "no-prediction", false, "start at once, without the simulation of 2 s at most")
	return c
}

func (p *program) rolloutAct(name, short, long string, do func(*client.Client, context.Context, string, string) (api.Rollout, error)) *cobra.Command {
	var reason string
	c := p.leaf(command{
		use: name + " ID", short: short, long: long, args: cobra.ExactArgs(1), ids: p.rolloutIDs,
		lists:   "firebreak rollout list",
		example: fmt.Sprintf("firebreak rollout %s ro-4q2k --reason 'looks odd in Graz'", name),
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			r, err := do(c, ctx, args[0], reason)
			if err != nil {
				return hinted(err, fault.Conflict, "See how it stands: firebreak rollout show %s.", args[0])
			}
			return p.show(r, func() {
				p.say("rollout %s of %s %s is %s; %s exposed, %s harmed", r.ID, r.Component, r.Version, words(r.Phase),
					plural(r.Exposed, "host"), fmt.Sprint(r.Harmed))
			})
		},
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return c
}

func (p *program) rolloutList() *cobra.Command {
	var component string
	c := p.leaf(command{
		use: "list", short: "List rollouts, newest first", args: cobra.NoArgs,
		long: `Lists rollouts, newest first.`, example: "firebreak rollout list --component sensor-content",
		run: func(ctx context.Context, _ []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			rollouts, err := c.Rollouts(ctx, component)
			if err != nil {
				return err
			}
			return p.show(rollouts, func() {
				t := newTable("ID", "RELEASE", "PHASE", "STARTED", "CONFIRMED", "HARMED")
				t.elastic, t.shorten = 1, cutRelease
				for _, r := range rollouts {
					t.add(r.ID, r.Component+" "+r.Version, words(r.Phase), p.ago(r.Started), fmt.Sprintf("%d/%d", r.Confirmed, r.Eligible),
						fmt.Sprint(r.Harmed))
				}
				t.print(p)
			})
		},
	})
	c.Flags().StringVar(&component, "component", "", "only of this component")
	return c
}

func (p *program) rolloutShow() *cobra.Command {
	var leases bool
	c := p.leaf(command{
		use: "show [ID]", short: "Show a rollout as it stands, and with --leases every exposed host", args: cobra.MaximumNArgs(1),
		ids: p.rolloutIDs, lists: "firebreak rollout list",
		long: `
Shows rings, outcomes, evidence and why it is waiting, once; without an ID of the newest rollout. With --leases also
every host that got a lease and what became of it.`,
		example: "firebreak rollout show\nfirebreak rollout show ro-4q2k --leases",
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			answer := struct {
				api.Rollout
				Leases []api.LeaseStatus `json:"leases,omitempty"`
			}{}
			id, err := oneOrNewest(ctx, c, args)
			if err != nil {
				return err
			}
			if answer.Rollout, err = c.Rollout(ctx, id); err != nil {
				return err
			}
			if leases {
				if answer.Leases, err = c.Leases(ctx, id); err != nil {
					return err
				}
			}
			return p.show(answer, func() {
				for _, line := range p.frame(answer.Rollout, p.Clock.Now()) {
					p.say("%s", line)
				}
				if answer.Incident != "" {
					p.say("write it down: firebreak incident export %s", answer.Incident)
				}
				for _, h := range answer.Holds {
					p.say("lift the hold: firebreak rollout unhold %s%s", answer.ID, selectFlags(h.Select))
				}
				if leases {
					p.say("")
					p.sayLeases(answer.Leases, func(l api.LeaseStatus) string { return l.Endpoint }, "ENDPOINT",
						map[string][]api.Ring{answer.ID: answer.Rings})
				}
			})
		},
	})
	c.Flags().BoolVar(&leases, "leases", false, "list the leases too")
	return c
}

// cutRelease shortens "component version" at the component, because the version is what people look for.
func cutRelease(text string, width int) string {
	component, version, _ := strings.Cut(text, " ")
	if wide(text) <= width {
		return text
	}
	return cut(component, max(1, width-1-wide(version))) + " " + version
}

// oneOrNewest is the id that was given, or that of the newest rollout.
func oneOrNewest(ctx context.Context, c *client.Client, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	return newest(ctx, c, "")
}

// newest is the id of the newest rollout, of a component if that is not empty.
func newest(ctx context.Context, c *client.Client, component string) (string, error) {
	rollouts, err := c.Rollouts(ctx, component)
	if err != nil {
		return "", err
	}
	if len(rollouts) == 0 {
		return "", fault.New(fault.NotFound, "find the newest rollout: there is none").Hint("Start one: firebreak rollout start COMPONENT VERSION.")
	}
	return rollouts[0].ID, nil
}

func (p *program) rolloutIDs(ctx context.Context) ([]string, error) {
	c, err := p.connect()
	if err != nil {
		return nil, err
	}
	rollouts, err := c.Rollouts(ctx, "")
	ids := make([]string, len(rollouts))
	for i, r := range rollouts {
		ids[i] = fmt.Sprintf("%s\t%s %s, %s", r.ID, r.Component, r.Version, r.Phase)
	}
	return ids, err
}

func (p *program) componentNames(ctx context.Context) ([]string, error) {
	c, err := p.connect()
	if err != nil {
		return nil, err
	}
	components, err := c.Components(ctx)
	names := make([]string, len(components))
	for i, k := range components {
		names[i] = k.Name
	}
	return names, err
}
