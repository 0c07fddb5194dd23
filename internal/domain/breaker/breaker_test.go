package breaker_test

import (
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
)

func nobody(func(int, *breaker.Slice) bool) {}

func only(s *breaker.Slice) iter.Seq2[int, *breaker.Slice] {
	return func(yield func(int, *breaker.Slice) bool) { yield(0, s) }
}

func TestNothingSeenIsNoEvidence(t *testing.T) {
	t.Parallel()
	p := breaker.Params{}.Defaulted()
	var s breaker.State
	var slice breaker.Slice
	for name, w := range map[string]breaker.Weight{"no strata": s.Weigh(p, nobody, 0), "one stratum": s.Weigh(p, only(&slice), 1)} {
		if math.Abs(w.E-1) > 1e-12 || math.Abs(w.Doubt-1) > 1e-12 {
			t.Errorf("%s: got %+v, want 1: the weights add up", name, w)
		}
	}
}

// The first two hosts decide: two that report harm, or two that fall silent beside two thousand controls that do not.
func TestTwoOfTwoTrip(t *testing.T) {
	t.Parallel()
	p := breaker.Params{}.Defaulted()
	crashed := breaker.State{Crashes: breaker.OneArm{Booked: 2, Bad: 2}}
	if w := crashed.Weigh(p, nobody, 0); w.Alarm(p) != breaker.Trip {
		t.Errorf("two crashes of two: got %+v, want a trip", w)
	}
	for _, c := range []struct {
		name             string
		exposed, control breaker.Arm
		want             breaker.Alarm
	}{
		{"two of two beside quiet controls", breaker.Arm{Watched: 2, Showed: 2}, breaker.Arm{Watched: 2000, Showed: 2}, breaker.Trip},
		{"one of two beside quiet controls", breaker.Arm{Watched: 2, Showed: 1}, breaker.Arm{Watched: 2000, Showed: 0}, breaker.Amber},
		{"one of two beside few controls", breaker.Arm{Watched: 2, Showed: 1}, breaker.Arm{Watched: 10, Showed: 0}, breaker.Quiet},
		{"two of two while all fall silent", breaker.Arm{Watched: 2, Showed: 2}, breaker.Arm{Watched: 2000, Showed: 1990}, breaker.Quiet},
		{"none of two", breaker.Arm{Watched: 2}, breaker.Arm{Watched: 2000, Showed: 40}, breaker.Quiet},
	} {
		var s breaker.State
		s.Compare(breaker.Silence, "server", c.exposed, c.control, p)
		if w := s.Weigh(p, nobody, 0); w.Alarm(p) != c.want {
			t.Errorf("%s: got %s at %+v, want %s", c.name, w.Alarm(p), w, c.want)
		}
	}
}

// A server and a laptop that fall silent count together, though their baselines differ.
func TestClassesAddUp(t *testing.T) {
	t.Parallel()
	p := breaker.Params{}.Defaulted()
	var s breaker.State
	s.Compare(breaker.Silence, "laptop", breaker.Arm{Watched: 1, Showed: 1}, breaker.Arm{Watched: 2000, Showed: 40}, p)
	alone := s.Weigh(p, nobody, 0).E
	s.Compare(breaker.Silence, "server", breaker.Arm{Watched: 1, Showed: 1}, breaker.Arm{Watched: 2000, Showed: 2}, p)
	if both := s.Weigh(p, nobody, 0).E; both < 100*alone {
		t.Errorf("got E = %g after a laptop and %g after a server too, want far more", alone, both)
	}
}

