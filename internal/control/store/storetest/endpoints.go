package storetest

import (
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
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
		{"endpoint/numbers stay", endpointNumbers},
		{"endpoint/many enrol at once, each with a number and a change", endpointManyEnrol},
		{"endpoint/many are saved, unknown ones passed over", endpointManySaved},
		{"endpoint/an older state never replaces a newer one", endpointOutdated},
		{"endpoint/a clock that was wrong once keeps out nothing", endpointFuture},
		{"endpoint/what is read is what is stored, again and again", endpointReadAgain},
		{"endpoint/changes are listed in their order, each once", endpointChanges},
		{"endpoint/no change is missed while many write", endpointChangesRace},
		{"endpoint/ends once, and tells the others", endpointEnds},
		{"endpoint/last seen only grows", endpointTouched},
		{"endpoint/last seen by number", endpointTouchedByNumber},
		{"endpoint/last seen of many", endpointManyTouched},
	}
}

// sameEndpoint compares endpoints but for what the store gives them.
func sameEndpoint(t testing.TB, got, want store.Endpoint) {
	t.Helper()
	if got.Number <= 0 || got.Change <= 0 {
		t.Errorf("got number %d and change %d of %s, want them above 0", got.Number, got.Change, got.ID)
	}
	want.Number, want.Change = got.Number, got.Change
	same(t, got, want)
}

func endpointNumbers(t *testing.T, s *store.Store) {
	first := must[int64](t)(s.Enrol(t.Context(), endpoint("ep-1")))
	second := must[int64](t)(s.Enrol(t.Context(), endpoint("ep-2")))
	if first <= 0 || second <= first {
		t.Errorf("got numbers %d and %d, want them above 0 and growing", first, second)
	}
	same(t, must[int64](t)(s.Enrol(t.Context(), endpoint("ep-1"))), first)
	ok(t, s.SaveEndpoint(t.Context(), endpoint("ep-1")))
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")).Number, first)
	same(t, must[[]store.Endpoint](t)(s.Endpoints(t.Context(), "ep-1", 0))[0].Number, second)
}

func endpointManyEnrol(t *testing.T, s *store.Store) {
	const many = 300
	numbers := enrol(t, s, many, manyEndpoint)
	for i, number := range numbers {
		same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), manyEndpoint(i))).Number, number)
	}
	if ids, _ := changes(t, s, 0, 0); len(ids) != many {
		t.Errorf("got changes of %d, want %d", len(ids), many)
	}
}

func manyEndpoint(i int) fleet.EndpointID { return fleet.EndpointID(fmt.Sprintf("ep-%03d", i)) }

func endpointManySaved(t *testing.T, s *store.Store) {
	const many = 700
	all := make([]store.Endpoint, 0, many+2)
	enrol(t, s, many, manyEndpoint)
	for i := range many {
		e := endpoint(manyEndpoint(i))
		e.Boot, e.Components, e.LastSeen = fmt.Sprint("boot ", i), json.RawMessage(`{"c": {}}`), after(time.Duration(i)*time.Second)
		e.Posture, e.Attributes.Version = fleet.PostureOf([]string{"guard"}), fmt.Sprint(i)
		all = append(all, e)
	}
	all = append(all, endpoint("ep-unknown"), all[5])
	all[5].Boot = "not the last of the two"
	ok(t, s.SaveEndpoints(t.Context(), all))
	all[5] = all[many+1]
	got := must[[]store.Endpoint](t)(s.Endpoints(t.Context(), "", 0))
	same(t, len(got), many)
	for i, e := range got {
		sameEndpoint(t, e, all[i])
	}
	ok(t, s.SaveEndpoints(t.Context(), nil))
}

