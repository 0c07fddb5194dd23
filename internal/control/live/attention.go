package live

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// When something needs a person.
const (
	pausedLong = 15 * time.Minute
	heldLong   = 24 * time.Hour
	muchSilent = 0.05 // share of the fleet
	mostNeeds  = 100  // more than anybody works off
)

// Kinds of what needs a person, the most urgent first.
const (
	needsIncident = "incident"
	needsHealth   = "health"
	needsAmber    = "amber"
	needsSilence  = "silence"
	needsApproval = "approval"
	needsGate     = "gate"
	needsPaused   = "paused"
	needsHold     = "hold"
	needsUnfit    = "unfit"
	needsRisk     = "risk"
)

func ranks() []string {
	return []string{
		needsIncident, needsHealth, needsAmber, needsSilence, needsApproval, needsGate, needsPaused, needsHold, needsUnfit, needsRisk,
	}
}

// attention is what needs a person: each one sentence that says what, and one that says what to do.
func (f Facts) attention() map[string]api.Attention {
	var all []api.Attention
	for _, i := range f.Incidents {
		opened := i.Opened
		all = append(all, api.Attention{
			Kind: needsIncident, About: "incident", ID: i.ID, Since: &opened,
			Text: i.Title + ". Look at the incident, and close it when people are done with it.",
		})
	}
	for _, check := range f.Health {
		if !check.OK {
			since := check.Since
			all = append(all, api.Attention{Kind: needsHealth, About: "health", ID: check.Name, Since: &since, Text: sick(check)})
		}
	}
	stable := map[string]bool{} // components of which the newest complete rollout was seen
	for _, r := range f.Rollouts {
		if r.Phase == string(rollout.Complete) && stable[r.Component] {
			continue // a newer release has replaced it
		}
		stable[r.Component] = stable[r.Component] || r.Phase == string(rollout.Complete)
		all = append(all, f.ofRollout(r)...)
	}
	all = append(all, f.ofFleet()...)
	order := ranks()
	slices.SortStableFunc(all, func(a, b api.Attention) int {
		return cmp.Compare(slices.Index(order, a.Kind), slices.Index(order, b.Kind))
	})
	ranked := map[string]api.Attention{}
	for rank, a := range all[:min(len(all), mostNeeds)] {
		a.Rank = rank
		ranked[strings.TrimSuffix(a.Kind+":"+a.ID, ":")] = a
	}
	return ranked
}

func sick(check api.HealthCheck) string {
	next := check.Next
	if next == "" {
		next = "look at the log of this replica"
	}
	return sentence("the check %q fails: %s", check.Name, check.Why) + " " + sentence("%s", next)
}

// ofRollout is what a rollout needs of people.
func (f Facts) ofRollout(r api.Rollout) []api.Attention {
	var needs []api.Attention
	name := r.Component + " " + r.Version
	add := func(kind string, since *time.Time, format string, args ...any) {
		text := name + " " + fmt.Sprintf(format, args...)
		needs = append(needs, api.Attention{Kind: kind, About: "rollout", ID: r.ID, Since: since, Text: text})
	}
	switch rollout.Phase(r.Phase) {
	case rollout.Proposed:
		started := r.Started
		add(needsApproval, &started, "waits for %s to agree to its start. Approve it, or halt it.", people(r.Approvals-len(r.Approved)))
		return needs
	case rollout.Paused:
		if since, known := f.Paused[r.ID]; !known {
			add(needsPaused, nil, "is paused. Resume it, or halt it.")
		} else if f.At.Sub(since) > pausedLong {
			add(needsPaused, &since, "is paused since %s UTC. Resume it, or halt it.", since.UTC().Format("2006-01-02 15:04"))
		}
	case rollout.Running, rollout.Complete:
	case rollout.None, rollout.Halted, rollout.Tripped, rollout.RolledBack: // its incident says what there is to do
		return nil
	}
	if alarmed(r) {
		add(needsAmber, r.FirstHarm, "looks suspicious: %d of %d exposed hosts are harmed, E is %.3g and halts it at %g; growth is frozen. "+
			"Look at it, and halt it if in doubt.", r.Harmed, r.Exposed, r.Evidence, r.Trip)
	}
	if gates := gatesMissing(r); gates != "" && rollout.Phase(r.Phase) == rollout.Running {
		add(needsGate, nil, "has all the evidence that it needs, but for %s. See to what they measure, or halt it.", gates)
	}
	if holds, oldest := f.oldHolds(r); holds > 0 {
		add(needsHold, &oldest, "has %s older than a day. Lift what is not needed any more, or ship a mended release.", count(holds, "hold"))
	}
	if r.Ended == nil && r.Unfit != nil && r.Unfit.Hosts > 0 {
		add(needsUnfit, nil, "leaves out %s that could not survive alone what its plan asks for; they miss %s. "+
			"Mend them, or accept that they stay behind.", count(r.Unfit.Hosts, "host"), words(r.Unfit.Lacks))
	}
	return needs
}

