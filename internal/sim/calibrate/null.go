package calibrate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/sim"
)

// calm is a release that harms nobody, on a small fleet with a swinging baseline. Half of the fleets are also cut off as a whole for five
// minutes, and lose whole sites for up to half an hour. Each of them is drawn from its number.
func calm(seed uint64) sim.Scenario {
	rng := rand.New(rand.NewPCG(seed, 0xca1b))
	s := july(5000 + rng.Int64N(15_001))
	s.Fault = sim.Fault{}
	s.Fleet.Strata = []int64{1, 20, 1000}[rng.IntN(3)]
	when := func(upTo time.Duration) sim.Duration {
		return sim.Duration(time.Duration(rng.Int64N(int64(upTo))).Round(time.Second))
	}
	if seed%2 == 0 {
		s.Outages = append(s.Outages, sim.Outage{At: when(90 * time.Minute), For: sim.Duration(5 * time.Minute), Scope: "fleet", Share: 1})
		for range 1 + rng.IntN(3) {
			o := sim.Outage{At: when(90 * time.Minute), For: sim.Duration(time.Minute) + when(30*time.Minute), Scope: "site", Share: 0.1 * rng.Float64()}
			s.Outages = append(s.Outages, o)
		}
	}
	return s.Defaulted()
}

// nulls are counts over rollouts that harm nobody.
type nulls struct{ halted, held, done int }

func (b *bench) nulls(name string, runs int, p plan.Plan, scenario func(seed uint64) sim.Scenario) (nulls, error) {
	results := make([]nulls, runs)
	err := b.each(name, runs, func(k int) error {
		seed := b.Seed + uint64(k)
		r, err := sim.Run(b.ctx, scenario(seed), p, seed, sim.Options{Horizon: b.Horizon, Brief: true})
		if r.Halted {
			results[k].halted = 1
		} else if r.Held > 0 {
			results[k].held = 1
		}
		if r.Done > 0 {
			results[k].done = 1
		}
		return err
	})
	var sum nulls
	for _, r := range results {
		sum.halted, sum.held, sum.done = sum.halted+r.halted, sum.held+r.held, sum.done+r.done
	}
	return sum, err
}

// null counts false halts as the plan is shipped.
func (b *bench) null() error {
	p, err := shipped("content")
	if err != nil {
		return err
	}
	sum, err := b.nulls("false halts", b.Null, p, calm)
	if err != nil {
		return err
	}
	b.add(Figure{
		Name: fmt.Sprintf("false halts at alpha %g", p.Breaker.Alpha), Goal: "none, 99 % done", Reference: "0 of 20,000",
		Missed: sum.halted+sum.held > 0 || float64(sum.done) < 0.99*float64(b.Null),
		Got:    fmt.Sprintf("%d halted, %d held, %d/%d done", sum.halted, sum.held, sum.done, b.Null),
	})
	return nil
}

// ville checks the promise of the test where it can be seen: at a looser alpha, on fleets whose hosts report as much harm as the ceiling allows
// and fall silent as they like. A share of at most alpha may trip; three standard errors are chance.
func (b *bench) ville() error {
	for _, row := range []struct {
		alpha     float64
		reference string
	}{{0.05, "0.015 / 0.025"}, {0.01, "0.005 / 0.004"}} {
		p, err := shipped("content")
		if err != nil {
			return err
		}
		p.Breaker.Alpha, p.Breaker.Amber = row.alpha, min(p.Breaker.Amber, 0.5/row.alpha)
		sum, err := b.nulls(fmt.Sprintf("alpha %g", row.alpha), b.Ville, p, func(seed uint64) sim.Scenario {
			s := calm(2*seed + 1) // without outages
			s.Fault.Floor = p.Breaker.Ceiling
			return s
		})
		if err != nil {
			return err
		}
		n := float64(max(1, b.Ville))
		most := row.alpha + 3*math.Sqrt(row.alpha*(1-row.alpha)/n)
		b.add(Figure{
			Name: fmt.Sprintf("type-I error at alpha %g", row.alpha), Goal: fmt.Sprintf("<= %.4f", most), Reference: row.reference,
			Got:    fmt.Sprintf("%.4f (%d halted, %d held)", float64(sum.halted+sum.held)/n, sum.halted, sum.held),
			Missed: float64(sum.halted+sum.held)/n > most,
		})
	}
	return nil
}
