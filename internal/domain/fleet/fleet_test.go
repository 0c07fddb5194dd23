package fleet_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

func subject() fleet.Subject {
	return fleet.Subject{
		Tenant: "acme",
		Attributes: fleet.Attributes{
			OS: "linux", Version: "12", Kernel: "6.1", Arch: "amd64", Class: "server", Region: "eu", Site: "oslo",
		},
		Labels: fleet.Labels{"env": "prod"},
	}
}

func TestMatches(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		selector fleet.Selector
		want     bool
	}{
		"empty":                 {nil, true},
		"tenant":                {fleet.Selector{"tenant": {"acme"}}, true},
		"os":                    {fleet.Selector{"os": {"windows", "linux"}}, true},
		"another os":            {fleet.Selector{"os": {"windows"}}, false},
		"version":               {fleet.Selector{"version": {"12"}}, true},
		"kernel":                {fleet.Selector{"kernel": {"6.1"}}, true},
		"arch":                  {fleet.Selector{"arch": {"amd64"}}, true},
		"class":                 {fleet.Selector{"class": {"server"}}, true},
		"region":                {fleet.Selector{"region": {"eu"}}, true},
		"site":                  {fleet.Selector{"site": {"oslo"}}, true},
		"label":                 {fleet.Selector{"label.env": {"prod"}}, true},
		"no such label":         {fleet.Selector{"label.tier": {"gold"}}, false},
		"every key must match":  {fleet.Selector{"os": {"linux"}, "site": {"lima"}}, false},
		"no values, no match":   {fleet.Selector{"os": nil}, false},
		"unknown key, no match": {fleet.Selector{"color": {"red"}}, false},
		"exactly, not by part":  {fleet.Selector{"site": {"osl"}}, false},
	} {
		if got := test.selector.Matches(subject()); got != test.want {
			t.Errorf("%s: got %t for %v, want %t", name, got, test.selector, test.want)
		}
	}
}

func TestSelectorCheck(t *testing.T) {
	t.Parallel()
	sound := fleet.Selector{"tenant": {"a"}, "os": {"linux"}, "label.env": {"prod"}}
	if problems := sound.Check("select"); len(problems) > 0 {
		t.Errorf("got %v, want nothing", problems)
	}
	broken := fleet.Selector{"color": {"red"}, "os": {}, "label.": {"x"}, "": nil}
	var got []string
	for _, p := range broken.Check("select") {
		got = append(got, p.Path)
	}
	if diff := cmp.Diff([]string{"select.", "select.", "select.color", "select.label.", "select.os"}, got); diff != "" {
		t.Errorf("problems differ (-want +got):\n%s", diff)
	}
}
