package server_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

// blocks are the code blocks of a page in one language.
func blocks(t *testing.T, page, language string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, match := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		all = append(all, match[1])
	}
	if len(all) == 0 {
		t.Fatalf("%s has no %s", page, language)
	}
	return all
}

const apiPage = "../../../docs/api.md"

// Every command of the page is carried out, and its answer has what the line below it says.
func TestTheExamplesOfThePageRun(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl")
	}
	w := servertest.Open(t, nil)
	w.Publish("sensor-content", "2")
	w.Join(10, "sensor-content")
	for _, block := range blocks(t, apiPage, "sh") {
		for step := range strings.SplitSeq(block, "\ncurl ") {
			command, want, ok := strings.Cut(step, "\n#> ")
			if !ok {
				t.Fatalf("%s: nothing says what it answers", step)
			}
			sh := exec.CommandContext(t.Context(), "sh", "-c", "curl "+strings.TrimPrefix(command, "curl "))
			sh.Env = append(os.Environ(), "FIREBREAK_SERVER="+w.URL, "FIREBREAK_TOKEN="+w.Token)
			out, err := sh.CombinedOutput()
			if want = strings.TrimSpace(want); err != nil || !strings.Contains(string(out), want) {
				t.Errorf("%s: got %v:\n%s\nwant %s in it", command, err, out, want)
			}
		}
	}
}

// The Go of the page is that of an example, which runs.
func TestTheGoOfThePageIsAnExample(t *testing.T) {
	t.Parallel()
	examples, err := os.ReadFile("../../../client/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range blocks(t, apiPage, "go") {
		if !strings.Contains(string(examples), block) {
			t.Errorf("no example has:\n%s", block)
		}
	}
}
