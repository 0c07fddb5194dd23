package agent

import (
	"reflect"
	"time"

	"github.com/firebreak-dev/firebreak/api"
)

// lookAgain is how long a look at the host's posture stands: it changes when somebody configures the host, and at a boot.
const lookAgain = time.Minute

// stance is what the host could survive alone, as it was seen last, and what the control plane knows of it. Only the poll loop touches it.
type stance struct {
	looked    time.Time // zero: never
	now, told *api.Posture
}

// lookRound looks at the host's posture, if the last look is old. It reads files, so no lock may be held.
func (a *Agent) lookRound() {
	now := a.now()
	if a.Posture == nil || a.asks || !a.stance.looked.IsZero() && now.Sub(a.stance.looked).Abs() < lookAgain {
		return
	}
	seen := a.Posture()
	a.stance.looked, a.stance.now = now, &seen
}

// news is the posture, if the control plane does not know it; all tells that it knows nothing.
func (s *stance) news(all bool) *api.Posture {
	if !all && reflect.DeepEqual(s.now, s.told) {
		return nil
	}
	return s.now
}
