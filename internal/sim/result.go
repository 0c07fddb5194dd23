package sim

import "github.com/firebreak-dev/firebreak/internal/domain/rollout"

// Result is what came of one run.
type Result struct {
	Seed       uint64  `json:"seed"`
	Harmed     int64   `json:"harmed"`      // by the release
	Exposed    int64   `json:"exposed"`     // got a lease
	NeedsHands int64   `json:"needs_hands"` // harmed and not back by themselves
	Halted     bool    `json:"halted"`      // the breaker tripped
	Held       int     `json:"held"`        // strata, tenants and sites that the breaker held alone
	ToHalt     float64 `json:"to_halt"`     // minutes from the start until the trip or the first hold; 0 if there was none
	Done       float64 `json:"done"`        // minutes from the start until all online hosts had it; 0 if they never had
	Phase      string  `json:"phase"`       // at the end
	Waiting    string  `json:"waiting,omitempty"`
	Steps      int64   `json:"steps"` // calls of rollout.Step

	Course []Moment `json:"-"`
	broke  []int32
}

// Moment is a point of a run's course.
type Moment struct {
	Minutes         float64
	Exposed, Harmed int64
}

func (r *Result) harm(second int32) { r.broke = append(r.broke, second) }

func (r *Result) record(second int32, exposed int64) {
	last := len(r.Course) - 1
	if last >= 0 && r.Course[last].Exposed == exposed && r.Course[last].Harmed == r.Harmed && last > 0 && r.Course[last-1].Exposed == exposed && r.Course[last-1].Harmed == r.Harmed {
		r.Course[last].Minutes = float64(second) / 60
		return
	}
	r.Course = append(r.Course, Moment{Minutes: float64(second) / 60, Exposed: exposed, Harmed: r.Harmed})
}

// conclude reads the result from the state.
func (w *world) conclude() {
	r, s := &w.result, &w.state
	r.Exposed, r.Halted, r.Held, r.Phase = w.exposed, s.Phase == rollout.Tripped, len(s.Holds), string(s.Phase)
	if s.Phase == rollout.Running {
		r.Waiting = s.Waiting().Text
	}
	switch {
	case len(s.Holds) > 0:
		r.ToHalt = s.Holds[0].At.Sub(w.start).Minutes()
	case r.Halted:
		r.ToHalt = s.Ended.Sub(w.start).Minutes()
	}
}
