package evidence_test

import (
	"encoding/json"
	"math"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
)

var (
	inf = math.Inf(1)
	nan = math.NaN()
)

func above(v float64) evidence.Gate { return evidence.Gate{Name: "g", Query: "up", Above: &v} }

func below(v float64) evidence.Gate { return evidence.Gate{Name: "g", Query: "up", Below: &v} }

func between(low, high float64) evidence.Gate {
	return evidence.Gate{Name: "g", Query: "up", Above: &low, Below: &high}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		gate    evidence.Gate
		samples []float64
		ok      bool
		text    string
	}{
		"below":                  {below(0.01), []float64{0.009}, true, "0.009"},
		"on the bound below":     {below(0.01), []float64{0.01}, false, "0.01"},
		"above":                  {above(5), []float64{5.1}, true, "5.1"},
		"on the bound above":     {above(5), []float64{5}, false, "5"},
		"between":                {between(1, 2), []float64{1.5}, true, "1.5"},
		"under both":             {between(1, 2), []float64{0.5}, false, "0.5"},
		"over both":              {between(1, 2), []float64{2.5}, false, "2.5"},
		"all samples":            {below(1), []float64{0.2, 0.1, 0.3}, true, "0.1 to 0.3 in 3 samples"},
		"one sample of many":     {below(1), []float64{0.2, 7, 0.3}, false, "0.2 to 7 in 3 samples"},
		"the least of many":      {above(1), []float64{2, 0, 3}, false, "0 to 3 in 3 samples"},
		"negative":               {above(-1), []float64{-0.5}, true, "-0.5"},
		"a bound of 0":           {below(0), []float64{0}, false, "0"},
		"I4: no data":            {below(1), nil, false, "no data"},
		"I4: not a number":       {below(1), []float64{nan}, false, "no data: a sample is NaN"},
		"I4: one not a number":   {below(1), []float64{0, nan, 0}, false, "no data: a sample is NaN"},
		"I4: infinite":           {above(1), []float64{inf}, false, "no data: a sample is +Inf"},
		"I4: minus infinite":     {below(1), []float64{-inf}, false, "no data: a sample is -Inf"},
		"I4: no bound":           {evidence.Gate{Name: "g", Query: "up"}, []float64{1}, false, "1"},
		"I4: no number is above": {above(1), []float64{nan}, false, "no data: a sample is NaN"},
	} {
		want := evidence.GateResult{Name: "g", OK: test.ok, Text: test.text}
		if diff := cmp.Diff(want, test.gate.Judge(test.samples)); diff != "" {
			t.Errorf("%s: result differs (-want +got):\n%s", name, diff)
		}
	}
}

// I4: a gate without a result that says OK keeps the ring from advancing.
func TestInvariantI4GatesMustBeMet(t *testing.T) {
	t.Parallel()
	errors, health := below(0.01), evidence.Gate{Name: "health", URL: "https://status.example.com/"}
	errors.Name = "errors"
	good, well := evidence.GateResult{Name: "errors", OK: true, Text: "0.003"}, evidence.GateResult{Name: "health", OK: true}
	for name, test := range map[string]struct {
		results []evidence.GateResult
		want    []string
	}{
		"met":            {[]evidence.GateResult{well, good}, nil},
		"nothing known":  {nil, []string{"gate errors (no data, wants below 0.01)", "gate health (no data, wants an answer of 200 to 299)"}},
		"one unknown":    {[]evidence.GateResult{good}, []string{"gate health (no data, wants an answer of 200 to 299)"}},
		"one not met":    {[]evidence.GateResult{well, {Name: "errors", Text: "0.2"}}, []string{"gate errors (0.2, wants below 0.01)"}},
		"without a text": {[]evidence.GateResult{well, {Name: "errors"}}, []string{"gate errors (no data, wants below 0.01)"}},
		"of other gates": {[]evidence.GateResult{well, {Name: "other", OK: true}}, []string{"gate errors (no data, wants below 0.01)"}},
		"bad, then good": {[]evidence.GateResult{well, {Name: "errors", Text: "0.2"}, good}, []string{"gate errors (0.2, wants below 0.01)"}},
		"good, then bad": {[]evidence.GateResult{well, good, {Name: "errors", Text: "0.2"}}, []string{"gate errors (0.2, wants below 0.01)"}},
	} {
		var got []string
		facts := evidence.Facts{Wanted: 1, Leased: 1, Places: 1, Confirmed: 1, Heard: 1, Gates: test.results}
		for _, lack := range evidence.Missing(evidence.Requirement{Gates: []evidence.Gate{errors, health}}, facts) {
			got = append(got, lack.String())
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: lacks differ (-want +got):\n%s", name, diff)
		}
	}
}

