package live

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// encode makes JSON of a value without members that are null: a merge patch could not give them to anybody.
func encode(value any) ([]byte, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode what is watched: %w", err)
	}
	if !bytes.Contains(data, []byte("null")) {
		return data, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // numbers stay as they are written
	var tree any
	if err = decoder.Decode(&tree); err != nil {
		return nil, fmt.Errorf("encode what is watched: %w", err)
	}
	if data, err = json.Marshal(withoutNulls(tree)); err != nil {
		return nil, fmt.Errorf("encode what is watched: %w", err)
	}
	return data, nil
}

// withoutNulls takes the members that are null out of all objects of a tree. Those of lists stay: lists are replaced as a whole.
func withoutNulls(tree any) any {
	switch t := tree.(type) {
	case map[string]any:
		for key, member := range t {
			if member == nil {
				delete(t, key)
			} else {
				t[key] = withoutNulls(member)
			}
		}
	case []any:
		for i, element := range t {
			t[i] = withoutNulls(element)
		}
	}
	return tree
}
