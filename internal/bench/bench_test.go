package bench

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
)

// full is whether figures are taken at full size. Without it the same code runs on small sizes, and times promise nothing.
var full = flag.Bool("full", false, "measure at full size")

// figures are the lines that end the run.
var figures struct {
	mu    sync.Mutex
	lines []line
}

type line struct {
	name  string
	value float64
	unit  string
}

// figure notes one measured value; unit is "ratio", "bytes", "s", "1/s" and the like.
func figure(t testing.TB, name string, value float64, unit string) {
	t.Helper()
	figures.mu.Lock()
	defer figures.mu.Unlock()
	figures.lines = append(figures.lines, line{name, value, unit})
	t.Logf("%s %.4g %s", name, value, unit)
}

func TestMain(m *testing.M) {
	code := m.Run()
	slices.SortFunc(figures.lines, func(a, b line) int { return cmp.Compare(a.name, b.name) })
	if *full {
		_, _ = fmt.Fprintln(os.Stdout)
		for _, l := range figures.lines {
			_, _ = fmt.Fprintf(os.Stdout, "%s %.4g %s\n", l.name, l.value, l.unit)
		}
	}
	os.Exit(code)
}
