package picture_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/chart"
	"github.com/firebreak-dev/firebreak/internal/chart/picture"
)

func at(seconds int) time.Time {
	return time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
}

// table is what a chart shows, a row a line.
func table(t *testing.T, c chart.Chart) string {
	t.Helper()
	var svg bytes.Buffer
	if err := c.WriteSVG(&svg); err != nil {
		t.Fatal(err)
	}
	head, rows := c.Table()
	lines := []string{strings.Join(head, " | ")}
	for _, row := range rows {
		lines = append(lines, strings.Join(row, " | "))
	}
	return strings.Join(lines, "\n")
}

func same(t *testing.T, what, want, got string) {
	t.Helper()
	if diff := cmp.Diff(strings.TrimSpace(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func course() (api.Rollout, api.RolloutSeries) {
	harm, end := at(60), at(90)
	r := api.Rollout{
		ID: "ro-1", Component: "sensor-content", Version: "2", Plan: "careful", Phase: "tripped", Started: at(0), FirstHarm: &harm, Ended: &end,
	}
	return r, api.RolloutSeries{Amber: 20, Trip: 10_000, Points: []api.SeriesPoint{
		{At: at(0), Evidence: 1},
		{At: at(30), Exposed: 2, Unconfirmed: 2, Evidence: 1},
		{At: at(60), Exposed: 2, Unconfirmed: 1, Harmed: 1, Evidence: 27.5},
		{At: at(59), Exposed: 3, Unconfirmed: 1, Harmed: 2, Evidence: 30}, // of another replica, whose clock is a little behind
		{At: at(90), Exposed: 3, Harmed: 3, Evidence: math.Inf(1)},
	}}
}

func TestExposure(t *testing.T) {
	t.Parallel()
	same(t, "exposure", `
time since start | exposed | unconfirmed | harmed | what happened
0 | 0 | 0 | 0 | 
30 s | 2 | 2 | 0 | 
1 min | 3 | 1 | 2 | first harm
1 min 30 s | 3 | 0 | 3 | tripped`, table(t, picture.Exposure(course())))
}

func TestEvidence(t *testing.T) {
	t.Parallel()
	c := picture.Evidence(course())
	same(t, "evidence", `
time since start | E | what happened
0 | 1 | 
30 s | 1 | 
1 min | 30 | first harm
1 min 30 s | 1e+300 | tripped`, table(t, c))
	var levels []string
	for _, m := range c.Marks {
		if !m.Moment {
			levels = append(levels, fmt.Sprint(m.Label, " ", m.At))
		}
	}
	if got := strings.Join(levels, ", "); got != "amber: growth frozen 20, trip: halt and roll back 10000" {
		t.Errorf("the levels are %s", got)
	}
}

func TestNothingYetCanBeDrawn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]chart.Chart{
		"exposure": picture.Exposure(api.Rollout{}, api.RolloutSeries{}), "evidence": picture.Evidence(api.Rollout{}, api.RolloutSeries{}),
		"versions": picture.Versions(api.FleetHistory{}, "sensor-content"), "heartbeats": picture.Heartbeats(api.FleetHistory{}),
	} {
		if err := c.WriteSVG(&bytes.Buffer{}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func history(samples ...api.FleetSample) api.FleetHistory {
	return api.FleetHistory{Since: at(0), Until: at(600), Samples: samples}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	same(t, "versions", `
time since 2024-07-19 04:09 UTC | 1 | 2 | nothing yet
0 | 40 |  | 2
2 min | 37 | 3 | 2
5 min | 0 | 40 | 2
10 min | 0 | 40 | 2`, table(t, picture.Versions(history(
		api.FleetSample{At: at(0), Component: "sensor-content", Version: "1", Hosts: 40},
		api.FleetSample{At: at(0), Component: "sensor-content", Hosts: 2},
		api.FleetSample{At: at(0), Component: "other", Version: "9", Hosts: 99},
		api.FleetSample{At: at(0), Hosts: 42, Heard: 40},
		api.FleetSample{At: at(120), Component: "sensor-content", Version: "1", Hosts: 37},
		api.FleetSample{At: at(300), Component: "sensor-content", Version: "1", Hosts: 0},
		api.FleetSample{At: at(300), Component: "sensor-content", Version: "2", Hosts: 40}, // the order of one time says nothing
		api.FleetSample{At: at(120), Component: "sensor-content", Version: "2", Hosts: 3},
	), "sensor-content")))
}

func TestManyVersionsAreSummedUp(t *testing.T) {
	t.Parallel()
	var samples []api.FleetSample
	for i := range 15 {
		samples = append(samples, api.FleetSample{At: at(0), Component: "c", Version: fmt.Sprint("v", i), Hosts: int64(100 - i)},
			api.FleetSample{At: at(60 + i), Component: "c", Version: fmt.Sprint("v", i), Hosts: 1})
	}
	c := picture.Versions(history(samples...), "c")
	if len(c.Series) != 12 {
		t.Fatalf("got %d lines, want 11 and one for the others", len(c.Series))
	}
	rest := c.Series[11]
	first, last := rest.Points[0].Y, rest.Points[len(rest.Points)-1].Y
	if rest.Name != "4 others" || first != 89+88+87+86 || last != 4 {
		t.Errorf("the others are %q, %v hosts at first and %v at last; want 4 others, 350 and 4", rest.Name, first, last)
	}
}

func TestHeartbeats(t *testing.T) {
	t.Parallel()
	same(t, "heartbeats", `
time since 2024-07-19 04:09 UTC | endpoints | heard
0 | 42 | 40
1 min | 42 | 7`, table(t, picture.Heartbeats(history(
		api.FleetSample{At: at(60), Hosts: 42, Heard: 7},
		api.FleetSample{At: at(0), Hosts: 42, Heard: 40},
		api.FleetSample{At: at(0), Component: "c", Version: "1", Hosts: 5, Heard: 5},
	))))
}
