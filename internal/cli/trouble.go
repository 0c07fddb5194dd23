package cli

import (
	"fmt"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
)

// strataShown is how many strata in trouble are shown; --json has all.
const strataShown = 5

// trouble is what a person should know of a rollout beyond its counts: who has to agree, which strata are harmed, what explains it, and
// who is held. Lines are at most width wide.
func trouble(r api.Rollout, width int) []string {
	var lines []string
	if r.Approvals > 1 {
		lines = append(lines, wrap(fmt.Sprintf("approved %d of %d: ", len(r.Approved), r.Approvals), strings.Join(r.Approved, ", "), width)...)
	}
	if r.Evidence >= r.Amber && r.Doubt < r.Evidence {
		lines = append(lines, fmt.Sprintf("of E, %s has no harmless explanation; growth freezes at %s", evidence(r.Doubt), evidence(r.Amber)))
	}
	for _, s := range r.Strata[:min(len(r.Strata), strataShown)] {
		lines = append(lines, stratumLines(s, width)...)
	}
	if more := len(r.Strata) - strataShown; more > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more strata in trouble", more))
	}
	for _, s := range r.Suspects[:min(len(r.Suspects), 1)] {
		text := fmt.Sprintf("%s %s: %d of %d hosts harmed, elsewhere %d of %d", s.Key, orDash(s.Value), s.Harmed, s.Exposed, s.HarmedElsewhere,
			s.ExposedElsewhere)
		lines = append(lines, wrap("the harm goes with ", text, width)...)
	}
	for _, h := range r.Holds {
		text := fmt.Sprintf("%s, by %s since %s: %s", h.Text, h.By, stamp(h.At), h.Reason)
		lines = append(lines, wrap("held for ", text, width)...)
	}
	return lines
}

// stratumLines are one stratum in trouble.
func stratumLines(s api.Stratum, width int) []string {
	counts := fmt.Sprintf("%d of %d harmed, %d confirmed, E %s", s.Harmed, s.Leased, s.Confirmed, evidence(s.Evidence))
	switch {
	case s.Held:
		counts += ", held"
	case s.Suspect:
		counts += ", suspicious"
	}
	return wrap("  ", counts+": "+s.Name, width)
}
