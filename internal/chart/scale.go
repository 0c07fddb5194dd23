package chart

import "math"

const (
	maxTicks = 12
	day      = 86400.0 // seconds
	tiny     = 1e-300  // what is smaller counts as 0 on a log axis
	strip    = 24.0    // pixels below a log axis where 0 is shown
	lastRung = 301     // of a log axis, on both sides of 1
)

// scale is an axis with its range decided: it turns values into pixels.
type scale struct {
	lo, hi       float64   // what is shown, strip not included; lo > 0 if log
	log          bool      //
	zero         bool      // log only: there is a strip for what is below lo
	major, minor []float64 // ascending; major have labels, at most maxTicks
	step         float64   // between major ticks; 0 on a log axis
	from, to     float64   // pixels of the low and the high end
}

// extent is what a set of values spans.
type extent struct {
	lo, hi, least float64 // least is the lowest that a log axis can show
	some          bool    // at least one value was added
}

func (e *extent) add(v float64) {
	if !e.some {
		*e = extent{lo: v, hi: v, some: true}
	}
	e.lo, e.hi = min(e.lo, v), max(e.hi, v)
	if v >= tiny && (e.least == 0 || v < e.least) {
		e.least = v
	}
}

// newScale decides range and ticks, of which there are n at most (3 to maxTicks). Unless the axis has a given range, snap
// widens it to where ticks are.
func newScale(a Axis, e extent, n int, snap bool) scale {
	s := scale{log: a.Log}
	switch {
	case a.given():
		s.lo, s.hi, snap = a.Min, a.Max, false
	case a.Log && e.least == 0:
		s.lo, s.hi = 1, 10
	case a.Log:
		s.lo, s.hi = e.least, e.hi
	case !e.some:
		s.lo, s.hi = 0, 1
	default:
		s.lo, s.hi = e.lo, e.hi
		if a.Kind == Count {
			s.lo, s.hi = min(s.lo, 0), max(s.hi, 0)
		}
	}
	s.widen()
	if s.log {
		s.logTicks(a.Kind, n, snap)
		s.zero = a.below(e)
	}
	if len(s.major) < 2 { // linear, or log but too short to have ticks of its own
		s.linearTicks(a.Kind, n, snap)
	}
	return s
}

// widen makes room round a range that is one value, or as good as one.
func (s *scale) widen() {
	if s.log {
		if s.hi < s.lo*1.01 {
			s.lo, s.hi = s.lo/2, s.hi*2
		}
		return
	}
	size := max(math.Abs(s.lo), math.Abs(s.hi))
	switch {
	case size < tiny*1e10:
		s.lo, s.hi = 0, 1
	case s.hi-s.lo < size*1e-9:
		s.lo, s.hi = s.lo-size/2, s.hi+size/2
	}
}

func (s *scale) linearTicks(kind Kind, n int, snap bool) {
	const slack = 1e-9 // of a step: what arithmetic costs
	if s.log && kind == Count {
		kind = Number // a mean of few hosts may be anywhere between two whole ones
	}
	for step := nice(kind, (s.hi-s.lo)/float64(n)); ; step = nice(kind, step*1.01) {
		first, last := math.Ceil(s.lo/step-slack), math.Floor(s.hi/step+slack)
		if snap {
			first, last = math.Floor(s.lo/step+slack), math.Ceil(s.hi/step-slack)
		}
		if last-first+1 > float64(n) {
			continue
		}
		s.step, s.major, s.minor = step, nil, nil
		for i := first; i <= last; i++ {
			s.major = append(s.major, i*step+0) // +0: no negative zero
		}
		break
	}
	if snap {
		s.lo, s.hi = min(s.lo, s.major[0]), max(s.hi, s.major[len(s.major)-1])
	}
}

// logTicks puts a tick at every rung, or at every 2nd, 3rd, ... if they were too many.
func (s *scale) logTicks(kind Kind, n int, snap bool) {
	a, b := rungBelow(kind, s.lo), rungBelow(kind, s.hi)
	if rung(kind, b) < s.hi {
		b++
	}
	if !snap && rung(kind, a) < s.lo {
		a++
	}
	every := 1
	for floorTo(b+every-1, every)-floorTo(a, every) > (n-1)*every {
		every++
	}
	if snap {
		a, b = max(floorTo(a, every), -lastRung), min(floorTo(b+every-1, every), lastRung)
		s.lo, s.hi = min(s.lo, rung(kind, a)), max(s.hi, rung(kind, b))
	}
	for i := a - 1; i <= b; i++ {
		if v := rung(kind, i); i%every == 0 && v >= s.lo && v <= s.hi {
			s.major = append(s.major, v)
		}
		for m := 2.0; m < 10 && every == 1; m++ {
			if v := m * rung(kind, i); v > s.lo && v < s.hi && v < rung(kind, i+1) {
				s.minor = append(s.minor, v)
			}
		}
	}
}

// floorTo is the multiple of every that is not above i.
func floorTo(i, every int) int { return int(math.Floor(float64(i)/float64(every))) * every }

// rung is the i-th value that deserves a tick on a log axis, with rung 0 at 1. A power of ten, except that durations go
// 1 s, 10 s, 1 min, 10 min, 1 h, 10 h, 1 d, 10 d.
func rung(kind Kind, i int) float64 {
	if kind != Duration || i < 2 {
		return math.Pow10(i)
	}
	if i < 6 {
		return [...]float64{60, 600, 3600, 36000}[i-2]
	}
	return day * math.Pow10(i-6)
}

// rungBelow is the highest rung that is not above v.
func rungBelow(kind Kind, v float64) int {
	i := int(math.Log10(v)) - 2
	for rung(kind, i+1) <= v {
		i++
	}
	return i
}

// nice is the smallest step for ticks that people read easily and that is not below x.
func nice(kind Kind, x float64) float64 {
	switch {
	case kind == Count && x <= 1:
		return 1
	case kind == Duration && x > day/2:
		return day * nice(Count, x/day)
	case kind == Duration && x > 1:
		for _, step := range [...]float64{2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600} {
			if step >= x {
				return step
			}
		}
		return day / 2
	}
	p := math.Pow10(rungBelow(Number, x))
	for _, m := range [...]float64{1, 2, 5} {
		if m*p >= x {
			return m * p
		}
	}
	return 10 * p
}

// at is the pixel of a value. It stays within what renderers can reckon with, however far the value is outside.
func (s scale) at(v float64) float64 {
	const far = 1e5
	start, low := s.from, s.to-s.from
	if s.zero {
		start += math.Copysign(strip, low)
		if v < s.lo {
			return s.from + (start-s.from)*v/s.lo
		}
	}
	share := (v - s.lo) / (s.hi - s.lo)
	if s.log {
		share = (math.Log(max(v, tiny)) - math.Log(s.lo)) / (math.Log(s.hi) - math.Log(s.lo))
	}
	return min(max(start+share*(s.to-start), -far), far)
}

// shows tells whether a value is within the range.
func (s scale) shows(v float64) bool { return v <= s.hi && (v >= s.lo || s.zero) }
