package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/server"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

const committed = "../../../api/openapi.json"

func TestTheCommittedDocumentIsThatOfTheServer(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	answer, body := servertest.Send(t, http.MethodGet, w.URL+"/api/v1/openapi.json", "", nil)
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("got %d %s", answer.StatusCode, body)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(body), "", "  "); err != nil {
		t.Fatal(err)
	}
	golden(t, committed, pretty.String())
}

// description is an OpenAPI document as a reader sees it.
type description struct {
	OpenAPI string `json:"openapi"`
	Info    struct {
		Title   string `json:"title"`
		Version string `json:"version"`
	} `json:"info"`
	Paths      map[string]map[string]operation `json:"paths"`
	Components map[string]map[string]any       `json:"components"`
}

type operation struct {
	ID          string              `json:"operationId"`
	Summary     string              `json:"summary"`
	Parameters  []map[string]any    `json:"parameters"`
	RequestBody *response           `json:"requestBody"`
	Responses   map[string]response `json:"responses"`
}

type response struct {
	Ref     string                                     `json:"$ref"`
	Content map[string]struct{ Schema map[string]any } `json:"content"`
}

func descriptionOf(t testing.TB, w *servertest.World) description {
	t.Helper()
	_, body := servertest.Send(t, http.MethodGet, w.URL+"/api/v1/openapi.json", "", nil)
	var d description
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// What OpenAPI 3.1 asks for that a generator can get wrong.
func TestTheDocumentIsOpenAPI(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	d := descriptionOf(t, w)
	if d.OpenAPI != "3.1.0" || d.Info.Title == "" || d.Info.Version == "" {
		t.Errorf("got openapi %q, info %+v, want 3.1.0 with title and version", d.OpenAPI, d.Info)
	}
	ids := map[string]string{}
	for path, item := range d.Paths {
		for method, o := range item {
			where := method + " " + path
			if !slices.Contains([]string{"get", "put", "post", "patch", "delete"}, method) {
				t.Errorf("%s: that is no method", where)
			}
			if ids[o.ID] != "" || o.ID == "" || o.Summary == "" {
				t.Errorf("%s: operation %q %q, also of %q; want one of its own, with a summary", where, o.ID, o.Summary, ids[o.ID])
			}
			ids[o.ID] = where
			if len(o.Responses) < 2 || o.Responses["default"].Ref == "" {
				t.Errorf("%s: got responses %v, want a good one and a default", where, o.Responses)
			}
			var named []string
			for _, p := range o.Parameters {
				if p["in"] == "path" {
					if p["required"] != true {
						t.Errorf("%s: path parameter %v is not required", where, p["name"])
					}
					named = append(named, "{"+p["name"].(string)+"}")
				}
			}
			if diff := cmp.Diff(regexp.MustCompile(`\{\w+\}`).FindAllString(path, -1), named); diff != "" {
				t.Errorf("%s: path parameters (-want +got):\n%s", where, diff)
			}
		}
	}
	_, body := servertest.Send(t, http.MethodGet, w.URL+"/api/v1/openapi.json", "", nil)
	for _, ref := range regexp.MustCompile(`"\$ref":"#/components/(\w+)/([^"]+)"`).FindAllStringSubmatch(body, -1) {
		if d.Components[ref[1]][ref[2]] == nil {
			t.Errorf("nothing is at %s", ref[0])
		}
	}
}

// describes checks an answer of the server against the document.
func (d description) describes(t testing.TB, r request, answer servertest.Answer, body string) {
	t.Helper()
	where := r.method + " " + r.path
	media, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	if media == api.ProblemType {
		d.fits(t, where, map[string]any{"$ref": "#/components/schemas/Problem"}, body)
	}
	o, known := d.operationOf(r)
	if !known {
		return // there is no such route
	}
	said, known := o.Responses[strconv.Itoa(answer.StatusCode)]
	if media == api.ProblemType {
		if known && said.Ref == "" {
			t.Errorf("%s: status %d is described as good, and is a problem", where, answer.StatusCode)
		}
		return
	}
	if !known || said.Ref != "" {
		t.Errorf("%s: status %d is not described as good", where, answer.StatusCode)
		return
	}
	content, known := said.Content[media]
	if body == "" && len(said.Content) == 0 {
		return
	}
	if !known {
		t.Errorf("%s: got %q, want one of %v", where, media, slices.Collect(maps.Keys(said.Content)))
		return
	}
	if media == "application/json" {
		d.fits(t, where, content.Schema, body)
	}
}

// operationOf finds the operation that a request is for.
func (d description) operationOf(r request) (operation, bool) {
	target, err := http.NewRequest(r.method, r.path, nil) //nolint:noctx // it is not sent
	if err != nil {
		return operation{}, false
	}
	mux := http.NewServeMux()
	for path, item := range d.Paths {
		for method := range item {
			mux.HandleFunc(strings.ToUpper(method)+" "+path, func(http.ResponseWriter, *http.Request) {})
		}
	}
	_, pattern := mux.Handler(target)
	method, path, ok := strings.Cut(pattern, " ")
	return d.Paths[path][strings.ToLower(method)], ok
}

func (d description) fits(t testing.TB, where string, schema map[string]any, body string) {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Errorf("%s: %v", where, err)
		return
	}
	for _, mistake := range d.mistakes(schema, v, "") {
		t.Errorf("%s: the answer is not as described: %s", where, mistake)
	}
}

