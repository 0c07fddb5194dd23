package storetest

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

func reportTests() []test {
	return []test{
		{"report/acknowledged is stored, in order of arrival", reportStored},
		{"report/sent twice counts once", reportOnce},
		{"report/acknowledges the highest number", reportAcknowledged},
		{"report/all or none", reportAtomic},
		{"report/of an unknown endpoint", reportUnknown},
		{"report/taken in without a rollout", reportTaken},
		{"report/pages", reportPages},
		{"report/of many endpoints at once", reportOfMany},
		{"report/of many callers at once", reportRace},
		{"report/taken ones are pruned, and stay counted", reportPruned},
		{"report/many are pruned", reportManyPruned},
	}
}

// reports makes reports with these numbers, as an endpoint sends them.
func reports(seqs ...int64) []store.Report {
	var all []store.Report
	for _, seq := range seqs {
		all = append(all, store.Report{Seq: seq, Data: json.RawMessage(fmt.Sprintf(`{"seq": %d}`, seq))})
	}
	return all
}

// arrived makes the report that the store has of one with this number.
func arrived(endpoint fleet.EndpointID, seq int64, at time.Time) store.Report {
	r := reports(seq)[0]
	r.Endpoint, r.Received = endpoint, at
	return r
}

// untaken compares the reports to take in, but for their arrival numbers, which must grow.
func untaken(t *testing.T, s *store.Store, want ...store.Report) {
	t.Helper()
	got := must[[]store.Report](t)(s.UntakenReports(t.Context(), 0, 0))
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(store.Report{}, "Arrival"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("got other reports to take in (-want +got):\n%s", diff)
	}
	for i := range got {
		if i > 0 && got[i-1].Arrival >= got[i].Arrival {
			t.Errorf("got arrival %d after %d, want it to grow", got[i].Arrival, got[i-1].Arrival)
		}
	}
}

func reportStored(t *testing.T, s *store.Store) {
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-2")))
	must[int64](t)(s.AddReports(t.Context(), "ep-2", now, reports(1)))
	must[int64](t)(s.AddReports(t.Context(), "ep-1", after(time.Second), reports(1, 2)))
	must[int64](t)(s.AddReports(t.Context(), "ep-2", after(-time.Hour), reports(2)))
	untaken(t, s, arrived("ep-2", 1, now), arrived("ep-1", 1, after(time.Second)), arrived("ep-1", 2, after(time.Second)),
		arrived("ep-2", 2, after(-time.Hour)))
}

func reportOnce(t *testing.T, s *store.Store) {
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	must[int64](t)(s.AddReports(t.Context(), "ep-1", now, reports(1)))
	ok(t, s.MarkTaken(t.Context(), store.ReportKey{Endpoint: "ep-1", Seq: 1}))
	again := reports(1, 2, 2)
	again[0].Data = json.RawMessage(`{"another": "story"}`)
	same(t, must[int64](t)(s.AddReports(t.Context(), "ep-1", after(time.Second), again)), 2)
	untaken(t, s, arrived("ep-1", 2, after(time.Second)))
}

func reportAcknowledged(t *testing.T, s *store.Store) {
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	for _, step := range []struct {
		sent []int64
		want int64
	}{{nil, 0}, {[]int64{1, 2}, 2}, {[]int64{5}, 5}, {[]int64{3, 4}, 5}, {nil, 5}} {
		same(t, must[int64](t)(s.AddReports(t.Context(), "ep-1", now, reports(step.sent...))), step.want)
		same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")).ReportSeq, step.want)
	}
	same(t, len(must[[]store.Report](t)(s.UntakenReports(t.Context(), 0, 0))), 5)
}

func reportAtomic(t *testing.T, s *store.Store) {
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	_, err := s.AddReports(t.Context(), "ep-1", now, reports(1, 0))
	refused(t, err, fault.Invalid)
	untaken(t, s)
}

func reportUnknown(t *testing.T, s *store.Store) {
	_, err := s.AddReports(t.Context(), "ep-9", now, reports(1))
	refused(t, err, fault.NotFound)
	refused(t, s.MarkTaken(t.Context(), store.ReportKey{Endpoint: "ep-9", Seq: 1}), fault.NotFound)
}

func reportTaken(t *testing.T, s *store.Store) {
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	must[int64](t)(s.AddReports(t.Context(), "ep-1", now, reports(1, 2)))
	for range 2 {
		ok(t, s.MarkTaken(t.Context(), store.ReportKey{Endpoint: "ep-1", Seq: 1}))
	}
	untaken(t, s, arrived("ep-1", 2, now))
}

func reportPages(t *testing.T, s *store.Store) {
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	must[int64](t)(s.AddReports(t.Context(), "ep-1", now, reports(1, 2, 3, 4, 5)))
	var got []int64
	var last int64
	for {
		page := must[[]store.Report](t)(s.UntakenReports(t.Context(), last, 2))
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			got = append(got, r.Seq)
			last = r.Arrival
		}
	}
	same(t, got, []int64{1, 2, 3, 4, 5})
}