func TestCheckGates(t *testing.T) {
	t.Parallel()
	with := func(change func(*evidence.Gate)) []evidence.Gate {
		g := below(1)
		change(&g)
		return []evidence.Gate{g}
	}
	check := func(url string) []evidence.Gate { return []evidence.Gate{{Name: "g", URL: url}} }
	named := func(names ...string) (gates []evidence.Gate) {
		for _, name := range names {
			gates = append(gates, evidence.Gate{Name: name, URL: "http://a"})
		}
		return gates
	}
	for name, test := range map[string]struct {
		gates []evidence.Gate
		want  []string // paths below e.gates
	}{
		"none":            {nil, nil},
		"sound":           {[]evidence.Gate{between(0, 1), {Name: "health-2", URL: "HTTPS://status.example.com:8443/ready?full=1"}}, nil},
		"IPv6":            {check("http://[::1]:80/"), nil},
		"a bound of 0":    {[]evidence.Gate{above(0)}, nil},
		"empty":           {[]evidence.Gate{{}}, []string{"[0].name", "[0]"}},
		"no bound":        {with(func(g *evidence.Gate) { g.Below = nil }), []string{"[0]"}},
		"two questions":   {with(func(g *evidence.Gate) { g.URL = "http://a" }), []string{"[0]", "[0]"}},
		"bounds of a url": {with(func(g *evidence.Gate) { g.URL, g.Query = "http://a", "" }), []string{"[0]"}},
		"nothing between": {[]evidence.Gate{between(2, 2)}, []string{"[0]"}},
		"bounds crossed":  {[]evidence.Gate{between(2, 1)}, []string{"[0]"}},
		"no numbers":      {[]evidence.Gate{between(nan, inf)}, []string{"[0].above", "[0].below", "[0]"}},
		"long query":      {with(func(g *evidence.Gate) { g.Query = strings.Repeat("x", 4097) }), []string{"[0].query"}},
		"long url":        {check("http://a/" + strings.Repeat("x", 2048)), []string{"[0].url"}},
		"same name":       {named("a", "b", "a"), []string{"[2].name"}},
		"bad names": {
			named("A", "-a", "a-", "a b", strings.Repeat("a", 64)), []string{"[0].name", "[1].name", "[2].name", "[3].name", "[4].name"},
		},
		"long name":        {named(strings.Repeat("a", 63)), nil},
		"most":             {named(strings.Split("a b c d e f g h i j k l m n o p", " ")...), nil},
		"too many":         {named(strings.Split("a b c d e f g h i j k l m n o p q", " ")...), []string{""}},
		"relative":         {check("/ready"), []string{"[0].url"}},
		"no host":          {check("http:///ready"), []string{"[0].url"}},
		"only a port":      {check("http://:80/"), []string{"[0].url"}},
		"another scheme":   {check("file:///etc/passwd"), []string{"[0].url"}},
		"no scheme":        {check("status.example.com/ready"), []string{"[0].url"}},
		"credentials":      {check("https://user:secret@status.example.com/"), []string{"[0].url"}},
		"a user":           {check("https://user@status.example.com/"), []string{"[0].url"}},
		"not to be read":   {check("http://a/%zz"), []string{"[0].url"}},
		"with a line feed": {check("http://a/\nHost: b"), []string{"[0].url"}},
		"everything is wrong": {
			[]evidence.Gate{{Name: "?", URL: "?"}, {Name: "?", Query: "up"}}, []string{"[0].name", "[0].url", "[1].name", "[1]", "[1].name"},
		},
	} {
		var got []string
		for _, problem := range (evidence.Requirement{Gates: test.gates}).Check("e") {
			path, ok := strings.CutPrefix(problem.Path, "e.gates")
			if !ok || strings.Contains(problem.Message, "secret") {
				t.Errorf("%s: got problem %q", name, problem)
			}
			got = append(got, path)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: problems differ (-want +got):\n%s", name, diff)
		}
	}
}

