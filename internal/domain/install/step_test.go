package install_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// A directive is applied again on every check-in. One that changes nothing changes nothing.
func TestDirectedTwiceIsHarmless(t *testing.T) {
	t.Parallel()
	h := &host{now: epoch}
	h.live(t, "v1")
	for _, e := range []install.Directed{
		{At: h.now},
		{At: h.now, Stable: target("v1"), Recalls: []install.Recall{{Manifest: "m", Artifacts: []release.Digest{"a"}}}},
		{At: h.now, Stable: target("v1"), Candidate: target("v2")},
		{At: h.now, Stable: target("v1"), Candidate: target("v2"), Holds: []install.Hold{{Manifest: manifest("v2"), Why: "crashes here"}}},
		flood(h.now, 256),
	} {
		h.step(t, e)
		before := h.state
		if effects := h.step(t, e); len(effects) != 0 {
			t.Errorf("got effects %#v of a directive that was applied already, want none", effects)
		}
		if diff := cmp.Diff(before, h.state); diff != "" {
			t.Errorf("a directive that was applied already changed the state (-was +is):\n%s", diff)
		}
	}
}

// A flood of recalls binds as long as it is in hand, and washes no older recall away.
func TestRecallsAreNotForgotten(t *testing.T) {
	t.Parallel()
	h := &host{now: epoch}
	h.live(t, "v1")
	h.step(t, install.Directed{At: h.now, Recalls: []install.Recall{{Manifest: manifest("v2")}}})
	wave := flood(h.now, 256)
	wave.Recalls = append(wave.Recalls, install.Recall{Manifest: manifest("v3")}, install.Recall{Manifest: manifest("v1")})
	wave.Stable, wave.Candidate = target("v2"), target("v3")
	effects := h.step(t, wave)
	if want := []install.Effect{install.Restore{}}; !cmp.Equal(want, effects) {
		t.Fatalf("got effects %#v, want %#v: what runs was recalled at the end of the flood", effects, want)
	}
	h.step(t, install.Restored{At: h.now})
	if effects := h.step(t, wave); len(effects) != 0 {
		t.Errorf("got effects %#v, want none: all that is wanted is recalled", effects)
	}
	small(t, h.state)
	if effects := h.step(t, install.Directed{At: h.now, Stable: target("v2")}); len(effects) != 0 {
		t.Errorf("got effects %#v, want none: the recall came before the flood", effects)
	}
}

// What harmed this host is forgotten last; what the preflight refused for an hour goes first.
func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	h := &host{now: epoch}
	h.live(t, "v1")
	reject := func(name string) {
		h.step(t, install.Directed{At: h.now, Candidate: target(name)})
		h.step(t, install.Failed{At: h.now, Manifest: manifest(name), Why: strings.Repeat("\x00<é\xff", 100), Final: true})
	}
	h.step(t, install.Directed{At: h.now, Candidate: target("v2")})
	h.step(t, h.fetched("v2", "v2"))
	h.step(t, h.lease("v2", "r2", time.Minute))
	h.step(t, install.Broke{At: h.now, Why: "exit status 2"})
	h.step(t, install.Restored{At: h.now})
	h.step(t, install.Proved{At: h.now})
	for i := range 100 {
		reject(fmt.Sprint("v", 10+i))
	}
	small(t, h.state)
	var got []release.Digest
	for _, r := range h.state.Refused {
		got = append(got, r.Manifest)
	}
	if len(got) != 32 || !slices.Contains(got, manifest("v2")) || !slices.Contains(got, manifest("v109")) || slices.Contains(got, manifest("v78")) {
		t.Errorf("got refusals of %v, want 32: v2, which harmed, and the newest", got)
	}
	h.now = h.now.Add(time.Hour)
	reject("v3")
	if got := h.refused(); strings.Count(got, "\n") != 1 {
		t.Errorf("got refusals\n%s\nwant v2 and v3: those of the hour before are over", got)
	}
}