// mistakes lists where a value is not what a schema says. A field that is not described is one, too.
func (d description) mistakes(schema map[string]any, v any, at string) []string {
	if ref, ok := schema["$ref"].(string); ok {
		return d.mistakes(d.Components["schemas"][ref[strings.LastIndex(ref, "/")+1:]].(map[string]any), v, at)
	}
	if allowed, ok := schema["enum"].([]any); ok && !slices.Contains(allowed, v) {
		return []string{fmt.Sprintf("%s: %v is none of %v", at, v, allowed)}
	}
	wrong := func() []string { return []string{fmt.Sprintf("%s: got %T, want %v", at, v, schema["type"])} }
	switch schema["type"] {
	case nil:
		return nil
	case "string":
		s, ok := v.(string)
		if !ok {
			return wrong()
		}
		if schema["format"] == "date-time" {
			if _, err := time.Parse(time.RFC3339, s); err != nil {
				return []string{at + ": " + err.Error()}
			}
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return wrong()
		}
	case "integer", "number":
		n, ok := v.(float64)
		if !ok || schema["type"] == "integer" && n != float64(int64(n)) {
			return wrong()
		}
	case "array":
		items, ok := v.([]any)
		if !ok {
			return wrong()
		}
		var all []string
		for i, item := range items {
			all = append(all, d.mistakes(schema["items"].(map[string]any), item, fmt.Sprintf("%s[%d]", at, i))...)
		}
		return all
	case "object":
		o, ok := v.(map[string]any)
		if !ok {
			return wrong()
		}
		return d.inObject(schema, o, at)
	}
	return nil
}

func (d description) inObject(schema, o map[string]any, at string) []string {
	var all []string
	properties, _ := schema["properties"].(map[string]any)
	for key, v := range o {
		one, ok := properties[key].(map[string]any)
		if !ok {
			one, ok = schema["additionalProperties"].(map[string]any)
		}
		if !ok {
			all = append(all, at+"."+key+": is not described")
			continue
		}
		all = append(all, d.mistakes(one, v, at+"."+key)...)
	}
	required, _ := schema["required"].([]any)
	for _, key := range required {
		if _, ok := o[key.(string)]; !ok {
			all = append(all, at+"."+key.(string)+": is missing")
		}
	}
	return all
}

