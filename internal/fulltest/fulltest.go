// Package fulltest tells tests how much to do: `make test` proves everything, plain `go test ./...` stays under two minutes.
package fulltest

import (
	"flag"
	"os"
	"runtime"
	"strconv"
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

// Crowd lets n tests of a package run at once, or as many as there are processors if those are more: for packages whose tests wait rather than
// work. TestMain calls it before m.Run. Whoever says -parallel gets what they say.
func Crowd(n int) error {
	return flag.Set("test.parallel", strconv.Itoa(max(n, runtime.GOMAXPROCS(0))))
}
