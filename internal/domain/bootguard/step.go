package bootguard

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// The ladder's numbers.
const (
	patience     = 3                  // unblessed boots before the first level
	hurry        = 2                  // the same with evidence of a crash
	rung         = 2                  // unblessed boots from one level to the next
	recent       = 7 * 24 * time.Hour // what was activated within this time is suspected by the second level
	maxForced    = patience + 1       // reboots out of a hang between two blessings
	maxBoots     = 1_000_000
	factoryAfter = patience + 2*rung // unblessed boots before the factory
	usual        = 3                 // boots found worse that make it the baseline
)

// Step decides what an event means. Events that mean nothing in a state change nothing. The given state is not changed.
func Step(s State, e Event) (State, []Effect) {
	t := turn{State: bounded(s)}
	switch e := e.(type) {
	case Booted:
		t.booted(e)
	case Synced:
		t.synced(bounded(State{Entries: e.Entries}).Entries)
	case Planned:
		t.Planned = true
	case Blessed:
		t.blessed(e)
	case Judged:
		t.judged(e)
	case Went:
		t.went(e.Component)
	case Failed:
		t.failed(e)
	case Taken:
		t.Undone = slices.DeleteFunc(t.Undone, func(u Undone) bool { return slices.ContainsFunc(e.Undone, u.same) })
	case Noted:
		t.Undone = append(t.Undone, e.Undone)
	case Overdue:
		t.overdue(e)
	case Asked:
		t.asked(e)
	}
	return bounded(t.State), t.effects
}

type turn struct {
	State
	effects []Effect
}

func (t *turn) do(e ...Effect) { t.effects = append(t.effects, e...) }

func (t *turn) booted(e Booted) {
	crashed := t.look(e)
	again := e.Boot != "" && clean(e.Boot, maxID) == t.Boot
	switch {
	case again:
	case t.Planned && !crashed:
		t.Boot, t.Planned = e.Boot, false
	default:
		t.Boot, t.Planned, t.Boots = e.Boot, false, t.Boots+1
	}
	t.climb(e)
	t.offer()
}

// look takes evidence in, and tells whether there is some that this boot brought. On a host that was never blessed nobody knows how old
// a dump is.
func (t *turn) look(e Booted) bool {
	fresh := func(dump string) bool { return !slices.Contains(t.Seen, clean(dump, maxUnit)) }
	dumps, i := e.Dumps[max(len(e.Dumps)-maxSeen, 0):], -1
	if t.Blessed != "" {
		i = slices.IndexFunc(dumps, fresh)
	}
	switch {
	case e.Watchdog:
		t.Evidence = "the watchdog reset the host"
	case i >= 0:
		t.Evidence = "the kernel left " + dumps[i]
	}
	return e.Watchdog || i >= 0
}

// climb takes the next level of the ladder that has something to do, if it is time.
func (t *turn) climb(e Booted) {
	fallen := t.Ended() - t.Judged // boots that nobody judged
	if t.Level == LevelFactory && fallen >= t.due() {
		t.Level, t.Due, t.Owed = LevelHandsOff, 0, nil
		return
	}
	for level := t.Level + 1; level <= LevelFactory; level++ {
		ended := fallen
		if level == LevelPending {
			ended = t.Ended() - t.Excused
		}
		if ended < t.due() || level == LevelFactory && ended < factoryAfter {
			continue
		}
		if owed := t.plan(level, e.At, e.Shows); len(owed) > 0 {
			t.Level, t.Due = level, fallen+rung
			t.owe(owed)
			return
		}
	}
}

func (t *turn) due() int {
	switch {
	case t.Level > 0:
		return t.Due
	case t.Evidence != "":
		return hurry
	default:
		return patience
	}
}

// owe adds to what is owed; a newer decision for a component takes the place of an older one.
func (t *turn) owe(owed []Undone) {
	kept := slices.DeleteFunc(slices.Clone(t.Owed), func(was Undone) bool {
		return slices.ContainsFunc(owed, func(u Undone) bool { return u.Component == was.Component })
	})
	t.Owed = append(kept, owed...)
}

