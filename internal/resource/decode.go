package resource

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// maxProblems bounds a report; nobody reads further.
const maxProblems = 100

// decoder walks a document's nodes and a Go value side by side.
type decoder struct {
	lines    Lines
	known    map[reflect.Type]fields
	problems []fault.Problem
	nodes    int
}

// place is where in the document the walk is.
type place struct {
	path  string
	depth int
}

func (p place) field(name string) place {
	if p.path == "" {
		return place{name, p.depth + 1}
	}
	return place{p.path + "." + name, p.depth + 1}
}

func (p place) index(i int) place { return place{fmt.Sprintf("%s[%d]", p.path, i), p.depth + 1} }

func (d *decoder) problem(n *yaml.Node, at place, format string, args ...any) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, fault.Problem{Path: at.path, Line: n.Line, Message: fmt.Sprintf(format, args...)})
	}
}

// exhausted tells whether the walk gave up, so that what it read is not worth checking.
func (d *decoder) exhausted() bool { return d.nodes > MaxNodes || len(d.problems) >= maxProblems }

// news leaves out the problems of paths that already have one: a value that could not be read needs no second complaint.
func (d *decoder) news(problems []fault.Problem) []fault.Problem {
	seen := map[string]bool{}
	for _, p := range d.problems {
		seen[p.Path] = p.Path != ""
	}
	return slices.DeleteFunc(problems, func(p fault.Problem) bool { return seen[p.Path] })
}

// enter counts a value and resolves an alias. It returns nil when the document is too large or too deep to go on.
func (d *decoder) enter(n *yaml.Node, at place) *yaml.Node {
	d.nodes++
	if d.nodes == MaxNodes+1 {
		d.problem(n, at, "the document has more than %d values; shorten it", MaxNodes)
	}
	if d.nodes > MaxNodes {
		return nil
	}
	if at.depth > MaxDepth {
		d.problem(n, at, "is nested deeper than %d levels", MaxDepth)
		return nil
	}
	if n.Kind == yaml.AliasNode {
		return d.enter(n.Alias, place{at.path, at.depth + 1})
	}
	return n
}

// value reads the node into v, which is settable.
func (d *decoder) value(n *yaml.Node, v reflect.Value, at place) {
	if _, again := d.lines[at.path]; !again {
		d.lines[at.path] = n.Line
	}
	n = d.enter(n, at)
	if n == nil {
		return
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		d.null(n, v, at)
		return
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		v = v.Elem()
	}
	switch target := v.Addr().Interface().(type) {
	case json.Unmarshaler:
		d.custom(n, target, at)
	case encoding.TextUnmarshaler:
		d.text(n, target, at)
	default:
		d.plain(n, v, at)
	}
}

// null reads "nothing": a list, a map or a pointer may be written so, anything else needs a value.
func (d *decoder) null(n *yaml.Node, v reflect.Value, at place) {
	switch v.Kind() { //nolint:exhaustive // all other kinds need a value
	case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Interface:
		v.SetZero()
	default:
		d.problem(n, at, "has no value; give it one or leave it out")
	}
}

func (d *decoder) plain(n *yaml.Node, v reflect.Value, at place) {
	switch v.Kind() { //nolint:exhaustive // the rest are scalars, or cannot be read and say so
	case reflect.Struct:
		d.object(n, v, at)
	case reflect.Map:
		d.table(n, v, at)
	case reflect.Slice:
		d.list(n, v, at)
	case reflect.Interface:
		if tree := d.tree(n, at); tree != nil {
			v.Set(reflect.ValueOf(tree))
		}
	default:
		d.scalar(n, v, at)
	}
}

