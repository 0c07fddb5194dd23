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
		Labels: fleet.Labels{"env": "prod"}, Consumer: "7.11",
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
		"consumer":              {fleet.Selector{"consumer": {"7.10", "7.11"}}, true},
		"another consumer":      {fleet.Selector{"consumer": {"7.10"}}, false},
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

// Where being picked is the safe side, only what is known to differ tells that a subject is not picked.
func TestMayMatch(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		selector fleet.Selector
		want     bool
	}{
		"empty":                      {nil, true},
		"as it is":                   {fleet.Selector{"os": {"linux"}, "consumer": {"7.11"}}, true},
		"another site":               {fleet.Selector{"site": {"lima"}}, false},
		"unknown key":                {fleet.Selector{"color": {"red"}}, true},
		"label without a name":       {fleet.Selector{"label.": {"red"}}, true},
		"unknown key, another site":  {fleet.Selector{"color": {"red"}, "site": {"lima"}}, false},
		"unknown key, the same site": {fleet.Selector{"color": {"red"}, "site": {"oslo"}}, true},
		"label that it has not":      {fleet.Selector{"label.tier": {"gold"}}, false},
	} {
		if got := test.selector.MayMatch(subject()); got != test.want {
			t.Errorf("%s: got %t for %v, want %t", name, got, test.selector, test.want)
		}
	}
}

func TestSelectorCheck(t *testing.T) {
	t.Parallel()
	sound := fleet.Selector{"tenant": {"a"}, "consumer": {"7.11"}, "os": {"linux"}, "label.env": {"prod"}}
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

func TestStratum(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		keys []string
		want string
	}{
		"no keys":         {nil, "hosts that say nothing of themselves"},
		"in their order":  {[]string{"version", "os", "consumer"}, "version 12, os linux, consumer 7.11"},
		"a label":         {[]string{"label.env", "tenant"}, "label.env prod, tenant acme"},
		"nothing to say":  {[]string{"label.tier", "os"}, "os linux"},
		"nothing at all":  {[]string{"label.tier"}, "hosts that say nothing of themselves"},
		"an unknown key":  {[]string{"color", "site"}, "site oslo"},
		"all of it is in": {[]string{"class", "os", "version", "kernel", "arch", "region"}, "class server, os linux, version 12, kernel 6.1, arch amd64, region eu"},
	} {
		if got := fleet.Stratum(subject(), test.keys); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// A host may call itself what it likes: it gets into no slice of others, and others not into its.
func TestStrataAreNotMistaken(t *testing.T) {
	t.Parallel()
	keys := []string{"os", "version", "kernel"}
	words := []string{"", "linux", "linux, version 12", `linux", version "12`, "12", "12, kernel 6.1", `"12"`, "6.1", ", ", ",", `"`, `\"`, " ", "\x00", "\uFFFD", "\xff", `\x00`}
	seen := map[string]fleet.Selector{}
	for _, os := range words {
		for _, version := range words {
			for _, kernel := range words {
				subject := fleet.Subject{Attributes: fleet.Attributes{OS: os, Version: version, Kernel: kernel}}
				name, slice := fleet.Stratum(subject, keys), fleet.SliceOf(subject, keys)
				if other, ok := seen[name]; ok {
					t.Fatalf("%q is the name of %v and of %v", name, other, slice)
				}
				seen[name] = slice
			}
		}
	}
}

// A slice picks exactly the hosts that have the same values, the ones that say nothing included.
func TestSliceOf(t *testing.T) {
	t.Parallel()
	keys := []string{"os", "version", "label.tier"}
	slice := fleet.SliceOf(subject(), keys)
	if diff := cmp.Diff(fleet.Selector{"os": {"linux"}, "version": {"12"}, "label.tier": {""}}, slice); diff != "" {
		t.Fatalf("the slice differs (-want +got):\n%s", diff)
	}
	gold, newer, elsewhere := subject(), subject(), subject()
	gold.Labels = fleet.Labels{"tier": "gold"}
	newer.Attributes.Version = "13"
	elsewhere.Tenant, elsewhere.Attributes.Site = "other", "lima"
	for name, test := range map[string]struct {
		subject fleet.Subject
		want    bool
	}{
		"itself":            {subject(), true},
		"another version":   {newer, false},
		"a label it lacks":  {gold, false},
		"another site":      {elsewhere, true},
		"one without words": {fleet.Subject{}, false},
	} {
		if got := slice.Matches(test.subject); got != test.want {
			t.Errorf("%s: got %t, want %t", name, got, test.want)
		}
		if same := fleet.Stratum(test.subject, keys) == fleet.Stratum(subject(), keys); same != test.want {
			t.Errorf("%s: has the same stratum: %t, is in the slice: %t", name, same, test.want)
		}
	}
}

func TestSelectorString(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		selector fleet.Selector
		want     string
	}{
		{nil, "all hosts"},
		{fleet.Selector{}, "all hosts"},
		{fleet.Selector{"os": {"linux", "windows"}, "class": {"server"}}, "class server, os linux or windows"},
		{fleet.Selector{"os": {"", "linux"}, "kernel": {""}}, "kernel unknown, os unknown or linux"},
	} {
		if got := test.selector.String(); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}
