package rollout_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// crowd is a rollout in the middle of its last ring, with more hosts out than a test can use up.
func crowd(t testing.TB) rollout.State {
	p := planOf(t, "ring first hosts=50\nring early hosts=1000\nring rest share=1\nwindow max=1000000000000")
	s, _ := rollout.Step(rollout.State{}, rollout.Started{At: epoch, Plan: p, Eligible: 1 << 40, Actor: "ann"})
	const many = 1 << 38
	s.Ring, s.Window, s.Unconfirmed, s.Breaker, s.Remaining, s.Available = 2, many+1e9, many, breaker.State{Booked: many + 1050}, many, many
	s.Rings[0] = rollout.RingState{Leased: 50, Confirmed: 50, Settled: 1}
	s.Rings[1] = rollout.RingState{Leased: 1000, Confirmed: 1000, Settled: 1}
	s.Rings[2] = rollout.RingState{Leased: many}
	return s
}

func confirmed() rollout.Event {
	return rollout.OutcomeKnown{At: epoch.Add(time.Second), Endpoint: "ep-0", Ring: 2, Was: rollout.Pending, Outcome: rollout.Confirmed}
}

func TestConfirmationDoesNotAllocate(t *testing.T) {
	s, e := crowd(t), confirmed()
	var effects []rollout.Effect
	got := testing.AllocsPerRun(1000, func() { s, effects = rollout.Step(s, e) })
	if got != 0 {
		t.Errorf("got %g allocations for a confirmation, want none", got)
	}
	if effects != nil || s.Rings[2].Confirmed < 1000 {
		t.Errorf("got effects %v and %d confirmed hosts, want none and 1000 or more", effects, s.Rings[2].Confirmed)
	}
}

// The wall clock's reading is what is stored, so it is what counts; a monotonic one is dropped.
func TestMonotonicReadingsAreDropped(t *testing.T) {
	t.Parallel()
	now := time.Now() //nolint:forbidigo // nothing else has a monotonic reading
	w := &world{now: now}
	started := rollout.Started{At: now, Plan: planOf(t, ""), Eligible: 3}
	live, _ := rollout.Step(rollout.State{}, started)
	w.step(t, started)
	for i := range 3 {
		e := rollout.Woke{At: now.Add(time.Duration(i) * time.Second), Eligible: 3, Remaining: 3, Available: 3}
		live, _ = rollout.Step(live, e)
		w.step(t, e)
	}
	if diff := cmp.Diff(w.state, live); diff != "" {
		t.Errorf("live and stored differ (-stored +live):\n%s", diff)
	}
	if live.Last != live.Last.Round(0) || live.Started != live.Started.Round(0) {
		t.Errorf("got times with a monotonic reading: %v, %v", live.Started, live.Last)
	}
}

func TestStartedNeedsRings(t *testing.T) {
	t.Parallel()
	s, effects := rollout.Step(rollout.State{}, rollout.Started{At: epoch, Plan: plan.Plan{Name: "empty"}})
	if s.Phase != rollout.None || effects != nil {
		t.Errorf("got phase %q and effects %v of a plan without rings, want nothing", s.Phase, effects)
	}
}

func TestCloneSharesNothing(t *testing.T) {
	t.Parallel()
	s := crowd(t)
	kept := s.Clone()
	rollout.Step(s, confirmed())
	if diff := cmp.Diff(crowd(t), kept); diff != "" {
		t.Errorf("Step changed the clone:\n%s", diff)
	}
}

func TestCodec(t *testing.T) {
	t.Parallel()
	at := epoch.Add(time.Nanosecond)
	for _, e := range []rollout.Event{
		rollout.Started{At: at, ID: "r", Plan: planOf(t, "ring first hosts=2 bake=1m30s os=linux\nring rest share=1"), Actor: "ann", Reason: "why"},
		rollout.LeaseAsked{At: at, Host: rollout.Host{Endpoint: "ep", Tenant: rollout.Scope{Name: "a", Size: 2, Exposed: 1}, Prior: rollout.Goodbye, PriorRing: 1}},
		rollout.OutcomeKnown{At: at, Endpoint: "ep", Ring: 1, Was: rollout.Pending, Outcome: rollout.Crashed, Detail: "index out of range"},
		rollout.HostRecovered{At: at, Endpoint: "ep", Was: rollout.Crashed},
		rollout.HostBooted{At: at, Endpoint: "ep", Ring: 2},
		rollout.Woke{At: at, Eligible: 3, Remaining: 2, Available: 1, Heard: 1},
		rollout.OperatorActed{At: at, Action: rollout.Halt, Actor: "ann", Reason: "doubt"},
	} {
		name, data, err := rollout.EncodeEvent(e)
		if err != nil {
			t.Fatalf("encode %T: %v", e, err)
		}
		got, err := rollout.DecodeEvent(name, data)
		if err != nil {
			t.Fatalf("decode %s: %v", data, err)
		}
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("%s changed on its way (-was +is):\n%s", name, diff)
		}
		if !got.When().Equal(at) {
			t.Errorf("%s happened at %v, want %v", name, got.When(), at)
		}
		if _, err := rollout.DecodeEvent(name, []byte("[]")); err == nil {
			t.Errorf("decode %s: an array was accepted", name)
		}
	}
	if _, err := rollout.DecodeEvent("dreamed", []byte("{}")); err == nil {
		t.Error("an unknown event was decoded")
	}
}

func TestEffectsCodec(t *testing.T) {
	t.Parallel()
	record := rollout.Record{Verdict: rollout.DidTrip, Reason: "why", Ring: 1, Exposed: 2, Harmed: 2, Evidence: 1e300, Alarm: breaker.Trip}
	data, err := rollout.EncodeEffects([]rollout.Effect{
		rollout.GrantLease{},
		rollout.RefuseLease{},
		record,
		rollout.RecallRelease{},
		rollout.PublishDirective{},
		rollout.OpenIncident{},
		rollout.Notify{},
		rollout.WakeAt{},
		record,
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := rollout.DecodeRecords(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]rollout.Record{record, record}, got); diff != "" {
		t.Errorf("records changed on their way (-was +is):\n%s", diff)
	}
	for _, bad := range []string{`{}`, `[{"effect":"record","data":[]}]`} {
		if _, err := rollout.DecodeRecords([]byte(bad)); err == nil {
			t.Errorf("decode %s: got no error", bad)
		}
	}
	if _, err := rollout.EncodeEffects([]rollout.Effect{rollout.Record{Evidence: math.NaN()}}); err == nil {
		t.Error("a record that is no JSON was encoded")
	}
}

// Three million times a second for each core is what a fleet of 8.5 million that confirms within minutes asks for, with a wide margin.
func BenchmarkStepOutcome(b *testing.B) {
	s, e := crowd(b), confirmed()
	b.ReportAllocs()
	for b.Loop() {
		s, _ = rollout.Step(s, e)
	}
}

// BenchmarkStepHarm is the outcome that makes the breaker judge.
func BenchmarkStepHarm(b *testing.B) {
	start := crowd(b)
	e := rollout.OutcomeKnown{At: epoch, Endpoint: "ep-0", Ring: 2, Was: rollout.Pending, Outcome: rollout.Crashed}
	b.ReportAllocs()
	for b.Loop() {
		s := start.Clone()
		rollout.Step(s, e)
	}
}

func BenchmarkStepLease(b *testing.B) {
	s := crowd(b)
	e := rollout.LeaseAsked{At: epoch, Host: rollout.Host{Endpoint: "ep-0"}}
	b.ReportAllocs()
	for b.Loop() {
		s, _ = rollout.Step(s, e)
	}
}
