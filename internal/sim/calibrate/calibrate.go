// Package calibrate measures what the decision promises and prints each figure beside its goal and beside what others reached. All figures
// come from the simulator, which drives the same rollout.Step as the control plane; only the one-arm table asks the breaker alone.
//
// [Full] is what `make calibrate` runs; [Small] is the same in seconds, on smaller fleets, with goals that leave room for chance.
package calibrate

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/resource"
	"github.com/firebreak-dev/firebreak/plans"
)

// Size says how much is measured.
type Size struct {
	Hosts    int64   // of the fleet of 19 July
	Runs     int     // of each bad release; a tenth of it for those that reach many hosts
	Good     int     // runs of a good update, on each plan
	Null     int     // rollouts that harm nobody, on fleets of 5,000 to 20,000 hosts
	Ville    int     // the same at each of the looser alphas
	OneArm   int     // trials of each cell of the one-arm table
	Speed    []int64 // fleets that a good update is timed on; none: nothing is timed
	Outcomes int     // steps that are timed; 0: none
	Slack    float64 // goals of harm are multiplied by it: few runs scatter
	Seed     uint64
	Workers  int           // runs at a time
	Horizon  time.Duration // when a run ends that waits for a person

	Only *regexp.Regexp // measure what it matches alone: a part or a row of 19 July; nil: all
}

func (s Size) wants(name string) bool { return s.Only == nil || s.Only.MatchString(name) }

// Full is all figures at their full size.
func Full() Size {
	return Size{
		Hosts: 8_500_000, Runs: 400, Good: 4, Null: 20_000, Ville: 4000, OneArm: 4000, Slack: 1,
		Speed: []int64{100_000, 1_000_000, 8_500_000, 10_000_000}, Outcomes: 5_000_000, Seed: 1, Workers: 2, Horizon: 6 * time.Hour,
	}
}

// Small is for tests: seeded, so it gives the same figures on any machine, and untimed.
func Small() Size {
	return Size{
		Hosts: 400_000, Runs: 20, Good: 1, Null: 12, Ville: 24, OneArm: 400, Slack: 1.6, Seed: 1, Workers: 2, Horizon: 150 * time.Minute,
	}
}

// Figure is one line of the table.
type Figure struct {
	Name      string
	Got       string
	Goal      string // empty: there is none, it is shown for comparison
	Reference string // what others reached
	Missed    bool
}

// Run measures all figures and writes each as soon as it is known; out may be slow. Notes gets progress, which overwrites itself; nil: nobody
// looks. It returns the figures that it has when ctx ends, with ctx's error.
func Run(ctx context.Context, out, notes io.Writer, watch clock.Clock, size Size) ([]Figure, error) {
	b := &bench{ctx: ctx, out: out, notes: notes, watch: watch, Size: size}
	b.line(Figure{Name: "figure", Got: "got", Goal: "goal", Reference: "reference"}, "")
	parts := []part{{"one-arm", b.oneArm}, {"outcomes", b.outcomes}}
	for _, row := range rows() {
		parts = append(parts, part{row.name, func() error { return b.harm(row) }})
	}
	parts = append(parts, part{"good", b.good}, part{"speed", b.speed}, part{"type-I", b.ville}, part{"null", b.null})
	for _, p := range parts {
		if !size.wants(p.name) {
			continue
		}
		if err := p.measure(); err != nil {
			return b.figures, err
		}
	}
	return b.figures, b.failed
}

// Missed counts the figures that miss their goals.
func Missed(figures []Figure) int {
	n := 0
	for _, f := range figures {
		if f.Missed {
			n++
		}
	}
	return n
}

// part is what can be measured alone.
type part struct {
	name    string
	measure func() error
}

// bench is one call of Run.
type bench struct {
	Size
	ctx        context.Context //nolint:containedctx // lives as long as one call of Run
	out, notes io.Writer
	watch      clock.Clock
	figures    []Figure
	failed     error // of writing
}

func (b *bench) add(f Figure) {
	b.figures = append(b.figures, f)
	verdict := ""
	switch {
	case f.Missed:
		verdict = "MISSED"
	case f.Goal != "":
		verdict = "ok"
	}
	b.clear()
	b.line(f, verdict)
}

func (b *bench) line(f Figure, verdict string) {
	_, err := fmt.Fprintf(b.out, "%-44s  %-34s  %-18s  %-22s  %s\n", f.Name, f.Got, f.Goal, f.Reference, verdict)
	if b.failed == nil {
		b.failed = err
	}
}

// note shows how far a figure is.
func (b *bench) note(name string, done, of int) {
	if b.notes != nil {
		fmt.Fprintf(b.notes, "\r%-60s", fmt.Sprintf("%s: %d of %d", name, done, of))
	}
}

func (b *bench) clear() {
	if b.notes != nil {
		fmt.Fprintf(b.notes, "\r%60s\r", "")
	}
}

// each plays n runs on several workers, until one fails.
func (b *bench) each(name string, n int, play func(k int) error) error {
	var (
		mu         sync.Mutex
		next, done int
		failed     error
		wg         sync.WaitGroup
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= n && failed == nil
	}
	for range max(1, b.Workers) {
		wg.Go(func() {
			for k, more := take(); more; k, more = take() {
				err := play(k)
				mu.Lock()
				done++
				if failed == nil {
					failed = err
				}
				b.note(name, done, n)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return failed
}

// shipped is a plan that comes with Firebreak.
func shipped(name string) (plan.Plan, error) {
	data, ok := plans.Named(name)
	if !ok {
		return plan.Plan{}, fault.New(fault.NotFound, "calibrate on plan %s: it does not come with Firebreak", name)
	}
	var document struct {
		Kind string    `json:"kind"`
		Spec plan.Plan `json:"spec"`
	}
	if err := resource.Decode(data, &document); err != nil {
		return plan.Plan{}, fmt.Errorf("calibrate on plan %s: %w", name, err)
	}
	return document.Spec.Defaulted(), nil
}
