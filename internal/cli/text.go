package cli

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"charm.land/lipgloss/v2"
)

// wide is how many columns of a terminal a text takes. Colours take none, and signs of East Asia two.
func wide(s string) int { return lipgloss.Width(s) }

// leading is the beginning of s, width columns at most.
func leading(s string, width int) string {
	for i, c := range s {
		if width -= wide(string(c)); width < 0 {
			return s[:i]
		}
	}
	return s
}

// trailing is the end of s, width columns at most.
func trailing(s string, width int) string {
	all := []rune(s)
	for i, c := range slices.Backward(all) {
		if width -= wide(string(c)); width < 0 {
			return string(all[i+1:])
		}
	}
	return s
}

// cut shortens s to at most width columns, at its end. It has no colours yet.
func cut(s string, width int) string {
	if wide(s) <= width {
		return s
	}
	return leading(s, max(0, width-1)) + "…"
}

// middle shortens s to at most width columns in its middle: names that are alike often differ at their ends.
func middle(s string, width int) string {
	if wide(s) <= width {
		return s
	}
	end := max(0, (width-1)/2)
	return leading(s, max(0, width-1-end)) + "…" + trailing(s, end)
}

// fit shortens a line that may have colours to at most width columns.
func fit(line string, width int) string {
	if wide(line) <= width {
		return line
	}
	return lipgloss.NewStyle().MaxWidth(max(0, width)).Render(line)
}

// pad fills a line that may have colours with spaces up to width columns.
func pad(line string, width int) string { return line + strings.Repeat(" ", max(0, width-wide(line))) }

// mostMarks is how many marks may stand on one letter.
const mostMarks = 2

// clean makes a text safe to be shown in a line: hosts, files and other people's servers call things what they want. Whatever moves the
// cursor, breaks the line, turns the direction of writing or is not seen becomes a sign that is seen.
func clean(s string) string {
	if plain(s) {
		return s
	}
	var b strings.Builder
	marks := 0
	for _, c := range s {
		switch {
		case unicode.In(c, unicode.Variation_Selector):
			continue
		case unicode.Is(unicode.M, c):
			if marks++; marks > mostMarks {
				continue
			}
		case unicode.IsSpace(c):
			marks, c = 0, ' '
		case !unicode.IsPrint(c):
			marks, c = 0, unicode.ReplacementChar
		default:
			marks = 0
		}
		b.WriteRune(c)
	}
	return b.String()
}

// plain tells whether a text is of visible ASCII, as nearly all are.
func plain(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c < ' ' || c > '~' }) < 0
}

// cleaned is a copy of a wire type all of whose texts are clean.
func cleaned[T any](v T) T {
	data, err := json.Marshal(v)
	if err != nil {
		var none T
		return none // what does not become JSON did not come as JSON
	}
	var into T
	_ = readClean(data, &into)
	return into
}

// readClean decodes JSON and cleans all its texts.
func readClean(data []byte, into any) error {
	numbers := json.NewDecoder(bytes.NewReader(data))
	numbers.UseNumber()
	var tree any
	if err := numbers.Decode(&tree); err != nil {
		return err
	}
	data, err := json.Marshal(cleanTree(tree))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

func cleanTree(v any) any {
	switch v := v.(type) {
	case string:
		return clean(v)
	case []any:
		for i := range v {
			v[i] = cleanTree(v[i])
		}
	case map[string]any:
		made := make(map[string]any, len(v))
		for key, value := range v {
			made[clean(key)] = cleanTree(value)
		}
		return made
	}
	return v
}
