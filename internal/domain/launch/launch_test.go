package launch_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/firebreak-dev/firebreak/internal/domain/bootguard"
	"github.com/firebreak-dev/firebreak/internal/domain/launch"
)

func limits() launch.Limits {
	return launch.Limits{Exits: 3, Window: 10 * time.Minute, MinPause: time.Second, MaxPause: time.Minute, Doubt: 24 * time.Hour}
}

// host plays a launcher and its host: it does what is decided.
type host struct {
	state launch.State
	have  launch.Have
	told  []bootguard.Undone
}

func (h *host) start() launch.Decision {
	d := launch.Choose(h.state, h.have, limits())
	if d.Move {
		h.have.Link, h.have.Current = d.To, d.To
	}
	for _, u := range d.Undone {
		h.told = append(h.told, u)
		h.state = h.state.Told(u.From)
	}
	h.state = h.state.Started(d.Run)
	return d
}

func (h *host) end(e launch.Exit) {
	e.Link = cmp.Or(e.Link, h.have.Link)
	h.state = h.state.Ended(e, limits())
}

func onTrial() *host {
	return &host{have: launch.Have{Link: "new", Current: "new", Good: "good", Older: "older", Keep: "good"}}
}

func crash(after time.Duration) launch.Exit {
	return launch.Exit{Reason: launch.Exited, Status: 1, After: after, Why: "exit status 1"}
}

