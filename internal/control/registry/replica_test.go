package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// numbered is a registry of n hosts, ep-1 with number 3 and so on, in steps of three.
func numbered(n int) *registry.Registry {
	r := registry.New()
	for i := 1; i <= n; i++ {
		e := host(fleet.EndpointID(fmt.Sprint("ep-", i)), "acme", "graz")
		e.Number = int64(3 * i)
		r.Put(e)
	}
	return r
}

func seen(r *registry.Registry, id fleet.EndpointID) time.Time {
	e, _ := r.Get(id)
	return e.LastSeen
}

func TestReplicasHearOfEachOther(t *testing.T) {
	t.Parallel()
	here, there := numbered(3000), numbered(2999)
	now := start().Add(time.Hour)
	if batch := here.Hearings(10); batch != nil {
		t.Errorf("got %d bytes before anybody was heard, want none", len(batch))
	}
	for i := 1; i <= 3000; i++ {
		here.Seen(fleet.EndpointID(fmt.Sprint("ep-", i)), now.Add(time.Duration(i)*time.Millisecond))
	}
	here.Leaves("ep-5", now.Add(-time.Minute))
	there.Seen("ep-7", now.Add(time.Minute))
	later := now.Add(2 * time.Second)
	var rounds, bytes int
	for batch := here.Hearings(700); batch != nil; batch = here.Hearings(700) {
		here.Untold(batch)
		batch = here.Hearings(700)
		if err := there.Heard(batch, later, later); err != nil {
			t.Fatal(err)
		}
		rounds, bytes = rounds+1, bytes+len(batch)
	}
	if rounds != 5 || bytes > 4*3000 {
		t.Errorf("got %d bytes in %d batches, want 5 batches, and at most 4 bytes for each host", bytes, rounds)
	}
	for id, want := range map[fleet.EndpointID]time.Time{
		"ep-1": now.Add(time.Millisecond), "ep-1999": now.Add(1999 * time.Millisecond), "ep-5": now.Add(-time.Minute),
		"ep-7": now.Add(time.Minute), "ep-2999": later, // by the clock of another that is ahead of ours
	} {
		if got := seen(there, id); !got.Equal(want) {
			t.Errorf("%s: got heard at %v, want %v", id, got, want)
		}
	}
	if e, _ := there.Get("ep-5"); !e.Left {
		t.Error("got ep-5 still there, want that it left")
	}
	if batch := there.Hearings(10); len(batch) == 0 {
		t.Error("want what was heard there, too, to be told")
	}
	there.Hearings(10)
	if batch := there.Hearings(10); batch != nil {
		t.Error("got hearings of another told on")
	}
}

// However many are heard here, everybody's turn comes.
func TestHearingsGoRound(t *testing.T) {
	t.Parallel()
	const hosts, most, rounds = 5000, 2000, 6
	r := numbered(hosts)
	r.Enrol("ep-without-number", fleet.Subject{}, start())
	told := registry.New()
	for i := 1; i <= hosts; i++ {
		e := host(fleet.EndpointID(fmt.Sprint("ep-", i)), "acme", "graz")
		e.Number, e.LastSeen = int64(3*i), time.Time{}
		told.Put(e)
	}
	now := start().Add(time.Hour)
	for range rounds {
		for i := 1; i <= hosts; i++ { // all of them again, before the others are told
			r.Seen(fleet.EndpointID(fmt.Sprint("ep-", i)), now)
		}
		r.Seen("ep-without-number", now)
		batch := r.Hearings(most)
		if left := r.Tells(); left != hosts-most+1 {
			t.Errorf("got %d left to tell of, want %d", left, hosts-most+1)
		}
		if err := told.Heard(batch, now, now); err != nil {
			t.Fatal(err)
		}
	}
	for i := 1; i <= hosts; i++ {
		if id := fleet.EndpointID(fmt.Sprint("ep-", i)); !seen(told, id).Equal(now) {
			t.Fatalf("got nothing told of %s in %d rounds", id, rounds)
		}
	}
}

// A replica whose clock is wrong makes nobody heard later, or earlier, than they were.
func TestHeardByAWrongClock(t *testing.T) {
	t.Parallel()
	for _, wrong := range []time.Duration{-time.Hour, 0, time.Hour} {
		far, r := numbered(3), numbered(3)
		now := start().Add(24 * time.Hour)
		theirs := now.Add(wrong)
		far.Seen("ep-1", theirs.Add(-time.Minute))
		far.Seen("ep-2", theirs.Add(time.Second)) // its clock was set in between
		written := now.Add(-5 * time.Second)      // some time before it is read
		if err := r.Heard(far.Hearings(10), theirs, written); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[fleet.EndpointID]time.Time{"ep-1": written.Add(-time.Minute), "ep-2": written, "ep-3": start()} {
			if got := seen(r, id); !got.Equal(want) {
				t.Errorf("clock wrong by %v: got %s heard at %v, want %v", wrong, id, got, want)
			}
		}
	}
}

