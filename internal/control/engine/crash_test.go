package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// A bad rollout ends in the same way whatever write fails, before or after it took effect, and whether the engine lives on or a new one
// takes over: tripped, recalled, one incident, every acknowledged report counted once, no lease after the trip.
func TestBadRolloutSurvivesEveryFailedWrite(t *testing.T) {
	t.Parallel()
	writes := badRollout(t, 0, false, false)
	if writes < 12 {
		t.Fatalf("the scenario makes %d writes, which proves little", writes)
	}
	for n := int64(1); n <= writes; n++ {
		for _, late := range []bool{false, true} {
			for _, dies := range []bool{false, true} {
				t.Run(fmt.Sprintf("write=%d/late=%v/dies=%v", n, late, dies), func(t *testing.T) {
					t.Parallel()
					badRollout(t, n, late, dies)
				})
			}
		}
	}
}

// badRollout plays the scenario with write number broken failing, and all after it if the engine dies of it. It returns the number of
// writes.
func badRollout(t *testing.T, broken int64, late, dies bool) int64 {
	w := open(t, 6)
	w.publish("v1", func(m *release.Manifest) { m.Plan.Window.Start, m.Plan.Rings[0].Hosts = 4, 4 })
	w.store.writes.Store(0)
	w.store.fail = func(n int64) (bool, bool) {
		return n == broken || dies && broken > 0 && n > broken, late && n == broken
	}
	s := &sufferers{world: w, told: map[int]int{}}
	for range 8 {
		s.round()
		if dies && broken > 0 && w.store.writes.Load() >= broken {
			w.store.fail, dies = nil, false
			w.restart()
		}
	}
	w.store.fail = nil
	s.check()
	return w.store.writes.Load()
}

// sufferers are hosts that ask, activate and tell. Four of them fit into the window. When they have activated, the first three crash and
// recover; the fourth is still proving when it hears of the recall, and goes back. They remember what they told, as an agent does in its
// journal.
type sufferers struct {
	*world
	id     string
	leased []int
	told   map[int]int // reports made
	late   int         // leases given out after the trip
	served int64       // newest directive that was handed out
}

// round is one poll of everybody, with every error taken as an agent or an operator would: by trying again.
func (s *sufferers) round() {
	s.t.Helper()
	if s.id == "" && !s.begin() {
		return
	}
	phase := s.row(s.id).State.Phase
	for n := 1; n <= 6; n++ {
		if slices.Contains(s.leased, n) {
			continue
		}
		if envelope, _, err := s.tryAsk(s.id, n); err == nil && envelope != nil {
			s.leased = append(s.leased, n)
			if phase == rollout.Tripped {
				s.late++
			}
		}
	}
	if len(s.leased) == 4 {
		s.tell(phase)
	}
	_ = s.engine.Drain(s.t.Context())
	s.pass(time.Second)
	if _, sequence := s.engine.Directive(component); sequence < s.served {
		s.t.Errorf("got directive %d after %d", sequence, s.served)
	} else {
		s.served = sequence
	}
}

// begin starts the rollout; when that failed it looks whether it did.
func (s *sufferers) begin() bool {
	_, err := s.engine.Start(s.t.Context(), api.StartRollout{Component: component, Version: "v1"}, "alice")
	known, _ := s.engine.Rollouts(s.t.Context(), store.RolloutQuery{Component: component})
	if err == nil && len(known) != 1 {
		s.t.Fatalf("got %d rollouts after one start", len(known))
	}
	if len(known) == 1 {
		s.id = known[0].ID
	}
	return s.id != ""
}

func (s *sufferers) tell(phase rollout.Phase) {
	for i, n := range s.leased {
		life := []string{"crashed", api.OutcomeRecovered}
		if i == 3 && phase == rollout.Tripped {
			life = life[1:]
		} else if i == 3 {
			life = nil
		}
		if s.told[n] == len(life) {
			continue
		}
		s.acknowledge(s.id, n, life[s.told[n]], "")
		if s.told[n]++; i == 0 {
			s.acknowledge(s.id, n, "splendid", "") // means nothing, and is only marked
		}
	}
}

