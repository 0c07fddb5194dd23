package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
)

func letterTests() []test {
	return []test{
		{"letter/an answer reaches who asked", letterAnswered},
		{"letter/many at once, in pages", letterPages},
		{"letter/each kind by itself", letterKinds},
		{"letter/old ones are passed over", letterOld},
		{"letter/one is claimed once", letterClaimed},
		{"letter/the first answer counts", letterFirstAnswer},
		{"letter/what is forgotten is gone", letterForgotten},
		{"letter/askers at once get letters of their own", letterRace},
	}
}

// unanswered lists the letters of a kind.
func unanswered(t testing.TB, s *store.Store, kind string) []store.Letter {
	t.Helper()
	return must[[]store.Letter](t)(s.Unanswered(t.Context(), kind, long, 0))
}

func letterAnswered(t *testing.T, s *store.Store) {
	ids := must[[]int64](t)(s.Ask(t.Context(), store.Letter{Kind: "lease", Body: []byte{0, 0xff}}, store.Letter{Kind: "halt"}))
	want := []store.Letter{{ID: ids[0], Kind: "lease", Body: []byte{0, 0xff}}, {ID: ids[1], Kind: "halt", Body: []byte{}}}
	same(t, append(unanswered(t, s, "lease"), unanswered(t, s, "halt")...), want)
	same(t, len(must[[]store.Answered](t)(s.Answers(t.Context(), ids))), 0)
	answer := store.Answered{ID: ids[1], Body: []byte("halted\x00")}
	ok(t, s.Answer(t.Context(), []store.Answered{answer}))
	same(t, must[[]store.Answered](t)(s.Answers(t.Context(), ids)), []store.Answered{answer})
	same(t, append(unanswered(t, s, "lease"), unanswered(t, s, "halt")...), want[:1])
	same(t, len(must[[]int64](t)(s.Ask(t.Context()))), 0)
	ok(t, s.Answer(t.Context(), nil))
	same(t, len(must[[]store.Answered](t)(s.Answers(t.Context(), nil))), 0)
}

func letterPages(t *testing.T, s *store.Store) {
	const n = 700 // more than one statement has
	letters := make([]store.Letter, n)
	for i := range letters {
		letters[i] = store.Letter{Kind: "lease", Body: fmt.Append(nil, i)}
	}
	ids := must[[]int64](t)(s.Ask(t.Context(), letters...))
	answers := make([]store.Answered, 0, n)
	for len(answers) < n {
		page := must[[]store.Letter](t)(s.Unanswered(t.Context(), "lease", long, 300))
		same(t, len(page), min(300, n-len(answers)))
		from := len(answers)
		for _, l := range page {
			if i := len(answers); l.ID != ids[i] || string(l.Body) != fmt.Sprint(i) {
				t.Fatalf("got letter %d with body %s, want %d with body %d", l.ID, l.Body, ids[i], i)
			}
			answers = append(answers, store.Answered{ID: l.ID, Body: append([]byte("to "), l.Body...)})
		}
		ok(t, s.Answer(t.Context(), answers[from:]))
	}
	same(t, must[[]store.Answered](t)(s.Answers(t.Context(), ids)), answers)
}

// letterKinds: however many of one kind wait, one of another is found.
func letterKinds(t *testing.T, s *store.Store) {
	for range 3 {
		must[[]int64](t)(s.Ask(t.Context(), store.Letter{Kind: "lease"}))
	}
	id := must[[]int64](t)(s.Ask(t.Context(), store.Letter{Kind: "command"}))[0]
	same(t, must[[]store.Letter](t)(s.Unanswered(t.Context(), "command", long, 1)), []store.Letter{{ID: id, Kind: "command", Body: []byte{}}})
	same(t, len(unanswered(t, s, "lease")), 3)
}

// letterOld: whoever wrote them has given up.
func letterOld(t *testing.T, s *store.Store) {
	id := must[[]int64](t)(s.Ask(t.Context(), store.Letter{Kind: "command"}))[0]
	ok(t, clock.Wall{}.Sleep(t.Context(), 2*short))
	same(t, len(must[[]store.Letter](t)(s.Unanswered(t.Context(), "command", short, 0))), 0)
	same(t, must[bool](t)(s.Claim(t.Context(), id, short)), false)
	same(t, len(unanswered(t, s, "command")), 1)
	same(t, must[bool](t)(s.Claim(t.Context(), id, long)), true)
}

func letterClaimed(t *testing.T, s *store.Store) {
	ids := must[[]int64](t)(s.Ask(t.Context(), store.Letter{Kind: "command"}, store.Letter{Kind: "command"}))
	same(t, must[bool](t)(s.Claim(t.Context(), ids[0], long)), true)
	same(t, must[bool](t)(s.Claim(t.Context(), ids[0], long)), false)
	same(t, must[bool](t)(s.Claim(t.Context(), ids[1]+1, long)), false) // nobody wrote it
	same(t, unanswered(t, s, "command"), []store.Letter{{ID: ids[1], Kind: "command", Body: []byte{}}})
	same(t, len(must[[]store.Answered](t)(s.Answers(t.Context(), ids))), 0)
	both := []store.Answered{{ID: ids[0], Body: []byte("done")}, {ID: ids[1], Body: []byte("done too")}}
	ok(t, s.Answer(t.Context(), both))
	same(t, must[[]store.Answered](t)(s.Answers(t.Context(), ids)), both)
	same(t, must[bool](t)(s.Claim(t.Context(), ids[1], long)), false)
}

func letterFirstAnswer(t *testing.T, s *store.Store) {
	id := must[[]int64](t)(s.Ask(t.Context(), store.Letter{Kind: "lease"}))[0]
	for _, body := range []string{"first", "second"} {
		ok(t, s.Answer(t.Context(), []store.Answered{{ID: id, Body: []byte(body)}, {ID: id + 1, Body: []byte("nobody asked")}}))
	}
	same(t, must[[]store.Answered](t)(s.Answers(t.Context(), []int64{id, id + 1})), []store.Answered{{ID: id, Body: []byte("first")}})
}

func letterForgotten(t *testing.T, s *store.Store) {
	ids := must[[]int64](t)(s.Ask(t.Context(), store.Letter{Kind: "a"}, store.Letter{Kind: "b"}, store.Letter{Kind: "c"}))
	ok(t, s.Answer(t.Context(), []store.Answered{{ID: ids[0]}}))
	same(t, must[int64](t)(s.ForgetOlder(t.Context(), time.Hour)), 0)
	same(t, unanswered(t, s, "c"), []store.Letter{{ID: ids[2], Kind: "c", Body: []byte{}}})
	same(t, must[int64](t)(s.ForgetOlder(t.Context(), 0)), 3)
	same(t, must[int64](t)(s.ForgetOlder(t.Context(), 0)), 0)
	same(t, len(unanswered(t, s, "b"))+len(unanswered(t, s, "c")), 0)
	same(t, len(must[[]store.Answered](t)(s.Answers(t.Context(), ids))), 0)
	again := must[[]int64](t)(s.Ask(t.Context(), store.Letter{Kind: "d"}))[0]
	if again <= ids[2] {
		t.Errorf("got id %d after %v, want one that was never there", again, ids)
	}
}

func letterRace(t *testing.T, s *store.Store) {
	var mu sync.Mutex
	seen := map[int64]bool{}
	var askers sync.WaitGroup
	for range 8 {
		askers.Go(func() {
			ids, err := s.Ask(t.Context(), make([]store.Letter, 5)...)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range ids {
				seen[id] = true
			}
		})
	}
	askers.Wait()
	same(t, len(seen), 40)
}
