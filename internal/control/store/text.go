package store

import (
	"reflect"
	"strings"
	"unicode/utf8"
)

// storable makes text of values that every database can keep: hosts say what they like of themselves, and one of them with a NUL in it must
// not fail what is written of a thousand others. What no text can hold becomes U+FFFD.
func storable(values []any) {
	for i, v := range values {
		text, ok := v.(string)
		if !ok {
			named := reflect.ValueOf(v)
			if named.Kind() != reflect.String {
				continue
			}
			text = named.String()
		}
		if strings.IndexByte(text, 0) >= 0 || !utf8.ValidString(text) {
			values[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
}