func TestWhatIsRun(t *testing.T) {
	t.Parallel()
	all := launch.Have{Link: "c", Current: "c", Good: "g", Older: "o", Keep: "k"}
	for name, row := range map[string]struct {
		have launch.Have
		bad  []string
		want launch.Decision
	}{
		"what is in use, on trial": {all, nil, launch.Decision{Run: launch.Life{Rung: launch.Current, Slot: "c", Trial: true, Link: "c"}}},
		"what is in use, good": {
			launch.Have{Link: "g", Current: "g", Good: "g"},
			nil,
			launch.Decision{Run: launch.Life{Rung: launch.Current, Slot: "g", Link: "g"}},
		},
		"what is in use, was good": {
			launch.Have{Link: "o", Current: "o", Good: "g", Older: "o"},
			[]string{"g"},
			launch.Decision{Run: launch.Life{Rung: launch.Current, Slot: "o", Link: "o"}},
		},
		"good": {all, []string{"c"}, launch.Decision{Move: true, To: "g", Run: launch.Life{Rung: launch.Good, Slot: "g", Link: "g"}}},
		"older": {
			all,
			[]string{"c", "g"},
			launch.Decision{Move: true, To: "o", Run: launch.Life{Rung: launch.Older, Slot: "o", Link: "o"}},
		},
		"keep":    {all, []string{"c", "g", "o"}, launch.Decision{Move: true, Run: launch.Life{Rung: launch.Keep, Slot: "k"}}},
		"factory": {all, []string{"c", "g", "o", "k"}, launch.Decision{Move: true, Run: launch.Life{Rung: launch.Factory}}},
		"a copy of what is quarantined": {
			launch.Have{Link: "c", Current: "c", Keep: "c"},
			[]string{"c"},
			launch.Decision{Move: true, Run: launch.Life{Rung: launch.Factory}},
		},
		"current cannot be run": {
			launch.Have{Link: "c", Good: "g"},
			nil,
			launch.Decision{Move: true, To: "g", Run: launch.Life{Rung: launch.Good, Slot: "g", Link: "g"}},
		},
		"the link is gone": {
			launch.Have{Good: "g"},
			nil,
			launch.Decision{Move: true, To: "g", Run: launch.Life{Rung: launch.Good, Slot: "g", Link: "g"}},
		},
		"all slots are gone": {launch.Have{Keep: "k"}, nil, launch.Decision{Run: launch.Life{Rung: launch.Keep, Slot: "k"}}},
		"a new host":         {launch.Have{}, nil, launch.Decision{Run: launch.Life{Rung: launch.Factory}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s launch.State
			for _, slot := range row.bad {
				s.Quarantined = append(s.Quarantined, launch.Quarantine{Slot: slot})
			}
			got := launch.Choose(s, row.have, limits())
			if got.Why == "" {
				t.Error("got no reason")
			}
			got.Why = ""
			if diff := gocmp.Diff(row.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestTooManyBadExits(t *testing.T) {
	t.Parallel()
	hung := func(after time.Duration) launch.Exit { return launch.Exit{Reason: launch.Hung, After: after} }
	reason := func(r launch.Reason) []launch.Exit { return []launch.Exit{{Reason: r}} }
	for name, row := range map[string]struct {
		trial, good bool // must be quarantined, on trial and when it was good before
		asked       bool // each life has asked the control plane
		exits       []launch.Exit
	}{
		"one":                     {exits: []launch.Exit{crash(0)}},
		"two":                     {exits: []launch.Exit{crash(0), crash(0)}},
		"three":                   {trial: true, good: true, exits: []launch.Exit{crash(0), crash(time.Minute), hung(time.Minute)}},
		"three after a long life": {trial: true, good: true, asked: true, exits: []launch.Exit{crash(time.Hour), crash(0), crash(0)}},
		"three, slowly":           {asked: true, exits: []launch.Exit{crash(0), crash(6 * time.Minute), crash(6 * time.Minute), crash(6 * time.Minute)}},
		"three at the edge":       {trial: true, good: true, asked: true, exits: []launch.Exit{crash(0), crash(5 * time.Minute), crash(5 * time.Minute)}},
		"a clock that went back":  {trial: true, good: true, exits: []launch.Exit{crash(0), crash(-time.Hour), crash(-time.Hour)}},
		"a clock that leaps, and never a word": {
			trial: true, good: true, exits: slices.Repeat([]launch.Exit{crash(1 << 62)}, 9),
		},
		"a clock that leaps, not long yet": {exits: slices.Repeat([]launch.Exit{crash(1 << 62)}, 8)},
		"mute":                             {trial: true, exits: reason(launch.Mute)},
		"astray":                           {trial: true, exits: reason(launch.Astray)},
		"ate":                              {trial: true, exits: reason(launch.Ate)},
		"lost":                             {exits: reason(launch.Lost)},
		"lost thrice":                      {trial: true, exits: slices.Repeat(reason(launch.Lost), 3)},
		"lost thrice, having asked":        {asked: true, exits: slices.Repeat(reason(launch.Lost), 3)},
		"stopped":                          {exits: slices.Repeat(reason(launch.Stopped), 9)},
		"swap to nothing new":              {trial: true, good: true, exits: slices.Repeat([]launch.Exit{{Reason: launch.Exited, Status: 75}}, 3)},
		"ended well, unasked":              {trial: true, good: true, exits: slices.Repeat([]launch.Exit{{Reason: launch.Exited}}, 3)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, good := range []bool{false, true} {
				h := onTrial()
				want := row.trial
				if good {
					h.have.Good, want = "new", row.good
				}
				for i, e := range row.exits {
					if d := h.start(); d.Run.Rung != launch.Current {
						t.Fatalf("good %v: start %d: got %s, want current still", good, i, d.Run.Rung)
					}
					if row.asked {
						h.state = h.state.Asked()
					}
					h.end(e)
				}
				if got := len(h.state.Quarantined) == 1; got != want {
					t.Errorf("good %v: got quarantined %v, want %v", good, got, want)
				}
			}
		})
	}
}

func TestGoingBackIsTold(t *testing.T) {
	t.Parallel()
	h := onTrial()
	for range 3 {
		h.start()
		h.end(crash(time.Second))
	}
	again := launch.Choose(h.state, h.have, limits()) // the launcher dies before it has done it: the next one decides the same
	d := h.start()
	if diff := gocmp.Diff(again, d); diff != "" {
		t.Errorf("decided twice:\n%s", diff)
	}
	want := []bootguard.Undone{{From: "new", To: "good", Verdict: bootguard.Crash, Why: "the agent ended again and again: exit status 1"}}
	if diff := gocmp.Diff(want, h.told); diff != "" || !d.Move || d.To != "good" || d.Pause != 0 || h.have.Link != "good" {
		t.Errorf("got %+v, want to go back at once; told:\n%s", d, diff)
	}
	for range 3 {
		h.start()
		h.end(launch.Exit{Reason: launch.Exited, Status: 2, After: time.Second, Why: "exit status 2"})
	}
	d = h.start()
	want = append(want, bootguard.Undone{From: "good", To: "older", Verdict: bootguard.Inconclusive, Why: "the agent ended again and again: exit status 2"})
	if diff := gocmp.Diff(want, h.told); diff != "" || d.Run.Slot != "older" {
		t.Errorf("got %+v, want the older one; told:\n%s", d, diff)
	}
	h.end(launch.Exit{Reason: launch.Stopped, After: 25 * time.Hour})
	if got := h.state.Quarantined; len(got) != 1 || got[0].Slot != "new" {
		t.Errorf("a day later: got %+v, want the doubt to have ended", got)
	}
}

// A trial that fails as the good agent does then is not to blame for good: perhaps it is the host. If any other agent has asked the control
// plane meanwhile, the host was well.
func TestTheSameFailureOfTheGoodAgentIsDoubt(t *testing.T) {
	t.Parallel()
	const why = "the agent ended again and again: exit status 1"
	for name, row := range map[string]struct {
		well bool
		want []bootguard.Undone
	}{
		"the same failure": {false, []bootguard.Undone{
			{From: "new", To: "good", Verdict: bootguard.Crash, Why: why},
			{From: "new", To: "older", Verdict: bootguard.Inconclusive, Why: why},
			{From: "good", To: "older", Verdict: bootguard.Inconclusive, Why: why},
		}},
		"the host was well between": {true, []bootguard.Undone{
			{From: "new", To: "good", Verdict: bootguard.Crash, Why: why},
			{From: "good", To: "older", Verdict: bootguard.Inconclusive, Why: why},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := onTrial()
			for i := range 6 {
				h.start()
				if row.well && i == 3 {
					h.state = h.state.Asked()
				}
				h.end(crash(time.Second))
			}
			h.start()
			if diff := gocmp.Diff(row.want, h.told); diff != "" {
				t.Errorf("told:\n%s", diff)
			}
			h.end(launch.Exit{Reason: launch.Stopped, After: 25 * time.Hour})
			if got, want := len(h.state.Quarantined), map[bool]int{true: 1}[row.well]; got != want {
				t.Errorf("a day later: got %+v, want %d", h.state.Quarantined, want)
			}
		})
	}
}

func TestAWayOutIsFoundEvenIfTheSlotsAreGone(t *testing.T) {
	t.Parallel()
	h := onTrial()
	h.start()
	h.have = launch.Have{Keep: "good"} // the agent has removed everything below its state directory
	h.end(crash(time.Second))
	d := h.start()
	if d.Run.Rung != launch.Keep || d.Run.Slot != "good" || len(h.told) != 1 || h.told[0].From != "new" || h.told[0].To != "" ||
		!strings.Contains(h.told[0].Why, "removed its own state") {
		t.Errorf("got %+v, told %+v, want the copy and the truth", d, h.told)
	}
}

func TestSwapIsNoBadExit(t *testing.T) {
	t.Parallel()
	h := &host{have: launch.Have{Link: "good", Current: "good", Good: "good"}}
	h.start()
	h.end(crash(0))
	h.start()
	h.have.Link, h.have.Current = "new", "new"
	h.end(launch.Exit{Reason: launch.Exited, Status: launch.SwapStatus})
	if d := h.start(); d.Run.Slot != "new" || !d.Run.Trial || d.Pause != 0 || len(h.state.Exits) != 0 {
		t.Errorf("got %+v, want the new one at once, with a clean sheet", d)
	}
}

func TestAgentsThatMakeRoomForEachOtherGetPauses(t *testing.T) {
	t.Parallel()
	h := &host{have: launch.Have{Link: "a", Current: "a", Good: "a"}}
	swap := func() time.Duration {
		d := h.start()
		h.have.Link = map[string]string{"a": "b", "b": "a"}[h.have.Link]
		h.have.Current = h.have.Link
		h.end(launch.Exit{Reason: launch.Exited, Status: launch.SwapStatus})
		return d.Pause
	}
	got := []time.Duration{swap(), swap(), swap(), swap(), swap()}
	if want := []time.Duration{0, 0, time.Second, 2 * time.Second, 4 * time.Second}; !slices.Equal(got, want) {
		t.Errorf("got pauses of %s, want %s", got, want)
	}
	h.start()
	h.state = h.state.Asked()
	swap()
	if got := swap(); got != 0 {
		t.Errorf("got a pause of %s after one that asked, want none", got)
	}
}

func TestTheFactoryAgentIsNeverGivenUp(t *testing.T) {
	t.Parallel()
	h, last := &host{}, time.Duration(0)
	for n := range 1000 {
		d := h.start()
		if d.Run.Rung != launch.Factory || d.Pause < last || d.Pause > limits().MaxPause {
			t.Fatalf("start %d: got %+v after a pause of %s, want the factory agent after a longer one", n, d, last)
		}
		last = d.Pause
		h.end(launch.Exit{Reason: launch.Hung, After: time.Second})
	}
	if last != limits().MaxPause {
		t.Errorf("got a pause of %s in the end, want %s", last, limits().MaxPause)
	}
}

func TestAskerIsNeverOnTrial(t *testing.T) {
	t.Parallel()
	h := onTrial()
	if _, slot := launch.Asker(h.state, h.have); slot != "good" {
		t.Errorf("got %q, want good", slot)
	}
	if rung, _ := launch.Asker(h.state, launch.Have{Link: "new", Current: "new"}); rung != launch.Factory {
		t.Errorf("got %s, want factory", rung)
	}
}

// Whatever happens on a host: what is quarantined is not run, an agent on trial that never asks is replaced, the memory stays small, each
// end is told once, and there is always something to run.
func TestInvariants(t *testing.T) {
	t.Parallel()
	slot := rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e"})
	have := rapid.Custom(func(t *rapid.T) launch.Have {
		h := launch.Have{
			Link: slot.Draw(t, "link"), Good: slot.Draw(t, "good"), Older: slot.Draw(t, "older"), Keep: slot.Draw(t, "keep"),
		}
		h.Current = rapid.SampledFrom([]string{"", h.Link}).Draw(t, "current")
		return h
	})
	exit := rapid.Custom(func(t *rapid.T) launch.Exit {
		return launch.Exit{
			Reason: rapid.SampledFrom([]launch.Reason{
				launch.Exited, launch.Stopped, launch.Hung, launch.Mute, launch.Astray, launch.Ate, launch.Lost,
			}).Draw(t, "reason"),
			Status: rapid.SampledFrom([]int{0, 1, -1, 75}).Draw(t, "status"),
			After:  time.Duration(rapid.Int64().Draw(t, "after")),
			Why:    rapid.String().Draw(t, "why"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		h := &host{have: have.Draw(t, "have")}
		deaf, told := map[string]int{}, 0
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			before := h.state
			d := h.start()
			if slices.ContainsFunc(before.Quarantined, func(q launch.Quarantine) bool { return q.Slot == d.Run.Slot }) {
				t.Fatalf("runs %+v, which is quarantined in %+v", d.Run, before)
			}
			if d.Pause < 0 || d.Pause > limits().MaxPause || (d.Run.Slot == "") != (d.Run.Rung == launch.Factory) {
				t.Fatalf("got %+v", d)
			}
			if len(h.told)-told > 2 { // the one that was left, and perhaps the one before it, which is in doubt by now
				t.Fatalf("told %+v at once", h.told[told:])
			}
			told = len(h.told)
			if rapid.Bool().Draw(t, "asks") {
				h.state = h.state.Asked()
				deaf = map[string]int{}
			}
			e := exit.Draw(t, "exit")
			if rapid.IntRange(0, 9).Draw(t, "meddles") == 0 {
				h.have, deaf = have.Draw(t, "have"), map[string]int{}
			}
			h.end(e)
			switch {
			case e.Reason == launch.Exited && e.Status == launch.SwapStatus, e.Reason == launch.Lost:
			case e.Reason != launch.Stopped && d.Run.Slot != "":
				if deaf[d.Run.Slot]++; deaf[d.Run.Slot] > 9 {
					t.Fatalf("%s was run %d times in vain", d.Run.Slot, deaf[d.Run.Slot])
				}
			}
			if s := h.state; len(s.Exits) > 3 || s.Deaf > 9 || s.Streak > 64 || len(s.Quarantined) > 16 || s.Running != nil {
				t.Fatalf("got %+v, want a small memory", s)
			}
			for _, q := range h.state.Quarantined {
				if len(q.Why) > 200 {
					t.Fatalf("got a reason of %d bytes", len(q.Why))
				}
			}
		}
	})
}

// An agent whose state cannot be written ends as often as it is started. It is not its fault, however often, whether it is on trial or not;
// the starts come slower, and what it did on a disk that could be written counts as before.
func TestAHinderedAgentIsNotToBlame(t *testing.T) {
	t.Parallel()
	h := onTrial()
	for n := range 100 {
		d := h.start()
		if d.Run.Slot != "new" || len(h.told) > 0 || d.Pause > time.Minute || n > 10 && d.Pause != time.Minute {
			t.Fatalf("start %d: got %+v after a pause of %s, want the one on trial, and pauses up to a minute", n, d.Run, d.Pause)
		}
		h.end(launch.Exit{Reason: launch.Hindered, Status: 1, After: time.Second})
	}
	for range 3 {
		h.start()
		h.end(crash(time.Second))
	}
	if d := h.start(); d.Run.Slot != "good" || !slices.Equal(h.state.Barred(), []string{"new"}) {
		t.Errorf("got %+v with %v barred, want three bad exits to count again", d.Run, h.state.Barred())
	}
}
