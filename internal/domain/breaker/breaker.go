// Package breaker is the sequential test that decides that an update is bad.
//
// It is a one-arm mixture e-process against a ceiling: the null hypothesis says that a leased host fails with a probability of at
// most [Params.Ceiling], whatever else happens. Every leased host is booked as good when it is leased and flipped when it turns bad,
// because bad news travels faster than good. Under the null the chance that the evidence ever reaches 1/alpha is at most alpha,
// however often one looks (Ville's inequality), so it may be looked at after every single outcome.
//
// The test never proves health. Promotion is the business of package evidence.
package breaker

import (
	"fmt"
	"math"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Params set up a test. Fields left at zero take the defaults of [Params.Defaulted].
type Params struct {
	Ceiling float64 `json:"ceiling,omitempty"` // p0: share of hosts that may fail without the update being to blame
	Alpha   float64 `json:"alpha,omitempty"`   // chance of a false trip over a whole rollout
	Amber   float64 `json:"amber,omitempty"`   // evidence at which growth freezes
}

// The defaults. With a ceiling of 1e-3 two bad hosts of the first two trip the breaker.
const (
	DefaultCeiling = 1e-3
	DefaultAlpha   = 1e-4
	DefaultAmber   = 20
)

// Defaulted fills the fields that were left out.
func (p Params) Defaulted() Params {
	if p.Ceiling == 0 {
		p.Ceiling = DefaultCeiling
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
		add("ceiling", "is the share of hosts that fail without any update; must be above 0 and at most 0.2, is %g", p.Ceiling)
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

// State is all that the test remembers: it is exact, however many outcomes it has seen.
type State struct {
	Booked int64 `json:"booked"` // leased hosts under test, good and bad
	Bad    int64 `json:"bad"`    // those of them that turned bad
}

// Book counts one more leased host, as good.
func (s State) Book() State { s.Booked++; return s }

// Flip turns a booked host bad. There are never more bad hosts than booked ones.
func (s State) Flip() State { s.Bad = min(s.Bad+1, s.Booked); return s }

// Unbook takes a good host out of the test: it said goodbye or never activated, so it tells nothing.
func (s State) Unbook() State { s.Booked = max(s.Booked-1, s.Bad); return s }

// Alarm is what the evidence calls for.
type Alarm string

// The alarms.
const (
	Quiet Alarm = "quiet" // carry on
	Amber Alarm = "amber" // freeze growth, look closer
	Trip  Alarm = "trip"  // halt, recall, roll back
)

// Alarm judges the evidence seen so far.
func (s State) Alarm(p Params) Alarm {
	switch e := s.Evidence(p); {
	case e >= p.Trip():
		return Trip
	case e >= p.Amber:
		return Amber
	default:
		return Quiet
	}
}

// Evidence is E, the evidence against the null hypothesis: 1 means none. It saturates at 1e300.
//
// The mixture runs over the alternatives q = 2*p0*3^m up to 0.9, and 0.999, with equal weights. It is computed in the log domain
// from the two counts, so that nothing is rounded away over 10^8 outcomes.
func (s State) Evidence(p Params) float64 {
	good, bad := float64(s.Booked-s.Bad), float64(s.Bad)
	var alternatives [maxAlternatives]float64
	n, top := 0, math.Inf(-1)
	for q := 2 * p.Ceiling; n < maxAlternatives; q *= 3 {
		last := q >= lastOfGrid
		if last {
			q = certain
		}
		l := bad*math.Log(q/p.Ceiling) + good*(math.Log1p(-q)-math.Log1p(-p.Ceiling))
		alternatives[n] = l
		top = max(top, l)
		n++
		if last {
			break
		}
	}
	sum := 0.0
	for _, l := range alternatives[:n] {
		sum += math.Exp(l - top)
	}
	return math.Exp(min(top+math.Log(sum/float64(n)), saturation))
}

const (
	maxAlternatives = 32    // enough for a ceiling of 1e-14
	lastOfGrid      = 0.9   // the grid's steps end here
	certain         = 0.999 // its last alternative: every host fails
	saturation      = 690   // ln of about 1e300
)

// ExposedToTrip is the expected number of hosts that a fault of the given effect reaches before the breaker trips: the evidence needed
// divided by what one host brings. Effect is the share of leased hosts that it harms, on top of the ceiling. To 1/alpha come half of
// what the mixture's weight can cost, because neighbouring alternatives share it, and half a bad host's worth of overshoot; that
// is within 5 % of what is measured, before it is rounded up.
func ExposedToTrip(effect float64, p Params) float64 {
	p1 := min(p.Ceiling+effect*(1-p.Ceiling), certain)
	perHost := p1*math.Log(p1/p.Ceiling) + (1-p1)*(math.Log1p(-p1)-math.Log1p(-p.Ceiling))
	grid := math.Ceil(math.Log(lastOfGrid/(2*p.Ceiling))/math.Log(3)) + 1
	return math.Ceil((math.Log(1/p.Alpha) + (math.Log(grid)+math.Log(p1/p.Ceiling))/2) / perHost)
}
