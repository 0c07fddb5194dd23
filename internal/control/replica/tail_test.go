package replica

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// begin is when the tests of this file begin.
func begin() time.Time { return time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC) }

// A replica that stops talking is missed for as long as its hosts may need to be heard by others, and then forgotten.
func TestMissingReplica(t *testing.T) {
	t.Parallel()
	const grace = time.Minute
	begin := begin()
	var tl tail
	at := func(after time.Duration, want bool) {
		t.Helper()
		if got := tl.missing(begin.Add(after), grace); got != want {
			t.Errorf("after %v: got missing %t, want %t", after, got, want)
		}
	}
	at(0, false)
	tl.spoke("b", begin)
	tl.spoke("c", begin.Add(5*time.Second))
	at(mutes, false)
	at(mutes+time.Second, true) // b
	tl.spoke("b", begin.Add(8*time.Second))
	at(9*time.Second, false)
	at(20*time.Second, true) // both
	tl.left("b")
	at(21*time.Second, true) // c
	tl.left("c")
	at(22*time.Second, false)
	tl.spoke("b", begin.Add(8*time.Second))
	tl.spoke("c", begin.Add(5*time.Second))
	at(5*time.Second+grace, true)
	at(9*time.Second+grace, false) // both forgotten
	at(time.Hour, false)
}

const someHost fleet.EndpointID = "ep-00000000000000000001"

// written is a database with hearings.
type written struct {
	Store
	rows []store.Hearing
}

func (*written) LastChange(context.Context) (int64, error)   { return 0, nil }
func (*written) LastEndpoint(context.Context) (int64, error) { return 0, nil }

func (*written) ChangedEndpoints(context.Context, int64, int) ([]store.Endpoint, int64, error) {
	return nil, 0, nil
}

func (w *written) HearingsUntil(_ context.Context, age time.Duration) (last int64, err error) {
	for _, h := range w.rows {
		if h.Age > age {
			last = h.Number
		}
	}
	return last, nil
}

// HearingsAfter tells of one row at a time.
func (w *written) HearingsAfter(_ context.Context, after int64, _ string, _ int) ([]store.Hearing, error) {
	return w.rows[after:min(int(after)+1, len(w.rows))], nil
}

// add appends what a replica wrote so long ago. Its clock is wrong by skew; it had just heard someHost.
func (w *written) add(replica string, age, skew time.Duration, now time.Time) {
	at := now.Add(skew - age)
	r := knows(at)
	r.Seen(someHost, at)
	w.rows = append(w.rows, store.Hearing{Number: int64(len(w.rows)) + 1, Replica: replica, At: at, Age: age, Data: r.Hearings(1)})
}

// knows makes a fleet of one host that was heard long ago.
func knows(now time.Time) *registry.Registry {
	r := registry.New()
	r.Put(registry.Endpoint{ID: someHost, Number: 1, Enrolled: now.Add(-time.Hour), LastSeen: now.Add(-time.Hour)})
	return r
}

// A replica that begins reads of the others' last minute: who was gone before is not missed, and who went since only for the rest of the time.
// Hosts were heard when it says, whatever clock it was written by.
func TestReadingBegins(t *testing.T) {
	t.Parallel()
	now, w := begin(), &written{}
	w.add("long gone", 2*recent, 0, now)
	r := &Replica{Options: Options{Store: w, Fleet: knows(now), Clock: clock.At(now), Log: slog.New(slog.DiscardHandler)}}
	if err := r.load(t.Context()); err != nil {
		t.Fatal(err)
	}
	heard := func(want time.Time) {
		t.Helper()
		if err := r.catchUp(t.Context()); err != nil {
			t.Fatal(err)
		}
		if e, _ := r.Fleet.Get(someHost); e.LastSeen.Sub(want).Abs() > time.Second {
			t.Errorf("got the host heard at %v, want %v", e.LastSeen, want)
		}
	}
	missing := func(after time.Duration, want bool) {
		t.Helper()
		if got := r.tail.missing(now.Add(after), recent); got != want {
			t.Errorf("after %v: got missing %t, want %t", after, got, want)
		}
	}
	heard(now.Add(-time.Hour))
	missing(0, false)
	w.add("just gone", recent/2, time.Hour, now)
	heard(now.Add(-recent / 2))
	missing(0, true)
	missing(recent/2+time.Second, false)
	w.add("slow clock", 0, -time.Hour, now)
	heard(now)
	w.add("stopped", 0, 0, now)
	heard(now)
	w.rows = append(w.rows, store.Hearing{Number: int64(len(w.rows)) + 1, Replica: "stopped", At: now, Data: []byte(goodbye)})
	heard(now)
	missing(0, false)
	missing(recent, true) // the slow clock's; not of the one that stopped
	r.tail.left("slow clock")
	missing(recent, false)
}

// However often replicas vanish, silence is seen at most a grace later, and a tenth of the time.
func TestAllowance(t *testing.T) {
	t.Parallel()
	a := allowance{most: time.Minute}
	granted := func(d time.Duration) (sum time.Duration) {
		for range d / time.Second {
			if a.grant(time.Second, true) {
				sum += time.Second
			}
		}
		return sum
	}
	if got := granted(time.Minute); got != time.Minute {
		t.Errorf("got %v granted of a minute at first, want all", got)
	}
	if got := granted(time.Hour); got < 4*time.Minute || got > 6*time.Minute {
		t.Errorf("got %v granted of the next hour, want about a tenth", got)
	}
	for range 20 * 60 {
		if a.grant(time.Second, false) {
			t.Fatal("got a grant that nobody asked for")
		}
	}
	if got := granted(time.Minute); got != time.Minute {
		t.Errorf("got %v granted of a minute after twenty without, want all", got)
	}
}
