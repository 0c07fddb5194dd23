package cli

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// board is all that `firebreak top` knows. It changes by on alone, which does nothing else: what is to be done comes back as a deed.
type board struct {
	style         palette
	server        string
	width, height int
	now           time.Time

	feed  int   // number of the stream that counts; what others still say does not
	live  bool  // it is there
	err   error // why it is not
	cut   time.Time
	stale map[string]string // why what a topic showed last may be old

	overview *api.Overview
	cursor   string // id of the selected rollout; the first one if there is none of that id
	filter   string
	typing   bool // the filter is being typed

	opened   string // id of the rollout that is looked at; empty: the overview is
	rollout  *api.Rollout
	timeline map[string]api.Decision
	gone     string // why there is nothing to show of it
	scroll   int    // lines of it that are above the screen

	help   bool
	aims   []aim // the halt is being asked for; nil: it is not
	halt   *halting
	turns  int  // how many halts there were
	hidden bool // the last one's answer
	sure   bool // leave although a halt has no answer
}

// deed is what a board wants done: follow, askHalt, leave, or nil for nothing.
type deed any

type (
	follow struct { // open a stream of these topics in place of the one that there is
		feed   int
		topics []string
	}
	leave   struct{ err error } // end the program
	suspend struct{}            // let the shell have the terminal for a while
)

// What comes in.
type (
	resized struct{ width, height int }
	ticked  struct{ now time.Time }
	pressed struct{ key, text string } // the key's name, and what it types
	told    struct {
		feed  int
		event api.StreamEvent
		err   error
		over  bool // the stream ended and is not tried again
	}
)

// on takes in what came.
func (b board) on(message any) (board, deed) {
	switch m := message.(type) {
	case resized:
		b.width, b.height = m.width, m.height
	case ticked:
		b.now = m.now
	case pressed:
		return b.press(m)
	case told:
		return b.tell(m)
	case answered:
		return b.answer(m)
	}
	return b, nil
}

// begin opens the first stream.
func (b board) begin() (board, deed) {
	b.feed++
	topics := []string{api.TopicOverview}
	if b.opened != "" {
		topics = append(topics, api.TopicRollout+b.opened, api.TopicTimeline+b.opened)
	}
	return b, follow{b.feed, topics}
}

// tell takes in what the stream says.
func (b board) tell(m told) (board, deed) {
	switch {
	case m.feed != b.feed:
		return b, nil
	case m.over:
		return b, leave{b.err}
	case m.err != nil:
		if b.live || b.err == nil {
			b.cut = b.now
		}
		b.live, b.err = false, m.err
		return b, nil
	}
	b.live, b.err = true, nil
	stale := maps.Clone(b.stale)
	delete(stale, m.event.Topic)
	if m.event.Stale != "" {
		if stale == nil {
			stale = map[string]string{}
		}
		stale[m.event.Topic] = clean(m.event.Stale)
	}
	b.stale = stale
	return b.show(m.event), nil
}

// show takes in the value of a topic.
func (b board) show(e api.StreamEvent) board {
	switch {
	case e.Topic == api.TopicRollout+b.opened && e.Gone != "":
		b.gone, b.rollout = clean(e.Gone), nil
	case e.Value == nil:
	case e.Topic == api.TopicOverview:
		var o api.Overview
		if readClean(e.Value, &o) == nil {
			b.overview = &o
		}
	case e.Topic == api.TopicRollout+b.opened:
		var r api.Rollout
		if readClean(e.Value, &r) == nil {
			b.rollout, b.gone = &r, ""
		}
	case e.Topic == api.TopicTimeline+b.opened:
		var decisions map[string]api.Decision
		if readClean(e.Value, &decisions) == nil {
			b.timeline = decisions
		}
	}
	return b
}

// press takes in a key.
func (b board) press(m pressed) (board, deed) {
	if m.key != "q" && m.key != "ctrl+c" {
		b.sure = false
	}
	switch {
	case m.key == "ctrl+c":
		return b.quit()
	case m.key == "ctrl+z":
		return b, suspend{}
	case b.typing:
		return b.edit(m), nil
	case b.aims != nil:
		return b.choose(m)
	}
	switch m.key {
	case "q":
		return b.quit()
	case "H":
		return b.askHalt(), nil
	case "?":
		b.help = !b.help
		return b, nil
	case "esc":
		return b.back()
	}
	if b.opened != "" {
		return b.turn(m.key), nil
	}
	return b.walk(m.key)
}

// quit leaves, but not without being asked twice while nobody knows what became of a halt.
func (b board) quit() (board, deed) {
	if b.halt != nil && b.halt.answer == nil && !b.halt.done && !b.sure {
		b.sure, b.hidden = true, false
		return b, nil
	}
	return b, leave{}
}

// back closes what lies on top.
func (b board) back() (board, deed) {
	switch {
	case b.help:
		b.help = false
	case b.halt != nil && !b.hidden:
		b.hidden = true
	case b.opened != "":
		b.cursor, b.opened, b.rollout, b.timeline, b.gone, b.scroll = b.opened, "", nil, nil, "", 0
		return b.begin()
	default:
		b.filter = ""
	}
	return b, nil
}

