// Package fulltest tells tests how much to do: `make test` proves everything, plain `go test ./...` stays under two minutes.
package fulltest

import (
	"os"
	"testing"
)

// Asked tells whether everything is to be proved: FIREBREAK_TEST_FULL is set, as `make test` does.
func Asked() bool { return os.Getenv("FIREBREAK_TEST_FULL") != "" }

// Only skips a test that takes long, unless everything is to be proved.
func Only(t testing.TB) {
	t.Helper()
	if !Asked() {
		t.Skip("it takes long: make test runs it, and so does FIREBREAK_TEST_FULL=1 go test")
	}
}
