package replica_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// TestMain lets many tests run at once: they wait for leaders' lives to end.
func TestMain(m *testing.M) {
	if err := fulltest.Crowd(6); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
