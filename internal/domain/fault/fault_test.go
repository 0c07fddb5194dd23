package fault_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func TestKindsSurviveWrapping(t *testing.T) {
	t.Parallel()
	denied := fault.New(fault.Denied, "open lease: it is for another host")
	for name, test := range map[string]struct {
		err  error
		want fault.Kind
	}{
		"nothing":           {nil, fault.Internal},
		"a foreign error":   {errors.New("disk on fire"), fault.Internal},
		"a fault":           {denied, fault.Denied},
		"wrapped":           {fmt.Errorf("activate: %w", denied), fault.Denied},
		"outermost wins":    {fault.New(fault.Unavailable, "ask again: %w", denied), fault.Unavailable},
		"joined":            {errors.Join(errors.New("first"), denied), fault.Denied},
		"without a kind":    {&fault.Error{Message: "half built"}, fault.Internal},
		"a list of mistake": {fault.Problems("check plan", []fault.Problem{{Message: "is empty"}}), fault.Invalid},
	} {
		if got := fault.KindOf(test.err); got != test.want {
			t.Errorf("%s: got kind %s, want %s", name, got, test.want)
		}
	}
}

func TestCause(t *testing.T) {
	t.Parallel()
	err := fault.New(fault.NotFound, "open artifact %s: %w", "sha256:12", fs.ErrNotExist)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v has lost its cause", err)
	}
	if got, want := err.Error(), "open artifact sha256:12: file does not exist"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if fault.New(fault.Internal, "no cause").Unwrap() != nil {
		t.Error("got a cause where there was none")
	}
}

func TestHint(t *testing.T) {
	t.Parallel()
	plain := fault.New(fault.Conflict, "start rollout: one is running")
	hinted := plain.Hint("Halt %s first.", "r1")
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"nothing":         {nil, ""},
		"foreign":         {errors.New("x"), ""},
		"none":            {plain, ""},
		"hinted":          {hinted, "Halt r1 first."},
		"wrapped":         {fmt.Errorf("serve: %w", hinted), "Halt r1 first."},
		"inner":           {fault.New(fault.Internal, "serve: %w", hinted), "Halt r1 first."},
		"outermost wins":  {fault.New(fault.Internal, "serve: %w", hinted).Hint("Look at the log."), "Look at the log."},
		"hint and no end": {fault.New(fault.Internal, "serve: %w", errors.New("x")), ""},
	} {
		if got := fault.NextOf(test.err); got != test.want {
			t.Errorf("%s: got next step %q, want %q", name, got, test.want)
		}
	}
	if plain.Next != "" {
		t.Errorf("got %q: Hint changed the error it copied", plain.Next)
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	if err := fault.Problems("check plan", nil); err != nil {
		t.Errorf("got %v of no problems, want nil", err)
	}
	one := []fault.Problem{{Path: "rings[1].hosts", Message: "must grow"}}
	two := append(one[:1:1], fault.Problem{Path: "name", Message: "is missing", Line: 3}, fault.Problem{Message: "is empty"},
		fault.Problem{Message: "has a tab", Line: 7})
	for want, problems := range map[string][]fault.Problem{
		"check plan: rings[1].hosts: must grow": one,
		"check plan: 4 problems\n  rings[1].hosts: must grow\n  line 3 name: is missing\n  is empty\n  line 7: has a tab": two,
	} {
		err := fault.Problems("check plan", problems)
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
		if diff := cmp.Diff(problems, fault.ProblemsOf(fmt.Errorf("apply: %w", err))); diff != "" {
			t.Errorf("problems differ (-want +got):\n%s", diff)
		}
	}
	if got := fault.ProblemsOf(errors.New("x")); got != nil {
		t.Errorf("got problems %v of a foreign error", got)
	}
}
