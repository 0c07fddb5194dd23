package cli

import (
	"errors"
	"fmt"
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

// complain tells a person about an error: what, every mistake of an input, and what to do next.
func (p *program) complain(err error) {
	style := p.styleOf(p.Err)
	message, problems := err.Error(), []fault.Problem(nil)
	var lister *fault.Error
	for inner := err; errors.As(inner, &lister); inner = lister.Err {
		if len(lister.Problems) > 0 {
			problems = lister.Problems
			message = strings.Replace(message, lister.Error(), lister.Message, 1)
			break
		}
	}
	_, _ = fmt.Fprintln(p.Err, style.red("error:"), message)
	for _, problem := range problems {
		_, _ = fmt.Fprintln(p.Err, "  "+problem.String())
	}
	if next := fault.NextOf(err); next != "" {
		_, _ = fmt.Fprintln(p.Err, style.bold("next:"), next)
	}
}
