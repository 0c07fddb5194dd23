package resource_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/resource"
)

// sheet has a field of every shape that documents use.
type sheet struct {
	Name   string            `json:"name"`
	Count  int64             `json:"count,omitempty"`
	Small  uint8             `json:"small,omitempty"`
	Share  float64           `json:"share,omitempty"`
	On     bool              `json:"on,omitempty"`
	Wait   evidence.Duration `json:"wait,omitempty"`
	At     time.Time         `json:"at,omitzero"`
	Tags   map[string]string `json:"tags,omitempty"`
	Steps  []step            `json:"steps,omitempty"`
	Extra  *step             `json:"extra,omitempty"`
	Raw    json.RawMessage   `json:"raw,omitempty"`
	Any    any               `json:"any,omitempty"`
	Data   []byte            `json:"data,omitempty"`
	Secret string            `json:"-"`
}

type step struct {
	Do   string   `json:"do"`
	Argv []string `json:"argv,omitempty"`
}

func (s sheet) Check() []fault.Problem {
	var problems []fault.Problem
	if s.Count < 0 {
		problems = append(problems, fault.Problem{Path: "count", Message: "must not be negative"})
	}
	if s.Name == "" {
		problems = append(problems, fault.Problem{Path: "name", Message: "is missing"})
	}
	for i, st := range s.Steps {
		if st.Do == "" {
			problems = append(problems, fault.Problem{Path: fmt.Sprintf("steps[%d].do", i), Message: "is missing"})
		}
	}
	return problems
}

