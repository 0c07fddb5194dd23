package plan_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// faults is a bound without its arithmetic: -1 is not bounded.
func faults(b plan.Bound) map[string][2]int64 {
	all := map[string][2]int64{}
	for _, f := range b.Faults {
		name := f.Name
		if f.Covered {
			name += " *"
		}
		all[name] = [2]int64{harm(f.Reported), harm(f.Silent)}
	}
	return all
}

func harm(h plan.Harm) int64 {
	if h.Open {
		return -1
	}
	return h.Hosts
}

// What the default window bounds, reported and silent. The figures are those that a reader of a plan decides by.
func TestBound(t *testing.T) {
	t.Parallel()
	want := map[string][2]int64{
		"every host at once *":                       {2, 4},
		"every second host at once *":                {7, 11},
		"one host in 10 at once *":                   {9, 24},
		"one host in 100 at once":                    {21, 76},
		"one host in 1,000 at once":                  {81, -1},
		"every host of one stratum in 1,000":         {8, 12},
		"a fault that shows within the bake (15m) *": {10, 10},
		"a fault that shows only after a boot":       {-1, -1},
	}
	b := sound().Bound()
	if diff := cmp.Diff(want, faults(b)); diff != "" {
		t.Errorf("bound differs (-want +got):\n%s\n%s", diff, strings.Join(b.Steps, "\n"))
	}
	if b.Hosts != 24 || b.Site != 24 {
		t.Errorf("got %d hosts and %d in a site, want 24 each: the worst of those that a budget covers, and no caps", b.Hosts, b.Site)
	}
}

func TestBoundOf(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*plan.Plan)
		want   int64
	}{
		"a large first ring":       {func(p *plan.Plan) { p.Rings[0].Hosts = 60 }, 60},
		"seats for strata":         {func(p *plan.Plan) { p.Rings[0].Hosts, p.Rings[0].Evidence.Strata = 20, 0.05 }, 40},
		"a wide start":             {func(p *plan.Plan) { p.Window.Start = 90 }, 90},
		"growth":                   {func(p *plan.Plan) { p.Window.Growth = 10 }, 120},
		"growth that ends":         {func(p *plan.Plan) { p.Window.Growth, p.Window.Max = 10, 20 }, 15},
		"a window that stays shut": {func(p *plan.Plan) { p.Window = plan.Window{Start: 1, Growth: 1, Max: 1} }, 12},
		"by reports":               {func(p *plan.Plan) { p.Budget.By = plan.ByReports }, 10},
		"a lower ceiling":          {func(p *plan.Plan) { p.Budget.By, p.Breaker.Ceiling, p.Rings[0].Hosts = plan.ByReports, 1e-4, 1 }, 7},
	} {
		p := sound()
		test.change(&p)
		if got := p.Bound(); got.Hosts != test.want {
			t.Errorf("%s: got a bound of %d hosts, want %d:\n%s", name, got.Hosts, test.want, strings.Join(got.Steps, "\n"))
		}
	}
}

// A ring that asks for boots does not let a fault pass that shows only after one, unless it is a share of nobody knows how many.
func TestBoundAfterABoot(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*plan.Plan)
		want   int64
	}{
		"nowhere":             {func(*plan.Plan) {}, -1},
		"in the first ring":   {func(p *plan.Plan) { p.Rings[0].Evidence.Boots = 5 }, 10},
		"with seats":          {func(p *plan.Plan) { p.Rings[0].Evidence.Boots, p.Rings[0].Evidence.Strata = 5, 0.1 }, 20},
		"in the second":       {func(p *plan.Plan) { p.Rings[1].Evidence.Boots = 5 }, 110},
		"in half of the rest": {func(p *plan.Plan) { p.Rings[2].Evidence.Boots = 5 }, -1},
	} {
		p := sound()
		test.change(&p)
		if got := faults(p.Bound())["a fault that shows only after a boot"][0]; got != test.want {
			t.Errorf("boots asked for %s: got %d hosts, want %d", name, got, test.want)
		}
	}
}

func TestBoundOfASite(t *testing.T) {
	t.Parallel()
	for site, want := range map[float64]int64{0: 24, 0.02: 2, 0.029: 2, 0.001: 1, 1: 24} {
		p := sound()
		p.Caps.Site = site
		if got := p.Bound().Site; got != want {
			t.Errorf("caps.site %g: got %d in a site, want %d", site, got, want)
		}
	}
}

