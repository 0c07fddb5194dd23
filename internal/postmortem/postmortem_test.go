package postmortem_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/postmortem"
)

var update = flag.Bool("update", false, "rewrite testdata")

func start() time.Time { return time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC) }

func at(seconds int) time.Time { return start().Add(time.Duration(seconds) * time.Second) }

// full is an incident of which everything is known and closed.
func full() (api.Incident, api.RolloutSeries, plan.Plan) {
	summary := api.Rollout{
		ID: "ro-4q2k", Component: "sensor-content", Version: "2024.7.19", Manifest: "sha256:0a1b", Plan: "content", Phase: "tripped",
		Started: start(), Ended: new(at(430)), FirstHarm: new(at(70)), Eligible: 8_500_000, Exposed: 9, Confirmed: 4, Harmed: 5, Recovered: 4,
		Returned: 4, Evidence: 73_341.5, Amber: 20, Trip: 10_000, Alarm: "trip", Emergency: true, Ring: 1,
		Rings: []api.Ring{
			{Name: "canary", Size: 2, Leased: 2, Confirmed: 2, Rejected: 1},
			{Name: "early", Size: 50, Leased: 7, Confirmed: 2, Crashed: 3, Reverted: 1, Silent: 1},
			{Name: "rest", Size: 8_499_948},
		},
		Strata:   []api.Stratum{{Name: "class server, os windows", Leased: 5, Harmed: 5, Evidence: 1e5}},
		Suspects: []api.Suspect{{Key: "os", Value: "windows", Harmed: 5, Exposed: 5, HarmedElsewhere: 0, ExposedElsewhere: 4}},
	}
	incident := api.Incident{
		ID: "inc-7", Rollout: "ro-4q2k", Component: "sensor-content", Version: "2024.7.19", Title: "sensor-content 2024.7.19 halted: 5 of 9 exposed hosts harmed",
		Opened: at(430), Closed: new(at(90_000)), ClosedBy: "alice", Note: "mended by 2024.7.20", Summary: &summary,
		Crashes: []api.CrashCluster{
			{Signature: "5ec0ffee5a5a", Signal: "SEGV", Headline: "panic: index out of range [20] with length 20", Hosts: 2, First: at(70)},
			{Status: 2, Hosts: 1, First: at(100)},
		},
	}
	for i := range 5 {
		l := api.LeaseStatus{
			Endpoint: fmt.Sprintf("ep-%03d", i), Tenant: "acme", Site: []string{"graz", "wien"}[i%2], Rollout: "ro-4q2k", Ring: 1, Issued: at(61 + i), Outcome: "crashed",
		}
		if i < 4 {
			l.Recovered = new(at(440 + 10*i))
		}
		incident.Harmed = append(incident.Harmed, l)
	}
	for i, r := range []api.Record{
		{Verdict: "started", Reason: "alice started it: CVE-2024-1", Alarm: "quiet"},
		{Verdict: "ring opened", Reason: "ring canary is complete: 2 of 2 confirmed", Exposed: 2, Alarm: "quiet", Ring: 1},
		{Verdict: "outcome counted", Reason: "host ep-000 crashed", Exposed: 9, Harmed: 1, Evidence: 41, Alarm: "amber", Ring: 1},
		{Verdict: "breaker tripped", Reason: "evidence 7.33e+04 reached 10000: 5 of 9 exposed hosts were harmed", Exposed: 9, Harmed: 5, Evidence: 73_341.5, Alarm: "trip", Ring: 1},
	} {
		incident.Timeline = append(incident.Timeline, api.Decision{Revision: int64(i*3 + 1), At: at(i * 100), Event: "outcome_known", Records: []api.Record{r}})
	}
	series := api.RolloutSeries{Rollout: "ro-4q2k", Amber: 20, Trip: 10_000}
	for i := range 12 {
		series.Points = append(series.Points, api.SeriesPoint{
			Revision: int64(i + 1), At: at(i * 39), Exposed: int64(min(i, 9)), Harmed: int64(max(0, i-6)), Evidence: float64(int(1) << (2 * max(0, i-3))), Alarm: "quiet",
		})
	}
	p := plan.Plan{Name: "content", Rings: []plan.Ring{{Name: "canary", Hosts: 2}, {Name: "early", Hosts: 50}, {Name: "rest", Share: 1}}}.Defaulted()
	return incident, series, p
}

