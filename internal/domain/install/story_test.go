package install_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// tape is where a story's choices come from: each is a number below n.
type tape func(n int) int

// tapeOf draws each number about as often as any other: rapid's own draws favour small ones.
func tapeOf(t *rapid.T) tape {
	return func(n int) int { return int(rapid.Uint32().Draw(t, "choice")*2654435761>>8) % n }
}

// story is a random life of one component on one host. Most of what happens is what would happen next; the rest is anything at all, also
// what nobody should ever send. What it remembers, it remembers apart from the machine.
type story struct {
	host
	pick     tape
	granted  map[string]install.Lease  // leases that ever came
	recalled map[release.Digest]bool   // digests of every recall
	harmed   map[release.Digest]string // digests of what harmed this host, and of what has their bytes
	open     map[release.Digest]bool   // manifests under a lease that was acted on, and has no outcome yet
	proved   map[release.Digest]bool   // manifests that were ever blessed
	leases   int
}

// chapter is one event of a story and what came of it.
type chapter struct {
	before, after install.State
	event         install.Event
	effects       []install.Effect
}

func begin(pick tape) *story {
	return &story{
		host: host{now: epoch}, pick: pick, granted: map[string]install.Lease{}, recalled: map[release.Digest]bool{},
		harmed: map[release.Digest]string{}, open: map[release.Digest]bool{}, proved: map[release.Digest]bool{},
	}
}

// versions of the stories. The last one has the bytes of the second.
const versions = 6

func (s *story) version() string { return fmt.Sprintf("v%d", 1+s.pick(versions)) }

// bytesOf tells which artifact a version has.
func bytesOf(name string) release.Digest {
	if name == fmt.Sprintf("v%d", versions) {
		return artifact("v2")
	}
	return artifact(name)
}

func (s *story) next(t failer) chapter {
	const second, minute, hour = time.Second, time.Minute, time.Hour
	steps := []time.Duration{0, 0, 0, second, 10 * second, minute, 2 * minute, 11 * minute, 2 * hour, 80 * hour}
	s.now = s.now.Add(steps[s.pick(len(steps))])
	if s.pick(200) == 199 {
		s.now = s.now.AddDate(s.pick(3)-1, 0, 0)
	}
	c := chapter{before: s.state}
	if s.pick(10) < 6 {
		c.event = s.natural()
	} else {
		c.event = s.anything()
	}
	if e, ok := c.event.(install.Leased); ok {
		s.granted[e.Lease.ID] = e.Lease
	}
	if e, ok := c.event.(install.Directed); ok {
		for _, r := range e.Recalls {
			for _, digest := range append(r.Artifacts, r.Manifest) {
				s.recalled[digest] = digest != ""
			}
		}
	}
	c.effects = s.step(t, c.event)
	c.after = s.state
	return c
}

// natural is what happens next when nothing comes between.
func (s *story) natural() install.Event {
	switch s.state.Phase {
	case install.Fetching:
		if s.pick(5) == 4 {
			return install.Failed{At: s.now, Manifest: s.state.Next.Manifest, Why: "no", Final: s.pick(3) == 2}
		}
		return s.fetchedNow(s.state.Next.Version)
	case install.Ready:
		return s.leaseFor(s.state.Next.Manifest, s.state.Next.Rollout, time.Duration(s.pick(7)-1)*time.Minute)
	case install.Activating:
		if s.pick(5) == 4 {
			return install.SwapFailed{At: s.now, Why: "disk full"}
		}
		return install.Swapped{At: s.now}
	case install.Recovering:
		switch s.pick(6) {
		case 0, 1, 2:
			return install.Broke{At: s.now, Why: "GET /healthz: 500"}
		case 3:
			s.now = s.now.Add(11 * time.Minute)
			return s.directive()
		}
		return install.Proved{At: s.now}
	case install.Proving:
		if s.pick(3) == 2 {
			return install.Broke{At: s.now, Crashed: s.pick(2) == 1, Why: "exit status 2"}
		}
		return install.Proved{At: s.now, Watch: 72 * time.Hour, Boots: s.pick(3) == 2}
	case install.Reverting:
		return install.Restored{At: s.now}
	case install.Idle:
		if (s.state.Unbooted || s.state.Factory.Slot == "") && s.pick(2) == 1 {
			return install.Blessed{At: s.now, Factory: s.pick(4) > 0}
		}
	}
	return s.directive()
}

