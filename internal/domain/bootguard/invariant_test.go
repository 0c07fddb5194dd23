package bootguard_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
)

// life draws what happens to a host whose agent is orderly: it syncs before it switches, and with a good slot that is there.
func life(t *rapid.T, each func(t *rapid.T, h *host, e bootguard.Event, before bootguard.State)) *host {
	h := &host{now: epoch, disk: map[string]string{}}
	for range rapid.IntRange(1, 40).Draw(t, "length") {
		h.now = h.now.Add(time.Duration(rapid.IntRange(-100, 200).Draw(t, "hours")) * time.Hour)
		h.killed = rapid.IntRange(0, 5).Draw(t, "killed") == 0
		h.fails, h.stuck = nil, nil
		e := h.draw(t)
		before := h.state
		h.play(t, e)
		each(t, h, e, before)
	}
	return h
}

func (h *host) draw(t *rapid.T) bootguard.Event {
	names := []string{"a", "b", "c"}
	switch rapid.IntRange(0, 9).Draw(t, "event") {
	case 0:
		return bootguard.Synced{Entries: h.drawEntries(t, names)}
	case 1:
		return bootguard.Planned{}
	case 2:
		if rapid.Bool().Draw(t, "worse") {
			return bootguard.Judged{Boot: h.id(), Worse: rapid.SampledFrom([][]string{nil, {"dns"}, {"dns", "unit"}}).Draw(t, "in what")}
		}
		return bootguard.Blessed{Boot: h.id()}
	case 3:
		return bootguard.Overdue{Boot: h.id()}
	case 4:
		return bootguard.Taken{Undone: h.state.Undone}
	case 5:
		h.fails, h.stuck = []string{rapid.SampledFrom(names).Draw(t, "fails")}, []string{rapid.SampledFrom(names).Draw(t, "stuck")}
	case 6:
		return h.bootedAt(rapid.Bool().Draw(t, "watchdog")) // a second stage
	}
	h.boots++
	return h.bootedAt(rapid.IntRange(0, 9).Draw(t, "watchdog") == 0)
}

func (h *host) bootedAt(watchdog bool) bootguard.Booted {
	return bootguard.Booted{Boot: h.id(), At: h.now, Watchdog: watchdog, Shows: h.disk}
}

func (h *host) drawEntries(t *rapid.T, names []string) []bootguard.Entry {
	var all []bootguard.Entry
	for _, name := range names {
		n := rapid.IntRange(3, 9).Draw(t, "version")
		e := bootguard.Entry{
			Component: name, Kind: "content", Dir: "/c/" + name, Current: fmt.Sprint(name, n), Good: fmt.Sprint(name, n),
			Older:   rapid.SampledFrom([]string{"", fmt.Sprint(name, n-2)}).Draw(t, "older"),
			Factory: rapid.SampledFrom([]string{"", name + "0"}).Draw(t, "factory"), At: h.now,
		}
		if rapid.Bool().Draw(t, "pending") {
			e.Pending, e.Good = true, rapid.SampledFrom([]string{"", fmt.Sprint(name, n-1)}).Draw(t, "good")
		}
		h.disk[name] = e.Current
		all = append(all, e)
	}
	return all
}

func has[E bootguard.Effect](effects []bootguard.Effect) bool {
	return slices.ContainsFunc(effects, func(e bootguard.Effect) bool { _, ok := e.(E); return ok })
}

// I6: the guard asks for a reboot only when a boot is overdue, while something is pending in a boot that was not blessed, and at most
// four times between two blessings.
func TestInvariantI6(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		forced := 0
		life(t, func(t *rapid.T, h *host, e bootguard.Event, before bootguard.State) {
			_, blessed := e.(bootguard.Blessed)
			_, judged := e.(bootguard.Judged)
			if blessed || judged && h.state.Judged == 0 {
				forced = 0
			}
			if !has[bootguard.Reboot](h.effects) {
				return
			}
			forced++
			_, overdue := e.(bootguard.Overdue)
			if !overdue || len(before.Pending()) == 0 || before.Blessed == h.id() || forced > 4 {
				t.Fatalf("%#v asks for reboot %d, pending are %v, blessed is %q", e, forced, before.Pending(), before.Blessed)
			}
		})
	})
}

