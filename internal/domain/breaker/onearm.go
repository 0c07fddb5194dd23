package breaker

import "math"

// OneArm is a mixture e-process against [Params.Ceiling]. Every leased host is booked as good when it is leased and flipped when it
// turns bad, because bad news travels faster than good. Two counts are all that it remembers, so it is exact however many it has seen.
type OneArm struct {
	Booked int64 `json:"booked"` // leased hosts under test, good and bad
	Bad    int64 `json:"bad"`    // those of them that turned bad
}

// Book counts one more leased host, as good.
func (s *OneArm) Book() { s.Booked++ }

// Flip turns a booked host bad. There are never more bad hosts than booked ones.
func (s *OneArm) Flip() { s.Bad = min(s.Bad+1, s.Booked) }

// Unbook takes a good host out of the test: it left or never activated, so it tells nothing.
func (s *OneArm) Unbook() { s.Booked = max(s.Booked-1, s.Bad) }

// Without is the test without the hosts of another one, which it contains.
func (s OneArm) Without(o OneArm) OneArm {
	bad := max(0, s.Bad-o.Bad)
	return OneArm{Booked: max(bad, s.Booked-o.Booked), Bad: bad}
}

// Evidence is E, the evidence against the null hypothesis: 1 means none. It saturates at 1e300.
//
// The mixture runs over the alternatives q = 2*p0*3^m up to 0.9, and 0.999, with equal weights. It is computed in the log domain
// from the two counts, so that nothing is rounded away over 10^8 outcomes.
func (s OneArm) Evidence(ceiling float64) float64 {
	good, bad := float64(s.Booked-s.Bad), float64(s.Bad)
	var logs [maxAlternatives]float64
	n := 0
	for q := 2 * ceiling; n < maxAlternatives; q *= 3 {
		last := q >= lastOfGrid
		if last {
			q = certain
		}
		logs[n] = bad*math.Log(q/ceiling) + good*(math.Log1p(-q)-math.Log1p(-ceiling))
		n++
		if last {
			break
		}
	}
	return mixture(logs[:n])
}

const (
	maxAlternatives = 32    // enough for a ceiling of 1e-14
	lastOfGrid      = 0.9   // the grid's steps end here
	certain         = 0.999 // its last alternative: every host fails
	saturation      = 690   // ln of about 1e300
)

// mixture is the mean of e-values that are given as logarithms.
func mixture(logs []float64) float64 {
	top := math.Inf(-1)
	for _, l := range logs {
		top = max(top, l)
	}
	sum := 0.0
	for _, l := range logs {
		sum += math.Exp(l - top)
	}
	return math.Exp(min(top+math.Log(sum/float64(len(logs))), saturation))
}

// ExposedToTrip is the expected number of hosts that a fault of the given effect reaches before the test alone trips: the evidence needed
// divided by what one host brings. Effect is the share of leased hosts that it harms, on top of the ceiling. To 1/alpha come half of
// what the mixture's weight can cost, because neighbouring alternatives share it, and half a bad host's worth of overshoot; that
// is within 5 % of what is measured, before it is rounded up.
func ExposedToTrip(effect float64, p Params) float64 {
	p1 := min(p.Ceiling+effect*(1-p.Ceiling), certain)
	perHost := p1*math.Log(p1/p.Ceiling) + (1-p1)*(math.Log1p(-p1)-math.Log1p(-p.Ceiling))
	grid := math.Ceil(math.Log(lastOfGrid/(2*p.Ceiling))/math.Log(3)) + 1
	return math.Ceil((math.Log(1/p.Alpha) + (math.Log(grid)+math.Log(p1/p.Ceiling))/2) / perHost)
}