// alarmed tells whether a rollout shows signs of harm.
func alarmed(r api.Rollout) bool { return r.Ended == nil && r.Alarm == string(breaker.Amber) }

// gatesMissing names the gates that keep the next ring shut, if nothing else does.
func gatesMissing(r api.Rollout) string {
	var gates []string
	for _, lack := range r.Missing {
		name, gate := strings.CutPrefix(lack.Name, "gate ")
		if !gate {
			return ""
		}
		gates = append(gates, fmt.Sprintf("gate %s (%s)", name, lack.Have))
	}
	return strings.Join(gates, ", ")
}

func (f Facts) oldHolds(r api.Rollout) (n int64, oldest time.Time) {
	for _, h := range r.Holds {
		if f.At.Sub(h.At) <= heldLong {
			continue
		}
		if n++; oldest.IsZero() || h.At.Before(oldest) {
			oldest = h.At
		}
	}
	return n, oldest
}

// ofFleet is what the fleet needs of people.
func (f Facts) ofFleet() []api.Attention {
	var needs []api.Attention
	if f.Fleet.Endpoints > 0 {
		share := float64(f.Fleet.Silent) / float64(f.Fleet.Endpoints)
		if share > muchSilent && share > 1.25*f.Usual {
			text := fmt.Sprintf("%d of %d hosts were not heard for 15 minutes (%.1f%%", f.Fleet.Silent, f.Fleet.Endpoints, 100*share)
			if f.Usual > 0 {
				text += fmt.Sprintf("; %.1f%% is usual", 100*f.Usual)
			}
			needs = append(needs, api.Attention{
				Kind: needsSilence, About: "fleet", Text: text + "). Look at where they are and what they got last; silence is a symptom.",
			})
		}
	}
	if f.Fleet.AtRisk > 0 {
		needs = append(needs, api.Attention{
			Kind: needsRisk, About: "fleet",
			Text: sentence("%s could not get out of a boot loop alone", count(f.Fleet.AtRisk, "host")) + " Give them the posture that they miss.",
		})
	}
	return needs
}

// words lists the words of posture that most hosts lack, with how many do.
func words(lacks map[string]int64) string {
	const most = 5
	names := slices.SortedFunc(maps.Keys(lacks), func(a, b string) int {
		return cmp.Or(cmp.Compare(lacks[b], lacks[a]), cmp.Compare(a, b))
	})
	var texts []string
	for _, name := range names[:min(len(names), most)] {
		texts = append(texts, fmt.Sprintf("%s (%d)", name, lacks[name]))
	}
	if len(names) > most {
		texts = append(texts, "and more")
	}
	return strings.Join(texts, ", ")
}

func people(n int) string {
	if n == 1 {
		return "one more person"
	}
	return fmt.Sprintf("%d more people", n)
}

func count(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// sentence makes one out of what may begin small and end open.
func sentence(format string, args ...any) string {
	text := strings.TrimRight(fmt.Sprintf(format, args...), ". ")
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
