package storetest

import (
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func incidentTests() []test {
	return []test{
		{"recall/is made once by component and manifest", recallOnce},
		{"recall/by component in their order", recallOrder},
		{"incident/is opened once and listed newest first", incidentOpened},
		{"incident/closing keeps the first word", incidentClosed},
		{"incident/open ones are listed alone", incidentsOpen},
	}
}

func recall(id rollout.ID, version string) *store.Recall {
	return &store.Recall{
		Component: "sensor-content", Version: version, Manifest: digest(version), Artifacts: []release.Digest{digest("a"), digest("b")},
		Reason: "two of two", Rollout: id, At: now,
	}
}

func incident(id rollout.ID, name string) *store.Incident {
	return &store.Incident{ID: name, Rollout: id, Component: "sensor-content", Version: "v2", Title: "halted", Opened: now}
}

func recallOnce(t *testing.T, s *store.Store) {
	want := recall("r1", "v2")
	for revision, c := range []*store.Recall{want, recall("r1", "v2")} {
		c.Reason += string(rune('0' + revision))
		next := commit("r1", int64(revision)+1)
		next.Recall = c
		ok(t, s.Commit(t.Context(), next))
	}
	same(t, must[[]store.Recall](t)(s.Recalls(t.Context(), "sensor-content")), []store.Recall{*want})
}

func recallOrder(t *testing.T, s *store.Store) {
	first, second, third := recall("r1", "v9"), recall("r1", "v2"), recall("r1", "v2")
	second.At = after(-time.Hour)
	third.Component = "another"
	for i, c := range []*store.Recall{first, second, third} {
		next := commit("r1", int64(i)+1)
		next.Recall = c
		ok(t, s.Commit(t.Context(), next))
	}
	same(t, must[[]store.Recall](t)(s.Recalls(t.Context(), "")), []store.Recall{*first, *second, *third})
	same(t, must[[]store.Recall](t)(s.Recalls(t.Context(), "another")), []store.Recall{*third})
	same(t, must[[]store.Recall](t)(s.Recalls(t.Context(), "none")), nil)
}

// opened commits incidents, one at each revision.
func opened(t *testing.T, s *store.Store, all ...*store.Incident) {
	t.Helper()
	for i, v := range all {
		c := commit("r1", int64(i)+1)
		c.Incident = v
		ok(t, s.Commit(t.Context(), c))
	}
}

func incidentOpened(t *testing.T, s *store.Store) {
	one, two := incident("r1", "i1"), incident("r1", "i2")
	two.Closed, two.Opened = after(time.Hour), after(-time.Hour)
	opened(t, s, one, two)
	same(t, must[[]store.Incident](t)(s.Incidents(t.Context())), []store.Incident{*two, *one})
	same(t, must[store.Incident](t)(s.Incident(t.Context(), "i1")), *one)
	_, err := s.Incident(t.Context(), "i3")
	refused(t, err, fault.NotFound)
	again := commit("r1", 3)
	again.Incident = one
	refused(t, s.Commit(t.Context(), again), fault.Conflict)
}

func incidentClosed(t *testing.T, s *store.Store) {
	want := incident("r1", "i1")
	opened(t, s, want)
	ok(t, s.CloseIncident(t.Context(), "i1", "alice", "it's \"done\"; DROP TABLE incidents\x00", after(time.Minute)))
	ok(t, s.CloseIncident(t.Context(), "i1", "bob", "again", after(time.Hour)))
	want.Closed, want.Closer, want.Note = after(time.Minute), "alice", "it's \"done\"; DROP TABLE incidents\uFFFD"
	same(t, must[[]store.NumberedIncident](t)(s.IncidentsPage(t.Context(), 0, 0))[0].Incident, *want)
	same(t, must[store.Incident](t)(s.Incident(t.Context(), "i1")), *want)
	refused(t, s.CloseIncident(t.Context(), "i9", "alice", "", now), fault.NotFound)
}

func incidentsOpen(t *testing.T, s *store.Store) {
	first, second, third := incident("r1", "i1"), incident("r1", "i2"), incident("r1", "i3")
	opened(t, s, first, second, third)
	ok(t, s.CloseIncident(t.Context(), "i2", "alice", "", after(time.Hour)))
	same(t, must[[]store.Incident](t)(s.OpenIncidents(t.Context(), 0)), []store.Incident{*third, *first})
	same(t, must[[]store.Incident](t)(s.OpenIncidents(t.Context(), 1)), []store.Incident{*third})
}
