package server_test

import (
	"archive/zip"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

func TestAPostMortemInEachForm(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Trip("sensor-content")
	for format, c := range map[string]struct{ media, disposition, has string }{
		"":                 {"application/json", "", `"questions":[`},
		"?format=json":     {"application/json", "", `"questions":[`},
		"?format=markdown": {"text/markdown; charset=utf-8", `attachment; filename="incident-inc-4.md"`, "# Incident inc-4: sensor-content 2 halted"},
		"?format=zip":      {"application/zip", `attachment; filename="incident-inc-4.zip"`, "PK"},
	} {
		answer, body := w.Do("GET", "/api/v1/incidents/inc-4/report"+format, "")
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != c.media || answer.Header.Get("Content-Disposition") != c.disposition {
			t.Errorf("%s: got %d %s, %s", format, answer.StatusCode, answer.Header.Get("Content-Type"), answer.Header.Get("Content-Disposition"))
		}
		if !strings.Contains(body, c.has) {
			t.Errorf("%s: got %.300s, want it to have %s", format, body, c.has)
		}
		if format == "?format=zip" {
			hasFiles(t, body)
		}
	}
	for path, want := range map[string]int{"/api/v1/incidents/inc-99/report": 404, "/api/v1/incidents/inc-4/report?format=exe": 400} {
		if answer, body := w.Do("GET", path, ""); answer.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", path, answer.StatusCode, body, want)
		}
	}
}

func hasFiles(t *testing.T, body string) {
	t.Helper()
	archive, err := zip.NewReader(strings.NewReader(body), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range archive.File {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, " "); got != "report.md report.json exposure.svg evidence.svg" {
		t.Errorf("the archive has %s", got)
	}
}

// What the report says comes from the records: the plan that was frozen into the rollout, not the one that has its name now.
func TestAPostMortemTellsWhatWas(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Trip("sensor-content")
	_, body := w.Do("GET", "/api/v1/incidents/inc-4/report", "")
	var m api.PostMortem
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	if b := m.Blast; b.Exposed != 2 || b.Harmed != 2 || b.Recovered != 1 || b.Eligible != 10 || b.Spared != 8 {
		t.Errorf("the blast radius is %+v", b)
	}
	if m.Series == nil || len(m.Series.Points) < 3 || m.Series.Points[len(m.Series.Points)-1].Harmed != 2 {
		t.Errorf("the series is %+v", m.Series)
	}
	if len(m.Timeline) == 0 || m.Timeline[len(m.Timeline)-1].Verdict != "breaker tripped" {
		t.Errorf("the timeline is %+v, want it to end with the trip", m.Timeline)
	}
	facts := map[string]string{}
	for _, f := range m.Facts {
		facts[f.Name] = f.Value
	}
	if facts["Harmed"] != "2 hosts: 2 crashed" || !strings.HasPrefix(facts["Plan"], "careful, bounded to ") {
		t.Errorf("the facts are %v", facts)
	}
}

// asked is what a forecaster was asked.
type asked struct {
	plan  string
	hosts int64
}

func forecasting(o *server.Options, seen *asked, err error) {
	o.Forecast = func(_ context.Context, p plan.Plan, groups []api.FleetGroup) (api.Forecast, error) {
		*seen = asked{plan: p.Name}
		for _, g := range groups {
			seen.hosts += g.Hosts
		}
		return api.Forecast{Plan: p.Name, Fleet: seen.hosts, Cases: []api.ForecastCase{}, Taken: time.Unix(0, 0).UTC()}, err
	}
}

func TestForecasts(t *testing.T) {
	t.Parallel()
	var seen asked
	w := servertest.Open(t, func(o *server.Options) { forecasting(o, &seen, nil) })
	w.Publish("sensor-content", "1")
	const stored = "/api/v1/plans/careful/forecast"
	if answer, body := w.Do("GET", stored, ""); answer.StatusCode != http.StatusConflict || !strings.Contains(body, "the fleet has no hosts") {
		t.Errorf("with an empty fleet: got %d %s, want a conflict that says so", answer.StatusCode, body)
	}
	w.Join(7, "sensor-content")
	w.Do("POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`)
	for path, want := range map[string]asked{
		stored: {"careful", 7}, stored + "?component=sensor-content": {"careful", 7}, "/api/v1/rollouts/ro-1/forecast": {"careful", 7},
	} {
		seen = asked{}
		if answer, body := w.Do("GET", path, ""); answer.StatusCode != http.StatusOK || seen != want || !strings.Contains(body, `"fleet":7`) {
			t.Errorf("%s: got %d %s, asked for %+v; want %+v", path, answer.StatusCode, body, seen, want)
		}
	}
	for path, want := range map[string]int{
		"/api/v1/plans/none/forecast": 404, stored + "?component=none": 404, "/api/v1/rollouts/ro-9/forecast": 404,
	} {
		if answer, body := w.Do("GET", path, ""); answer.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", path, answer.StatusCode, body, want)
		}
	}
	w.Pass(3600)
	if answer, body := w.Do("GET", stored, ""); answer.StatusCode != http.StatusConflict || !strings.Contains(body, "none of the fleet's 7 hosts was heard") {
		t.Errorf("when all are silent: got %d %s, want a conflict that says so", answer.StatusCode, body)
	}
}

func TestAForecastThatHasToWaitSaysWhenToAskAgain(t *testing.T) {
	t.Parallel()
	var seen asked
	w := servertest.Open(t, func(o *server.Options) { forecasting(o, &seen, fault.New(fault.Unavailable, "others are played")) })
	w.Publish("sensor-content", "1")
	w.Join(1, "sensor-content")
	answer, body := w.Do("GET", "/api/v1/plans/careful/forecast", "")
	if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") != "3" {
		t.Errorf("got %d after %q: %s", answer.StatusCode, answer.Header.Get("Retry-After"), body)
	}
}

func TestWithoutAForecasterThereIsNoForecast(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	if answer, _ := w.Do("GET", "/api/v1/plans/careful/forecast", ""); answer.StatusCode != http.StatusNotFound {
		t.Errorf("got %d, want 404", answer.StatusCode)
	}
}
