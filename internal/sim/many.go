package sim

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// Summary is what came of many runs of one scenario on one plan.
type Summary struct {
	Scenario string `json:"scenario"`
	Plan     string `json:"plan"`
	Hosts    int64  `json:"hosts"`
	Runs     int    `json:"runs"`            // that were finished
	Asked    int    `json:"asked,omitempty"` // if that is more: somebody interrupted them

	Harmed        Stats   `json:"harmed"`
	Exposed       Stats   `json:"exposed"`
	MinutesToHalt Stats   `json:"minutes_to_halt"` // over the runs that halted or held a part of the fleet
	HaltedRuns    int     `json:"halted_runs"`
	HeldRuns      int     `json:"held_runs"`    // that went on without a stratum, tenant or site
	FrozenRuns    int     `json:"frozen_runs"`  // that neither halted nor finished: they wait for a person
	FalseHalts    int     `json:"false_halts"`  // of a release that harms nobody
	NeedsHands    Stats   `json:"needs_hands"`  // hosts that somebody must mend
	RepairHours   Stats   `json:"repair_hours"` // until the last of them is mended
	HoursIfGood   float64 `json:"hours_if_good,omitempty"`

	Course []Moment `json:"-"` // of the run with the median harm
	Halt   float64  `json:"-"` // minutes until that run halted or held a part of the fleet; 0 if it did neither
}

// Stats describe one number over many runs.
type Stats struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

// StatsOf describes values; none gives zeros.
func StatsOf(values []float64) Stats {
	if len(values) == 0 {
		return Stats{}
	}
	sorted := slices.Sorted(slices.Values(values))
	sum := 0.0
	for _, v := range sorted {
		sum += v
	}
	at := func(q float64) float64 { return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))] }
	return Stats{Mean: sum / float64(len(sorted)), P50: at(0.5), P99: at(0.99), Max: sorted[len(sorted)-1]}
}

// ManyOptions say how runs are played.
type ManyOptions struct {
	Options
	Runs    int
	Seed    uint64 // run k has the seed Seed + k
	Workers int    // runs at a time; at least 1
	Good    bool   // also play the release as if it harmed nobody, once, for HoursIfGood
	Done    func(finished int)
}

// Many plays a scenario many times. When ctx ends it returns what is finished, with ctx's error.
func Many(ctx context.Context, s Scenario, p plan.Plan, o ManyOptions) (Summary, error) {
	results, err := playAll(ctx, s, p, o)
	sum := summarize(s, p, results)
	if len(results) < o.Runs {
		sum.Asked = o.Runs
	}
	if err == nil && o.Good {
		sum.HoursIfGood, err = hoursIfGood(ctx, s, p, o)
	}
	return sum, err
}

// hoursIfGood plays the release as if it harmed nobody.
func hoursIfGood(ctx context.Context, s Scenario, p plan.Plan, o ManyOptions) (float64, error) {
	s.Fault.Effect = 0
	s.Defences.Validator = false
	good := o.Options
	good.Brief = true
	r, err := Run(ctx, s, p, o.Seed, good)
	return r.Done / 60, err
}

// playAll plays the runs on several workers. Results come in the order of their seeds.
func playAll(ctx context.Context, s Scenario, p plan.Plan, o ManyOptions) ([]Result, error) {
	var (
		mu       sync.Mutex
		results  []Result
		failed   error
		next     int
		finished int
		wg       sync.WaitGroup
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= o.Runs && failed == nil
	}
	keep := func(r Result, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			failed = cmp.Or(failed, err)
			return
		}
		results = append(results, r)
		finished++
		if o.Done != nil {
			o.Done(finished)
		}
	}
	for range max(1, o.Workers) {
		wg.Go(func() {
			for k, more := take(); more; k, more = take() {
				keep(Run(ctx, s, p, o.Seed+uint64(k), o.Options))
			}
		})
	}
	wg.Wait()
	slices.SortFunc(results, func(a, b Result) int { return cmp.Compare(a.Seed, b.Seed) })
	return results, failed
}

func summarize(s Scenario, p plan.Plan, results []Result) Summary {
	sum := Summary{Scenario: s.Name, Plan: p.Name, Hosts: s.Fleet.Hosts, Runs: len(results)}
	var harmed, exposed, halts, hands, repair []float64
	for _, r := range results {
		harmed, exposed, hands = append(harmed, float64(r.Harmed)), append(exposed, float64(r.Exposed)), append(hands, float64(r.NeedsHands))
		repair = append(repair, s.Repair.hours(r.NeedsHands))
		if r.Halted || r.Held > 0 {
			halts = append(halts, r.ToHalt)
		}
		sum.HaltedRuns += int(count(r.Halted))
		sum.HeldRuns += int(count(!r.Halted && r.Held > 0))
		sum.FrozenRuns += int(count(!r.Halted && r.Phase == "running" && r.Done == 0))
		sum.FalseHalts += int(count((r.Halted || r.Held > 0) && s.Fault.Effect == 0))
	}
	sum.Harmed, sum.Exposed, sum.MinutesToHalt = StatsOf(harmed), StatsOf(exposed), StatsOf(halts)
	sum.NeedsHands, sum.RepairHours = StatsOf(hands), StatsOf(repair)
	middle := median(results)
	sum.Course, sum.Halt = middle.Course, middle.ToHalt
	return sum
}

// median is the run with the median harm.
func median(results []Result) Result {
	if len(results) == 0 {
		return Result{}
	}
	sorted := slices.SortedFunc(slices.Values(results), func(a, b Result) int { return cmp.Or(cmp.Compare(a.Harmed, b.Harmed), cmp.Compare(a.Seed, b.Seed)) })
	return sorted[len(sorted)/2]
}

// hours is how long people need for so many hosts: the more there are, the more of them work, but never less than one.
func (r Repair) hours(hosts int64) float64 {
	if hosts == 0 {
		return 0
	}
	technicians := max(1, r.Technicians*float64(hosts)/1000)
	return seconds(r.Start)/3600 + float64(hosts)/(technicians*r.PerHour)
}
