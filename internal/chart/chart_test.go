package chart_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/chart"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

var update = flag.Bool("update", false, "rewrite testdata/*.svg")

// charts are one of each kind that people will meet, by the name of their golden file.
func charts() map[string]chart.Chart {
	return map[string]chart.Chart{
		"exposure":   exposure(),
		"evidence":   evidence(),
		"versions":   versions(),
		"heartbeats": heartbeats(),
		"crowded":    crowded(),
		"plans":      plans(),
		"single": {
			Title: "One host so far", X: minutes("time since start"), Y: hosts(false),
			Series: []chart.Series{{Name: "exposed", Points: []chart.Point{{X: 300, Y: 1}}}},
		},
		"empty": {
			Title: "Nothing yet", X: minutes("time since start"), Y: hosts(true), Width: 480, Height: 280,
			Series: []chart.Series{{Name: "exposed"}, {Name: "harmed"}},
		},
	}
}

func minutes(label string) chart.Axis { return chart.Axis{Label: label, Kind: chart.Duration} }

func hosts(log bool) chart.Axis { return chart.Axis{Label: "hosts", Kind: chart.Count, Log: log} }

// exposure is what `firebreak sim run --plot` draws.
func exposure() chart.Chart {
	var that []chart.Point
	for i := range 79 {
		that = append(that, chart.Point{X: float64(60 * i), Y: math.Round(8.5e6 * float64(i) / 78)})
	}
	return chart.Chart{
		Title: "19 July 2024, replayed", Subtitle: "plan content, 8,500,000 hosts, effect 100 %, seed 1, 1 of 1 runs",
		X: minutes("time since start"), Y: hosts(true),
		Series: []chart.Series{
			{Name: "that day", Points: that, Dashed: true},
			{Name: "exposed", Step: true, Fill: true, Points: []chart.Point{{0, 0}, {61, 1}, {75, 2}, {190, 3}, {4680, 3}}},
			{Name: "harmed", Step: true, Points: []chart.Point{{0, 0}, {66, 1}, {80, 2}, {4680, 2}}},
		},
		Marks: []chart.Mark{{Label: "halt", At: 200, Moment: true}, {Label: "withdrawn that day", At: 4680, Moment: true}},
	}
}

// evidence is E of a rollout that was tripped.
func evidence() chart.Chart {
	var pooled, servers []chart.Point
	pooledE, serversE := 1.0, 1.0
	for i := range 240 {
		pooledE *= 0.995 + 0.01*math.Sin(float64(i)/9)
		if i > 150 && i%12 == 0 {
			pooledE *= 6
		}
		serversE *= 0.985
		pooled = append(pooled, chart.Point{X: float64(i * 10), Y: pooledE})
		servers = append(servers, chart.Point{X: float64(i * 10), Y: serversE})
	}
	return chart.Chart{
		Title: "Evidence against sensor-content 2024.7.19", Subtitle: "E of the breaker, pooled and for one stratum",
		X: minutes("time since start"), Y: chart.Axis{Label: "E", Log: true},
		Series: []chart.Series{{Name: "pooled", Points: pooled}, {Name: "win-10.22H2/server", Points: servers}},
		Marks: []chart.Mark{
			{Label: "amber: nobody new", At: 20},
			{Label: "trip: halt and roll back", At: 1e4},
			{Label: "amber", At: 1920, Moment: true},
			{Label: "trip", At: 2280, Moment: true},
			{Label: "first crash report", At: 1560, Moment: true},
		},
	}
}

func versions() chart.Chart {
	c := chart.Chart{
		Title: "Fleet by version", X: minutes("last 14 days"), Y: chart.Axis{Label: "endpoints", Kind: chart.Count},
		Marks: []chart.Mark{{Label: "rollout of 1.4.2", At: 3 * 86400, Moment: true}},
	}
	for i, name := range []string{"1.3.9", "1.4.0", "1.4.1", "1.4.2", "unknown", "pinned"} {
		s := chart.Series{Name: name}
		for d := range 15 {
			share := 40_000 / (1 + math.Exp(math.Abs(float64(d)-float64(4*i))-3))
			s.Points = append(s.Points, chart.Point{X: float64(d) * 86400, Y: math.Round(share)})
		}
		c.Series = append(c.Series, s)
	}
	return c
}

