package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// applied says what became of one document.
type applied struct {
	Kind    string   `json:"kind"`
	Name    string   `json:"name,omitempty"`    // none of the freezes, of which there is one list
	Result  string   `json:"result"`            // created, changed or unchanged
	Changes []string `json:"changes,omitempty"` // paths that differ
}

func (p *program) applyCommand() *cobra.Command {
	var files []string
	var dry bool
	c := p.leaf(command{
		use: "apply -f FILE", short: "Register components, store plans and set freezes from files", args: cobra.NoArgs,
		long: `
Reads YAML or JSON documents, several to a file if you like, and makes the control plane have what they say. Applying
the same files twice changes nothing. All mistakes of all files are reported at once, with file, line and path, and
nothing is applied unless there are none.

  kind: Plan                        kind: Component
  spec:                             spec:
    name: careful                     name: sensor-content
    rings:                            kind: content
      - {name: canary, hosts: 2}      validation: required
      - {name: rest, share: 1}        plan: careful

  kind: Freezes
  spec:
    freezes:
      - {name: Christmas, from: 2026-12-20, to: 2027-01-06, zone: Europe/Vienna}`,
		example: "firebreak apply -f firebreak.yaml\nfirebreak apply -f plans/ -f components.yaml --dry-run",
		run: func(ctx context.Context, _ []string) error {
			docs, err := p.readAll(files)
			if err != nil {
				return err
			}
			results, err := p.apply(ctx, docs, dry)
			if err != nil && len(results) == 0 {
				return err
			}
			if shown := p.show(results, func() { p.sayApplied(results, dry) }); shown != nil {
				return shown
			}
			return err
		},
	})
	flags := c.Flags()
	flags.StringArrayVarP(&files, "filename", "f", nil, `file or directory with *.yaml, *.yml and *.json files, "-" for standard input; may be given several times`)
	flags.BoolVar(&dry, "dry-run", false, "only say what would change")
	return c
}

func (p *program) readAll(names []string) ([]document, error) {
	if len(names) == 0 {
		return nil, fault.New(fault.Invalid, "apply: no file is given").Hint("Name one: firebreak apply -f FILE.")
	}
	var docs []document
	var problems []fault.Problem
	for _, name := range names {
		files, err := expand(name)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			data, err := p.readFile(file)
			if err != nil {
				return nil, err
			}
			more, wrong := documents(file, data)
			docs, problems = append(docs, more...), append(problems, wrong...)
		}
	}
	problems = append(problems, twice(docs)...)
	return docs, fault.Problems("read documents", problems)
}

// twice lists documents that speak of the same thing.
func twice(docs []document) []fault.Problem {
	var problems []fault.Problem
	seen := map[string]string{}
	for _, d := range docs {
		key := d.key()
		if file, ok := seen[key]; ok {
			problems = append(problems, fault.Problem{Path: d.file, Message: fmt.Sprintf("%s is there twice, first in %s", key, file)})
		}
		seen[key] = d.file
	}
	return problems
}

func (d document) key() string {
	switch {
	case d.freezes != nil:
		return kindFreezes
	case d.plan != nil:
		return kindPlan + " " + d.plan.Name
	}
	return kindComponent + " " + d.component.Name
}

// apply sets the freezes first, and stores plans before components, which may name them. It returns what was done before an error too.
func (p *program) apply(ctx context.Context, docs []document, dry bool) ([]applied, error) {
	c, err := p.connect()
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(docs, func(a, b document) int { return cmp.Compare(turn(a), turn(b)) })
	var results []applied
	for _, d := range docs {
		var r applied
		switch {
		case d.freezes != nil:
			r, err = applyFreezes(ctx, c, *d.freezes, dry)
		case d.plan != nil:
			r, err = applyPlan(ctx, c, *d.plan, dry)
		default:
			r, err = applyComponent(ctx, c, *d.component, dry)
		}
		if err != nil {
			return results, fmt.Errorf("apply %s of %s: %w", d.key(), d.file, asFault(err))
		}
		results = append(results, r)
	}
	return results, nil
}

// turn is when a document is applied.
func turn(d document) int {
	switch {
	case d.freezes != nil:
		return 0
	case d.plan != nil:
		return 1
	}
	return 2
}

func applyPlan(ctx context.Context, c *client.Client, wanted plan.Plan, dry bool) (applied, error) {
	document, err := json.Marshal(wanted.Defaulted())
	if err != nil {
		return applied{}, fmt.Errorf("encode plan: %w", err)
	}
	r := applied{Kind: kindPlan, Name: wanted.Name}
	have, err := c.Plan(ctx, wanted.Name)
	if err = r.compare(have.Plan, document, err); err != nil || dry || r.Result == "unchanged" {
		return r, err
	}
	_, err = c.PutPlan(ctx, wanted.Name, document)
	return r, err
}

func applyComponent(ctx context.Context, c *client.Client, wanted api.ComponentSpec, dry bool) (applied, error) {
	r := applied{Kind: kindComponent, Name: wanted.Name}
	have, err := c.Component(ctx, wanted.Name)
	before, _ := json.Marshal(have) // plain strings
	after, _ := json.Marshal(wanted)
	if err = r.compare(before, after, err); err != nil || dry || r.Result == "unchanged" {
		return r, err
	}
	_, err = c.PutComponent(ctx, wanted)
	return r, err
}

// compare fills in the result from what the server has, or from its error.
func (r *applied) compare(have, want json.RawMessage, err error) error {
	switch {
	case err != nil && client.KindOf(err) == client.NotFound:
		r.Result = "created"
		return nil // that there is none yet is what a creation looks like
	case err != nil:
		return err
	}
	r.Changes = differences(have, want)
	r.Result = "unchanged"
	if len(r.Changes) > 0 {
		r.Result = "changed"
	}
	return nil
}

// differences lists the paths at which two JSON documents differ, as "path: old -> new".
func differences(a, b json.RawMessage) []string {
	before, after := map[string]string{}, map[string]string{}
	flatten("", a, before)
	flatten("", b, after)
	paths := slices.Collect(maps.Keys(before))
	for path := range after {
		if _, ok := before[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	var all []string
	for _, path := range paths {
		if before[path] != after[path] {
			all = append(all, fmt.Sprintf("%s: %s -> %s", path, orDash(before[path]), orDash(after[path])))
		}
	}
	return all
}

func flatten(path string, data json.RawMessage, into map[string]string) {
	var object map[string]json.RawMessage
	var list []json.RawMessage
	switch {
	case json.Unmarshal(data, &object) == nil && object != nil:
		for key, value := range object {
			flatten(strings.TrimPrefix(path+"."+key, "."), value, into)
		}
	case json.Unmarshal(data, &list) == nil && list != nil:
		for i, value := range list {
			flatten(fmt.Sprintf("%s[%d]", path, i), value, into)
		}
	default:
		into[path] = string(bytes.TrimSpace(data))
	}
}

func (p *program) sayApplied(results []applied, dry bool) {
	suffix := ""
	if dry {
		suffix = " (dry run)"
	}
	for _, r := range results {
		p.say("%s %s%s", strings.TrimSpace(r.Kind+" "+r.Name), r.Result, suffix)
		for _, change := range r.Changes {
			p.say("  %s", change)
		}
	}
}
