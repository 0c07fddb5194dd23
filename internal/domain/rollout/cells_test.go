package rollout_test

import (
	"slices"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// rumour is what is heard of some of the other cells, mostly good.
func (s *story) rumour(t *teller) rollout.CellsHeard {
	e := rollout.CellsHeard{At: s.now}
	for _, cell := range s.state.Cells {
		if t.IntN(3) == 0 {
			continue
		}
		heard := rollout.CellHeard{Name: cell.Name, Phase: rollout.Complete, Alarm: breaker.Quiet}
		switch n := t.IntN(200); {
		case n < 2:
			heard.Phase = oneOf(t, rollout.Tripped, rollout.RolledBack)
		case n < 3:
			heard.Recalled = true
		case n < 6:
			heard.Phase, heard.Ended = rollout.Halted, s.now.Add(-time.Duration(t.IntN(100))*time.Second)
		case n < 12:
			heard.Phase = oneOf(t, rollout.None, rollout.Running, rollout.Paused, rollout.Proposed)
		case n < 18:
			heard.Alarm = breaker.Amber
		case n < 30:
			heard = rollout.CellHeard{Name: cell.Name, Lost: "refused"}
		}
		e.Cells = append(e.Cells, heard)
	}
	return e
}

// gossip is the caller's own book on the other cells.
type gossip map[string]*rollout.Cell

func holding(c *rollout.Cell) bool {
	return c.Lost == "" && c.Phase == rollout.Complete && c.Alarm == breaker.Quiet
}

// note books a chapter: time counts for cells that held all the while.
func (g gossip) note(c chapter) {
	for _, cell := range g {
		if holding(cell) && !c.before.Phase.Final() {
			cell.Held += min(max(c.after.Last.Sub(c.before.Last), 0), rollout.MaxGap)
		}
	}
	told, ok := c.event.(rollout.CellsHeard)
	if !ok {
		return
	}
	for _, heard := range told.Cells {
		cell := g[heard.Name]
		if cell.CellHeard = heard; heard.Lost == "" && !holding(cell) {
			cell.Held = 0
		}
	}
}

// I4 between cells: no lease before every cell of the waves before has held for as long as the plan asks, nor while any cell of the plan is
// not heard. I3 between them: what was recalled anywhere gets no lease here any more.
func TestInvariantI4Cells(t *testing.T) {
	t.Parallel()
	waves := []plan.Wave{
		{Names: []string{"canary"}}, {Names: []string{"eu", "us"}, After: plan.Duration(3 * time.Minute)}, {Names: []string{"apac"}, After: plan.Duration(time.Minute)},
	}
	leased, ended, paused := map[string]int{}, 0, 0
	tell(t, func(t *teller) {
		cell := oneOf(t, "canary", "eu", "us", "apac")
		s := beginIn(t, t.IntN(4) == 0, cell, waves)
		here, heard, recalled := s.state.Plan.Wave(cell), gossip{}, false
		for _, other := range s.state.Cells {
			heard[other.Name] = &rollout.Cell{CellHeard: rollout.CellHeard{Name: other.Name, Lost: "never heard"}}
		}
		if len(heard) != 3 || heard[cell] != nil {
			t.Fatalf("%s has to hear %v", cell, s.state.Others())
		}
		for range s.chapters(t) {
			c := s.next(t)
			grant, granted := granted(c.effects)
			if granted && (recalled || c.after.Phase.Final()) {
				t.Fatalf("granted %#v after a recall", grant)
			}
			for name, other := range heard {
				if !granted || c.before.Phase != rollout.Running {
					continue
				}
				wait := time.Duration(waves[here].After)
				if other.Lost != "" || c.before.Plan.Wave(name) < here && (!holding(other) || other.Held < wait) {
					t.Fatalf("%s granted %#v while %s is %+v", cell, grant, name, other)
				}
				leased[cell]++
			}
			heard.note(c)
			if told, ok := c.event.(rollout.CellsHeard); ok {
				recalled = recalled || slices.ContainsFunc(told.Cells, func(h rollout.CellHeard) bool { return h.Recalled || h.Phase.Recalls() })
				if recalled && !c.after.Phase.Recalls() {
					t.Fatalf("is %s after %#v", c.after.Phase, told)
				}
				if c.after.Phase == rollout.Paused && c.before.Phase == rollout.Running {
					paused++
				}
			}
			consistent(t, c)
		}
		if recalled {
			ended++
		}
		replay(t, s.log)
	})
	if min(leased["canary"], leased["eu"], leased["us"], leased["apac"], ended, paused) == 0 {
		t.Fatalf("the stories prove nothing: %v leases, %d ended, %d paused", leased, ended, paused)
	}
}

// What the rollout knows already need not be told again.
func TestKnowsWhatWasHeard(t *testing.T) {
	t.Parallel()
	at := epoch
	started := rollout.Started{At: at, ID: "r", Plan: planOf(t, "wave eu\nwave us"), Actor: "ann", Cell: "us"}
	s, _ := rollout.Step(rollout.State{}, started)
	good := rollout.CellHeard{Name: "eu", Phase: rollout.Complete, Alarm: breaker.Quiet, Ended: at}
	stranger := rollout.CellHeard{Name: "moon", Phase: rollout.Tripped}
	if lost := (rollout.CellHeard{Name: "eu", Lost: "another reason"}); s.Knows([]rollout.CellHeard{good}) || !s.Knows([]rollout.CellHeard{lost, stranger}) {
		t.Error("a cell that was never heard is lost, whatever the reason, and that is all that is known")
	}
	s, _ = rollout.Step(s, rollout.CellsHeard{At: at, Cells: []rollout.CellHeard{good, stranger}})
	again := good
	again.Ended = at.In(time.FixedZone("elsewhere", 3600))
	if !s.Knows([]rollout.CellHeard{again}) {
		t.Errorf("%+v knows nothing of %+v", s.Cells, again)
	}
	for _, change := range []func(*rollout.CellHeard){
		func(c *rollout.CellHeard) { c.Lost = "refused" },
		func(c *rollout.CellHeard) { c.Phase = rollout.Halted },
		func(c *rollout.CellHeard) { c.Alarm = breaker.Amber },
		func(c *rollout.CellHeard) { c.Recalled = true },
		func(c *rollout.CellHeard) { c.Reason = "odd" },
		func(c *rollout.CellHeard) { c.Ended = at.Add(time.Second) },
	} {
		news := good
		if change(&news); s.Knows([]rollout.CellHeard{news}) {
			t.Errorf("%+v is no news", news)
		}
	}
	alone, _ := rollout.Step(rollout.State{}, rollout.Started{At: at, ID: "r", Plan: started.Plan, Actor: "ann"})
	if w := alone.Waiting(); w.Code == rollout.WaitCells || alone.Others() != nil {
		t.Errorf("in no cell: got %+v", w)
	}
}
