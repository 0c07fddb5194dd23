package sim_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/fulltest"
	"github.com/firebreak-dev/firebreak/internal/sim"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

// A run is a function of scenario, plan and seed: the same again, and the same on a machine with other floating-point units and another
// release of Go. The results of a few are kept.
func TestSameOnAnyMachine(t *testing.T) {
	fulltest.Only(t)
	t.Parallel()
	var text strings.Builder
	for seed := range uint64(12) {
		s := draw(t, seed)
		first, second := s.play(t, func(happening) {}), s.play(t, func(happening) {})
		if diff := cmp.Diff(first.Course, second.Course); diff != "" {
			t.Errorf("seed %d: played again, the course differs (-first +second):\n%s", seed, diff)
		}
		line, again := marshal(t, first), marshal(t, second)
		if line != again {
			t.Errorf("seed %d: played again, got %s, want %s", seed, again, line)
		}
		text.WriteString(line + "\n")
	}
	golden := filepath.Join("testdata", "results.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("results differ (-want +got); -update accepts them:\n%s", diff)
	}
}

// The number of workers changes only how long it takes.
func TestSameOnAnyNumberOfWorkers(t *testing.T) {
	t.Parallel()
	s := draw(t, 3)
	s.scenario.Fault.Effect = 0.5
	var summaries [2]sim.Summary
	for k := range summaries {
		sum, err := sim.Many(t.Context(), s.scenario, s.plan, sim.ManyOptions{
			Options: sim.Options{Horizon: 3 * time.Hour}, Runs: 16, Seed: 7, Workers: k + 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		summaries[k] = sum
	}
	if diff := cmp.Diff(summaries[0], summaries[1]); diff != "" {
		t.Errorf("two workers differ from one (-one +two):\n%s", diff)
	}
	if summaries[0].Harmed.Max == 0 {
		t.Error("nobody was harmed: the runs prove nothing")
	}
}

func marshal(t *testing.T, r sim.Result) string {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
