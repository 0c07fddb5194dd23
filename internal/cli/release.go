package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

func (p *program) releaseCommand() *cobra.Command {
	c := group("release", "Publish, list and verify releases", `
A release is one immutable version of a component, signed offline by release keys that stay with the publisher.`)
	c.AddCommand(p.releasePublish(), p.releaseCopy(), p.releaseList(), p.releaseShow(), p.releaseVerify())
	return c
}

func (p *program) releaseList() *cobra.Command {
	return p.leaf(command{
		use: "list [COMPONENT]", short: "List published releases", args: cobra.MaximumNArgs(1), ids: p.componentNames,
		long: `Lists releases of one component or of all, newest first, and before them those that wait for signatures.`, example: "firebreak release list sensor-content",
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			component := ""
			if len(args) > 0 {
				component = args[0]
			}
			releases, err := c.Releases(ctx, component)
			if err != nil {
				return err
			}
			waiting, err := waitingReleases(ctx, c, component, releases)
			if err != nil {
				return err
			}
			all := []api.Release{}
			for _, r := range waiting {
				all = append(all, r.Release)
			}
			return p.show(append(all, releases...), func() {
				t := newTable("SERIAL", "VERSION", "STATE", "VALIDATED", "CREATED", "COMPONENT")
				for _, r := range waiting {
					t.add(fmt.Sprint(r.Serial), r.Version, r.State, "-", "-", r.Component)
					t.note(fmt.Sprintf("waits for %s: firebreak key sign %s", signatures(r.lacks), r.Component))
				}
				for _, r := range releases {
					t.add(fmt.Sprint(r.Serial), r.Version, r.State, yesNo(r.Validated), stamp(r.Created), r.Component)
				}
				t.print(p)
			})
		},
	})
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func (p *program) releaseShow() *cobra.Command {
	return p.leaf(command{
		use: "show COMPONENT VERSION", short: "Show a release: artifacts, contract, verdicts, plan", args: cobra.ExactArgs(2),
		ids: p.componentNames, lists: "firebreak release list",
		long:    `Shows what the signed manifest of a release says. 'firebreak release verify' checks the signatures and the bytes.`,
		example: "firebreak release show sensor-content 2",
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			r, err := c.Release(ctx, args[0], args[1])
			if err != nil {
				return unlessWaiting(ctx, c, err, args[0], args[1])
			}
			var m release.Manifest
			if err := json.Unmarshal(r.Document, &m); err != nil {
				return fmt.Errorf("read manifest of %s %s: %w", args[0], args[1], err)
			}
			return p.show(r, func() { p.sayRelease(r, m) })
		},
	})
}

func (p *program) sayRelease(r api.Release, m release.Manifest) {
	r, m = cleaned(r), cleaned(m)
	style := p.styleOf(p.Out)
	p.sayFitting(style.bold(r.Component+" "+r.Version) + "  " + style.outcome(r.State))
	p.say("serial %d, floor %d, kind %s", m.Serial, m.Floor, m.Kind)
	p.say("created %s, manifest %s", stamp(r.Created), short(r.Manifest))
	p.say("plan %s: %s, harms at most %s on average", m.Plan.Name, plural(int64(len(m.Plan.Rings)), "ring"), plural(m.Plan.Defaulted().Bound().Hosts, "host"))
	for _, key := range slices.Sorted(maps.Keys(m.Contract)) {
		p.say("contract %s=%s", key, m.Contract[key])
	}
	p.say("")
	t := newTable("PLATFORM", "FORMAT", "BYTES", "DIGEST", "VERDICT", "NAME")
	for _, a := range m.Artifacts {
		t.add(a.Platform, string(a.Format), fmt.Sprint(a.Size), a.Digest.Short(), verdictOn(m, a.Digest), a.Name)
	}
	t.print(p)
}

func verdictOn(m release.Manifest, d release.Digest) string {
	for _, v := range m.Verdicts {
		if v.Artifact == d && !v.Passed {
			return "failed"
		}
	}
	for _, v := range m.Verdicts {
		if v.Artifact == d {
			return "passed"
		}
	}
	return "none"
}