// walk moves through the overview.
func (b board) walk(key string) (board, deed) {
	all := b.rollouts()
	at, page := b.selected(all), max(1, b.height/2)
	switch key {
	case "/":
		b.typing = true
	case "up", "k":
		at--
	case "down", "j":
		at++
	case "pgup":
		at -= page
	case "pgdown":
		at += page
	case "home", "g":
		at = 0
	case "end", "G":
		at = len(all)
	case "enter":
		if len(all) > 0 {
			b.opened, b.scroll = all[at].ID, 0
			b.rollout = &all[at] // what is known already, until the stream has all
			return b.begin()
		}
	}
	if len(all) > 0 {
		b.cursor = all[min(max(at, 0), len(all)-1)].ID
	}
	return b, nil
}

// turn scrolls a rollout's page; picture keeps it within the page.
func (b board) turn(key string) board {
	page, most := max(1, b.height-4), b.scrollable()
	switch key {
	case "up", "k":
		b.scroll--
	case "down", "j":
		b.scroll++
	case "pgup":
		b.scroll -= page
	case "pgdown", "space":
		b.scroll += page
	case "home", "g":
		b.scroll = 0
	case "end", "G":
		b.scroll = most
	}
	b.scroll = min(max(b.scroll, 0), most)
	return b
}

// mostFilter is how long a filter may be.
const mostFilter = 60

// edit types the filter.
func (b board) edit(m pressed) board {
	switch {
	case m.key == "enter":
		b.typing = false
	case m.key == "esc":
		b.typing, b.filter = false, ""
	case m.key == "backspace":
		_, size := utf8.DecodeLastRuneInString(b.filter)
		b.filter = b.filter[:len(b.filter)-size]
	case m.key == "ctrl+u":
		b.filter = ""
	case len(b.filter)+len(m.text) <= mostFilter:
		b.filter += clean(m.text)
	}
	return b
}

// rollouts are those that pass the filter: what is in trouble first, then what exposes hosts, then what waits for people, then what has
// ended, newest first.
func (b board) rollouts() []api.Rollout {
	if b.overview == nil {
		return nil
	}
	rank := func(r api.Rollout) int {
		switch {
		case r.Ended != nil:
			return 3
		case r.Alarm != "quiet":
			return 0
		case r.Phase == "running":
			return 1
		}
		return 2
	}
	since := func(r api.Rollout) time.Time {
		if r.Ended != nil {
			return *r.Ended
		}
		return r.Started
	}
	all := slices.DeleteFunc(slices.Collect(maps.Values(b.overview.Rollouts)), func(r api.Rollout) bool { return !matches(r, b.filter) })
	slices.SortFunc(all, func(x, y api.Rollout) int {
		return cmp.Or(rank(x)-rank(y), since(y).Compare(since(x)), cmp.Compare(x.ID, y.ID))
	})
	return all
}

// matches tells whether each word of a filter is in what a rollout is called.
func matches(r api.Rollout, filter string) bool {
	named := strings.ToLower(strings.Join([]string{r.ID, r.Component, r.Version, r.Plan, words(r.Phase), r.Alarm}, " "))
	for word := range strings.FieldsSeq(strings.ToLower(filter)) {
		if !strings.Contains(named, word) {
			return false
		}
	}
	return true
}

// selected is the place of the selected rollout.
func (b board) selected(all []api.Rollout) int {
	return max(0, slices.IndexFunc(all, func(r api.Rollout) bool { return r.ID == b.cursor }))
}

// decisions are those of the timeline, newest first.
func (b board) decisions() []api.Decision {
	return slices.SortedFunc(maps.Values(b.timeline), func(x, y api.Decision) int { return cmp.Compare(y.Revision, x.Revision) })
}

// target is the rollout that a halt is about; nil if none is known.
func (b board) target() *api.Rollout {
	if b.opened != "" {
		return b.rollout
	}
	if all := b.rollouts(); len(all) > 0 {
		return &all[b.selected(all)]
	}
	return nil
}

// connection says how the stream is, in a few words, and whether all is well.
func (b board) connection() (text string, well bool) {
	switch {
	case !b.live && b.err != nil:
		return "reconnecting for " + span(b.now.Sub(b.cut)), false
	case !b.live:
		return "connecting", false
	case len(b.stale) > 0:
		return "live, but what is shown may be old", false
	}
	return "live", true
}

// why is what is wrong with the stream, in a sentence; empty if nothing is.
func (b board) why() string {
	if b.err != nil {
		return clean(b.err.Error())
	}
	for _, topic := range slices.Sorted(maps.Keys(b.stale)) {
		return b.stale[topic]
	}
	return ""
}

// refused tells whether trying a halt again is of no use.
func refused(err error) bool {
	switch fault.KindOf(err) {
	case fault.Denied, fault.Invalid, fault.NotFound:
		return true
	case fault.Conflict, fault.Unavailable, fault.Internal:
	}
	return false
}

// counted is "1 host" or "1,200 hosts".
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return thousands(n) + " " + noun + "s"
}