func endpointOutdated(t *testing.T, s *store.Store) {
	newer, older := endpoint("ep-1"), endpoint("ep-1")
	newer.Boot, newer.LastSeen, newer.Components = "new", after(time.Minute), json.RawMessage(`{"c": {}}`)
	older.Boot, older.LastSeen, older.Posture, older.Attributes.OS = "old", now, fleet.PostureOf([]string{"guard"}), "windows"
	other := endpoint("ep-2")
	other.Boot, other.LastSeen = "other", now
	for _, e := range []store.Endpoint{newer, other} {
		ok(t, s.PutEndpoint(t.Context(), endpoint(e.ID)))
		ok(t, s.SaveEndpoint(t.Context(), e))
	}
	for _, save := range []func() error{
		func() error { return s.SaveEndpoint(t.Context(), older) },
		func() error {
			return s.SaveEndpoints(t.Context(), []store.Endpoint{other, older, endpoint("ep-unknown")})
		},
	} {
		last := must[int64](t)(s.LastChange(t.Context()))
		ok(t, save())
		sameEndpoint(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")), newer)
		sameEndpoint(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-2")), other)
		if ids, _ := changes(t, s, last, 0); len(ids) == 0 || ids[len(ids)-1] != "ep-1" {
			t.Errorf("got changes of %v, want ep-1 read again by whoever said otherwise", ids)
		}
	}
	older.LastSeen = newer.LastSeen // by the same clock: it said both when it was heard last
	ok(t, s.SaveEndpoint(t.Context(), older))
	sameEndpoint(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")), older)
}

func endpointFuture(t *testing.T, s *store.Store) {
	want := endpoint("ep-1")
	ok(t, s.PutEndpoint(t.Context(), want))
	future := now.AddDate(100, 0, 0)
	touch(t, s, "ep-1", future)
	want.Boot, want.LastSeen = "b", after(time.Hour)
	ok(t, s.SaveEndpoint(t.Context(), want))
	want.LastSeen = future
	sameEndpoint(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")), want)
}

func endpointReadAgain(t *testing.T, s *store.Store) {
	want := map[fleet.EndpointID]store.Endpoint{}
	for i := range 6 {
		e := endpoint(manyEndpoint(i))
		e.Attributes.Site = fmt.Sprint("site ", i%2)
		e.Labels = []fleet.Labels{nil, {}, {"role": "db"}}[i%3]
		want[e.ID] = e
		ok(t, s.PutEndpoint(t.Context(), e))
	}
	for range 3 {
		for _, e := range must[[]store.Endpoint](t)(s.EndpointsBetween(t.Context(), 0, 100)) {
			sameEndpoint(t, e, want[e.ID])
		}
	}
}

// changes goes through all changes in pages, from after, and gives the ids in their order.
func changes(t testing.TB, s *store.Store, after int64, limit int) (ids []fleet.EndpointID, last int64) {
	t.Helper()
	for {
		page, next, err := s.ChangedEndpoints(t.Context(), after, limit)
		ok(t, err)
		if len(page) == 0 {
			same(t, next, after)
			return ids, after
		}
		for _, e := range page {
			ids = append(ids, e.ID)
		}
		after = next
	}
}

func endpointChanges(t *testing.T, s *store.Store) {
	for _, id := range []fleet.EndpointID{"ep-3", "ep-1", "ep-2"} {
		ok(t, s.PutEndpoint(t.Context(), endpoint(id)))
	}
	ids, last := changes(t, s, 0, 2)
	same(t, ids, []fleet.EndpointID{"ep-3", "ep-1", "ep-2"})
	touch(t, s, "ep-3", after(time.Hour))
	must[int64](t)(s.AddReports(t.Context(), "ep-3", now, reports(1)))
	ids, _ = changes(t, s, last, 0)
	same(t, ids, nil)
	ok(t, s.SaveEndpoints(t.Context(), []store.Endpoint{endpoint("ep-1"), endpoint("ep-3")}))
	ok(t, s.SaveEndpoint(t.Context(), endpoint("ep-1")))
	ids, last = changes(t, s, last, 1)
	same(t, ids, []fleet.EndpointID{"ep-3", "ep-1"})
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-2")))
	ids, _ = changes(t, s, last, 0)
	same(t, ids, []fleet.EndpointID{"ep-2"})
}

// endpointChangesRace follows the changes while many write, and must see the last state of each endpoint.
func endpointChangesRace(t *testing.T, s *store.Store) {
	const writers, writes = 6, 15
	var all sync.WaitGroup
	var left atomic.Int64
	left.Store(writers)
	for i := range writers {
		all.Go(func() {
			defer left.Add(-1)
			e := endpoint(fleet.EndpointID(fmt.Sprint("ep-", i)))
			if err := s.PutEndpoint(t.Context(), e); err != nil {
				t.Errorf("got %v, want it enrolled", err)
			}
			for j := range writes {
				e.Boot = fmt.Sprint("boot ", j)
				if err := s.SaveEndpoints(t.Context(), []store.Endpoint{e}); err != nil {
					t.Errorf("got %v, want it saved", err)
				}
			}
		})
	}
	seen := map[fleet.EndpointID]string{}
	for last, done := int64(0), false; !done; {
		done = left.Load() == 0 // then this look is the last
		page, next, err := s.ChangedEndpoints(t.Context(), last, 0)
		ok(t, err)
		for _, e := range page {
			seen[e.ID] = e.Boot
		}
		last = next
	}
	all.Wait()
	for i := range writers {
		same(t, seen[fleet.EndpointID(fmt.Sprint("ep-", i))], fmt.Sprint("boot ", writes-1))
	}
}

func endpointTouchedByNumber(t *testing.T, s *store.Store) {
	one := must[int64](t)(s.Enrol(t.Context(), endpoint("ep-1")))
	two := must[int64](t)(s.Enrol(t.Context(), endpoint("ep-2")))
	ok(t, s.Touch(t.Context(), []store.Seen{{Number: two, At: after(time.Hour)}, {Number: one, At: after(time.Minute)}, {Number: one, At: after(time.Second)}}))
	ok(t, s.Touch(t.Context(), []store.Seen{{Number: two, At: after(time.Minute)}}))
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")).LastSeen, after(time.Minute))
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-2")).LastSeen, after(time.Hour))
	if err := s.Touch(t.Context(), []store.Seen{{Number: two + 1000, At: after(time.Minute)}}); err == nil {
		t.Error("got no error for a number that no endpoint has")
	}
	ok(t, s.Touch(t.Context(), nil))
}

func endpointComesBack(t *testing.T, s *store.Store) {
	want := endpoint("ep-1")
	want.LastSeen, want.Boot, want.Components, want.ReportSeq = after(time.Hour), "b1", json.RawMessage(`{"a":  1}`), 7
	want.Posture = fleet.PostureOf([]string{"guard"})
	bare := store.Endpoint{ID: "ep-2"}
	ok(t, s.PutEndpoint(t.Context(), want))
	ok(t, s.PutEndpoint(t.Context(), bare))
	sameEndpoint(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")), want)
	sameEndpoint(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-2")), bare)
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
	sameEndpoint(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")), want)
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
	sameEndpoint(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")), want)
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

// touch says when an endpoint was heard.
func touch(t testing.TB, s *store.Store, id fleet.EndpointID, at time.Time) {
	t.Helper()
	number := must[store.Endpoint](t)(s.Endpoint(t.Context(), id)).Number
	ok(t, s.Touch(t.Context(), []store.Seen{{Number: number, At: at}}))
}

func endpointTouched(t *testing.T, s *store.Store) {
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	for _, at := range []time.Time{after(time.Hour), after(time.Minute)} {
		touch(t, s, "ep-1", at)
	}
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")).LastSeen, after(time.Hour))
	ok(t, s.SaveEndpoint(t.Context(), endpoint("ep-1"))) // LastSeen not set
	same(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")).LastSeen, after(time.Hour))
}

func endpointManyTouched(t *testing.T, s *store.Store) {
	const many = 1200 // more than are written at once
	seen := make([]store.Seen, many)
	var joining sync.WaitGroup
	for i := range seen {
		joining.Go(func() {
			number, err := s.Enrol(t.Context(), endpoint(fleet.EndpointID(fmt.Sprintf("ep-%04d", i))))
			if err != nil {
				t.Error(err)
			}
			seen[i] = store.Seen{Number: number, At: after(time.Second)}
		})
	}
	joining.Wait()
	ok(t, s.Touch(t.Context(), seen))
	all := must[[]store.Endpoint](t)(s.Endpoints(t.Context(), "", 0))
	same(t, len(all), many)
	for _, e := range all {
		same(t, e.LastSeen, after(time.Second))
	}
}

func endpointEnds(t *testing.T, s *store.Store) {
	for _, id := range []fleet.EndpointID{"ep-1", "ep-2"} {
		ok(t, s.PutEndpoint(t.Context(), endpoint(id)))
	}
	last := must[int64](t)(s.LastChange(t.Context()))
	want := endpoint("ep-1")
	want.Ending, want.Ended, want.Why = store.Revoked, after(time.Minute), "stolen"
	ok(t, s.EndEndpoint(t.Context(), "ep-1", store.Revoked, want.Why, want.Ended))
	ok(t, s.EndEndpoint(t.Context(), "ep-1", store.Revoked, "again", after(time.Hour)))
	refused(t, s.EndEndpoint(t.Context(), "ep-1", store.Removed, "", now), fault.Conflict)
	sameEndpoint(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")), want)
	ok(t, s.SaveEndpoint(t.Context(), endpoint("ep-1"))) // what it said before, written behind
	sameEndpoint(t, must[store.Endpoint](t)(s.Endpoint(t.Context(), "ep-1")), want)
	ok(t, s.EndEndpoint(t.Context(), "ep-2", store.Removed, "scrapped", want.Ended))
	refused(t, s.EndEndpoint(t.Context(), "ep-2", store.Removed, "", now), fault.NotFound)
	refused(t, s.EndEndpoint(t.Context(), "ep-3", store.Revoked, "", now), fault.NotFound)
	changes, _, err := s.ChangedEndpoints(t.Context(), last, 0)
	ok(t, err)
	if len(changes) != 2 || changes[0].Ending != store.Revoked || changes[1].Ending != store.Removed {
		t.Errorf("got changes %+v, want both endings", changes)
	}
	same(t, len(must[[]store.Endpoint](t)(s.Endpoints(t.Context(), "", 0))), 1)
}
