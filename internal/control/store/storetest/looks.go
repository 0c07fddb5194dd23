package storetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// lookTests are about what people look at: parts of long lists, by what they ask for.
func lookTests() []test {
	return []test{
		{"rollout/those that are asked for, newest first", rolloutsAsked},
		{"rollout/counted by phase", rolloutPhases},
		{"rollout/names its newest incident", rolloutIncident},
		{"event/those that matter, newest first", eventNotable},
		{"event/at some revisions", eventsAt},
		{"lease/of harmed hosts", leasesHarmed},
		{"report/the last of an endpoint", reportsOf},
		{"sample/comes back in the order of time", samplesBack},
		{"sample/thinned and forgotten", samplesThinned},
	}
}

// phased commits a rollout's event at a revision after which it is in a phase.
func phased(t *testing.T, s *store.Store, id rollout.ID, component, version string, revision int64, p rollout.Phase) {
	t.Helper()
	c := commit(id, revision)
	c.State.Phase, c.State.Release.Component, c.State.Release.Version = p, component, version
	ok(t, s.Commit(t.Context(), c))
}

func rolloutsAsked(t *testing.T, s *store.Store) {
	for i, p := range []rollout.Phase{rollout.Complete, rollout.Running, rollout.Proposed, rollout.Paused, rollout.Halted, rollout.Tripped} {
		phased(t, s, rollout.ID(fmt.Sprint("r", i+1)), []string{"a", "b"}[i%2], fmt.Sprint("v", i/2), 1, p)
	}
	phased(t, s, "r2", "b", "v0", 2, rollout.RolledBack) // it was running
	for name, c := range map[string]struct {
		q    store.RolloutQuery
		want []rollout.ID
	}{
		"all":               {store.RolloutQuery{}, []rollout.ID{"r6", "r5", "r4", "r3", "r2", "r1"}},
		"component":         {store.RolloutQuery{Component: "a"}, []rollout.ID{"r5", "r3", "r1"}},
		"version":           {store.RolloutQuery{Component: "b", Version: "v2"}, []rollout.ID{"r6"}},
		"active":            {store.RolloutQuery{Active: true}, []rollout.ID{"r4", "r3"}},
		"phases":            {store.RolloutQuery{Phases: []rollout.Phase{rollout.RolledBack, rollout.Complete}}, []rollout.ID{"r2", "r1"}},
		"active and phase":  {store.RolloutQuery{Active: true, Phases: []rollout.Phase{rollout.Paused, rollout.Halted}}, []rollout.ID{"r4"}},
		"behind":            {store.RolloutQuery{Behind: "r4", Limit: 2}, []rollout.ID{"r3", "r2"}},
		"behind, component": {store.RolloutQuery{Behind: "r4", Component: "a"}, []rollout.ID{"r3", "r1"}},
		"none":              {store.RolloutQuery{Component: "c\x00"}, nil},
	} {
		var got []rollout.ID
		for _, r := range must[[]store.Rollout](t)(s.FindRollouts(t.Context(), c.q)) {
			got = append(got, r.State.ID)
			if !c.q.Wants(&r.State) {
				t.Errorf("%s: got %s, which the question itself does not want", name, r.State.ID)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
	_, err := s.FindRollouts(t.Context(), store.RolloutQuery{Behind: "r\x009"})
	refused(t, err, fault.NotFound)
}

func rolloutPhases(t *testing.T, s *store.Store) {
	same(t, must[map[rollout.Phase]int64](t)(s.RolloutPhases(t.Context())), map[rollout.Phase]int64{})
	phased(t, s, "r1", "a", "v1", 1, rollout.Running)
	phased(t, s, "r2", "a", "v2", 1, rollout.Complete)
	phased(t, s, "r1", "a", "v1", 2, rollout.Complete)
	phased(t, s, "r3", "a", "v3", 1, rollout.Paused)
	same(t, must[map[rollout.Phase]int64](t)(s.RolloutPhases(t.Context())), map[rollout.Phase]int64{rollout.Complete: 2, rollout.Paused: 1})
}

func rolloutIncident(t *testing.T, s *store.Store) {
	for i, id := range []string{"i9", "i1"} {
		c := commit("r1", int64(i)+1)
		c.Incident = incident("r1", id)
		ok(t, s.Commit(t.Context(), c))
	}
	ok(t, s.Commit(t.Context(), commit("r2", 1)))
	for id, want := range map[rollout.ID]string{"r1": "i1", "r2": ""} {
		same(t, must[store.Rollout](t)(s.Rollout(t.Context(), id)).Incident, want)
	}
}

// notables commits events of a rollout, that have so much to say.
func notables(t *testing.T, s *store.Store, id rollout.ID, of ...store.Notable) []store.Event {
	t.Helper()
	var all []store.Event
	for i, n := range of {
		c := commit(id, int64(i)+1)
		c.Events[0].Notable = n
		ok(t, s.Commit(t.Context(), c))
		all = append(all, c.Events[0])
	}
	return all
}

func eventNotable(t *testing.T, s *store.Store) {
	all := notables(t, s, "r1", store.Matters, store.Routine, store.Matters, store.Another, store.Matters)
	notables(t, s, "r2", store.Matters)
	list := func(n store.Notable, before int64, limit int) []store.Event {
		return must[[]store.Event](t)(s.NotableEvents(t.Context(), "r1", n, before, limit))
	}
	same(t, list(store.Matters, 0, 0), []store.Event{all[4], all[2], all[0]})
	same(t, list(store.Matters, 5, 1), []store.Event{all[2]})
	same(t, list(store.Matters, 1, 0), nil)
	same(t, list(store.Another, 0, 0), []store.Event{all[3]})
}

func eventsAt(t *testing.T, s *store.Store) {
	all := notables(t, s, "r1", store.Matters, store.Routine, store.Routine)
	notables(t, s, "r2", store.Routine, store.Routine)
	got := must[[]store.Event](t)(s.EventsAt(t.Context(), "r1", []int64{3, 9, 1}))
	slices.SortFunc(got, func(a, b store.Event) int { return int(a.Revision - b.Revision) })
	same(t, got, []store.Event{all[0], all[2]})
	same(t, must[[]store.Event](t)(s.EventsAt(t.Context(), "r1", nil)), nil)
}

func leasesHarmed(t *testing.T, s *store.Store) {
	outcomes := []rollout.Outcome{
		rollout.Pending, rollout.Confirmed, rollout.Crashed, rollout.Reverted, rollout.Rejected, rollout.Silent, rollout.Goodbye, rollout.Late,
	}
	var want []store.Lease
	for i, o := range outcomes {
		l := lease("r1", fleet.EndpointID(fmt.Sprint("ep-", i)))
		l.Outcome = o
		grant(t, s, int64(i)+1, l)
		if o.Harms() {
			want = append(want, *l)
		}
	}
	grant(t, s, 1, lease("r2", "ep-2"))
	same(t, must[[]store.Lease](t)(s.LeasesPage(t.Context(), "r1", "", 0, rollout.Harmful()...)), want)
	same(t, must[[]store.Lease](t)(s.LeasesPage(t.Context(), "r1", want[0].Endpoint, 2, rollout.Harmful()...)), want[1:3])
	for _, o := range outcomes {
		if of := must[[]store.Lease](t)(s.LeasesPage(t.Context(), "r1", "", 0, o)); len(of) != 1 || of[0].Outcome != o {
			t.Errorf("leases that are %s: got %+v, want the one", o, of)
		}
	}
}

func reportsOf(t *testing.T, s *store.Store) {
	for _, id := range []fleet.EndpointID{"ep-1", "ep-2"} {
		must[int64](t)(s.Enrol(t.Context(), endpoint(id)))
		var sent []store.Report
		for seq := range int64(4) {
			sent = append(sent, store.Report{Seq: seq + 1, Data: json.RawMessage(fmt.Sprintf(`{"seq":%d}`, seq+1))})
		}
		must[int64](t)(s.AddReports(t.Context(), id, now, sent))
	}
	var got []int64
	for _, r := range must[[]store.Report](t)(s.ReportsOf(t.Context(), "ep-2", 3)) {
		got = append(got, r.Seq)
		same(t, r.Endpoint, "ep-2")
	}
	same(t, got, []int64{4, 3, 2})
	same(t, must[[]store.Report](t)(s.ReportsOf(t.Context(), "ep-9", 3)), nil)
}

func sample(at time.Duration, component, version string, hosts int64) store.Sample {
	return store.Sample{At: now.Truncate(10 * time.Minute).Add(at), Component: component, Version: version, Hosts: hosts, Heard: hosts / 2}
}

func samplesBack(t *testing.T, s *store.Store) {
	ok(t, s.AddSamples(t.Context(), []store.Sample{sample(0, "", "", 10), sample(0, "a", "v2", 3), sample(0, "a", "v1", 7), sample(0, "b", "v1", 1)}))
	ok(t, s.AddSamples(t.Context(), []store.Sample{sample(time.Minute, "a", "v1", 5), sample(time.Minute, "a", "v1", 6)}))
	ok(t, s.AddSamples(t.Context(), nil))
	list := func(component string, since time.Duration, limit int) []store.Sample {
		return must[[]store.Sample](t)(s.Samples(t.Context(), component, sample(since, "", "", 0).At, limit))
	}
	same(t, list("", 0, 0), []store.Sample{sample(0, "", "", 10)})
	same(t, list("a", 0, 0), []store.Sample{sample(0, "a", "v1", 7), sample(0, "a", "v2", 3), sample(time.Minute, "a", "v1", 6)})
	same(t, list("a", 0, 1), []store.Sample{sample(0, "a", "v1", 7)})
	same(t, list("a", time.Second, 0), []store.Sample{sample(time.Minute, "a", "v1", 6)})
	ok(t, s.AddSamples(t.Context(), []store.Sample{sample(0, "", "", 11)}))
	same(t, list("", 0, 0), []store.Sample{sample(0, "", "", 11)})
}

func samplesThinned(t *testing.T, s *store.Store) {
	var all []store.Sample
	for minute := range 25 {
		all = append(all, sample(time.Duration(minute)*time.Minute, "", "", int64(minute)))
	}
	all = append(all, sample(3*time.Minute, "a", "v1", 1), sample(12*time.Minute, "a", "v1", 2), sample(14*time.Minute, "a", "v2", 3))
	ok(t, s.AddSamples(t.Context(), all))
	at := func(d time.Duration) time.Time { return sample(d, "", "", 0).At }
	for range 2 { // a second time it finds nothing more to do
		ok(t, s.ThinSamples(t.Context(), at(-20*time.Hour), at(20*time.Minute), 10*time.Minute))
	}
	var minutes []int64
	for _, v := range must[[]store.Sample](t)(s.Samples(t.Context(), "", at(0), 0)) {
		minutes = append(minutes, v.Hosts)
	}
	same(t, minutes, []int64{9, 19, 20, 21, 22, 23, 24})
	same(t, must[[]store.Sample](t)(s.Samples(t.Context(), "a", at(0), 0)), all[25:])
	ok(t, s.ForgetSamples(t.Context(), at(14*time.Minute)))
	same(t, must[[]store.Sample](t)(s.Samples(t.Context(), "a", at(0), 0)), all[27:])
}
