package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

func stored(t *testing.T) (api.Rollout, []api.Decision) {
	t.Helper()
	w := servertest.Open(t, nil)
	w.Trip("sensor-content")
	c, err := client.New(w.URL, w.Token)
	if err != nil {
		t.Fatal(err)
	}
	r, events, err := history(context.Background(), c, "ro-1")
	if err != nil {
		t.Fatal(err)
	}
	return r, events
}

// again is a copy that shares nothing with v.
func again[T any](t *testing.T, v T) T {
	t.Helper()
	var c T
	if err := json.Unmarshal(asJSON(v), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestInvariantI10ReplayGivesTheStoredState: the same events give the same state, and any tampering shows.
func TestInvariantI10ReplayGivesTheStoredState(t *testing.T) {
	t.Parallel()
	r, events := stored(t)
	if got := replayed(r, events); len(got.Differences) != 0 || got.Events != len(events) || got.Records == 0 {
		t.Errorf("replay of what is stored: %+v, want no differences", got)
	}
	for name, tamper := range map[string]func(r *api.Rollout, events []api.Decision) []api.Decision{
		"a count":        func(r *api.Rollout, e []api.Decision) []api.Decision { r.Harmed--; return e },
		"the phase":      func(r *api.Rollout, e []api.Decision) []api.Decision { r.Phase = "running"; return e },
		"a ring":         func(r *api.Rollout, e []api.Decision) []api.Decision { r.Rings[0].Confirmed++; return e },
		"the window":     func(r *api.Rollout, e []api.Decision) []api.Decision { r.Window++; return e },
		"a verdict":      func(_ *api.Rollout, e []api.Decision) []api.Decision { e[len(e)-2].Records = nil; return e },
		"a lost event":   func(_ *api.Rollout, e []api.Decision) []api.Decision { return append(e[:2:2], e[3:]...) },
		"a lost end":     func(_ *api.Rollout, e []api.Decision) []api.Decision { return e[:len(e)-1] },
		"an unknown one": func(_ *api.Rollout, e []api.Decision) []api.Decision { e[1].Event = "wished"; return e },
		"its data":       func(_ *api.Rollout, e []api.Decision) []api.Decision { e[1].Data = []byte("{"); return e },
		"what happened": func(_ *api.Rollout, e []api.Decision) []api.Decision {
			last := &e[len(e)-2]
			last.Data = []byte(strings.Replace(string(last.Data), "crashed", "confirmed", 1))
			return e
		},
	} {
		changed := again(t, r)
		altered := tamper(&changed, again(t, events))
		if got := replayed(changed, altered); len(got.Differences) == 0 {
			t.Errorf("replay after changing %s finds no difference, want one", name)
		}
	}
}

func TestGaugeBarAndWrapStayInTheirWidth(t *testing.T) {
	t.Parallel()
	plain := palette{}
	for _, e := range []float64{0, 1, 5, 20, 1e3, 1e4, 1e300} {
		if got := gauge(e, 20, 1e4); len(got) != 22 || strings.Count(got, "|") != 1 {
			t.Errorf("gauge(%g) is %q, want 20 cells in brackets with one mark", e, got)
		}
	}
	for _, r := range []api.Ring{{}, {Size: 2, Leased: 2, Crashed: 2}, {Size: 1_000_000, Leased: 3, Confirmed: 1, Silent: 1}, {Size: 1, Leased: 5, Confirmed: 5}} {
		if got := wide(bar(plain, r, barSize)); got != barSize {
			t.Errorf("bar(%+v) has %d columns, want %d", r, got, barSize)
		}
	}
	harmed := api.Ring{Size: 1_000_000, Leased: 900_000, Confirmed: 899_999, Crashed: 1}
	if !strings.Contains(bar(plain, harmed, barSize), "X") {
		t.Error("one harmed host among many is not seen in the bar")
	}
	for _, line := range wrap("waiting: ", strings.Repeat("evidence ", 40), 60) {
		if wide(line) > 60 {
			t.Errorf("a wrapped line has %d columns, want at most 60: %s", wide(line), line)
		}
	}
}

func TestFieldsSplitsLikeAShell(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                         "",
		"  true ":                  "true",
		"sensor validate {dir}":    "sensor|validate|{dir}",
		`"a b" 'c "d"' e"f g"h ''`: `a b|c "d"|ef gh|`,
	} {
		got, err := fields(text)
		if err != nil || strings.Join(got, "|") != want {
			t.Errorf("fields(%q): got %q, %v, want %q", text, strings.Join(got, "|"), err, want)
		}
	}
	if _, err := fields(`a "b`); err == nil {
		t.Error("an open quote is accepted, want an error")
	}
}

func TestDocumentedFilesAreValid(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "plans.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)
	for _, block := range blocks {
		docs, problems := documents("docs/plans.md", block[1])
		if len(docs) != 1 || len(problems) > 0 {
			t.Errorf("%s\ngot %v, want one valid document", block[1], problems)
		}
	}
	if len(blocks) < 2 {
		t.Errorf("got %d documents, want at least a plan and freezes", len(blocks))
	}
}

func FuzzDocuments(f *testing.F) {
	f.Add("kind: Plan\nspec: {name: a}\n---\nkind: Component\nspec: {name: b, kind: content}\n...\n")
	f.Add("--- {kind: Plan}\n---\n# nothing\n---x\n")
	f.Fuzz(func(t *testing.T, text string) {
		docs, problems := documents("f.yaml", []byte(text))
		if len(docs)+len(problems) == 0 {
			t.Errorf("%q gives neither documents nor problems", text)
		}
		for _, d := range docs {
			if parts := []bool{d.plan != nil, d.component != nil, d.freezes != nil}; strings.Count(fmt.Sprint(parts), "true") != 1 {
				t.Errorf("%q gives a document that is not exactly one thing", text)
			}
		}
	})
}
