package server

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
)

// object is a JSON object of the OpenAPI document.
type object = map[string]any

// document describes the routes as OpenAPI 3.1. What it says of a body follows from the type that is decoded or encoded there.
func document(routes []route) []byte {
	g := schemas{}
	paths := map[string]object{}
	for _, t := range routes {
		if paths[t.path] == nil {
			paths[t.path] = object{}
		}
		paths[t.path][strings.ToLower(t.method)] = t.operation(g)
	}
	problem := g.of(reflect.TypeFor[api.Problem]())
	all := object{
		"openapi": "3.1.0",
		"info": object{
			"title": "Firebreak operator API", "version": "1",
			"description": "Documents are read strictly: an unknown field is a mistake. Answers may get more fields within the version.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"},
		},
		"servers":  []object{{"url": "/"}},
		"security": []object{{"token": []string{}}},
		"paths":    paths,
		"components": object{
			"schemas":         g,
			"securitySchemes": object{"token": object{"type": "http", "scheme": "bearer", "description": "an operator's token"}},
			"parameters":      headers(),
			"responses": object{"Problem": object{
				"description": "what went wrong, and the next step",
				"headers":     object{"X-Request-Id": object{"schema": text()}, "Retry-After": object{"schema": object{"type": "integer"}}},
				"content":     object{api.ProblemType: object{"schema": problem}},
			}},
		},
	}
	data, err := json.Marshal(all)
	if err != nil {
		panic(fmt.Sprintf("encode the OpenAPI document: %v", err)) // it is made of text and numbers
	}
	return data
}

// headers are the request headers that several routes heed.
func headers() object {
	header := func(name, about string, schema object) object {
		return object{"name": name, "in": "header", "description": about, "schema": schema}
	}
	return object{
		"IdempotencyKey": header("Idempotency-Key",
			"a word of your own for this request: sent again within 24 hours it is carried out once and answered the same, with Idempotency-Replayed",
			object{"type": "string", "minLength": 1, "maxLength": maxKey}),
		"IfMatch":     header("If-Match", "only if the thing still has this ETag; of a rollout the revision alone is compared", text()),
		"IfNoneMatch": header("If-None-Match", "GET: 304 if the thing still has this ETag; PUT: * only makes a new one", text()),
	}
}

// operation describes one route.
func (t route) operation(g schemas) object {
	o := object{"operationId": t.name, "summary": t.summary, "responses": t.responses(g)}
	if parameters := t.parameters(); len(parameters) > 0 {
		o["parameters"] = parameters
	}
	if t.traits.is(open) {
		o["security"] = []object{}
	}
	if t.request != nil {
		o["requestBody"] = object{"required": !t.optional, "content": content(g, t.request)}
	}
	return o
}

func content(g schemas, body any) object {
	if media, ok := body.(string); ok {
		schema := object{}
		if media == eventStream {
			schema = g.of(reflect.TypeFor[api.StreamEvent]()) // the data of each event
		}
		return object{media: object{"schema": schema}}
	}
	return object{"application/json": object{"schema": g.of(reflect.TypeOf(body))}}
}

func (t route) parameters() []object {
	var all []object
	for _, name := range t.inPath() {
		o := object{"name": name, "in": "path", "required": true, "schema": text()}
		for _, p := range t.params {
			if p.name == name {
				o["schema"], o["description"] = p.schema, p.about
			}
		}
		all = append(all, o)
	}
	for _, p := range t.params {
		if slices.Contains(t.inPath(), p.name) {
			continue
		}
		schema := p.schema
		if p.many {
			schema = object{"type": "array", "items": schema, "maxItems": maxSelects}
		}
		all = append(all, object{"name": p.name, "in": "query", "description": p.about, "schema": schema})
	}
	for _, name := range t.heeds() {
		all = append(all, object{"$ref": "#/components/parameters/" + name})
	}
	return all
}

// heeds names the headers that the route heeds.
func (t route) heeds() []string {
	var names []string
	if t.traits.is(keyed) {
		names = append(names, "IdempotencyKey")
	}
	if t.traits.is(tagged) && t.method != http.MethodGet && t.answer != nil && len(t.inPath()) > 0 || t.method == http.MethodPut && t.traits.is(tagged) {
		names = append(names, "IfMatch")
	}
	if t.traits.is(tagged) && t.method != http.MethodPost {
		names = append(names, "IfNoneMatch")
	}
	return names
}

// inPath names the parameters of the path.
func (t route) inPath() []string {
	var names []string
	for _, match := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(t.path, -1) {
		names = append(names, match[1])
	}
	return names
}

