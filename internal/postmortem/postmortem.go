// Package postmortem writes incidents down: the facts filled in from stored records, the questions that only people can answer left open.
// Values in, documents out: it asks nobody and reads no clock. What hosts and operators called things is shown as text and nothing else.
package postmortem

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

// Write fills a post-mortem in, as of a time. The incident is one in full, with its harmed hosts, timeline and summary; the plan is the
// one that was frozen into its rollout. What is not known yet is left out.
func Write(incident api.Incident, series api.RolloutSeries, p plan.Plan, made time.Time) api.PostMortem {
	c := investigate(incident, series, p)
	moments, omitted := c.timeline()
	incident.Timeline = nil
	document := api.PostMortem{
		Incident: incident, Made: made.UTC(), Summary: c.summary(), Facts: c.facts(), Blast: c.blast(), Timeline: moments, Omitted: omitted,
		Questions: c.questions(),
	}
	if len(series.Points) > 0 {
		document.Series = &series
	}
	return document
}

// investigation is one incident and what follows from its records.
type investigation struct {
	incident api.Incident
	rollout  api.Rollout
	bound    int64 // of harmed hosts by the plan, on average; 0 if the plan is not known

	exposed   *time.Time // the first host
	harmed    *time.Time // the first one
	ended     time.Time  // no lease since
	recovered *time.Time // the last one so far

	crashed, reverted, silent, late int64
}

func investigate(incident api.Incident, series api.RolloutSeries, p plan.Plan) investigation {
	c := investigation{incident: incident, ended: incident.Opened}
	if len(p.Rings) > 0 {
		c.bound = p.Bound().Hosts
	}
	if incident.Summary != nil {
		c.rollout = *incident.Summary
	}
	if c.rollout.Ended != nil && c.rollout.Ended.Before(c.ended) {
		c.ended = *c.rollout.Ended // it was halted before it was found out why
	}
	c.harmed = c.rollout.FirstHarm
	for _, l := range incident.Harmed {
		c.exposed = earlier(c.exposed, &l.Issued)
		if l.Recovered != nil && (c.recovered == nil || l.Recovered.After(*c.recovered)) {
			c.recovered = l.Recovered
		}
	}
	if i := slices.IndexFunc(series.Points, func(p api.SeriesPoint) bool { return p.Exposed > 0 }); i >= 0 {
		c.exposed = earlier(c.exposed, &series.Points[i].At)
	}
	for _, r := range c.rollout.Rings {
		c.crashed, c.reverted, c.silent, c.late = c.crashed+r.Crashed, c.reverted+r.Reverted, c.silent+r.Silent, c.late+r.Late
	}
	return c
}

func earlier(a, b *time.Time) *time.Time {
	if a == nil || b.Before(*a) {
		return b
	}
	return a
}

// summary is the incident in one paragraph.
func (c investigation) summary() string {
	r := c.rollout
	said := []string{fmt.Sprintf("Release %s of %s went out by plan %s from %s on.", clean(c.incident.Version), clean(c.incident.Component),
		clean(r.Plan), stamp(r.Started))}
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	say("Of %s that it was for, %s got it before it was stopped and %s %s harmed.", hosts(r.Eligible), thousands(r.Exposed), thousands(r.Harmed),
		were(r.Harmed))
	if r.Harmed > 0 {
		say("%s", c.mended())
	}
	say("%s never got it.", upper(hosts(c.spared())))
	if shown := c.shown(); shown != "" {
		say("The harm showed in %s.", shown)
	}
	say("%s", c.pace())
	return strings.Join(said, " ")
}

// mended says how many of the harmed hosts are back.
func (c investigation) mended() string {
	r := c.rollout
	switch left := r.Harmed - r.Recovered; {
	case left <= 0:
		return "All of the harmed hosts have recovered."
	case r.Recovered == 0:
		return "None of the harmed hosts has recovered yet."
	default:
		return fmt.Sprintf("%s of the harmed hosts %s recovered, %s not yet.", thousands(r.Recovered), have(r.Recovered), thousands(left))
	}
}

