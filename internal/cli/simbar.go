package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// simBar is a line on a terminal that says how far many runs are. It is safe for use by several workers.
type simBar struct {
	p     *program
	label string
	runs  int
	hosts int64

	mu    sync.Mutex
	ended int
	begun time.Time
	drawn time.Time
	shown bool
}

const (
	redraw  = 200 * time.Millisecond
	barSize = 20
)

// bar begins a line; nil, which does nothing, where nobody sees it.
func (p *program) bar(label string, runs int, hosts int64) *simBar {
	if _, terminal := p.Terminal(p.Err); !terminal {
		return nil
	}
	return &simBar{p: p, label: label, runs: runs, hosts: hosts, begun: p.Clock.Now()}
}

// done notes how many runs are finished.
func (b *simBar) done(finished int) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = finished
	b.draw("")
}

// exposed notes how many hosts have the release in some run. Once all runs are finished, that is the one of a good update.
func (b *simBar) exposed(hosts int64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended == b.runs {
		b.draw(fmt.Sprintf("a good update: %d %% of the fleet", 100*hosts/max(1, b.hosts)))
		return
	}
	b.draw("")
}

// draw writes the line, but not more often than anybody reads.
func (b *simBar) draw(instead string) {
	now := b.p.Clock.Now()
	if b.shown && now.Sub(b.drawn) < redraw {
		return
	}
	b.drawn, b.shown = now, true
	full := barSize * b.ended / b.runs
	text := fmt.Sprintf("%s%s %d/%d runs", strings.Repeat("█", full), strings.Repeat("░", barSize-full), b.ended, b.runs)
	took := now.Sub(b.begun)
	switch {
	case instead != "":
		text += ", " + instead
	case b.ended > 0 && took > 0:
		left := time.Duration(float64(took) / float64(b.ended) * float64(b.runs-b.ended))
		text += fmt.Sprintf(", %s, %s left", pace(b.ended, took), span(left))
	}
	width, _ := b.p.Terminal(b.p.Err)
	if width <= 0 {
		width = columns
	}
	_, _ = fmt.Fprintf(b.p.Err, "\r\x1b[K%s", cut(b.label+" "+text, width-1))
}

// pace is how fast runs go.
func pace(runs int, took time.Duration) string {
	if rate := float64(runs) / took.Seconds(); rate >= 1 {
		return fmt.Sprintf("%.1f/s", rate)
	}
	return span(took/time.Duration(runs)) + " a run"
}

// end takes the line away.
func (b *simBar) end() {
	if b == nil || !b.shown {
		return
	}
	_, _ = fmt.Fprint(b.p.Err, "\r\x1b[K")
}
