package resource

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// parse turns data into the root node of its only document, or tells what is wrong with it.
func parse(data []byte) (*yaml.Node, *fault.Problem) {
	switch {
	case len(data) > MaxSize:
		return nil, &fault.Problem{Message: fmt.Sprintf("has %d bytes; %d is the most", len(data), MaxSize)}
	case !utf8.Valid(data):
		return nil, &fault.Problem{Message: "is not UTF-8 text"}
	case strings.TrimSpace(string(data)) == "":
		return nil, &fault.Problem{Message: "is empty"}
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		return nil, syntax(err)
	}
	var document, second yaml.Node
	if err := loader.Load(&document); errors.Is(err, io.EOF) {
		return nil, &fault.Problem{Message: "is empty"}
	} else if err != nil {
		return nil, syntax(err)
	}
	if err := loader.Load(&second); err == nil {
		return nil, &fault.Problem{Line: second.Line, Message: "holds a second document; write one per file"}
	} else if !errors.Is(err, io.EOF) {
		return nil, syntax(err)
	}
	if document.Kind != yaml.DocumentNode || len(document.Content) != 1 {
		return nil, &fault.Problem{Message: "is not one YAML or JSON document"}
	}
	return document.Content[0], nil
}

// syntax words the parser's error.
func syntax(err error) *fault.Problem {
	if at, ok := errors.AsType[*yaml.LoadError](err); ok {
		return &fault.Problem{Line: at.Mark.Line, Message: "is not valid YAML or JSON: " + at.Message}
	}
	return &fault.Problem{Message: "is not valid YAML or JSON: " + err.Error()}
}

// fields are the fields of a struct by their json names.
type fields struct {
	index map[string][]int
	names []string // in the order of the struct
}

func (d *decoder) fields(t reflect.Type) fields {
	if f, ok := d.known[t]; ok {
		return f
	}
	f := fields{index: map[string][]int{}}
	for _, field := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "-" || !field.IsExported() || field.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = field.Name
		}
		f.index[name] = field.Index
		f.names = append(f.names, name)
	}
	d.known[t] = f
	return f
}
