package breaker_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
)

func ceiling(p0 float64) breaker.Params { return breaker.Params{Ceiling: p0}.Defaulted() }

// simulate leases hosts in cohorts: all of a cohort are booked as good, then the bad ones are flipped, because bad news comes first. It
// returns how many were booked when the breaker tripped, or limit if it never did. E rises only with bad hosts, so it hops from one to
// the next.
func simulate(chance *rand.Rand, p breaker.Params, bad float64, cohort, limit int64) int64 {
	var s breaker.OneArm
	for host := int64(0); ; host++ {
		host += int64(math.Log(1-chance.Float64()) / math.Log1p(-bad)) // that many good ones are between
		if host >= limit {
			return limit
		}
		s.Booked = (host/cohort + 1) * cohort
		s.Flip()
		if s.Evidence(p.Ceiling) >= p.Trip() {
			return s.Booked
		}
	}
}

// The measured hosts exposed to trip, alpha 1e-4, outcomes known one after the other, of a fault that harms a share of the hosts on top
// of the ceiling.
func TestExposedToTrip(t *testing.T) {
	t.Parallel()
	const runs = 800
	for _, test := range []struct{ p0, effect, want float64 }{
		{1e-3, 1, 2.0},
		{1e-3, 0.5, 4.8},
		{1e-3, 0.1, 34.4},
		{1e-3, 0.01, 718},
		{1e-4, 1, 2.0},
		{1e-4, 0.5, 4.1},
		{1e-4, 0.1, 22.8},
		{1e-4, 0.01, 346},
	} {
		t.Run(fmt.Sprintf("ceiling %g effect %g", test.p0, test.effect), func(t *testing.T) {
			t.Parallel()
			p, chance := ceiling(test.p0), rand.New(rand.NewPCG(1, 2))
			total := int64(0)
			for range runs {
				total += simulate(chance, p, test.p0+test.effect*(1-test.p0), 1, 1e6)
			}
			if got := float64(total) / runs; math.Abs(got-test.want) > 0.15*test.want {
				t.Errorf("got %.2f hosts exposed to trip, want %g", got, test.want)
			}
			if got := breaker.ExposedToTrip(test.effect, p); got < 0.95*test.want || got > 1.05*test.want+1 {
				t.Errorf("got %g hosts by the formula, want about %g", got, test.want)
			}
		})
	}
}

// Ville's inequality: under the null the evidence reaches 1/alpha in at most a share alpha of all rollouts, however often one looks, and
// also when bad news overtakes good.
func TestFalseTripsStayBelowAlpha(t *testing.T) {
	t.Parallel()
	const runs, hosts = 1000, 20_000
	for _, alpha := range []float64{0.05, 0.01} {
		for _, cohort := range []int64{1, 100} {
			t.Run(fmt.Sprintf("alpha %g cohort %d", alpha, cohort), func(t *testing.T) {
				t.Parallel()
				p, chance := breaker.Params{Ceiling: 0.01, Alpha: alpha}.Defaulted(), rand.New(rand.NewPCG(3, 4))
				trips := 0
				for range runs {
					if simulate(chance, p, p.Ceiling, cohort, hosts) < hosts {
						trips++
					}
				}
				if most := alpha*runs + 3*math.Sqrt(alpha*runs); float64(trips) > most {
					t.Errorf("got %d false trips of %d, want at most %g", trips, runs, most)
				}
			})
		}
	}
}

func TestEvidenceIsFiniteAndMonotone(t *testing.T) {
	t.Parallel()
	for _, p := range []breaker.Params{ceiling(1e-3), ceiling(1e-4), ceiling(0.2), ceiling(1e-14), ceiling(1e-300)} {
		for _, booked := range []int64{0, 1, 2, 100, 12_345, 1e8, math.MaxInt64 / 4} {
			before := -1.0
			for _, bad := range []int64{0, 1, 2, 3, 50, 99, 10_000, 12_345, 1e6, 1e8, math.MaxInt64 / 4} {
				if bad > booked {
					break
				}
				got := breaker.OneArm{Booked: booked, Bad: bad}.Evidence(p.Ceiling)
				if math.IsNaN(got) || math.IsInf(got, 0) || got < before {
					t.Errorf("ceiling %g: got E = %g for %d of %d, after %g for fewer", p.Ceiling, got, bad, booked, before)
				}
				before = got
			}
		}
	}
}

func TestEvidenceFallsWithGoodHosts(t *testing.T) {
	t.Parallel()
	p := ceiling(1e-3)
	for bad := range int64(5) {
		before := math.Inf(1)
		for good := range int64(2000) {
			got := breaker.OneArm{Booked: good + bad, Bad: bad}.Evidence(p.Ceiling)
			if got >= before {
				t.Fatalf("got E = %g with %d good hosts and %d bad ones, %g with one less", got, good, bad, before)
			}
			before = got
		}
	}
}

func BenchmarkEvidence(b *testing.B) {
	s := breaker.OneArm{Booked: 1_000_000, Bad: 700}
	for b.Loop() {
		s.Evidence(1e-3)
	}
}

func TestBookFlipUnbook(t *testing.T) {
	t.Parallel()
	var s breaker.OneArm
	if got := s.Evidence(1e-3); math.Abs(got-1) > 1e-12 {
		t.Errorf("got E = %g of nothing, want 1", got)
	}
	s.Flip()
	s.Unbook()
	if s != (breaker.OneArm{}) {
		t.Errorf("got %+v of nobody, want nobody", s)
	}
	s.Book()
	s.Book()
	s.Flip()
	for range 3 {
		s.Unbook()
	}
	if want := (breaker.OneArm{Booked: 1, Bad: 1}); s != want {
		t.Errorf("got %+v, want %+v: a bad host stays in the test", s, want)
	}
}
