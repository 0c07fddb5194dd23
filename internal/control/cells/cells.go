// Package cells asks the control planes of other cells how releases stand there.
//
// A plan may go from cell to cell, each a control plane with its own database and endpoints. What one of them has to know of the others, to
// begin after them and to stop with them, it asks for over their operator port, with a token that opens nothing else. It believes an
// answer for a short time by its own clock; a cell that gave none for longer is lost, and what a lost cell means is for the rollout to
// decide. Nothing is ever sent to another cell but the question.
package cells

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Defaults of Options, and bounds.
const (
	DefaultEvery   = 5 * time.Second
	DefaultFresh   = 20 * time.Second
	DefaultTimeout = 5 * time.Second
	MaxQuestions   = 1000 // releases that are asked about at a time

	look    = 500 * time.Millisecond // how often a peer's questions are looked at, about: a new one waits no longer
	forget  = time.Minute            // a question that nobody puts any more
	maxBody = 64 << 10               // bytes of an answer
	maxText = 300                    // runes of a reason
)

// Peer is the control plane of another cell.
type Peer struct {
	Name  string // of the cell, as plans name it
	URL   string // of its operator port
	Token string // of the kind "peer", made there
}

// Options are what Cells are made of. Transport, Every, Fresh and Timeout may be left out.
type Options struct {
	Peers     []Peer
	Transport http.RoundTripper // how to reach them; nil: as the environment says
	Every     time.Duration     // how often a question is put to each peer; 0 means DefaultEvery
	Fresh     time.Duration     // how long an answer stands; 0 means DefaultFresh
	Timeout   time.Duration     // for one answer; 0 means DefaultTimeout
	Clock     clock.Clock
	Log       *slog.Logger
}

// Cells knows how releases stand in other cells. Run asks, Heard tells what was answered. It is safe for concurrent use.
type Cells struct {
	Options
	client http.Client

	mu     sync.Mutex
	wanted map[question]time.Time // when somebody wanted to know last
	words  map[source]*word
}

// question is what is asked.
type question struct {
	component string
	manifest  release.Digest
}

// source is a question and who answers it.
type source struct {
	question
	cell string
}

// word is what a cell said last.
type word struct {
	asked  time.Time // when it was asked last
	at     time.Time // when the newest answer came; zero: none ever did
	heard  rollout.CellHeard
	failed string // why there was no answer since; empty: there was
}

// New makes Cells. It does no I/O: a peer that is away is found out by asking.
func New(o Options) (*Cells, error) {
	if o.Clock == nil || o.Log == nil {
		return nil, fault.New(fault.Internal, "make cells: there is no clock or no log")
	}
	if err := fault.Problems("read the peers", check(o.Peers)); err != nil {
		return nil, err
	}
	for value, standard := range map[*time.Duration]time.Duration{&o.Every: DefaultEvery, &o.Fresh: DefaultFresh, &o.Timeout: DefaultTimeout} {
		if *value <= 0 {
			*value = standard
		}
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: maxBody, IdleConnTimeout: time.Minute}
	}
	c := &Cells{Options: o, wanted: map[question]time.Time{}, words: map[source]*word{}}
	// A redirect is not followed: it would carry the token elsewhere.
	c.client = http.Client{
		Transport: o.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Run asks until ctx ends, each peer by itself, so that one that hangs keeps no other waiting. It may run again after it ended.
func (c *Cells) Run(ctx context.Context) error {
	var asking sync.WaitGroup
	for _, p := range c.Peers {
		asking.Go(func() { c.follow(ctx, p) })
	}
	asking.Wait()
	return nil
}

func (c *Cells) follow(ctx context.Context, p Peer) {
	for c.Clock.Sleep(ctx, about(min(look, c.Every))) == nil {
		for _, q := range c.due(p.Name) {
			heard, err := c.ask(ctx, p, q)
			if ctx.Err() != nil {
				return
			}
			c.note(ctx, source{q, p.Name}, heard, err)
		}
	}
}

// due lists the questions that a cell is to be asked now, and forgets those that nobody puts any more.
func (c *Cells) due(cell string) []question {
	now := c.Clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	var due []question
	for q, last := range c.wanted {
		if now.Sub(last).Abs() > forget {
			delete(c.wanted, q)
			for _, p := range c.Peers {
				delete(c.words, source{q, p.Name})
			}
			continue
		}
		w := c.word(source{q, cell})
		if w.asked.IsZero() || now.Sub(w.asked).Abs() >= c.Every {
			w.asked = now
			due = append(due, q)
		}
	}
	return due
}

// word is what a cell said last, or nothing yet; the caller holds the lock.
func (c *Cells) word(from source) *word {
	w := c.words[from]
	if w == nil {
		w = &word{}
		c.words[from] = w
	}
	return w
}

// note keeps an answer, or why there was none. A failure that goes on is logged once.
func (c *Cells) note(ctx context.Context, from source, heard rollout.CellHeard, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.word(from)
	if err != nil {
		if w.failed == "" {
			c.Log.WarnContext(ctx, "a cell does not answer", slog.String("cell", from.cell), slog.Any("error", err))
		}
		w.failed = clip(err.Error())
		return
	}
	w.heard, w.at, w.failed = heard, c.Clock.Now(), ""
}

// Heard tells what is known of a release in those cells, in their order, and has them asked about it from now on. A cell is lost that is no
// peer, was not asked yet, or whose newest answer is too old.
func (c *Cells) Heard(component string, manifest release.Digest, names []string) []rollout.CellHeard {
	now, q := c.Clock.Now(), question{component, manifest}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.wanted[q]; known || len(c.wanted) < MaxQuestions {
		c.wanted[q] = now
	}
	heard := make([]rollout.CellHeard, len(names))
	for i, name := range names {
		heard[i] = c.of(source{q, name}, now)
	}
	return heard
}

func (c *Cells) of(from source, now time.Time) rollout.CellHeard {
	lost := rollout.CellHeard{Name: from.cell}
	w, known := c.words[from]
	switch {
	case !c.peer(from.cell):
		lost.Lost = "it is no peer of this control plane ('firebreak serve --peer')"
	case !known || w.at.IsZero() && w.failed == "":
		lost.Lost = "it was not asked yet"
	case w.at.IsZero():
		lost.Lost = w.failed
	case now.Sub(w.at).Abs() < c.Fresh:
		return w.heard
	default:
		lost.Lost, lost.Since = w.failed, w.at.UTC().Round(0).Truncate(time.Microsecond)
		if lost.Lost == "" {
			lost.Lost = "it was not asked again"
		}
	}
	return lost
}

func (c *Cells) peer(name string) bool {
	for _, p := range c.Peers {
		if p.Name == name {
			return true
		}
	}
	return false
}

// about is d, a fifth more or less by chance, so that control planes that were started together do not ask together.
func about(d time.Duration) time.Duration {
	var b [8]byte
	_, _ = rand.Read(b[:]) // does not fail
	fifth := d / 5
	return d - fifth + time.Duration(binary.LittleEndian.Uint64(b[:])%uint64(2*fifth+1)) //nolint:gosec // it fits: it is no more than 2/5 of d
}

// clip makes text from outside fit for a line on a screen and for storage.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > maxText {
		return string(runes[:maxText-1]) + "…"
	}
	return text
}
