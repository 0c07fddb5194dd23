package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// region is several control planes that hear each other at once, unless one is cut off.
type region struct {
	t     *testing.T
	cells map[string]*world
	ids   map[string]string // of each cell's rollout
	cut   map[string]bool
}

// ear is one cell's way to hear the others.
type ear struct {
	*region
	cell string
}

// Heard implements engine.Cells.
func (e ear) Heard(component string, manifest release.Digest, names []string) []rollout.CellHeard {
	var all []rollout.CellHeard
	for _, name := range names {
		h := rollout.CellHeard{Name: name}
		if w := e.cells[name]; e.cut[name] || e.cut[e.cell] || w == nil {
			h.Lost = "refused"
		} else {
			shown, err := w.engine.Rollouts(e.t.Context(), store.RolloutQuery{Component: component})
			w.ok(err)
			for _, r := range shown {
				if r.Manifest == string(manifest) {
					h.Phase, h.Alarm = rollout.Phase(r.Phase), breaker.Alarm(r.Alarm)
					if h.Phase.Final() {
						h.Reason, h.Ended = r.Reason, *r.Ended
					}
				}
			}
		}
		all = append(all, h)
	}
	return all
}

func waves(m *release.Manifest) {
	m.Plan.Cells = []plan.Wave{{Names: []string{"canary"}}, {Names: []string{"eu", "us"}, After: plan.Duration(5 * time.Minute)}}
}

// regions makes three cells with five hosts each, and starts the same release in all of them.
func regions(t *testing.T) *region {
	t.Helper()
	r := &region{t: t, cells: map[string]*world{}, ids: map[string]string{}, cut: map[string]bool{}}
	for _, name := range []string{"canary", "eu", "us"} {
		w := open(t, 5)
		w.cell, w.cells = name, ear{r, name}
		w.restart()
		r.cells[name] = w
	}
	for name, w := range r.cells {
		r.ids[name] = w.start("v1", waves)
	}
	return r
}

// pass lets all cells live through d.
func (r *region) pass(d time.Duration) {
	r.t.Helper()
	for ; d > 0; d -= 10 * time.Second {
		for _, name := range []string{"canary", "eu", "us"} {
			r.cells[name].pass(min(d, 10*time.Second))
		}
	}
}

func (r *region) finish(name string) {
	r.t.Helper()
	r.cells[name].finish(r.ids[name])
}

func (r *region) ask(name string, n int) string {
	r.t.Helper()
	return r.cells[name].ask(r.ids[name], n)
}

func (r *region) view(name string) api.Rollout {
	r.t.Helper()
	return r.cells[name].view(r.ids[name])
}

// replays checks the events of all cells.
func (r *region) replays() {
	r.t.Helper()
	for name, w := range r.cells {
		w.replays(r.ids[name])
	}
}

// A good release goes wave by wave: nobody in the second gets it before the first has held for as long as the plan says.
func TestInvariantI4CellsGoOneAfterTheOther(t *testing.T) {
	t.Parallel()
	r := regions(t)
	r.pass(10 * time.Minute)
	if why := r.ask("eu", 1); !strings.Contains(why, "waits for cell canary: it is running there") {
		t.Fatalf("before the canary: got %q, want to wait for it", why)
	}
	r.finish("canary")
	r.pass(4 * time.Minute)
	v := r.view("us")
	if why := r.ask("us", 1); !strings.Contains(why, "it has held there for") || v.Waiting.Code != rollout.WaitCells || v.Exposed != 0 {
		t.Fatalf("4 minutes after the canary: got %q, %+v, want to wait longer", why, v.Waiting)
	}
	if len(v.Cells) != 2 || v.Cell != "us" || v.Wave != 2 || v.Cells[0].Name != "canary" || v.Cells[0].Phase != "complete" || v.Cells[0].Held < 200 {
		t.Errorf("got cell %s of wave %d beside %+v", v.Cell, v.Wave, v.Cells)
	}
	r.pass(90 * time.Second)
	r.finish("eu")
	r.finish("us")
	r.replays()
}

// A bad release never leaves the first wave, and is recalled everywhere.
func TestInvariantI3TripInTheFirstCell(t *testing.T) {
	t.Parallel()
	r := regions(t)
	r.pass(time.Minute)
	r.cells["canary"].trip(r.ids["canary"])
	r.pass(10 * time.Second)
	for _, name := range []string{"eu", "us"} {
		v := r.view(name)
		if v.Phase != "rolled_back" || v.Exposed != 0 || !strings.Contains(v.Reason, "recalled in cell canary: evidence") {
			t.Errorf("%s: got %s (%s), %d exposed, want it rolled back because of the canary", name, v.Phase, v.Reason, v.Exposed)
		}
		if why := r.ask(name, 1); !strings.Contains(why, "rolled back") && !strings.Contains(why, "not for this release") {
			t.Errorf("%s: got %q", name, why)
		}
		if d := r.cells[name].directive(); len(d.Recalls) != 1 || d.Candidate != nil {
			t.Errorf("%s: got directive %+v, want the recall and no candidate", name, d)
		}
		_, err := r.cells[name].engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v1"}, "alice")
		refused(t, err, fault.Conflict, "recalled", "canary")
	}
	r.replays()
}

