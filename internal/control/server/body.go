package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/resource"
)

// Limits of request bodies, in bytes, and of a page, in items.
const (
	maxDocument = resource.MaxSize
	maxPage     = 1000
	defaultPage = 100
)

// read takes in a whole body of at most limit bytes.
func read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, withStatus(http.StatusRequestEntityTooLarge,
			fault.New(fault.Invalid, "read request body: it has more than %d bytes", large.Limit))
	case err != nil:
		return nil, fault.New(fault.Invalid, "read request body: it ended early: %w", err)
	}
	return data, nil
}

// decode reads the body strictly: every mistake is reported at once, with its path.
func decode(w http.ResponseWriter, r *http.Request, into any) error {
	data, err := read(w, r, maxDocument)
	if err != nil {
		return err
	}
	if err := resource.Decode(data, into); err != nil {
		return fault.Problems("read request body", fault.ProblemsOf(err))
	}
	return nil
}

// decodeOptional is [decode], but nothing at all is what into holds already; that is checked too.
func decodeOptional(w http.ResponseWriter, r *http.Request, into resource.Checker) error {
	if r.ContentLength == 0 {
		return fault.Problems("read request body", into.Check())
	}
	return decode(w, r, into)
}

func write(w http.ResponseWriter, status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n')) // nobody is left to be told of an error
	return nil
}

func writeOK(w http.ResponseWriter, v any) error { return write(w, http.StatusOK, v) }

// writeAll answers with a whole list as one page.
func writeAll[T any](w http.ResponseWriter, items []T) error {
	if items == nil {
		items = []T{}
	}
	return writeOK(w, api.Page[T]{Items: items})
}

// pageSize reads ?limit=.
func pageSize(r *http.Request) (int, error) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPage {
		return 0, badQuery("limit", fmt.Sprintf("must be 1 to %d, is %q", maxPage, text))
	}
	return n, nil
}

func badQuery(name, message string) error {
	return fault.Problems("read query", []fault.Problem{{Path: name, Message: message}})
}

// each converts a list.
func each[A, B any](list []A, convert func(A) B) []B {
	all := make([]B, 0, len(list))
	for _, a := range list {
		all = append(all, convert(a))
	}
	return all
}
