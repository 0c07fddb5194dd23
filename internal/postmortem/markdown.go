package postmortem

import (
	"fmt"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
)

// Markdown is a post-mortem for people, with places for the answers to its questions. It refers to its pictures by the names that they
// have in [Files]. Tables and emphasis are those of GitHub's dialect; other readers show them as text.
func Markdown(m api.PostMortem) []byte {
	d := &document{}
	d.line("# Incident %s: %s", escape(m.Incident.ID), shown(m.Incident.Title))
	d.line("*Written from stored records at %s. The facts are filled in; the questions are for people.*", stamp(m.Made))
	d.line("%s", escape(m.Summary))
	d.heading("Facts")
	d.table("Fact", "Value")
	for _, f := range m.Facts {
		d.row(f.Name, f.Value)
	}
	d.blast(m.Blast)
	d.suspects(m.Incident)
	d.crashes(m.Incident.Crashes)
	if m.Series != nil {
		d.heading("Pictures")
		d.line("![Exposed, unconfirmed and harmed hosts over time](%s)", exposureName)
		d.line("![Evidence against the release over time, with the levels of amber and trip](%s)", evidenceName)
	}
	d.timeline(m)
	d.heading("Questions")
	for i, q := range m.Questions {
		d.line("%d. **%s**", i+1, escape(q))
		d.line("%sAnswer:", strings.Repeat(" ", len(fmt.Sprintf("%d. ", i+1)))) // as far in as the question, or the list ends
	}
	return []byte(d.String())
}

// document is Markdown being written. Every text in it that is not ours goes through escape.
type document struct{ strings.Builder }

// shown is a text of others, bounded and escaped.
func shown(text string) string { return escape(clean(text)) }

// line writes a block of one line.
func (d *document) line(format string, args ...any) {
	if d.Len() > 0 {
		d.WriteByte('\n')
	}
	fmt.Fprintf(d, format+"\n", args...)
}

func (d *document) heading(text string) { d.line("## %s", text) }

// table begins one; its rows follow.
func (d *document) table(head ...string) {
	d.line("| %s |", strings.Join(head, " | "))
	d.WriteString("|" + strings.Repeat(" --- |", len(head)) + "\n")
}

func (d *document) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = escape(cell)
	}
	fmt.Fprintf(d, "| %s |\n", strings.Join(cells, " | "))
}

func (d *document) blast(b api.BlastRadius) {
	d.heading("Blast radius")
	d.line("Of %s that it was for, %s got it: %s %s harmed, of which %s %s recovered. %s were spared.", hosts(b.Eligible), thousands(b.Exposed),
		thousands(b.Harmed), were(b.Harmed), thousands(b.Recovered), have(b.Recovered), upper(thousands(b.Spared)))
	for _, part := range []struct {
		name    string
		reaches []api.Reach
	}{{"Ring", b.Rings}, {"Stratum", b.Strata}, {"Tenant", b.Tenants}, {"Site", b.Sites}} {
		if len(part.reaches) == 0 {
			continue
		}
		counted := part.reaches[0].Exposed != nil
		if counted {
			d.table(part.name, "Exposed", "Harmed")
		} else {
			d.table(part.name, "Harmed")
		}
		for _, r := range part.reaches {
			cells := []string{clean(r.Name)}
			if counted && r.Exposed != nil {
				cells = append(cells, thousands(*r.Exposed))
			}
			d.row(append(cells, thousands(r.Harmed))...)
		}
	}
}

// suspects shows what the harmed hosts have in common.
func (d *document) suspects(i api.Incident) {
	if i.Summary == nil || len(i.Summary.Suspects) == 0 {
		return
	}
	d.heading("Suspected")
	d.line("What the harmed hosts have in common, the best explanation first.")
	d.table("Attribute", "Value", "Harmed there", "Exposed there", "Harmed elsewhere", "Exposed elsewhere")
	for _, s := range i.Summary.Suspects {
		d.row(clean(s.Key), clean(s.Value), thousands(s.Harmed), thousands(s.Exposed), thousands(s.HarmedElsewhere), thousands(s.ExposedElsewhere))
	}
}

func (d *document) crashes(clusters []api.CrashCluster) {
	if len(clusters) == 0 {
		return
	}
	d.heading("Crashes")
	d.line("What the harmed hosts found, equal crashes together.")
	d.table("Hosts", "Crash", "Ended by", "First told", "Said")
	for _, c := range clusters {
		by := fmt.Sprintf("status %d", c.Status)
		switch {
		case c.Signal != "":
			by = "signal " + clean(c.Signal)
		case c.Status < 0:
			by = "no start"
		}
		d.row(thousands(c.Hosts), orNone(clean(c.Signature)), by, stamp(c.First), orNone(clean(c.Headline)))
	}
}

func orNone(text string) string {
	if text == "" {
		return "–"
	}
	return text
}

func (d *document) timeline(m api.PostMortem) {
	d.heading("Timeline")
	if len(m.Timeline) == 0 {
		d.line("No decision was recorded.")
		return
	}
	d.line("Times are UTC. Each line is a stored decision; `firebreak rollout explain` has all of them.")
	d.table("Time", "Decision", "Why", "Exposed", "Harmed", "E")
	for i, e := range m.Timeline {
		if m.Omitted > 0 && i == len(m.Timeline)/2 {
			d.row("", "…", thousands(m.Omitted)+" decisions are left out here", "", "", "")
		}
		d.row(e.At.UTC().Format("2006-01-02 15:04:05.000"), clean(e.Verdict), clean(e.Text), thousands(e.Exposed), thousands(e.Harmed), figure(e.Evidence))
	}
}
