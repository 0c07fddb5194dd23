package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// columns is how wide output for people may be if the terminal does not say.
const columns = 80

// say prints a line for people.
func (p *program) say(format string, args ...any) {
	_, _ = fmt.Fprintf(p.Out, format+"\n", args...) // a closed pipe has nobody to be told
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

// table prints rows under a heading. Columns are as wide as they need to be; the last one is cut to fit the terminal.
type table struct {
	head []string
	rows [][]string
}

func newTable(head ...string) *table { return &table{head: head} }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) print(p *program) {
	style, width := p.styleOf(p.Out), p.width()
	widths := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], runes(cell))
		}
	}
	last := len(widths) - 1
	left := width
	for _, w := range widths[:last] {
		left -= w + 2
	}
	widths[last] = max(8, left)
	line := func(cells []string, paint func(string) string) {
		var b strings.Builder
		for i, cell := range cells[:last] {
			b.WriteString(paint(cell) + strings.Repeat(" ", widths[i]-runes(cell)+2))
		}
		b.WriteString(paint(cut(cells[last], widths[last])))
		p.say("%s", strings.TrimRight(b.String(), " "))
	}
	line(t.head, style.dim)
	for _, row := range t.rows {
		line(row, style.outcome)
	}
}

func runes(s string) int { return utf8.RuneCountInString(s) }

// cut shortens s to at most width runes.
func cut(s string, width int) string {
	if runes(s) <= width {
		return s
	}
	return string([]rune(s)[:max(0, width-1)]) + "…"
}

func (p *program) width() int {
	if width, ok := p.Terminal(p.Out); ok && width > 0 {
		return max(width, 40)
	}
	return columns
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
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd", int(d.Hours())/24)
	}
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