func (s *story) fetchedNow(name string) install.Event {
	if name == "" {
		name = "v1"
	}
	return install.Fetched{At: s.now, Manifest: manifest(name), Artifact: bytesOf(name), Serial: serial(name), Slot: install.Slot(name)}
}

func (s *story) leaseFor(m release.Digest, rollout string, valid time.Duration) install.Event {
	s.leases++
	lease := install.Lease{ID: fmt.Sprint("l", s.leases), Rollout: rollout, Manifest: m, Expires: s.now.Add(valid)}
	return install.Leased{At: s.now, Lease: lease}
}

func (s *story) directive() install.Event {
	e := install.Directed{At: s.now}
	some := func() *install.Target {
		if s.pick(4) == 3 {
			return nil
		}
		x := target(s.version())
		if s.pick(6) == 5 {
			x.Rollout = "other"
		}
		x.Paused = s.pick(8) == 7
		return x
	}
	e.Stable, e.Candidate = some(), some()
	if s.pick(12) == 11 {
		name := s.version()
		recall := install.Recall{Manifest: manifest(name), Artifacts: []release.Digest{bytesOf(name), ""}}
		e.Recalls = append(e.Recalls, recall, install.Recall{})
	}
	if s.pick(6) == 5 {
		e.Holds = append(e.Holds, install.Hold{}, install.Hold{Manifest: manifest(s.version()), Why: "crashes here"})
	}
	return e
}

func (s *story) anything() install.Event {
	switch s.pick(17) {
	case 16:
		return install.Blessed{At: s.now, Factory: s.pick(8) > 0}
	case 0, 1:
		return s.leaseFor(manifest(s.version()), rolloutOf(s.version()), time.Duration(s.pick(7)-1)*time.Minute)
	case 2, 3, 4:
		return s.restarted()
	case 5:
		return install.Left{At: s.now, Returns: s.pick(3) == 2}
	case 6:
		return install.Unfit{At: s.now, Why: "metadata expired"}
	case 7:
		return install.Broke{At: s.now, Crashed: s.pick(2) == 1, Why: "exit status 2"}
	case 8:
		return install.Proved{At: s.now, Watch: time.Hour, Boots: s.pick(3) == 2}
	case 9:
		return install.Swapped{At: s.now}
	case 10:
		return install.SwapFailed{At: s.now, Why: "disk full"}
	case 11:
		return install.Restored{At: s.now}
	case 12:
		return s.fetchedNow(s.version())
	case 13:
		return install.Failed{At: s.now, Manifest: manifest(s.version()), Why: "no", Final: s.pick(2) == 1}
	}
	return s.directive()
}

// restarted may bring news of slots that are gone, and of the boot guard.
func (s *story) restarted() install.Event {
	e := install.Restarted{At: s.now, Current: s.shown()}
	if s.state.Factory.Slot != "" && s.pick(4) == 3 { // the boot guard took its last level
		e.Current = s.state.Factory.Slot
	}
	if s.pick(8) == 7 {
		e.Gone = []install.Slot{install.Slot(s.version()), s.state.Previous.Slot, ""}
	}
	for range max(0, s.pick(7)-4) {
		from := []install.Slot{s.state.Current.Slot, s.state.Next.Slot, s.state.Good.Slot, install.Slot(s.version())}[s.pick(4)]
		e.Undone = append(e.Undone, install.Undone{From: from, Why: "3 boots did not end well", Conclusive: s.pick(2) == 1})
	}
	return e
}

// sure tells whether there is evidence for all that was undone.
func sure(e install.Restarted) bool {
	return !slices.ContainsFunc(e.Undone, func(u install.Undone) bool { return !u.Conclusive })
}

// sureOf tells whether there is evidence against the release, or nothing was said of it: then the machine has its own reasons.
func sureOf(e install.Restarted, slot install.Slot) bool {
	of := func(u install.Undone) bool { return u.From == slot }
	return !slices.ContainsFunc(e.Undone, of) || slices.ContainsFunc(e.Undone, func(u install.Undone) bool { return of(u) && u.Conclusive })
}

