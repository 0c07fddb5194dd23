package server_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

// request is one line of a transcript.
type request struct{ method, path, body string }

// TestTranscripts compares what the port says, word for word, with what it said before.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	for name, c := range conversations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := servertest.Open(t, nil)
			if c.before != nil {
				c.before(w)
			}
			d := descriptionOf(t, w)
			var got strings.Builder
			for _, r := range c.requests {
				answer, body := w.Do(r.method, r.path, strings.ReplaceAll(r.body, "SECRET", w.Token))
				fmt.Fprintf(&got, ">>> %s %s %s\n%d %s\n%s\n", r.method, r.path, r.body, answer.StatusCode, answer.Header.Get("Content-Type"), pretty(body))
				d.describes(t, r, answer, body)
			}
			golden(t, "testdata/"+name+".golden", steady(got.String()))
		})
	}
}

// conversation is requests to a world that was prepared for them.
type conversation struct {
	before   func(w *servertest.World)
	requests []request
}

func conversations() map[string]conversation {
	return map[string]conversation{
		"tokens": {nil, []request{
			{"POST", "/api/v1/tokens", `{"kind":"join"}`},
			{"POST", "/api/v1/tokens", `{"kind":"join","tenant":"acme","uses":-1,"ttl":"90m","note":"rack 7"}`},
			{"POST", "/api/v1/tokens", `{"kind":"operator","note":"bob"}`},
			{"POST", "/api/v1/tokens", `{"kind":"root","uses":-2,"ttl":"soon","tenant":"A b","colour":"red","colour":"red"}`},
			{"POST", "/api/v1/tokens", `{"kind":"operator","uses":3,"tenant":"acme"}`},
			{"DELETE", "/api/v1/tokens/nobody", ""},
		}},
		"components": {nil, []request{
			{"GET", "/api/v1/components", ""},
			{"PUT", "/api/v1/components/sensor-content", `{"kind":"content","plan":"careful"}`},
			{"PUT", "/api/v1/plans/careful", "name: careful\nrings:\n  - {name: canary, hosts: 2}\n  - {name: rest, share: 1}\n"},
			{"PUT", "/api/v1/components/sensor-content", `{"kind":"content","plan":"careful"}`},
			{"PUT", "/api/v1/components/sensor-content", `{"kind":"config"}`},
			{"PUT", "/api/v1/components/director", `{"kind":"firmware","validation":"maybe"}`},
			{"PUT", "/api/v1/components/other", `{"name":"another","kind":"config"}`},
			{"GET", "/api/v1/components/sensor-content", ""},
			{"GET", "/api/v1/components/unknown", ""},
		}},
		"plans": {nil, []request{
			{"POST", "/api/v1/plans/check", `{"name":"p","rings":[{"name":"a","hosts":5},{"name":"b","hosts":4}],"budget":{"hosts":1},"speed":9}`},
			{"POST", "/api/v1/plans/check", `{"name":"p","rings":[{"name":"a","hosts":2},{"name":"b","share":1}]}`},
			{"PUT", "/api/v1/plans/p", `{"name":"q","rings":[{"name":"a","hosts":2},{"name":"b","share":1}]}`},
			{"PUT", "/api/v1/plans/p", `{"name":"p","rings":[{"name":"a","hosts":2}]}`},
			{"PUT", "/api/v1/plans/p", `{"rings":[{"name":"a","hosts":2},{"name":"b","share":1}]}`},
			{"GET", "/api/v1/plans", ""},
			{"GET", "/api/v1/plans/none", ""},
		}},
		"releases": {func(w *servertest.World) { w.Publish("sensor-content", "1"); w.Publish("sensor-content", "2") }, []request{
			{"GET", "/api/v1/releases?component=sensor-content", ""},
			{"GET", "/api/v1/releases?component=unknown", ""},
			{"GET", "/api/v1/releases/sensor-content/2", ""},
			{"GET", "/api/v1/releases/sensor-content/3", ""},
		}},
		"rollouts": {func(w *servertest.World) { w.Publish("sensor-content", "1"); w.Join(4, "sensor-content") }, []request{
			{"GET", "/api/v1/rollouts", ""},
			{"POST", "/api/v1/rollouts", `{}`},
			{"POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"9"}`},
			{"POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1","reason":"monday"}`},
			{"POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`},
			{"POST", "/api/v1/rollouts/ro-1/pause", `{"reason":"lunch"}`},
			{"POST", "/api/v1/rollouts/ro-1/pause", ""},
			{"POST", "/api/v1/rollouts/ro-1/resume", ""},
			{"POST", "/api/v1/rollouts/ro-1/hurry", ""},
			{"POST", "/api/v1/rollouts/ro-1/approve", ""},
			{"POST", "/api/v1/rollouts/ro-1/hold", ""},
			{"POST", "/api/v1/rollouts/ro-1/hold", `{"select":{"os":[],"colour":["red"]},"speed":1}`},
			{"POST", "/api/v1/rollouts/ro-1/halt", `{"select":{"os":["linux"]}}`},
			{"POST", "/api/v1/rollouts/ro-1/hold", `{"select":{"site":["site-2","site-1","site-2"]},"reason":"odd"}`},
			{"POST", "/api/v1/rollouts/ro-1/hold", `{"select":{"site":["site-1","site-2"]},"reason":"again"}`},
			{"POST", "/api/v1/rollouts/ro-1/unhold", `{"select":{"site":["site-2","site-1"]},"reason":"mended"}`},
			{"POST", "/api/v1/rollouts/ro-1/unhold", `{"select":{"site":["site-1","site-2"]}}`},
			{"POST", "/api/v1/rollouts/ro-9/halt", ""},
			{"POST", "/api/v1/rollouts/ro-1/rollback", `{"reason":"no"}`},
			{"GET", "/api/v1/rollouts/ro-1/events?limit=2", ""},
			{"GET", "/api/v1/rollouts/ro-1/events?limit=2&after=2", ""},
			{"GET", "/api/v1/rollouts/ro-1/events?limit=0", ""},
			{"GET", "/api/v1/rollouts/ro-1/events?after=-1", ""},
			{"GET", "/api/v1/rollouts/ro-9/events", ""},
			{"GET", "/api/v1/rollouts?component=unknown", ""},
			{"GET", "/api/v1/rollouts?active=true&component=sensor-content", ""},
			{"GET", "/api/v1/rollouts?phase=halted&phase=asleep", ""},
			{"GET", "/api/v1/rollouts?active=1", ""},
			{"GET", "/api/v1/rollouts?after=WyJyby05Il0", ""},
		}},
		"proposed": {func(w *servertest.World) { w.Publish("sensor-content", "1"); w.Join(4, "sensor-content") }, []request{
			{"PUT", "/api/v1/plans/together", "name: together\napprovals: 2\nrings:\n  - {name: canary, hosts: 2, evidence: {bake: 10s}}\n" +
				"  - {name: early, hosts: 5, evidence: {bake: 10s}}\n  - {name: rest, share: 1}\n"},
			{"POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1","plan":"together","reason":"monday"}`},
			{"POST", "/api/v1/rollouts/ro-1/approve", `{"reason":"I am sure"}`},
			{"POST", "/api/v1/rollouts/ro-1/hold", `{"select":{"os":["linux"]},"reason":"odd"}`},
			{"POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`},
			{"POST", "/api/v1/rollouts/ro-1/halt", `{"reason":"no"}`},
		}},
		"freezes": {func(w *servertest.World) { w.Publish("sensor-content", "1"); w.Join(4, "sensor-content") }, []request{
			{"GET", "/api/v1/freezes", ""},
			{"PUT", "/api/v1/freezes", ""},
			{"PUT", "/api/v1/freezes", "{}"},
			{"PUT", "/api/v1/freezes", `{"freezes":[{"name":"","from":"2024-07-32","to":"2024-07-20"},{"name":"a","from":"2024-07-20","to":"2024-07-19","zone":"Graz"}],"x":1}`},
			{"POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`},
			{"PUT", "/api/v1/freezes", "freezes:\n  - {name: July, from: 2024-07-01, to: 2024-07-31, zone: Europe/Vienna}\n"},
			{"GET", "/api/v1/rollouts/ro-1", ""},
			{"PUT", "/api/v1/freezes", `{"freezes":[],"tag":"0123456789abcdef"}`},
			{"PUT", "/api/v1/freezes", `{"freezes":[]}`},
		}},
		"fleet": {func(w *servertest.World) {
			w.Publish("sensor-content", "1")
			w.Join(5, "sensor-content")
			w.Join(1, "other")
		}, []request{
			{"GET", "/api/v1/fleet/profile", ""},
			{"GET", "/api/v1/fleet/profile?component=sensor-content", ""},
			{"GET", "/api/v1/fleet/profile?component=unknown", ""},
			{"GET", "/api/v1/fleet/state", ""},
			{"GET", "/api/v1/fleet/state?component=other", ""},
			{"GET", "/api/v1/fleet/state?component=unknown", ""},
			{"GET", "/api/v1/fleet/history", ""},
			{"GET", "/api/v1/fleet/history?component=sensor-content&since=2024-07-19T04:09:00Z", ""},
			{"GET", "/api/v1/fleet/history?since=yesterday", ""},
			{"GET", "/api/v1/endpoints?lacks=guard&lacks=wings&select=x", ""},
			{"GET", "/api/v1/endpoints?lacks=guard&component=other", ""},
			{"GET", "/api/v1/endpoints?refusing=true&at_risk=true", ""},
			{"GET", "/api/v1/endpoints?refusing=perhaps", ""},
		}},
		"trip": {func(w *servertest.World) { w.Trip("sensor-content") }, []request{
			{"GET", "/api/v1/rollouts/ro-1", ""},
			{"GET", "/api/v1/rollouts/ro-1/leases", ""},
			{"GET", "/api/v1/incidents", ""},
			{"GET", "/api/v1/incidents/inc-4", ""},
			{"GET", "/api/v1/incidents/inc-9", ""},
			{"GET", "/api/v1/releases?component=sensor-content", ""},
			{"POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"2"}`},
			{"GET", "/api/v1/endpoints?limit=2", ""},
			{"GET", "/api/v1/endpoints?limit=9&after=ep-008", ""},
			{"GET", "/api/v1/endpoints/ep-001", ""},
			{"GET", "/api/v1/endpoints/ep-999", ""},
			{"GET", "/api/v1/endpoints?select=site=site-1&select=site=site-2&component=sensor-content&limit=3", ""},
			{"GET", "/api/v1/endpoints?select=colour=red&select=site&version=2&silent_since=now", ""},
			{"GET", "/api/v1/rollouts/ro-1/leases?limit=1", ""},
			{"GET", "/api/v1/rollouts/ro-1/leases?after=nonsense", ""},
			{"POST", "/api/v1/rollouts/ro-1/pause", `{"phase":"running"}`},
			{"POST", "/api/v1/rollouts/ro-1/pause", `{"phase":"asleep"}`},
			{"GET", "/api/v1/rollouts/ro-1/series", ""},
			{"GET", "/api/v1/rollouts/ro-1/series?points=2", ""},
			{"GET", "/api/v1/rollouts/ro-1/series?points=1", ""},
			{"GET", "/api/v1/rollouts/ro-9/series", ""},
			{"GET", "/api/v1/rollouts/ro-1/timeline?limit=2", ""},
			{"GET", "/api/v1/rollouts/ro-1/timeline?limit=2&after=WzRd", ""},
			{"GET", "/api/v1/rollouts/ro-9/timeline", ""},
			{"GET", "/api/v1/releases/sensor-content/2", ""},
		}},
		"sessions": {nil, []request{
			{"GET", "/api/v1/session", ""},
			{"POST", "/api/v1/session", `{}`},
			{"POST", "/api/v1/session", `{"token":"fb_op_wrong"}`},
			{"POST", "/api/v1/session", `{"token":"SECRET"}`},
			{"DELETE", "/api/v1/session", ""},
		}},
		"audit": {func(w *servertest.World) { w.Trip("sensor-content") }, []request{
			{"GET", "/api/v1/audit", ""},
			{"POST", "/api/v1/tokens", `{"kind":"join","note":"rack 7"}`},
			{"POST", "/api/v1/rollouts/ro-1/pause", `{"reason":"lunch"}`},
			{"POST", "/api/v1/incidents/inc-4/close", `{"note":"all hosts are back"}`},
			{"POST", "/api/v1/incidents/inc-4/close", ""},
			{"GET", "/api/v1/audit?limit=2", ""},
			{"GET", "/api/v1/audit?act=createToken&actor=alice&target=token", ""},
			{"GET", "/api/v1/audit?limit=0", ""},
			{"GET", "/api/v1/audit?after=nonsense", ""},
		}},
		"halt": {func(w *servertest.World) { w.Publish("sensor-content", "1"); w.Join(4, "sensor-content") }, []request{
			{"POST", "/api/v1/halt", ""},
			{"POST", "/api/v1/rollouts", `{"component":"sensor-content","version":"1"}`},
			{"POST", "/api/v1/halt", `{"reason":"I smell smoke"}`},
			{"POST", "/api/v1/halt", `{"reason":"I smell smoke"}`},
			{"POST", "/api/v1/halt", `{"rollouts":["ro-1","ro-9"]}`},
			{"POST", "/api/v1/halt", `{"rollouts":[""],"speed":9}`},
			{"POST", "/api/v1/rollouts/ro-1/resume", `{"phase":"paused"}`},
		}},
		"overview": {func(w *servertest.World) { w.Trip("sensor-content") }, []request{
			{"GET", "/api/v1/overview", ""},
			{"GET", "/api/v1/stream", ""},
			{"GET", "/api/v1/stream?topic=rollout:&topic=fleet", ""},
		}},
		"trust": {nil, []request{
			{"GET", "/api/v1/status", ""},
			{"GET", "/api/v1/trust/pending", ""},
			{"DELETE", "/api/v1/trust/pending/root", ""},
			{"POST", "/api/v1/trust/metadata/root", "{}"},
			{"GET", "/tuf/timestamp.json", ""},
		}},
		"routes": {nil, []request{
			{"GET", "/healthz", ""},
			{"GET", "/api/v1/nothing", ""},
			{"GET", "/api/v2/rollouts", ""},
			{"PATCH", "/api/v1/rollouts", ""},
			{"POST", "/api/v1/status", ""},
			{"PUT", "/", ""},
		}},
	}
}

// pretty indents JSON and leaves everything else alone. Of a plan it keeps only that there is one: its defaults are package plan's.
func pretty(body string) string {
	var v any
	if json.Unmarshal([]byte(body), &v) != nil {
		return body
	}
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if encoder.Encode(withoutPlans(v)) != nil {
		return body
	}
	return b.String()
}

func withoutPlans(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if _, plan := v["rings"].([]any); plan && v["lease"] != nil {
			return "A PLAN"
		}
		for key := range v {
			v[key] = withoutPlans(v[key])
		}
	case []any:
		for i := range v {
			v[i] = withoutPlans(v[i])
		}
	}
	return v
}

