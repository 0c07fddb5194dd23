package breaker

import (
	"fmt"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Params set up a test. Fields left at zero take the defaults of [Params.Defaulted].
type Params struct {
	Ceiling float64 `json:"ceiling,omitempty"` // share of hosts that may report harm without the update being to blame
	Silence float64 `json:"silence,omitempty"` // share that may fall silent for no reason; only asked where there are too few controls
	Alpha   float64 `json:"alpha,omitempty"`   // chance of a false trip over a whole rollout
	Amber   float64 `json:"amber,omitempty"`   // evidence at which growth freezes
}

// The defaults. With them the breaker trips when the first two hosts report harm, or fall silent beside two thousand controls that do not.
const (
	DefaultCeiling = 1e-3
	DefaultSilence = 1e-2
	DefaultAlpha   = 1e-4
	DefaultAmber   = 20
)

// Defaulted fills the fields that were left out.
func (p Params) Defaulted() Params {
	if p.Ceiling == 0 {
		p.Ceiling = DefaultCeiling
	}
	if p.Silence == 0 {
		p.Silence = DefaultSilence
	}
	if p.Alpha == 0 {
		p.Alpha = DefaultAlpha
	}
	if p.Amber == 0 {
		p.Amber = DefaultAmber
	}
	return p
}

// Check lists what is wrong with the parameters; path prefixes each problem.
func (p Params) Check(path string) []fault.Problem {
	var problems []fault.Problem
	add := func(field, format string, args ...any) {
		problems = append(problems, fault.Problem{Path: path + "." + field, Message: fmt.Sprintf(format, args...)})
	}
	if !(p.Ceiling > 0 && p.Ceiling <= 0.2) {
		add("ceiling", "is the share of hosts that report harm without any update; must be above 0 and at most 0.2, is %g", p.Ceiling)
	}
	if !(p.Silence > 0 && p.Silence <= 0.2) {
		add("silence", "is the share of hosts that fall silent without any update; must be above 0 and at most 0.2, is %g", p.Silence)
	}
	if !(p.Alpha > 0 && p.Alpha <= 0.05) {
		add("alpha", "is the chance of a false trip; must be above 0 and at most 0.05, is %g", p.Alpha)
	}
	if !(p.Amber >= 2) || p.Alpha > 0 && p.Amber >= 1/p.Alpha {
		add("amber", "must be at least 2 and below 1/alpha, is %g", p.Amber)
	}
	return problems
}

// Trip is the evidence at which the breaker trips.
func (p Params) Trip() float64 { return 1 / p.Alpha }

// Alarm is what the evidence calls for.
type Alarm string

// The alarms.
const (
	Quiet Alarm = "quiet" // carry on
	Amber Alarm = "amber" // freeze growth, look closer
	Trip  Alarm = "trip"  // halt, recall, roll back
)
