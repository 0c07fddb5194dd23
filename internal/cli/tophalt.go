package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// aim is something that can be halted, and what that means.
type aim struct {
	key   string // that halts it
	of    []string
	label string
	text  string
}

// halting is what is being stopped, or was.
type halting struct {
	turn   int
	of     []string // ids; nil: everything
	tries  int
	took   time.Duration // of the first try that was answered
	answer *api.Halted   // the newest one
	err    error         // of the last try
	done   bool          // nothing is left to be tried
}

// sendHalt asks the board's owner to send a halt.
type sendHalt struct {
	turn  int
	want  api.HaltRollouts
	after time.Duration // to wait before
}

// answered is what came of it.
type answered struct {
	turn   int
	halted api.Halted
	err    error
	took   time.Duration
}

const (
	haltPatience = 3 * time.Second         // for one answer
	haltBetween  = 1500 * time.Millisecond // tries
	haltTries    = 60                      // at most, until what is being held is stored
)

// askHalt opens the prompt, or shows again what a halt that is not through has come to.
func (b board) askHalt() board {
	b.help = false
	if b.halt != nil && !b.halt.done {
		b.hidden = false
		return b
	}
	b.halt = nil
	all := aim{"A", nil, "Halt everything", everything(b.overview)}
	b.aims = []aim{all}
	id := b.opened
	r := b.target()
	if r != nil {
		id = r.ID
	}
	switch {
	case id == "":
		b.aims[0].key = "enter"
	case r == nil:
		b.aims = []aim{{"enter", []string{id}, "Halt rollout " + id, "Nobody new gets its release."}, all}
	default:
		b.aims = []aim{{"enter", []string{id}, "Halt " + r.Component + " " + r.Version, consequence(*r)}, all}
	}
	return b
}

// consequence says what a halt of a rollout means.
func consequence(r api.Rollout) string {
	holds, keeps := "hold a lease and", "keep"
	if r.Unconfirmed == 1 {
		holds = "holds a lease and"
	}
	if r.Exposed == 1 {
		keeps = "keeps"
	}
	switch {
	case r.Phase == string(rollout.Complete):
		return fmt.Sprintf("It is complete already: latecomers get no lease any more; %s %s it.", counted(r.Exposed, "exposed host"), keeps)
	case !stoppable(r):
		return "It is " + words(r.Phase) + " already."
	}
	return fmt.Sprintf("Nobody new gets %s %s. %s %s may still activate; %s %s it.", r.Component, r.Version, counted(r.Unconfirmed, "host"), holds,
		counted(r.Exposed, "exposed host"), keeps)
}

func stoppable(r api.Rollout) bool {
	return slices.Contains([]string{"running", "paused", "proposed"}, r.Phase)
}

// mostNamed is how many rollouts a halt of everything names.
const mostNamed = 4

// everything says what a halt of everything means.
func everything(o *api.Overview) string {
	switch {
	case o == nil:
		return "Every rollout that exposes hosts, or may. How many those are is not known here: the live view is not there."
	case o.Running == 0:
		return "Nothing runs now."
	}
	var names []string
	pending := int64(0)
	for _, r := range (board{overview: o}).rollouts() {
		if !stoppable(r) {
			continue
		}
		pending += r.Unconfirmed
		if len(names) < mostNamed {
			names = append(names, r.Component+" "+r.Version)
		}
	}
	if rest := o.Running - int64(len(names)); rest > 0 {
		names = append(names, fmt.Sprintf("%d more", rest))
	}
	return fmt.Sprintf("%s: %s. %s %s under way and may still activate.", counted(o.Running, "rollout"), enumerate(names), counted(pending, "host"), are(pending))
}

// choose takes in a key while the halt is asked for.
func (b board) choose(m pressed) (board, deed) {
	for _, a := range b.aims {
		if a.key == m.key {
			return b.send(a.of)
		}
	}
	if m.key == "esc" || m.key == "q" {
		b.aims = nil
	}
	return b, nil
}

// send sends a halt for the first time.
func (b board) send(of []string) (board, deed) {
	b.turns++
	b.aims, b.hidden = nil, false
	b.halt = &halting{turn: b.turns, of: of, tries: 1}
	return b, sendHalt{turn: b.turns, want: api.HaltRollouts{Rollouts: of}}
}

// answer takes in what came of a try. It does not give up: to send a halt again is safe. What is not stored is asked for again by its
// id, so that nothing is stopped that began later.
func (b board) answer(m answered) (board, deed) {
	if b.halt == nil || m.turn != b.halt.turn {
		return b, nil
	}
	h := *b.halt
	h.err = m.err
	ask := h.of
	if m.err == nil {
		if h.answer == nil {
			h.took, b.hidden = m.took, false // whoever looked away wants to know
		}
		h.answer = keepHalted(h.answer, cleaned(m.halted))
	} else {
		h.done = refused(m.err)
	}
	if h.answer != nil {
		ask = nil
		for _, r := range h.answer.Rollouts {
			if r.State == api.HaltHolding || r.State == api.HaltFailed {
				ask = append(ask, r.ID)
			}
		}
		h.done = h.done || len(ask) == 0
	}
	h.done = h.done || h.tries >= haltTries
	b.halt = &h
	if h.done {
		return b, nil
	}
	h.tries++
	return b, sendHalt{turn: h.turn, want: api.HaltRollouts{Rollouts: ask}, after: haltBetween}
}

// keepHalted puts a later answer, which is about some of the rollouts, into the first one.
func keepHalted(before *api.Halted, later api.Halted) *api.Halted {
	if before == nil {
		return &later
	}
	newer := map[string]api.HaltedRollout{}
	for _, r := range later.Rollouts {
		newer[r.ID] = r
	}
	both := api.Halted{At: later.At}
	for _, r := range before.Rollouts {
		if now, there := newer[r.ID]; there {
			if now.State == api.HaltEnded && r.State == api.HaltHolding { // we ended it
				now.State, now.Was = api.HaltDone, r.Was
			}
			r = now
		}
		both.Rollouts = append(both.Rollouts, r)
		both.InFlight += r.InFlight
	}
	return &both
}

// headline says in a sentence how a halt stands.
func (h *halting) headline() string {
	what := "everything"
	if len(h.of) == 1 {
		what = "rollout " + h.of[0]
	}
	if h.answer == nil {
		if h.done {
			return "The halt of " + what + " was refused"
		}
		return "Halting " + what + "…"
	}
	by := map[string]int64{}
	for _, r := range h.answer.Rollouts {
		by[r.State]++
	}
	var parts []string
	if n := by[api.HaltDone]; n > 0 {
		parts = append(parts, counted(n, "rollout")+" halted")
	}
	if n := by[api.HaltHolding]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d held, nobody gets a lease any more", n))
	}
	if n := by[api.HaltFailed]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d NOT halted", n))
	}
	switch {
	case len(h.answer.Rollouts) == 0:
		return "Nothing was running"
	case len(parts) == 0:
		return "There was nothing to halt: it had ended"
	}
	return fmt.Sprintf("%s; %s %s still in flight (answered in %s)", enumerate(parts), counted(h.answer.InFlight, "host"), are(h.answer.InFlight), swift(h.took))
}

// swift writes how long an answer took.
func swift(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

func are(n int64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// enumerate joins words: "a", "a and b", "a, b and c".
func enumerate(parts []string) string {
	if len(parts) < 2 {
		return strings.Join(parts, "")
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}
