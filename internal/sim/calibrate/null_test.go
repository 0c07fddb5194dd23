package calibrate

import (
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/fulltest"
	"github.com/firebreak-dev/firebreak/internal/sim"
)

// Outages of sites and of the whole fleet that once halted a release which harmed nobody, or left its rollout unfinished. Each of the
// numbers cost a search among thousands.
func TestHarmlessOutagesHaltNothing(t *testing.T) {
	fulltest.Only(t)
	t.Parallel()
	p, err := shipped("content")
	if err != nil {
		t.Fatal(err)
	}
	for seed, was := range map[uint64]string{
		28:    "strata fell back to the ceiling, which no controls excuse",
		386:   "amber stayed, with nobody left to ask",
		10088: "few controls were left, so that their silence excused nothing",
		11964: "a silent host of a confirmed ring was counted again in every vigil",
		12334: "the same",
	} {
		r, err := sim.Run(t.Context(), calm(seed), p, seed, sim.Options{Horizon: 6 * time.Hour, Brief: true})
		if err != nil || r.Halted || r.Held > 0 || r.Done == 0 {
			t.Errorf("%d (%s): got halted %t, %d held, done after %g min, %v", seed, was, r.Halted, r.Held, r.Done, err)
		}
	}
}
