package postmortem

import (
	"fmt"
	"time"

	"github.com/firebreak-dev/firebreak/api"
)

// facts is the table that a reader looks things up in. What is not known has no line.
func (c investigation) facts() []api.Fact {
	r := c.rollout
	var facts []api.Fact
	add := func(name, format string, args ...any) {
		facts = append(facts, api.Fact{Name: name, Value: fmt.Sprintf(format, args...)})
	}
	when := func(name string, at *time.Time, since *time.Time, after string) {
		switch {
		case at == nil:
		case since == nil:
			add(name, "%s", stamp(*at))
		default:
			add(name, "%s, %s after %s", stamp(*at), span(at.Sub(*since)), after)
		}
	}
	add("Release", "%s %s", clean(c.incident.Component), clean(c.incident.Version))
	if r.Manifest != "" {
		add("Manifest", "%s", clean(r.Manifest))
	}
	add("Rollout", "%s, %s", clean(c.incident.Rollout), clean(r.Phase))
	add("Plan", "%s", c.planned())
	add("Started", "%s", stamp(r.Started))
	when("First exposure", c.exposed, &r.Started, "the start")
	when("First harm", c.harmed, c.exposed, "the first exposure")
	when("Halt", &c.ended, c.harmed, "the first harm")
	when("Last recovery so far", c.recovered, &c.ended, "the halt")
	add("Exposed", "%s of %s", thousands(r.Exposed), hosts(r.Eligible))
	add("Harmed", "%s", c.harm())
	add("Recovered", "%s of %s", thousands(r.Recovered), hosts(r.Harmed))
	add("Put back on what they ran before", "%s of %s", thousands(r.Returned), hosts(r.Exposed))
	if r.Unconfirmed > 0 {
		add("Without an outcome yet", "%s", hosts(r.Unconfirmed))
	}
	add("Spared", "%s", hosts(c.spared()))
	add("Evidence against it", "E %s; the breaker trips at %s", figure(r.Evidence), figure(r.Trip))
	if len(r.Suspects) > 0 {
		add("Suspected", "%s", suspected(r.Suspects[0]))
	}
	if c.incident.Closed != nil {
		add("Closed", "%s", closed(c.incident))
	}
	return facts
}

// planned names the plan and what it is bounded to.
func (c investigation) planned() string {
	text := clean(c.rollout.Plan)
	if c.bound > 0 {
		text += fmt.Sprintf(", bounded to %s harmed on average", hosts(c.bound))
	}
	if c.rollout.Emergency {
		text += ", an emergency plan"
	}
	return text
}

// harm is the number of harmed hosts and what became of them.
func (c investigation) harm() string {
	text := hosts(c.rollout.Harmed)
	var kinds []string
	for _, kind := range []struct {
		count int64
		word  string
	}{{c.crashed, "crashed"}, {c.reverted, "reverted"}, {c.silent, "silent"}, {c.late, "late"}} {
		if kind.count > 0 {
			kinds = append(kinds, fmt.Sprintf("%s %s", thousands(kind.count), kind.word))
		}
	}
	if len(kinds) == 0 {
		return text
	}
	return text + ": " + joined(kinds)
}

// suspected says what the harmed hosts share, with its numbers.
func suspected(s api.Suspect) string {
	return fmt.Sprintf("%s %s: %s of %s there were harmed, and %s of %s elsewhere", clean(s.Key), clean(s.Value), thousands(s.Harmed),
		hosts(s.Exposed), thousands(s.HarmedElsewhere), thousands(s.ExposedElsewhere))
}

func closed(i api.Incident) string {
	text := stamp(*i.Closed)
	if i.ClosedBy != "" {
		text += " by " + clean(i.ClosedBy)
	}
	if i.Note != "" {
		text += ": " + clean(i.Note)
	}
	return text
}