// FuzzCheckURL: what Check accepts is what an HTTP client understands, and says nothing secret.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{"http://a", "https://a:1/b?c#d", "http://u:p@a", "//a", "http://[::1]/", "http://a\\@b/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len((evidence.Gate{Name: "g", URL: text}).Check("")) > 0 {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.User != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
			t.Errorf("%q was accepted: parsed as %+v, error %v", text, u, err)
		}
	})
}

func TestAsStrictAs(t *testing.T) {
	t.Parallel()
	health := evidence.Gate{Name: "a", URL: "http://a"}
	for name, test := range map[string]struct {
		gate, other evidence.Gate
		want        bool
	}{
		"the same":       {between(1, 2), between(1, 2), true},
		"narrower":       {between(1.2, 1.8), between(1, 2), true},
		"wider above":    {between(0.9, 2), between(1, 2), false},
		"wider below":    {between(1, 2.1), between(1, 2), false},
		"one more bound": {between(1, 2), below(2), true},
		"one less bound": {below(2), between(1, 2), false},
		"other question": {evidence.Gate{Query: "down", Below: below(2).Below}, below(2), false},
		"same url":       {evidence.Gate{Name: "b", URL: "http://a"}, health, true},
		"other url":      {evidence.Gate{Name: "a", URL: "http://b"}, health, false},
		"other kind":     {below(1), health, false},
	} {
		if got := test.gate.AsStrictAs(test.other); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
	}
}

// Whatever a stricter gate lets pass, the other lets pass as well; and nothing that lets pass has seen no data.
func TestStricterGatesLetLessPass(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.OneOf(rapid.Float64Range(-3, 3), rapid.SampledFrom([]float64{0, 1, nan, inf, -inf}))
		gate := rapid.Custom(func(t *rapid.T) evidence.Gate {
			g := evidence.Gate{Query: "up"}
			g.Above = rapid.Ptr(rapid.Float64Range(-3, 1), true).Draw(t, "above")
			g.Below = rapid.Ptr(rapid.Float64Range(-1, 3), true).Draw(t, "below")
			return g
		})
		a, b, samples := gate.Draw(t, "a"), gate.Draw(t, "b"), rapid.SliceOf(number).Draw(t, "samples")
		passes := a.Judge(samples).OK
		if passes && a.AsStrictAs(b) && (b.Above != nil || b.Below != nil) && !b.Judge(samples).OK {
			t.Fatalf("%v: got OK for %s, not for %s, which is no stricter", samples, a.Need(), b.Need())
		}
		want := len(samples) > 0 && (a.Above != nil || a.Below != nil)
		for _, v := range samples {
			want = want && !math.IsInf(v, 0) && (a.Above == nil || v > *a.Above) && (a.Below == nil || v < *a.Below) && v == v
		}
		if passes != want {
			t.Fatalf("%v: got OK %t for %s, want %t", samples, passes, a.Need(), want)
		}
	})
}

func TestGatesAreWrittenAsInPlans(t *testing.T) {
	t.Parallel()
	want := evidence.Requirement{Gates: []evidence.Gate{between(0, 0.01), {Name: "health", URL: "https://status.example.com/"}}}
	text := `{"gates":[{"name":"g","query":"up","above":0,"below":0.01},{"name":"health","url":"https://status.example.com/"}]}`
	data, err := json.Marshal(want)
	if err != nil || string(data) != text {
		t.Errorf("got %s (error %v), want %s", data, err, text)
	}
	var got evidence.Requirement
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requirement differs (-want +got):\n%s", diff)
	}
}
