package calibrate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// oneArm measures how many hosts the test of reported harm alone lets through until it trips, when each host's outcome is known before
// the next one's lease.
func (b *bench) oneArm() error {
	effects := []float64{1, 0.5, 0.1, 0.01, 0.001}
	for _, row := range []struct {
		ceiling, alpha float64
		reference      [5]float64
	}{
		{1e-3, 1e-3, [5]float64{2, 4.1, 27.9, 581, 23_197}},
		{1e-3, 1e-4, [5]float64{2, 4.8, 34.4, 718, 29_391}},
		{1e-3, 1e-6, [5]float64{3, 6.7, 47.4, 999, 41_160}},
		{1e-4, 1e-3, [5]float64{1, 3.1, 19.9, 277, 6046}},
		{1e-4, 1e-4, [5]float64{2, 4.1, 22.8, 346, 7645}},
		{1e-4, 1e-6, [5]float64{2, 5.1, 31.1, 482, 10_487}},
	} {
		for k, effect := range effects {
			if err := b.ctx.Err(); err != nil {
				return err
			}
			exposed := b.exposedToTrip(effect, breaker.Params{Ceiling: row.ceiling, Alpha: row.alpha}.Defaulted())
			mean, want := mean(exposed), row.reference[k]
			b.add(Figure{
				Name: fmt.Sprintf("one-arm p0 %g alpha %g effect %g", row.ceiling, row.alpha, effect), Goal: "within 15 %",
				Got: fmt.Sprintf("%.5g ± %.2g", mean, standardError(exposed)), Reference: fmt.Sprintf("%g", want),
				Missed: math.Abs(mean/want-1) > 0.15,
			})
		}
	}
	return nil
}

func (b *bench) exposedToTrip(effect float64, p breaker.Params) []float64 {
	rng := rand.New(rand.NewPCG(b.Seed, 0x0a3e))
	p1 := p.Ceiling + effect*(1-p.Ceiling)
	exposed := make([]float64, b.OneArm)
	for k := range exposed {
		var test breaker.OneArm
		for test.Evidence(p.Ceiling) < p.Trip() { // evidence rises only with a bad host: hop to the next one
			hop := 1.0
			if p1 < 1 {
				hop += math.Floor(math.Log1p(-rng.Float64()) / math.Log1p(-p1))
			}
			test.Booked += int64(hop)
			test.Flip()
		}
		exposed[k] = float64(test.Booked)
	}
	return exposed
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(max(1, len(values)))
}

// brisk is how many outcomes a second one core must take through Step and breaker.
const brisk = 2_000_000

// outcomes times Step on confirmations, each of a host of another stratum than the last. The benchmark of package rollout also counts what it
// allocates.
func (b *bench) outcomes() error {
	if b.Outcomes == 0 {
		return nil
	}
	p, err := shipped("content")
	if err != nil {
		return err
	}
	p.Rings = p.Rings[len(p.Rings)-2:]
	p.Rings[0].Prefer, p.Rings[0].Share = nil, 0.99
	p.Window.Start = math.MaxInt32
	p.Window.Max = math.MaxInt32
	at := time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC)
	s, _ := rollout.Step(rollout.State{}, rollout.Started{At: at, ID: "ro-calibrate", Plan: p, Eligible: 1 << 30, Actor: "calibrate"})
	const strata = 1000
	var events [strata]rollout.Event
	for k := range int64(strata) {
		subject := fleet.Subject{Attributes: fleet.Attributes{Class: "server", OS: "os", Version: fmt.Sprint(k)}}
		name := fleet.Stratum(subject, p.Strata)
		events[k] = rollout.OutcomeKnown{At: at, Endpoint: "ep", Was: rollout.Pending, Outcome: rollout.Confirmed, Stratum: name}
		for range b.Outcomes/strata + 1 {
			s, _ = rollout.Step(s, rollout.LeaseAsked{At: at, Host: rollout.Host{Endpoint: "ep", Subject: subject, Stratum: name, Fleet: 1 << 30}})
		}
	}
	begun := b.watch.Now()
	for k := range b.Outcomes {
		s, _ = rollout.Step(s, events[k%strata])
	}
	rate := float64(b.Outcomes) / b.watch.Now().Sub(begun).Seconds()
	b.add(Figure{
		Name: "outcomes a second through Step, one core", Got: fmt.Sprintf("%.2f million", rate/1e6), Goal: ">= 2 million",
		Missed: rate < brisk || s.Confirmed() != int64(b.Outcomes),
	})
	return nil
}
