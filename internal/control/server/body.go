package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/resource"
)

// Limits of requests, in bytes.
const (
	maxDocument = resource.MaxSize
	maxQuery    = 8 << 10
)

// bodyTime is how long a document may take to arrive.
const bodyTime = 20 * time.Second

// receive reads the whole body before anything is done: a slow sender keeps nothing waiting but himself, and is cut off.
func (s *server) receive(t route, next http.Handler) http.Handler {
	limit := t.limit
	if limit == 0 {
		limit = maxDocument
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, err := s.read(w, r, limit)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		deedOf(r.Context()).look(data)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
		next.ServeHTTP(w, r)
	})
}

// read takes in a whole body of at most limit bytes from the connection.
func (s *server) read(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	connection := http.NewResponseController(w)
	_ = connection.SetReadDeadline(clock.Wall{}.Now().Add(s.BodyTime)) // a writer without a connection is a test's
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, withStatus(http.StatusRequestEntityTooLarge,
			fault.New(fault.Invalid, "read request body: it has more than %d bytes", large.Limit))
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, withStatus(http.StatusRequestTimeout, fault.New(fault.Unavailable, "read request body: it did not come within %s", s.BodyTime))
	case err != nil:
		return nil, fault.New(fault.Invalid, "read request body: it ended early: %w", err)
	}
	_ = connection.SetReadDeadline(time.Time{})
	return data, nil
}

// whole is the body of a route that receives it.
func whole(r *http.Request) ([]byte, error) {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	return data, nil
}

// decode reads the body strictly: every mistake is reported at once, with its path.
func decode(_ http.ResponseWriter, r *http.Request, into any) error {
	data, err := whole(r)
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
	data, err := encode(v)
	if err != nil {
		return err
	}
	send(w, status, data)
	return nil
}

func encode(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return append(data, '\n'), nil
}

func send(w http.ResponseWriter, status int, data []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data) //nolint:gosec // JSON that nobody sniffs; nobody is left to be told of an error
}

func writeOK(w http.ResponseWriter, v any) error { return write(w, http.StatusOK, v) }

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