func heartbeats() chart.Chart {
	c := chart.Chart{
		Title: "Heartbeats", Subtitle: "<exposed> & \"controls\"", X: minutes("time since activation"),
		Y: chart.Axis{Label: "heard within the last minute", Min: 0.9, Max: 1}, Width: 640, Height: 320,
	}
	for i, name := range []string{"exposed", "controls"} {
		s := chart.Series{Name: name, Dashed: i == 1}
		for m := range 31 {
			s.Points = append(s.Points, chart.Point{X: float64(m * 60), Y: 0.99 - 0.004*float64((1-i)*m)})
		}
		c.Series = append(c.Series, s)
	}
	return c
}

// plans have lines that end where they halted, in the middle of the plot.
func plans() chart.Chart {
	c := chart.Chart{
		Title: "Harmed until the halt", X: minutes("time since start"), Y: hosts(true), Width: 700,
		Marks: []chart.Mark{{Label: "budget", At: 50}},
	}
	for i, name := range []string{"content", "agent binary", "emergency", "none"} {
		s := chart.Series{Name: name, Fill: i == 0}
		for m := range 8 + 9*i {
			s.Points = append(s.Points, chart.Point{X: float64(m * 60), Y: math.Floor(math.Pow(1.25+float64(i)/20, float64(m)))})
		}
		c.Series = append(c.Series, s)
	}
	return c
}

// crowded has as much of everything as there may be, and all lines end in about the same place.
func crowded() chart.Chart {
	c := chart.Chart{
		Title: strings.Repeat("A title that is far too long ", 8), X: chart.Axis{Label: "hosts", Log: true, Kind: chart.Count},
		Y: chart.Axis{Label: "recovery time", Log: true, Kind: chart.Duration}, Height: 520,
	}
	for i := range 12 {
		s := chart.Series{Name: fmt.Sprintf("site %d of a customer with a long name", i), Step: i%2 == 0}
		for h := range 8 {
			s.Points = append(s.Points, chart.Point{X: math.Pow10(h), Y: float64(i+3) * math.Pow(6, float64(h)) / 7})
		}
		c.Series = append(c.Series, s)
		c.Marks = append(c.Marks, chart.Mark{Label: fmt.Sprintf("mark %d", i), At: math.Pow(4, float64(i)), Moment: i%3 > 0})
	}
	return c
}

func draw(t testing.TB, c chart.Chart) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := c.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestGolden(t *testing.T) {
	t.Parallel()
	for name, c := range charts() {
		file, got := filepath.Join("testdata", name+".svg"), draw(t, c)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, diff)
		}
	}
}

// A picture is one XML document that says in words what it shows, and needs nothing from outside.
func TestPicturesStandAlone(t *testing.T) {
	t.Parallel()
	for name, c := range charts() {
		got := draw(t, c)
		texts := parse(t, got)
		if texts["title"][0] != c.Title {
			t.Errorf("%s: got title %q, want %q", name, texts["title"][0], c.Title)
		}
		for _, s := range c.Series {
			if len(s.Points) > 0 && !strings.Contains(texts["desc"][0], s.Name+": from ") {
				t.Errorf("%s: got description %q, want it to tell of %s", name, texts["desc"][0], s.Name)
			}
		}
		for _, m := range c.Marks {
			if !strings.Contains(texts["desc"][0], m.Label) {
				t.Errorf("%s: got description %q, want it to tell of %s", name, texts["desc"][0], m.Label)
			}
		}
		alone := bytes.ReplaceAll(got, []byte(`xmlns="http://www.w3.org/2000/svg"`), nil)
		for _, foreign := range []string{"http", "href", "url(", "@import", "<script", "@font-face", "<image", " id="} {
			if bytes.Contains(alone, []byte(foreign)) {
				t.Errorf("%s: the picture has %q", name, foreign)
			}
		}
	}
}

// parse reads a picture and gives the texts of its elements by their name.
func parse(t testing.TB, picture []byte) map[string][]string {
	t.Helper()
	texts, open := map[string][]string{}, []string{}
	for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return texts
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, picture)
		}
		switch token := token.(type) {
		case xml.StartElement:
			open = append(open, token.Name.Local)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			if len(open) > 0 {
				texts[open[len(open)-1]] = append(texts[open[len(open)-1]], string(token))
			}
		}
	}
}

