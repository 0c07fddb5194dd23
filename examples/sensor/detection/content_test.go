package detection_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/examples/sensor/detection"
)

func TestLoadExamples(t *testing.T) {
	t.Parallel()
	for version, fields := range map[string]int{"v1": 20, "v2": 21, "v3": 20} {
		content, err := detection.Load(filepath.Join("..", "content", version))
		if err != nil {
			t.Errorf("Load(%s): %v", version, err)
			continue
		}
		if content.Fields != fields {
			t.Errorf("Load(%s).Fields: got %d, want %d", version, content.Fields, fields)
		}
	}
}

func TestLoadDigestsTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := `{"template":"ipc","fields":1,"rules":[{"name":"a","criteria":["*"]}]}`
	if err := os.WriteFile(filepath.Join(dir, detection.File), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	content, err := detection.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	const want = "sha256:2a195387b797048dea7dcc7567ba62f3bfd9ee2787b443eb4772722e894ceee1"
	if got := content.Digest; got != want {
		t.Errorf("Digest: got %s, want %s", got, want)
	}
}

func TestLoadWithoutContent(t *testing.T) {
	t.Parallel()
	_, err := detection.Load(filepath.Join(t.TempDir(), "current"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a missing directory: got %v, want fs.ErrNotExist", err)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want string }{
		"nothing":          {``, "EOF"},
		"half a document":  {`{"template":"ipc","fields":1,`, "unexpected EOF"},
		"two documents":    {`{"template":"ipc","fields":1,"rules":[{"name":"a","criteria":["*"]}]} {}`, "more after the first"},
		"an unknown field": {`{"template":"ipc","feilds":1}`, `unknown field "feilds"`},
		"another template": {`{"template":"dns","fields":1,"rules":[{"name":"a","criteria":["*"]}]}`, `template: must be "ipc", is "dns"`},
		"no rules":         {`{"template":"ipc","fields":20,"rules":[]}`, "rules: there are none"},
		"one name twice": {
			`{"template":"ipc","fields":1,"rules":[{"name":"a","criteria":["*"]},{"name":"a","criteria":["*"]}]}`,
			`rules[1].name: must be unique and not empty, is "a"`,
		},
		"fewer criteria than it says": {
			`{"template":"ipc","fields":2,"rules":[{"name":"a","criteria":["*"]}]}`,
			"rules[0].criteria: the content's definition says 2 fields, there are 1",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := detection.Parse([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Parse: got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestParseListsAllMistakes(t *testing.T) {
	t.Parallel()
	_, err := detection.Parse([]byte(`{"template":"dns","fields":2,"rules":[{"name":"","criteria":["*"]}]}`))
	if err == nil {
		t.Fatal("Parse: got no error")
	}
	if got, want := len(strings.Split(err.Error(), "\n")), 3; got != want {
		t.Errorf("mistakes: got %d, want %d:\n%v", got, want, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"template":"ipc","fields":2,"rules":[{"name":"a","criteria":["*","x"]}]}`))
	f.Add([]byte(`{"template":"ipc","fields":-1,"rules":[{"name":"a"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		content, err := detection.Parse(data)
		if err != nil {
			return
		}
		// What the strict validator passes, the sensor survives.
		if detection.Validate(content, detection.Sensor) == nil {
			event := detection.Generate(0)
			content.Match(&event)
		}
	})
}
