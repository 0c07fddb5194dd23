package storetest

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func rolloutTests() []test {
	return []test{
		{"rollout/comes back as it was", rolloutComesBack},
		{"rollout/newest first whatever the clock says", rolloutOrder},
		{"event/comes back byte for byte in pages", eventPages},
		{"lease/comes back as it was", leaseComesBack},
		{"lease/what a host says may be no text", leaseForeignText},
		{"lease/one for each rollout and endpoint", leaseReplaced},
		{"lease/pages have no gap and no overlap", leasePages},
	}
}

func rolloutComesBack(t *testing.T, s *store.Store) {
	ok(t, s.Commit(t.Context(), commit("r1", 1)))
	ok(t, s.Commit(t.Context(), commit("r1", 2)))
	want := store.Rollout{State: commit("r1", 2).State, Revision: 2, Created: after(time.Second), Listed: rollout.Running}
	same(t, must[store.Rollout](t)(s.Rollout(t.Context(), "r1")), want)
	_, err := s.Rollout(t.Context(), "r2")
	refused(t, err, fault.NotFound)
}

func rolloutOrder(t *testing.T, s *store.Store) {
	for i, id := range []rollout.ID{"r2", "r1", "r3"} {
		c := commit(id, 1)
		c.Events[0].At = after(-time.Duration(i) * time.Hour)
		if id == "r1" {
			c.State.Release.Component = "other"
		}
		ok(t, s.Commit(t.Context(), c))
	}
	ids := func(all []store.Rollout, err error) []rollout.ID {
		ok(t, err)
		var ids []rollout.ID
		for _, r := range all {
			ids = append(ids, r.State.ID)
		}
		return ids
	}
	same(t, ids(s.Rollouts(t.Context(), "", 0)), []rollout.ID{"r3", "r1", "r2"})
	same(t, ids(s.Rollouts(t.Context(), "", 2)), []rollout.ID{"r3", "r1"})
	same(t, ids(s.Rollouts(t.Context(), "sensor-content", 0)), []rollout.ID{"r3", "r2"})
}

func eventPages(t *testing.T, s *store.Store) {
	var want []store.Event
	for revision := int64(1); revision <= 3; revision++ {
		c := commit("r1", revision)
		c.Events[0].Effects = json.RawMessage(`[{"effect":"notify", "data":{"text":"é <&>", "x":1.50}}]`)
		ok(t, s.Commit(t.Context(), c))
		want = append(want, c.Events[0])
	}
	ok(t, s.Commit(t.Context(), commit("r2", 1)))
	same(t, must[[]store.Event](t)(s.Events(t.Context(), "r1", 0, 0)), want)
	same(t, must[[]store.Event](t)(s.Events(t.Context(), "r1", 0, 2)), want[:2])
	same(t, must[[]store.Event](t)(s.Events(t.Context(), "r1", 2, 2)), want[2:])
	same(t, must[[]store.Event](t)(s.Events(t.Context(), "r1", 3, 2)), nil)
}

// grant commits a lease with the next revision of its rollout.
func grant(t testing.TB, s *store.Store, revision int64, l *store.Lease) {
	t.Helper()
	c := commit(l.Rollout, revision)
	c.Leases = []store.Lease{*l}
	ok(t, s.Commit(t.Context(), c))
}

func leaseComesBack(t *testing.T, s *store.Store) {
	want := lease("r1", "ep-1")
	want.Outcome, want.Known, want.Detail, want.Recovered = rollout.Crashed, after(time.Minute), "signal 11", after(time.Hour)
	grant(t, s, 1, want)
	same(t, must[store.Lease](t)(s.Lease(t.Context(), "r1", "ep-1")), *want)
	_, err := s.Lease(t.Context(), "r1", "ep-2")
	refused(t, err, fault.NotFound)
}

func leaseForeignText(t *testing.T, s *store.Store) {
	l := lease("r1", "ep-1")
	l.Detail, l.Site, l.Outcome = "a\x00b", "\xff", "\x00"
	grant(t, s, 1, l)
	l.Detail, l.Site, l.Outcome = "a\uFFFDb", "\uFFFD", "\uFFFD"
	same(t, must[store.Lease](t)(s.Lease(t.Context(), "r1", "ep-1")), *l)
}

func leaseReplaced(t *testing.T, s *store.Store) {
	first, renewed, other := lease("r1", "ep-1"), lease("r1", "ep-1"), lease("r2", "ep-1")
	renewed.ID, renewed.Issued, renewed.Ring = "l-renewed", after(time.Minute), 2
	renewed.Expires, renewed.Deadline, renewed.Outcome = after(2*time.Minute), after(2*time.Hour), rollout.Confirmed
	renewed.Known, renewed.Detail, renewed.Recovered = after(time.Hour), "well", after(time.Hour)
	renewed.Tenant, renewed.Site, renewed.Stratum, renewed.Class = "other", "wien", "os windows", "laptop"
	grant(t, s, 1, first)
	grant(t, s, 2, renewed)
	grant(t, s, 3, lease("r1", "ep-0"))
	grant(t, s, 1, other)
	same(t, must[[]store.Lease](t)(s.Leases(t.Context(), "r1")), []store.Lease{*lease("r1", "ep-0"), *renewed})
	same(t, must[[]store.Lease](t)(s.LeasesOfEndpoint(t.Context(), "ep-1")), []store.Lease{*renewed, *other})
	newest := must[[]store.Lease](t)(s.NewestLeases(t.Context(), "ep-1", 0))
	if len(newest) != 2 || newest[0].Issued.Before(newest[1].Issued) {
		t.Errorf("got %+v, want both leases, the newest first", newest)
	}
	same(t, must[[]store.Lease](t)(s.NewestLeases(t.Context(), "ep-1", 1)), newest[:1])
	same(t, must[[]store.Lease](t)(s.Leases(t.Context(), "r9")), nil)
}

func leasePages(t *testing.T, s *store.Store) {
	for i := range 5 {
		grant(t, s, int64(i)+1, lease("r1", fleet.EndpointID(fmt.Sprintf("ep-%d", 4-i))))
	}
	grant(t, s, 1, lease("r2", "ep-2"))
	var got []fleet.EndpointID
	for last := fleet.EndpointID(""); ; last = got[len(got)-1] {
		page := must[[]store.Lease](t)(s.LeasesPage(t.Context(), "r1", last, 2))
		if len(page) == 0 {
			break
		}
		for _, l := range page {
			same(t, l, *lease("r1", l.Endpoint))
			got = append(got, l.Endpoint)
		}
	}
	same(t, got, []fleet.EndpointID{"ep-0", "ep-1", "ep-2", "ep-3", "ep-4"})
	same(t, len(must[[]store.Lease](t)(s.LeasesPage(t.Context(), "r1", "ep-0", 0))), 4)
}