// The bound is not below the mean of rollouts that are played host by host, with the same breaker and the rounds of the rollout.
func TestBoundHoldsForReports(t *testing.T) {
	t.Parallel()
	const runs = 2000
	for _, w := range []plan.Window{{Start: 2, Growth: 2, Max: 1 << 30}, {Start: 1, Growth: 4, Max: 1 << 30}, {Start: 5, Growth: 10, Max: 1 << 30}} {
		p := sound()
		p.Window = w
		bound := faults(p.Bound())
		for effect, name := range map[float64]string{1: "every host at once *", 0.5: "every second host at once *", 0.1: "one host in 10 at once *", 0.01: "one host in 100 at once"} {
			rng := rand.New(rand.NewPCG(1, uint64(1000*effect)))
			var sum int64
			for range runs {
				sum += played(p, effect, rng)
			}
			mean := float64(sum) / runs
			if got := float64(bound[name][0]); got < mean || got > 3.5*mean+5 {
				t.Errorf("%+v, %s: got a bound of %g, and a mean of %.1f when played: want it above, and not by far", w, name, got, mean)
			}
		}
	}
}

// played is how many hosts a fault harms whose harm is reported at the end of each round.
func played(p plan.Plan, effect float64, rng *rand.Rand) (harmed int64) {
	var s breaker.State
	window := p.Window.Start
	for {
		var well int64
		for range window {
			s.Crashes.Book()
			switch {
			case rng.Float64() < effect:
				s.Crashes.Flip()
				harmed++
			case rng.Float64() < p.Breaker.Ceiling:
				s.Crashes.Flip()
			default:
				well++
			}
		}
		if s.Weigh(p.Breaker, func(func(int, *breaker.Slice) bool) {}, 0).E >= p.Breaker.Trip() {
			return harmed
		}
		window = max(window, int64(p.Window.Growth*float64(well)))
	}
}

// The same for silence: each round is compared with 2,000 controls of each class, in a fleet of 40 % servers and 60 % laptops.
func TestBoundHoldsForSilence(t *testing.T) {
	t.Parallel()
	const runs = 200
	for _, w := range []plan.Window{{Start: 2, Growth: 2, Max: 1 << 30}, {Start: 1, Growth: 4, Max: 1 << 30}} {
		p := sound()
		p.Window = w
		bound := faults(p.Bound())
		for effect, name := range map[float64]string{1: "every host at once *", 0.5: "every second host at once *", 0.1: "one host in 10 at once *", 0.01: "one host in 100 at once"} {
			rng := rand.New(rand.NewPCG(2, uint64(1000*effect)))
			var sum int64
			for range runs {
				sum += silenced(p, effect, rng)
			}
			mean := float64(sum) / runs
			if got := float64(bound[name][1]); got < mean || got > 3.5*mean+5 {
				t.Errorf("%+v, %s: got a bound of %g, and a mean of %.1f when played: want it above, and not by far", w, name, got, mean)
			}
		}
	}
}

// silenced is how many hosts a fault harms whose harm is never reported.
func silenced(p plan.Plan, effect float64, rng *rand.Rand) (harmed int64) {
	var s breaker.State
	window := p.Window.Start
	for {
		var well int64
		var exposed [2]breaker.Arm
		baseline := [2]float64{0.001, 0.02}
		for range window {
			class := 0
			if rng.Float64() < 0.6 {
				class = 1
			}
			exposed[class].Watched++
			switch {
			case rng.Float64() < effect:
				harmed++
				exposed[class].Showed++
			case rng.Float64() < baseline[class]:
				exposed[class].Showed++
			default:
				well++
			}
		}
		for class, name := range []string{"server", "laptop"} {
			control := breaker.Arm{Watched: 2000}
			for range control.Watched {
				if rng.Float64() < baseline[class] {
					control.Showed++
				}
			}
			s.Compare(breaker.Silence, name, exposed[class], control, p.Breaker)
		}
		if s.Weigh(p.Breaker, func(func(int, *breaker.Slice) bool) {}, 0).E >= p.Breaker.Trip() {
			return harmed
		}
		window = max(window, int64(p.Window.Growth*float64(well)))
	}
}

func TestTakes(t *testing.T) {
	t.Parallel()
	p := sound()
	p.Lease.Deadline = plan.Duration(5 * time.Minute)
	bakes := 45 * time.Minute
	for hosts, want := range map[int64][2]time.Duration{
		1:         {15 * time.Minute, 20 * time.Minute}, // one round, one bake
		10:        {15*time.Minute + 3*2*time.Minute, 30 * time.Minute},
		100_000:   {bakes + 14*2*time.Minute, bakes + 18*6*time.Minute},
		8_500_000: {bakes + 20*2*time.Minute, bakes + 24*6*time.Minute},
	} {
		if got := p.Takes(hosts); got < want[0] || got > want[1] {
			t.Errorf("got %s for %d hosts, want %s to %s", got, hosts, want[0], want[1])
		}
	}
	p.Window = plan.Window{Start: 1, Growth: 1, Max: 1}
	if got, want := p.Takes(1_000_000), 1_000_000*2*time.Minute; got < want {
		t.Errorf("got %s, want at least %s: one at a time", got, want)
	}
}