// A trip in the second wave reaches the first too, which was complete.
func TestInvariantI3TripInALaterCell(t *testing.T) {
	t.Parallel()
	r := regions(t)
	r.finish("canary")
	r.pass(6 * time.Minute)
	r.cells["us"].trip(r.ids["us"])
	r.pass(10 * time.Second)
	if v := r.view("canary"); v.Phase != "rolled_back" || v.Exposed != 5 || !strings.Contains(v.Reason, "cell ") {
		t.Errorf("canary: got %s (%s), %d exposed, want 5 to go back", v.Phase, v.Reason, v.Exposed)
	}
	if d := r.cells["canary"].directive(); d.Stable != nil || len(d.Recalls) != 1 {
		t.Errorf("canary: got directive %+v, want the recall alone", d)
	}
	r.replays()
}

// A cell that is cut off grants nothing more, keeps what it has, goes on when it is heard again, and can be halted meanwhile. So do the others.
func TestCutOffCellStopsAdvancing(t *testing.T) {
	t.Parallel()
	r := regions(t)
	r.finish("canary")
	r.pass(6 * time.Minute)
	eu := r.cells["eu"]
	eu.lease(r.ids["eu"], 1, 2)
	r.cut["us"] = true
	eu.report(r.ids["eu"], 1, "confirmed")
	eu.report(r.ids["eu"], 2, "confirmed")
	for _, name := range []string{"eu", "us"} {
		if why := r.ask(name, 3); !strings.Contains(why, "not reachable") {
			t.Errorf("%s is cut off: got %q, want no lease", name, why)
		}
	}
	r.pass(10 * time.Minute)
	if v := r.view("eu"); v.Ring != 0 || v.Phase != "running" || v.Confirmed != 2 || v.Waiting.Code != rollout.WaitCells {
		t.Errorf("got ring %d, %s, %d confirmed, waiting %+v, want it to stand still", v.Ring, v.Phase, v.Confirmed, v.Waiting)
	}
	eu.report(r.ids["eu"], 2, "crashed")
	if v := r.view("eu"); v.Harmed != 1 {
		t.Errorf("got %d harmed, want the report to count", v.Harmed)
	}
	if _, err := r.cells["us"].engine.Act(t.Context(), r.ids["us"], rollout.OperatorActed{Action: rollout.Halt, Actor: "ann"}); err != nil {
		t.Errorf("halt in a cell that is cut off: %v", err)
	}
	r.cut["us"] = false
	r.pass(10 * time.Second)
	if v := r.view("eu"); v.Phase != "paused" || !strings.Contains(v.Reason, "halted in cell us") {
		t.Errorf("after a halt in us: got %s (%s), want it paused", v.Phase, v.Reason)
	}
	_, err := eu.engine.Act(t.Context(), r.ids["eu"], rollout.OperatorActed{Action: rollout.Resume, Actor: "ann"})
	eu.ok(err)
	r.pass(time.Minute)
	if v := r.view("eu"); v.Phase != "running" || v.Waiting.Code == rollout.WaitCells {
		t.Errorf("resumed by hand: got %s, waiting %+v", v.Phase, v.Waiting)
	}
	r.replays()
}

// After a restart nobody gets a lease before the others were heard again, however they were heard before.
func TestRestartedCellHearsFirst(t *testing.T) {
	t.Parallel()
	r := regions(t)
	r.finish("canary")
	r.pass(6 * time.Minute)
	eu := r.cells["eu"]
	eu.cells = nil // nothing is known yet
	eu.restart()
	if why := r.ask("eu", 1); !strings.Contains(why, "no peers") {
		t.Errorf("after a restart: got %q, want no lease", why)
	}
	eu.cells = ear{r, "eu"}
	eu.restart()
	eu.lease(r.ids["eu"], 1)
	r.replays()
}

// A plan with cells is for cells that it names.
func TestStartOutsideOfThePlansCells(t *testing.T) {
	t.Parallel()
	w := open(t, 2)
	w.publish("v1", waves)
	begin := func() error {
		_, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v1"}, "alice")
		return err
	}
	refused(t, begin(), fault.Conflict, "this control plane is none")
	w.cell = "apac"
	w.restart()
	refused(t, begin(), fault.Conflict, "does not name this cell, apac")
}
