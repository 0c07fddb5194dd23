package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/control/problem"
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

// codedError is an error with a code of its own, by which programs know it.
type codedError struct {
	code string
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// Code is what package problem puts on the wire.
func (e *codedError) Code() string { return e.code }

func withCode(code string, err error) error { return &codedError{code, err} }

func codeOf(err error) string {
	if own, ok := errors.AsType[*codedError](err); ok {
		return own.code
	}
	return ""
}

// statusOf maps an error to its HTTP status.
func statusOf(err error) int {
	if own, ok := errors.AsType[*statusError](err); ok {
		return own.status
	}
	return problem.Status(fault.KindOf(err))
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
	}
	problem.WriteStatus(w, status, err, requestID(r.Context()))
}

// orElse answers what no route matches with a problem too.
func (s *server) orElse(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.URL.RawQuery) > maxQuery {
			s.fail(w, r, withStatus(http.StatusRequestURITooLong, fault.New(fault.Invalid, "read query: it has more than %d bytes", maxQuery)))
			return
		}
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
		if s.Web != nil && ForPeople(r) {
			s.Web.ServeHTTP(w, r)
			return
		}
		s.fail(w, r, noSuchPath(w, r))
	})
}

// ForPeople tells whether a request that no route matches is one of a browser's for the console, which says itself what it does not have.
func ForPeople(r *http.Request) bool {
	for _, prefix := range []string{"/api/", "/tuf/", "/v2/"} {
		if strings.HasPrefix(r.URL.Path+"/", prefix) {
			return false
		}
	}
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// discarded takes the mux's own plain answer, of which only the headers are wanted.
type discarded struct{ header http.Header }

func (d *discarded) Header() http.Header            { return d.header }
func (d *discarded) Write(data []byte) (int, error) { return len(data), nil }
func (d *discarded) WriteHeader(int)                {}
