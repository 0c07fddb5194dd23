package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func commitTests() []test {
	return []test{
		{"commit/a rollout is created once", commitCreatesOnce},
		{"commit/only the next revision", commitNextRevision},
		{"commit/many events together", commitMany},
		{"commit/events with a gap are refused", commitGap},
		{"commit/of several leases of one endpoint the last", commitSameEndpoint},
		{"commit/many reports, each once", commitManyReports},
		{"commit/one of many at the same revision", commitRace},
		{"commit/all or nothing", commitAtomic},
		{"commit/a report is taken in once", commitTakesReportOnce},
		{"commit/parts of another rollout are refused", commitIncoherent},
		{"commit/a caller who went away changes nothing or everything", commitCancelled},
	}
}

func commitCreatesOnce(t *testing.T, s *store.Store) {
	ok(t, s.Commit(t.Context(), commit("r1", 1)))
	refused(t, s.Commit(t.Context(), commit("r1", 1)), fault.Conflict)
	refused(t, s.Commit(t.Context(), commit("r2", 2)), fault.NotFound)
	same(t, len(must[[]store.Rollout](t)(s.Rollouts(t.Context(), "", 0))), 1)
}

func commitNextRevision(t *testing.T, s *store.Store) {
	ok(t, s.Commit(t.Context(), commit("r1", 1)))
	ok(t, s.Commit(t.Context(), commit("r1", 2)))
	for _, revision := range []int64{-1, 0, 1, 2, 4} {
		refused(t, s.Commit(t.Context(), commit("r1", revision)), fault.Conflict)
	}
	same(t, must[store.Rollout](t)(s.Rollout(t.Context(), "r1")).Revision, 2)
	same(t, len(must[[]store.Event](t)(s.Events(t.Context(), "r1", 0, 0))), 2)
}

// batch makes the commit of several events.
func batch(id rollout.ID, from, to int64) store.Commit {
	c := commit(id, to)
	c.Events = nil
	for revision := from; revision <= to; revision++ {
		c.Events = append(c.Events, commit(id, revision).Events...)
	}
	return c
}

func commitMany(t *testing.T, s *store.Store) {
	for _, revisions := range [][2]int64{{1, 3}, {4, 4}, {5, 700}} {
		c := batch("r1", revisions[0], revisions[1])
		for _, e := range c.Events {
			c.Leases = append(c.Leases, *lease("r1", fleet.EndpointID(fmt.Sprintf("ep-%04d", e.Revision))))
		}
		ok(t, s.Commit(t.Context(), c))
		got := must[store.Rollout](t)(s.Rollout(t.Context(), "r1"))
		same(t, got, store.Rollout{State: c.State, Revision: revisions[1], Created: after(time.Second), Listed: c.State.Phase})
	}
	same(t, must[[]store.Event](t)(s.Events(t.Context(), "r1", 0, 0)), batch("r1", 1, 700).Events)
	same(t, len(must[[]store.Lease](t)(s.Leases(t.Context(), "r1"))), 700)
	refused(t, s.Commit(t.Context(), batch("r1", 700, 702)), fault.Conflict)
	refused(t, s.Commit(t.Context(), batch("r1", 702, 703)), fault.Conflict)
	refused(t, s.Commit(t.Context(), batch("r1", 1, 2)), fault.Conflict)
	refused(t, s.Commit(t.Context(), batch("r2", 2, 3)), fault.NotFound)
	same(t, len(must[[]store.Event](t)(s.Events(t.Context(), "r1", 0, 0))), 700)
}

func commitGap(t *testing.T, s *store.Store) {
	gap := batch("r1", 1, 3)
	gap.Events = append(gap.Events[:1:1], gap.Events[2])
	refused(t, s.Commit(t.Context(), gap), fault.Conflict)
	none := commit("r1", 1)
	none.Events = nil
	refused(t, s.Commit(t.Context(), none), fault.Internal)
	same(t, must[[]store.Rollout](t)(s.Rollouts(t.Context(), "", 0)), nil)
}

func commitSameEndpoint(t *testing.T, s *store.Store) {
	granted, known := lease("r1", "ep-1"), lease("r1", "ep-1")
	known.Outcome, known.Known = rollout.Confirmed, after(time.Minute)
	c := batch("r1", 1, 3)
	c.Leases = []store.Lease{*granted, *lease("r1", "ep-2"), *known}
	ok(t, s.Commit(t.Context(), c))
	same(t, must[[]store.Lease](t)(s.Leases(t.Context(), "r1")), []store.Lease{*known, *lease("r1", "ep-2")})
}

