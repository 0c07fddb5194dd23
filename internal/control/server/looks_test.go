package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// seen reads a good answer.
func seen[T any](t *testing.T, w *servertest.World, path string) T {
	t.Helper()
	answer, body := w.Do("GET", path, "")
	var v T
	if err := json.Unmarshal([]byte(body), &v); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: got %d %s", path, answer.StatusCode, body)
	}
	return v
}

func TestSeriesOfALongRollout(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Complete("sensor-content", 30)
	now := seen[api.Rollout](t, w, "/api/v1/rollouts/ro-1")
	for _, points := range []int{2, 3, 10, 2000} {
		got := seen[api.RolloutSeries](t, w, fmt.Sprintf("/api/v1/rollouts/ro-1/series?points=%d", points))
		n := len(got.Points)
		if n < 2 || n > points || got.Points[0].Revision != 1 || got.Sampled != (int64(points) < now.Revision) || got.Trip != now.Trip {
			t.Fatalf("%d points: got %d from revision %d, sampled %t of %d", points, n, got.Points[0].Revision, got.Sampled, now.Revision)
		}
		last := got.Points[n-1]
		if last.Revision != now.Revision || last.Exposed != 30 || last.Unconfirmed != 0 || last.Ring != now.Ring {
			t.Errorf("%d points: got %+v last, want how it stands now", points, last)
		}
		for i, p := range got.Points[1:] {
			if before := got.Points[i]; p.Revision <= before.Revision || p.Exposed < before.Exposed || p.At.Before(before.At) || p.Ring < before.Ring {
				t.Errorf("%d points: got %+v after %+v, want them in order", points, p, before)
			}
		}
	}
}

func TestTimelineInPages(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Complete("sensor-content", 12)
	whole := seen[api.Page[api.Decision]](t, w, "/api/v1/rollouts/ro-1/timeline")
	var all []api.Decision
	for next := ""; ; {
		page := seen[api.Page[api.Decision]](t, w, "/api/v1/rollouts/ro-1/timeline?limit=1&after="+next)
		if len(page.Items) > 1 {
			t.Fatalf("got %d decisions on a page of one", len(page.Items))
		}
		all = append(all, page.Items...)
		if next = page.Next; next == "" {
			break
		}
	}
	if diff := cmp.Diff(whole.Items, all); diff != "" || whole.Next != "" {
		t.Errorf("one page and many (-one +many):\n%s", diff)
	}
	var said []string
	for _, d := range all {
		said = append(said, d.Records[len(d.Records)-1].Verdict)
	}
	if want := []string{"completed", "ring opened", "ring opened", "started"}; !cmp.Equal(want, said) {
		t.Errorf("got %q, want %q", said, want)
	}
}

// early has events from before it was noted which of them matter.
type early struct{ events int64 }

// NotableEvents implements server.Notables: only every 7000th decided anything.
func (e early) NotableEvents(_ context.Context, id rollout.ID, _ store.Notable, before int64, limit int) ([]store.Event, error) {
	if before == 0 {
		before = e.events + 1
	}
	var all []store.Event
	for revision := before - 1; revision > 0 && len(all) < limit; revision-- {
		effects := `[{"effect":"grant_lease","data":{}}]`
		if revision%7000 == 0 {
			effects = `[{"effect":"record","data":{"verdict":"ring opened"}}]`
		}
		all = append(all, store.Event{Rollout: id, Revision: revision, Name: "woke", Data: []byte("{}"), Effects: []byte(effects)})
	}
	return all, nil
}

