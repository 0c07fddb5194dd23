// Package fault is the closed list of error kinds that cross package and process boundaries.
//
// An error that reaches a person says four things: what was being done, to what, why it failed and what to do next.
// The first three are the message, built up by wrapping; the last is [Error.Next]. Invalid input lists all of its
// mistakes at once, each with its path.
package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Kind classifies an error for whoever must react to it. The zero value is Internal.
type Kind string

// The kinds. A server maps each to one HTTP status, a client maps it back.
const (
	Internal    Kind = "internal"    // our fault; details stay in the log
	Invalid     Kind = "invalid"     // the input is wrong; Problems says where
	NotFound    Kind = "not_found"   // no such thing
	Conflict    Kind = "conflict"    // the thing is not in a state that allows this
	Denied      Kind = "denied"      // not signed, not allowed, not yours
	Unavailable Kind = "unavailable" // try again later
)

// Problem is one mistake in an input document.
type Problem struct {
	Path    string `json:"path"`           // where, as in "rings[2].hosts"; empty for the whole document
	Message string `json:"message"`        // what is wrong and what would be right
	Line    int    `json:"line,omitempty"` // 1-based line of the document, 0 if unknown
}

func (p Problem) String() string {
	where := p.Path
	if p.Line > 0 {
		where = strings.TrimSpace(fmt.Sprintf("line %d %s", p.Line, p.Path))
	}
	if where == "" {
		return p.Message
	}
	return where + ": " + p.Message
}

// Error is an error with a kind. Build it with [New] or [Problems]; New wraps the cause given for %w.
type Error struct {
	Kind     Kind
	Message  string
	Next     string // the next step for the reader, an imperative sentence; may be empty
	Problems []Problem
	Err      error // cause; may be nil
}

// New makes an error of a kind. The message is lower case and says what was being done, to what, and why it failed.
func New(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Kind: kind, Message: err.Error()}
	var several interface{ Unwrap() []error }
	if errors.Unwrap(err) != nil || errors.As(err, &several) {
		e.Err = err
	}
	return e
}

// Problems makes an Invalid error that lists every mistake found in subject, or nil if there is none.
func Problems(subject string, problems []Problem) error {
	if len(problems) == 0 {
		return nil
	}
	return &Error{Kind: Invalid, Message: subject, Problems: problems}
}

// Hint returns a copy of e with the next step set.
func (e *Error) Hint(format string, args ...any) *Error {
	c := *e
	c.Next = fmt.Sprintf(format, args...)
	return &c
}

func (e *Error) Error() string {
	if len(e.Problems) == 0 {
		return e.Message
	}
	if len(e.Problems) == 1 {
		return e.Message + ": " + e.Problems[0].String()
	}
	lines := make([]string, 0, len(e.Problems)+1)
	lines = append(lines, fmt.Sprintf("%s: %d problems", e.Message, len(e.Problems)))
	for _, p := range e.Problems {
		lines = append(lines, "  "+p.String())
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the cause to errors.Is and errors.As.
func (e *Error) Unwrap() error { return e.Err }

// KindOf tells the kind of the outermost fault in err's chain; an error without one is Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) && e.Kind != "" {
		return e.Kind
	}
	return Internal
}

// NextOf tells the next step that the outermost fault with one recommends, or "".
func NextOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Next != "" {
			return e.Next
		}
		err = e.Err
	}
	return ""
}

// ProblemsOf returns the mistakes listed by the outermost fault in err's chain.
func ProblemsOf(err error) []Problem {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Problems
	}
	return nil
}
