package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

// Every list comes whole in pages of one, each item once, while others are added in front, in between and behind.
func TestPagesAreWholeWhateverIsAdded(t *testing.T) {
	t.Parallel()
	w := servertest.Open(t, nil)
	w.Trip("sensor-content")
	for _, name := range []string{"b", "d", "f"} {
		w.Publish("component-"+name, "1")
		w.Publish("component-"+name, "2")
		w.Do("POST", "/api/v1/rollouts", `{"component":"component-`+name+`","version":"1"}`)
		w.Do("POST", "/api/v1/tokens", `{"kind":"join"}`)
		w.Do("PUT", "/api/v1/plans/plan-"+name, `{"rings":[{"name":"a","hosts":2},{"name":"b","share":1}]}`)
	}
	for i, path := range []string{
		"/api/v1/tokens?", "/api/v1/components?", "/api/v1/plans?", "/api/v1/releases?", "/api/v1/releases?component=component-d&", "/api/v1/rollouts?",
		"/api/v1/rollouts/ro-1/leases?", "/api/v1/rollouts/ro-1/events?", "/api/v1/incidents?", "/api/v1/endpoints?", "/api/v1/endpoints?select=os=linux&",
	} {
		list := func(query string) (page api.Page[json.RawMessage]) {
			t.Helper()
			answer, text := w.Do("GET", path+query, "")
			if err := json.Unmarshal([]byte(text), &page); err != nil || answer.StatusCode != http.StatusOK {
				t.Fatalf("GET %s%s: got %d %s", path, query, answer.StatusCode, text)
			}
			return page
		}
		want := texts(list("limit=1000").Items)
		if len(want) == 0 {
			t.Errorf("%s: the list is empty, so this shows nothing", path)
		}
		var got []string
		for next := ""; ; {
			page := list("limit=1&after=" + next)
			got = append(got, texts(page.Items)...)
			if next = page.Next; next == "" || len(got) > 1000 {
				break
			}
			if len(got) == 1 { // in front of the place, and behind it
				for _, name := range []string{"a", "z"} {
					w.Publish(fmt.Sprintf("%s-%d", name, i), "1")
					w.Join(1, "other")
				}
			}
		}
		after := texts(list("limit=1000").Items)
		if len(slices.Compact(slices.Sorted(slices.Values(got)))) != len(got) {
			t.Errorf("%s: got an item twice:\n%s", path, cmp.Diff(after, got))
		}
		for _, item := range want {
			if !slices.Contains(got, item) {
				t.Errorf("%s: %s was left out", path, item)
			}
		}
	}
}

func texts(items []json.RawMessage) []string {
	var all []string
	for _, item := range items {
		all = append(all, string(item))
	}
	return all
}
