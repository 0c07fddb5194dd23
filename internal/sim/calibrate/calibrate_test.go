package calibrate_test

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
	"github.com/firebreak-dev/firebreak/internal/sim/calibrate"
)

var (
	full = flag.Bool("full", false, "measure all figures at full size, as make calibrate does")
	only = flag.String("only", "", "measure the figures that this matches: one-arm, outcomes, '100 % silent', ..., good, speed, type-I, null")
)

// The figures that the decision promises. A few hundred seeded runs here; `make calibrate` has them all.
func TestFigures(t *testing.T) {
	fulltest.Only(t)
	t.Parallel()
	size, out := calibrate.Small(), &strings.Builder{}
	var figures []calibrate.Figure
	var err error
	if *full {
		size = calibrate.Full()
		if *only != "" {
			size.Only = regexp.MustCompile(*only)
		}
		figures, err = calibrate.Run(t.Context(), os.Stdout, os.Stderr, clock.Wall{}, size)
	} else {
		figures, err = calibrate.Run(t.Context(), out, nil, clock.Wall{}, size)
		t.Log("\n" + out.String())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range figures {
		if f.Missed {
			t.Errorf("%s: got %s, want %s", f.Name, f.Got, f.Goal)
		}
	}
	if len(figures) < 40 && size.Only == nil {
		t.Errorf("got %d figures, want at least 40", len(figures))
	}
}
