package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/sim"
)

func (p *program) simCommand() *cobra.Command {
	c := group("sim", "Play bad days: what a release would have done on a plan", `
Plays rollouts on a fleet that is only modelled, with the same decisions as the control plane: which hosts get a lease and when, what
their reports and their silence say, when the rollout is halted. 17 incidents come with Firebreak as scenarios. Needs no server.`)
	c.AddCommand(p.simRun(), p.simCompare(), p.simList(), p.simShow())
	return c
}

// listedScenario is one scenario as `sim list --json` prints it.
type listedScenario struct {
	Name    string `json:"name"`
	Title   string `json:"title"`
	Start   string `json:"start"`
	Hosts   int64  `json:"hosts"`
	Harmed  int64  `json:"harmed,omitempty"` // that day
	Plan    string `json:"plan"`
	Stopped string `json:"stopped,omitempty"`
}

func (p *program) simList() *cobra.Command {
	return p.leaf(command{
		use: "list", short: "List the scenarios, and what would have stopped each", args: cobra.NoArgs,
		long: `Lists the scenarios that come with Firebreak: when it was, how many hosts are simulated, and what would have stopped it.`, example: "firebreak sim list",
		run: func(context.Context, []string) error {
			var all []listedScenario
			for _, name := range sim.Names() {
				s, err := sim.Named(name)
				if err != nil {
					return err
				}
				all = append(all, listedScenario{
					Name: s.Name, Title: s.Title, Start: s.Start.UTC().Format(time.RFC3339), Hosts: s.Fleet.Hosts, Harmed: s.Day.Hosts, Plan: s.Plan,
					Stopped: s.Stopped,
				})
			}
			return p.show(all, func() {
				t := newTable("NAME", "DATE", "HOSTS", "PLAN")
				for _, s := range all {
					t.add(s.Name, s.Start[:len("2006-01-02")], thousands(s.Hosts), s.Plan)
					t.note(sentence(s.Title, s.Stopped))
				}
				t.print(p)
			})
		},
	})
}

// sentence is what a scenario was, and what would have stopped it.
func sentence(title, stopped string) string {
	if stopped == "" {
		return title
	}
	return title + ". Would have stopped it: " + stopped
}

func (p *program) simShow() *cobra.Command {
	return p.leaf(command{
		use: "show NAME", short: "Show the file of a scenario", args: cobra.ExactArgs(1), lists: "firebreak sim list",
		long: `
Prints the file of a scenario that comes with Firebreak, with what is known of the day and what is assumed: copy it, change it, and play
it with 'firebreak sim run --scenario-file'. With --json the scenario with its defaults filled in.`,
		example: "firebreak sim show crowdstrike-2024-07-19 > mine.yaml\nfirebreak sim run --scenario-file mine.yaml",
		ids:     scenarioNames,
		run: func(_ context.Context, args []string) error {
			data, err := sim.Source(args[0])
			if err != nil {
				return err
			}
			s, err := sim.Named(args[0])
			if err != nil {
				return err
			}
			document := struct {
				Kind string       `json:"kind"`
				Spec sim.Scenario `json:"spec"`
			}{"Scenario", s}
			return p.show(document, func() { p.say("%s", strings.TrimRight(string(data), "\n")) })
		},
	})
}

func scenarioNames(context.Context) ([]string, error) { return sim.Names(), nil }

// thousands writes a whole number with commas: 8,500,000.
func thousands(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
