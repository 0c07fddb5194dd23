package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

func TestSelectFlagsAreReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	for _, selector := range []fleet.Selector{
		{"os": {"linux"}},
		{"version": {"22.04, LTS", `back\slash`, ""}, "label.owner": {"it's \"us\""}},
		{"consumer": {""}},
		{"kernel": {"a=b", ","}},
	} {
		words, err := fields(strings.ReplaceAll(selectFlags(selector), `'\''`, `'"'"'`))
		if err != nil {
			t.Fatal(err)
		}
		var flags []string
		for i := 1; i < len(words); i += 2 {
			flags = append(flags, words[i])
		}
		got, err := selectorOf(flags)
		if diff := cmp.Diff(selector, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", selectFlags(selector), err, diff)
		}
	}
	for text, want := range map[string]string{"a": "a", "a,b": "a|b", "": "", "a,": "a|", `a\,b`: "a,b", `a\\,b`: `a\|b`} {
		if got := strings.Join(splitValues(text), "|"); got != want {
			t.Errorf("splitValues(%q): got %s, want %s", text, got, want)
		}
	}
}

func TestTroubleNamesStrataAndWhatExplainsTheHarm(t *testing.T) {
	t.Parallel()
	if got := trouble(api.Rollout{Approvals: 1, Evidence: 1, Doubt: 1, Amber: 20}, 79); len(got) != 0 {
		t.Errorf("a rollout without trouble has %q, want nothing", got)
	}
	r := api.Rollout{
		Approvals: 2, Approved: []string{"alice", "bob"}, Evidence: 45, Doubt: 12, Amber: 20,
		Strata: []api.Stratum{
			{
				Name:   "class laptop, os windows, version 10.0.26100, kernel 10.0.26100.4, consumer 7.16",
				Leased: 13, Confirmed: 1, Harmed: 12, Held: true, Evidence: 1e9,
			},
			{Name: "kernel 6.8", Leased: 4, Confirmed: 3, Harmed: 1, Suspect: true, Evidence: 31},
			{Name: "c"},
			{Name: "d"},
			{Name: "e"},
			{Name: "f"},
			{Name: "g"},
		},
		Suspects: []api.Suspect{
			{Key: "consumer", Value: "7.16", Harmed: 12, Exposed: 13, HarmedElsewhere: 1, ExposedElsewhere: 400}, {Key: "os", Value: "windows"},
		},
		Holds: []api.RolloutHold{{Text: "kernel 6.8", Reason: "odd", By: "breaker"}},
	}
	want := []string{
		"approved 2 of 2: alice, bob",
		"of E, 12 has no harmless explanation; growth freezes at 20",
		"  12 of 13 harmed, 1 confirmed, E 1.0e+09, held: class laptop, os windows,",
		"  version 10.0.26100, kernel 10.0.26100.4, consumer 7.16",
		"  1 of 4 harmed, 3 confirmed, E 31, suspicious: kernel 6.8",
		"  0 of 0 harmed, 0 confirmed, E 0: c",
		"  0 of 0 harmed, 0 confirmed, E 0: d",
		"  0 of 0 harmed, 0 confirmed, E 0: e",
		"  and 2 more strata in trouble",
		"the harm goes with consumer 7.16: 12 of 13 hosts harmed, elsewhere 1 of 400",
		"held for kernel 6.8, by breaker since -: odd",
	}
	got := trouble(r, 79)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("trouble (-want +got):\n%s", diff)
	}
	for _, line := range got {
		if wide(line) > 79 {
			t.Errorf("a line has %d columns, want at most 79: %s", wide(line), line)
		}
	}
}
