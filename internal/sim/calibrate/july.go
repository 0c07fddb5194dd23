package calibrate

import (
	"fmt"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/sim"
)

// july is the fleet of 19 July 2024 with an unknown and swinging baseline, and a release whose harmed hosts can only fall silent.
func july(hosts int64) sim.Scenario {
	return sim.Scenario{
		Name: "july", Start: time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC),
		Fleet: sim.Fleet{
			Hosts: hosts, Strata: 1000, Swing: 0.7, Soak: sim.Duration(2 * time.Minute),
			Classes: []sim.Class{
				{Name: "server", Share: 0.4, Day: 0.97, Night: 0.97, Silence: 0.001, Boots: 0.03},
				{Name: "laptop", Share: 0.6, Day: 0.8, Night: 0.25, Silence: 0.02, Goodbye: 0.01, Boots: 0.7},
			},
		},
		Fault: sim.Fault{Effect: 1, Delay: sim.Duration(30 * time.Second)},
	}.Defaulted()
}

// bad is one row: a release and how many hosts it may harm.
type bad struct {
	name      string
	plan      string
	fault     sim.Fault
	mean, p99 float64 // goals; 0: none
	wide      bool    // it reaches many hosts: fewer runs tell enough
	reference string
}

func rows() []bad {
	const content, emergency, delay = "content", "emergency", sim.Duration(30 * time.Second)
	after := sim.Duration(2 * time.Minute)
	return []bad{
		{"100 % silent", content, sim.Fault{Effect: 1, Delay: delay}, 4, 10, false, "3.9 / 6"},
		{"100 % reported", content, sim.Fault{Effect: 1, Delay: delay, Reports: true}, 3, 0, false, "2.0 (one-arm)"},
		{"100 % reported after 2 min", content, sim.Fault{Effect: 1, Delay: delay, Reports: true, After: after}, 3, 0, false, ""},
		{"50 % silent", content, sim.Fault{Effect: 0.5, Delay: delay}, 5, 0, false, "4.2 / 8"},
		{"10 % silent", content, sim.Fault{Effect: 0.1, Delay: delay}, 8, 0, false, "5.2 / 11"},
		{"1 % silent", content, sim.Fault{Effect: 0.01, Delay: delay}, 20, 0, false, "13 / 41"},
		{"0.1 % silent", content, sim.Fault{Effect: 0.001, Delay: delay}, 200, 0, true, "155 / 1,039"},
		{"100 % of 1 stratum in 1,000, silent", content, sim.Fault{Effect: 1, Strata: 0.001, Delay: delay}, 20, 0, true, "54 / 192"},
		{"100 % of 1 stratum in 1,000, reported", content, sim.Fault{Effect: 1, Strata: 0.001, Delay: delay, Reports: true}, 20, 0, true, "4.3 / 10"},
		{"emergency, 100 % silent", emergency, sim.Fault{Effect: 1, Delay: delay}, 8, 0, false, "6.0 / 22"},
		{"emergency, 50 % silent", emergency, sim.Fault{Effect: 0.5, Delay: delay}, 0, 0, false, "9 / 16"},
		{"emergency, 10 % silent", emergency, sim.Fault{Effect: 0.1, Delay: delay}, 0, 0, false, "13 / 31"},
		{"emergency, 1 % silent", emergency, sim.Fault{Effect: 0.01, Delay: delay}, 0, 0, false, "21 / 34"},
	}
}