// responses has the good answer, the problems that the traits bring with them, and any other problem as the default.
func (t route) responses(g schemas) object {
	good := object{"description": "done"}
	if t.answer != nil {
		forms := content(g, t.answer)
		for _, media := range t.also {
			forms[media] = object{"schema": object{}}
		}
		good["content"] = forms
	}
	if t.traits.is(tagged) {
		good["headers"] = object{"ETag": object{"schema": text()}}
	}
	problem := object{"$ref": "#/components/responses/Problem"}
	all := object{strconv.Itoa(t.goodStatus()): good, "default": problem}
	for _, status := range t.problems() {
		all[strconv.Itoa(status)] = problem
	}
	if t.traits.is(tagged) && t.method == http.MethodGet {
		all["304"] = object{"description": "it still has that ETag"}
	}
	return all
}

func (t route) goodStatus() int {
	switch {
	case t.status != 0:
		return t.status
	case t.answer == nil:
		return http.StatusNoContent
	}
	return http.StatusOK
}

// problems are the statuses that follow from what the route is like.
func (t route) problems() []int {
	var all []int
	add := func(on bool, statuses ...int) {
		if on {
			all = append(all, statuses...)
		}
	}
	heeded := t.heeds()
	add(!t.traits.is(open), http.StatusUnauthorized, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	add(len(t.params) > 0 || t.request != nil, http.StatusBadRequest)
	add(len(t.inPath()) > 0, http.StatusNotFound)
	add(t.request != nil, http.StatusRequestEntityTooLarge, http.StatusRequestTimeout)
	add(t.traits.is(keyed), http.StatusConflict, http.StatusUnprocessableEntity)
	add(t.method != http.MethodGet && (slices.Contains(heeded, "IfMatch") || slices.Contains(heeded, "IfNoneMatch")), http.StatusPreconditionFailed)
	return all
}

// schemas are those of the named types, by name.
type schemas map[string]object

// of describes a type of package api. A named struct is described once and referred to.
func (g schemas) of(t reflect.Type) object {
	switch {
	case t == nil || t == reflect.TypeFor[json.RawMessage]():
		return object{"description": "a document of its own"}
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	}
	switch t.Kind() { //nolint:exhaustive // the wire has no others
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Float64:
		return object{"type": "number", "format": "double"}
	case reflect.String:
		return text()
	case reflect.Pointer:
		return g.of(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": g.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": g.of(t.Elem())}
	case reflect.Struct:
		return g.named(t)
	default:
		panic(fmt.Sprintf("describe %s: the wire has no such type", t))
	}
}

func (g schemas) named(t reflect.Type) object {
	name := nameOf(t)
	if g[name] == nil {
		g[name] = object{} // a type may hold itself
		properties, required := object{}, []string{}
		g.fields(t, name, properties, &required)
		schema := object{"type": "object", "properties": properties}
		if len(required) > 0 {
			schema["required"] = required
		}
		maps.Copy(g[name], schema)
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// nameOf is the name of a type; a page of them is named after its items.
func nameOf(t reflect.Type) string {
	name, of, generic := strings.Cut(t.Name(), "[")
	if generic {
		return of[strings.LastIndex(of, ".")+1:len(of)-1] + name
	}
	return name
}

// fields describes the fields of a struct, those of embedded ones among them.
func (g schemas) fields(t reflect.Type, name string, properties object, required *[]string) {
	for field := range t.Fields() {
		tag, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && tag == "" {
			g.fields(field.Type, name, properties, required)
			continue
		}
		schema := g.of(field.Type)
		if words := words(name + "." + tag); words != nil {
			schema = object{"type": "string", "enum": words}
		}
		properties[tag] = schema
		if !strings.Contains(options, "omit") {
			*required = append(*required, tag)
		}
	}
}

// words are all values that a text field may have, nil if it is free text.
func words(field string) []string {
	switch field {
	case "Token.kind", "NewToken.kind":
		return []string{"operator", "join", "peer"}
	case "ComponentSpec.validation":
		return []string{validationRequired, validationNone}
	case "Release.state":
		return []string{statePublished, stateRecalled}
	case "Rollout.phase", "Act.phase":
		return phases()
	case "Rollout.alarm", "Record.alarm":
		return []string{"quiet", "amber", "trip"}
	case "Ring.state":
		return append(phases(), "closed", "open", "done")
	case "LeaseStatus.outcome":
		return outcomes()
	case "Submission.state":
		return []string{api.SubmissionPublished, api.SubmissionPending}
	case "HaltedRollout.state":
		return []string{"halted", "holding", "ended", "failed"}
	case "HaltedRollout.phase", "HaltedRollout.was":
		return phases()
	case "SeriesPoint.alarm":
		return []string{"quiet", "amber", "trip"}
	case "Attention.about":
		return []string{"rollout", "incident", "fleet", "health"}
	case "Delta.form":
		return []string{api.DeltaDCZ, api.DeltaZstd, api.DeltaWindows}
	}
	return nil
}
