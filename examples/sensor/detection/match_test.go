package detection_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/examples/sensor/detection"
)

// criteria makes n of them: wildcards but for those given by their 1-based place.
func criteria(n int, literals map[int]string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = detection.Wildcard
	}
	for place, literal := range literals {
		all[place-1] = literal
	}
	return all
}

func contentOf(fields int, rules ...detection.Rule) *detection.Content {
	return &detection.Content{Template: "ipc", Fields: fields, Rules: rules}
}

func TestMatch(t *testing.T) {
	t.Parallel()
	event := detection.Event{0: "pipe", 19: "last"}
	content := contentOf(20,
		detection.Rule{Name: "all wildcards", Criteria: criteria(20, nil)},
		detection.Rule{Name: "first and last", Criteria: criteria(20, map[int]string{1: "pipe", 20: "last"})},
		detection.Rule{Name: "one of two", Criteria: criteria(20, map[int]string{1: "pipe", 20: "other"})},
		detection.Rule{Name: "an empty literal", Criteria: criteria(20, map[int]string{2: ""})},
		detection.Rule{Name: "a prefix", Criteria: criteria(20, map[int]string{1: "pip"})},
	)
	want := []string{"all wildcards", "first and last", "an empty literal"}
	if diff := cmp.Diff(want, content.Match(&event)); diff != "" {
		t.Errorf("Match (-want +got):\n%s", diff)
	}
}

func TestMatchSkipsAWildcardBeyondTheInputs(t *testing.T) {
	t.Parallel()
	event := detection.Generate(0)
	content := contentOf(21, detection.Rule{Name: "harmless", Criteria: criteria(21, nil)})
	if diff := cmp.Diff([]string{"harmless"}, content.Match(&event)); diff != "" {
		t.Errorf("Match (-want +got):\n%s", diff)
	}
}

func TestMatchDiesOfALiteralBeyondTheInputs(t *testing.T) {
	t.Parallel()
	tests := map[string]map[int]string{
		"whatever the event": {21: "remote"},
		"after a mismatch":   {1: "not this", 21: "remote"},
	}
	for name, literals := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				const want = "index out of range [20] with length 20"
				if got := fmt.Sprint(recover()); !strings.Contains(got, want) {
					t.Errorf("panic: got %s, want %s", got, want)
				}
			}()
			event := detection.Generate(0)
			contentOf(21, detection.Rule{Name: "fatal", Criteria: criteria(21, literals)}).Match(&event)
		})
	}
}

func TestGenerateIsRepeatable(t *testing.T) {
	t.Parallel()
	for n := range uint64(100) {
		if diff := cmp.Diff(detection.Generate(n), detection.Generate(n)); diff != "" {
			t.Errorf("Generate(%d) twice:\n%s", n, diff)
		}
	}
}

func TestGenerateHasAttacksThatTheGoodContentDetects(t *testing.T) {
	t.Parallel()
	content, err := detection.Load("../content/v1")
	if err != nil {
		t.Fatal(err)
	}
	fired := 0
	for n := range uint64(500) {
		event := detection.Generate(n)
		if len(content.Match(&event)) > 0 {
			fired++
		}
	}
	if fired != 10 {
		t.Errorf("attacks among 500 events: got %d, want 10", fired)
	}
}
