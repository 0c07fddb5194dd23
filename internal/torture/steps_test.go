//go:build unix

package torture

import (
	"context"
	"fmt"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// farthest is how far a clock is set. A certificate is good an hour before it is signed, and a directive and the newest metadata an hour
// after: within it nothing that is signed by a wrong clock is worthless at once. By more, hosts would refuse the control plane's certificate,
// and halts, until the clock is right; until then they would keep what they have.
const farthest = 55 * time.Minute

// offsets are how far clocks are set, ahead or back.
func offsets() []time.Duration {
	return []time.Duration{farthest, 11 * time.Minute, 3 * time.Minute, -3 * time.Minute, -11 * time.Minute, -farthest}
}

// turned is that the clock of a plane was set.
type turned struct {
	at    time.Time
	plane *plane
	ahead time.Duration
}

// turn sets the clock of a plane, whether it runs or not.
func (w *world) turn(p *plane, ahead time.Duration) {
	p.turn(ahead)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.turns = append(w.turns, turned{now(), p, ahead})
}

// clocks are the steps of a plane's clock, away from the true time and back to it.
func (w *world) clocks(p *plane) []harm {
	var all []harm
	for _, ahead := range offsets() {
		all = append(all, harm{
			fmt.Sprintf("clock of a replica set %+.0f min, and back", ahead.Minutes()), "clock of " + p.told.Replica, 8 * time.Second,
			func() { w.turn(p, ahead) }, func() { w.turn(p, 0) },
		})
	}
	return all
}

// hears is how long it may take until a plane that is stopped hears that its clock was set.
const hears = time.Minute

// mostAhead is how far the clock may have been ahead of the true time of whoever decided before that time.
func (w *world) mostAhead(until time.Time) time.Duration {
	var most time.Duration
	in := map[*plane]time.Duration{}
	for _, t := range w.turns {
		if t.at.After(until) {
			break
		}
		if t.at.After(until.Add(-hears)) {
			most = max(most, in[t.plane], t.ahead)
		}
		in[t.plane] = t.ahead
	}
	for _, ahead := range in {
		most = max(most, ahead)
	}
	return most
}

// stepClocks sets clocks, and does nothing else, while a good release is rolled out to healthy hosts. It must get through as soon as the
// clocks are right again, and nobody must be called silent meanwhile.
func (w *world) stepClocks(lasts time.Duration) {
	w.t.Helper()
	ctx := w.t.Context()
	if err := w.within(patience, w.vacate); err != nil {
		w.violated("goes on", "no fault is left, and rollouts cannot be halted: %v", err)
		return
	}
	w.become(healthy)
	for _, p := range w.planes { // those who start it live in the future
		w.turn(p, farthest)
	}
	id := w.launch(ctx, w.clients[0], components[0], "good")
	for tries := 1; id == "" && tries < 10; tries++ {
		id = w.launch(ctx, w.clients[0], components[0], "good")
	}
	if id == "" {
		w.violated("clocks", "a good release cannot be launched while the clocks are %v ahead", farthest)
		return
	}
	w.setAtRandom(ctx, lasts)
	if err := w.within(2*patience, func() error { return w.isDone(id) }); err != nil {
		w.violated("clocks", "nothing but clocks was wrong, and they are right: %v", err)
	}
	w.clockwork = id
}

// vacate halts what runs.
func (w *world) vacate() error {
	ctx := w.t.Context()
	all, err := w.clients[0].Rollouts(ctx, "")
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Phase == string(rollout.Running) || r.Phase == string(rollout.Paused) {
			if _, err := w.clients[0].Halt(ctx, r.ID, "to make room"); err != nil {
				return err
			}
		}
	}
	return nil
}

// setAtRandom sets clocks for a while, and right in the end.
func (w *world) setAtRandom(ctx context.Context, lasts time.Duration) {
	random := w.randomOf(4)
	for begun := now(); now().Sub(begun) < lasts; {
		_ = clock.Wall{}.Sleep(ctx, time.Duration(200+random.IntN(1800))*time.Millisecond)
		p, ahead := w.planes[random.IntN(len(w.planes))], time.Duration(0)
		if random.IntN(3) > 0 {
			ahead = offsets()[random.IntN(len(offsets()))]
		}
		w.turn(p, ahead)
		w.mu.Lock()
		w.faults["clock of a replica set, and nothing else"]++
		w.mu.Unlock()
	}
	for _, p := range w.planes {
		w.turn(p, 0)
	}
}

func (w *world) isDone(id string) error {
	r, err := w.clients[0].Rollout(w.t.Context(), id)
	if err == nil && r.Phase != string(rollout.Complete) {
		err = fmt.Errorf("rollout %s of a good release to healthy hosts is %s in ring %d: %+v", id, r.Phase, r.Ring, r)
	}
	return err
}

// auditClocks looks at what the setting of clocks alone did to a good rollout: no trip, no incident, nobody silent.
func (w *world) auditClocks(ctx context.Context, s *store.Store) {
	w.t.Helper()
	if w.clockwork == "" {
		return
	}
	events, err := s.Events(ctx, rollout.ID(w.clockwork), 0, 0)
	w.must(err)
	for _, e := range events {
		event, err := rollout.DecodeEvent(e.Name, e.Data)
		w.must(err)
		known, ok := event.(rollout.OutcomeKnown)
		if ok && (known.Outcome.Harms() || known.Outcome == rollout.Late) {
			w.violated("clocks", "rollout %s: revision %d: healthy %s is called %s: %s", w.clockwork, e.Revision, known.Endpoint, known.Outcome, known.Detail)
		}
		if ok {
			w.count("while only clocks were set, hosts that " + string(known.Outcome))
		}
	}
	incidents, err := s.Incidents(ctx)
	w.must(err)
	for _, i := range incidents {
		if string(i.Rollout) == w.clockwork {
			w.violated("clocks", "incident %s: %s", i.ID, i.Title)
		}
	}
}
