package sim_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/resource"
	"github.com/firebreak-dev/firebreak/internal/sim"
	"github.com/firebreak-dev/firebreak/plans"
)

// BenchmarkRun plays a good update on the plan for content: each online host gets its lease and has its outcome.
func BenchmarkRun(b *testing.B) {
	data, _ := plans.Named("content")
	var document struct {
		Kind string    `json:"kind"`
		Spec plan.Plan `json:"spec"`
	}
	if err := resource.Decode(data, &document); err != nil {
		b.Fatal(err)
	}
	for _, hosts := range []int64{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("hosts=%d", hosts), func(b *testing.B) {
			s := sim.Scenario{
				Name: "bench", Start: time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC),
				Fleet: sim.Fleet{Hosts: hosts, Strata: 1000, Swing: 0.7, Classes: []sim.Class{
					{Name: "server", Share: 0.4, Day: 0.97, Night: 0.97, Silence: 0.001},
					{Name: "laptop", Share: 0.6, Day: 0.8, Night: 0.25, Silence: 0.02, Goodbye: 0.01},
				}},
			}.Defaulted()
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n++
				r, err := sim.Run(b.Context(), s, document.Spec.Defaulted(), uint64(n), sim.Options{Brief: true})
				if err != nil || r.Done == 0 {
					b.Fatalf("not done: %v, %+v", err, r)
				}
			}
			b.ReportMetric(float64(n)*float64(hosts)/b.Elapsed().Seconds(), "hosts/s")
		})
	}
}
