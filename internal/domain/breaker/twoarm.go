package breaker

import "math"

// Arm is one side of a comparison: hosts that were heard in the same minute and watched to the same deadline, and those of them that
// showed the signal meanwhile.
type Arm struct {
	Watched int64 `json:"watched"`
	Showed  int64 `json:"showed"`
}

// Plus adds hosts to an arm.
func (a Arm) Plus(b Arm) Arm { return Arm{Watched: a.Watched + b.Watched, Showed: a.Showed + b.Showed} }

// TwoArm is an e-process that compares exposed hosts with controls. Given how many hosts of both arms showed the signal, the null
// hypothesis says that any of them could have: which arm they were in is a draw without replacement, whatever the common baseline
// does. The alternatives say that the odds of an exposed host are theta times those of a control. Each comparison multiplies the likelihood
// ratio of the exposed arm's count (Fisher's noncentral hypergeometric against the central one), which needs no order among ties.
type TwoArm struct {
	Exposed Arm                   `json:"exposed"` // sums over all comparisons
	Control Arm                   `json:"control"`
	Logs    [alternatives]float64 `json:"logs"` // for each of the odds: the logarithm of the e-process

	// What follows from the rest, kept so that weighing many strata costs little.
	E     float64 `json:"e"`
	Doubt float64 `json:"doubt"`
}

// odds are the alternatives: how many times likelier the update makes the signal.
func odds() [alternatives]float64 { return [...]float64{1.3, 2, 4, 10, 30, 100, 1e3, 1e6} }

const (
	alternatives   = 8
	enoughControls = 100     // fewer cannot show what three silent hosts mean
	fewExposed     = 200     // up to so many, a ceiling stands in for the missing controls
	grain          = 1 << 30 // logarithms are kept in steps of 1/grain: processors differ in the last bit, replays must not
)

// Compare takes in one comparison. Where there are too few controls to learn from, in a small fleet, the first exposed hosts are tested
// against the ceiling instead, if there is one (above 0). Which of the two it is depends on counts known before the outcome. The few
// controls that there are may only excuse: where some of them show the signal too, the smaller of both evidences counts, which is valid
// under the ceiling and saves a small fleet from being blamed for an outage.
func (s *TwoArm) Compare(exposed, control Arm, ceiling float64) {
	if exposed.Watched <= 0 {
		return
	}
	s.compare(exposed, control, ceiling)
	s.E = mixture(s.Logs[:])
	s.Doubt = s.E
	if s.E > harmless {
		var all TwoArm
		all.compare(s.Exposed, s.Control, ceiling)
		s.Doubt = min(s.E, mixture(all.Logs[:]))
	}
}

func (s *TwoArm) compare(exposed, control Arm, ceiling float64) {
	oneArm := ceiling > 0 && control.Watched < enoughControls && s.Exposed.Watched+exposed.Watched <= fewExposed
	for i, theta := range odds() {
		var l float64
		switch {
		case !oneArm:
			l = logRatio(exposed, control, theta)
		case control.Showed > 0:
			l = min(logCeiling(exposed, theta, ceiling), logRatio(exposed, control, theta))
		default:
			l = logCeiling(exposed, theta, ceiling)
		}
		s.Logs[i] = math.Round((s.Logs[i]+l)*grain) / grain
	}
	s.Exposed, s.Control = s.Exposed.Plus(exposed), s.Control.Plus(control)
}

// Evidence is E of this process: 1 means none.
func (s *TwoArm) Evidence() float64 {
	if s.Exposed.Watched == 0 {
		return 1
	}
	return s.E
}

// Suspicion is the evidence, unless all comparisons together have a harmless explanation. The e-process learns nothing from hosts that
// are well while no control shows the signal either, so one unlucky host early on would stand forever in a fleet where nothing ever
// falls silent. The sums do learn. They may be misled by a changing baseline, so they never trip anything: they only end an alarm.
func (s *TwoArm) Suspicion() float64 {
	if s.Exposed.Watched == 0 {
		return 1
	}
	return s.Doubt
}

// harmless is evidence that nobody needs to explain.
const harmless = 2

// logCeiling is the log-likelihood ratio of an arm whose odds are theta times those of a share of ceiling.
func logCeiling(a Arm, theta, ceiling float64) float64 {
	q := theta * ceiling / (1 + ceiling*(theta-1))
	return float64(a.Showed)*math.Log(q/ceiling) + float64(a.Watched-a.Showed)*(math.Log1p(-q)-math.Log1p(-ceiling))
}

// logRatio is the log-likelihood ratio of what the exposed arm showed, given what both arms showed together: its weight over the sum of
// all weights, divided by the same for odds of 1, whose sum is a single binomial coefficient.
func logRatio(exposed, control Arm, theta float64) float64 {
	if exposed.Showed+control.Showed == 0 || control.Watched <= 0 {
		return 0
	}
	h := hypergeometric{n: float64(exposed.Watched), m: float64(control.Watched), s: float64(exposed.Showed + control.Showed)}
	return float64(exposed.Showed)*math.Log(theta) - h.logSum(theta) + logChoose(h.n+h.m, h.s)
}

// hypergeometric weighs j of n exposed and s-j of m controls: C(n,j) C(m,s-j) theta^j.
type hypergeometric struct{ n, m, s float64 }

// logSum is the logarithm of the sum of all weights. The terms rise to a mode and fall after it; those below 1e-18 of the largest do
// not matter, so it costs a few standard deviations' worth of terms.
func (h hypergeometric) logSum(theta float64) float64 {
	low, high := max(0, h.s-h.m), min(h.n, h.s)
	mode := h.mode(theta, low, high)
	sum := 1.0
	for j, term := mode, 1.0; j < high && term > 1e-18; j++ {
		term *= h.step(j, theta)
		sum += term
	}
	for j, term := mode, 1.0; j > low && term > 1e-18; j-- {
		term /= h.step(j-1, theta)
		sum += term
	}
	return logChoose(h.n, mode) + logChoose(h.m, h.s-mode) + mode*math.Log(theta) + math.Log(sum)
}

// step is the weight of j+1 divided by that of j. It falls with j.
func (h hypergeometric) step(j, theta float64) float64 {
	return theta * (h.n - j) * (h.s - j) / ((j + 1) * (h.m - h.s + j + 1))
}

// mode is the heaviest j.
func (h hypergeometric) mode(theta, low, high float64) float64 {
	for low < high {
		if mid := math.Floor((low + high) / 2); h.step(mid, theta) >= 1 {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

func logChoose(n, k float64) float64 {
	a, _ := math.Lgamma(n + 1)
	b, _ := math.Lgamma(k + 1)
	c, _ := math.Lgamma(n - k + 1)
	return a - b - c
}
