package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/plans"
)

func (p *program) planDerive() *cobra.Command {
	var hosts, by, name string
	var budget, site int64
	var within time.Duration
	c := p.leaf(command{
		use: "derive --hosts N --budget B", short: "Make the fastest plan that keeps a budget of harm", args: cobra.NoArgs,
		long: `
Makes a plan for a fleet of N hosts that harms at most B of them on average, with any fault that harms every tenth host or more at once,
or that shows within the bake of the first ring. Prints it as a document of kind Plan that says what it bounds and why it is as it is.
Needs no server. If no plan keeps the budget, the error names the smallest one that a plan does keep (exit code 2).`,
		example: "firebreak plan derive --hosts 8.5M --budget 50 --site-budget 2 > careful.yaml\n" +
			"firebreak plan derive --hosts 20k --budget 30 --detect-by reports --within 1h",
		run: func(context.Context, []string) error {
			n, err := count(hosts)
			if err != nil {
				return err
			}
			derived, reasons, err := plan.Derive(plan.Wish{
				Name: name, Hosts: n, Budget: plan.Budget{Hosts: budget, Site: site, By: by}, Within: within,
			})
			if err != nil {
				return err
			}
			document := planDocument{Kind: kindPlan, Spec: derived}
			return p.show(document, func() { p.say("%s", writtenPlan(derived, reasons)) })
		},
	})
	flags := c.Flags()
	flags.StringVar(&hosts, "hosts", "", "hosts in the fleet: 8500000, 8.5M or 20k")
	flags.Int64Var(&budget, "budget", 0, "hosts that may be harmed")
	flags.Int64Var(&site, "site-budget", 0, fmt.Sprintf("of them, in any one site of %d hosts (0: as many)", plan.SiteHosts))
	flags.StringVar(&by, "detect-by", plan.BySilence, "how harm shows: silence (the worst case), or reports")
	flags.StringVar(&name, "name", "derived", "name of the plan")
	flags.DurationVar(&within, "within", 0, "time in which a good update must be done (0: no limit)")
	return c
}

// count reads a number of hosts as people write it: 8500000, 8,500,000, 8.5M, 20k.
func count(text string) (int64, error) {
	number, factor := strings.ReplaceAll(strings.TrimSpace(text), ",", ""), 1.0
	for suffix, f := range map[string]float64{"k": 1e3, "K": 1e3, "M": 1e6} {
		if rest, found := strings.CutSuffix(number, suffix); found {
			number, factor = rest, f
			break
		}
	}
	if number == "" {
		return 0, fault.New(fault.Invalid, "derive a plan: --hosts is missing").Hint("Say how many hosts the fleet has: --hosts 8.5M.")
	}
	v, err := strconv.ParseFloat(number, 64)
	n := math.Round(v * factor)
	if err != nil || math.IsNaN(n) || math.Abs(n) > 1e15 || strings.ContainsAny(number, "xXpP_eE") {
		return 0, fault.New(fault.Invalid, "read --hosts: %q is not a number of hosts", text).Hint("Write it as 8500000, 8.5M or 20k.")
	}
	return int64(n), nil
}

// writtenPlan is a plan as a file, with its reasons as comments.
func writtenPlan(p plan.Plan, reasons []string) string {
	var b strings.Builder
	for _, reason := range reasons {
		for _, line := range wrap("# ", reason, columns) {
			if !strings.HasPrefix(line, "#") {
				line = "#" + line[1:]
			}
			b.WriteString(line + "\n")
		}
	}
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("kind: %s\nspec:\n  name: %s\n  rings:", kindPlan, p.Name)
	for _, r := range p.Rings {
		size := fmt.Sprintf("hosts: %d", r.Hosts)
		if r.Share > 0 {
			size = fmt.Sprintf("share: %g", r.Share)
		}
		if r.Holdback {
			size += ", holdback: true"
		}
		line("    - {name: %s, %s, evidence: {%s}}", r.Name, size, writtenEvidence(r))
	}
	line("  window: {start: %d, growth: %g}", p.Window.Start, p.Window.Growth)
	line("  lease: {expires: %s, deadline: %s}", exact(time.Duration(p.Lease.Expires)), exact(time.Duration(p.Lease.Deadline)))
	line("  caps: {tenant: %g, site: %g}", p.Caps.Tenant, p.Caps.Site)
	line("  budget: {%s}", writtenBudget(p.Budget))
	return strings.TrimSuffix(b.String(), "\n")
}

