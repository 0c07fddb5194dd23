package rollout_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// many is more hosts than a test can use up.
const many = 1 << 38

// crowd is a rollout in the middle of its last ring, with many hosts out, in as many strata as asked for.
func crowd(t testing.TB, strata int) rollout.State {
	p := planOf(t, "ring first hosts=50\nring early hosts=1000\nring rest share=1\nwindow max=1000000000000")
	s, _ := rollout.Step(rollout.State{}, rollout.Started{At: epoch, Plan: p, Eligible: 1 << 40, Actor: "ann"})
	s.Ring, s.Window, s.Unconfirmed, s.Remaining, s.Available = 2, many+1e9, many, many, many
	s.Rings[0] = rollout.RingState{Leased: 50, Confirmed: 50, Settled: 1}
	s.Rings[1] = rollout.RingState{Leased: 1000, Confirmed: 1000, Settled: 1}
	s.Rings[2] = rollout.RingState{Leased: many}
	s.Breaker.Crashes.Booked = many + 1050
	for i := range strata {
		each := int64(many / strata)
		s.Strata = append(s.Strata, rollout.Stratum{
			Name: stratumName(i), Select: fleet.Selector{"kernel": {fmt.Sprint(i)}}, Leased: each, Pending: each,
			Slice: breaker.Slice{Crashes: breaker.OneArm{Booked: each}},
		})
	}
	return s
}

// stratumName is as long as real ones are.
func stratumName(i int) string {
	return fmt.Sprintf("class server, os linux, version 12, kernel 6.1.%d", i)
}

func confirmed(stratum int) rollout.Event {
	return rollout.OutcomeKnown{
		At: epoch.Add(time.Second), Endpoint: "ep-0", Ring: 2, Was: rollout.Pending, Outcome: rollout.Confirmed, Stratum: stratumName(stratum),
	}
}

func asked(stratum int) rollout.Event {
	return rollout.LeaseAsked{At: epoch.Add(time.Second), Host: rollout.Host{Endpoint: "ep-0", Stratum: stratumName(stratum)}}
}

