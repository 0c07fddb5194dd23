package detection_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/examples/sensor/detection"
)

func TestValidateExamples(t *testing.T) {
	t.Parallel()
	tests := []struct {
		version string
		source  detection.Source
		want    string // part of the error; "" passes
	}{
		{"v1", detection.Sensor, ""},
		{"v1", detection.Definition, ""},
		{"v2", detection.Sensor, `criterion 21 ("remote") would be read beyond them`},
		{"v2", detection.Definition, ""}, // as on the day
		{"v3", detection.Sensor, ""},
		{"v3", detection.Definition, ""},
	}
	for _, test := range tests {
		content, err := detection.Load(filepath.Join("..", "content", test.version))
		if err != nil {
			t.Fatal(err)
		}
		err = detection.Validate(content, test.source)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("Validate(%s, %d): got %v, want %q", test.version, test.source, err, test.want)
		}
	}
}

func TestValidateCountsTheSensorsInputs(t *testing.T) {
	t.Parallel()
	for _, fields := range []int{0, 19, 21} {
		content := contentOf(fields, detection.Rule{Name: "odd", Criteria: criteria(fields, nil)})
		if err := detection.Validate(content, detection.Sensor); err == nil {
			t.Errorf("Validate of %d fields, all wildcards: got no error", fields)
		}
		if err := detection.Validate(content, detection.Definition); err != nil {
			t.Errorf("Validate of %d fields, trusting the definition: got %v, want none", fields, err)
		}
	}
}

func TestValidateTriesALiteralInEveryField(t *testing.T) {
	t.Parallel()
	for place := 1; place <= detection.Inputs; place++ {
		rule := detection.Rule{Name: "one", Criteria: criteria(detection.Inputs, map[int]string{place: "x"})}
		if err := detection.Validate(contentOf(detection.Inputs, rule), detection.Sensor); err != nil {
			t.Errorf("Validate with a literal in field %d: %v", place, err)
		}
	}
}

func TestValidateListsEveryDefectiveRule(t *testing.T) {
	t.Parallel()
	content := contentOf(21,
		detection.Rule{Name: "a", Criteria: criteria(21, nil)},
		detection.Rule{Name: "b", Criteria: criteria(20, nil)},
		detection.Rule{Name: "c", Criteria: criteria(21, map[int]string{21: "x"})},
	)
	err := detection.Validate(content, detection.Sensor)
	if err == nil || strings.Count(err.Error(), "rules[") != 2 {
		t.Errorf("Validate: got %v, want two rules named", err)
	}
}
