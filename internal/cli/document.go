package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/resource"
)

// Kinds of documents.
const (
	kindComponent = "Component"
	kindPlan      = "Plan"
	kindFreezes   = "Freezes"
)

// document is one resource of a file: "kind: Plan" and its "spec". Exactly one of the specs is set.
type document struct {
	file      string
	component *api.ComponentSpec
	plan      *plan.Plan
	freezes   *api.Freezes
}

// readFile reads a file, or standard input for "-".
func (p *program) readFile(path string) ([]byte, error) {
	if path == "-" {
		data, err := io.ReadAll(io.LimitReader(p.In, resource.MaxSize+1))
		if err != nil {
			return nil, fault.New(fault.Invalid, "read standard input: %w", err)
		}
		return data, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read document: %w", err)
	}
	return data, nil
}

// documents reads every document of a file and lists every mistake in all of them.
func documents(file string, data []byte) ([]document, []fault.Problem) {
	var all []document
	var problems []fault.Problem
	for _, part := range split(data) {
		d, err := read(part)
		if err != nil {
			problems = append(problems, located(file, err)...)
			continue
		}
		d.file = file
		all = append(all, d)
	}
	if len(all)+len(problems) == 0 {
		problems = append(problems, fault.Problem{Path: file, Message: "holds no document"})
	}
	return all, problems
}

// split cuts a stream at its document markers. Every part begins with as many empty lines as stand before it in the stream, so that
// lines are told as in the file. Parts that say nothing are left out.
func split(data []byte) [][]byte {
	marker := regexp.MustCompile(`^(---|\.\.\.)(\s|$)`)
	var parts [][]byte
	var part []byte
	blank := true
	lines := 0
	flush := func() {
		if !blank {
			parts = append(parts, part)
		}
		part, blank = bytes.Repeat([]byte("\n"), lines), true
	}
	for line := range bytes.Lines(data) {
		lines++
		if marker.Match(line) {
			rest := line[3:]
			flush()
			line = append([]byte("   "), rest...) // what stands behind the marker belongs to the document
			part = part[:max(0, len(part)-1)]
		}
		text := bytes.TrimSpace(line)
		blank = blank && (len(text) == 0 || text[0] == '#')
		part = append(part, line...)
	}
	flush()
	return parts
}

// read reads one document strictly, by its kind.
func read(data []byte) (document, error) {
	var kind struct {
		Kind string `json:"kind"`
		Spec any    `json:"spec"`
	}
	lines, err := resource.DecodeLines(data, &kind)
	switch kind.Kind {
	case kindComponent:
		d := componentDocument{Spec: api.ComponentSpec{Validation: "required"}}
		err = resource.Decode(data, &d)
		return document{component: &d.Spec}, err
	case kindPlan:
		var d planDocument
		err = resource.Decode(data, &d)
		return document{plan: &d.Spec}, err
	case kindFreezes:
		var d freezesDocument
		err = resource.Decode(data, &d)
		freezes := api.Freezes{Freezes: []api.Freeze{}}
		for _, f := range d.Spec.Freezes {
			freezes.Freezes = append(freezes.Freezes, server.FreezeWire(f))
		}
		return document{freezes: &freezes}, err
	}
	if err != nil {
		return document{}, err
	}
	return document{}, fault.Problems("read document", lines.Mark([]fault.Problem{{
		Path: "kind", Message: fmt.Sprintf("must be %s, %s or %s, is %q; the resource itself stands under spec", kindComponent, kindPlan, kindFreezes,
			kind.Kind),
	}}))
}

type planDocument struct {
	Kind string    `json:"kind"`
	Spec plan.Plan `json:"spec"`
}

// Check implements resource.Checker.
func (d planDocument) Check() []fault.Problem { return under("spec", d.Spec.Defaulted().Check()) }

type componentDocument struct {
	Kind string            `json:"kind"`
	Spec api.ComponentSpec `json:"spec"`
}

// Check implements resource.Checker. The server has the last word; these are the mistakes that need no server.
func (d componentDocument) Check() []fault.Problem {
	return under("spec", server.CheckComponent(d.Spec))
}

type freezesDocument struct {
	Kind string `json:"kind"`
	Spec struct {
		Freezes []calendar.Freeze `json:"freezes"`
	} `json:"spec"`
}

// Check implements resource.Checker.
func (d freezesDocument) Check() []fault.Problem {
	return under("spec", server.CheckFreezes(d.Spec.Freezes))
}

func under(path string, problems []fault.Problem) []fault.Problem {
	for i := range problems {
		problems[i].Path = path + "." + problems[i].Path
	}
	return problems
}

// located puts file and line in front of an error's problems: "plan.yaml:12: rings[1].hosts: ...".
func located(file string, err error) []fault.Problem {
	if file == "-" {
		file = "standard input"
	}
	problems := fault.ProblemsOf(err)
	if len(problems) == 0 {
		return []fault.Problem{{Path: file, Message: err.Error()}}
	}
	all := make([]fault.Problem, len(problems))
	for i, p := range problems {
		where := file
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d", file, p.Line)
		}
		if p.Path != "" {
			where += ": " + p.Path
		}
		all[i] = fault.Problem{Path: where, Message: p.Message}
	}
	return all
}

// readPlans reads the plans of a file: a plan alone, or its documents of kind Plan.
func readPlans(file string, data []byte) ([]plan.Plan, error) {
	var kind struct {
		Kind string `json:"kind"`
		Spec any    `json:"spec"`
	}
	parts := split(data)
	if len(parts) == 1 {
		_ = resource.Decode(parts[0], &kind) // only to see which form it has; the real decoding follows
	}
	if len(parts) == 1 && kind.Kind == "" {
		var p plan.Plan
		if err := resource.Decode(parts[0], &p); err != nil {
			return nil, fault.Problems("read plan", located(file, err))
		}
		return []plan.Plan{p}, nil
	}
	docs, problems := documents(file, data)
	var plans []plan.Plan
	for _, d := range docs {
		if d.plan != nil {
			plans = append(plans, *d.plan)
		}
	}
	if len(plans)+len(problems) == 0 {
		problems = append(problems, fault.Problem{Path: file, Message: "holds no document of kind " + kindPlan})
	}
	return plans, fault.Problems("read plan", problems)
}

// expand lists the files that a name stands for: itself, or the documents of a directory in order.
func expand(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read document: %w", err)
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read directory: %w", err)
	}
	var files []string
	for _, e := range entries {
		switch filepath.Ext(e.Name()) {
		case ".yaml", ".yml", ".json":
			files = append(files, filepath.Join(name, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fault.New(fault.Invalid, "read directory %s: it has no *.yaml, *.yml or *.json files", name)
	}
	return files, nil
}
