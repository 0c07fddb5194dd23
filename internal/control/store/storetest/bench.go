package storetest

import (
	"testing"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// BenchmarkCommit measures a commit with a lease, durable before it returns.
func BenchmarkCommit(b *testing.B, open Open) {
	s := open(b)
	var revision int64
	for b.Loop() {
		revision++
		c := commit("r1", revision)
		c.Lease = lease("r1", fleet.EndpointID(rune('a'+revision%1000)))
		c.Lease.Outcome = rollout.Confirmed
		ok(b, s.Commit(b.Context(), c))
	}
}

// BenchmarkAddReports measures one report of one endpoint, durable before it returns.
func BenchmarkAddReports(b *testing.B, open Open) {
	s := open(b)
	ok(b, s.PutEndpoint(b.Context(), endpoint("ep-1")))
	var seq int64
	for b.Loop() {
		seq++
		if _, err := s.AddReports(b.Context(), "ep-1", now, reports(seq)); err != nil {
			b.Fatal(err)
		}
	}
}
