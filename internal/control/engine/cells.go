package engine

import (
	"context"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// cellFor is this control plane's name among the cells of a plan; empty if the plan has none.
func (e *Engine) cellFor(p plan.Plan) (string, error) {
	switch {
	case len(p.Cells) == 0:
		return "", nil
	case e.Cell == "":
		return "", fault.New(fault.Conflict, "plan %s goes from cell to cell, and this control plane is none", p.Name).
			Hint("start it with 'firebreak serve --cell NAME' and a --peer for each of the other cells")
	case p.Wave(e.Cell) < 0:
		return "", fault.New(fault.Conflict, "plan %s does not name this cell, %s", p.Name, e.Cell).
			Hint("publish the release with a plan that does")
	}
	return e.Cell, nil
}

// listen tells a rollout what was heard of the release in other cells, if that is news to it. The caller holds its lock.
func (e *Engine) listen(ctx context.Context, r *entry) error {
	s := r.state
	if len(s.Cells) == 0 || !e.listens(s) {
		return nil
	}
	heard := e.hearing(s)
	if s.Knows(heard) {
		return nil
	}
	_, err := e.step(ctx, r, rollout.CellsHeard{At: stamp(e.Clock.Now()), Cells: heard})
	return err
}

// listens tells whether a rollout still has to know of other cells: as long as hosts may get the release or just got it, or it can trip. One
// that waits for people to agree exposes nobody; it listens once it runs.
func (e *Engine) listens(s rollout.State) bool {
	return s.Phase == rollout.Running || s.Phase == rollout.Paused || s.Phase == rollout.Complete && e.board.current(s) || s.Armed(e.Clock.Now())
}

// hearing is what is known of the release in the other cells. Without anybody to ask, all of them are lost.
func (e *Engine) hearing(s rollout.State) []rollout.CellHeard {
	names := s.Others()
	if e.Cells != nil {
		return e.Cells.Heard(s.Release.Component, s.Release.Manifest, names)
	}
	heard := make([]rollout.CellHeard, len(names))
	for i, name := range names {
		heard[i] = rollout.CellHeard{Name: name, Lost: "this control plane has no peers"}
	}
	return heard
}

// viewCells shows this cell and what is known of the others.
func viewCells(s rollout.State) (cell string, wave int, others []api.RolloutCell) {
	if s.Cell == "" {
		return "", 0, nil
	}
	for _, c := range s.Cells {
		others = append(others, api.RolloutCell{
			Name: c.Name, Wave: s.Plan.Wave(c.Name) + 1, Phase: string(c.Phase), Alarm: string(c.Alarm), Lost: c.Lost, Since: optional(c.Since),
			Held: c.Held.Seconds(),
		})
	}
	return s.Cell, s.Plan.Wave(s.Cell) + 1, others
}
