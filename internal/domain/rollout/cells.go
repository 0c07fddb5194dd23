package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
)

// Cell is what a rollout knows of another cell of its plan.
type Cell struct {
	CellHeard
	Held time.Duration `json:"held,omitempty"` // observed time for which it has held, as long as anybody asks for at most
}

// holds tells whether the release is through there, and nothing speaks against it.
func (c *Cell) holds() bool { return c.Lost == "" && c.Phase == Complete && c.Alarm == breaker.Quiet }

// heard takes over what is known of the other cells. A recall in any of them is a recall here, whatever became of it here; a halt pauses.
// While a cell is lost, what it said last stands: only where it is lost is new.
func (t *turn) heard(e CellsHeard) {
	before := t.blocked()
	for _, c := range e.Cells {
		known := t.cell(c.Name)
		if known == nil || t.Phase.Recalls() {
			continue
		}
		was := known.CellHeard
		if c.Lost != "" {
			known.Lost, known.Since = c.Lost, c.Since
			continue
		}
		if known.CellHeard = c; !known.holds() {
			known.Held = 0
		}
		t.heed(was, c)
	}
	if after := t.blocked(); after != before && t.Phase == Running {
		if after == "" { // look at once: rings may have shown their evidence meanwhile
			after = "every cell of the plan is heard, and those before this one hold"
		}
		t.record(DidHear, "%s", after)
		t.do(WakeAt{At: t.Last.Add(min(MaxGap/2, t.trial()))})
	}
}

// heed stops what was stopped in another cell. A halt of an earlier try, over before this one began, is none of it.
func (t *turn) heed(was, is CellHeard) {
	by := OperatorActed{At: t.Last, Actor: "cell " + is.Name}
	halted := is.Phase == Halted && (was.Phase != Halted || !was.Ended.Equal(is.Ended)) && !is.Ended.Before(t.Started)
	switch {
	case is.Recalled || is.Phase.Recalls():
		by.Action, by.Reason = RollBack, fmt.Sprintf("it was recalled in cell %s%s", is.Name, detail(is.Reason))
	case halted && (t.Phase == Running || t.Phase == Paused):
		by.Action, by.Reason = Pause, fmt.Sprintf("it was halted in cell %s%s", is.Name, detail(is.Reason))
		t.Phase = Running // one that is paused already is paused for one more reason, which whoever resumes it must see
	default:
		return
	}
	t.operator(by)
	t.do(Notify{Severity: "page", Text: fmt.Sprintf("%s %s is stopped here: %s", t.Release.Component, t.Release.Version, by.Reason)})
}

// cell is what is known of another cell of the plan; nil if the plan does not name it.
func (s *State) cell(name string) *Cell {
	if i := slices.IndexFunc(s.Cells, func(c Cell) bool { return c.Name == name }); i >= 0 {
		return &s.Cells[i]
	}
	return nil
}

// others are the cells that the rollout has to hear, none of which has been heard yet. A rollout in no cell goes by itself.
func (e Started) others() []Cell {
	var cells []Cell
	if e.Cell == "" {
		return nil
	}
	for _, wave := range e.Plan.Cells {
		for _, name := range wave.Names {
			if name != e.Cell {
				cells = append(cells, Cell{CellHeard: CellHeard{Name: name, Lost: "it was not heard yet"}})
			}
		}
	}
	return cells
}

// wave is this cell's place in the plan, and how long the waves before it must have held.
func (s *State) wave() (place int, after time.Duration) {
	if place = s.Plan.Wave(s.Cell); place < 0 {
		return place, 0
	}
	return place, time.Duration(s.Plan.Cells[place].After)
}

// holdFor counts the time that was lived through for the cells that hold. Nothing is counted while a cell is lost.
func (t *turn) holdFor(gap time.Duration) {
	_, after := t.wave()
	for i := range t.Cells {
		if c := &t.Cells[i]; c.holds() {
			c.Held = min(c.Held+gap, after)
		}
	}
}

// trial is for how long the cells before this one still have to hold, a moment if they have; cells that do not hold are not waited for.
func (s *State) trial() time.Duration {
	left := time.Millisecond
	place, after := s.wave()
	for i := range s.Cells {
		if c := &s.Cells[i]; s.Plan.Wave(c.Name) < place && c.holds() {
			left = max(left, after-c.Held)
		}
	}
	return left
}

// blocked is why another cell keeps this one from exposing hosts, empty if none does. A cell that cannot be heard may be in trouble: that
// holds for those that come later too, whose trips nobody would hear of (I4). It asks nothing of a rollout that is through: its release is
// stable here, and hosts that join must get it.
func (s *State) blocked() string {
	first, n := "", 0
	for i := range s.Cells {
		if why := s.waitsFor(&s.Cells[i]); why != "" {
			if n++; n == 1 {
				first = fmt.Sprintf("waits for cell %s: %s", s.Cells[i].Name, why)
			}
		}
	}
	if n > 1 {
		first += fmt.Sprintf("; and for %d more", n-1)
	}
	return first
}

func (s *State) waitsFor(c *Cell) string {
	place, after := s.wave()
	switch {
	case c.Lost != "" && c.Since.IsZero():
		return "not reachable: " + c.Lost
	case c.Lost != "":
		return fmt.Sprintf("not reachable since %s: %s", c.Since.UTC().Format("2006-01-02 15:04 UTC"), c.Lost)
	case s.Plan.Wave(c.Name) >= place:
		return ""
	case c.Phase == None:
		return "the release has no rollout there"
	case c.Phase != Complete:
		return "it is " + string(c.Phase) + " there"
	case !c.holds():
		return fmt.Sprintf("its alarm is %s there", c.Alarm)
	case c.Held < after:
		return fmt.Sprintf("it has held there for %s of %s", c.Held.Round(time.Second), after)
	}
	return ""
}

// Knows tells whether the rollout knows all that was heard, so that no event need say it. Of a cell that is lost only that counts.
func (s *State) Knows(heard []CellHeard) bool {
	return !slices.ContainsFunc(heard, func(h CellHeard) bool {
		known := s.cell(h.Name)
		return known != nil && !known.same(h)
	})
}

// same tells whether two accounts of a cell say the same.
func (c CellHeard) same(other CellHeard) bool {
	if c.Lost != "" || other.Lost != "" {
		return c.Lost != "" && other.Lost != ""
	}
	return c.Phase == other.Phase && c.Alarm == other.Alarm && c.Recalled == other.Recalled && c.Reason == other.Reason && c.Ended.Equal(other.Ended)
}

// Others are the names of the cells that the rollout has to hear.
func (s *State) Others() []string {
	var names []string
	for _, c := range s.Cells {
		names = append(names, c.Name)
	}
	return names
}
