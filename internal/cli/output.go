package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// columns is how wide output for people may be if the terminal does not say.
const columns = 80

// say prints a line for people.
func (p *program) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.Out, format+"\n", args...) // a closed pipe has nobody to be told
}

// sayFitting prints a line, broken if it is wider than the terminal.
func (p *program) sayFitting(text string) {
	lines := []string{text}
	if wide(text) > p.width() {
		lines = wrap("", text, p.width())
	}
	for _, line := range lines {
		p.say("%s", line)
	}
}

// show prints v as JSON if that was asked for, else as human does.
func (p *program) show(v any, human func()) error {
	if !p.json {
		human()
		return nil
	}
	encoder := json.NewEncoder(p.Out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// table prints rows under a heading. Columns are as wide as they need to be; on a terminal those that are too wide are shortened.
type table struct {
	head    []string
	rows    []row
	elastic int                                 // the column that is shortened first
	shorten func(cell string, width int) string // how it is
}

// row is a line of a table, and what is said under it.
type row struct {
	cells []string
	note  string
}

// newTable makes a table whose last column is shortened first.
func newTable(head ...string) *table {
	return &table{head: head, elastic: len(head) - 1, shorten: middle}
}

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = clean(cells[i])
	}
	t.rows = append(t.rows, row{cells: cells})
}

// note says something of any length under the last row.
func (t *table) note(text string) { t.rows[len(t.rows)-1].note = clean(text) }

func (t *table) print(p *program) {
	style, widths := p.styleOf(p.Out), t.widths(p)
	line := func(cells []string, paint func(string) string) {
		var b strings.Builder
		for i, cell := range cells {
			if i == t.elastic {
				cell = t.shorten(cell, widths[i])
			}
			cell = middle(cell, widths[i])
			b.WriteString(pad(paint(cell), widths[i]+gap))
		}
		p.say("%s", strings.TrimRight(b.String(), " "))
	}
	line(t.head, style.dim)
	for _, r := range t.rows {
		line(r.cells, style.outcome)
		if r.note != "" {
			for _, text := range wrap("  ", r.note, p.width()-1) {
				p.say("%s", text)
			}
		}
	}
}

const (
	gap      = 2  // columns between two of a table
	readable = 16 // columns that are left to the elastic one while others are wider
)

// widths are those of the columns. Nothing is shortened for a reader that is no terminal.
func (t *table) widths(p *program) []int {
	widths, all := make([]int, len(t.head)), -gap
	for _, r := range append([]row{{cells: t.head}}, t.rows...) {
		for i, cell := range r.cells {
			widths[i] = max(widths[i], wide(cell))
		}
	}
	for _, w := range widths {
		all += w + gap
	}
	if _, terminal := p.Terminal(p.Out); !terminal {
		return widths
	}
	for over := all - p.width(); over > 0; over-- {
		narrow := t.elastic
		if widths[narrow] <= readable {
			narrow = slices.Index(widths, slices.Max(widths))
		}
		widths[narrow] = max(1, widths[narrow]-1)
	}
	return widths
}

func (p *program) width() int {
	if width, ok := p.Terminal(p.Out); ok && width > 0 {
		return max(width, 40)
	}
	return columns
}

// height is how many lines the terminal has; 0 if that is not known.
func (p *program) height() int {
	if p.Height == nil {
		return 0
	}
	return p.Height(p.Out)
}

// palette paints text on a terminal, and nowhere else.
type palette struct{ on bool }

func (p *program) styleOf(w io.Writer) palette {
	_, terminal := p.Terminal(w)
	return palette{on: terminal && p.Getenv("NO_COLOR") == "" && p.Getenv("TERM") != "dumb"}
}

func (s palette) paint(code, text string) string {
	if !s.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s palette) bold(text string) string   { return s.paint("1", text) }
func (s palette) dim(text string) string    { return s.paint("2", text) }
func (s palette) red(text string) string    { return s.paint("31", text) }
func (s palette) green(text string) string  { return s.paint("32", text) }
func (s palette) yellow(text string) string { return s.paint("33", text) }

// outcome paints the words that matter.
func (s palette) outcome(word string) string {
	switch word {
	case "confirmed", "complete", "published", "done", "quiet":
		return s.green(word)
	case "crashed", "reverted", "silent", "late", "tripped", "recalled", "trip", "rolled back", "revoked", "open incident":
		return s.red(word)
	case "amber", "paused", "halted", "pending", "expired":
		return s.yellow(word)
	}
	return word
}

// stamp writes a time as an operator reads it: local to nothing, in UTC.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

func stampOf(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return stamp(*t)
}

// ago writes how long something is past.
func (p *program) ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	d := p.Clock.Now().Sub(t)
	if d < time.Second {
		return "now"
	}
	return span(d) + " ago"
}

// span writes a duration with one or two units.
func span(d time.Duration) string {
	switch {
	case d > 0 && d < time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return units(int(d.Minutes()), "m", int(d.Seconds())%60, "s")
	case d < 48*time.Hour:
		return units(int(d.Hours()), "h", int(d.Minutes())%60, "m")
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
}

// units is "2h05m", or "2h" if nothing is left.
func units(n int, unit string, rest int, small string) string {
	if rest == 0 {
		return fmt.Sprintf("%d%s", n, unit)
	}
	return fmt.Sprintf("%d%s%02d%s", n, unit, rest, small)
}

// exact writes a duration that somebody configured, without the zeros at its end: 24h, 15m, 1h30m.
func exact(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// evidence writes E: two digits are all that anybody acts on.
func evidence(e float64) string {
	switch {
	case math.IsInf(e, 0) || math.IsNaN(e):
		return "?"
	case e >= 1e6 || e < 0.01 && e > 0:
		return strconv.FormatFloat(e, 'e', 1, 64)
	case e >= 100:
		return strconv.FormatFloat(e, 'f', 0, 64)
	}
	return strconv.FormatFloat(e, 'g', 3, 64)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// short keeps enough of a digest for a person.
func short(digest string) string {
	rest, ok := strings.CutPrefix(digest, "sha256:")
	if !ok {
		return digest
	}
	return rest[:min(12, len(rest))]
}