func reportOfMany(t *testing.T, s *store.Store) {
	const many = 600
	var all []store.EndpointReports
	for i, number := range enrol(t, s, many, manyEndpoint) {
		e := store.EndpointReports{Endpoint: manyEndpoint(i), Reports: reports(1, 2)}
		if i%2 == 0 {
			e.Number = number
		}
		all = append(all, e)
	}
	must[int64](t)(s.AddReports(t.Context(), "ep-000", now, reports(1, 7)))
	all = append(all, store.EndpointReports{Endpoint: "ep-unknown", Reports: reports(1)}, store.EndpointReports{Endpoint: "ep-unknown", Number: 1 << 40})
	got := must[[]store.Stored](t)(s.AddReportsOfMany(t.Context(), after(time.Second), all))
	same(t, len(got), many+2)
	for i, v := range got[:many] {
		want := int64(2)
		if i == 0 {
			want = 7
		}
		if v.Highest != want || v.Err != nil {
			t.Errorf("got %+v of %s, want %d", v, all[i].Endpoint, want)
		}
	}
	refused(t, got[many].Err, fault.NotFound)
	refused(t, got[many+1].Err, fault.NotFound)
	same(t, len(must[[]store.Report](t)(s.UntakenReports(t.Context(), 0, 0))), 2*many+1)
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-599")).ReportSeq, 2)

	_, err := s.AddReportsOfMany(t.Context(), now, []store.EndpointReports{{Endpoint: "ep-001", Reports: reports(3)}, {Endpoint: "ep-002", Reports: reports(0)}})
	refused(t, err, fault.Invalid)
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-001")).ReportSeq, 2)
	same(t, len(must[[]store.Stored](t)(s.AddReportsOfMany(t.Context(), now, nil))), 0)
}

// reportRace has callers send reports of the same endpoints at the same time, each of them twice.
func reportRace(t *testing.T, s *store.Store) {
	const endpoints, each = 4, 25
	for i := range endpoints {
		ok(t, s.PutEndpoint(t.Context(), endpoint(fleet.EndpointID(fmt.Sprint("ep-", i)))))
	}
	var all sync.WaitGroup
	for i := range 2 * endpoints {
		all.Go(func() {
			id := fleet.EndpointID(fmt.Sprint("ep-", i%endpoints))
			for seq := int64(1); seq <= each; seq++ {
				if ack, err := s.AddReports(t.Context(), id, now, reports(seq)); err != nil || ack < seq {
					t.Errorf("got %d, %v, want at least %d acknowledged", ack, err, seq)
				}
			}
		})
	}
	all.Wait()
	last := map[fleet.EndpointID]int64{}
	for _, r := range must[[]store.Report](t)(s.UntakenReports(t.Context(), 0, 0)) {
		if last[r.Endpoint]++; r.Seq != last[r.Endpoint] {
			t.Fatalf("got report %d of %s, want %d: each once and in their order", r.Seq, r.Endpoint, last[r.Endpoint])
		}
	}
	for i := range endpoints {
		same(t, last[fleet.EndpointID(fmt.Sprint("ep-", i))], each)
	}
}

func reportPruned(t *testing.T, s *store.Store) {
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-2")))
	must[int64](t)(s.AddReports(t.Context(), "ep-1", now, reports(1, 2, 3)))
	must[int64](t)(s.AddReports(t.Context(), "ep-2", now, reports(1)))
	must[int64](t)(s.AddReports(t.Context(), "ep-1", after(time.Hour), reports(4)))
	for _, seq := range []int64{1, 3, 4} {
		ok(t, s.MarkTaken(t.Context(), store.ReportKey{Endpoint: "ep-1", Seq: seq}))
	}
	same(t, must[int64](t)(s.Prune(t.Context(), now)), 0)
	same(t, must[int64](t)(s.Prune(t.Context(), after(time.Second))), 2)
	same(t, must[int64](t)(s.Prune(t.Context(), after(time.Second))), 0)
	untaken(t, s, arrived("ep-1", 2, now), arrived("ep-2", 1, now))

	same(t, must[int64](t)(s.AddReports(t.Context(), "ep-1", after(2*time.Hour), reports(1, 3))), 4) // as if never acknowledged
	untaken(t, s, arrived("ep-1", 2, now), arrived("ep-2", 1, now))
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")).ReportSeq, 4)
	refused(t, s.MarkTaken(t.Context(), store.ReportKey{Endpoint: "ep-1", Seq: 3}), fault.NotFound)
	ok(t, s.MarkTaken(t.Context(), store.ReportKey{Endpoint: "ep-1", Seq: 4})) // younger, so it is still there

	same(t, must[int64](t)(s.Prune(t.Context(), after(24*time.Hour))), 1)
	same(t, must[int64](t)(s.AddReports(t.Context(), "ep-1", after(2*time.Hour), nil)), 4)
	same(t, must[int64](t)(s.AddReports(t.Context(), "ep-1", after(2*time.Hour), reports(4, 5))), 5)
	untaken(t, s, arrived("ep-1", 2, now), arrived("ep-2", 1, now), arrived("ep-1", 5, after(2*time.Hour)))
}

func reportManyPruned(t *testing.T, s *store.Store) {
	const many = 2500
	id := must[int64](t)(s.Enrol(t.Context(), endpoint("ep-1")))
	seqs, keys := make([]int64, many), make([]store.ReportKey, many)
	for i := range seqs {
		seqs[i], keys[i] = int64(i)+1, store.ReportKey{Endpoint: "ep-1", Seq: int64(i) + 1}
	}
	must[[]store.Stored](t)(s.AddReportsOfMany(t.Context(), now, []store.EndpointReports{{Number: id, Reports: reports(seqs...)}}))
	c := commit("r1", 1)
	c.Reports = append(keys[:1200:1200], keys[1201:]...)
	ok(t, s.Commit(t.Context(), c))
	same(t, must[int64](t)(s.Prune(t.Context(), after(time.Second))), many-1)
	untaken(t, s, arrived("ep-1", 1201, now))
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")).ReportSeq, many)
}
