package cli_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/cli"
	"github.com/firebreak-dev/firebreak/internal/control/server/servertest"
)

// far is a name as long as names may be; its end tells it from others.
func far(name string) string { return strings.Repeat(name+"-", 64)[:60] + "-end" }

// longNamed is a control plane in which everything has a long name, some of them meant to mislead.
func longNamed() map[string]any {
	at := servertest.Start()
	later := at.Add(time.Minute)
	const evil = "\x1b[2J\u202eevil\u2066 \x07 東京東京東京東京東京東京東京東京東京東京東京東京\n"
	lease := api.LeaseStatus{
		Endpoint: far("endpoint"), Tenant: far("tenant"), Site: far("site"), Rollout: "ro-4q2kd7x0ab", Issued: at.Add(-48 * time.Hour), Deadline: later,
		Outcome: "crashed", Known: &at, Recovered: &later, Detail: evil + far("detail"),
	}
	rollout := api.Rollout{
		ID: "ro-4q2kd7x0ab", Component: far("component"), Version: far("version"), Plan: far("plan"), Phase: "tripped", Started: at, Ended: &later,
		Rings: []api.Ring{{
			Name: far("ring"), Size: 1_000_000, State: "halted", Leased: 999_999, Confirmed: 900_000, Crashed: 90_000, Silent: 9000, Goodbye: 500, Rejected: 12,
		}},
		Eligible: 1_000_000, Exposed: 999_999, Confirmed: 900_000, Harmed: 99_000, Recovered: 99_000, Returned: 99_000, Evidence: 12345, Amber: 20, Trip: 1e4,
		Alarm: "trip", Waiting: api.Waiting{Text: far("waiting") + evil}, Incident: "inc-4q2kd7x0ab", Missing: []api.Lack{{Name: far("lack"), Have: "0", Need: "1"}},
		Approvals: 2, Approved: []string{far("somebody")},
		Strata: []api.Stratum{{Name: far("kernel"), Leased: 7}}, Suspects: []api.Suspect{{Key: "kernel", Value: far("value")}},
		Holds: []api.RolloutHold{{Text: far("site"), Select: map[string][]string{"site": {"graz"}}, Reason: evil, By: far("somebody")}},
	}
	endpoint := api.Endpoint{
		ID: far("endpoint"), Tenant: far("tenant"), Attributes: api.Attributes{Site: far("site"), OS: evil, Kernel: far("kernel")}, LastSeen: at,
		Components: map[string]api.Component{far("component"): {Kind: "content", Version: far("version"), Previous: far("previous"), Phase: "staged"}},
		Leases:     []api.LeaseStatus{lease},
	}
	release := api.Release{Component: far("component"), Version: far("version"), Serial: 123456, State: "published", Validated: true, Created: at}
	items := func(v ...any) any { return map[string]any{"items": v} }
	return map[string]any{
		"/api/v1/rollouts":                           items(rollout),
		"/api/v1/rollouts/" + rollout.ID:             rollout,
		"/api/v1/rollouts/" + rollout.ID + "/leases": items(lease),
		"/api/v1/rollouts/" + rollout.ID + "/events": items(),
		"/api/v1/releases":                           items(release),
		"/api/v1/trust/pending":                      items(),
		"/api/v1/endpoints":                          items(endpoint),
		"/api/v1/endpoints/" + endpoint.ID:           endpoint,
		"/api/v1/fleet/profile":                      api.FleetProfile{Groups: []api.FleetGroup{{Class: far("class"), OS: far("os"), Version: evil, Kernel: far("kernel"), Tenant: far("tenant"), Site: far("site"), Hosts: 1e6, Heard: 1e6}}},
		"/api/v1/incidents":                          items(api.Incident{ID: "inc-4q2kd7x0ab", Title: evil + far("title"), Opened: at}),
		"/api/v1/incidents/inc-4q2kd7x0ab": api.Incident{
			ID: "inc-4q2kd7x0ab", Component: far("component"), Version: far("version"), Rollout: rollout.ID, Title: evil + far("title"), Opened: at, Closed: &later,
			ClosedBy: far("somebody"), Note: evil + far("note"), Harmed: []api.LeaseStatus{lease}, Summary: &rollout,
			Crashes:  []api.CrashCluster{{Signature: far("signature"), Signal: "SIGSEGV", Headline: evil + far("headline"), Hosts: 9, First: at}},
			Timeline: []api.Decision{{At: at, Records: []api.Record{{Verdict: "tripped", Reason: evil + far("reason")}}}},
		},
		"/api/v1/tokens":  items(api.Token{ID: far("token"), Kind: "operator", Tenant: far("tenant"), Note: far("note") + evil, Created: at, Expires: &later}),
		"/api/v1/plans":   items(api.StoredPlan{Name: far("plan"), Updated: at, Rings: 100, Bound: 1e9}),
		"/api/v1/freezes": api.Freezes{Freezes: []api.Freeze{{Name: far("name") + evil, From: "2026-12-20T18:00", To: "2027-12-20T18:00", Zone: "America/Argentina/ComodRivadavia"}}},
	}
}

// Every list fits 80 columns whatever things are called, nothing of a name reaches the terminal as a command, and --json has all of it.
func TestListsOfLongNamesFitTheTerminal(t *testing.T) {
	t.Parallel()
	answers := longNamed()
	port := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, known := answers[r.URL.Path]
		if !known {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(port.Close)
	w := &servertest.World{URL: port.URL, Token: "token"}
	for _, command := range []string{
		"rollout list", "rollout show --leases", "release list", "fleet list", "fleet list --posture-missing guard", "fleet show " + far("endpoint"), "fleet profile",
		"incident list", "incident show inc-4q2kd7x0ab", "token list", "plan list", "freeze list",
	} {
		r := invoke(t, w, 80, map[string]string{"NO_COLOR": "1"}, strings.Fields(command)...)
		if r.code != cli.ExitOK {
			t.Errorf("%s: exit code %d: %s", command, r.code, r.err)
		}
		for line := range strings.Lines(r.out) {
			line = strings.TrimSuffix(line, "\n")
			if n := lipgloss.Width(line); n > 80 {
				t.Errorf("%s: a line has %d columns, want at most 80: %s", command, n, line)
			}
			if strings.ContainsAny(line, "\x1b\x07\u202e\u2066") {
				t.Errorf("%s: a name moves the cursor or turns the writing: %q", command, line)
			}
		}
		r = invoke(t, w, 80, nil, append(strings.Fields(command), "--json")...)
		if r.code != cli.ExitOK || !strings.Contains(r.out, "-end") || strings.Contains(r.out, "…") {
			t.Errorf("%s --json: got code %d and %s, want whole names", command, r.code, r.out)
		}
	}
	r := invoke(t, w, 80, nil, "plan", "list")
	if !strings.Contains(r.out, "…") || !strings.Contains(r.out, "-end") {
		t.Errorf("got %s, want the name shortened in its middle, its end in sight", r.out)
	}
}
