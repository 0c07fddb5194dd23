package breaker_test

import (
	"testing"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
)

// The few controls of a small fleet cannot show what silence means, but they excuse what hits everybody.
func TestFewControlsExcuse(t *testing.T) {
	t.Parallel()
	const ceiling = 0.01
	for name, test := range map[string]struct {
		control     breaker.Arm
		above, most float64
	}{
		"nobody else is silent":  {breaker.Arm{Watched: 26}, 1e4, 1e300},
		"everybody is silent":    {breaker.Arm{Watched: 26, Showed: 26}, 0, 1},
		"half of all are silent": {breaker.Arm{Watched: 26, Showed: 13}, 0, 1e3},
		"there are no controls":  {breaker.Arm{}, 1e4, 1e300},
	} {
		var s breaker.TwoArm
		s.Compare(breaker.Arm{Watched: 6, Showed: 6}, test.control, ceiling)
		if got := s.Evidence(); got < test.above || got > test.most {
			t.Errorf("six silent hosts of six, %s: got evidence %.3g, want %g to %g", name, got, test.above, test.most)
		}
	}
}
