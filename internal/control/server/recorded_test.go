package server

import (
	"slices"
	"testing"
)

// Every route that changes something is written down, but for those of which it is known why not.
func TestEveryActIsWrittenDown(t *testing.T) {
	t.Parallel()
	not := []string{
		"checkPlan",                   // changes nothing
		"beginUpload", "cancelUpload", // what counts is the upload that is complete
	}
	for _, route := range (&server{}).routes() {
		if acts := !safe(route.method) && !slices.Contains(not, route.name); acts != (route.about != "") {
			t.Errorf("%s %s: got about %q, want that it says what is written down: %t", route.method, route.path, route.about, acts)
		}
	}
}
