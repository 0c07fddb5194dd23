// Package launch decides which agent a host runs: the one in use, the last-known-good one after three bad exits, and below it whatever
// is left, down to the agent that the package of the operating system brought. It never gives up.
//
// The machine has two steps: [Choose] says what to run, [State.Ended] takes in how that ended. It knows no time of day: ages are sums of
// what the launcher itself has waited, so that a clock at 1970, or one that jumps, changes nothing.
package launch

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
)

// SwapStatus is the exit status of an agent that has switched to another one: "run the new one".
const SwapStatus = 75

// Rung is one of the places that an agent can be run from, from the best to the last resort.
type Rung string

// The rungs.
const (
	Current Rung = "current" // what the component's link leads to
	Good    Rung = "good"    // the last-known-good slot
	Older   Rung = "older"   // the good slot before it
	Keep    Rung = "keep"    // the launcher's own copy of a good agent
	Factory Rung = "factory" // what the package of the operating system brought: there is nothing below it
)

// Have is what there is on the host. A slot is "" if it is not known or holds nothing that could be run.
type Have struct {
	Link    string // slot that the component's link leads to, whether or not it can be run
	Current string
	Good    string
	Older   string
	Keep    string // slot that the launcher's copy was made of
}

// Reason is why an agent ended.
type Reason string

// The reasons.
const (
	Exited  Reason = "exited"  // by itself, whatever its status
	Stopped Reason = "stopped" // it was asked to
	Hung    Reason = "hung"    // it was killed: it did not get ready, or did not show that it is alive
	Mute    Reason = "mute"    // it was killed: it never asked the control plane for anything, so that it could never be replaced
	Astray  Reason = "astray"  // it was killed: the good agent reaches the control plane and this one does not
	Ate     Reason = "ate"     // it removed its own state
	Lost    Reason = "lost"    // the launcher died with it
	// Hindered is the end of an agent that could not have done better: its state cannot be written. It counts against none, but the next
	// start waits.
	Hindered Reason = "hindered"
)

// Exit is how an agent ended.
type Exit struct {
	Reason Reason
	Status int           // of Exited; -1 if it could not be started or a signal ended it
	Link   string        // slot that the component's link leads to now
	After  time.Duration // since the exit before, or since the launcher was started
	Why    string        // for people: what was seen
}

// Limits bound the machine. All are positive.
type Limits struct {
	Exits    int           // so many bad exits ...
	Window   time.Duration // ... within this time are too many
	MinPause time.Duration // before the first restart after a bad exit; it doubles ...
	MaxPause time.Duration // ... up to this
	Doubt    time.Duration // for so long a slot that was good before is not run again: perhaps it was the host
}

// The bounds of a State.
const (
	maxQuarantined = 16
	maxWhy         = 200
	maxStreak      = 64 // enough for the longest pause
	deafRows       = 3  // times Limits.Exits: so many bad exits in a row, at whatever pace, of an agent that never asks are too many
)

// State is what the launcher remembers. The zero value is that of a new host. It is bounded: see the constants.
type State struct {
	Running     *Life        `json:"running,omitempty"` // started, and not known to have ended
	Of          string       `json:"of,omitempty"`      // slot of the agent that ran last; what follows is about it
	Exits       []Bad        `json:"exits,omitempty"`   // bad ones, newest last
	Deaf        int          `json:"deaf,omitempty"`    // of them, in a row, without having asked the control plane
	Streak      int          `json:"streak,omitempty"`  // bad exits in a row, for the pause
	Swaps       int          `json:"swaps,omitempty"`   // in a row, of agents that never asked: two that make room for each other get pauses
	Quarantined []Quarantine `json:"quarantined,omitempty"`
	// Suspect is the slot whose trial ended in quarantine, while no other agent has shown that it fares better on this host.
	Suspect string `json:"suspect,omitempty"`
}

// Life is one run of an agent.
type Life struct {
	Rung  Rung   `json:"rung"`
	Slot  string `json:"slot,omitempty"` // that it is, or is a copy of; "" for the factory agent
	Trial bool   `json:"trial,omitempty"`
	Link  string `json:"link,omitempty"` // slot that the component's link led to when it started
	Boot  string `json:"boot,omitempty"`
	Asked bool   `json:"asked,omitempty"` // it has asked the control plane, with or without an answer
}

// Bad is one bad exit.
type Bad struct {
	Weight int           `json:"weight"`
	After  time.Duration `json:"after"`
}

// Quarantine is a slot that is not run.
type Quarantine struct {
	Slot string        `json:"slot"`
	Why  string        `json:"why"`
	Left time.Duration `json:"left,omitempty"` // until it may be tried again; 0 means never
	Owed bool          `json:"owed,omitempty"` // the agent has not been told yet
}

