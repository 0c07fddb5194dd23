package server

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// statusError is an error with an HTTP status of its own, where the kind's is too coarse.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func withStatus(status int, err error) error { return &statusError{status, err} }

func internalError() error { return fault.New(fault.Internal, "internal error") }

// statusOf maps an error to its HTTP status.
func statusOf(err error) int {
	if own, ok := errors.AsType[*statusError](err); ok {
		return own.status
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		return http.StatusBadRequest
	case fault.NotFound:
		return http.StatusNotFound
	case fault.Conflict:
		return http.StatusConflict
	case fault.Denied:
		return http.StatusForbidden
	case fault.Unavailable:
		return http.StatusServiceUnavailable
	case fault.Internal:
	}
	return http.StatusInternalServerError
}

// reply turns a handler into an http.Handler.
func (s *server) reply(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			s.fail(w, r, err)
		}
	})
}

// fail answers with a problem. What is our own fault is logged here, once, and not told.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		err = fault.New(fault.Unavailable, "the request was given up")
	}
	status := statusOf(err)
	if status == http.StatusInternalServerError {
		s.Log.ErrorContext(r.Context(), "request failed", slog.String("request_id", requestID(r.Context())),
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.String("error", err.Error()))
		err = internalError()
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	s.writeProblem(w, r, status, err)
}

func (s *server) writeProblem(w http.ResponseWriter, r *http.Request, status int, err error) {
	kind := fault.KindOf(err)
	p := api.Problem{
		Type: "urn:firebreak:" + string(kind), Title: strings.ReplaceAll(string(kind), "_", " "), Status: status,
		Detail: message(err), Next: fault.NextOf(err), Request: requestID(r.Context()), Problems: problemsOf(err),
	}
	data, err := json.Marshal(p)
	if err != nil {
		data = []byte(`{"title":"internal"}`)
	}
	header := w.Header()
	for _, stale := range []string{"Content-Length", "Content-Range", "ETag", "Last-Modified"} {
		header.Del(stale)
	}
	header.Set("Content-Type", api.ProblemType)
	w.WriteHeader(status)
	_, _ = w.Write(append(data, '\n'))
}

// lister finds the innermost fault that lists mistakes.
func lister(err error) *fault.Error {
	var e *fault.Error
	for errors.As(err, &e) && len(e.Problems) == 0 {
		err = e.Err
	}
	if e == nil || len(e.Problems) == 0 {
		return nil
	}
	return e
}

func problemsOf(err error) []api.FieldProblem {
	e := lister(err)
	if e == nil {
		return nil
	}
	return fieldProblems(e.Problems)
}

func fieldProblems(problems []fault.Problem) []api.FieldProblem {
	all := make([]api.FieldProblem, len(problems))
	for i, p := range problems {
		all[i] = api.FieldProblem{Path: p.Path, Message: p.Message, Line: p.Line}
	}
	return all
}

// message is the error's text without the list of mistakes, which travels by itself.
func message(err error) string {
	if e := lister(err); e != nil {
		return strings.Replace(err.Error(), e.Error(), e.Message, 1)
	}
	return err.Error()
}

// orElse answers what no route matches with a problem too.
func (s *server) orElse(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, pattern := mux.Handler(r)
		if pattern != "" {
			mux.ServeHTTP(w, r) // again through the mux: it fills in the path's values
			return
		}
		answer := &discarded{header: http.Header{}}
		h.ServeHTTP(answer, r)
		if allow := answer.header.Get("Allow"); allow != "" {
			w.Header().Set("Allow", allow)
			s.fail(w, r, withStatus(http.StatusMethodNotAllowed,
				fault.New(fault.Invalid, "%s %s: the method is not allowed; use %s", r.Method, r.URL.Path, allow)))
			return
		}
		s.fail(w, r, fault.New(fault.NotFound, "%s %s: there is no such path", r.Method, r.URL.Path))
	})
}

// discarded takes the mux's own plain answer, of which only the headers are wanted.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header            { return d.header }
func (d *discarded) Write(data []byte) (int, error) { return len(data), nil }
func (d *discarded) WriteHeader(int)                {}