func writtenEvidence(r plan.Ring) string {
	text := fmt.Sprintf("confirmed: %g", r.Evidence.Confirmed)
	if r.Evidence.Bake > 0 {
		text += ", bake: " + exact(time.Duration(r.Evidence.Bake))
	}
	if r.Evidence.Strata > 0 {
		text += ", strata: " + strconv.FormatFloat(r.Evidence.Strata, 'f', -1, 64)
	}
	return text
}

func writtenBudget(b plan.Budget) string {
	text := fmt.Sprintf("hosts: %d", b.Hosts)
	if b.Site > 0 {
		text += fmt.Sprintf(", site: %d", b.Site)
	}
	if b.By != "" {
		text += ", by: " + b.By
	}
	return text
}

// shippedPlan is one plan that comes with Firebreak.
type shippedPlan struct {
	Name   string          `json:"name"`
	Rings  int             `json:"rings"`
	Bound  int64           `json:"bound"`  // harmed hosts at most, on average
	Budget int64           `json:"budget"` // that it keeps
	Plan   json.RawMessage `json:"plan"`   // with defaults filled in
}

func (p *program) planShipped() *cobra.Command {
	return p.leaf(command{
		use: "shipped [NAME]", short: "Show the plans that come with Firebreak", args: cobra.MaximumNArgs(1),
		long: `
Lists the plans that come with Firebreak, or prints the file of one: copy it, change it, and apply it. Needs no server.`,
		example: "firebreak plan shipped\nfirebreak plan shipped content > content.yaml\nfirebreak plan shipped emergency | firebreak apply -f -",
		ids:     func(context.Context) ([]string, error) { return plans.Names(), nil },
		lists:   "firebreak plan shipped",
		run: func(_ context.Context, args []string) error {
			if len(args) == 1 {
				return p.shippedFile(args[0])
			}
			return p.shippedPlans()
		},
	})
}

func (p *program) shippedFile(name string) error {
	data, ok := plans.Named(name)
	if !ok {
		return fault.New(fault.NotFound, "show shipped plan: there is none named %q", name)
	}
	all, err := readPlans(name+".yaml", data)
	if err != nil {
		return err
	}
	return p.show(planDocument{Kind: kindPlan, Spec: all[0].Defaulted()}, func() { p.say("%s", strings.TrimRight(string(data), "\n")) })
}

func (p *program) shippedPlans() error {
	var all []shippedPlan
	for _, name := range plans.Names() {
		data, _ := plans.Named(name)
		read, err := readPlans(name+".yaml", data)
		if err != nil {
			return err
		}
		wanted := read[0].Defaulted()
		document, err := json.Marshal(wanted)
		if err != nil {
			return fmt.Errorf("encode plan %s: %w", name, err)
		}
		all = append(all, shippedPlan{
			Name: name, Rings: len(wanted.Rings), Bound: wanted.Bound().Hosts, Budget: wanted.Budget.Hosts, Plan: document,
		})
	}
	return p.show(all, func() {
		t := newTable("NAME", "RINGS", "EXPECTED HARM", "BUDGET")
		for _, s := range all {
			t.add(s.Name, fmt.Sprint(s.Rings), "at most "+plural(s.Bound, "host"), plural(s.Budget, "host"))
		}
		t.print(p)
	})
}