// sparse is an incident that was opened a moment ago: hosts fell silent, nothing is known of them, nobody is back.
func sparse() (api.Incident, api.RolloutSeries, plan.Plan) {
	summary := api.Rollout{
		ID: "ro-1", Component: "nginx-config", Version: "7", Plan: "careful", Phase: "tripped", Started: start(), Ended: new(at(900)),
		Eligible: 40, Exposed: 3, Harmed: 3, Unconfirmed: 0, Evidence: 1.25e12, Amber: 20, Trip: 10_000, Alarm: "trip",
		Rings: []api.Ring{{Name: "canary", Size: 4, Leased: 3, Silent: 3}, {Name: "rest", Size: 36}},
	}
	return api.Incident{
		ID: "inc-1", Rollout: "ro-1", Component: "nginx-config", Version: "7", Title: "nginx-config 7 halted: 3 of 3 exposed hosts harmed", Opened: at(900),
		Summary: &summary,
	}, api.RolloutSeries{Rollout: "ro-1"}, plan.Plan{}
}

func TestPostMortems(t *testing.T) {
	t.Parallel()
	for name, of := range map[string]func() (api.Incident, api.RolloutSeries, plan.Plan){"full": full, "sparse": sparse} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			incident, series, p := of()
			files, err := postmortem.Files(postmortem.Write(incident, series, p, at(100_000)))
			if err != nil {
				t.Fatal(err)
			}
			if want := map[string]int{"full": 4, "sparse": 2}[name]; len(files) != want {
				t.Errorf("got %d files, want %d", len(files), want)
			}
			for _, f := range files {
				golden(t, filepath.Join("testdata", name, f.Name), f.Data)
			}
		})
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, got, 0o644)); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got, -update rewrites it):\n%s", name, diff)
	}
}

func TestZipHasTheFiles(t *testing.T) {
	t.Parallel()
	m := postmortem.Write(of(full))
	files, err := postmortem.Files(m)
	if err != nil {
		t.Fatal(err)
	}
	var one, two bytes.Buffer
	if err := errors.Join(postmortem.Zip(&one, m), postmortem.Zip(&two, m)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("packed twice, it differs")
	}
	archive, err := zip.NewReader(bytes.NewReader(one.Bytes()), int64(one.Len()))
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || f.Name != files[i].Name || !bytes.Equal(data, files[i].Data) {
			t.Errorf("file %d is %s with %d bytes (%v), want %s with %d", i, f.Name, len(data), err, files[i].Name, len(files[i].Data))
		}
	}
	if len(archive.File) != len(files) {
		t.Errorf("got %d files, want %d", len(archive.File), len(files))
	}
}

// of is what Write takes, of an incident of this test.
func of(incident func() (api.Incident, api.RolloutSeries, plan.Plan)) (api.Incident, api.RolloutSeries, plan.Plan, time.Time) {
	i, s, p := incident()
	return i, s, p, at(100_000)
}

func TestALongTimelineKeepsItsEnds(t *testing.T) {
	t.Parallel()
	incident, series, p := full()
	incident.Timeline = nil
	for i := range 1000 {
		incident.Timeline = append(incident.Timeline, api.Decision{Revision: int64(i), At: at(i), Records: []api.Record{{Verdict: "outcome counted", Reason: fmt.Sprint("nr ", i)}}})
	}
	m := postmortem.Write(incident, series, p, at(2000))
	if got := len(m.Timeline); got != 200 || m.Omitted != 800 || m.Timeline[99].Text != "nr 99" || m.Timeline[100].Text != "nr 900" {
		t.Errorf("got %d moments and %d left out, want the first and the last 100 of 1,000", got, m.Omitted)
	}
	text := string(postmortem.Markdown(m))
	if i, j, k := strings.Index(text, "nr 99 "), strings.Index(text, "800 decisions are left out"), strings.Index(text, "nr 900 "); i < 0 || j < i || k < j {
		t.Errorf("the gap stands at %d, between %d and %d", j, i, k)
	}
}