func TestDecodeReadsEveryShapeFromYAMLAndJSON(t *testing.T) {
	t.Parallel()
	inYAML := `# a comment
name: "1.10"
count: 0
small: 7
share: 1e-3
on: true
wait: 15m
at: 2024-07-19T04:09:00Z
tags: &tags {fields: "20", yes: "no"}
steps:
  - do: first
    argv: [a, "b c"]
  - {do: second}
extra: {do: third}
raw: {b: [1, 2.50, null, "x"], a: 12345678901234567890}
any: [1, {k: v}]
data: aGk=
`
	want := sheet{
		Name: "1.10", Small: 7, Share: 1e-3, On: true, Wait: evidence.Duration(15 * time.Minute),
		At:    time.Date(2024, 7, 19, 4, 9, 0, 0, time.UTC),
		Tags:  map[string]string{"fields": "20", "yes": "no"},
		Steps: []step{{Do: "first", Argv: []string{"a", "b c"}}, {Do: "second"}},
		Extra: &step{Do: "third"},
		Raw:   json.RawMessage(`{"a":12345678901234567890,"b":[1,2.50,null,"x"]}`),
		Any:   []any{json.Number("1"), map[string]any{"k": "v"}},
		Data:  []byte("hi"),
	}
	inJSON, err := json.MarshalIndent(want, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string]string{"yaml": inYAML, "json": string(inJSON)} {
		var got sheet
		if err := resource.Decode([]byte(doc), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got.Raw = compact(t, got.Raw)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func compact(t *testing.T, raw json.RawMessage) json.RawMessage {
	t.Helper()
	var v map[string]json.RawMessage
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDecodeReportsAllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	doc := `name: 1.10
cuont: 3
count: three
small: 300
on: yes
wait: soon
tags: {a: 1, a: b}
steps:
  - do: x
    argv: just this
  - argv: [1]
  - do: y
    dont: z
extra:
hidden: 1
Secret: 1
1: x
share: .inf
`
	var got sheet
	err := resource.Decode([]byte(doc), &got)
	if kind := fault.KindOf(err); kind != fault.Invalid {
		t.Fatalf("got kind %s, want invalid: %v", kind, err)
	}
	lines := make([]string, 0, 20)
	for _, p := range fault.ProblemsOf(err) {
		lines = append(lines, p.String())
	}
	fieldList := "unknown field; known here: name, count, small, share, on, wait, at, tags, steps, extra, raw, any, data"
	want := []string{
		`line 1 name: must be text, is 1.10; write it in quotes: "1.10"`,
		"line 2 cuont: " + fieldList,
		`line 3 count: must be a whole number, is "three"`,
		"line 4 small: must be a whole number of at least 0, is 300",
		`line 5 on: must be true or false, is "yes"`,
		`line 6 wait: "soon" is not a duration; write it as 30s, 15m or 72h`,
		`line 7 tags.a: must be text, is 1; write it in quotes: "1"`,
		"line 7 tags.a: is there twice, first on line 7",
		`line 10 steps[0].argv: must be a list, is "just this"`,
		`line 11 steps[1].argv[0]: must be text, is 1; write it in quotes: "1"`,
		"line 11 steps[1].do: is missing",
		"line 13 steps[2].dont: unknown field; known here: do, argv",
		"line 15 hidden: " + fieldList,
		"line 16 Secret: " + fieldList,
		"line 17: has a key that is 1; keys must be plain text",
		"line 18 share: must be a number, is .inf",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestDecodeRefusesWhatIsNoDocument(t *testing.T) {
	t.Parallel()
	laughs := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c <= 'h'; c++ {
		laughs += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	for name, row := range map[string]struct{ doc, want string }{
		"empty":      {" \n", "is empty"},
		"comment":    {"# nothing\n", "is empty"},
		"two":        {"name: a\n---\nname: b\n", "line 2: holds a second document"},
		"not utf-8":  {"name: \xff", "is not UTF-8"},
		"syntax":     {"name: a\nsteps: [", "line 3: is not valid YAML or JSON"},
		"list":       {"[1]", "line 1: must be a set of fields, is a list"},
		"scalar":     {"hello", `must be a set of fields, is "hello"`},
		"merge":      {"extra: &x {do: a}\n<<: *x\n", "line 2: has a key that is <<"},
		"tag":        {"name: x\nany: !evil {a: b}\n", "line 2 any: must be a set of fields"},
		"scalar tag": {"name: x\nany: !evil b\n", "line 2 any: has the tag !evil"},
		"null":       {"name:\n", "line 1 name: has no value"},
		"too large":  {"name: " + strings.Repeat("x", resource.MaxSize), "is the most"},
		"too deep":   {"any: " + strings.Repeat("[", 100) + strings.Repeat("]", 100), "is nested deeper than 64"},
		"itself":     {"any: &a [*a]\n", "is nested deeper than 64"},
		"laughs":     {"name: x\nany: {" + strings.ReplaceAll(strings.TrimSpace(laughs), "\n", ", ") + "}\n", "has more than 100000 values"},
		"bad base64": {"name: x\ndata: '***'\n", "must be base64 text"},
		"bad time":   {"name: x\nat: 2024-13-01T00:00:00Z\n", "line 2 at:"},
		"hex number": {"name: x\nany: 0x10\n", "must be a plain decimal number"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got sheet
			err := resource.Decode([]byte(row.doc), &got)
			if err == nil || !strings.Contains(err.Error(), row.want) || fault.KindOf(err) != fault.Invalid {
				t.Errorf("got %v, want an invalid fault with %q", err, row.want)
			}
		})
	}
}

func TestDecodeChecksTheDefaultedPlanButKeepsItAsWritten(t *testing.T) {
	t.Parallel()
	doc := "name: careful\nrings:\n  - {name: canary, hosts: 3}\n  - name: rest\n    share: 1\n"
	var p plan.Plan
	if err := resource.Decode([]byte(doc), &p); err != nil {
		t.Fatal(err)
	}
	if p.Window.Start != 0 {
		t.Errorf("got a window of %d, want none: defaults are the caller's business", p.Window.Start)
	}
	err := resource.Decode([]byte(strings.Replace(doc, "share: 1", "shares: 1", 1)), &plan.Plan{})
	got := fmt.Sprint(err)
	if !strings.Contains(got, "line 5 rings[1].shares: unknown field") || !strings.Contains(got, "line 4 rings[1]: needs either") {
		t.Errorf("got %s, want the unknown field and the broken rule, with lines", got)
	}
}

func TestDecodeReadsAManifest(t *testing.T) {
	t.Parallel()
	doc := `{"format":1,"component":"c","version":"1","serial":1,"floor":2,"kind":"content","created":"2024-07-19T04:09:00Z","artifacts":null,
"plan":{"name":"p","rings":[{"name":"a","hosts":1},{"name":"b","share":1}]}, "surprise": true}`
	err := resource.Decode([]byte(doc), &release.Manifest{})
	for _, want := range []string{"line 2 surprise: unknown field", "line 1 floor: must be between", "line 1 artifacts: must be 1 to"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

func TestLinesFindTheNearestThing(t *testing.T) {
	t.Parallel()
	lines, err := resource.DecodeLines([]byte("name: a\nsteps:\n  - do: x\n"), &sheet{})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"": 1, "name": 1, "steps[0].do": 3, "steps[0].argv[4]": 3, "steps[7]": 2, "nothing": 1, "steps": 2,
	} {
		if got := lines.At(path); got != want {
			t.Errorf("%q: got line %d, want %d", path, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"name: a\nsteps: [{do: x, argv: [y]}]\n", `{"name":"x","any":{"a":[1,null]},"raw":[{}]}`, "any: &a [*a]", "name: !!binary aGk=", "<<: {}", "? [a]\n: b",
		"at: 2024-01-01", "wait: 1h\ntags: {a: b}", "extra: {do: x}\nraw: 1.5\ndata: aGk=", "\t", "---\n...\n---\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second sheet
		if err := resource.Decode(data, &first); err != nil {
			if fault.KindOf(err) != fault.Invalid || len(fault.ProblemsOf(err)) == 0 {
				t.Fatalf("got %v, want an invalid fault with problems", err)
			}
			return
		}
		again, err := json.Marshal(first)
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		if err := resource.Decode(again, &second); err != nil {
			t.Fatalf("decode %s, which was decoded before: %v", again, err)
		}
		if diff := cmp.Diff(mustJSON(t, first), mustJSON(t, second)); diff != "" {
			t.Fatalf("decoded again (-first +second):\n%s", diff)
		}
	})
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