// One unlucky host in a fleet where nothing ever falls silent is amber until enough others are well. The e-process itself cannot forget.
func TestAmberClearsWithHostsThatAreWell(t *testing.T) {
	t.Parallel()
	p := breaker.Params{}.Defaulted()
	var s breaker.State
	s.Compare(breaker.Silence, "server", breaker.Arm{Watched: 2, Showed: 1}, breaker.Arm{Watched: 2000}, p)
	e := s.Weigh(p, nobody, 0).E
	rounds := 0
	for s.Weigh(p, nobody, 0).Alarm(p) == breaker.Amber && rounds < 1000 {
		s.Compare(breaker.Silence, "server", breaker.Arm{Watched: 2}, breaker.Arm{Watched: 200}, p)
		rounds++
	}
	if rounds < 5 || rounds > 200 || s.Weigh(p, nobody, 0).E != e {
		t.Errorf("amber ended after %d rounds of two hosts, E went from %g to %g; want some rounds and E to stand", rounds, e, s.Weigh(p, nobody, 0).E)
	}
}

// draw is a comparison under the null: both arms fall silent with the same probability.
func draw(chance *rand.Rand, n, k int64, p float64) (exposed, control breaker.Arm) {
	showed := func(n int64) (x int64) {
		for range n {
			if chance.Float64() < p {
				x++
			}
		}
		return x
	}
	return breaker.Arm{Watched: n, Showed: showed(n)}, breaker.Arm{Watched: k, Showed: showed(k)}
}

// Given how many hosts showed the signal, the mean of the e-value is exactly 1 under the null: it is a draw without replacement.
func TestTwoArmIsFair(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ exposed, control, showed int64 }{{1, 120, 1}, {5, 120, 4}, {40, 100, 30}, {500, 100, 20}, {3, 2000, 1999}} {
		mean := 0.0
		for x := max(0, c.showed-c.control); x <= min(c.showed, c.exposed); x++ {
			var s breaker.TwoArm
			s.Compare(breaker.Arm{Watched: c.exposed, Showed: x}, breaker.Arm{Watched: c.control, Showed: c.showed - x}, 0)
			mean += s.Evidence() * math.Exp(choose(c.exposed, x)+choose(c.control, c.showed-x)-choose(c.exposed+c.control, c.showed))
		}
		if math.Abs(mean-1) > 1e-6 {
			t.Errorf("%+v: got a mean of %.9f, want 1", c, mean)
		}
	}
}

func choose(n, k int64) float64 {
	a, _ := math.Lgamma(float64(n + 1))
	b, _ := math.Lgamma(float64(k + 1))
	c, _ := math.Lgamma(float64(n - k + 1))
	return a - b - c
}

func TestFalseTripsOfTheWholeTestStayBelowAlpha(t *testing.T) {
	t.Parallel()
	const runs, looks = 1500, 60
	for _, alpha := range []float64{0.05, 0.01} {
		t.Run(fmt.Sprintf("alpha %g", alpha), func(t *testing.T) {
			t.Parallel()
			p, chance := breaker.Params{Alpha: alpha, Ceiling: 0.01, Amber: 2}.Defaulted(), rand.New(rand.NewPCG(7, 8))
			trips := 0
			for range runs {
				if nullTrips(chance, p, looks) {
					trips++
				}
			}
			if most := alpha*runs + 3*math.Sqrt(alpha*runs); float64(trips) > most {
				t.Errorf("got %d false trips of %d, want at most %g", trips, runs, most)
			}
		})
	}
}

// nullTrips runs a rollout that harms nobody, on a baseline that swings between calm and an outage.
func nullTrips(chance *rand.Rand, p breaker.Params, looks int) bool {
	var s breaker.State
	var slice breaker.Slice
	for range looks {
		baseline := 0.02 * math.Exp(0.7*chance.NormFloat64())
		if chance.Float64() < 0.05 {
			baseline = 0.9
		}
		exposed, control := draw(chance, 10, 150, baseline)
		for _, signal := range []breaker.Signal{breaker.Silence, breaker.Slow} {
			s.Compare(signal, "laptop", exposed, control, p)
		}
		slice.Silence.Compare(exposed, control, p.Silence)
		for range 10 {
			s.Crashes.Book()
			slice.Crashes.Book()
			if chance.Float64() < p.Ceiling {
				s.Crashes.Flip()
				slice.Crashes.Flip()
			}
		}
		if w := s.Weigh(p, only(&slice), 1); w.Alarm(p) == breaker.Trip {
			return true
		}
	}
	return false
}

