// Package resource reads the files that people write (plans, component files) and the documents that programs sign, strictly.
//
// A document is one YAML or JSON value. Whatever it says must be understood: an unknown field, a field that is there twice, a number
// where text belongs, all are mistakes, and all mistakes of a document are reported at once, each with its path and its line. A field
// is known by its json tag, so one struct serves files and wire.
package resource

import (
	"cmp"
	"reflect"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Limits of a document. They are far above what a person writes and low enough to cost nothing.
const (
	MaxSize  = 1 << 20 // bytes
	MaxDepth = 64      // nested values
	MaxNodes = 100_000 // values, each alias counted as often as it is used
)

// Checker is implemented by documents that have rules beyond their shape.
type Checker interface {
	// Check lists everything that is wrong, each with its path as in "rings[2].hosts".
	Check() []fault.Problem
}

// Decode reads data into the value that into points to. Fields that data does not name keep their values.
//
// If the value is a [Checker] it is checked too; one that has a method Defaulted() of its own type is checked as that method returns it,
// but stays as it was written. The error is a fault.Invalid that lists all mistakes.
func Decode(data []byte, into any) error {
	_, err := DecodeLines(data, into)
	return err
}

// DecodeLines is [Decode] for a caller that has rules of its own and wants to name lines too.
func DecodeLines(data []byte, into any) (Lines, error) {
	root, problem := parse(data)
	if problem != nil {
		return nil, fault.Problems("read document", []fault.Problem{*problem})
	}
	d := decoder{lines: Lines{}, known: map[reflect.Type]fields{}}
	d.value(root, reflect.ValueOf(into).Elem(), place{})
	if c, ok := defaulted(into).(Checker); ok && !d.exhausted() {
		d.problems = append(d.problems, d.news(d.lines.Mark(c.Check()))...)
	}
	slices.SortStableFunc(d.problems, func(a, b fault.Problem) int { return cmp.Compare(a.Line, b.Line) })
	return d.lines, fault.Problems("read document", d.problems)
}

// defaulted returns what into points to with its defaults filled in, if it has any: the result of its method Defaulted.
func defaulted(into any) any {
	method := reflect.ValueOf(into).MethodByName("Defaulted")
	if !method.IsValid() || method.Type().NumIn() != 0 || method.Type().NumOut() != 1 ||
		method.Type().Out(0) != reflect.TypeOf(into).Elem() {
		return into
	}
	return method.Call(nil)[0].Interface()
}

// Lines tells on which line of a document each path stands.
type Lines map[string]int

// At is the line of path, or of the nearest thing around it that the document does have; 0 if there is none.
func (l Lines) At(path string) int {
	for path != "" {
		if line, ok := l[path]; ok {
			return line
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return l[""]
}

// Mark returns the problems with their lines filled in.
func (l Lines) Mark(problems []fault.Problem) []fault.Problem {
	marked := slices.Clone(problems)
	for i := range marked {
		if marked[i].Line == 0 {
			marked[i].Line = l.At(marked[i].Path)
		}
	}
	return marked
}