// offer asks for all that is owed. What the guard cannot switch itself is on record at once: the agent does the going back.
func (t *turn) offer() {
	if t.Level == LevelFactory {
		t.do(SafeMode{})
	}
	for _, u := range slices.Clone(t.Owed) {
		e, ok := find(t.Entries, u.Component)
		switch {
		case !ok:
			t.settle(u.Component)
		case e.Dir == "":
			t.went(u.Component)
		default:
			t.do(GoBack{Component: u.Component, Dir: e.Dir, To: u.To, Level: u.Level})
		}
	}
}

// synced keeps what is owed while its entry is as it was: what could not be carried out is not done.
func (t *turn) synced(entries []Entry) {
	was := t.Entries
	t.Entries = entries
	t.Owed = slices.DeleteFunc(t.Owed, func(u Undone) bool {
		old, _ := find(was, u.Component)
		e, ok := find(entries, u.Component)
		return !ok || e.Current != u.From || e.Pending != old.Pending || !slices.Contains(e.ways(u.Level, u.From), u.To)
	})
}

// judged blesses a boot that is as bad as those before it, if no release is there to blame. None is to blame for what was as bad before it
// was activated.
func (t *turn) judged(e Judged) {
	t.Judged = min(t.Judged+1, max(t.Boots, usual)) // one that was planned is not among the counted ones
	switch {
	case len(t.Pending()) == 0:
		t.Worse, t.Excused = e.Worse, t.Judged
	case t.wasSo(e.Worse):
		t.Excused++
	}
	if t.Judged >= usual && (len(t.Pending()) == 0 || t.Excused >= usual) {
		t.blessed(Blessed{Boot: e.Boot, Baseline: e.Baseline, Dumps: e.Dumps})
	}
}

// wasSo tells whether a boot is worse in nothing but in what the host was before anything that is pending was activated.
func (t *turn) wasSo(worse []string) bool {
	fresh := func(finding string) bool { return !slices.Contains(t.Worse, clean(finding, maxFinding)) }
	return len(worse) > 0 && !slices.ContainsFunc(worse, fresh)
}

// blessed ends the count. A release that was to be left and is not proved yet is left all the same, at the next boot.
func (t *turn) blessed(e Blessed) {
	t.restart()
	t.Blessed, t.Seen, t.Trouble = e.Boot, e.Dumps, nil
	t.Owed = slices.DeleteFunc(t.Owed, func(u Undone) bool { e, _ := find(t.Entries, u.Component); return !e.Pending })
	t.Baseline = e.Baseline.over(t.Baseline)
}

// restart begins the count and the ladder anew.
func (t *turn) restart() {
	t.Boots, t.Judged, t.Excused, t.Level, t.Due, t.Forced = 0, 0, 0, 0, 0, 0
	t.Worse, t.Evidence = nil, ""
}

// went moves what was owed to what is undone.
func (t *turn) went(component string) {
	u, ok := t.settle(component)
	if !ok {
		return
	}
	t.Undone = append(t.Undone, u)
	for i, e := range t.Entries {
		if e.Component == component {
			t.Entries[i] = e.at(u.To)
		}
	}
}

// failed leaves it owed, unless there is no such slot: then the next best way back is taken, if there is one. What is pending stays so,
// for the levels to come.
func (t *turn) failed(f Failed) {
	i := slices.IndexFunc(t.Owed, func(u Undone) bool { return u.Component == f.Component })
	if i < 0 {
		return
	}
	u := t.Owed[i]
	t.Trouble = append(t.Trouble, fmt.Sprintf("%s to %q: %s", u.Component, u.To, f.Why))
	if !f.Gone {
		return
	}
	t.Owed = slices.Delete(t.Owed, i, i+1)
	e, known := find(t.Entries, u.Component)
	ways := e.ways(u.Level, u.From)
	if next := slices.Index(ways, u.To) + 1; known && next > 0 && next < len(ways) {
		u.To = ways[next]
		t.Owed = append(t.Owed, u)
		t.do(GoBack{Component: u.Component, Dir: e.Dir, To: u.To, Level: u.Level})
	}
}

func (t *turn) overdue(e Overdue) {
	hangs := e.Boot == "" || clean(e.Boot, maxID) != t.Blessed
	if hangs && t.Level < LevelHandsOff && t.Forced < maxForced && len(t.Pending()) > 0 {
		t.Forced++
		t.do(Reboot{})
	}
}

