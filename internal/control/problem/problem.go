// Package problem turns errors into RFC 9457 answers, in the one place where kinds meet HTTP statuses.
package problem

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Status is the HTTP status of a kind.
func Status(k fault.Kind) int {
	switch k {
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

// Write answers with err as a problem. What is our own fault is not told to strangers: the caller logs it under the request's id.
func Write(w http.ResponseWriter, err error, request string) {
	WriteStatus(w, Status(fault.KindOf(err)), err, request)
}

// WriteStatus is Write with a status of its own, where the kind's is too coarse.
func WriteStatus(w http.ResponseWriter, status int, err error, request string) {
	if status == http.StatusInternalServerError {
		err = fault.New(fault.Internal, "internal error")
	}
	kind := fault.KindOf(err)
	p := api.Problem{
		Type: "urn:firebreak:" + string(kind), Title: strings.ReplaceAll(string(kind), "_", " "), Status: status,
		Detail: message(err), Next: fault.NextOf(err), Request: request,
	}
	if request != "" {
		p.Instance = "urn:firebreak:request:" + request
	}
	if e := lister(err); e != nil {
		p.Problems = Fields(e.Problems)
	}
	if c, ok := errors.AsType[coder](err); ok {
		p.Code = c.Code()
	}
	data, encodeErr := json.Marshal(p)
	if encodeErr != nil {
		data = []byte(`{"title":"internal"}`)
	}
	header := w.Header()
	for _, stale := range []string{"Content-Length", "Content-Range", "ETag", "Last-Modified"} {
		header.Del(stale)
	}
	if status == http.StatusServiceUnavailable && header.Get("Retry-After") == "" {
		header.Set("Retry-After", "1")
	}
	data = append(data, '\n')
	header.Set("Content-Type", api.ProblemType)
	header.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// coder is an error that programs can tell from others of its kind.
type coder interface {
	error
	Code() string
}

// Fields puts mistakes on the wire.
func Fields(problems []fault.Problem) []api.FieldProblem {
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