// No precision is lost over many outcomes: the evidence of a comparison in parts stays near that of the exact sums.
func TestManyOutcomesKeepTheirPrecision(t *testing.T) {
	t.Parallel()
	var s breaker.TwoArm
	for range 1000 {
		s.Compare(breaker.Arm{Watched: 100_000, Showed: 100}, breaker.Arm{Watched: 100_000, Showed: 100}, 0)
	}
	for i, l := range s.Logs {
		if l >= 0 || math.IsNaN(l) {
			t.Errorf("alternative %d: got a log of %g after 10^8 outcomes that fit the null, want below 0", i, l)
		}
	}
	before := s.Evidence()
	s.Compare(breaker.Arm{Watched: 1, Showed: 1}, breaker.Arm{Watched: 1_000_000}, 0)
	if s.Evidence() < before {
		t.Errorf("got E = %g after one more silent host, %g before", s.Evidence(), before)
	}
}

func TestEdgesOfAComparison(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ exposed, control breaker.Arm }{
		{breaker.Arm{}, breaker.Arm{Watched: 500, Showed: 500}},
		{breaker.Arm{Watched: 500, Showed: 500}, breaker.Arm{}},
		{breaker.Arm{Watched: 1e9, Showed: 1e9}, breaker.Arm{Watched: 1e9, Showed: 1e9}},
		{breaker.Arm{Watched: 1e9}, breaker.Arm{Watched: 1e9, Showed: 1e9}},
		{breaker.Arm{Watched: 1e9, Showed: 1e9}, breaker.Arm{Watched: 1e9}},
	} {
		var s breaker.TwoArm
		s.Compare(c.exposed, c.control, 0.01)
		if e := s.Evidence(); math.IsNaN(e) || math.IsInf(e, 0) || e < 0 {
			t.Errorf("%+v: got E = %g", c, e)
		}
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		p    breaker.Params
		want []string
	}{
		"defaults":          {breaker.Params{}.Defaulted(), nil},
		"nothing":           {breaker.Params{}, []string{"b.ceiling", "b.silence", "b.alpha", "b.amber"}},
		"too much":          {breaker.Params{Ceiling: 0.3, Silence: 0.3, Alpha: 0.1, Amber: 10}, []string{"b.ceiling", "b.silence", "b.alpha", "b.amber"}},
		"not a number":      {breaker.Params{Ceiling: math.NaN(), Silence: math.NaN(), Alpha: math.NaN(), Amber: math.NaN()}, []string{"b.ceiling", "b.silence", "b.alpha", "b.amber"}},
		"amber beyond trip": {breaker.Params{Ceiling: 0.01, Silence: 0.01, Alpha: 0.05, Amber: 20}, []string{"b.amber"}},
	} {
		var got []string
		for _, problem := range test.p.Check("b") {
			got = append(got, problem.Path)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: problems differ (-want +got):\n%s", name, diff)
		}
	}
}

func BenchmarkWeigh(b *testing.B) {
	p := breaker.Params{}.Defaulted()
	strata := make([]breaker.Slice, 1000)
	all := func(yield func(int, *breaker.Slice) bool) {
		for i := range strata {
			if !yield(i, &strata[i]) {
				return
			}
		}
	}
	s := breaker.State{Crashes: breaker.OneArm{Booked: 1_000_000, Bad: 700}}
	s.Compare(breaker.Silence, "laptop", breaker.Arm{Watched: 10_000, Showed: 200}, breaker.Arm{Watched: 2000, Showed: 40}, p)
	for b.Loop() {
		s.Weigh(p, all, len(strata))
	}
}

func BenchmarkCompare(b *testing.B) {
	var s breaker.TwoArm
	for b.Loop() {
		s.Compare(breaker.Arm{Watched: 100_000, Showed: 2000}, breaker.Arm{Watched: 2000, Showed: 40}, 0)
	}
}