func TestTextsAreOnlyText(t *testing.T) {
	t.Parallel()
	const evil = `</text><script>alert("1")</script>&amp;'\x00` + "\x01\xff"
	c := exposure()
	c.Title, c.Subtitle, c.X.Label, c.Y.Label = evil, evil, evil, evil
	c.Series = append(c.Series, chart.Series{Name: evil})
	c.Series[0].Name, c.Marks[0].Label = evil, evil
	c.Marks = append(c.Marks, chart.Mark{Label: evil, At: 7})
	c.Width = 4000
	texts := parse(t, draw(t, c))
	if len(texts["script"]) > 0 {
		t.Errorf("got scripts %q", texts["script"])
	}
	if got, want := texts["title"][0], strings.NewReplacer("\x01", "\ufffd", "\xff", "\ufffd").Replace(evil); got != want {
		t.Errorf("got title %q, want %q", got, want)
	}
}

func TestSameChartSameBytes(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff(string(draw(t, crowded())), string(draw(t, crowded()))); diff != "" {
		t.Errorf("drawn twice, it differs:\n%s", diff)
	}
}

func TestMistakesAreListed(t *testing.T) {
	t.Parallel()
	bad := chart.Chart{
		Width: 10, Height: 5000, X: chart.Axis{Label: " ", Min: 2, Max: 1, Kind: 7}, Y: chart.Axis{Label: "E", Log: true, Max: math.Inf(1)},
		Series: []chart.Series{
			{Points: []chart.Point{{0, 1}, {1, math.NaN()}, {2, math.NaN()}}},
			{Name: "back", Points: []chart.Point{{1, 1}, {0, 1}}},
			{Name: "inf", Points: []chart.Point{{math.Inf(-1), 1}}},
			{Name: "negative", Points: []chart.Point{{1, -1}}},
			{Name: "huge", Points: []chart.Point{{1, 1e301}}},
		},
		Marks: []chart.Mark{{At: math.NaN()}},
	}
	var b bytes.Buffer
	err := bad.WriteSVG(&b)
	if b.Len() > 0 || fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %d bytes and kind %q, want nothing written and %q", b.Len(), fault.KindOf(err), fault.Invalid)
	}
	const want = `draw chart "": 16 problems
  title: is missing
  width: is 10; must be 320 to 4000, or 0 for 860
  height: is 5000; must be 240 to 4000, or 0 for 480
  x.label: is missing
  x.kind: is 7, which is none
  x.max: is 1; must be above min, which is 2
  y.min: is 0; must be above 0 on a log axis
  y.max: is +Inf; must be a finite number
  series[0].name: is missing
  series[0].points[1].y: is NaN; must be a finite number
  series[1].points[1].x: is 0 after 1; points go forward
  series[2].points[0].x: is -Inf; must be a finite number
  series[3].points[0].y: is -1; a log axis has no negative values
  series[4].points[0].y: is 1e+301; must be within ±1e+300
  marks[0].label: is missing
  marks[0].at: is NaN; must be a finite number`
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("mistakes (-want +got):\n%s", diff)
	}
	if head, rows := bad.Table(); head != nil || rows != nil {
		t.Errorf("got table %v %v of a chart that cannot be drawn", head, rows)
	}
	many := exposure()
	many.Series, many.Marks = make([]chart.Series, 13), make([]chart.Mark, 13)
	if got := many.WriteSVG(io.Discard).Error(); !strings.Contains(got, "series: are 13") || !strings.Contains(got, "marks: are 13") {
		t.Errorf("got %q of 13 series and marks", got)
	}
}

func TestHostileTextsStayTexts(t *testing.T) {
	t.Parallel()
	const evil = "]]></title><script>alert(1)</script>\u202egnp.exe\x00\n&amp;\xff"
	c := exposure()
	c.Title, c.Subtitle, c.X.Label = evil+strings.Repeat("x", 1<<20), evil, evil
	c.Series[0].Name, c.Marks[0].Label = evil, evil
	got := string(draw(t, c))
	if len(got) > 64<<10 {
		t.Errorf("the picture has %d bytes, want a long title cut", len(got))
	}
	for _, never := range []string{"<script", "\u202e", "\x00"} {
		if strings.Contains(got, never) {
			t.Errorf("the picture has %q", never)
		}
	}
	if c.Series[0].Name != evil {
		t.Errorf("drawing changed the caller's chart")
	}
}

