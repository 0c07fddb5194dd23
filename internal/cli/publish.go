package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/publisher"
)

// publishFlags are the flags of `release publish`.
type publishFlags struct {
	keys      string
	plan      string
	platforms []string
	validator string
	timeout   time.Duration
	contract  map[string]string
	floor     int64
}

func (p *program) releasePublish() *cobra.Command {
	var f publishFlags
	c := p.leaf(command{
		use: "publish COMPONENT VERSION [PATH]", short: "Validate, sign and upload a release", args: cobra.RangeArgs(2, 3),
		ids: p.componentNames, lists: "firebreak release list",
		long: `
Makes a release of a file or a directory: packs it, lets the validator judge it, signs its metadata with the release
key in the keyring, and uploads it. The key never leaves this machine. The plan is signed with the release: no rollout
of it may be wider or faster. Publishing the same content again only uploads what the control plane lost or damaged;
other content needs another version.

The validator is run without a shell; {dir} stands for the content. A component that requires validation accepts no
release without a passing verdict. If the component needs several signatures, the release waits until the other owners
have run 'firebreak key sign COMPONENT'.`,
		example: `firebreak release publish sensor-content 2 ./content --validator 'sensor validate {dir}'
			firebreak release publish rules 7 --platform linux/amd64=./amd --platform linux/arm64=./arm`,
		run: func(ctx context.Context, args []string) error { return p.publish(ctx, args, f) },
	})
	flags := c.Flags()
	keysFlag(flags, &f.keys)
	flags.StringVar(&f.plan, "plan", "", "plan to sign with it: a file, or the name of a stored plan (default: the component's)")
	flags.StringArrayVar(&f.platforms, "platform", nil, "os/arch=PATH instead of PATH, for content that differs; may be given several times")
	flags.StringVar(&f.validator, "validator", "", "command that judges the content; {dir} stands for it")
	flags.DurationVar(&f.timeout, "timeout", publisher.DefaultValidation, "how long the validator may take")
	flags.Lookup("timeout").DefValue = exact(publisher.DefaultValidation)
	flags.StringToStringVar(&f.contract, "contract", nil, "key=value that the consumer must provide; may be given several times")
	flags.Int64Var(&f.floor, "floor", 0, "serial that no endpoint goes below any more once it knows this release")
	return c
}

func (p *program) publish(ctx context.Context, args []string, f publishFlags) error {
	sources, err := f.sources(args)
	if err != nil {
		return err
	}
	validator, err := fields(f.validator)
	if err != nil {
		return err
	}
	c, err := p.connect()
	if err != nil {
		return err
	}
	component, err := c.Component(ctx, args[0])
	if err != nil {
		return err
	}
	signed, err := p.planToSign(ctx, c, first(f.plan, component.Plan))
	if err != nil {
		return err
	}
	owner, err := p.publisher(f.keys)
	if err != nil {
		return err
	}
	published, err := owner.Publish(ctx, publisher.PublishOptions{
		Component: args[0], Version: args[1], Kind: release.Kind(component.Kind), Sources: sources, Plan: signed, Contract: f.contract,
		Floor: f.floor, Validator: validator, Timeout: f.timeout,
	})
	if err != nil {
		return err
	}
	return p.show(published, func() { p.sayPublished(published) })
}

func (f publishFlags) sources(args []string) ([]publisher.Source, error) {
	var sources []publisher.Source
	if len(args) == 3 {
		sources = append(sources, publisher.Source{Path: args[2]})
	}
	for _, text := range f.platforms {
		platform, path, ok := strings.Cut(text, "=")
		if !ok || platform == "" || path == "" {
			return nil, fault.New(fault.Invalid, "read --platform %q: write it as linux/amd64=PATH", text)
		}
		sources = append(sources, publisher.Source{Platform: platform, Path: path})
	}
	if len(sources) == 0 {
		return nil, fault.New(fault.Invalid, "publish: there is nothing to publish").Hint("Name a file or a directory, or give --platform os/arch=PATH.")
	}
	return sources, nil
}

// planToSign reads a plan from a file, or takes a stored one. A stored plan comes from the control plane, which is not trusted with
// this: what it can harm is said before it is signed.
func (p *program) planToSign(ctx context.Context, c *client.Client, name string) (plan.Plan, error) {
	if name == "" {
		return plan.Plan{}, fault.New(fault.Invalid, "publish: there is no plan to sign with the release").
			Hint("Give --plan FILE, or apply the component with a plan.")
	}
	if _, err := os.Stat(name); err == nil || !plan.Name(name) {
		return p.planFile(name)
	}
	stored, err := c.Plan(ctx, name)
	if err != nil {
		return plan.Plan{}, err
	}
	var signed plan.Plan
	if err := json.Unmarshal(stored.Plan, &signed); err != nil {
		return plan.Plan{}, fmt.Errorf("read plan %s from the control plane: %w", name, err)
	}
	signed = signed.Defaulted()
	if err := fault.Problems("read plan "+name+" from the control plane", signed.Check()); err != nil {
		return plan.Plan{}, err
	}
	_, _ = fmt.Fprintf(p.Err, "signing plan %s as the control plane has it: %s, a first ring of %s, at most %s harmed on average\n", name,
		plural(int64(len(signed.Rings)), "ring"), plural(signed.Rings[0].Hosts, "host"), plural(signed.Bound().Hosts, "host"))
	return signed, nil
}

func (p *program) planFile(name string) (plan.Plan, error) {
	data, err := p.readFile(name)
	if err != nil {
		return plan.Plan{}, err
	}
	plans, err := readPlans(name, data)
	if err != nil {
		return plan.Plan{}, err
	}
	if len(plans) != 1 {
		return plan.Plan{}, fault.New(fault.Invalid, "read plan %s: it holds %d plans, one is wanted", name, len(plans))
	}
	return plans[0].Defaulted(), nil
}

func (p *program) sayPublished(r publisher.Published) {
	m := r.Manifest
	what := fmt.Sprintf("%s %s (serial %d, manifest %s, %s)", m.Component, m.Version, m.Serial, r.Digest.Short(), plural(int64(len(m.Artifacts)), "artifact"))
	for _, name := range r.Restored {
		p.say("uploaded %s again: the control plane had lost or damaged it", name)
	}
	switch {
	case r.Before && r.Submission.State == api.SubmissionPending:
		p.say("%s was uploaded before and has %d of %d signatures", what, r.Submission.Signatures, r.Submission.Threshold)
		p.say("the other owners run: firebreak key sign %s", m.Component)
	case r.Before && len(r.Restored) > 0:
		p.say("%s was published before", what)
	case r.Before:
		p.say("%s was published before; nothing was done", what)
	case r.Submission.State == api.SubmissionPending:
		p.say("%s is uploaded and has %d of %d signatures", what, r.Submission.Signatures, r.Submission.Threshold)
		p.say("the other owners run: firebreak key sign %s", m.Component)
	default:
		p.say("%s is published", what)
		p.say("roll it out: firebreak rollout start %s %s", m.Component, m.Version)
	}
}

// fields splits a command as a shell would, with single and double quotes but without anything else.
func fields(text string) ([]string, error) {
	var all []string
	var word strings.Builder
	var quote rune
	begun := false
	for _, c := range text {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, begun = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if begun {
				all = append(all, word.String())
				word.Reset()
			}
			begun = false
		default:
			word.WriteRune(c)
			begun = true
		}
	}
	if quote != 0 {
		return nil, fault.New(fault.Invalid, "read --validator: a quote is not closed in %s", text)
	}
	if begun {
		all = append(all, word.String())
	}
	return all, nil
}
