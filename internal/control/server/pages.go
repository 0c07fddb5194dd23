package server

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/firebreak-dev/firebreak/api"
)

// Limits of a page, in items.
const (
	maxPage     = 1000
	defaultPage = 100
)

// pageSize reads ?limit=.
func pageSize(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPage {
		return 0, badQuery("limit", fmt.Sprintf("must be 1 to %d, is %q", maxPage, shorten(text)))
	}
	return n, nil
}

// writeAll answers with a whole list as one page.
func writeAll[T any](w http.ResponseWriter, items []T) error {
	if items == nil {
		items = []T{}
	}
	return writeOK(w, api.Page[T]{Items: items})
}

// place is where a page ends, as next says it: the sort key of its last item. Callers see it as an opaque word.
type place []any

func (p place) String() string {
	data, _ := json.Marshal([]any(p)) // text and numbers
	return base64.RawURLEncoding.EncodeToString(data)
}

// behind reads ?after= into the parts of a sort key. Without it they stay as they are.
func behind(r *http.Request, parts ...any) error {
	word := r.URL.Query().Get("after")
	if word == "" {
		return nil
	}
	err := unplace(word, parts)
	if err != nil {
		return badQuery("after", fmt.Sprintf("must be next of the page before, is %q", shorten(word)))
	}
	return nil
}

func unplace(word string, parts []any) error {
	data, err := base64.RawURLEncoding.DecodeString(word)
	if err != nil {
		return err
	}
	var said []json.RawMessage
	if err := json.Unmarshal(data, &said); err != nil {
		return err
	}
	if len(said) != len(parts) {
		return fmt.Errorf("it has %d parts", len(said))
	}
	for i := range parts {
		if err := json.Unmarshal(said[i], parts[i]); err != nil {
			return err
		}
	}
	return nil
}

// page reads one item more than fits to know whether anything follows.
func page[A, B any](w http.ResponseWriter, r *http.Request, fetch func(limit int) ([]A, error), at func(A) place, convert func(A) (B, error)) error {
	limit, err := pageSize(r)
	if err != nil {
		return err
	}
	rows, err := fetch(limit + 1)
	if err != nil {
		return err
	}
	answer := api.Page[B]{Items: []B{}}
	if len(rows) > limit {
		rows = rows[:limit]
		answer.Next = at(rows[limit-1]).String()
	}
	for _, row := range rows {
		item, err := convert(row)
		if err != nil {
			return err
		}
		answer.Items = append(answer.Items, item)
	}
	return writeOK(w, answer)
}

// pageOf is a page of a list that is whole in memory, in the order of names.
func pageOf[A, B any](w http.ResponseWriter, r *http.Request, all []A, name func(A) string, convert func(A) (B, error)) error {
	after := ""
	if err := behind(r, &after); err != nil {
		return err
	}
	fetch := func(limit int) ([]A, error) {
		var rest []A
		for _, a := range all {
			if name(a) > after && len(rest) < limit {
				rest = append(rest, a)
			}
		}
		return rest, nil
	}
	return page(w, r, fetch, func(a A) place { return place{name(a)} }, convert)
}

// sure is a conversion that cannot fail.
func sure[A, B any](convert func(A) B) func(A) (B, error) {
	return func(a A) (B, error) { return convert(a), nil }
}