// pairs calls each for every key of a mapping, having refused keys that are no plain text or are there twice.
func (d *decoder) pairs(n *yaml.Node, at place, each func(key string, k, v *yaml.Node)) {
	if n.Kind != yaml.MappingNode || n.ShortTag() != "!!map" {
		d.problem(n, at, "must be a set of fields, is %s", describe(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str" {
			d.problem(k, at, "has a key that is %s; keys must be plain text", describe(k))
			continue
		}
		if first, twice := seen[k.Value]; twice {
			d.problem(k, at.field(k.Value), "is there twice, first on line %d", first)
			continue
		}
		seen[k.Value] = k.Line
		each(k.Value, k, v)
	}
}

func (d *decoder) object(n *yaml.Node, v reflect.Value, at place) {
	known := d.fields(v.Type())
	d.pairs(n, at, func(key string, k, value *yaml.Node) {
		index, ok := known.index[key]
		if !ok {
			d.problem(k, at.field(key), "unknown field; known here: %s", strings.Join(known.names, ", "))
			return
		}
		d.lines[at.field(key).path] = k.Line
		d.value(value, v.FieldByIndex(index), at.field(key))
	})
}

func (d *decoder) table(n *yaml.Node, v reflect.Value, at place) {
	if v.Type().Key().Kind() != reflect.String {
		d.problem(n, at, "cannot be read: keys of type %s", v.Type().Key())
		return
	}
	table := reflect.MakeMap(v.Type())
	d.pairs(n, at, func(key string, k, value *yaml.Node) {
		d.lines[at.field(key).path] = k.Line
		entry := reflect.New(v.Type().Elem()).Elem()
		d.value(value, entry, at.field(key))
		table.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), entry)
	})
	v.Set(table)
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, at place) {
	if v.Type().Elem().Kind() == reflect.Uint8 { // []byte is base64 text, as in JSON
		d.viaJSON(n, v, at, "must be base64 text")
		return
	}
	if n.Kind != yaml.SequenceNode || n.ShortTag() != "!!seq" {
		d.problem(n, at, "must be a list, is %s", describe(n))
		return
	}
	list := reflect.MakeSlice(v.Type(), 0, min(len(n.Content), 1024))
	for i, item := range n.Content {
		entry := reflect.New(v.Type().Elem()).Elem()
		d.value(item, entry, at.index(i))
		list = reflect.Append(list, entry)
		if d.exhausted() {
			break
		}
	}
	v.Set(list)
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, at place) {
	tag := n.ShortTag()
	if n.Kind != yaml.ScalarNode {
		tag = ""
	}
	switch v.Kind() { //nolint:exhaustive // the rest cannot be read and say so
	case reflect.String:
		if tag != "!!str" {
			d.problem(n, at, "must be text, is %s%s", describe(n), quoteHint(n))
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		if tag != "!!bool" || n.Value != "true" && n.Value != "false" {
			d.problem(n, at, "must be true or false, is %s", describe(n))
			return
		}
		v.SetBool(n.Value == "true")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(n.Value, 10, v.Type().Bits())
		if tag != "!!int" || err != nil {
			d.problem(n, at, "must be a whole number, is %s", describe(n))
			return
		}
		v.SetInt(i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		u, err := strconv.ParseUint(n.Value, 10, v.Type().Bits())
		if tag != "!!int" || err != nil {
			d.problem(n, at, "must be a whole number of at least 0, is %s", describe(n))
			return
		}
		v.SetUint(u)
	case reflect.Float32, reflect.Float64:
		f, ok := number(n)
		if !ok {
			d.problem(n, at, "must be a number, is %s", describe(n))
			return
		}
		v.SetFloat(f)
	default:
		d.problem(n, at, "cannot be read: type %s", v.Type())
	}
}

// text hands a scalar, as it is written, to a type that reads itself: durations, times.
func (d *decoder) text(n *yaml.Node, target encoding.TextUnmarshaler, at place) {
	if n.Kind != yaml.ScalarNode {
		d.problem(n, at, "must be text, is %s", describe(n))
		return
	}
	if err := target.UnmarshalText([]byte(n.Value)); err != nil {
		d.problem(n, at, "%v", err)
	}
}

// custom hands a value as JSON to a type that reads itself.
func (d *decoder) custom(n *yaml.Node, target json.Unmarshaler, at place) {
	if t, ok := target.(encoding.TextUnmarshaler); ok && n.Kind == yaml.ScalarNode {
		d.text(n, t, at) // time.Time: also unquoted, which YAML takes for a timestamp
		return
	}
	before := len(d.problems)
	data, err := json.Marshal(d.tree(n, at))
	if len(d.problems) > before {
		return
	}
	if err == nil {
		err = target.UnmarshalJSON(data)
	}
	if err != nil {
		d.problem(n, at, "%v", err)
	}
}

func (d *decoder) viaJSON(n *yaml.Node, v reflect.Value, at place, want string) {
	data, err := json.Marshal(d.tree(n, at))
	if err == nil {
		err = json.Unmarshal(data, v.Addr().Interface())
	}
	if err != nil {
		d.problem(n, at, "%s, is %s", want, describe(n))
	}
}

// tree reads a node without a Go type, as encoding/json would; numbers keep their text.
func (d *decoder) tree(n *yaml.Node, at place) any {
	n = d.enter(n, at)
	if n == nil {
		return nil
	}
	switch n.Kind { //nolint:exhaustive // the rest are scalars: documents and aliases do not get here
	case yaml.MappingNode:
		m := map[string]any{}
		d.pairs(n, at, func(key string, _, value *yaml.Node) { m[key] = d.tree(value, at.field(key)) })
		return m
	case yaml.SequenceNode:
		l := []any{}
		for i, item := range n.Content {
			l = append(l, d.tree(item, at.index(i)))
		}
		return l
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value == "true"
	case "!!int", "!!float":
		if _, ok := number(n); !ok || !json.Valid([]byte(n.Value)) {
			d.problem(n, at, "must be a plain decimal number, is %s", describe(n))
			return nil
		}
		return json.Number(n.Value)
	case "!!str", "!!timestamp":
		return n.Value
	default:
		d.problem(n, at, "has the tag %s; tags are not supported", n.ShortTag())
		return nil
	}
}

// number reads a finite decimal number.
func number(n *yaml.Node) (float64, bool) {
	if tag := n.ShortTag(); n.Kind != yaml.ScalarNode || tag != "!!int" && tag != "!!float" {
		return 0, false
	}
	f, err := strconv.ParseFloat(n.Value, 64)
	return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}

// describe says what a node is, for the middle of a sentence.
func describe(n *yaml.Node) string {
	switch n.Kind { //nolint:exhaustive // the rest are scalars
	case yaml.MappingNode:
		return "a set of fields"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	value := n.Value
	if len(value) > 60 {
		value = value[:60] + "..."
	}
	if n.ShortTag() == "!!str" {
		return strconv.Quote(value)
	}
	return value
}

func quoteHint(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	return fmt.Sprintf("; write it in quotes: %q", n.Value)
}
