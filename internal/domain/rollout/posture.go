package rollout

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// fit tells whether the host could survive alone what the plan asks for.
func (s *State) fit(h Host) bool { return len(fleet.Lacks(s.Plan.Posture, h.Posture)) == 0 }

// unfit tells the host's owner what it lacks and what to do about it.
func unfit(lacks []string) string {
	cures := make([]string, len(lacks))
	for i, word := range lacks {
		cures[i] = word + " (" + fleet.Cure(word) + ")"
	}
	return "the plan asks hosts for posture that this one misses: " + strings.Join(cures, ", ")
}

// String says how many hosts miss what, for people: what most of them miss comes first.
func (u Unfit) String() string {
	words := slices.SortedFunc(maps.Keys(u.Lacks), func(a, b string) int { return cmp.Or(cmp.Compare(u.Lacks[b], u.Lacks[a]), cmp.Compare(a, b)) })
	for i, word := range words {
		if u.Lacks[word] < u.Hosts {
			words[i] = fmt.Sprintf("%s (%d)", word, u.Lacks[word])
		}
	}
	miss := "hosts miss"
	if u.Hosts == 1 {
		miss = "host misses"
	}
	return fmt.Sprintf("%d %s posture: %s", u.Hosts, miss, strings.Join(words, ", "))
}
