package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

func endpointTests() []test {
	return []test{
		{"endpoint/comes back as it was", endpointComesBack},
		{"endpoint/saving changes what it says of itself", endpointSaved},
		{"endpoint/enrolling again keeps its reports' numbers", endpointEnrolsAgain},
		{"endpoint/pages have no gap and no overlap", endpointPages},
		{"endpoint/last seen only grows", endpointTouched},
		{"endpoint/last seen of many", endpointManyTouched},
	}
}

func endpointComesBack(t *testing.T, s *store.Store) {
	want := endpoint("ep-1")
	want.LastSeen, want.Boot, want.Components, want.ReportSeq = after(time.Hour), "b1", json.RawMessage(`{"a":  1}`), 7
	want.Posture = fleet.PostureOf([]string{"guard"})
	bare := store.Endpoint{ID: "ep-2"}
	ok(t, s.PutEndpoint(t.Context(), want))
	ok(t, s.PutEndpoint(t.Context(), bare))
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")), want)
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-2")), bare)
	_, err := s.Endpoint(t.Context(), "ep-3")
	refused(t, err, fault.NotFound)
}

func endpointSaved(t *testing.T, s *store.Store) {
	want := endpoint("ep-1")
	ok(t, s.PutEndpoint(t.Context(), want))
	said := store.Endpoint{
		ID: "ep-1", Tenant: "evil", Labels: fleet.Labels{"role": "first"}, Attributes: fleet.Attributes{OS: "windows"},
		Boot: "b2", Components: json.RawMessage(`{}`), LastSeen: after(time.Minute), ReportSeq: 99,
		Posture: fleet.PostureOf([]string{"watchdog"}),
	}
	ok(t, s.SaveEndpoint(t.Context(), said))
	want.Attributes, want.Boot, want.Components, want.LastSeen = said.Attributes, said.Boot, said.Components, said.LastSeen
	want.Posture = said.Posture
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")), want)
	refused(t, s.SaveEndpoint(t.Context(), endpoint("ep-2")), fault.NotFound)
}

func endpointEnrolsAgain(t *testing.T, s *store.Store) {
	want := endpoint("ep-1")
	want.Boot = "b1"
	ok(t, s.PutEndpoint(t.Context(), want))
	must[int64](t)(s.AddReports(t.Context(), "ep-1", now, []store.Report{{Seq: 5, Data: json.RawMessage(`{}`)}}))
	again := endpoint("ep-1")
	again.Tenant, again.Labels, again.Enrolled = "other", nil, after(time.Hour)
	ok(t, s.PutEndpoint(t.Context(), again))
	want.Tenant, want.Labels, want.ReportSeq = "other", nil, 5
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")), want)
}

func endpointPages(t *testing.T, s *store.Store) {
	for i := range 5 {
		ok(t, s.PutEndpoint(t.Context(), endpoint(fleet.EndpointID(fmt.Sprintf("ep-%d", 4-i)))))
	}
	var got []fleet.EndpointID
	var last fleet.EndpointID
	for {
		page := must[[]store.Endpoint](t)(s.Endpoints(t.Context(), last, 2))
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			got = append(got, e.ID)
		}
		last = page[len(page)-1].ID
	}
	same(t, got, []fleet.EndpointID{"ep-0", "ep-1", "ep-2", "ep-3", "ep-4"})
	same(t, len(must[[]store.Endpoint](t)(s.Endpoints(t.Context(), "", 0))), 5)
}

func endpointTouched(t *testing.T, s *store.Store) {
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	for _, at := range []time.Time{after(time.Hour), after(time.Minute)} {
		ok(t, s.TouchEndpoints(t.Context(), map[fleet.EndpointID]time.Time{"ep-1": at, "ep-unknown": at}))
	}
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")).LastSeen, after(time.Hour))
	ok(t, s.SaveEndpoint(t.Context(), endpoint("ep-1"))) // LastSeen not set
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")).LastSeen, after(time.Hour))
	ok(t, s.TouchEndpoints(t.Context(), nil))
}

func endpointManyTouched(t *testing.T, s *store.Store) {
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1199")))
	seen := map[fleet.EndpointID]time.Time{}
	for i := range 1200 {
		seen[fleet.EndpointID(fmt.Sprintf("ep-%04d", i))] = after(time.Second)
	}
	ok(t, s.TouchEndpoints(t.Context(), seen))
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1199")).LastSeen, after(time.Second))
}
