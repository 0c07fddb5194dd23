package storetest

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// reported is a report as endpoints send it: so long, and so much of it told again and again.
var reported = json.RawMessage(`{"seq":12345,"at":"2026-07-19T04:09:00.123456Z","component":"sensor-content","rollout":"ro-01k0h7q2v4x8",` +
	`"release":"2026.7.19-1","manifest":"sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945","outcome":"confirmed"}`)

// Load makes an installation for measuring: so many endpoints, numbered from 1. It gives a function that has so many callers
// store reports of one endpoint each, the next one's in turn, until so many reports are stored.
func Load(tb testing.TB, s *store.Store, endpoints int) (report func(callers, each, total int)) {
	tb.Helper()
	enrol(tb, s, endpoints, benchEndpoint)
	var next atomic.Int64
	return func(callers, each, total int) {
		var all sync.WaitGroup
		var left atomic.Int64
		left.Store(int64(total))
		for range callers {
			all.Go(func() {
				sent := make([]store.Report, each)
				for left.Add(-int64(each)) >= 0 {
					n := int(next.Add(1))
					for i := range sent {
						sent[i] = store.Report{Seq: int64(n/endpoints*each + i + 1), Data: reported}
					}
					if _, err := s.AddReports(tb.Context(), benchEndpoint(n%endpoints), now, sent); err != nil {
						tb.Errorf("got error %v, want reports stored", err)
						return
					}
				}
			})
		}
		all.Wait()
	}
}

// enrol enrols so many endpoints, many at a time, and gives their numbers.
func enrol(tb testing.TB, s *store.Store, n int, name func(i int) fleet.EndpointID) []int64 {
	tb.Helper()
	const callers = 64
	numbers := make([]int64, n)
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := c; i < n; i += callers {
				var err error
				if numbers[i], err = s.Enrol(tb.Context(), endpoint(name(i))); err != nil {
					tb.Errorf("got error %v, want endpoint %d enrolled", err, i)
				}
			}
		})
	}
	all.Wait()
	return numbers
}

func benchEndpoint(i int) fleet.EndpointID {
	return fleet.EndpointID(fmt.Sprintf("ep-01k0h7q2v4x8y5z6w7r8%06d", i))
}

// BenchmarkReports measures the reports of many callers, each durable before its caller goes on.
func BenchmarkReports(b *testing.B, open Open) {
	for _, shape := range []struct{ callers, each int }{{64, 1}, {64, 8}, {1, 1}} {
		b.Run(fmt.Sprintf("callers=%d/each=%d", shape.callers, shape.each), func(b *testing.B) {
			report := Load(b, open(b), 10_000)
			b.ResetTimer()
			report(shape.callers, shape.each, b.N*shape.each)
			b.ReportMetric(float64(b.N*shape.each)/b.Elapsed().Seconds(), "reports/s")
		})
	}
}

// BenchmarkLeases measures commits of one rollout, one after another, with 64 events, leases and reports each.
func BenchmarkLeases(b *testing.B, open Open) {
	const leases = 64
	s := open(b)
	report := Load(b, s, 10_000)
	report(64, 8, b.N*leases)
	stored := must[[]store.Report](b)(s.UntakenReports(b.Context(), 0, b.N*leases))
	revision := int64(1)
	b.ResetTimer()
	for i := range b.N {
		c := batch("r1", revision, revision+leases-1)
		revision += leases
		for j := range leases {
			l := lease("r1", benchEndpoint((i*leases+j)%10_000))
			l.Outcome = rollout.Confirmed
			c.Leases = append(c.Leases, *l)
		}
		for _, r := range stored[min(i*leases, len(stored)):min((i+1)*leases, len(stored))] {
			c.Reports = append(c.Reports, store.ReportKey{Endpoint: r.Endpoint, Seq: r.Seq})
		}
		ok(b, s.Commit(b.Context(), c))
	}
	b.ReportMetric(float64(b.N*leases)/b.Elapsed().Seconds(), "leases/s")
}

// BenchmarkTouch measures last-seen times that are written behind.
func BenchmarkTouch(b *testing.B, open Open) {
	const endpoints = 10_000
	s := open(b)
	Load(b, s, endpoints)
	seen := make([]store.Seen, endpoints)
	b.ResetTimer()
	for i := range b.N {
		for n := range seen {
			seen[n] = store.Seen{Number: int64(n) + 1, At: after(time.Duration(i) * time.Second)}
		}
		ok(b, s.Touch(b.Context(), seen))
	}
	b.ReportMetric(float64(b.N*endpoints)/b.Elapsed().Seconds(), "endpoints/s")
}

// BenchmarkAlone measures one write after another: what nobody shares.
func BenchmarkAlone(b *testing.B, open Open) {
	s := open(b)
	for i := range b.N {
		ok(b, s.PutSetting(b.Context(), "k", fmt.Sprint(i)))
	}
}

// BenchmarkEnrol measures hosts that join at once, each with a use of the same token.
func BenchmarkEnrol(b *testing.B, open Open) {
	const callers = 64
	s := open(b)
	join := token("join")
	join.Kind, join.Left = store.JoinToken, int64(b.N)
	ok(b, s.PutToken(b.Context(), join))
	b.ResetTimer()
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := c; i < b.N; i += callers {
				if _, _, err := s.Join(b.Context(), join.Hash, now, endpoint(benchEndpoint(i))); err != nil {
					b.Errorf("got error %v, want endpoint %d enrolled", err, i)
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "endpoints/s")
}

// BenchmarkLoad measures how a fleet is read, in stretches. One in a hundred says of itself what no other does.
func BenchmarkLoad(b *testing.B, open Open) {
	const endpoints, stretch = 20_000, 2000
	s := open(b)
	var all sync.WaitGroup
	for c := range 64 {
		all.Go(func() {
			for i := c; i < endpoints; i += 64 {
				e := endpoint(benchEndpoint(i))
				e.Attributes.Site = fmt.Sprint("site ", i%200)
				if i%100 == 0 {
					e.Labels = fleet.Labels{"role": fmt.Sprint("role ", i)}
				}
				ok(b, s.PutEndpoint(b.Context(), e))
			}
		})
	}
	all.Wait()
	b.ResetTimer()
	for range b.N {
		for after := int64(0); after < endpoints; after += stretch {
			must[[]store.Endpoint](b)(s.EndpointsBetween(b.Context(), after, after+stretch))
		}
	}
	b.ReportMetric(float64(b.N*endpoints)/b.Elapsed().Seconds(), "endpoints/s")
}