// shown is what current shows after a death: as it was, as the effect that was under way would have left it, or what somebody made of it.
func (s *story) shown() install.Slot {
	switch s.pick(13) {
	case 9:
		return s.state.Previous.Slot
	case 12:
		return s.state.Factory.Slot
	case 10:
		return install.Slot(s.version())
	case 11:
		return []install.Slot{"", "x"}[s.pick(2)]
	}
	if s.pick(2) == 1 {
		switch s.state.Phase {
		case install.Activating:
			return s.state.Next.Slot
		case install.Reverting:
			return s.state.Good.Slot
		case install.Idle, install.Fetching, install.Ready, install.Proving, install.Recovering:
		}
	}
	return s.disk
}

// tally counts what the stories of a test were about, so that a test that proves nothing fails.
type tally struct {
	activated, confirmed, harmed, late, recalled, held, recovered, resumed, goodbyes, moved, blessed, undone, doubted, fell int
}

func (n *tally) note(c chapter) {
	_, restarted := c.event.(install.Restarted)
	active := c.before.Phase != install.Idle && c.before.Phase != install.Fetching && c.before.Phase != install.Ready
	entered := func(p install.Phase) bool { return c.after.Phase == p && c.before.Phase != p }
	count := func(n *int, happened bool) {
		if happened {
			*n++
		}
	}
	blessed, _ := c.event.(install.Blessed)
	count(&n.blessed, !blessed.At.IsZero() && c.before.Unbooted && !c.after.Unbooted)
	if e, ok := c.event.(install.Restarted); ok && len(e.Undone) > 0 {
		count(&n.undone, entered(install.Reverting) && sure(e))
		count(&n.doubted, entered(install.Reverting) && !sure(e))
	}
	factory := c.before.Factory
	count(&n.fell, factory.Slot != "" && c.after.Good == factory && c.before.Good != factory && c.before.Previous != factory && restarted)
	count(&n.activated, entered(install.Activating))
	count(&n.resumed, restarted && active)
	held := strings.Contains(c.after.Why, "is held")
	count(&n.recalled, entered(install.Reverting) && !c.after.Harmed && !held)
	count(&n.held, entered(install.Reverting) && held)
	count(&n.late, entered(install.Reverting) && c.after.Harmed && !active)
	count(&n.moved, c.before.Phase == install.Recovering && c.after.Phase == install.Fetching)
	for _, e := range c.effects {
		if r, ok := e.(install.Report); ok {
			count(&n.confirmed, r.Outcome == install.Confirmed)
			count(&n.harmed, r.Outcome == install.Crashed || r.Outcome == install.Reverted)
			count(&n.recovered, r.Outcome == install.Recovered)
			count(&n.goodbyes, r.Outcome == install.Goodbye)
		}
	}
}

// explore tells random stories and checks every chapter. Rapid prints the seed of a failing story and shortens it.
func explore(t *testing.T, check func(t *rapid.T, s *story, c chapter)) {
	t.Helper()
	var seen tally
	rapid.Check(t, func(rt *rapid.T) {
		s := begin(tapeOf(rt))
		for range 1 + s.pick(400) {
			c := s.next(rt)
			seen.note(c)
			keeps(rt, c.after)
			check(rt, s, c)
		}
	})
	t.Logf("the stories: %+v", seen)
	if slices.Min([]int{seen.activated, seen.confirmed, seen.harmed, seen.late, seen.recalled, seen.held, seen.recovered, seen.resumed, seen.blessed, seen.undone, seen.doubted}) == 0 {
		t.Fatalf("the stories prove nothing: %+v", seen)
	}
}

// keeps checks that what runs, what may be gone back to and what comes next stay on disk.
func keeps(t *rapid.T, s install.State) {
	keep := s.Keep()
	for _, i := range []install.Installed{s.Current, s.Good, s.Previous, s.Next, s.Factory} {
		if i.Slot != "" && !slices.Contains(keep, i.Slot) {
			t.Fatalf("%+v is not kept: %v", i, keep)
		}
	}
	if slices.Contains(keep, "") || !slices.IsSorted(keep) || len(slices.Compact(slices.Clone(keep))) != len(keep) {
		t.Fatalf("keeps %q, want names in order, each once", keep)
	}
}