// Decision is what to do now, in this order: pause, move the link, tell the agent, run.
type Decision struct {
	Pause time.Duration
	// Move says that the component's link must lead to To ("" takes it away) before anything is run.
	Move bool
	To   string
	// Undone is what the agent must be told; its times are for the shell to fill in. [State.Told] says that it was.
	Undone []bootguard.Undone
	Run    Life
	Why    string // for people: why this one
}

// Choose decides what to run. It changes nothing.
func Choose(s State, have Have, l Limits) Decision {
	rung, slot := s.best(have, Current, Good, Older, Keep)
	d := Decision{
		Run: Life{Rung: rung, Slot: slot, Trial: rung == Current && slot != have.Good && slot != have.Older, Link: have.Link},
		Why: s.why(rung, have),
	}
	if d.Pause = pause(s.Swaps-1, l); slot == s.Of {
		d.Pause = pause(s.Streak, l)
	}
	switch rung {
	case Good, Older:
		d.Move, d.To = have.Link != slot, slot
	case Keep, Factory: // a link to what must not or cannot be run would tell lies about what runs
		d.Move = have.Link != ""
	case Current:
	}
	if d.Move {
		d.Run.Link = d.To
	}
	for _, q := range s.Quarantined {
		if q.Owed {
			d.Undone = append(d.Undone, undone(q, d.Run.Link))
		}
	}
	return d
}

// Asker is the agent that is trusted to ask the control plane before another one is run: never one on trial.
func Asker(s State, have Have) (Rung, string) { return s.best(have, Good, Older, Keep) }

// best is the first rung that has something to run; the factory agent is taken to be there always.
func (s State) best(have Have, rungs ...Rung) (Rung, string) {
	on := map[Rung]string{Current: have.Current, Good: have.Good, Older: have.Older, Keep: have.Keep}
	for _, r := range rungs {
		if slot := on[r]; slot != "" && !s.refuses(slot) {
			return r, slot
		}
	}
	return Factory, ""
}

func undone(q Quarantine, to string) bootguard.Undone {
	u := bootguard.Undone{From: q.Slot, To: to, Verdict: bootguard.Crash, Why: q.Why}
	if q.Left > 0 {
		u.Verdict = bootguard.Inconclusive
	}
	return u
}

func (s State) why(rung Rung, have Have) string {
	switch {
	case rung == Current:
		return "it is in use"
	case s.refuses(have.Link):
		return "the one in use is quarantined"
	case have.Link != "":
		return "the one in use cannot be run"
	default:
		return "none is in use"
	}
}

// pause is how long to wait before the n-th start in a row that is none of the usual ones.
func pause(n int, l Limits) time.Duration {
	if n <= 0 {
		return 0
	}
	d := l.MinPause
	for ; n > 1 && d < l.MaxPause; n-- {
		d *= 2
	}
	return min(d, l.MaxPause)
}

// Barred are the slots that are never run again, in the order in which they were quarantined.
func (s State) Barred() []string {
	var all []string
	for _, q := range s.Quarantined {
		if q.Left == 0 {
			all = append(all, q.Slot)
		}
	}
	return all
}

func (s State) refuses(slot string) bool {
	return slices.ContainsFunc(s.Quarantined, func(q Quarantine) bool { return q.Slot == slot })
}

// Started notes that an agent is about to be run.
func (s State) Started(run Life) State {
	if run.Slot != s.Of {
		s = s.fresh()
	}
	s.Running, s.Of = &run, run.Slot
	return s
}

// Asked notes that the running agent has asked the control plane.
func (s State) Asked() State {
	if s.Running != nil {
		run := *s.Running
		run.Asked = true
		s.Running, s.Deaf, s.Swaps, s.Suspect = &run, 0, 0, ""
	}
	return s
}

// Proved notes that the running agent is good now: its soak is over.
func (s State) Proved() State {
	if s.Running != nil {
		run := *s.Running
		run.Trial = false
		s.Running = &run
	}
	return s
}

// Told notes that the agent's book has the end of a slot.
func (s State) Told(slot string) State {
	s.Quarantined = slices.Clone(s.Quarantined)
	for i := range s.Quarantined {
		if s.Quarantined[i].Slot == slot {
			s.Quarantined[i].Owed = false
		}
	}
	return s
}