// However many events there are that do not matter, a page ends; the next one goes on where it did.
func TestTimelineOfEarlyEvents(t *testing.T) {
	t.Parallel()
	from := early{100_000}
	var revisions []int64
	pages := 0
	for before := int64(0); ; pages++ {
		decisions, next, err := server.Timeline(t.Context(), from, "ro-1", before, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range decisions {
			revisions = append(revisions, d.Revision)
		}
		if next == 0 {
			break
		}
		if next >= before && before > 0 {
			t.Fatalf("got a page below %d that goes on below %d", before, next)
		}
		before = next
	}
	var want []int64
	for r := int64(98_000); r > 0; r -= 7000 {
		want = append(want, r)
	}
	if diff := cmp.Diff(want, revisions); diff != "" || pages < 4 {
		t.Errorf("in %d pages (-want +got):\n%s", pages, diff)
	}
}

// Harm that is too much for a timeline is looked for crashes all the same.
func TestIncidentOfManyHarmedHosts(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Trip("sensor-content")
	row, err := w.Store.Rollout(t.Context(), "ro-1")
	if err != nil {
		t.Fatal(err)
	}
	before := seen[api.Incident](t, w, "/api/v1/incidents/"+row.Incident)
	event := rollout.OutcomeKnown{At: servertest.Start(), Endpoint: "ep-009", Crash: &rollout.Crash{Signature: "5ec0ffee5a5a"}}
	name, data, err := rollout.EncodeEvent(event)
	if err != nil {
		t.Fatal(err)
	}
	effects, err := rollout.EncodeEffects([]rollout.Effect{rollout.Record{Verdict: rollout.DidCount}})
	if err != nil {
		t.Fatal(err)
	}
	err = w.Store.Commit(t.Context(), store.Commit{State: row.State, Events: []store.Event{{
		Rollout: "ro-1", Revision: row.Revision + 1, At: event.At, Name: name, Data: data, Effects: effects, Notable: store.Another,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	after := seen[api.Incident](t, w, "/api/v1/incidents/"+row.Incident)
	if len(before.Crashes) != 1 || before.Crashes[0].Hosts != 2 || len(after.Crashes) != 1 || after.Crashes[0].Hosts != 3 {
		t.Errorf("got %+v, then %+v; want two hosts of one crash, then three", before.Crashes, after.Crashes)
	}
	if diff := cmp.Diff(before.Timeline, after.Timeline); diff != "" || len(after.Timeline) == 0 || after.Timeline[0].Revision != 1 {
		t.Errorf("timeline changed (-before +after):\n%s", diff)
	}
	if len(after.Harmed) != 2 {
		t.Errorf("got %d harmed hosts, want those with a lease", len(after.Harmed))
	}
}

func TestFleetHistory(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "1")
	now := servertest.Start()
	var samples []store.Sample
	for minute := range 5000 {
		at := now.Add(-time.Duration(minute) * time.Minute)
		samples = append(samples, store.Sample{At: at, Hosts: int64(minute), Heard: 1})
		if minute%60 == 0 {
			samples = append(samples, store.Sample{At: at, Component: "sensor-content", Version: "1", Hosts: 7}, store.Sample{At: at, Component: "sensor-content", Version: "gone"})
		}
	}
	if err := w.Store.AddSamples(t.Context(), samples); err != nil {
		t.Fatal(err)
	}
	day := seen[api.FleetHistory](t, w, "/api/v1/fleet/history")
	if n := len(day.Samples); n != 24*60+1 || day.Samples[n-1].Hosts != 0 || day.Samples[0].Hosts != 24*60 || !day.Until.Equal(now) {
		t.Errorf("got %d samples of a day, want each minute, the newest last", n)
	}
	whole := seen[api.FleetHistory](t, w, "/api/v1/fleet/history?since=2024-07-01T00:00:00Z")
	if n := len(whole.Samples); n > 2000 || n < 1000 || whole.Samples[n-1].Hosts != 0 {
		t.Errorf("got %d samples of all, want fewer, and the newest among them", n)
	}
	since := now.Add(-30 * time.Minute)
	versions := seen[api.FleetHistory](t, w, "/api/v1/fleet/history?component=sensor-content&since="+since.Format(time.RFC3339))
	want := []api.FleetSample{
		{At: since, Component: "sensor-content", Version: "1", Hosts: 7},
		{At: now, Component: "sensor-content", Version: "1", Hosts: 7},
		{At: now, Component: "sensor-content", Version: "gone"},
	}
	if diff := cmp.Diff(want, versions.Samples); diff != "" {
		t.Errorf("versions, as of when the history begins (-want +got):\n%s", diff)
	}
}

// Counts of the fleet are shared for a moment, and then made again.
func TestFleetStateIsCounted(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "1")
	w.Join(3, "sensor-content")
	hosts := func() int64 { return seen[api.FleetState](t, w, "/api/v1/fleet/state").Endpoints }
	if got := hosts(); got != 3 {
		t.Errorf("got %d, want 3", got)
	}
	w.Join(2, "other")
	if got := hosts(); got != 3 {
		t.Errorf("got %d, want the count of a moment ago", got)
	}
	w.Pass(3)
	if got := hosts(); got != 5 {
		t.Errorf("got %d, want 5 a moment later", got)
	}
	if got := seen[api.FleetState](t, w, "/api/v1/fleet/state?component=sensor-content").Endpoints; got != 3 {
		t.Errorf("got %d that have the component, want 3", got)
	}
	w.Pass(16 * 60)
	if got := seen[api.FleetState](t, w, "/api/v1/fleet/state"); got.Silent != 5 || got.Heard != 0 {
		t.Errorf("got %d silent, %d heard, want all silent after a quarter of an hour", got.Silent, got.Heard)
	}
}

func TestEndpointSaysWhatItGetsNext(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	if answer, body := w.Do("POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`); answer.StatusCode != http.StatusCreated {
		t.Fatal(body)
	}
	w.Report("ro-1", 1, "confirmed", "")
	got := seen[api.Endpoint](t, w, "/api/v1/endpoints/ep-001")
	want := []api.Next{{Component: "sensor-content", Version: "1", Rollout: "ro-1", Text: "it gets a lease when it asks"}}
	if diff := cmp.Diff(want, got.Next); diff != "" || len(got.Reports) != 1 || got.Reports[0].Outcome != "confirmed" {
		t.Errorf("got %d reports, next (-want +got):\n%s", len(got.Reports), diff)
	}
}
