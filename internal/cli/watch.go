package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

const (
	defaultEvery = 500 * time.Millisecond
	tailLength   = 8                // decisions under the picture
	lingering    = 60 * time.Second // after a trip, for harmed hosts to recover
)

func (p *program) rolloutWatch() *cobra.Command {
	var every time.Duration
	var component string
	c := p.leaf(command{
		use: "watch [ID]", short: "Watch a rollout live: rings, leases, outcomes, evidence, and why it waits", args: cobra.MaximumNArgs(1),
		ids: p.rolloutIDs, lists: "firebreak rollout list",
		long: `
Watches a rollout until it ends; without an ID the newest one. In a terminal the picture is redrawn in place, elsewhere
each decision is a line. It changes as soon as the control plane tells; where there is no live stream it is asked every so often. With --json each change is one JSON object on a line. A control plane that is away for a
while is waited for. After a trip it stays until the harmed hosts have recovered, 60 s at most. Exit code 0 if the rollout completes, 10 if it is tripped, halted or rolled back.`,
		example: "firebreak rollout watch\nfirebreak rollout watch ro-4q2k --json | jq .evidence",
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			id := strings.Join(args, "")
			if id == "" {
				if id, err = newest(ctx, c, component); err != nil {
					return err
				}
			}
			return p.watch(ctx, c, id, every)
		},
	})
	c.Flags().DurationVar(&every, "every", defaultEvery, "how often to look while there is no live stream")
	c.Flags().StringVar(&component, "component", "", "without an ID: the newest rollout of this component")
	return c
}

// watch follows a rollout to its end.
func (p *program) watch(ctx context.Context, c *client.Client, id string, every time.Duration) error {
	screen := p.screen()
	revision, ended := int64(-1), time.Time{}
	for r, err := range p.course(ctx, c, id, max(every, 10*time.Millisecond)) {
		var fresh []api.Decision
		if err == nil {
			fresh, err = news(ctx, c, r, revision)
		}
		switch {
		case err == nil:
		case client.KindOf(err) != client.Unavailable || ctx.Err() != nil:
			return err
		default:
			screen.away(err)
			continue
		}
		revision = r.Revision
		screen.draw(r, fresh)
		if !over(r.Phase) {
			continue
		}
		if now := p.Clock.Now(); ended.IsZero() {
			ended = now
		}
		if !p.lingers(r) || p.Clock.Now().Sub(ended) > lingering {
			return verdict(r)
		}
	}
	return ctx.Err()
}

// news are the decisions since a revision; of a rollout seen for the first time only the last few.
func news(ctx context.Context, c *client.Client, r api.Rollout, since int64) ([]api.Decision, error) {
	if since < 0 {
		since = max(0, r.Revision-tailLength)
	}
	if r.Revision <= since {
		return nil, nil
	}
	var fresh []api.Decision
	for d, err := range c.Events(ctx, r.ID, since) {
		if err != nil {
			return nil, err
		}
		if d.Revision > r.Revision {
			break
		}
		fresh = append(fresh, d)
	}
	return fresh, nil
}

func over(phase string) bool {
	return rollout.Phase(phase) == rollout.Complete || rollout.Phase(phase).Final()
}

// lingers tells whether a stopped rollout is worth watching on: harmed hosts still have to recover, and it is not long ago.
func (p *program) lingers(r api.Rollout) bool {
	return rollout.Phase(r.Phase).Recalls() && r.Recovered < r.Harmed && r.Ended != nil && p.Clock.Now().Sub(*r.Ended) < lingering
}

// staying says why a stopped rollout is still watched, or nothing.
func (p *program) staying(r api.Rollout) string {
	if !p.lingers(r) {
		return ""
	}
	return fmt.Sprintf("staying until the harmed hosts have recovered, %d of %d; %s at most", r.Recovered, r.Harmed, span(lingering))
}

func verdict(r api.Rollout) error {
	if rollout.Phase(r.Phase) == rollout.Complete {
		return nil
	}
	return exitCode(ExitStopped)
}

// screen shows a rollout as it changes.
type screen interface {
	draw(r api.Rollout, fresh []api.Decision)
	away(err error) // the control plane does not answer; called again as long as it does not
}

// absent is the line about a control plane that does not answer; no error makes it longer than the terminal is wide.
func (p *program) absent(err error) string {
	return cut("waiting for the control plane: "+clean(strings.Join(strings.Fields(err.Error()), " ")), p.width()-1)
}

// gone says once that the control plane does not answer.
type gone struct{ said bool }

func (g *gone) away(p *program, err error) {
	if !g.said {
		_, _ = fmt.Fprintln(p.Err, p.absent(err))
	}
	g.said = true
}

func (p *program) screen() screen {
	if p.json {
		return &jsonScreen{p: p}
	}
	if _, terminal := p.Terminal(p.Out); terminal {
		return &liveScreen{p: p}
	}
	return &lineScreen{p: p}
}

// jsonScreen prints an object for each change.
type jsonScreen struct {
	p    *program
	last []byte
	gone gone
}

func (s *jsonScreen) away(err error) { s.gone.away(s.p, err) }

func (s *jsonScreen) draw(r api.Rollout, _ []api.Decision) {
	s.gone.said = false
	data, err := json.Marshal(r)
	if err != nil || bytes.Equal(data, s.last) {
		return
	}
	s.last = data
	s.p.say("%s", data)
}

// lineScreen prints a line for each decision, and one when the reason for waiting changes.
type lineScreen struct {
	p       *program
	waiting string
	stays   bool
	gone    gone
}

func (s *lineScreen) away(err error) { s.gone.away(s.p, err) }

func (s *lineScreen) draw(r api.Rollout, fresh []api.Decision) {
	s.gone.said = false
	for _, line := range s.p.decisionLines(fresh) {
		s.p.say("%s", line)
	}
	if text := r.Waiting.Text; text != s.waiting {
		s.waiting = text
		s.p.say("%s  %s", s.p.Clock.Now().UTC().Format("15:04:05.000"), clean(summary(r)))
	}
	if text := s.p.staying(r); text != "" && !s.stays {
		s.stays = true
		s.p.say("%s", text)
	}
}

// summary is a rollout in one line.
func summary(r api.Rollout) string {
	return fmt.Sprintf("%s: %d of %d exposed, %d confirmed, %d harmed, E %s; %s%s", words(r.Phase), r.Exposed, r.Eligible, r.Confirmed, r.Harmed,
		evidence(r.Evidence), reasonLabel(r), r.Waiting.Text)
}

// reasonLabel says what the reason is one for: nothing is waited for any more when a rollout has ended.
func reasonLabel(r api.Rollout) string {
	if over(r.Phase) {
		return "ended: "
	}
	return "waiting: "
}

// decisionLines are the records of decisions, a line each.
func (p *program) decisionLines(decisions []api.Decision) []string {
	var lines []string
	for _, d := range decisions {
		for _, r := range d.Records {
			lines = append(lines, fmt.Sprintf("%s  %-15s %s", d.At.UTC().Format("15:04:05.000"), clean(r.Verdict), clean(r.Reason)))
		}
	}
	return lines
}

// liveScreen draws the picture in place.
type liveScreen struct {
	p     *program
	lines int // drawn last time
	tail  []string
	seen  *api.Rollout // what was drawn last
}

func (s *liveScreen) away(err error) {
	style := s.p.styleOf(s.p.Out)
	var picture []string
	if s.seen != nil {
		picture = s.picture(*s.seen)
	}
	s.paint(append(picture, style.yellow(s.p.absent(err))))
}

func (s *liveScreen) draw(r api.Rollout, fresh []api.Decision) {
	s.tail = append(s.tail, s.p.decisionLines(fresh)...)
	s.tail = s.tail[max(0, len(s.tail)-tailLength):]
	s.seen = &r
	s.paint(s.picture(r))
}

// picture is the frame with the newest decisions under it, as many as the terminal has lines for.
func (s *liveScreen) picture(r api.Rollout) []string {
	style, width := s.p.styleOf(s.p.Out), s.p.width()-1
	picture := s.p.frame(r, s.p.Clock.Now())
	if text := s.p.staying(r); text != "" {
		picture = append(picture, style.yellow(cut(text, width)))
	}
	room := tailLength
	if height := s.p.height(); height > 0 {
		room = min(room, height-len(picture)-3) // an empty line, one about the control plane, one for the cursor
	}
	tail := s.tail[max(0, len(s.tail)-max(0, room)):]
	if len(tail) > 0 {
		picture = append(picture, "")
	}
	for _, line := range tail {
		picture = append(picture, style.dim(cut(line, width)))
	}
	return picture
}

// paint draws over what was drawn last. A picture higher than the terminal loses its end: going back up would not reach its beginning.
func (s *liveScreen) paint(picture []string) {
	if height := s.p.height(); height > 1 {
		picture = picture[:min(len(picture), height-1)]
	}
	var b strings.Builder
	if s.lines > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", s.lines)
	}
	for _, line := range picture {
		b.WriteString(fit(line, s.p.width()-1) + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	s.lines = len(picture)
	_, _ = fmt.Fprint(s.p.Out, b.String())
}

// frame is the picture of a rollout, line by line; none is wider than the terminal.
func (p *program) frame(r api.Rollout, now time.Time) []string {
	return frame(cleaned(r), now, p.styleOf(p.Out), p.width()-1)
}

// frame is the picture of a rollout whose texts are clean.
func frame(r api.Rollout, now time.Time, style palette, width int) []string {
	lived := "started " + span(now.Sub(r.Started)) + " ago"
	if r.Ended != nil {
		lived = "after " + span(r.Ended.Sub(r.Started))
	}
	lines := []string{
		style.bold(cut(fmt.Sprintf("%s %s on %s", r.Component, r.Version, planOf(r)), width)),
	}
	lines = append(lines, wrap(r.ID+"  ", style.outcome(words(r.Phase))+" "+lived, width)...)
	lines = append(lines, "")
	name := 4
	for _, ring := range r.Rings {
		name = max(name, min(wide(ring.Name), 16))
	}
	for _, ring := range r.Rings {
		lines = append(lines, ringLines(ring, name, style, width)...)
	}
	lines = append(lines, "")
	for _, text := range []string{
		fmt.Sprintf("exposed %d of %d, confirmed %d, harmed %s, recovered %d, returned %d", r.Exposed, r.Eligible, r.Confirmed,
			alarmed(style, r.Harmed), r.Recovered, r.Returned),
		fmt.Sprintf("unconfirmed %d of %d allowed", r.Unconfirmed, r.Window),
		fmt.Sprintf("evidence %s E %s (amber %s, trip %s) %s", gauge(r.Evidence, r.Amber, r.Trip), evidence(r.Evidence), evidence(r.Amber),
			evidence(r.Trip), style.outcome(r.Alarm)),
	} {
		lines = append(lines, wrap("", text, width)...)
	}
	lines = append(lines, trouble(r, width)...)
	lines = append(lines, cellLines(r, width)...)
	lines = append(lines, wrap(reasonLabel(r), r.Waiting.Text, width)...)
	lines = append(lines, lacking(r, width)...)
	if r.Incident != "" {
		lines = append(lines, wrap("", style.red("incident "+r.Incident)+": firebreak incident show "+r.Incident, width)...)
	}
	return lines
}

// lacking lists the evidence that the open ring lacks, unless that is what it waits for.
func lacking(r api.Rollout, width int) []string {
	if over(r.Phase) {
		return nil
	}
	var parts []string
	for _, m := range r.Missing {
		part := fmt.Sprintf("%s %s of %s", m.Name, m.Have, m.Need)
		if !strings.Contains(r.Waiting.Text, part) {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return wrap("still missing: ", strings.Join(parts, ", "), width)
}

func alarmed(style palette, n int64) string {
	if n == 0 {
		return "0"
	}
	return style.red(fmt.Sprint(n))
}

// ringLines are one ring: a bar of its places, and its counts. What does not fit is under it.
func ringLines(r api.Ring, name int, style palette, width int) []string {
	places := int64(barSize)
	if width < roomy {
		places /= 4
	}
	line := fmt.Sprintf("  %s %s %4d/%-4d %-9s", pad(middle(r.Name, name), name), bar(style, r, places), r.Leased, r.Size, cut(words(r.State), 9))
	counts := outcomes(r)
	if wide(line)+1+wide(counts) <= width {
		return []string{line + " " + counts}
	}
	return append([]string{line}, wrap(strings.Repeat(" ", name+3), counts, width)...)
}

// outcomes are what became of a ring's hosts.
func outcomes(r api.Ring) string {
	parts := []string{fmt.Sprintf("%d ok", r.Confirmed)}
	for _, part := range []struct {
		n    int64
		word string
	}{{harmedOf(r), "harmed"}, {r.Leased - r.Confirmed - harmedOf(r) - r.Goodbye, "under way"}, {r.Goodbye, "away"}, {r.Rejected, "rejected"}} {
		if part.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.word))
		}
	}
	return strings.Join(parts, ", ")
}

// harmedOf is how many hosts of a ring count against the release.
func harmedOf(r api.Ring) int64 { return r.Crashed + r.Reverted + r.Silent + r.Late }

// bar draws a ring's places: confirmed, harmed, under way and free. Whatever is there is at least one column wide.
func bar(style palette, r api.Ring, width int64) string {
	harmed, left := harmedOf(r), width
	places := func(n int64) int {
		if n <= 0 || left == 0 {
			return 0
		}
		c := min(max(1, n*width/max(r.Size, r.Leased, 1)), left)
		left -= c
		return int(c)
	}
	bad := places(harmed)
	busy := places(r.Leased - r.Confirmed - harmed)
	good := places(r.Confirmed)
	return style.green(strings.Repeat("█", good)) + style.yellow(strings.Repeat("▒", busy)) + style.red(strings.Repeat("X", bad)) +
		style.dim(strings.Repeat("·", int(left)))
}

// gauge shows how far E has come on its logarithmic way to the trip; "|" is amber.
func gauge(e, amber, trip float64) string {
	const width = 20
	if trip <= 1 || amber <= 1 {
		return ""
	}
	at := func(v float64) int { return int(min(max(math.Log(v)/math.Log(trip), 0), 1) * width) }
	cells := []byte(strings.Repeat("#", at(max(e, 1))) + strings.Repeat(".", width-at(max(e, 1))))
	cells[min(at(amber), width-1)] = '|'
	return "[" + string(cells) + "]"
}

// wrap breaks text into lines of at most width columns; the first begins with head, the others are indented as far. A word that is wider
// than a line is broken.
func wrap(head, text string, width int) []string {
	var lines []string
	line, empty := head, true
	for word := range pieces(text, max(1, width-wide(head))) {
		if !empty && wide(line)+1+wide(word) > width {
			lines = append(lines, line)
			line, empty = strings.Repeat(" ", wide(head)), true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	return append(lines, line)
}

// pieces are the words of a text, each at most width columns wide.
func pieces(text string, width int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for word := range strings.FieldsSeq(text) {
			for wide(word) > width {
				part := leading(word, max(2, width))
				if !yield(part) {
					return
				}
				word = word[len(part):]
			}
			if !yield(word) {
				return
			}
		}
	}
}

// words writes an identifier as people do.
func words(s string) string { return strings.ReplaceAll(s, "_", " ") }
