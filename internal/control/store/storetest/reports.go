package storetest

import (
	"encoding/json"
	"fmt"
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
