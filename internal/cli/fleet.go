package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

func (p *program) fleetCommand() *cobra.Command {
	c := group("fleet", "Look at endpoints", `Shows the endpoints: what each is, what it runs, and which leases it had.`)
	c.AddCommand(p.fleetList(), p.fleetShow(), p.fleetProfile(), p.fleetPlot())
	return c
}

func (p *program) fleetList() *cobra.Command {
	var component, version, tenant, site, missing string
	var posture bool
	var limit int
	c := p.leaf(command{
		use: "list", short: "List endpoints and what they run", args: cobra.NoArgs,
		long: `
Lists endpoints in the order of their ids. --component picks those that have the component, --version those that run
that version of it. --posture shows what each misses to survive a bad update alone, --posture-missing picks those that miss a word; 'firebreak
fleet show' says what the words are good for.`,
		example: "firebreak fleet list\nfirebreak fleet list --component sensor-content --version 2 --tenant acme\nfirebreak fleet list --posture-missing watchdog",
		run: func(ctx context.Context, _ []string) error {
			if problems := checkWord(missing); len(problems) > 0 {
				return fault.Problems("list endpoints", problems)
			}
			c, err := p.connect()
			if err != nil {
				return err
			}
			found := []api.Endpoint{}
			for e, err := range c.Endpoints(ctx) {
				if err != nil {
					return err
				}
				if picks(e, component, version) && (tenant == "" || e.Tenant == tenant) && (site == "" || e.Attributes.Site == site) &&
					(missing == "" || slices.Contains(misses(e), missing)) {
					found = append(found, e)
				}
				if limit > 0 && len(found) == limit {
					break
				}
			}
			return p.show(found, func() { p.sayFleet(found, posture || missing != "") })
		},
	})
	flags := c.Flags()
	flags.StringVar(&component, "component", "", "only endpoints that have this component")
	flags.StringVar(&version, "version", "", "only endpoints that run this version")
	flags.StringVar(&tenant, "tenant", "", "only endpoints of this tenant")
	flags.StringVar(&site, "site", "", "only endpoints of this site")
	flags.BoolVar(&posture, "posture", false, "show what each endpoint misses to survive a bad update alone")
	flags.StringVar(&missing, "posture-missing", "", "only endpoints that miss this, or have not said whether they have it, such as guard")
	flags.IntVar(&limit, "limit", 0, "stop after so many (default: all)")
	return c
}

func picks(e api.Endpoint, component, version string) bool {
	if component == "" && version == "" {
		return true
	}
	for name, c := range e.Components {
		if (component == "" || name == component) && (version == "" || c.Version == version) {
			return true
		}
	}
	return false
}

// checkWord refuses a word of a posture that there is not; none is none.
func checkWord(word string) []fault.Problem {
	if word == "" {
		return nil
	}
	return fleet.CheckPosture("--posture-missing", []string{word})
}

// misses are the words of a posture that an endpoint does not have; one that has not said it misses all.
func misses(e api.Endpoint) []string {
	if e.Posture == nil {
		return fleet.Posture(0).Missing()
	}
	return e.Posture.Missing
}

// sayFleet prints endpoints and what they run, or what they miss.
func (p *program) sayFleet(found []api.Endpoint, posture bool) {
	last := "RUNS"
	if posture {
		last = "MISSING"
	}
	t := newTable("ENDPOINT", "TENANT", "SITE", "SEEN", last)
	for _, e := range found {
		says := runs(e.Components)
		switch {
		case posture && e.Posture == nil:
			says = "unknown"
		case posture:
			says = orDash(strings.Join(e.Posture.Missing, ", "))
		}
		t.add(e.ID, e.Tenant, orDash(e.Attributes.Site), p.seen(e.LastSeen), says)
	}
	t.print(p)
}

// seen is short: "now", "12s", "3d".
func (p *program) seen(t time.Time) string { return strings.TrimSuffix(p.ago(t), " ago") }

// runs says what an endpoint runs, as "sensor-content 2, nginx-config 7 (staged)".
func runs(components map[string]api.Component) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(components)) {
		c := components[name]
		part := name + " " + orDash(c.Version)
		if c.Phase != "" && c.Phase != "idle" {
			part += " (" + c.Phase + ")"
		}
		parts = append(parts, part)
	}
	return orDash(strings.Join(parts, ", "))
}

func (p *program) fleetShow() *cobra.Command {
	return p.leaf(command{
		use: "show ENDPOINT", short: "Show one endpoint and its leases", args: cobra.ExactArgs(1),
		lists:   "firebreak fleet list",
		long:    `Shows an endpoint's attributes, what runs on it and why it is not further, and every lease it ever had.`,
		example: "firebreak fleet show ep-0123456789abcdef0123",
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			e, err := c.Endpoint(ctx, args[0])
			if err != nil {
				return err
			}
			rings := map[string][]api.Ring{}
			if len(e.Leases) > 0 && !p.json {
				if rings, err = ringsOf(ctx, c); err != nil {
					return err
				}
			}
			return p.show(e, func() { p.sayEndpoint(e, rings) })
		},
	})
}