func commitManyReports(t *testing.T, s *store.Store) {
	keys := func(endpoint fleet.EndpointID, seqs ...int64) (all []store.ReportKey) {
		for _, seq := range seqs {
			all = append(all, store.ReportKey{Endpoint: endpoint, Seq: seq})
		}
		return all
	}
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-2")))
	must[int64](t)(s.AddReports(t.Context(), "ep-1", now, reports(1, 2, 3, 4)))
	must[int64](t)(s.AddReports(t.Context(), "ep-2", now, reports(1, 2)))
	take := func(revision int64, all ...store.ReportKey) error {
		c := commit("r1", revision)
		c.Reports = all
		return s.Commit(t.Context(), c)
	}
	ok(t, take(1, append(keys("ep-1", 3, 1), keys("ep-2", 2)...)...))
	untaken(t, s, arrived("ep-1", 2, now), arrived("ep-1", 4, now), arrived("ep-2", 1, now))
	for _, wrong := range []struct {
		names string
		kind  fault.Kind
		keys  []store.ReportKey
	}{
		{"report 3 of endpoint ep-1", fault.Conflict, keys("ep-1", 2, 3, 4)},
		{"report 4 of endpoint ep-1", fault.Conflict, keys("ep-1", 2, 4, 4)},
		{"report 3 of endpoint ep-2", fault.NotFound, append(keys("ep-1", 2), keys("ep-2", 1, 3)...)},
		{"report 1 of endpoint ep-9", fault.NotFound, append(keys("ep-1", 2), keys("ep-9", 1)...)},
	} {
		err := take(2, wrong.keys...)
		refused(t, err, wrong.kind)
		if err == nil || !strings.Contains(err.Error(), wrong.names) {
			t.Errorf("got %v, want it to name %s", err, wrong.names)
		}
	}
	untaken(t, s, arrived("ep-1", 2, now), arrived("ep-1", 4, now), arrived("ep-2", 1, now))
	ok(t, take(2, append(keys("ep-1", 2, 4), keys("ep-2", 1)...)...))
	untaken(t, s)
}

func commitRace(t *testing.T, s *store.Store) {
	ok(t, s.Commit(t.Context(), commit("r1", 1)))
	var won atomic.Int64
	var racers sync.WaitGroup
	for range 8 {
		racers.Go(func() {
			if err := s.Commit(t.Context(), commit("r1", 2)); err == nil {
				won.Add(1)
			} else {
				refused(t, err, fault.Conflict)
			}
		})
	}
	racers.Wait()
	same(t, won.Load(), 1)
}

// full makes a commit that changes everything that a commit can.
func full(id rollout.ID, revision int64) store.Commit {
	c := commit(id, revision)
	c.Leases, c.Recall, c.Incident = []store.Lease{*lease(id, "ep-1")}, recall(id, "v2"), incident(id, "i1")
	c.Reports = []store.ReportKey{{Endpoint: "ep-1", Seq: 1}}
	return c
}

func commitAtomic(t *testing.T, s *store.Store) {
	ok(t, s.Commit(t.Context(), commit("r1", 1)))
	refused(t, s.Commit(t.Context(), full("r1", 2)), fault.NotFound) // the report is not there
	same(t, must[store.Rollout](t)(s.Rollout(t.Context(), "r1")).Revision, 1)
	same(t, len(must[[]store.Event](t)(s.Events(t.Context(), "r1", 0, 0))), 1)
	same(t, must[[]store.Lease](t)(s.Leases(t.Context(), "r1")), nil)
	same(t, must[[]store.Recall](t)(s.Recalls(t.Context(), "")), nil)
	same(t, must[[]store.Incident](t)(s.Incidents(t.Context())), nil)

	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	must[int64](t)(s.AddReports(t.Context(), "ep-1", now, reports(1)))
	ok(t, s.Commit(t.Context(), full("r1", 2)))
	same(t, must[[]store.Lease](t)(s.Leases(t.Context(), "r1")), []store.Lease{*lease("r1", "ep-1")})
	same(t, must[[]store.Recall](t)(s.Recalls(t.Context(), "")), []store.Recall{*recall("r1", "v2")})
	same(t, must[[]store.Incident](t)(s.Incidents(t.Context())), []store.Incident{*incident("r1", "i1")})
	same(t, must[[]store.Report](t)(s.UntakenReports(t.Context(), 0, 0)), nil)
}

func commitTakesReportOnce(t *testing.T, s *store.Store) {
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	must[int64](t)(s.AddReports(t.Context(), "ep-1", now, reports(1)))
	take := func(revision int64) error {
		c := commit("r1", revision)
		c.Reports = []store.ReportKey{{Endpoint: "ep-1", Seq: 1}}
		return s.Commit(t.Context(), c)
	}
	ok(t, take(1))
	refused(t, take(2), fault.Conflict)
	same(t, must[store.Rollout](t)(s.Rollout(t.Context(), "r1")).Revision, 1)
}

func commitIncoherent(t *testing.T, s *store.Store) {
	spoil := []func(*store.Commit){
		func(c *store.Commit) { c.State.ID = "r2" },
		func(c *store.Commit) { c.Leases = []store.Lease{*lease("r2", "ep-1")} },
		func(c *store.Commit) { c.Recall = recall("r2", "v2") },
		func(c *store.Commit) { c.Incident = incident("r2", "i1") },
	}
	for _, f := range spoil {
		c := commit("r1", 1)
		f(&c)
		refused(t, s.Commit(t.Context(), c), fault.Internal)
	}
	same(t, must[[]store.Rollout](t)(s.Rollouts(t.Context(), "", 0)), nil)
}

func commitCancelled(t *testing.T, s *store.Store) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	refused(t, s.Commit(gone, commit("r1", 1)), fault.Unavailable)

	var callers sync.WaitGroup
	for i := range 20 {
		callers.Go(func() { cancelledCommit(t, s, rollout.ID(rune('a'+i))) })
	}
	callers.Wait()
}

// cancelledCommit cancels a commit at about the time when it begins.
func cancelledCommit(t *testing.T, s *store.Store, id rollout.ID) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go cancel()
	err := s.Commit(ctx, commit(id, 1))
	_, missing := s.Rollout(context.WithoutCancel(ctx), id)
	if (err == nil) != (missing == nil) {
		t.Errorf("got commit error %v and then %v, want both or none", err, missing)
	}
}
