// Package plans holds the plans that come with Firebreak, as files that an operator can read, copy and change.
package plans

import (
	"embed"
	"slices"
	"strings"
)

//go:embed *.yaml
var files embed.FS

const suffix = ".yaml"

// Names lists the plans that come with Firebreak, in order.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil // the directory is part of the program
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), suffix))
	}
	slices.Sort(names)
	return names
}

// Named is the file of a plan, a document of kind Plan with its comments; false if no plan of that name comes with Firebreak.
func Named(name string) ([]byte, bool) {
	data, err := files.ReadFile(name + suffix)
	return data, err == nil
}
