package server_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

// writing lists the operations that take a JSON document, with an address that names something.
func (d description) writing() []request {
	var all []request
	names := strings.NewReplacer("{name}", "p", "{role}", "root", "{id}", "ro-1", "{act}", "halt", "{digest}", digestOf("x"))
	for path, item := range d.Paths {
		for method, o := range item {
			if o.RequestBody == nil || o.RequestBody.Content["application/json"].Schema == nil {
				continue
			}
			if strings.HasSuffix(path, "{act}") {
				all = append(all, request{"POST", strings.Replace(names.Replace(path), "halt", "hold", 1), ""})
			}
			all = append(all, request{strings.ToUpper(method), names.Replace(path), ""})
		}
	}
	slices.SortFunc(all, func(a, b request) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}

// schemaOf is the schema of what an operation takes, without references.
func (d description) schemaOf(r request) map[string]any {
	o, _ := d.operationOf(r)
	schema := o.RequestBody.Content["application/json"].Schema
	if ref, ok := schema["$ref"].(string); ok {
		return d.Components["schemas"][ref[strings.LastIndex(ref, "/")+1:]].(map[string]any)
	}
	return schema
}

// Every field of every document is tried with values of every wrong type and size. The answer is a problem that names the field.
func TestBadValuesOfEveryFieldAreNamed(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, func(o *server.Options) { o.Rate.PerSecond = -1 })
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	w.Do("POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`)
	d := descriptionOf(t, w)
	bad := map[string][]string{
		"string":  {`7`, `true`, `{}`, `[]`, `["x"]`},
		"integer": {`"x"`, `1.5`, `{}`, `[1]`, `1e400`, `99999999999999999999`},
		"boolean": {`"x"`, `7`, `{}`, `[]`},
		"array":   {`"x"`, `7`, `{}`, `[[]]`, `[null]`, `["x"]`},
		"object":  {`"x"`, `7`, `[]`},
	}
	tried := 0
	for _, r := range d.writing() {
		if strings.HasSuffix(r.path, "/check") || strings.Contains(r.path, "/trust/") {
			continue // what is wrong is the answer; the signed metadata of TUF is its library's to read
		}
		properties, _ := d.schemaOf(r)["properties"].(map[string]any)
		for _, field := range append(slices.Sorted(maps.Keys(properties)), "unheard") {
			kind := "string"
			if schema, known := properties[field].(map[string]any); known {
				kind = schema["type"].(string)
			}
			for _, value := range bad[kind] {
				if schema, _ := properties[field].(map[string]any); value == `["x"]` && cmp.Equal(schema["items"], map[string]any{"type": "string"}) {
					continue // that is right
				}
				tried++
				answer, text := w.Do(r.method, r.path, fmt.Sprintf("{%q:%s}", field, value))
				if answer.StatusCode != http.StatusBadRequest {
					t.Errorf("%s %s with %s %s: got %d %s, want 400", r.method, r.path, field, value, answer.StatusCode, text)
					continue
				}
				p := problem(t, answer, text)
				if !slices.ContainsFunc(p.Problems, func(f api.FieldProblem) bool { return strings.HasPrefix(f.Path, field) }) {
					t.Errorf("%s %s with %s %s: got %s, want a problem at %s", r.method, r.path, field, value, text, field)
				}
			}
		}
	}
	if tried < 100 {
		t.Errorf("tried %d bad values; want many: does the document still have its schemas?", tried)
	}
}

// Every parameter of every query is tried with values that it cannot have.
func TestBadQueriesAreRefused(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, func(o *server.Options) { o.Rate.PerSecond = -1 })
	w.Trip("sensor-content")
	d := descriptionOf(t, w)
	bad := map[string][]string{
		"limit": {"0", "-1", "1001", "x", "1.5", "99999999999999999999"}, "after": {"%00", "W10x", "WzFd.", "bnVsbA", "W251bGwsMSwyLDNd"},
		"select": {"x", "=", "colour=red"}, "silent_since": {"yesterday", "0"}, "version": {"1"}, "component": {"nobody"},
	}
	fixed := strings.NewReplacer("{id}", "ro-1")
	for path, item := range d.Paths {
		o, known := item["get"]
		if !known {
			continue
		}
		for _, p := range o.Parameters {
			name, _ := p["name"].(string)
			if p["in"] != "query" || path == "/api/v1/endpoints" && (name == "after" || name == "component") || name == "prefix" {
				continue // whatever they are, some endpoints come behind them, or none
			}
			for _, value := range bad[name] {
				answer, text := w.Do("GET", fixed.Replace(path)+"?"+name+"="+value, "")
				if answer.StatusCode != http.StatusBadRequest && (name != "component" || answer.StatusCode != http.StatusNotFound) {
					t.Errorf("GET %s?%s=%s: got %d %s, want 400", path, name, value, answer.StatusCode, text)
				}
				if q := problem(t, answer, text); answer.StatusCode == http.StatusBadRequest && !strings.HasPrefix(q.Problems[0].Path, name) {
					t.Errorf("GET %s?%s=%s: got %s, want a problem at %s", path, name, value, text, name)
				}
			}
		}
	}
}

// Whatever bytes come, on every route that takes a document: no fault of ours, no panic, and mistakes of the document have a path.
func FuzzDocuments(f *testing.F) {
	w := servertest.Open(f, func(o *server.Options) { o.Rate.PerSecond = -1 })
	w.Publish("sensor-content", "1")
	w.Join(4, "sensor-content")
	w.Do("POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`)
	routes := descriptionOf(f, w).writing()
	for _, c := range conversations() {
		for _, r := range c.requests {
			for i := range routes {
				if r.body != "" && r.method == routes[i].method {
					f.Add(uint8(i), []byte(r.body))
				}
			}
		}
	}
	for i := range routes {
		for _, body := range []string{"", "{", "null", "[]", "a: &a [*a]", "{\"a\":{\"a\":{\"a\":1}}}", "\xff\xfe", "? [a]\n: b", "!!binary x", "1: 2"} {
			f.Add(uint8(i), []byte(body))
		}
	}
	named := regexp.MustCompile(`^[^\x00-\x1f]*$`)
	f.Fuzz(func(t *testing.T, i uint8, body []byte) {
		r := routes[int(i)%len(routes)]
		answer, text := servertest.Send(t, r.method, w.URL+r.path, string(body), map[string]string{"Authorization": "Bearer " + w.Token})
		if answer.StatusCode >= 500 {
			t.Fatalf("%s %s %q: got %d %s", r.method, r.path, body, answer.StatusCode, text)
		}
		if answer.StatusCode < 300 {
			return
		}
		var p api.Problem
		if err := json.Unmarshal([]byte(text), &p); err != nil || p.Status != answer.StatusCode || p.Detail == "" || p.Instance == "" || p.Title == "" {
			t.Errorf("%s %s %q: got %s, want a whole problem", r.method, r.path, body, text)
		}
		for _, one := range p.Problems {
			if !named.MatchString(one.Path) || one.Message == "" { // no path is that of the whole document
				t.Errorf("%s %s %q: got problem %+v, want where and what", r.method, r.path, body, one)
			}
		}
	})
}
