package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func (p *program) freezeCommand() *cobra.Command {
	c := group("freeze", "Say when no rollout exposes anybody", `
A freeze is a span of time in which no host of the installation gets a new release, whatever the plan. What is under way
goes on: outcomes are counted, rings bake, the breaker trips, halts and rollbacks work. Freezes are also documents of kind
Freezes for 'firebreak apply'; a plan can have a calendar of its own.`)
	c.AddCommand(p.freezeList(), p.freezeAdd(), p.freezeRemove())
	return c
}

func (p *program) freezeList() *cobra.Command {
	return p.leaf(command{
		use: "list", short: "List the freezes, with those that hold now", args: cobra.NoArgs,
		long: `Lists the installation's freezes, numbered, and says which hold now.`, example: "firebreak freeze list",
		run: func(ctx context.Context, _ []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			freezes, err := c.Freezes(ctx)
			if err != nil {
				return err
			}
			return p.show(freezes, func() {
				t := newTable("N", "FROM", "TO", "ZONE", "NOW", "NAME")
				for i, f := range freezes.Freezes {
					t.add(strconv.Itoa(i+1), f.From, f.To, zoneOf(f), p.standing(f), f.Name)
				}
				t.print(p)
			})
		},
	})
}

func (p *program) freezeAdd() *cobra.Command {
	var f api.Freeze
	c := p.leaf(command{
		use: "add", short: "Add a freeze", args: cobra.NoArgs,
		long: `
Adds a freeze. Times are as the clock on a wall of --zone shows them: "2026-12-20" or "2026-12-20T18:00". A date alone in
--to is that whole day. The reason is the freeze's name: people read it when they ask why nothing moves.`,
		example: "firebreak freeze add --from 2026-12-20 --to 2027-01-06 --zone Europe/Vienna --reason Christmas",
		run: func(ctx context.Context, _ []string) error {
			if err := fault.Problems("read freeze", named(server.CheckFreezes([]calendar.Freeze{freezeOf(f)}))); err != nil {
				return err
			}
			return p.changeFreezes(ctx, func(freezes []api.Freeze) ([]api.Freeze, string, error) {
				if slices.Contains(freezes, f) {
					return nil, "", fault.New(fault.Conflict, "add freeze %q: it is there already", f.Name)
				}
				return append(freezes, f), fmt.Sprintf("freeze %q added: %s to %s %s", f.Name, f.From, f.To, zoneOf(f)), nil
			})
		},
	})
	flags := c.Flags()
	flags.StringVar(&f.From, "from", "", "first day, or day and time")
	flags.StringVar(&f.To, "to", "", "last day, or day and time of the end")
	flags.StringVar(&f.Zone, "zone", "", "IANA name of the zone of these times (default UTC)")
	flags.StringVar(&f.Name, "reason", "", "why; the freeze is listed and removed by it")
	return c
}

// named gives the problems of a freeze the names of the flags.
func named(problems []fault.Problem) []fault.Problem {
	for i := range problems {
		for field, flag := range map[string]string{"from": "--from", "to": "--to", "zone": "--zone", "name": "--reason"} {
			if problems[i].Path == "freezes[0]."+field {
				problems[i].Path = flag
			}
		}
	}
	return problems
}

func (p *program) freezeRemove() *cobra.Command {
	return p.leaf(command{
		use: "remove N|NAME", short: "Remove a freeze, by its number or its name", args: cobra.ExactArgs(1), lists: "firebreak freeze list",
		long: `Removes a freeze. If it holds now and no other does, rollouts go on at once.`, example: "firebreak freeze remove Christmas",
		run: func(ctx context.Context, args []string) error {
			return p.changeFreezes(ctx, func(freezes []api.Freeze) ([]api.Freeze, string, error) {
				i, err := find(freezes, args[0])
				if err != nil {
					return nil, "", err
				}
				f := freezes[i]
				return slices.Delete(freezes, i, i+1), fmt.Sprintf("freeze %q removed: %s to %s %s", f.Name, f.From, f.To, zoneOf(f)), nil
			})
		},
	})
}

// find is the place of a freeze by its name or, if none has that name, by its number.
func find(freezes []api.Freeze, what string) (int, error) {
	var found []int
	for i, f := range freezes {
		if f.Name == what {
			found = append(found, i)
		}
	}
	n, err := strconv.Atoi(what)
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return 0, fault.New(fault.Conflict, "find freeze %q: %d have that name", what, len(found)).
			Hint("Say which by its number: firebreak freeze list.")
	case err == nil && n >= 1 && n <= len(freezes):
		return n - 1, nil
	}
	return 0, fault.New(fault.NotFound, "find freeze %q: there is none of that name or number", what)
}

// changeFreezes stores what change makes of the freezes, and says what it says, unless somebody else changes them meanwhile.
func (p *program) changeFreezes(ctx context.Context, change func([]api.Freeze) ([]api.Freeze, string, error)) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	freezes, err := c.Freezes(ctx)
	if err != nil {
		return err
	}
	var said string
	if freezes.Freezes, said, err = change(freezes.Freezes); err != nil {
		return err
	}
	stored, err := c.PutFreezes(ctx, freezes)
	if err != nil {
		return err
	}
	return p.show(stored, func() { p.say("%s", said) })
}

// standing is whether a freeze holds now.
func (p *program) standing(f api.Freeze) string {
	shut := calendar.Calendar{Freezes: []calendar.Freeze{freezeOf(f)}}.At(p.Clock.Now())
	switch {
	case shut.Closed:
		return "frozen"
	case shut.Until.IsZero():
		return "over"
	}
	return "to come"
}

func freezeOf(f api.Freeze) calendar.Freeze {
	return calendar.Freeze{Name: f.Name, From: calendar.Date(f.From), To: calendar.Date(f.To), Zone: f.Zone}
}

func zoneOf(f api.Freeze) string {
	if f.Zone == "" {
		return "UTC"
	}
	return f.Zone
}

// applyFreezes replaces the installation's freezes by those of a document.
func applyFreezes(ctx context.Context, c *client.Client, wanted api.Freezes, dry bool) (applied, error) {
	r := applied{Kind: kindFreezes}
	have, err := c.Freezes(ctx)
	if err != nil {
		return r, err
	}
	if err = r.compare(asJSON(have.Freezes), asJSON(wanted.Freezes), nil); err != nil || dry || r.Result == "unchanged" {
		return r, err
	}
	wanted.Tag = have.Tag
	_, err = c.PutFreezes(ctx, wanted)
	return r, err
}