// A host that says otherwise elsewhere than it said here is asked for everything, whether what it said here is stored already or not: nobody
// knows which of the two is older.
func TestMergeAsksAgain(t *testing.T) {
	t.Parallel()
	says := func() registry.Endpoint {
		e := host("ep-1", "acme", "graz")
		e.Number, e.Boot, e.Posture = 3, "boot-1", fleet.PostureOf([]string{"guard"})
		return e
	}
	for name, change := range map[string]func(*registry.Endpoint){
		"nothing":       func(*registry.Endpoint) {},
		"seen later":    func(e *registry.Endpoint) { e.LastSeen = start().Add(time.Hour) },
		"attributes":    func(e *registry.Endpoint) { e.Subject.Attributes.Site = "linz" },
		"boot":          func(e *registry.Endpoint) { e.Boot = "boot-2" },
		"posture":       func(e *registry.Endpoint) { e.Posture = 0 },
		"components":    func(e *registry.Endpoint) { e.Components = has("other") },
		"more":          func(e *registry.Endpoint) { e.Components = has(component, "other") },
		"no components": func(e *registry.Endpoint) { e.Components = nil },
	} {
		for _, stored := range []bool{false, true} {
			r := registry.New()
			e := says()
			e.Components = nil
			r.Put(e)
			r.Update("ep-1", &e.Subject.Attributes, has(component), "boot-1")
			if stored {
				r.Flush()
			}
			row := says()
			change(&row)
			r.Merge(row)
			want := name == "nothing" || name == "seen later"
			if got, _ := r.Get("ep-1"); got.Synced != want {
				t.Errorf("%s, stored %v: got synced %v, want %v", name, stored, got.Synced, want)
			}
			kept := r.Kept()
			r.End("ep-1", false, "")
			if left := r.Kept(); left[1] != 0 || left[0] != 0 {
				t.Errorf("%s: got %v kept of nobody, %v before", name, left, kept)
			}
		}
	}
	r := registry.New()
	e := says()
	e.Components, e.Synced = nil, true
	r.Put(e)
	e.Components = map[string]api.Component{}
	r.Merge(e)
	if got, _ := r.Get("ep-1"); !got.Synced {
		t.Error("got a host without components asked again, want none and no components to be the same")
	}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	r := numbered(2)
	later := start().Add(time.Minute)
	r.Seen("ep-1", later)
	r.Update("ep-1", nil, has(component), "boot-1")
	row := host("ep-1", "globex", "linz")
	row.Number, row.Reported, row.Boot = 3, 9, "boot-0"
	r.Merge(row)
	got, _ := r.Get("ep-1")
	if got.Boot != "boot-1" || got.Subject.Tenant != "acme" || got.Reported != 9 || !got.LastSeen.Equal(later) {
		t.Errorf("got %+v, want what it said here, which is not stored yet", got)
	}
	r.Flush()
	r.Merge(row)
	got, _ = r.Get("ep-1")
	want := row
	want.LastSeen = later
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("after the flush (-want +got):\n%s", diff)
	}
	row = host("ep-new", "acme", "graz")
	row.Number, row.LastSeen = 77, later
	r.Merge(row)
	if got, ok := r.Get("ep-new"); !ok || got.Number != 77 || !got.LastSeen.Equal(later) {
		t.Errorf("got %+v, want a host that joined elsewhere", got)
	}
}

// Whatever another replica is said to have heard: it is taken in as a whole, or refused and nothing changes; and nobody is heard in the future.
func FuzzHeard(f *testing.F) {
	full := numbered(20)
	for i := 1; i <= 20; i++ {
		full.Seen(fleet.EndpointID(fmt.Sprint("ep-", i)), start().Add(time.Duration(i)*time.Second))
	}
	f.Add(full.Hearings(100))
	f.Add([]byte{1, 1, 2, 3, 0})
	f.Add([]byte{2})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, batch []byte) {
		r := numbered(20)
		now := start().Add(time.Minute)
		err := r.Heard(batch, now, now)
		for i := 1; i <= 20; i++ {
			at := seen(r, fleet.EndpointID(fmt.Sprint("ep-", i)))
			if at.After(now) || at.Before(start()) || err != nil && !at.Equal(start()) {
				t.Fatalf("got ep-%d heard at %v with error %v", i, at, err)
			}
		}
		r.Untold(batch)
		if again := r.Hearings(1000); err != nil && again != nil {
			t.Errorf("got %x to tell of refused bytes", again)
		}
	})
}
