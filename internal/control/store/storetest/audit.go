package storetest

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/internal/control/store"
)

func auditTests() []test {
	return []test{
		{"audit/comes back newest first, a page at a time", auditPages},
		{"audit/is filtered, and texts are no patterns", auditFiltered},
		{"audit/a filter looks so far at a time", auditLooks},
		{"audit/old entries are pruned", auditPruned},
	}
}

// deed is what somebody did so many seconds after now.
func deed(n int, actor, act, target string) store.AuditEntry {
	return store.AuditEntry{
		At: after(time.Duration(n) * time.Second), Actor: actor, Act: act, Target: target, Status: 200, Detail: "because", Request: fmt.Sprint("r", n),
	}
}

// written stores entries and returns them as they come back, with their numbers, newest first.
func written(t *testing.T, s *store.Store, all ...store.AuditEntry) []store.AuditEntry {
	t.Helper()
	for _, a := range all {
		ok(t, s.AddAudit(t.Context(), a))
	}
	page, seen, err := s.AuditPage(t.Context(), store.AuditFilter{}, 0, 0)
	ok(t, err)
	same(t, seen, 0)
	return page
}

func auditPages(t *testing.T, s *store.Store) {
	one, two := deed(2, "alice", "halt", "rollout ro-1"), deed(1, "bob", "signIn", "session")
	two.Detail = "a\x00b\xffc"
	all := written(t, s, one, two)
	two.Detail = "a\uFFFDb\uFFFDc"
	if len(all) != 2 || all[0].Number <= all[1].Number {
		t.Fatalf("got %v, want two entries, the newest first", all)
	}
	one.Number, two.Number = all[1].Number, all[0].Number
	same(t, all, []store.AuditEntry{two, one})
	page, _, err := s.AuditPage(t.Context(), store.AuditFilter{}, two.Number, 5)
	ok(t, err)
	same(t, page, []store.AuditEntry{one})
	page, _, err = s.AuditPage(t.Context(), store.AuditFilter{}, 0, 1)
	ok(t, err)
	same(t, page, []store.AuditEntry{two})
}

func auditFiltered(t *testing.T, s *store.Store) {
	all := written(t, s, deed(1, "Alice 100%", "halt", "rollout ro-1"), deed(2, "bob_1", "halt", "rollout ro-12"), deed(3, "bob11", "pause", "plan Ü!"))
	for _, c := range []struct {
		filter store.AuditFilter
		want   []store.AuditEntry
	}{
		{store.AuditFilter{Act: "halt"}, all[1:]},
		{store.AuditFilter{Act: "hal"}, nil},
		{store.AuditFilter{Act: "hal%"}, nil},
		{store.AuditFilter{Actor: "alice"}, all[2:]},
		{store.AuditFilter{Actor: "%"}, all[2:]},
		{store.AuditFilter{Actor: "BOB_1"}, all[1:2]},
		{store.AuditFilter{Target: "ro-1"}, all[1:]},
		{store.AuditFilter{Target: "Ü!"}, all[:1]},
		{store.AuditFilter{Target: "ro-1", Actor: "bob"}, all[1:2]},
		{store.AuditFilter{Target: "' OR 1=1 --"}, nil},
		{store.AuditFilter{Actor: "a\x00\xff", Act: "\x00\xff"}, nil},
	} {
		got, _, err := s.AuditPage(t.Context(), c.filter, 0, 10)
		ok(t, err)
		same(t, got, c.want)
	}
}

// fillAudit writes n entries, of which the first one is rare.
func fillAudit(t *testing.T, s *store.Store, n int) {
	t.Helper()
	ok(t, s.AddAudit(t.Context(), deed(0, "alice", "rare", "c")))
	var all errgroup.Group
	all.SetLimit(64)
	for range n - 1 {
		all.Go(func() error { return s.AddAudit(t.Context(), deed(0, "alice", "often", "c")) })
	}
	ok(t, all.Wait())
}

func auditLooks(t *testing.T, s *store.Store) {
	const looked = 5000
	fillAudit(t, s, looked+2)
	rare := store.AuditFilter{Act: "rare"} // only the first entry is
	got, seen, err := s.AuditPage(t.Context(), rare, 0, 10)
	ok(t, err)
	if len(got) != 0 || seen == 0 {
		t.Fatalf("got %v after looking down to %d, want nothing yet and where to go on", got, seen)
	}
	got, seen, err = s.AuditPage(t.Context(), rare, seen, 10)
	ok(t, err)
	same(t, seen, 0)
	if len(got) != 1 {
		t.Errorf("got %v, want the first entry of all", got)
	}
}

func auditPruned(t *testing.T, s *store.Store) {
	all := written(t, s, deed(-20, "a", "b", "c"), deed(-10, "a", "b", "c"), deed(0, "a", "b", "c"), deed(-30, "a", "b", "c"))
	same(t, must[int64](t)(s.PruneAudit(t.Context(), now)), 2) // the clock went back for the last one
	same(t, written(t, s), all[:2])
	fillAudit(t, s, 1200)
	same(t, must[int64](t)(s.PruneAudit(t.Context(), after(time.Hour))), 1202)
	same(t, written(t, s), nil)
}