func TestWriteErrorIsPassedOn(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := exposure().WriteSVG(w); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v, want %v", err, io.ErrClosedPipe)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	c := exposure()
	c.Series[0].Points = []chart.Point{{0, 0}, {4680, 8_500_000}}
	c.Series[1].Points = c.Series[1].Points[:4] // steps hold their value to their own end only
	head, rows := c.Table()
	got := append([][]string{head}, rows...)
	want := [][]string{
		{"time since start", "that day", "exposed", "harmed", "what happened"},
		{"0", "0", "0", "0", ""},
		{"1 min 1 s", "", "1", "0", ""},
		{"1 min 6 s", "", "1", "1", ""},
		{"1 min 15 s", "", "2", "1", ""},
		{"1 min 20 s", "", "2", "2", ""},
		{"3 min 10 s", "", "3", "2", ""},
		{"3 min 20 s", "", "", "2", "halt"},
		{"1 h 18 min", "8500000", "", "2", "withdrawn that day"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	c.Marks = nil
	if head, rows = c.Table(); len(head) != 4 || len(rows) != 8-1 || len(rows[0]) != 4 {
		t.Errorf("without moments: got %d columns and %d rows of %d, want 4, 7 and 4", len(head), len(rows), len(rows[0]))
	}
}

// What a picture takes does not depend on how many points there are.
func TestManyPointsMakeNoBigPicture(t *testing.T) {
	t.Parallel()
	c := many(100_000)
	if got := len(draw(t, c)); got > 60_000 {
		t.Errorf("got %d bytes of 100,000 points, want at most 60,000", got)
	}
	if _, rows := c.Table(); len(rows) > 4*860 {
		t.Errorf("got %d rows, want at most four a pixel", len(rows))
	}
}

func many(n int) chart.Chart {
	c := chart.Chart{Title: "Many", X: minutes("time"), Y: chart.Axis{Label: "E", Log: true}, Series: []chart.Series{{Name: "E"}}}
	for i := range n {
		x := float64(i)
		c.Series[0].Points = append(c.Series[0].Points, chart.Point{X: x, Y: 1 + 0.9*math.Sin(x*0.7)*math.Sin(x/1e4)})
	}
	return c
}

// Any finite numbers can be drawn, on any axes.
func FuzzDraw(f *testing.F) {
	f.Add(0.0, 1.0, 60.0, 2.0, 1e4, 0.0, 0.0, true, true, 2, 860)
	f.Add(1e300, 1e-300, 1e300, 0.0, 1e-320, -5.0, 5.0, false, false, 0, 320)
	f.Add(86400.0, 3.0, 86400.0, 3.0, 3.0, 2.9, 3.1, false, true, 1, 4000)
	f.Fuzz(func(t *testing.T, x0, y0, x1, y1, mark, low, high float64, logX, logY bool, kind, width int) {
		c := chart.Chart{
			Title: "Fuzz", X: chart.Axis{Label: "x", Log: logX, Kind: chart.Kind(kind)}, Width: width,
			Y: chart.Axis{Label: "y", Log: logY, Kind: chart.Kind(kind), Min: low, Max: high},
			Series: []chart.Series{
				{Name: "line", Fill: true, Points: []chart.Point{{x0, y0}, {x1, y1}}},
				{Name: "step", Step: true, Points: []chart.Point{{x1, y0}}},
			},
			Marks: []chart.Mark{{Label: "level", At: mark}, {Label: "moment", At: x0, Moment: true}},
		}
		var b bytes.Buffer
		if err := c.WriteSVG(&b); err != nil {
			return
		}
		parse(t, b.Bytes())
		if got := b.String(); strings.Contains(got, "NaN") || strings.Contains(got, "Inf") {
			t.Errorf("not a picture:\n%s", got)
		}
		c.Table()
	})
}

func BenchmarkWriteSVG(b *testing.B) {
	c := many(100_000)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.WriteSVG(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