// hostile puts a text wherever hosts or operators can.
func hostile(text string) (api.Incident, api.RolloutSeries, plan.Plan) {
	i, s, _ := full()
	i.ID, i.Rollout, i.Component, i.Version, i.Title, i.ClosedBy, i.Note = text, text, text, text, text, text, text
	r := i.Summary
	r.ID, r.Component, r.Version, r.Manifest, r.Plan, r.Phase, r.Reason = text, text, text, text, text, text, text
	for k := range r.Rings {
		r.Rings[k].Name = text
	}
	r.Strata[0].Name, r.Suspects[0].Key, r.Suspects[0].Value = text, text, text
	for k := range i.Harmed {
		i.Harmed[k].Tenant, i.Harmed[k].Site, i.Harmed[k].Endpoint = text, text, text
	}
	for k := range i.Crashes {
		i.Crashes[k].Signature, i.Crashes[k].Signal, i.Crashes[k].Headline = text, text, text
	}
	for k := range i.Timeline {
		i.Timeline[k].Records[0].Verdict, i.Timeline[k].Records[0].Reason = text, text
	}
	return i, s, plan.Plan{} // its bound takes time, and no names come from it
}

// FuzzNothingBreaksOut: whatever names and reasons are, the document has the lines and cells of one with harmless names, its pictures are
// well-formed, and nothing in it is markup that is not ours.
func FuzzNothingBreaksOut(f *testing.F) {
	for _, text := range []string{
		"x", "", " ", "a | b", "\n\n# heading", "| a |\n| --- |", "<script>alert(1)</script>", "[x](javascript:alert(1))", "![x](http://evil/x.png)",
		"`code`", "``` \n fence", "**bold** _it_ ~~no~~", "\\", "\\|", "\\\\|", "\u202egnp.exe", "\u2028\u2029\u0085", "\x00\x1b[31m", "&lt;b&gt;", "<!-- ",
		"http://evil.example www.evil.example", "$\\alpha$", "{{ site.url }}", "@everyone", "\xff\xfe", "]]>", "- [ ] x", "1. x", "> q", "=", "---", "^[x]",
		strings.Repeat("é", 3000), strings.Repeat("|", 3000), "e\u0301", "\ufeff", "\U000e0041",
	} {
		f.Add(text)
	}
	plainly, err := postmortem.Files(postmortem.Write(of(func() (api.Incident, api.RolloutSeries, plan.Plan) { return hostile("x") })))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		files, err := postmortem.Files(postmortem.Write(of(func() (api.Incident, api.RolloutSeries, plan.Plan) { return hostile(text) })))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != len(plainly) {
			t.Fatalf("got %d files, want %d", len(files), len(plainly))
		}
		checkMarkdown(t, string(files[0].Data), string(plainly[0].Data))
		if !json.Valid(files[1].Data) {
			t.Error("the JSON is not valid")
		}
		for _, picture := range files[2:] {
			checkSVG(t, picture.Data)
		}
	})
}

// markup is what would mean something where a text of others may stand.
var markup = regexp.MustCompile("[`*_\\[\\]{}<>|&~$#@=]")

var link = regexp.MustCompile(`(?i)://|www\.`)

var escaped = regexp.MustCompile(`\\[[:punct:]]`)

func checkMarkdown(t *testing.T, got, plainly string) {
	t.Helper()
	lines, want := strings.Split(got, "\n"), strings.Split(plainly, "\n")
	tenants := strings.Contains(got, "| Tenant |") // a name that is empty has no line
	if len(lines) != len(want) && tenants == strings.Contains(plainly, "| Tenant |") {
		t.Fatalf("got %d lines, want the %d of harmless names:\n%.2000s", len(lines), len(want), got)
	}
	for i, line := range lines {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == '\u2028' || r == '\u202e' }) {
			t.Errorf("line %d has a character that orders text about: %q", i, line)
		}
		if link.MatchString(escaped.ReplaceAllString(line, "")) {
			t.Errorf("line %d has a link: %q", i, line)
		}
		if len(lines) != len(want) {
			continue
		}
		bare := func(line string) string {
			return strings.Join(markup.FindAllString(escaped.ReplaceAllString(line, ""), -1), "")
		}
		if bare(line) != bare(want[i]) {
			t.Errorf("line %d has markup %q, want %q: %.300s", i, bare(line), bare(want[i]), line)
		}
	}
}

func checkSVG(t *testing.T, data []byte) {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("the picture is not XML: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "script" {
			t.Error("the picture has a script")
		}
	}
}

func TestAMegabyteDoesNotFillTheReport(t *testing.T) {
	t.Parallel()
	m := postmortem.Write(of(func() (api.Incident, api.RolloutSeries, plan.Plan) { return hostile(strings.Repeat("<|*", 350_000)) }))
	got := postmortem.Markdown(m)
	if len(got) > 100_000 || !bytes.Contains(got, []byte("cut; 1050000 bytes in all")) {
		t.Errorf("the report has %d bytes, want a short one that says what was cut", len(got))
	}
}