func (s *sufferers) check() {
	s.t.Helper()
	ctx := s.t.Context()
	state := s.row(s.id).State
	if state.Phase != rollout.Tripped || state.Harmed() != 3 || state.Exposed() != 4 || state.Unconfirmed != 0 || state.Recovered != 3 || state.Returned != 1 {
		s.t.Errorf("got %s: %d harmed of %d, %d unconfirmed, %d recovered, %d returned, want tripped: 3 of 4, 0, 3, 1", state.Phase,
			state.Harmed(), state.Exposed(), state.Unconfirmed, state.Recovered, state.Returned)
	}
	recalls, err := s.db.Recalls(ctx, component)
	s.ok(err)
	incidents, err := s.db.Incidents(ctx)
	s.ok(err)
	rollouts, err := s.db.Rollouts(ctx, component, 0)
	s.ok(err)
	if len(recalls) != 1 || len(incidents) != 1 || len(rollouts) != 1 {
		s.t.Errorf("got %d recalls, %d incidents, %d rollouts, want one of each", len(recalls), len(incidents), len(rollouts))
	}
	if left, err := s.db.UntakenReports(ctx, 0, 0); err != nil || len(left) != 0 {
		s.t.Errorf("got reports %v not taken in, %v, want none", left, err)
	}
	if d := s.directive(); len(d.Recalls) != 1 || d.Candidate != nil {
		s.t.Errorf("got directive %+v, want the recall and no candidate", d)
	}
	for n := 1; n <= 6; n++ {
		if s.ask(s.id, n) == "" {
			s.late++
		}
	}
	if s.late > 0 {
		s.t.Errorf("got %d leases after the trip, want none", s.late)
	}
	s.replays(s.id)
	s.restart()
	s.clock.Move(time.Minute)
	s.pass(2 * time.Second)
	if got := s.row(s.id).State; got.Harmed() != state.Harmed() || got.Exposed() != state.Exposed() {
		s.t.Errorf("after another restart: got %d harmed of %d, want it unchanged", got.Harmed(), got.Exposed())
	}
}

// A good rollout, too, ends well when every seventh write fails, on either side of taking effect.
func TestGoodRolloutSurvivesFailures(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		w := open(t, 10)
		id := w.start("v1", nil)
		w.store.fail = func(n int64) (bool, bool) { return n%7 == 0, late }
		for range 30 {
			for n := 1; n <= 10; n++ {
				lease, err := w.db.Lease(t.Context(), rollout.ID(id), host(n))
				if err == nil && lease.Outcome != rollout.Pending {
					continue
				}
				if envelope, _, err := w.tryAsk(id, n); err == nil && envelope != nil {
					w.acknowledge(id, n, "confirmed", "")
				}
				_ = w.engine.Drain(t.Context())
			}
			w.pass(5 * time.Second)
		}
		w.store.fail = nil
		w.pass(5 * time.Second)
		if v := w.view(id); v.Phase != "complete" || v.Confirmed != 10 || v.Exposed != 10 || v.Harmed != 0 {
			t.Errorf("late=%v: got %s with %d of %d confirmed, want complete with 10 of 10", late, v.Phase, v.Confirmed, v.Exposed)
		}
		if d := w.directive(); d.Stable == nil || d.Stable.Rollout != id {
			t.Errorf("late=%v: got directive %+v, want it stable", late, d)
		}
		w.replays(id)
	}
}

// A decision of which nobody knows whether it is stored is found out before the next one, and then carried out.
func TestUncertainTrip(t *testing.T) {
	t.Parallel()
	w := open(t, 5)
	id := w.start("v1", nil)
	w.lease(id, 1, 2)
	w.report(id, 1, "crashed")
	w.store.fail = func(int64) (bool, bool) { return true, true }
	w.store.blind.Store(true)
	w.acknowledge(id, 2, "crashed", "")
	refused(t, w.engine.Drain(t.Context()), fault.Unavailable)
	for _, n := range []int{1, 3} {
		if envelope, _, err := w.tryAsk(id, n); err == nil || envelope != nil {
			t.Errorf("host %d: got lease %s, error %v while the trip is in doubt, want an error", n, envelope, err)
		}
	}
	_, err := w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v1"}, "alice")
	refused(t, err, fault.Unavailable)
	w.store.fail = nil
	w.store.blind.Store(false)
	w.pass(time.Second)
	if v := w.view(id); v.Phase != "tripped" || v.Harmed != 2 || w.bell.count("halted") != 1 {
		t.Errorf("got %s with %d harmed, told %q, want it tripped and told once", v.Phase, v.Harmed, w.bell.rung)
	}
	if d := w.directive(); len(d.Recalls) != 1 {
		t.Errorf("got directive %+v, want the recall", d)
	}
	w.replays(id)
}

// A start that was told to have failed, and did not, is not told so if that can be found out; else the next start finds it.
func TestUncertainStart(t *testing.T) {
	t.Parallel()
	for _, blind := range []bool{false, true} {
		w := open(t, 3)
		w.publish("v1", nil)
		start := func() (api.Rollout, error) {
			return w.engine.Start(t.Context(), api.StartRollout{Component: component, Version: "v1"}, "alice")
		}
		w.store.fail = func(int64) (bool, bool) { return true, true }
		w.store.hold = func(store.Commit) error { w.store.blind.Store(blind); return nil }
		r, err := start()
		w.store.fail, w.store.hold = nil, nil
		w.store.blind.Store(false)
		if blind {
			refused(t, err, fault.Unavailable)
			r.ID = "ro-1"
			_, err = start()
			refused(t, err, fault.Conflict, "ro-1", "running")
		} else {
			w.ok(err)
		}
		w.lease(r.ID, 1)
		w.pass(time.Second)
		if d := w.directive(); d.Candidate == nil || d.Candidate.Rollout != r.ID {
			t.Errorf("got directive %+v, want the rollout in it", d)
		}
		w.replays(r.ID)
	}
}
