package fleet_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// all is every word.
func all() []string { return fleet.Posture(0).Missing() }

func TestPosture(t *testing.T) {
	t.Parallel()
	p := fleet.PostureOf([]string{"watchdog", "guard", "made-up", "guard"})
	if diff := cmp.Diff([]string{"watchdog", "guard"}, p.Have()); diff != "" {
		t.Errorf("have (-want +got):\n%s", diff)
	}
	if got := len(p.Have()) + len(p.Missing()); got != len(all()) || len(all()) != 11 {
		t.Errorf("got %d words in all, of %d, want 11", got, len(all()))
	}
	if !p.Said() || !fleet.PostureOf(nil).Said() || fleet.Posture(0).Said() {
		t.Error("a host that has nothing said so; one that was not heard did not")
	}
	if diff := cmp.Diff([]string{"guard"}, p.Among([]string{"panic-reboot", "guard", "made-up"})); diff != "" {
		t.Errorf("among (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"good", "made-up"}, fleet.Lacks([]string{"good", "guard", "good", "made-up"}, p.Have())); diff != "" {
		t.Errorf("lacks (-want +got):\n%s", diff)
	}
	for _, word := range all() {
		if fleet.Cure(word) == "" || fleet.PostureOf([]string{word}).Meets(fleet.PostureOf(all())) {
			t.Errorf("%s: got cure %q and everything met", word, fleet.Cure(word))
		}
	}
}

// Bits are stored by control planes: a word keeps its own.
func TestPostureBitsStay(t *testing.T) {
	t.Parallel()
	want := []string{
		"panic-reboot", "panic-early", "watchdog", "watchdog-hardware", "deadline", "guard", "guard-early", "guard-enabled", "good", "space",
		"launcher",
	}
	for i, word := range want {
		if diff := cmp.Diff([]string{word}, fleet.Posture(1<<i).Have()); diff != "" {
			t.Errorf("bit %d (-want +got):\n%s", i, diff)
		}
	}
	if got := fleet.PostureOf(nil); got != 1<<15 {
		t.Errorf("got %b for a host that said that it has nothing, want bit 15", got)
	}
}

func TestPostureMeets(t *testing.T) {
	t.Parallel()
	none, guard := fleet.Posture(0), fleet.PostureOf([]string{"guard", "good"})
	for _, c := range []struct {
		name         string
		have, wanted fleet.Posture
		want         bool
	}{
		{"nothing is wanted of a host that said nothing", none, fleet.PostureOf(nil), true},
		{"nothing is wanted at all", none, none, true},
		{"something is wanted of a host that said nothing", none, fleet.PostureOf([]string{"good"}), false},
		{"part", guard, fleet.PostureOf([]string{"good"}), true},
		{"all", guard, guard, true},
		{"more", guard, fleet.PostureOf([]string{"good", "watchdog"}), false},
	} {
		if got := c.have.Meets(c.wanted); got != c.want || (c.have.Lacks(c.wanted) == 0) != got {
			t.Errorf("%s: got %v and lacks %v, want %v", c.name, got, c.have.Lacks(c.wanted).Have(), c.want)
		}
	}
}

func TestCheckPosture(t *testing.T) {
	t.Parallel()
	if problems := fleet.CheckPosture("posture", all()); len(problems) > 0 {
		t.Errorf("got %v for all words, want none", problems)
	}
	want := []fault.Problem{
		{Path: "posture[1]", Message: `unknown word "wachdog"; use ` + strings.Join(all(), ", ")},
		{Path: "posture[2]", Message: `is named before: "guard"`},
		{Path: "posture[3]", Message: `unknown word ""; use ` + strings.Join(all(), ", ")},
	}
	if diff := cmp.Diff(want, fleet.CheckPosture("posture", []string{"guard", "wachdog", "guard", ""})); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// A host that has everything survives everything, and each hazard needs what is named here and nothing else.
func TestSurvives(t *testing.T) {
	t.Parallel()
	back := []string{"guard", "guard-enabled", "good"}
	needs := map[fleet.Hazard][]string{
		fleet.EarlyPanic: append([]string{"panic-early", "guard-early"}, back...),
		fleet.LatePanic:  append([]string{"panic-reboot"}, back...),
		fleet.Hang:       append([]string{"watchdog"}, back...),
		fleet.StuckBoot:  append([]string{"deadline"}, back...),
		fleet.BadAgent:   {"launcher"},
	}
	if len(fleet.Hazards()) != len(needs) {
		t.Errorf("got hazards %v, want %d", fleet.Hazards(), len(needs))
	}
	for _, h := range fleet.Hazards() {
		if !fleet.PostureOf(needs[h]).Survives(h) {
			t.Errorf("%s: a host with %v does not survive it", h, needs[h])
		}
		for _, without := range needs[h] {
			if fleet.PostureOf(fleet.Lacks(all(), []string{without})).Survives(h) {
				t.Errorf("%s: a host without %s survives it", h, without)
			}
		}
		if fleet.Posture(0).Survives(h) {
			t.Errorf("%s: a host that said nothing survives it", h)
		}
	}
	if fleet.PostureOf(all()).Survives("rust") {
		t.Error("a host survives what nobody knows")
	}
}