// shown says how the harm was seen.
func (c investigation) shown() string {
	var ways []string
	for _, way := range []struct {
		count int64
		text  string
	}{
		{c.crashed, "reports of crashes (%s)"},
		{c.reverted, "returns to the release before (%s)"},
		{c.silent, "silence (%s)"},
		{c.late, "words after the deadline (%s)"},
	} {
		if way.count > 0 {
			ways = append(ways, fmt.Sprintf(way.text, hosts(way.count)))
		}
	}
	return joined(ways)
}

// pace says how long it took from the first exposure to the first harm, to the halt and to the last recovery.
func (c investigation) pace() string {
	if c.exposed == nil {
		return fmt.Sprintf("Nobody got it any more from %s on.", stamp(c.ended))
	}
	var steps []string
	if c.harmed != nil {
		steps = append(steps, span(c.harmed.Sub(*c.exposed))+" to the first harm")
	}
	steps = append(steps, span(c.ended.Sub(*c.exposed))+" to the halt")
	if c.recovered != nil {
		steps = append(steps, span(c.recovered.Sub(*c.exposed))+" to the last recovery so far")
	}
	return "From the first exposure it took " + joined(steps) + "."
}

// spared is how many hosts it was for and never got it.
func (c investigation) spared() int64 { return max(0, c.rollout.Eligible-c.rollout.Exposed) }

// joined is a list as a sentence has it.
func joined(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}

func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// blast is whom the release reached, and in which parts of the fleet.
func (c investigation) blast() api.BlastRadius {
	r := c.rollout
	b := api.BlastRadius{Eligible: r.Eligible, Exposed: r.Exposed, Harmed: r.Harmed, Recovered: r.Recovered, Spared: c.spared()}
	for _, ring := range r.Rings {
		if ring.Leased > 0 {
			b.Rings = append(b.Rings, api.Reach{Name: ring.Name, Exposed: &ring.Leased, Harmed: ring.Crashed + ring.Reverted + ring.Silent + ring.Late})
		}
	}
	for _, s := range r.Strata {
		b.Strata = append(b.Strata, api.Reach{Name: s.Name, Exposed: &s.Leased, Harmed: s.Harmed})
	}
	b.Tenants = reaches(c.incident.Harmed, func(l api.LeaseStatus) string { return l.Tenant })
	b.Sites = reaches(c.incident.Harmed, func(l api.LeaseStatus) string { return l.Site })
	return b
}

// mostReaches is how many tenants and sites are named.
const mostReaches = 20

// reaches counts harmed hosts by what they are called, the most first.
func reaches(harmed []api.LeaseStatus, name func(api.LeaseStatus) string) []api.Reach {
	counts := map[string]int64{}
	for _, l := range harmed {
		if n := name(l); n != "" {
			counts[n]++
		}
	}
	var all []api.Reach
	for name, n := range counts {
		all = append(all, api.Reach{Name: name, Harmed: n})
	}
	slices.SortFunc(all, func(a, b api.Reach) int { return cmp.Or(cmp.Compare(b.Harmed, a.Harmed), cmp.Compare(a.Name, b.Name)) })
	return all[:min(len(all), mostReaches)]
}

// mostMoments is how many moments a timeline has at each end.
const mostMoments = 100

// timeline is the decisions that matter in words, and how many of them are left out.
func (c investigation) timeline() (kept []api.Moment, omitted int64) {
	for _, d := range c.incident.Timeline {
		for _, r := range d.Records {
			kept = append(kept, api.Moment{
				At: d.At.UTC(), Revision: d.Revision, Verdict: r.Verdict, Text: clean(r.Reason), Exposed: r.Exposed, Harmed: r.Harmed, Evidence: r.Evidence,
			})
		}
	}
	if between := len(kept) - 2*mostMoments; between > 0 {
		return slices.Delete(kept, mostMoments, mostMoments+between), int64(between)
	}
	return kept, 0
}