// ringsOf are the rings of every rollout, by its id.
func ringsOf(ctx context.Context, c *client.Client) (map[string][]api.Ring, error) {
	rollouts, err := c.Rollouts(ctx, "")
	rings := make(map[string][]api.Ring, len(rollouts))
	for _, r := range rollouts {
		rings[r.ID] = r.Rings
	}
	return rings, err
}

func (p *program) sayEndpoint(e api.Endpoint, rings map[string][]api.Ring) {
	e = cleaned(e)
	a, style := e.Attributes, p.styleOf(p.Out)
	p.sayFitting(fmt.Sprintf("%s  tenant %s, seen %s, enrolled %s", style.bold(e.ID), e.Tenant, p.ago(e.LastSeen), stamp(e.Enrolled)))
	p.sayFitting(strings.Join(slices.DeleteFunc([]string{a.OS, a.Version, a.Kernel, a.Arch, a.Class, a.Region, a.Site},
		func(s string) bool { return s == "" }), "  "))
	if e.Revoked != nil {
		p.sayFitting(fmt.Sprintf("revoked %s: %s", p.ago(*e.Revoked), e.Why))
	}
	if e.Twins != nil {
		p.say("two hosts seem to share this identity: %s (%s, %s in all); revoke it, and let each join by itself", e.Twins.Sign, p.ago(e.Twins.Last),
			plural(int64(e.Twins.Signs), "sign"))
	}
	for _, key := range slices.Sorted(maps.Keys(e.Labels)) {
		p.sayFitting(fmt.Sprintf("label %s=%s", key, e.Labels[key]))
	}
	p.say("")
	t := newTable("COMPONENT", "KIND", "RUNS", "BACK TO", "PHASE")
	for _, name := range slices.Sorted(maps.Keys(e.Components)) {
		c := e.Components[name]
		t.add(name, c.Kind, orDash(c.Version), orDash(c.Previous), orDash(c.Phase))
		t.note(c.Why)
	}
	t.print(p)
	p.sayPosture(e.Posture)
	if len(e.Leases) > 0 {
		p.say("")
		p.sayLeases(e.Leases, func(l api.LeaseStatus) string { return l.Rollout }, "ROLLOUT", rings)
	}
}

// sayPosture prints what an endpoint comes back from with nobody's help, and what it misses for the rest.
func (p *program) sayPosture(said *api.Posture) {
	if said == nil {
		return
	}
	p.say("")
	posture := fleet.PostureOf(said.Have)
	var survives []string
	for _, h := range fleet.Hazards() {
		if posture.Survives(h) {
			survives = append(survives, string(h))
		}
	}
	p.paragraph("comes back alone from: ", cmp.Or(strings.Join(survives, ", "), "nothing"))
	for _, word := range said.Missing {
		p.paragraph("  misses "+word+": ", fleet.Cure(word))
	}
}

// sayLeases prints leases; who and its heading tell them apart. Rings are those of each rollout.
func (p *program) sayLeases(leases []api.LeaseStatus, who func(api.LeaseStatus) string, heading string, rings map[string][]api.Ring) {
	t := newTable(heading, "RING", "ISSUED", "OUTCOME", "RECOVERED")
	for _, l := range leases {
		t.add(who(l), ringName(rings[l.Rollout], l.Ring), p.when(l.Issued), l.Outcome, recovery(l))
		t.note(l.Detail)
	}
	t.print(p)
}

// recovery is how long after its harm became known a host was well again.
func recovery(l api.LeaseStatus) string {
	if l.Recovered == nil {
		return "-"
	}
	harmed := l.Issued
	if l.Known != nil {
		harmed = *l.Known
	}
	return "after " + span(max(0, l.Recovered.Sub(harmed)))
}

// when is a time of day, with the date unless that is today.
func (p *program) when(t time.Time) string {
	if text := stamp(t); t.IsZero() || text[:10] != stamp(p.Clock.Now())[:10] {
		return text
	}
	return t.UTC().Format("15:04:05")
}

func (p *program) fleetProfile() *cobra.Command {
	var component string
	c := p.leaf(command{
		use: "profile", short: "Count the endpoints by what they are", args: cobra.NoArgs,
		long: `
Counts the endpoints that are alike, and how many of each sort were heard in the last quarter of an hour: what 'firebreak plan simulate'
plays on. Save it with --json to play on it later, or without a server.`,
		example: "firebreak fleet profile --component sensor-content\nfirebreak fleet profile --json > fleet.json",
		run: func(ctx context.Context, _ []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			profile, err := c.FleetProfile(ctx, component)
			if err != nil {
				return err
			}
			return p.show(profile, func() {
				t := newTable("HOSTS", "HEARD", "CLASS", "OS", "KERNEL", "TENANT", "SITE")
				for _, g := range profile.Groups {
					t.add(thousands(g.Hosts), thousands(g.Heard), orDash(g.Class), orDash(strings.TrimSpace(g.OS+" "+g.Version)), orDash(g.Kernel),
						orDash(g.Tenant), orDash(g.Site))
					if g.Summed > 0 {
						t.note("of " + plural(g.Summed, "smaller group"))
					}
				}
				t.print(p)
			})
		},
	})
	c.Flags().StringVar(&component, "component", "", "only endpoints that have this component")
	return c
}
