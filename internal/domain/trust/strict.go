package trust

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// unknownFields lists the fields of a JSON document that the type of like does not have, each with its path. Names must match exactly,
// in lower and upper case too.
func unknownFields(data []byte, like any) ([]fault.Problem, error) {
	var document any
	if err := json.Unmarshal(data, &document); err != nil {
		return nil, err
	}
	var problems []fault.Problem
	walkUnknown(document, reflect.TypeOf(like), "", &problems)
	return problems, nil
}

func walkUnknown(value any, t reflect.Type, path string, problems *[]fault.Problem) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := value.(type) {
	case []any:
		if t.Kind() == reflect.Slice {
			for i, item := range v {
				walkUnknown(item, t.Elem(), at(path, i), problems)
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			walkField(v[name], t, path, name, problems)
		}
	}
}

func walkField(value any, t reflect.Type, path, name string, problems *[]fault.Problem) {
	where := name
	if path != "" {
		where = path + "." + name
	}
	if t.Kind() == reflect.Map {
		walkUnknown(value, t.Elem(), where, problems)
		return
	}
	if t.Kind() != reflect.Struct {
		return // of the wrong type altogether: decoding says so
	}
	fields := fieldsOf(t)
	field, ok := fields[name]
	if !ok {
		*problems = append(*problems, fault.Problem{Path: where, Message: fmt.Sprintf(
			"unknown field; known here are %s", strings.Join(slices.Sorted(maps.Keys(fields)), ", "))})
		return
	}
	walkUnknown(value, field, where, problems)
}

func fieldsOf(t reflect.Type) map[string]reflect.Type {
	fields := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			fields[name] = f.Type
		}
	}
	return fields
}

func at(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }
