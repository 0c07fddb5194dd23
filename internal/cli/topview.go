package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
)

const (
	leastWidth  = 20 // columns below which nothing is drawn
	leastHeight = 6
	roomy       = 60 // columns from which on words are written out
)

// picture is the whole screen: height lines, none wider than the terminal.
func (b board) picture() []string {
	if b.width < leastWidth || b.height < leastHeight {
		return []string{cut("too small", max(0, b.width))}
	}
	foot := b.foot()
	foot = foot[:min(len(foot), b.height-3)]
	room := b.height - 1 - len(foot)
	body := b.body(room)
	body = body[:min(len(body), room)]
	lines := append([]string{b.header()}, body...)
	for len(lines) < b.height-len(foot) {
		lines = append(lines, "")
	}
	lines = append(lines, foot...)
	for i := range lines {
		lines[i] = fit(lines[i], b.width)
	}
	return lines
}

// body is what is between the header and the foot, room lines or more.
func (b board) body(room int) []string {
	switch {
	case b.help:
		return b.helpPage()
	case b.opened != "":
		page := b.page()
		return page[min(b.scroll, len(page)):]
	case b.overview == nil:
		return append([]string{""}, wrap("", "Waiting for the first answer of the control plane. "+b.why(), b.width)...)
	}
	return b.summary(room)
}

func (b board) header() string {
	text, well := b.connection()
	paint := b.style.yellow
	if well {
		paint = b.style.green
	}
	right := paint(text) + b.style.dim(" "+b.now.UTC().Format("15:04:05")+" UTC")
	left := b.style.bold("firebreak")
	if room := b.width - wide(left) - wide(right) - 4; room >= 8 {
		left += "  " + b.style.dim(middle(b.server, room))
	}
	return b.spread(left, right)
}

// spread puts a text to the left and one to the right, which stays whole.
func (b board) spread(left, right string) string {
	return pad(fit(left, max(0, b.width-wide(right)-1)), b.width-wide(right)) + right
}

// summary is the overview: the fleet, what needs somebody, rollouts, incidents.
func (b board) summary(room int) []string {
	fleet, below := b.fleetLines(), b.incidentLines(max(1, room/8))
	if f := b.overview.Freezes; len(f) > 0 {
		below = append(below, b.style.yellow("FREEZES")+"  "+cut(strings.Join(f, "; "), b.width-9))
	}
	needs := b.needLines(max(1, room/6), 0)
	left := room - len(fleet) - len(needs) - len(below)
	rollouts := b.rolloutLines(max(2, left))
	if spare := left - len(rollouts); spare > 0 {
		needs = b.needLines(max(1, room/6)+spare/2, spare/2)
	}
	return slices.Concat(fleet, needs, rollouts, below)
}

func (b board) fleetLines() []string {
	f := b.overview.Fleet
	about := ""
	if f.Estimated {
		about = "about "
	}
	parts := []string{about + counted(f.Endpoints, "endpoint"), thousands(f.Heard) + " heard"}
	for _, part := range []struct {
		n    int64
		word string
	}{{f.Silent, " silent"}, {f.AtRisk, " at risk"}, {f.Refusing, " refusing"}} {
		text := thousands(part.n) + part.word
		if part.n > 0 {
			text = b.style.yellow(text)
		}
		parts = append(parts, text)
	}
	lines := wrap(b.style.bold("FLEET")+"  ", strings.Join(parts, ", "), b.width)
	if versions := b.versions(); versions != "" && b.height >= 20 {
		lines = append(lines, "       "+b.style.dim(cut(versions, b.width-7)))
	}
	return lines
}

// versions says what the component with the most hosts runs.
func (b board) versions() string {
	most, hosts := "", map[string]int64{}
	for _, v := range b.overview.Fleet.Versions {
		hosts[v.Component] += v.Hosts
	}
	for _, name := range slices.Sorted(maps.Keys(hosts)) {
		if most == "" || hosts[name] > hosts[most] {
			most = name
		}
	}
	var parts []string
	for _, v := range b.overview.Fleet.Versions {
		switch {
		case v.Component != most:
		case v.Summed > 0:
			parts = append(parts, fmt.Sprintf("%s on %s", counted(v.Summed, "other version"), thousands(v.Hosts)))
		default:
			parts = append(parts, fmt.Sprintf("%s on %s", first(v.Version, "none"), thousands(v.Hosts)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return most + ": " + strings.Join(parts, ", ")
}

// needLines are what needs somebody, the most urgent first: each in a line, and in more as long as there are some to spare.
func (b board) needLines(most, spare int) []string {
	all := slices.SortedFunc(maps.Values(b.overview.Attention), func(x, y api.Attention) int {
		if x.Rank != y.Rank {
			return x.Rank - y.Rank
		}
		return strings.Compare(x.Kind+x.ID, y.Kind+y.ID)
	})
	if len(all) == 0 {
		return []string{b.style.bold("NEEDS YOU") + "  " + b.style.green("nothing")}
	}
	lines := []string{b.style.bold("NEEDS YOU")}
	for _, a := range all[:min(len(all), most)] {
		paint := b.style.yellow
		if a.Kind == "incident" || a.Kind == "health" {
			paint = b.style.red
		}
		kind := pad(cut(words(a.Kind), 9), 9)
		text := wrap("", a.Text, b.width-12)
		if rows := min(len(text)-1, spare); rows < len(text)-1 {
			text = append(text[:rows], cut(strings.Join(text[rows:], " "), b.width-12))
		}
		spare -= len(text) - 1
		for _, line := range text {
			lines = append(lines, "  "+paint(kind)+" "+line)
			kind = strings.Repeat(" ", 9)
		}
	}
	return b.andMore(lines, len(all)-most)
}

// andMore says under a list that it goes on: in its first line, which is there anyway.
func (b board) andMore(lines []string, n int) []string {
	if n > 0 {
		lines[0] += b.style.dim(fmt.Sprintf("  and %d more than fit", n))
	}
	return lines
}

func (b board) incidentLines(most int) []string {
	all := slices.SortedFunc(maps.Values(b.overview.Incidents), func(x, y api.Incident) int { return y.Opened.Compare(x.Opened) })
	if len(all) == 0 {
		return []string{b.style.bold("INCIDENTS") + "  " + b.style.green("none is open")}
	}
	lines := []string{b.style.bold("INCIDENTS") + fmt.Sprintf("  %d open", len(all))}
	for _, i := range all[:min(len(all), most)] {
		lines = append(lines, b.spread("  "+b.style.red(i.ID)+" "+cut(i.Title, max(0, b.width-5-wide(i.ID)-8)), b.style.dim(b.since(i.Opened))))
	}
	return b.andMore(lines, len(all)-most)
}

// since is how long ago something was.
func (b board) since(t time.Time) string {
	if d := b.now.Sub(t); d >= time.Second {
		return span(d) + " ago"
	}
	return "now"
}

// rolloutLines are the rollouts in so many lines: the selected one with all that fits, the others as it goes.
func (b board) rolloutLines(room int) []string {
	all := b.rollouts()
	lines := []string{b.rolloutsTitle(all)}
	if len(all) == 0 {
		return append(lines, b.style.dim("  "+b.nothing()))
	}
	at, room := b.selected(all), room-1
	cards := make([][]string, len(all))
	for i, r := range all {
		cards[i] = b.card(r, i == at)
	}
	for keep := 4; keep >= 1 && total(cards) > room; keep-- { // the others give way first
		for i := range cards {
			if i != at {
				cards[i] = cards[i][:min(keep, len(cards[i]))]
			}
		}
	}
	for keep := 3; keep >= 1 && len(cards) > 1 && total(cards) > room; keep-- {
		cards[at] = cards[at][:min(keep, len(cards[at]))]
	}
	from, to := window(len(cards), at, room, total(cards[at:at+1]))
	if to-from < len(cards) {
		lines[0] += b.style.dim(fmt.Sprintf("  %d to %d of %d", from+1, to, len(cards)))
	}
	return append(lines, slices.Concat(cards[from:to]...)...)
}

func total(cards [][]string) int {
	n := 0
	for _, c := range cards {
		n += len(c)
	}
	return n
}

// window is which of n cards are shown in so many lines, one line each but the selected one.
func window(n, at, room, selected int) (from, to int) {
	fits := max(1, room-selected+1)
	if n <= fits {
		return 0, n
	}
	from = min(max(0, at-fits/2), n-fits)
	return from, from + fits
}

func (b board) rolloutsTitle(all []api.Rollout) string {
	moving := 0
	for _, r := range all {
		if r.Ended == nil {
			moving++
		}
	}
	text := fmt.Sprintf("  %d moving, %d ended lately", moving, len(all)-moving)
	switch {
	case b.typing:
		text = "  /" + b.filter + "▏" + b.style.dim(" Enter keeps, Esc clears")
	case b.filter != "":
		text = fmt.Sprintf("  %d with %q", len(all), b.filter) + b.style.dim("  Esc shows all")
	}
	return b.style.bold("ROLLOUTS") + text
}

func (b board) nothing() string {
	if b.filter != "" {
		return "None is called like that."
	}
	return "Nothing is moving. No host is being exposed to anything new."
}

// card is a rollout in four lines: what and how far, its rings, its evidence, and why it waits. Of one that has ended there is the first.
func (b board) card(r api.Rollout, selected bool) []string {
	mark := "  "
	if selected {
		mark = b.style.bold("> ")
	}
	counts := fmt.Sprintf("%d/%d", r.Exposed, r.Eligible)
	harmed := fmt.Sprintf("  %d harmed", r.Harmed)
	if b.width >= roomy {
		counts = fmt.Sprintf("%s of %s exposed", thousands(r.Exposed), thousands(r.Eligible))
	}
	switch {
	case r.Harmed > 0:
		harmed = b.style.red(harmed)
	case b.width < roomy:
		harmed = ""
	}
	right := "  " + b.style.outcome(words(r.Phase)) + "  " + counts + harmed
	if r.Ended != nil && b.width >= roomy {
		right += b.style.dim("  " + b.since(*r.Ended))
	}
	room := max(4, b.width-3-wide(right))
	name := r.Component + " " + r.Version
	if room >= wide(r.Version)+6 {
		name = cutRelease(name, room)
	}
	name = middle(name, room)
	if selected {
		name = b.style.bold(name)
	}
	lines := []string{b.spread(mark+name, right)}
	if r.Ended != nil {
		return lines
	}
	return append(lines, "    "+b.rings(r, b.width-4), "    "+b.evidenceLine(r), "    "+cut(waits(r), b.width-4))
}

// rings are a rollout's rings in one line, the open one in sight.
func (b board) rings(r api.Rollout, width int) string {
	const bars = 8
	parts := make([]string, len(r.Rings))
	for i, ring := range r.Rings {
		parts[i] = fmt.Sprintf("%s %s %d/%d", middle(ring.Name, 10), bar(b.style, ring, bars), ring.Leased, ring.Size)
	}
	from := 0
	for from < min(r.Ring, len(parts)-1) && wide(strings.Join(parts[from:], "  ")) > width {
		from++
	}
	text := strings.Join(parts[min(from, len(parts)):], "  ")
	if from > 0 {
		text = "… " + text
	}
	return fit(text, width)
}

func (b board) evidenceLine(r api.Rollout) string {
	text := fmt.Sprintf("E %s %s %s", evidence(r.Evidence), gauge(r.Evidence, r.Amber, r.Trip), b.style.outcome(r.Alarm))
	if b.width >= roomy {
		text += b.style.dim(fmt.Sprintf("  amber at %s, trip at %s", evidence(r.Amber), evidence(r.Trip)))
	}
	return text
}

// waits says in one sentence why nobody is being exposed at this moment.
func waits(r api.Rollout) string {
	text := strings.TrimSpace(r.Waiting.Text)
	switch {
	case text == "" && r.Phase == "running":
		return "it exposes hosts now"
	case text == "" || r.Phase != "running":
		return text
	case strings.HasPrefix(text, "for "):
		return "it waits " + text
	}
	return "it waits: " + text
}

// page is all of the opened rollout.
func (b board) page() []string {
	if b.rollout == nil {
		return append([]string{""}, wrap("", first(b.gone, "Waiting for rollout "+b.opened+". "+b.why()), b.width)...)
	}
	lines := append([]string{""}, frame(*b.rollout, b.now, b.style, b.width)...)
	lines = append(lines, "", b.style.bold("TIMELINE")+b.style.dim("  newest first"))
	for _, d := range b.decisions() {
		for _, r := range slices.Backward(d.Records) {
			text := r.Reason
			if r.Verdict != "" {
				text = words(r.Verdict) + ": " + text
			}
			lines = append(lines, wrap(d.At.UTC().Format("15:04:05")+"  ", text, b.width)...)
		}
	}
	return lines
}

// scrollable is how far the opened rollout's page can be scrolled.
func (b board) scrollable() int {
	return max(0, len(b.page())-(b.height-1-len(b.foot())))
}

// foot is what can be done, or the halt.
func (b board) foot() []string {
	switch {
	case b.aims != nil:
		return b.aimLines()
	case b.halt != nil && !b.hidden:
		return b.haltLines()
	case b.typing:
		return []string{b.style.dim("type a part of a name, a version or a phase")}
	}
	keys := "↑↓ choose  Enter opens  / filters  H halts  ? explains  q leaves"
	if b.opened != "" {
		keys = "Esc back  ↑↓ scroll  H halts  ? explains  q leaves"
	}
	if b.width < roomy {
		keys = "Enter open  H halt  / ? q"
		if b.opened != "" {
			keys = "Esc back  H halt  ? q"
		}
	}
	lines := []string{b.style.dim(keys)}
	if why := b.why(); why != "" {
		lines = append([]string{b.style.yellow(cut(why, b.width))}, lines...)
	}
	return lines
}

func (b board) aimLines() []string {
	lines := []string{b.rule(b.style.red("HALT"))}
	for _, a := range b.aims {
		key := strings.ToUpper(a.key[:1]) + a.key[1:]
		lines = append(lines, b.style.bold(pad(key, 7)+cut(a.label, b.width-7)))
		lines = append(lines, wrap("       ", a.text, b.width)...)
	}
	return append(lines, wrap("Esc    ", "leaves. A halt rolls nothing back: that is a second step, on the rollout.", b.width)...)
}

// rule is a line under a title, to the right end.
func (b board) rule(title string) string {
	return title + " " + b.style.dim(strings.Repeat("─", max(0, b.width-wide(title)-1)))
}

func (b board) haltLines() []string {
	h := b.halt
	lines := []string{b.rule(b.style.red("HALT"))}
	lines = append(lines, wrap("", h.headline(), b.width)...)
	switch {
	case h.err != nil && h.done:
		lines = append(lines, wrap("  ", clean(h.err.Error()), b.width)...)
	case h.err != nil:
		lines = append(lines, wrap("  ", "The last try got no answer; it is tried again by itself ("+tries(h.tries)+"): "+clean(h.err.Error()), b.width)...)
	}
	if h.answer != nil {
		most := max(2, b.height/3)
		all := h.answer.Rollouts
		for _, r := range all[:min(len(all), most)] {
			lines = append(lines, b.haltedLine(r)...)
		}
		if more := len(all) - most; more > 0 {
			lines = append(lines, fmt.Sprintf("  and %d more", more))
		}
	}
	if b.sure {
		return append(lines, b.style.bold("It is not known yet whether anything was halted; q again leaves all the same."))
	}
	return append(lines, b.style.dim("Esc closes this"))
}

func (b board) haltedLine(r api.HaltedRollout) []string {
	word, paint := r.State, b.style.green
	switch r.State {
	case api.HaltHolding:
		paint = b.style.yellow
	case api.HaltEnded:
		word, paint = "had ended", b.style.dim
	case api.HaltFailed:
		paint = b.style.red
	}
	text := strings.TrimSpace(r.Component+" "+r.Version) + ": " + r.Text
	if r.Component == "" {
		text = r.ID + ": " + r.Text
	}
	lines := wrap("  "+pad(word, 9)+" ", text, b.width)
	lines[0] = strings.Replace(lines[0], word, paint(word), 1)
	return lines
}

func (b board) helpPage() []string {
	lines := []string{"", b.style.bold("KEYS")}
	for _, row := range [][2]string{
		{"↑ ↓ k j", "choose a rollout; on its page, scroll"},
		{"Enter", "open the chosen rollout: rings, outcomes, timeline"},
		{"Esc", "back; closes what is on top"},
		{"/", "show only rollouts with these words in name, version or phase"},
		{"H", "halt: then Enter halts the chosen rollout, A everything"},
		{"q", "leave"},
	} {
		lines = append(lines, wrap("  "+pad(row[0], 9)+" ", row[1], b.width)...)
	}
	lines = append(lines, "", b.style.bold("SIGNS"))
	bars := []string{
		b.style.green("█") + " confirmed", b.style.yellow("▒") + " under way", b.style.red("X") + " harmed", b.style.dim("·") + " free",
	}
	lines = append(lines, wrap("  ", strings.Join(bars, ", "), b.width)...)
	for _, text := range []string{
		"E is the evidence that the release harms hosts; # is how far it has come to the trip, | is where amber is.",
		"At amber nobody more gets it; at the trip the breaker halts, recalls and rolls back by itself.",
	} {
		lines = append(lines, wrap("  ", text, b.width)...)
	}
	return append(lines, "", b.style.dim("? or Esc closes this"))
}

func tries(n int) string {
	if n == 1 {
		return "1 try"
	}
	return fmt.Sprintf("%d tries", n)
}
