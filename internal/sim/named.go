package sim

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/resource"
)

//go:embed scenarios/*.yaml
var scenarios embed.FS

const (
	scenarioDir    = "scenarios"
	scenarioSuffix = ".yaml"
	scenarioKind   = "Scenario"
)

// Names lists the scenarios that come with Firebreak, in order: 17 incidents.
func Names() []string {
	entries, err := scenarios.ReadDir(scenarioDir)
	if err != nil {
		return nil // the directory is part of the program
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), scenarioSuffix))
	}
	slices.Sort(names)
	return names
}

// Source is the file of a scenario that comes with Firebreak, with its comments: what is known of the day and what is assumed.
func Source(name string) ([]byte, error) {
	data, err := scenarios.ReadFile(scenarioDir + "/" + name + scenarioSuffix)
	if err != nil {
		return nil, fault.New(fault.NotFound, "find scenario %q: none of that name comes with Firebreak", name).
			Hint("they are: %s", strings.Join(Names(), ", "))
	}
	return data, nil
}

// Named is a scenario that comes with Firebreak, defaulted and checked.
func Named(name string) (Scenario, error) {
	data, err := Source(name)
	if err != nil {
		return Scenario{}, err
	}
	return Load(name+scenarioSuffix, data)
}

// Load reads a document of kind Scenario strictly. The scenario is defaulted and checked; the error lists all mistakes, each with path as
// the name of the file, and its line. The file itself is not read: path is only said.
func Load(path string, data []byte) (Scenario, error) {
	var d scenarioDocument
	if err := resource.Decode(data, &d); err != nil {
		return Scenario{}, fault.Problems("read scenario", inFile(path, err))
	}
	return d.Spec.Defaulted(), nil
}

type scenarioDocument struct {
	Kind string   `json:"kind"`
	Spec Scenario `json:"spec"`
}

// Check implements resource.Checker.
func (d scenarioDocument) Check() []fault.Problem {
	if d.Kind != scenarioKind {
		wrong := fmt.Sprintf("must be %s, is %q; the scenario itself stands under spec", scenarioKind, d.Kind)
		return []fault.Problem{{Path: "kind", Message: wrong}}
	}
	problems := d.Spec.Defaulted().Check()
	for i := range problems {
		problems[i].Path = "spec." + problems[i].Path
	}
	return problems
}

// inFile puts file and line in front of an error's problems: "storm.yaml:12: spec.fleet.hosts".
func inFile(file string, err error) []fault.Problem {
	problems := fault.ProblemsOf(err)
	if len(problems) == 0 {
		return []fault.Problem{{Path: file, Message: err.Error()}}
	}
	for i, p := range problems {
		where := file
		if p.Line > 0 {
			where = fmt.Sprintf("%s:%d", file, p.Line)
		}
		if p.Path != "" {
			where += ": " + p.Path
		}
		problems[i] = fault.Problem{Path: where, Message: p.Message}
	}
	return problems
}
