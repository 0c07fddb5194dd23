package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
)

func (p *program) incidentCommand() *cobra.Command {
	c := group("incident", "Look at incidents", `An incident is the record opened by a trip: who was harmed, what was decided when, and on which evidence.`)
	c.AddCommand(p.incidentList(), p.incidentShow(), p.incidentExport(), p.incidentClose())
	return c
}

func (p *program) incidentList() *cobra.Command {
	var open bool
	c := p.leaf(command{
		use: "list", short: "List incidents", args: cobra.NoArgs,
		long: `Lists incidents, newest first as the control plane keeps them.`, example: "firebreak incident list --open",
		run: func(ctx context.Context, _ []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			all, err := c.Incidents(ctx)
			if err != nil {
				return err
			}
			incidents := []api.Incident{}
			for _, i := range all {
				if !open || i.Closed == nil {
					incidents = append(incidents, i)
				}
			}
			return p.show(incidents, func() {
				t := newTable("ID", "OPENED", "STATE", "TITLE")
				for _, i := range incidents {
					t.add(i.ID, stamp(i.Opened), incidentState(i), i.Title)
				}
				t.print(p)
			})
		},
	})
	c.Flags().BoolVar(&open, "open", false, "only those that are open")
	return c
}

func incidentState(i api.Incident) string {
	if i.Closed != nil {
		return "closed"
	}
	return "open"
}

func (p *program) incidentShow() *cobra.Command {
	return p.leaf(command{
		use: "show ID", short: "Show an incident: harmed hosts, timeline, evidence", args: cobra.ExactArgs(1), lists: "firebreak incident list",
		long:    `Shows an incident from stored records alone.`,
		example: "firebreak incident show inc-4q2kd7x0ab",
		ids:     p.incidentIDs,
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			i, err := c.Incident(ctx, args[0])
			if err != nil {
				return err
			}
			return p.show(i, func() { p.sayIncident(i) })
		},
	})
}

func (p *program) incidentClose() *cobra.Command {
	var note string
	c := p.leaf(command{
		use: "close ID", short: "Note that people are done with an incident", args: cobra.ExactArgs(1), lists: "firebreak incident list --open",
		long: `
Notes that people are done with an incident, who says so and why. It changes nothing else: the release stays recalled. Closing it again
leaves it as it is.`,
		example: "firebreak incident close inc-4q2kd7x0ab --note 'mended in 2024.7.20, see the post-mortem'", ids: p.incidentIDs,
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			i, err := c.CloseIncident(ctx, args[0], note)
			if err != nil {
				return err
			}
			return p.show(i, func() { p.say("incident %s is closed since %s%s", i.ID, stampOf(i.Closed), closer(i)) })
		},
	})
	c.Flags().StringVar(&note, "note", "", "what came of it, for the record")
	return c
}

// closer says who closed an incident and why.
func closer(i api.Incident) string {
	text := ""
	if i.ClosedBy != "" {
		text = ", by " + i.ClosedBy
	}
	if i.Note != "" {
		text += ": " + i.Note
	}
	return text
}

func (p *program) incidentIDs(ctx context.Context) ([]string, error) {
	c, err := p.connect()
	if err != nil {
		return nil, err
	}
	incidents, err := c.Incidents(ctx)
	ids := make([]string, len(incidents))
	for i, in := range incidents {
		ids[i] = in.ID + "\t" + in.Title
	}
	return ids, err
}

func (p *program) sayIncident(i api.Incident) {
	i = cleaned(i)
	style := p.styleOf(p.Out)
	for _, line := range wrap(i.ID+"  ", i.Title, p.width()-1) {
		p.say("%s", style.red(line))
	}
	p.sayFitting(fmt.Sprintf("%s %s, rollout %s, opened %s, %s", i.Component, i.Version, i.Rollout, stamp(i.Opened), incidentState(i)))
	if i.Closed != nil {
		p.paragraph("", "closed "+stampOf(i.Closed)+closer(i))
	}
	if s := i.Summary; s != nil {
		p.sayFitting(fmt.Sprintf("exposed %d of %d, harmed %d, recovered %d, returned %d; E %s against %s", s.Exposed, s.Eligible, s.Harmed, s.Recovered,
			s.Returned, evidence(s.Evidence), evidence(s.Trip)))
		if s.FirstHarm != nil && s.Ended != nil {
			p.say("halted %.1f s after the first harm", s.Ended.Sub(*s.FirstHarm).Seconds())
		}
	}
	if len(i.Harmed) > 0 {
		p.say("")
		rings := map[string][]api.Ring{}
		if i.Summary != nil {
			rings[i.Rollout] = i.Summary.Rings
		}
		p.sayLeases(i.Harmed, func(l api.LeaseStatus) string { return l.Endpoint }, "HARMED", rings)
	}
	p.sayCrashes(i.Crashes)
	p.say("")
	for _, d := range i.Timeline {
		for _, r := range d.Records {
			for _, line := range wrap(fmt.Sprintf("%s  %-15s ", d.At.UTC().Format("15:04:05.000"), r.Verdict), r.Reason, p.width()-1) {
				p.say("%s", line)
			}
		}
	}
}

// sayCrashes prints what the harmed hosts found, equal crashes in one line.
func (p *program) sayCrashes(crashes []api.CrashCluster) {
	if len(crashes) == 0 {
		return
	}
	p.say("")
	t := newTable("HOSTS", "CRASH", "FIRST", "ENDED BY", "SAID")
	for _, c := range crashes {
		by := "signal " + c.Signal
		switch {
		case c.Signal != "":
		case c.Status < 0:
			by = "no start"
		default:
			by = fmt.Sprintf("status %d", c.Status)
		}
		t.add(thousands(c.Hosts), orDash(c.Signature), p.when(c.First), by, orDash(c.Headline))
	}
	t.print(p)
}