// The ladder ends: between two blessings each level is decided at most once, whatever the agent activates meanwhile, and after that the
// host is left as it is, boot after boot.
func TestTheLadderEnds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		decided := 0
		h := life(t, func(t *rapid.T, h *host, e bootguard.Event, before bootguard.State) {
			if h.state.Level < before.Level || h.state.Boots < before.Boots {
				decided = 0
				_, booted := e.(bootguard.Booted)
				_, overdue := e.(bootguard.Overdue)
				if booted || overdue {
					t.Fatalf("%#v began the ladder anew: from %+v to %+v", e, before, h.state)
				}
			}
			if h.state.Level > before.Level {
				decided++
			}
			if decided > bootguard.LevelHandsOff {
				t.Fatalf("%d decisions since a boot was blessed", decided)
			}
		})
		h.rest(t)
	})
}

// rest boots the host until nothing changes any more, and looks that it stays so.
func (h *host) rest(t failer) {
	t.Helper()
	h.fails, h.stuck, h.killed = nil, nil, false
	const enough = 3 * bootguard.LevelHandsOff
	for range enough {
		h.boots++
		h.play(t, h.bootedAt(false))
	}
	was := maps.Clone(h.disk)
	for range enough {
		h.boots++
		h.play(t, h.bootedAt(false))
		if has[bootguard.GoBack](h.effects) || has[bootguard.Reboot](h.effects) || !maps.Equal(was, h.disk) {
			t.Fatalf("after %d boots: %#v, and the disk went from %v to %v", h.boots, h.effects, was, h.disk)
		}
	}
}

// Nothing is touched but by a boot, nothing that no entry names, and nothing any more after the last level.
func TestHandsOff(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		life(t, func(t *rapid.T, h *host, e bootguard.Event, before bootguard.State) {
			_, booted := e.(bootguard.Booted)
			if len(h.effects) > 0 && before.Level == bootguard.LevelHandsOff {
				t.Fatalf("%#v leads to %#v after hands were taken off", e, h.effects)
			}
			for _, effect := range h.effects {
				g, ok := effect.(bootguard.GoBack)
				named := func(e bootguard.Entry) bool {
					return e.Component == g.Component && e.Dir == g.Dir && slices.Contains([]string{e.Good, e.Older, e.Factory}, g.To)
				}
				if ok && (!booted || !slices.ContainsFunc(before.Entries, named)) {
					t.Fatalf("%#v leads to %#v, entries are %+v", e, g, before.Entries)
				}
			}
		})
	})
}

// I5: every pending entry is gone back from. However a host got where it is, as long as its boots are not blessed and its slots are
// there, nothing that was pending still runs when the first level is due.
func TestInvariantI5(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		life(t, func(t *rapid.T, h *host, _ bootguard.Event, _ bootguard.State) {
			if h.state.Level > 0 || h.state.Boots > 0 {
				return
			}
			alone := host{now: h.now, boots: h.boots + 100, state: h.state, disk: maps.Clone(h.disk)}
			for range 5 { // one may be planned
				alone.boots++
				alone.play(t, alone.bootedAt(false))
			}
			for _, e := range h.state.Entries {
				if e.Pending && alone.disk[e.Component] == e.Current {
					t.Fatalf("%+v was pending, and after 5 boots current shows %q", e, alone.disk[e.Component])
				}
			}
		})
	})
}

// Every release that a boot went back from is told until it is taken, with both slots.
func TestUndoneIsTold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		shown := map[string]string{}
		life(t, func(t *rapid.T, h *host, e bootguard.Event, _ bootguard.State) {
			_, booted := e.(bootguard.Booted)
			for component, slot := range h.disk {
				told := func(u bootguard.Undone) bool {
					return u.Component == component && u.From == shown[component] && u.To == slot && u.Why != "" && u.Level > 0
				}
				all := slices.Concat(h.state.Undone, h.state.Owed)
				if booted && shown[component] != slot && !slices.ContainsFunc(all, told) {
					t.Fatalf("%s went from %q to %q, told is %+v", component, shown[component], slot, all)
				}
				shown[component] = slot
			}
		})
	})
}

// A boot is counted once, however many stages see it.
func TestCountedOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		life(t, func(t *rapid.T, h *host, _ bootguard.Event, _ bootguard.State) {
			if h.state.Boot != h.id() {
				return
			}
			again, _ := bootguard.Step(h.state, h.bootedAt(false))
			if again.Boots != h.state.Boots {
				t.Fatalf("boot %s was counted %d times", h.id(), 1+again.Boots-h.state.Boots)
			}
		})
	})
}