func (t *turn) asked(e Asked) {
	level := min(max(e.Level, LevelPending), LevelFactory)
	owed := t.plan(level, e.At, e.Shows)
	for i := range owed {
		owed[i].Boots, owed[i].Verdict = t.Boots, e.Verdict
		owed[i].Why = fmt.Sprintf("a person had the host go back, after %d unblessed boots", t.Boots)
	}
	t.restart()
	t.Planned = false
	t.owe(owed)
	t.offer()
}

// settle takes out what is owed for a component.
func (t *turn) settle(component string) (Undone, bool) {
	i := slices.IndexFunc(t.Owed, func(u Undone) bool { return u.Component == component })
	if i < 0 {
		return Undone{}, false
	}
	u := t.Owed[i]
	t.Owed = slices.Delete(t.Owed, i, i+1)
	return u, true
}

func find(entries []Entry, component string) (Entry, bool) {
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Component == component })
	if i < 0 {
		return Entry{}, false
	}
	return entries[i], true
}

// plan lists what a level goes back from, newest first.
func (t *turn) plan(level int, at time.Time, shows map[string]string) []Undone {
	var owed []Undone
	for _, e := range newestFirst(t.Entries) {
		from, told := shows[e.Component]
		if !told {
			from = e.Current
		}
		if e.suspect(level, at, from) {
			if ways := e.ways(level, clean(from, maxName)); len(ways) > 0 {
				owed = append(owed, t.undone(e.Component, from, ways[0], level, at))
			}
		}
	}
	if len(owed) > 1 { // which of them did it, nobody knows
		for i := range owed {
			owed[i].Verdict = Inconclusive
		}
	}
	return owed
}

// newestFirst sorts few entries by when they were activated. It is written out because the guard's program is to stay small.
func newestFirst(entries []Entry) []Entry {
	sorted := make([]Entry, 0, len(entries))
	for _, e := range entries {
		at := len(sorted)
		for at > 0 && e.At.After(sorted[at-1].At) {
			at--
		}
		sorted = append(sorted, Entry{})
		copy(sorted[at+1:], sorted[at:])
		sorted[at] = e
	}
	return sorted
}

func (t *turn) undone(component, from, to string, level int, at time.Time) Undone {
	u := Undone{Component: component, From: from, To: to, Level: level, Boots: t.Ended(), Verdict: Inconclusive, At: at}
	u.Why = fmt.Sprintf("%d unblessed boots in a row", u.Boots)
	if t.Evidence != "" {
		u.Verdict, u.Why = Crash, strings.Join([]string{u.Why, t.Evidence}, "; ")
	}
	return u.bounded()
}

// suspect tells whether a level goes back from what the entry shows. A pending entry that shows the good slot was never switched.
func (e Entry) suspect(level int, at time.Time, from string) bool {
	pending := e.Pending && from != e.Good
	young := !e.At.IsZero() && (at.Before(e.At) || at.Sub(e.At) <= recent) // a clock that went back tells nothing, so it is suspected
	switch level {
	case LevelPending:
		return pending
	case LevelRecent:
		return pending || young && e.Older != ""
	default:
		return pending || e.Factory != ""
	}
}

// at is the entry after going back to a slot. One that was there later than that slot is no way back any more.
func (e Entry) at(to string) Entry {
	e.Current, e.Pending = to, false
	if to != e.Good {
		e.Good, e.Older = to, ""
	}
	return e
}

// ways lists the slots that a level may go back to, best first. A later one is for when the slot of an earlier one is not there.
func (e Entry) ways(level int, from string) []string {
	all := []string{e.Older, e.Good, e.Factory}
	switch level {
	case LevelPending:
		all = []string{e.Good, e.Older, e.Factory}
	case LevelFactory:
		all = []string{e.Factory, e.Good}
	}
	if !e.Pending {
		all = all[:1]
	}
	var ways []string
	for _, to := range all {
		exists := to != "" || e.Pending && e.Good == "" // then "" takes away what was never good
		if exists && to != from && !slices.Contains(ways, to) {
			ways = append(ways, to)
		}
	}
	return ways
}

func (u Undone) same(o Undone) bool {
	return u.Component == o.Component && u.From == o.From && u.To == o.To && u.Level == o.Level && u.At.Equal(o.At)
}
