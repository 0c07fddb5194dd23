package bootguard

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxState is what a state needs less than as JSON, in bytes: a slot of 64 KiB of the guard's file, without its header.
const MaxState = 64<<10 - 24

// MaxEntries is how many components the guard looks after.
const MaxEntries = 64

// Bounds. The shares of entries, of what is undone or owed, and of the rest add up to less than MaxState.
const (
	entriesShare = 26 << 10
	undoneShare  = 26 << 10
	maxName      = 128 // of a component, a slot
	maxDir       = 512
	maxID        = 64
	maxUnit      = 64
	maxWhy       = 160
	maxSeen      = 20
	maxTrouble   = 6
	maxWorse     = 8
	maxFinding   = 80
	entryFrame   = 140 // what an entry needs beside its texts: keys, punctuation, time
	undoneFrame  = 130
	shortName    = 8 // of a slot, where nothing else makes room
)

// Fits tells why the guard cannot remember these entries, or nil. It takes them all or none.
func Fits(entries []Entry) error {
	if len(entries) > MaxEntries {
		return fmt.Errorf("are %d components; at most %d can be looked after", len(entries), MaxEntries)
	}
	total := 0
	for i, e := range entries {
		if err := e.check(); err != nil {
			return err
		}
		if slices.ContainsFunc(entries[:i], func(o Entry) bool { return o.Component == e.Component }) {
			return fmt.Errorf("component %q is there twice", e.Component)
		}
		total += e.cost()
	}
	if total > entriesShare {
		return fmt.Errorf("need %d bytes; there is room for %d", total, entriesShare)
	}
	return nil
}

func (e Entry) check() error {
	if e.Component == "" {
		return fmt.Errorf("an entry without a component")
	}
	for _, field := range []struct {
		name, text string
		most       int
	}{
		{"component", e.Component, maxName},
		{"kind", e.Kind, maxName},
		{"dir", e.Dir, maxDir},
		{"current", e.Current, maxName},
		{"good", e.Good, maxName},
		{"older", e.Older, maxName},
		{"factory", e.Factory, maxName},
		{"boot", e.Boot, maxID},
	} {
		if len(field.text) > field.most || !utf8.ValidString(field.text) || strings.ContainsFunc(field.text, control) {
			return fmt.Errorf("component %.40q: %s %.40q: must be text of at most %d bytes", e.Component, field.name, field.text, field.most)
		}
	}
	return nil
}

func (e Entry) cost() int {
	n := entryFrame
	for _, text := range []string{e.Component, e.Kind, e.Dir, e.Current, e.Good, e.Older, e.Factory, e.Boot} {
		n += cost(text)
	}
	return n
}

func (u Undone) cost() int {
	return undoneFrame + cost(u.Component) + cost(u.From) + cost(u.To) + cost(u.Why)
}

// cost is an upper bound of what a text needs within JSON.
func cost(text string) int {
	n := 0
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			n += 2
		case control(r):
			n += len(`\u0000`)
		default:
			n += utf8.RuneLen(r)
		}
	}
	return n
}

// bounded is a copy that shares nothing with s and keeps to all bounds, whatever was in s.
func bounded(s State) State {
	s.Boot, s.Blessed, s.Evidence = clean(s.Boot, maxID), clean(s.Blessed, maxID), clean(s.Evidence, maxWhy/2)
	s.Boots, s.Level = min(max(s.Boots, 0), maxBoots), min(max(s.Level, 0), LevelHandsOff)
	s.Judged = min(max(s.Judged, 0), maxBoots)
	s.Excused, s.Worse = min(max(s.Excused, 0), s.Boots), texts(s.Worse, maxWorse, maxFinding)
	s.Due, s.Forced = min(max(s.Due, 0), maxBoots), min(max(s.Forced, 0), maxForced)
	s.Seen, s.Trouble = texts(s.Seen, maxSeen, maxUnit), texts(s.Trouble, maxTrouble, maxWhy)
	s.Entries = boundedEntries(s.Entries)
	room := undoneShare
	s.Owed = newest(terse(s.Owed), MaxEntries, &room)
	s.Undone = newest(s.Undone, 2*MaxEntries, &room)
	s.Baseline = s.Baseline.bounded()
	return s
}

func boundedEntries(entries []Entry) []Entry {
	var kept []Entry
	room := entriesShare
	for _, e := range entries {
		e.At = instant(e.At)
		twice := slices.ContainsFunc(kept, func(o Entry) bool { return o.Component == e.Component })
		if e.check() == nil && !twice && len(kept) < MaxEntries && e.cost() <= room {
			kept, room = append(kept, e), room-e.cost()
		}
	}
	return kept
}

// terse makes all that is owed fit: no way back may be forgotten for want of room. First the words go, then most of the names of slots
// that are left. What remains of each needs no more than its entry.
func terse(owed []Undone) []Undone {
	owed = slices.Clone(owed)
	total := 0
	for i, u := range owed {
		owed[i] = u.bounded()
		total += owed[i].cost()
	}
	shorten := func(text *string, most int) {
		total -= cost(*text)
		*text = clean(*text, most)
		total += cost(*text)
	}
	for i := 0; i < len(owed) && total > undoneShare; i++ {
		shorten(&owed[i].Why, 0)
	}
	for i := 0; i < len(owed) && total > undoneShare; i++ {
		shorten(&owed[i].From, shortName)
	}
	return owed
}

// newest keeps as many as there is room for, the last ones, in their order.
func newest(all []Undone, most int, room *int) []Undone {
	var kept []Undone
	for _, u := range slices.Backward(all) {
		u = u.bounded()
		if len(kept) == most || u.cost() > *room {
			break
		}
		kept, *room = append(kept, u), *room-u.cost()
	}
	slices.Reverse(kept)
	return kept
}

func (u Undone) bounded() Undone {
	u.Component, u.From, u.To = clean(u.Component, maxName), clean(u.From, maxName), clean(u.To, maxName)
	u.Why, u.At = clean(u.Why, maxWhy), instant(u.At)
	u.Level, u.Boots = min(max(u.Level, 0), LevelHandsOff), min(max(u.Boots, 0), maxBoots)
	if u.Verdict != Crash {
		u.Verdict = Inconclusive
	}
	return u
}

// texts keeps the last ones.
func texts(all []string, most, length int) []string {
	var kept []string
	for _, text := range all[max(len(all)-most, 0):] {
		kept = append(kept, clean(text, length))
	}
	return kept
}

// clean makes text fit into a line of the journal, at most n bytes of it.
func clean(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		if control(r) {
			return ' '
		}
		return r
	}, text[:min(len(text), 2*n)])
	if len(text) <= n {
		return text
	}
	return strings.ToValidUTF8(text[:n], "")
}

// control tells of what has no place in a line of text, or costs too much in JSON.
func control(r rune) bool {
	switch r {
	case 0x7f, '<', '>', '&', '\u2028', '\u2029', utf8.RuneError:
		return true
	}
	return r < ' '
}

// instant is a time as it comes back from JSON, which knows no year beyond 9999.
func instant(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Second)
	if y := t.Year(); y < 1 || y > 9999 {
		return time.Time{}
	}
	return t
}