// steady replaces what is random, and what is package plan's: the arithmetic of a bound, and the digest of a manifest, which has the plan.
func steady(text string) string {
	for pattern, with := range map[string]string{
		`"request": "[A-Z2-7]{26}"`:                    `"request": "REQUEST"`,
		`:request:[A-Z2-7]{26}"`:                       `:request:REQUEST"`,
		`fb_(op|join)_[a-z2-7]{8}_[a-z2-7]{52}`:        "fb_${1}_ID_SECRET",
		`(smaller\. )[^"]*`:                            "${1}ARITHMETIC",
		`"steps": \[[^\]]*\]`:                          `"steps": "ARITHMETIC"`,
		`"bound": \d+`:                                 `"bound": BOUND`,
		`"manifest": "sha256:[0-9a-f]{64}"`:            `"manifest": "MANIFEST"`,
		`can harm \d+`:                                 "can harm BOUND",
		`"id": "[a-z2-7]{8}"`:                          `"id": "TOKEN"`,
		`(operator token \\"alice\\") \([a-z2-7]{8}\)`: `${1} (TOKEN)`,
		`"token_id": "[a-z2-7]{8}"`:                    `"token_id": "TOKEN"`,
		`(join|operator) token [a-z2-7]{8}"`:           `${1} token TOKEN"`,
	} {
		text = regexp.MustCompile(pattern).ReplaceAllString(text, with)
	}
	return text
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, diff)
	}
}
