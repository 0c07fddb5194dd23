package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// asFault gives errors of the client the kinds of the house, so that the rest needs to know only one sort.
func asFault(err error) error {
	var e *client.Error
	if !errors.As(err, &e) {
		return err
	}
	f := &fault.Error{Kind: fault.Kind(e.Kind), Message: e.Message, Next: e.Next, Err: e.Err}
	if e.Err != nil {
		f.Message += ": " + e.Err.Error()
	}
	if e.Kind == client.Internal && e.Request != "" {
		f.Next = fmt.Sprintf("The server's log has the details under request %s.", e.Request)
	}
	for _, p := range e.Problems {
		f.Problems = append(f.Problems, fault.Problem{Path: p.Path, Message: p.Message, Line: p.Line})
	}
	if prefix, wrapped := strings.CutSuffix(err.Error(), e.Error()); wrapped && prefix != "" {
		f.Message = prefix + f.Message
	}
	return f
}

func codeOf(err error) int {
	switch fault.KindOf(err) {
	case fault.Invalid:
		return ExitUsage
	case fault.NotFound:
		return ExitNotFound
	case fault.Conflict:
		return ExitConflict
	case fault.Denied:
		return ExitDenied
	case fault.Unavailable:
		return ExitUnavailable
	case fault.Internal:
	}
	return ExitFailed
}

// hinted adds a next step to an error of a kind that has none.
func hinted(err error, kind fault.Kind, format string, args ...any) error {
	err = asFault(err)
	if err == nil || fault.KindOf(err) != kind || fault.NextOf(err) != "" {
		return err
	}
	problems := fault.ProblemsOf(err)
	if len(problems) > 0 {
		return err
	}
	return fault.New(kind, "%w", err).Hint(format, args...)
}

// failure is an error as --json prints it.
type failure struct {
	Kind     fault.Kind      `json:"kind"`
	Message  string          `json:"message"`
	Next     string          `json:"next,omitempty"`
	Problems []fault.Problem `json:"problems,omitempty"`
}

// complain tells about an error as the output is wanted: for people, or as JSON.
func (p *program) complain(err error) {
	message, problems := apart(err)
	if p.json || slices.Contains(p.Args, "--json") {
		encoder := json.NewEncoder(p.Err)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(map[string]failure{"error": {fault.KindOf(err), message, fault.NextOf(err), problems}})
		return
	}
	p.complainTo(message, problems, fault.NextOf(err))
}

// apart takes the list of problems out of an error's message.
func apart(err error) (string, []fault.Problem) {
	message := err.Error()
	var lister *fault.Error
	for inner := err; errors.As(inner, &lister); inner = lister.Err {
		if len(lister.Problems) > 0 {
			return strings.Replace(message, lister.Error(), lister.Message, 1), lister.Problems
		}
	}
	return message, nil
}

// complainTo tells a person about an error: what, every mistake of an input, and what to do next.
func (p *program) complainTo(message string, problems []fault.Problem, next string) {
	style := p.styleOf(p.Err)
	_, _ = fmt.Fprintln(p.Err, style.red("error:"), message)
	for _, problem := range problems {
		_, _ = fmt.Fprintln(p.Err, "  "+problem.String())
	}
	if next != "" {
		_, _ = fmt.Fprintln(p.Err, style.bold("next:"), next)
	}
}