// A refusal for good stays one, and one for a day is not shortened, whatever is found out about the release later.
func TestRefusalsNeverWeaken(t *testing.T) {
	t.Parallel()
	v2 := install.Installed{Version: "v2", Manifest: manifest("v2"), Artifact: artifact("v2"), Slot: "v2", Rollout: "r2"}
	for name, until := range map[string]time.Time{"for good": {}, "for a day": epoch.Add(24 * time.Hour), "for a minute": epoch.Add(time.Minute)} {
		was := install.Refusal{Manifest: v2.Manifest, Artifact: v2.Artifact, Why: "it harmed this host: exit 2", Until: until}
		from := install.State{Phase: install.Proving, Current: v2, Next: v2, Refused: []install.Refusal{was}}
		got, _ := install.Step(from, install.Broke{At: epoch, Unwell: true, Why: "exit 3"})
		want := was
		if name == "for a minute" {
			want.Why, want.Until = "the consumer was not well before: exit 3", epoch.Add(time.Hour)
		}
		if diff := cmp.Diff([]install.Refusal{want}, got.Refused); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// After the journal was lost only the slot of the factory release is known: that it harmed is known by the slot, then.
func TestAFactoryOfWhichOnlyTheSlotIsKnown(t *testing.T) {
	t.Parallel()
	v2 := install.Installed{Version: "v2", Manifest: manifest("v2"), Artifact: artifact("v2"), Slot: "v2", Rollout: "r2"}
	only := install.Installed{Slot: "v1"}
	again := install.Installed{Version: "v1", Manifest: manifest("v1"), Artifact: artifact("v1"), Slot: "v1", Rollout: "r1"}
	for name, c := range map[string]struct {
		state install.State
		event install.Event
	}{
		"left by the guard": {
			install.State{Current: v2, Good: v2, Factory: only},
			install.Restarted{At: epoch, Current: "v2", Undone: []install.Undone{{From: "v1", Why: "a panic", Conclusive: true}}},
		},
		"left by the guard as the good one": {
			install.State{Current: only, Good: only, Previous: v2, Factory: only},
			install.Restarted{At: epoch, Current: "v2", Undone: []install.Undone{{From: "v1", Why: "a panic", Conclusive: true}}},
		},
		"harms when it is proved": {
			install.State{Phase: install.Proving, Current: again, Next: again, Good: v2, Factory: only},
			install.Broke{At: epoch, Crashed: true, Why: "exit 2"},
		},
	} {
		if got, _ := install.Step(c.state, c.event); got.Factory != (install.Installed{}) {
			t.Errorf("%s: got %+v, want none", name, got.Factory)
		}
	}
}

// The text of a host or a release is made fit for a line, and cut between runes.
func TestWhyIsClipped(t *testing.T) {
	t.Parallel()
	h := &host{now: epoch}
	h.live(t, "v1")
	h.step(t, install.Directed{At: h.now, Candidate: target("v2")})
	h.step(t, install.Failed{At: h.now, Manifest: manifest("v2"), Why: "exit\nstatus\x1b[31m " + strings.Repeat("é", 300) + "\xff"})
	want := "exit status [31m " + strings.Repeat("é", 141)
	if got := h.state.Why; got != want {
		t.Errorf("got why %q (%d bytes), want %q", got, len(got), want)
	}
}

// A state may be stepped from more than once: what came of it shares nothing that is written later.
func TestStepsShareNothing(t *testing.T) {
	t.Parallel()
	from := install.State{Recalled: append(make([]release.Digest, 0, 8), manifest("v1"), manifest("v2"), manifest("v3"))}
	one, _ := install.Step(from, install.Directed{At: epoch, Recalls: []install.Recall{{Manifest: manifest("v4")}}})
	other, _ := install.Step(from, install.Directed{At: epoch, Recalls: []install.Recall{{Manifest: manifest("v5")}}})
	if got, want := one.Recalled[3], manifest("v4"); got != want {
		t.Errorf("got recall of %s, want %s: the second step wrote into the first one's state", got, want)
	}
	if got, want := other.Recalled[3], manifest("v5"); got != want {
		t.Errorf("got recall of %s, want %s", got, want)
	}
}

func TestZeroStateIsIdle(t *testing.T) {
	t.Parallel()
	s, effects := install.Step(install.State{Component: "sensor-content"}, install.Restarted{At: epoch})
	if want := (install.State{Component: "sensor-content", Phase: install.Idle}); !cmp.Equal(want, s) || effects != nil {
		t.Errorf("got %+v and effects %v, want %+v and none", s, effects, want)
	}
}

// BenchmarkStep measures what nearly every check-in does: a directive that changes nothing, with some recalls in it.
func BenchmarkStep(b *testing.B) {
	s := begin(func(int) int { return 0 })
	for _, e := range []install.Event{
		install.Directed{At: epoch, Candidate: target("v1")},
		s.fetchedNow("v1"), s.leaseFor(manifest("v1"), "r1", time.Minute),
		install.Swapped{At: epoch},
		install.Proved{At: epoch, Watch: time.Hour},
	} {
		s.step(b, e)
	}
	for _, recalls := range []int{0, 10, 40} {
		b.Run(fmt.Sprintf("recalls=%d", recalls), func(b *testing.B) {
			e := flood(epoch, recalls)
			e.Stable = target("v1")
			state, _ := install.Step(s.state, e)
			b.ReportAllocs()
			for b.Loop() {
				state, _ = install.Step(state, e)
			}
			if state.Phase != install.Idle || state.Current.Version != "v1" {
				b.Fatalf("got %+v", state)
			}
		})
	}
}