// harm plays a bad release of 19 July.
func (b *bench) harm(row bad) error {
	p, err := shipped(row.plan)
	if err != nil {
		return err
	}
	s := july(b.Hosts)
	s.Fault = row.fault
	s = s.Defaulted()
	runs := b.Runs
	if row.wide {
		runs = max(1, runs/10)
	}
	harmed, halted := make([]float64, runs), make([]int, runs)
	err = b.each(row.name, runs, func(k int) error {
		r, failed := sim.Run(b.ctx, s, p, b.Seed+uint64(k), sim.Options{Brief: true, Horizon: b.Horizon})
		harmed[k] = float64(r.Harmed)
		if r.Halted || r.Held > 0 {
			halted[k] = 1
		}
		return failed
	})
	if err != nil {
		return err
	}
	stats := sim.StatsOf(harmed)
	f := Figure{
		Name: row.name, Reference: row.reference,
		Got: fmt.Sprintf("%.3g ± %.2g, p99 %.4g, stopped %d/%d", stats.Mean, standardError(harmed), stats.P99, total(halted), runs),
	}
	if row.mean > 0 {
		f.Goal = fmt.Sprintf("mean <= %g", row.mean)
		f.Missed = stats.Mean > row.mean*b.Slack
	}
	if row.p99 > 0 {
		f.Goal += fmt.Sprintf(", p99 <= %g", row.p99)
		f.Missed = f.Missed || stats.P99 > row.p99*b.Slack
	}
	b.add(f)
	return nil
}

// good plays a release that harms nobody.
func (b *bench) good() error {
	for _, row := range []struct {
		plan, reference string
		within          time.Duration
	}{{"content", "148 min", 156 * time.Minute}, {"emergency", "44 min", 45 * time.Minute}} {
		p, err := shipped(row.plan)
		if err != nil {
			return err
		}
		s := july(b.Hosts)
		s.Fault.Effect = 0
		done := make([]float64, b.Good)
		err = b.each(row.plan+", good update", b.Good, func(k int) error {
			r, failed := sim.Run(b.ctx, s, p, b.Seed+uint64(k), sim.Options{Brief: true})
			done[k] = r.Done
			if r.Done == 0 {
				done[k] = math.Inf(1)
			}
			return failed
		})
		if err != nil {
			return err
		}
		stats := sim.StatsOf(done)
		b.add(Figure{
			Name: row.plan + ", good update done in", Got: fmt.Sprintf("%.0f min, at most %.0f, of %d runs", stats.Mean, stats.Max, b.Good),
			Goal: fmt.Sprintf("<= %.0f min", row.within.Minutes()), Reference: row.reference, Missed: stats.Max > row.within.Minutes(),
		})
	}
	return nil
}

// What one run of 8.5 million hosts may take.
const (
	fast   = 20 * time.Second
	small  = 2 << 30 // bytes
	ofJuly = 8_500_000
)

// speed times a good update, in which every host gets its lease and has its outcome, on fleets of several sizes.
func (b *bench) speed() error {
	p, err := shipped("content")
	if err != nil {
		return err
	}
	for k, hosts := range b.Speed {
		b.note("time and memory", k, len(b.Speed))
		if err := b.time(hosts, p); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) time(hosts int64, p plan.Plan) error {
	s := july(hosts)
	s.Fault.Effect = 0
	debug.FreeOSMemory()
	peak := uint64(0)
	look := func(int64) { peak = max(peak, resident()) }
	begun := b.watch.Now()
	r, err := sim.Run(b.ctx, s, p, b.Seed, sim.Options{Brief: true, Progress: look})
	if err != nil {
		return err
	}
	took := b.watch.Now().Sub(begun)
	f := Figure{
		Name: fmt.Sprintf("a good update on %d hosts", hosts),
		Got:  fmt.Sprintf("%.2f s, %.0f ns/host, %d MiB", took.Seconds(), float64(took.Nanoseconds())/float64(hosts), peak>>20),
	}
	if hosts == ofJuly {
		f.Goal, f.Missed = "<= 20 s, <= 2 GiB", took > fast || peak > small
	}
	f.Missed = f.Missed || r.Done == 0
	b.add(f)
	return nil
}

// resident is the memory that the program holds, without what it gave back.
func resident() uint64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return samples[0].Value.Uint64() - samples[1].Value.Uint64()
}

func standardError(values []float64) float64 {
	mean, sum := sim.StatsOf(values).Mean, 0.0
	for _, v := range values {
		sum += (v - mean) * (v - mean)
	}
	n := float64(len(values))
	return math.Sqrt(sum / max(1, n-1) / n)
}

func total(values []int) int {
	n := 0
	for _, v := range values {
		n += v
	}
	return n
}
