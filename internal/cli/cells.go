package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
	"github.com/firebreak-dev/firebreak/internal/resource"
)

// cellFile lists control planes.
type cellFile struct {
	Cells []cellEntry `json:"cells"`
}

type cellEntry struct {
	Name      string `json:"name"`
	Server    string `json:"server"`     // of its operator port
	TokenFile string `json:"token_file"` // an operator's token there; relative to the file
}

// Check implements resource.Checker.
func (f cellFile) Check() []fault.Problem {
	var problems []fault.Problem
	add := func(path, format string, args ...any) {
		problems = append(problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if len(f.Cells) == 0 {
		add("cells", "names no cell")
	}
	seen := map[string]bool{}
	for i, c := range f.Cells {
		path := fmt.Sprintf("cells[%d]", i)
		if !plan.Name(c.Name) {
			add(path+".name", "must be 1 to 63 lower-case letters, digits and dashes, is %q", c.Name)
		}
		if seen[c.Name] {
			add(path+".name", "is named before: %q", c.Name)
		}
		if _, err := client.New(c.Server, ""); err != nil {
			add(path+".server", "must be a URL such as https://us.example.net:7080, is %q", c.Server)
		}
		if c.TokenFile == "" {
			add(path+".token_file", "is missing")
		}
		seen[c.Name] = true
	}
	return problems
}

// clients reads a file of cells, and makes a client for each.
func (p *program) clients(path string) (cellFile, []*client.Client, error) {
	var file cellFile
	data, err := p.readFile(path)
	if err != nil {
		return file, nil, err
	}
	if err = resource.Decode(data, &file); err != nil {
		return file, nil, fmt.Errorf("read cells %s: %w", path, err)
	}
	clients := make([]*client.Client, len(file.Cells))
	for i, cell := range file.Cells {
		secret := cell.TokenFile
		if !filepath.IsAbs(secret) {
			secret = filepath.Join(filepath.Dir(path), secret)
		}
		if clients[i], err = p.dial(cell.Server, secret); err != nil {
			return file, nil, fmt.Errorf("cell %s: %w", cell.Name, err)
		}
	}
	return file, clients, nil
}

// dial makes a client for a control plane other than the one of the flags.
func (p *program) dial(server, tokenFile string) (*client.Client, error) {
	token, err := readToken(tokenFile)
	if err != nil {
		return nil, err
	}
	c, err := client.New(server, token)
	if err != nil {
		return nil, err
	}
	c.Agent = "firebreak/" + p.Version
	return c, nil
}

// startedIn is what became of a start in one cell.
type startedIn struct {
	Cell    string       `json:"cell"`
	Rollout *api.Rollout `json:"rollout,omitempty"` // nil: it is not there
	Before  bool         `json:"before,omitempty"`  // it was there before
	Error   string       `json:"error,omitempty"`
}

// startCells starts a rollout in every cell of a file. What failed in one keeps no other from starting: each waits until it hears all of the
// plan's cells, so that a start which reached only some of them exposes nobody behind the others' backs.
func (p *program) startCells(ctx context.Context, path string, start api.StartRollout) error {
	file, clients, err := p.clients(path)
	if err != nil {
		return err
	}
	results := make([]startedIn, len(file.Cells))
	var failed []string
	for i, cell := range file.Cells {
		results[i] = startIn(ctx, cell.Name, clients[i], start)
		if results[i].Error != "" {
			failed = append(failed, cell.Name)
		}
	}
	if err := p.show(results, func() { p.sayStarted(results) }); err != nil || len(failed) == 0 {
		return err
	}
	return fault.New(fault.Unavailable, "start %s %s: not started in %s, of %s", start.Component, start.Version, strings.Join(failed, ", "),
		plural(int64(len(results)), "cell")).
		Hint("Cells that come after them in the plan wait. Mend what is said above and run the same command again, or halt it in one cell, which pauses it in all.")
}

func startIn(ctx context.Context, cell string, c *client.Client, start api.StartRollout) startedIn {
	result := startedIn{Cell: cell}
	r, err := c.StartRollout(ctx, start)
	if err == nil {
		result.Rollout = &r
		return result
	}
	if client.KindOf(err) == client.Conflict {
		if all, errList := c.Rollouts(ctx, start.Component); errList == nil && len(all) > 0 && all[0].Version == start.Version && goesOn(all[0].Phase) {
			result.Rollout, result.Before = &all[0], true
			return result
		}
	}
	result.Error = err.Error()
	return result
}

// goesOn tells whether a rollout in that phase needs no further start.
func goesOn(phase string) bool {
	return phase == "proposed" || phase == "running" || phase == "paused" || phase == "complete"
}

func (p *program) sayStarted(results []startedIn) {
	t := newTable("CELL", "WAVE", "ROLLOUT", "STATE")
	for _, r := range results {
		if r.Error != "" {
			t.add(r.Cell, "-", "-", "not started")
			t.note(r.Error)
			continue
		}
		state := words(r.Rollout.Phase)
		if r.Before {
			state += ", as before"
		}
		wave := "-"
		if r.Rollout.Wave > 0 {
			wave = fmt.Sprint(r.Rollout.Wave)
		}
		t.add(r.Cell, wave, r.Rollout.ID, state)
	}
	t.print(p)
}

// cellsOf is what a rollout knows of the other cells.
func cellsOf(s rollout.State) []api.RolloutCell {
	var others []api.RolloutCell
	for _, c := range s.Cells {
		shown := api.RolloutCell{
			Name: c.Name, Wave: s.Plan.Wave(c.Name) + 1, Phase: string(c.Phase), Alarm: string(c.Alarm), Lost: c.Lost, Held: c.Held.Seconds(),
		}
		if !c.Since.IsZero() {
			shown.Since = &c.Since
		}
		others = append(others, shown)
	}
	return others
}

// cellLines show the other cells of a rollout.
func cellLines(r api.Rollout, width int) []string {
	if len(r.Cells) == 0 {
		return nil
	}
	var parts []string
	for _, c := range r.Cells {
		state := words(c.Phase)
		switch {
		case c.Lost != "":
			state = "not heard"
		case c.Phase == "":
			state = "not started"
		case c.Phase == "complete" && c.Alarm != "quiet":
			state += ", " + c.Alarm
		case c.Held > 0:
			state += " for " + span(time.Duration(c.Held*float64(time.Second)))
		}
		parts = append(parts, fmt.Sprintf("%s (wave %d) %s", c.Name, c.Wave, state))
	}
	return wrap(fmt.Sprintf("cell %s (wave %d), ", r.Cell, r.Wave), strings.Join(parts, "; "), width)
}

func (p *program) releaseCopy() *cobra.Command {
	var keys, from, tokenFile string
	c := p.leaf(command{
		use: "copy COMPONENT VERSION", short: "Publish a release of another control plane here too", args: cobra.ExactArgs(2),
		lists: "firebreak release list",
		long: `
Publishes a release of another control plane here under the very same signed manifest, which is how cells know that they roll out the same
thing. The other one is not trusted: its metadata must be signed by the component's keys, which both must have. Copy releases in the order
in which they were published; one that is here already only gets the bytes that are missing.`,
		example: "firebreak release copy sensor-content 2 --from https://eu.example.net:7080 --from-token-file eu.token",
		run: func(ctx context.Context, args []string) error {
			if from == "" || tokenFile == "" {
				return fault.New(fault.Invalid, "copy %s %s: --from and --from-token-file say from where", args[0], args[1])
			}
			there, err := p.dial(from, tokenFile)
			if err != nil {
				return err
			}
			owner, err := p.publisher(keys)
			if err != nil {
				return err
			}
			owner.Progress = p.transfers("copying")
			published, err := owner.Copy(ctx, controlPlane{there}, args[0], args[1])
			if err != nil {
				return err
			}
			return p.show(published, func() { p.sayPublished(published) })
		},
	})
	keysFlag(c.Flags(), &keys)
	c.Flags().StringVar(&from, "from", "", "operator port of the other control plane")
	c.Flags().StringVar(&tokenFile, "from-token-file", "", "file with an operator's token there")
	return c
}
