package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// progress says on stderr how far work is of which the amount is known, how fast it goes and how long it takes still: on a terminal in a
// line that is redrawn and taken away in the end, elsewhere in a line now and then. A nil progress says nothing. It is safe for use by
// several workers.
type progress struct {
	p     *program
	label string
	unit  unit
	total int64
	live  bool // redrawn in place

	mu    sync.Mutex
	done  int64
	begun time.Time
	drawn time.Time
	shown bool
}

const (
	redraw  = 200 * time.Millisecond
	retell  = 10 * time.Second // where nothing can be redrawn
	barSize = 20
)

// unit is how amounts of something and rates are written.
type unit struct {
	amount func(done, total int64) string
	pace   func(done int64, took time.Duration) string
}

func inRuns() unit {
	return unit{func(done, total int64) string { return fmt.Sprintf("%d/%d runs", done, total) }, pace}
}

func inBytes() unit {
	return unit{
		func(done, total int64) string { return size(done) + " of " + size(total) },
		func(done int64, took time.Duration) string { return size(int64(float64(done)/took.Seconds())) + "/s" },
	}
}

func inRows() unit {
	return unit{
		func(done, total int64) string { return fmt.Sprintf("%s of %s rows", thousands(done), thousands(total)) },
		func(done int64, took time.Duration) string {
			return thousands(int64(float64(done)/took.Seconds())) + "/s"
		},
	}
}

// pace is how fast runs go.
func pace(runs int64, took time.Duration) string {
	if rate := float64(runs) / took.Seconds(); rate >= 1 {
		return fmt.Sprintf("%.1f/s", rate)
	}
	return span(took/time.Duration(runs)) + " a run"
}

// size writes a number of bytes: 1.2 MB.
func size(n int64) string {
	const step = 1000
	value, units := float64(n), []string{"B", "kB", "MB", "GB", "TB"}
	for value >= step && len(units) > 1 {
		value, units = value/step, units[1:]
	}
	if value >= 100 || value == float64(int64(value)) {
		return fmt.Sprintf("%.0f %s", value, units[0])
	}
	return fmt.Sprintf("%.1f %s", value, units[0])
}

// progressOf begins to tell of total units of work. It is nil where nobody wants to be told: with --quiet, and with --json unless a person
// looks at a terminal.
func (p *program) progressOf(label string, total int64, in unit) *progress {
	_, terminal := p.Terminal(p.Err)
	if p.quiet || p.json && !terminal {
		return nil
	}
	now := p.Clock.Now()
	b := &progress{p: p, label: clean(label), unit: in, total: max(total, 1), live: terminal, begun: now, drawn: now}
	p.drawing = b
	return b
}

// at notes how much is done.
func (b *progress) at(done int64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = min(done, b.total)
	b.draw("")
}

// then says how far what follows is, once all is done; before that it only lets the line go on.
func (b *progress) then(text string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done < b.total {
		text = ""
	}
	b.draw(text)
}

// draw writes the line, but not more often than anybody reads.
func (b *progress) draw(instead string) {
	now := b.p.Clock.Now()
	switch since := now.Sub(b.drawn); {
	case !b.live && since < retell, b.live && b.shown && since < redraw:
		return
	}
	b.drawn, b.shown = now, true
	text := b.unit.amount(b.done, b.total)
	took := now.Sub(b.begun)
	switch {
	case instead != "":
		text += ", " + instead
	case b.done > 0 && took > 0:
		left := time.Duration(float64(took) / float64(b.done) * float64(b.total-b.done))
		text += fmt.Sprintf(", %s, %s left", b.unit.pace(b.done, took), span(left))
	}
	if !b.live {
		_, _ = fmt.Fprintf(b.p.Err, "%s: %s\n", b.label, text)
		return
	}
	full := int(barSize * b.done / b.total)
	text = strings.Repeat("█", full) + strings.Repeat("░", barSize-full) + " " + text
	width, _ := b.p.Terminal(b.p.Err)
	if width <= 0 {
		width = columns
	}
	label := cut(b.label, max(8, width-2-wide(text))) // what moves is worth more
	_, _ = fmt.Fprintf(b.p.Err, "\r\x1b[K%s", cut(label+" "+text, width-1))
}

// end takes the line away.
func (b *progress) end() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.live && b.shown {
		_, _ = fmt.Fprint(b.p.Err, "\r\x1b[K")
	}
	b.shown = false
}

// transfers tells of what is sent or fetched, one thing after the other: what is done to it, then its name.
func (p *program) transfers(verb string) func(name string, done, total int64) {
	last, now := "", (*progress)(nil)
	return func(name string, done, total int64) {
		if name != last {
			now.end()
			last, now = name, p.progressOf(verb+" "+name, total, inBytes())
		}
		now.at(done)
		if done >= total {
			now.end()
			last, now = "", nil
		}
	}
}

// stages tells of work in stages: which one begins, and of the long ones how many bytes are done.
func (p *program) stages() (begin func(what string), at func(done, total int64)) {
	stage, now := "", (*progress)(nil)
	begin = func(what string) {
		now.end()
		stage, now = what, nil
		if !p.json && !p.quiet {
			_, _ = fmt.Fprintln(p.Err, what+" ...")
		}
	}
	return begin, func(done, total int64) {
		if now == nil {
			now = p.progressOf(stage, total, inBytes())
		}
		now.at(done)
	}
}