// The check itself can fail.
func TestAnswersThatAreNotAsDescribedAreFound(t *testing.T) {
	t.Parallel()
	d := descriptionOf(t, servertest.Open(t, nil))
	for body, want := range map[string]int{
		`{"items":[]}`: 0,
		`{"items":[{"id":"a","kind":"join","created":"2024-07-19T04:09:00Z"}]}`: 0,
		`{}`:             1,
		`{"items":null}`: 1,
		`{"items":[{"id":"a","kind":"root","created":"2024-07-19T04:09:00Z"}]}`:         1,
		`{"items":[{"id":7,"kind":"join","created":"yesterday","left":1.5,"more":{}}]}`: 4,
	} {
		var v any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		if got := d.mistakes(map[string]any{"$ref": "#/components/schemas/TokenPage"}, v, ""); len(got) != want {
			t.Errorf("%s: got %q, want %d mistakes", body, got, want)
		}
	}
}

// Every route has a good answer in a transcript, or is tried here: none is described without being looked at.
func TestEveryRouteIsTried(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, func(o *server.Options) { forecasting(o, &asked{}, nil) })
	d := descriptionOf(t, w)
	tried := map[string]bool{}
	for name, c := range conversations() {
		said, err := os.ReadFile("testdata/" + name + ".golden")
		if err != nil {
			t.Fatal(err)
		}
		answers := strings.Split(string(said), ">>> ")[1:]
		for i, r := range c.requests {
			if i >= len(answers) {
				break // it is being rewritten
			}
			if _, answer, _ := strings.Cut(answers[i], "\n"); strings.HasPrefix(answer, "2") {
				o, _ := d.operationOf(r)
				tried[o.ID] = true
			}
		}
	}
	w.Trip("sensor-content")
	digest := digestOf("sensor-content 2")
	upload := digestOf("x")
	for _, r := range []request{
		{"GET", "/api/v1/openapi.json", ""},
		{"GET", "/api/v1/blobs/" + digest, ""},
		{"PUT", "/api/v1/blobs/" + upload, "x"},
		{"GET", "/api/v1/deltas/" + digest, ""},
		{"PUT", "/api/v1/deltas/" + digest, `{"digest":"` + upload + `","size":1,"form":"zstd"}`},
		{"POST", "/api/v1/uploads", `{"digest":"` + digestOf("y") + `","size":1}`},
		{"POST", "/api/v1/gc", `{"dry_run":true}`},
		{"GET", "/api/v1/tokens", ""},
		{"GET", "/api/v1/trust/online", ""},
		{"GET", "/api/v1/cell/sensor-content/" + digest, ""},
		{"GET", "/api/v1/plans/careful", ""},
		{"GET", "/api/v1/plans/careful/forecast", ""},
		{"GET", "/api/v1/rollouts/ro-1/forecast", ""},
		{"GET", "/api/v1/incidents/inc-4/report", ""},
		{"POST", "/api/v1/endpoints/ep-001/revoke", `{"reason":"stolen"}`},
		{"DELETE", "/api/v1/endpoints/ep-002", ""},
	} {
		answer, body := w.Do(r.method, r.path, r.body)
		if answer.StatusCode >= 300 {
			t.Errorf("%s %s: got %d %s", r.method, r.path, answer.StatusCode, body)
		}
		d.describes(t, r, answer, body)
		o, _ := d.operationOf(r)
		tried[o.ID] = true
		if o.ID == "beginUpload" {
			var u api.Upload
			if err := json.Unmarshal([]byte(body), &u); err != nil {
				t.Fatal(err)
			}
			for _, method := range []string{"GET", "DELETE"} {
				next := request{method, "/api/v1/uploads/" + u.ID, ""}
				answer, body := w.Do(next.method, next.path, next.body)
				d.describes(t, next, answer, body)
				o, _ := d.operationOf(next)
				tried[o.ID] = answer.StatusCode < 300
			}
		}
	}
	// Their tests are elsewhere: they need signed metadata, pieces, or a token that is made for it, or do not end.
	elsewhere := []string{"getMetadataFile", "submitMetadata", "discardMetadata", "patchUpload", "revokeToken", "signOut", "watch"}
	for path, item := range d.Paths {
		for method, o := range item {
			if !tried[o.ID] && !slices.Contains(elsewhere, o.ID) {
				t.Errorf("%s %s (%s) was never tried", method, path, o.ID)
			}
		}
	}
}
