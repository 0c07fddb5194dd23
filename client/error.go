package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
)

// Kind classifies an error for whoever must react to it.
type Kind string

// The kinds.
const (
	Internal    Kind = "internal"    // the server's fault; its log has the details under Error.Request
	Invalid     Kind = "invalid"     // the input is wrong; Problems says where
	NotFound    Kind = "not_found"   // no such thing
	Conflict    Kind = "conflict"    // the thing is not in a state that allows this
	Denied      Kind = "denied"      // no valid token, or not allowed
	Unavailable Kind = "unavailable" // not reachable, or too busy: try again later
)

// Error is what every method returns when something went wrong.
type Error struct {
	Kind     Kind
	Status   int    // HTTP status; 0 if there was no answer
	Message  string // what was being done, to what, and why it failed
	Next     string // the next step; may be empty
	Problems []api.FieldProblem
	Request  string // the server's id of the request; may be empty
	// RetryAfter is when the server asks to be asked again; 0 if it does not.
	RetryAfter time.Duration
	Err        error // cause on this side; may be nil
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.Path + ": " + p.Message)
	}
	return b.String()
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// KindOf tells the kind of the first [*Error] in err's chain; an error without one is Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// statusOf tells the HTTP status of the first [*Error] in err's chain, or 0.
func statusOf(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Status
	}
	return 0
}

// unreachable is a request that got no answer.
func (c *Client) unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("ask %s: %w", c.base.Host, ctx.Err())
	}
	return &Error{
		Kind: Unavailable, Message: "reach the control plane at " + c.base.String(), Err: root(err),
		Next: "Check that it runs (firebreak serve) and that --server or FIREBREAK_SERVER names it.",
	}
}

// root leaves out the URL that net/http puts round its errors: it is in the message already.
func root(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

const maxProblem = 1 << 20 // bytes

// refusal reads an answer that is no success.
func refusal(k call, answer *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(answer.Body, maxProblem)) // what there is of it
	e := &Error{Status: answer.StatusCode, Kind: kindOf(answer.StatusCode), Request: answer.Header.Get("X-Request-Id")}
	e.RetryAfter = retryAfter(answer.Header)
	var p api.Problem
	if strings.HasPrefix(answer.Header.Get("Content-Type"), api.ProblemType) && json.Unmarshal(data, &p) == nil {
		e.Message, e.Next, e.Problems = p.Detail, p.Next, p.Problems
		if kind, ok := strings.CutPrefix(p.Type, "urn:firebreak:"); ok {
			e.Kind = Kind(kind)
		}
	}
	if e.Message == "" {
		e.Message = fmt.Sprintf("%s %s: the server answered %s", k.method, k.path, answer.Status)
	}
	return e
}

// retryAfter reads Retry-After, in seconds or as a date by the server's own clock.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	now, errNow := http.ParseTime(h.Get("Date"))
	if err != nil || errNow != nil {
		return 0
	}
	return max(0, at.Sub(now))
}

func kindOf(status int) Kind {
	switch status {
	case http.StatusNotFound:
		return NotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return Conflict
	case http.StatusUnauthorized, http.StatusForbidden:
		return Denied
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return Unavailable
	}
	if status >= 400 && status < 500 {
		return Invalid
	}
	return Internal
}
