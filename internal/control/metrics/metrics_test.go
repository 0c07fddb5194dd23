package metrics

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.yaml.in/yaml/v4"
)

const root = "../../.."

// full is a snapshot in which every metric has a series.
func full() Snapshot {
	return Snapshot{
		Endpoints: 40, Heard: 39, Phases: map[string]int64{"running": 1},
		Rollouts: []Rollout{{ID: "ro-1", Component: "sensor-content", Version: "2", Active: true, Leased: 2, Harmed: 1, Evidence: 25, Alarm: AlarmAmber}},
		Queue:    3, QueueLimit: 1000, Leader: true, LeaderKnown: true, Term: 7, Blobs: 4, BlobBytes: 1 << 20, DataFree: 1 << 30, DataSize: 1 << 31,
		Ready: true, Checks: map[string]bool{"database": true, "keys": false}, Expires: map[string]time.Time{"authority": time.Unix(1e9, 0)},
	}
}

func made() *Metrics {
	return New(Options{Version: "1.2.3", Reasons: []string{"ring", "window"}, Snapshot: full})
}

// family is a metric as it is scraped.
type family struct {
	kind   string
	series map[string]float64 // by name and labels as they are written
}

// scraped reads what Prometheus would.
func scraped(t *testing.T, m *Metrics) (map[string]family, string) {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("got %d, want 200", w.Code)
	}
	all, text := map[string]family{}, w.Body.String()
	var now family
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(strings.TrimSpace(rest), " ")
			now = family{kind: kind, series: map[string]float64{}}
			all[name] = now
			continue
		}
		if at := strings.LastIndexByte(line, ' '); at > 0 && !strings.HasPrefix(line, "#") {
			n, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
			if err != nil {
				t.Fatal(err)
			}
			now.series[line[:at]] = n
		}
	}
	return all, text
}

func TestCountsWhatHappens(t *testing.T) {
	t.Parallel()
	m := made()
	m.CheckIn(Unchanged, time.Millisecond)
	m.CheckIn(Unchanged, time.Millisecond)
	m.CheckIn(Failed, time.Second)
	m.Reported(5)
	m.Granted()
	m.Refused("ring")
	m.Refused("something a newer engine says")
	m.Shed(CheckIn)
	m.Committed(12, 3*time.Millisecond)
	m.WriteFailed()
	all, _ := scraped(t, m)
	for series, want := range map[string]float64{
		`firebreak_checkins_total{result="unchanged"}`:                                      2,
		`firebreak_checkins_total{result="failed"}`:                                         1,
		`firebreak_checkins_total{result="changed"}`:                                        0,
		`firebreak_checkin_duration_seconds_count`:                                          3,
		`firebreak_reports_total`:                                                           5,
		`firebreak_leases_granted_total`:                                                    1,
		`firebreak_leases_refused_total{reason="ring"}`:                                     1,
		`firebreak_leases_refused_total{reason="window"}`:                                   0,
		`firebreak_leases_refused_total{reason="other"}`:                                    1,
		`firebreak_shed_total{kind="checkin"}`:                                              1,
		`firebreak_store_writes_total`:                                                      12,
		`firebreak_store_commits_total`:                                                     1,
		`firebreak_store_write_failures_total`:                                              1,
		`firebreak_store_commit_duration_seconds_count`:                                     1,
		`firebreak_endpoints`:                                                               40,
		`firebreak_endpoints_heard`:                                                         39,
		`firebreak_rollouts{phase="running"}`:                                               1,
		`firebreak_health_check{check="keys"}`:                                              0,
		`firebreak_health_check{check="database"}`:                                          1,
		`firebreak_leader`:                                                                  1,
		`firebreak_leader_term`:                                                             7,
		`firebreak_expires_timestamp_seconds{what="authority"}`:                             1e9,
		`firebreak_rollout_evidence{component="sensor-content",rollout="ro-1",version="2"}`: 25,
		`firebreak_rollout_alarm{component="sensor-content",rollout="ro-1",version="2"}`:    AlarmAmber,
	} {
		name, _, _ := strings.Cut(series, "{")
		name = strings.TrimSuffix(name, "_count")
		if got, ok := all[name].series[series]; !ok || got != want {
			t.Errorf("%s: got %v, want %v", series, got, want)
		}
	}
}