func TestConfirmationDoesNotAllocate(t *testing.T) {
	s, e := crowd(t, 1000), confirmed(7)
	var effects []rollout.Effect
	got := testing.AllocsPerRun(1000, func() { s, effects = rollout.Step(s, e) })
	if got != 0 {
		t.Errorf("got %g allocations for a confirmation, want none", got)
	}
	if effects != nil || s.Rings[2].Confirmed < 1000 || s.Strata[7].Confirmed < 1000 {
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
	if diff := difference(w.state, live); diff != "" {
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
	s, _ := rollout.Step(crowd(t, 3), confirmed(0))
	one, want := s.Clone(), stored(s)
	for i, e := range []rollout.Event{
		confirmed(0),
		asked(3), // a stratum more
		rollout.OperatorActed{At: epoch, Action: rollout.HoldBack, Actor: "ann", Select: fleet.Selector{"os": {"linux"}}},
		rollout.OutcomeKnown{At: epoch, Ring: 2, Was: rollout.Pending, Outcome: rollout.Crashed, Stratum: stratumName(1)},
		rollout.Compared{At: epoch, Signal: breaker.Silence, Class: "server", Exposed: []rollout.StratumArm{{Stratum: stratumName(1), Arm: breaker.Arm{Watched: 1}}}},
	} {
		s, _ = rollout.Step(s, e)
		if diff := cmp.Diff(want, stored(one)); diff != "" {
			t.Fatalf("event %d changed a clone:\n%s", i, diff)
		}
	}
}

// Two clones may come to know different strata by the same place, and at the same time.
func TestClonesGoTheirOwnWays(t *testing.T) {
	t.Parallel()
	s, _ := rollout.Step(crowd(t, 3), confirmed(0))
	one, other := s.Clone(), s.Clone()
	done := make(chan rollout.State)
	go func() {
		s, _ := rollout.Step(one, asked(8))
		done <- s
	}()
	other, _ = rollout.Step(other, asked(9))
	one = <-done
	one, _ = rollout.Step(one, confirmed(8))
	other, _ = rollout.Step(other, confirmed(9))
	if one.Strata[3].Name != stratumName(8) || other.Strata[3].Name != stratumName(9) || one.Strata[3].Confirmed != 1 || other.Strata[3].Confirmed != 1 {
		t.Errorf("got %+v and %+v, want stratum 8 and stratum 9 with a confirmed host each", one.Strata[3], other.Strata[3])
	}
}

func TestCodec(t *testing.T) {
	t.Parallel()
	at := epoch.Add(time.Nanosecond)
	for _, e := range []rollout.Event{
		rollout.Started{At: at, ID: "r", Plan: planOf(t, "ring first hosts=2 bake=1m30s os=linux\nring rest share=1"), Actor: "ann", Reason: "why"},
		rollout.LeaseAsked{At: at, Host: rollout.Host{
			Endpoint: "ep", Stratum: "os linux", Busy: "r2", Tenant: rollout.Scope{Name: "a", Size: 2, Exposed: 1}, Prior: rollout.Goodbye, PriorRing: 1,
		}},
		rollout.OutcomeKnown{
			At: at, Endpoint: "ep", Ring: 1, Was: rollout.Pending, Outcome: rollout.Crashed, Detail: "index out of range", Stratum: "os linux",
			Tenant: rollout.Scope{Name: "a", Size: 2, Exposed: 2, Harmed: 1}, Site: rollout.Scope{Name: "s", Size: 1}, Fleet: 9, Blamed: "r2",
		},
		rollout.Compared{
			At: at, Signal: breaker.Silence, Class: "laptop", Control: breaker.Arm{Watched: 2000, Showed: 3},
			Exposed: []rollout.StratumArm{{Stratum: "os linux", Arm: breaker.Arm{Watched: 20, Showed: 2}}},
		},
		rollout.FreezesSet{At: at, Actor: "ann", Freezes: calendar.Calendar{
			Windows: []calendar.Window{{Days: []string{"mon-fri"}, From: "22:00", To: "05:00", Zone: "Europe/Vienna"}},
			Freezes: []calendar.Freeze{{Name: "feast", From: "2026-12-20", To: "2027-01-06"}},
		}},
		rollout.HostRecovered{At: at, Endpoint: "ep", Was: rollout.Crashed},
		rollout.HostBooted{At: at, Endpoint: "ep", Ring: 2},
		rollout.Woke{
			At: at, Eligible: 3, Remaining: 2, Available: 1, Heard: 1, Large: 2, Seen: 1, Gates: []evidence.GateResult{{Name: "errors", OK: true, Text: "0.01"}},
		},
		rollout.OperatorActed{At: at, Action: rollout.HoldBack, Actor: "ann", Select: fleet.Selector{"os": {"linux", "windows"}}},
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
	grant := rollout.GrantLease{Endpoint: "ep", Ring: 1, Why: rollout.Room{Leased: 3, Size: 5, Unconfirmed: 2, Allowed: 4, Exposed: 53}}
	data, err := rollout.EncodeEffects([]rollout.Effect{
		grant,
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
	lease := rollout.Record{
		Verdict: rollout.DidGrant, Ring: 1, Exposed: 53, Unconfirmed: 2, Reason: "ep may activate: its ring has 3 of 5, 2 unconfirmed of 4 allowed",
	}
	if diff := cmp.Diff([]rollout.Record{lease, record, record}, got); diff != "" {
		t.Errorf("records changed on their way (-was +is):\n%s", diff)
	}
	for _, bad := range []string{`{}`, `[{"effect":"record","data":[]}]`, `[{"effect":"grant_lease","data":[]}]`} {
		if _, err := rollout.DecodeRecords([]byte(bad)); err == nil {
			t.Errorf("decode %s: got no error", bad)
		}
	}
	if _, err := rollout.EncodeEffects([]rollout.Effect{rollout.Record{Evidence: math.NaN()}}); err == nil {
		t.Error("a record that is no JSON was encoded")
	}
}

// strata is how many slices the fleets of the benchmarks have.
const strata = 1000

// BenchmarkStepOutcome is a confirmation, the outcome of nearly every host.
func BenchmarkStepOutcome(b *testing.B) {
	s, e := crowd(b, strata), confirmed(strata/2)
	b.ReportAllocs()
	for b.Loop() {
		s, _ = rollout.Step(s, e)
	}
}

// BenchmarkStepHarm is the outcome that makes the breaker judge.
func BenchmarkStepHarm(b *testing.B) {
	start := crowd(b, strata)
	e := rollout.OutcomeKnown{At: epoch, Endpoint: "ep-0", Ring: 2, Was: rollout.Pending, Outcome: rollout.Crashed, Stratum: stratumName(strata / 2)}
	b.ReportAllocs()
	for b.Loop() {
		s := start.Clone()
		rollout.Step(s, e)
	}
}

// BenchmarkStepCompared is the end of a watch over hosts of every stratum.
func BenchmarkStepCompared(b *testing.B) {
	s := crowd(b, strata)
	e := rollout.Compared{At: epoch, Signal: breaker.Silence, Class: "server", Control: breaker.Arm{Watched: 2000, Showed: 20}}
	for i := range strata {
		e.Exposed = append(e.Exposed, rollout.StratumArm{Stratum: stratumName(i), Arm: breaker.Arm{Watched: 10}})
	}
	b.ReportAllocs()
	for b.Loop() {
		s, _ = rollout.Step(s, e)
	}
	if s.Phase != rollout.Running {
		b.Fatalf("the rollout is %s: %s", s.Phase, s.Reason)
	}
}

func BenchmarkStepLease(b *testing.B) {
	s, e := crowd(b, strata), asked(strata/2)
	b.ReportAllocs()
	for b.Loop() {
		s, _ = rollout.Step(s, e)
	}
}

// flight are the outcomes of a good rollout in full flight: hosts of a thousand strata, of which one in ten thousand crashes.
func flight() []rollout.Event {
	events := make([]rollout.Event, 10_000)
	for i := range events {
		events[i] = confirmed(i * 7 % strata)
	}
	crashed := confirmed(35_000 % strata).(rollout.OutcomeKnown)
	crashed.Outcome = rollout.Crashed
	events[5000] = crashed
	return events
}

// BenchmarkOutcomes reports outcomes a second through Step and, where it has to speak, the breaker. Two million on one core are what a fleet
// of 8.5 million that confirms within minutes asks for, with a wide margin.
func BenchmarkOutcomes(b *testing.B) {
	s, events, n := crowd(b, strata), flight(), 0
	b.ReportAllocs()
	for b.Loop() {
		s, _ = rollout.Step(s, events[n%len(events)])
		n++
	}
	if s.Phase != rollout.Running {
		b.Fatalf("the rollout is %s: %s", s.Phase, s.Reason)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "outcomes/s")
}

// BenchmarkHosts reports hosts a second: each gets a lease and has its outcome.
func BenchmarkHosts(b *testing.B) {
	s, events, n := crowd(b, strata), flight(), 0
	leases := make([]rollout.Event, strata)
	for i := range leases {
		leases[i] = asked(i)
	}
	b.ReportAllocs()
	for b.Loop() {
		s, _ = rollout.Step(s, leases[n%len(leases)])
		s, _ = rollout.Step(s, events[n%len(events)])
		n++
	}
	if s.Phase != rollout.Running {
		b.Fatalf("the rollout is %s: %s", s.Phase, s.Reason)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "hosts/s")
}