// Ended takes in how the running agent ended.
func (s State) Ended(e Exit, l Limits) State {
	if s.Running == nil {
		return s
	}
	run := *s.Running
	s.Running = nil
	e.After = max(0, e.After)
	s = s.aged(e.After)
	if run.Trial && e.Reason == Exited && e.Status != SwapStatus && e.Link == "" && run.Link != "" {
		e.Reason = Ate // its slots are gone
	}
	weight := weigh(run, e, l)
	switch {
	case e.Reason == Stopped || e.Reason == Lost && weight == 0:
		return s
	case e.Reason == Hindered:
		s.Streak = min(s.Streak+1, maxStreak)
		return s
	case weight == 0: // it made room for another
		s.Swaps = min(s.Swaps+1, maxStreak)
		return s.fresh()
	case e.After >= l.Window:
		s.Streak = 0
	}
	s = s.note(run, Bad{weight, e.After}, l)
	if run.Slot != "" && (s.tooMany(l) || s.Deaf >= deafRows*l.Exits) {
		s = s.quarantine(run, e, l).fresh()
	}
	return s
}

func (s State) note(run Life, bad Bad, l Limits) State {
	s.Streak = min(s.Streak+1, maxStreak)
	s.Deaf = min(s.Deaf+1, deafRows*l.Exits)
	if run.Asked {
		s.Deaf = 0
	}
	s.Exits = append(slices.Clone(s.Exits), bad)
	if n := len(s.Exits); n > l.Exits {
		s.Exits = s.Exits[n-l.Exits:]
	}
	return s
}

// weigh tells how many bad exits this one counts as. One that was good before is given its tries whatever it does: more likely it is the
// host.
func weigh(run Life, e Exit, l Limits) int {
	switch e.Reason {
	case Stopped, Hindered:
		return 0
	case Lost: // only one that never got going is suspected
		if run.Trial && !run.Asked {
			return 1
		}
		return 0
	case Exited:
		if e.Status == SwapStatus && e.Link != run.Link {
			return 0
		}
	case Mute, Astray, Ate:
		if run.Trial {
			return l.Exits
		}
	case Hung:
	}
	return 1
}

// fresh forgets the exits: another agent is run, or this one ran well for long enough.
func (s State) fresh() State {
	s.Exits, s.Deaf, s.Streak = nil, 0, 0
	return s
}

// tooMany tells whether the exits within the window are too many. The age of an exit is the sum of the times that came after it.
func (s State) tooMany(l Limits) bool {
	age, weight := time.Duration(0), 0
	for _, bad := range slices.Backward(s.Exits) {
		if age > l.Window {
			break
		}
		weight += bad.Weight
		age += min(bad.After, l.Window+1)
	}
	return weight >= l.Exits
}

// aged lets time pass for the quarantines that end.
func (s State) aged(d time.Duration) State {
	s.Quarantined = slices.Clone(s.Quarantined)
	s.Quarantined = slices.DeleteFunc(s.Quarantined, func(q Quarantine) bool { return q.Left > 0 && q.Left <= d && !q.Owed })
	for i, q := range s.Quarantined {
		if q.Left > 0 {
			s.Quarantined[i].Left = max(1, q.Left-d)
		}
	}
	return s
}

func (s State) quarantine(run Life, e Exit, l Limits) State {
	q := Quarantine{Slot: run.Slot, Owed: true}
	q.Why = short(fmt.Sprintf("the agent %s: %s", reasons(e.Reason), e.Why))
	s.Quarantined = slices.Clone(s.Quarantined)
	if run.Trial {
		s.Suspect = run.Slot
	} else {
		q.Left = l.Doubt
		s.acquit(q)
	}
	s.Quarantined = append(s.Quarantined, q)
	if n := len(s.Quarantined); n > maxQuarantined {
		s.Quarantined = s.Quarantined[n-maxQuarantined:]
	}
	return s
}

// acquit doubts that a trial failed by its own fault: the agent that was good before fails the same way, so perhaps it is the host. The
// agent, which was told for sure, is told again.
func (s State) acquit(like Quarantine) {
	for i, q := range s.Quarantined {
		if q.Slot == s.Suspect && q.Left == 0 && q.Why == like.Why {
			s.Quarantined[i].Left, s.Quarantined[i].Owed = like.Left, true
		}
	}
}

func reasons(r Reason) string {
	switch r {
	case Exited:
		return "ended again and again"
	case Hung:
		return "hung again and again"
	case Mute:
		return "never asked the control plane"
	case Astray:
		return "does not reach the control plane, which the good one does"
	case Ate:
		return "removed its own state"
	case Lost, Stopped, Hindered:
		return "ended with the launcher again and again"
	}
	return string(r)
}

// short cuts a text to what a State has room for, on a rune.
func short(text string) string {
	text = strings.ToValidUTF8(text, "?")
	if len(text) <= maxWhy {
		return text
	}
	return strings.ToValidUTF8(text[:maxWhy], "")
}