// Rollouts are made for ever; their series are not.
func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	var many []Rollout
	for i := range 1000 {
		many = append(many, Rollout{ID: fmt.Sprintf("ro-%d", i), Active: i%5 == 0})
	}
	m := New(Options{Snapshot: func() Snapshot { return Snapshot{Rollouts: many} }})
	all, _ := scraped(t, m)
	if got, want := len(all["firebreak_rollout_ring"].series), mostActive+mostEnded; got != want {
		t.Errorf("got %d series, want %d", got, want)
	}
	if got := shown(many)[0].ID; got != "ro-0" {
		t.Errorf("got %s first, want the newest", got)
	}
}

func TestNamesAreWellMade(t *testing.T) {
	t.Parallel()
	_, text := scraped(t, made())
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("got %v, %v, want no complaint about names", problems, err)
	}
}

func TestPrivatePort(t *testing.T) {
	t.Parallel()
	h := made().Handler()
	for path, want := range map[string]string{
		"/metrics": "firebreak_endpoints 40", "/debug/pprof/": "goroutine", "/debug/pprof/heap?debug=1": "heap profile",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: got %d %.200s, want 200 and %q", path, w.Code, w.Body, want)
		}
	}
}

// TestDocumented compares what is exposed with the table in docs/operating.md: names, types and labels.
func TestDocumented(t *testing.T) {
	t.Parallel()
	all, _ := scraped(t, made())
	exposed := map[string]string{}
	for name, f := range all {
		if !strings.HasPrefix(name, "firebreak_") {
			continue // of Go and of the process: as everywhere
		}
		labels := map[string]bool{}
		for series := range f.series {
			for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(series, -1) {
				labels[l[1]] = l[1] != "le"
			}
		}
		maps.DeleteFunc(labels, func(_ string, ours bool) bool { return !ours })
		exposed[name] = f.kind + " " + strings.Join(slices.Sorted(maps.Keys(labels)), ", ")
	}
	documented := map[string]string{}
	rows := regexp.MustCompile("(?m)^\\| `(firebreak_\\w+)` \\| (\\w+) \\|([^|]*)\\| [^|]{10,} \\|$")
	for _, row := range rows.FindAllStringSubmatch(read(t, "docs/operating.md"), -1) {
		labels := strings.FieldsFunc(strings.TrimSpace(row[3]), func(r rune) bool { return strings.ContainsRune(", `", r) })
		slices.Sort(labels)
		documented[row[1]] = row[2] + " " + strings.Join(labels, ", ")
	}
	if diff := cmp.Diff(exposed, documented); diff != "" {
		t.Errorf("docs/operating.md differs from what is exposed (-exposed +documented):\n%s", diff)
	}
}

// TestDashboardAndAlerts looks up every metric that the examples name.
func TestDashboardAndAlerts(t *testing.T) {
	t.Parallel()
	exposed := map[string]bool{}
	all, _ := scraped(t, made())
	for name, f := range all {
		exposed[name] = true
		if f.kind == "histogram" {
			exposed[name+"_bucket"], exposed[name+"_sum"], exposed[name+"_count"] = true, true, true
		}
	}
	var alerts, board any
	if err := yaml.Unmarshal([]byte(read(t, "packaging/prometheus/alerts.yaml")), &alerts); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(read(t, "packaging/grafana/firebreak.json")), &board); err != nil {
		t.Fatal(err)
	}
	for file, tree := range map[string]any{"alerts.yaml": alerts, "firebreak.json": board} {
		exprs := expressions(tree)
		if len(exprs) < 8 {
			t.Errorf("%s: got %d expressions, want at least 8", file, len(exprs))
		}
		for _, expr := range exprs {
			names := regexp.MustCompile(`\b(firebreak|go|process)_\w+`).FindAllString(expr, -1)
			if len(names) == 0 && !strings.Contains(expr, `up{job="firebreak"}`) {
				t.Errorf("%s: %q names no metric of firebreak", file, expr)
			}
			for _, name := range names {
				if !exposed[name] {
					t.Errorf("%s: %q names %s, which is not exposed", file, expr, name)
				}
			}
		}
	}
}

// expressions finds the values of all keys "expr".
func expressions(tree any) []string {
	var all []string
	switch v := tree.(type) {
	case map[string]any:
		for key, value := range v {
			if text, ok := value.(string); ok && key == "expr" {
				all = append(all, text)
				continue
			}
			all = append(all, expressions(value)...)
		}
	case []any:
		for _, value := range v {
			all = append(all, expressions(value)...)
		}
	}
	return all
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
