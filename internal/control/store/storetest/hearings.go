package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
)

func hearingTests() []test {
	return []test{
		{"hearing/others read it in its order", hearingRead},
		{"hearing/pages are bounded in bytes", hearingPages},
		{"hearing/none is missed while many write", hearingRace},
	}
}

// heard lists the data of what other replicas heard, in pages.
func heard(t testing.TB, s *store.Store, replica string) (all []string) {
	t.Helper()
	for last := int64(0); ; {
		page := must[[]store.Hearing](t)(s.HearingsAfter(t.Context(), last, replica, 2))
		if len(page) == 0 {
			return all
		}
		for _, h := range page {
			if h.Number <= last || h.Replica == replica {
				t.Errorf("got hearing %d of %s after %d, want growing numbers, and only others'", h.Number, h.Replica, last)
			}
			last = h.Number
			all = append(all, string(h.Data))
		}
	}
}

func hearingRead(t *testing.T, s *store.Store) {
	ok(t, s.AddHearings(t.Context(), "a", now, []byte{0, 0xff}))
	for i := range 3 {
		ok(t, s.AddHearings(t.Context(), "b", after(-time.Duration(i)*time.Second), fmt.Appendf(nil, "b%d", i)))
	}
	ok(t, s.AddHearings(t.Context(), "a", now, []byte("a2")))
	same(t, heard(t, s, "a"), []string{"b0", "b1", "b2"})
	same(t, heard(t, s, "b"), []string{"\x00\xff", "a2"})
	same(t, len(heard(t, s, "c")), 5)
	first := must[[]store.Hearing](t)(s.HearingsAfter(t.Context(), 0, "b", 1))
	if len(first) != 1 || first[0].Age >= time.Minute {
		t.Fatalf("got %+v, want one that was written just now", first)
	}
	same(t, first, []store.Hearing{{Number: first[0].Number, Replica: "a", At: now, Age: first[0].Age, Data: []byte{0, 0xff}}})
}

func hearingPages(t *testing.T, s *store.Store) {
	const large = 3 << 20
	for _, size := range []int{large, large, large, 2 * large, 1} {
		ok(t, s.AddHearings(t.Context(), "a", now, make([]byte, size)))
	}
	var sizes [][]int
	for last := int64(0); ; {
		page := must[[]store.Hearing](t)(s.HearingsAfter(t.Context(), last, "b", 0))
		if len(page) == 0 {
			break
		}
		var of []int
		for _, h := range page {
			of = append(of, len(h.Data))
			last = h.Number
		}
		sizes = append(sizes, of)
	}
	same(t, sizes, [][]int{{large, large}, {large, 2 * large}, {1}})
}

// OldHearings checks what becomes of hearings with time, which is the database's: older makes those that are there older by a duration.
func OldHearings(t *testing.T, s *store.Store, older func(by time.Duration)) {
	t.Helper()
	ok(t, s.AddHearings(t.Context(), "gone", after(10_000*time.Hour), []byte("old"))) // its clock was wrong
	ok(t, s.AddHearings(t.Context(), "a", now, []byte("first")))
	same(t, must[int64](t)(s.HearingsUntil(t.Context(), time.Minute)), 0)
	older(6 * time.Minute)
	ok(t, s.AddHearings(t.Context(), "a", after(-time.Hour), []byte("second")))
	same(t, heard(t, s, "b"), []string{"old", "first", "second"})
	for _, h := range must[[]store.Hearing](t)(s.HearingsAfter(t.Context(), 0, "b", 2)) {
		if h.Age < 6*time.Minute || h.Age > 7*time.Minute {
			t.Errorf("got %q of %v ago, want six minutes", h.Data, h.Age)
		}
	}
	last := must[int64](t)(s.HearingsUntil(t.Context(), time.Minute))
	page := must[[]store.Hearing](t)(s.HearingsAfter(t.Context(), last, "b", 0))
	if len(page) != 1 || string(page[0].Data) != "second" {
		t.Errorf("got %+v of the last minute, want the second", page)
	}
	older(6 * time.Minute)
	ok(t, s.AddHearings(t.Context(), "c", now, []byte("third"))) // deletes what others wrote, too
	same(t, heard(t, s, "b"), []string{"second", "third"})
	older(6 * time.Minute)
	must[int64](t)(s.Prune(t.Context(), now))
	same(t, heard(t, s, "b"), []string{"third"})
}

// hearingRace follows the log while replicas write, and must see all of it in order.
func hearingRace(t *testing.T, s *store.Store) {
	const writers, writes = 6, 15
	var all sync.WaitGroup
	var left atomic.Int64
	left.Store(writers)
	for i := range writers {
		all.Go(func() {
			defer left.Add(-1)
			for j := range writes {
				if err := s.AddHearings(t.Context(), fmt.Sprint("replica ", i), now, fmt.Append(nil, j)); err != nil {
					t.Errorf("got %v, want it written", err)
				}
			}
		})
	}
	seen := map[string]int{}
	for last, done := int64(0), false; !done; {
		done = left.Load() == 0 // then this look is the last
		for _, h := range must[[]store.Hearing](t)(s.HearingsAfter(t.Context(), last, "", 0)) {
			same(t, string(h.Data), fmt.Sprint(seen[h.Replica]))
			seen[h.Replica]++
			last = h.Number
		}
	}
	all.Wait()
	for i := range writers {
		same(t, seen[fmt.Sprint("replica ", i)], writes)
	}
}
