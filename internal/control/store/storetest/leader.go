package storetest

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

func leaderTests() []test {
	return []test{
		{"leader/one at a time, with a term that grows", leaderTakes},
		{"leader/keeps the term while nobody took the lead", leaderKeepsTerm},
		{"leader/who takes it again has a new term", leaderAgain},
		{"leader/resigns and has nothing to say any more", leaderResigns},
		{"leader/one of many who ask at once", leaderRace},
		{"leader/a clock that was turned back keeps nobody out", leaderBogusEnd},
		{"leader/every write of a term that has passed is refused", leaderFenced},
	}
}

// long is a life that no test outlives, short one that it waits for.
const (
	long  = time.Hour
	short = 20 * time.Millisecond
)

// takeOver takes the lead once whoever has it has lost it.
func takeOver(t testing.TB, s *store.Store, holder string, life time.Duration) store.Leadership {
	t.Helper()
	for {
		l, err := s.Lead(t.Context(), holder, life)
		if err == nil {
			return l
		}
		refused(t, err, fault.Conflict)
		ok(t, clock.Wall{}.Sleep(t.Context(), short/4))
	}
}

func leaderTakes(t *testing.T, s *store.Store) {
	before := must[store.Leadership](t)(s.Leader(t.Context()))
	same(t, before.Holder, "")
	a := must[store.Leadership](t)(s.Lead(t.Context(), "a", long))
	if a.Term <= before.Term || a.Holder != "a" || a.Left != long {
		t.Errorf("got %+v after %+v, want a to lead with a new term", a, before)
	}
	_, err := s.Lead(t.Context(), "b", long)
	refused(t, err, fault.Conflict)
	if err != nil && !strings.Contains(err.Error(), "a leads") {
		t.Errorf("got %v, want it to say who leads", err)
	}
	now := must[store.Leadership](t)(s.Leader(t.Context()))
	if now.Term != a.Term || now.Holder != "a" || now.Left > long || now.Left < long-time.Minute {
		t.Errorf("got %+v, want a to lead for about %v", now, long)
	}
	for _, bad := range []func() error{
		func() error { _, err := s.Lead(t.Context(), "", long); return err },
		func() error { _, err := s.Lead(t.Context(), "a", 0); return err },
	} {
		refused(t, bad(), fault.Internal)
	}
}

func leaderKeepsTerm(t *testing.T, s *store.Store) {
	a := must[store.Leadership](t)(s.Lead(t.Context(), "a", short))
	ok(t, clock.Wall{}.Sleep(t.Context(), 2*short))
	if left := must[store.Leadership](t)(s.Leader(t.Context())).Left; left > 0 {
		t.Errorf("got %v left, want the time to have passed", left)
	}
	ok(t, s.Renew(t.Context(), a.Term, long))
	now := must[store.Leadership](t)(s.Leader(t.Context()))
	if now.Term != a.Term || now.Holder != "a" || now.Left < long-time.Minute {
		t.Errorf("got %+v, want a to lead on for about %v", now, long)
	}
	ok(t, s.Renew(t.Context(), a.Term, short))
	b := takeOver(t, s, "b", long)
	same(t, b.Term, a.Term+1)
	refused(t, s.Renew(t.Context(), a.Term, long), fault.Conflict)
	refused(t, s.Renew(t.Context(), b.Term+1, long), fault.Conflict)
	now = must[store.Leadership](t)(s.Leader(t.Context()))
	same(t, now.Holder, "b")
}

// leaderAgain: what the first reign of a replica left behind cannot write in its second one.
func leaderAgain(t *testing.T, s *store.Store) {
	first := must[store.Leadership](t)(s.Lead(t.Context(), "a", long))
	second := must[store.Leadership](t)(s.Lead(t.Context(), "a", long))
	same(t, second.Term, first.Term+1)
	refused(t, s.Renew(t.Context(), first.Term, long), fault.Conflict)
	refused(t, s.Fenced(first.Term).PutSetting(t.Context(), "k", "a"), fault.Conflict)
	ok(t, s.Fenced(second.Term).PutSetting(t.Context(), "k", "a"))
}

func leaderResigns(t *testing.T, s *store.Store) {
	a := must[store.Leadership](t)(s.Lead(t.Context(), "a", long))
	ok(t, s.Resign(t.Context(), a.Term-1)) // of another
	same(t, must[store.Leadership](t)(s.Leader(t.Context())).Holder, "a")
	ok(t, s.Resign(t.Context(), a.Term))
	refused(t, s.Fenced(a.Term).PutSetting(t.Context(), "k", "a"), fault.Conflict)
	refused(t, s.Renew(t.Context(), a.Term, long), fault.Conflict)
	refused(t, s.Renew(t.Context(), a.Term+1, long), fault.Conflict) // nobody has it
	b := must[store.Leadership](t)(s.Lead(t.Context(), "b", long))
	if b.Term <= a.Term {
		t.Errorf("got term %d after %d, want a new one", b.Term, a.Term)
	}
}

func leaderRace(t *testing.T, s *store.Store) {
	var won atomic.Int64
	var racers sync.WaitGroup
	for i := range 8 {
		racers.Go(func() {
			if _, err := s.Lead(t.Context(), string(rune('a'+i)), long); err == nil {
				won.Add(1)
			} else {
				refused(t, err, fault.Conflict)
			}
		})
	}
	racers.Wait()
	same(t, won.Load(), 1)
}

func leaderBogusEnd(t *testing.T, s *store.Store) {
	a := must[store.Leadership](t)(s.Lead(t.Context(), "a", long))
	_, err := s.Lead(t.Context(), "b", long/2) // what a set is not too far ahead for b
	refused(t, err, fault.Conflict)
	b := must[store.Leadership](t)(s.Lead(t.Context(), "b", short)) // to b it is as if the clock had been turned back
	same(t, b.Term, a.Term+1)
}

func leaderFenced(t *testing.T, s *store.Store) {
	a := must[store.Leadership](t)(s.Lead(t.Context(), "a", short))
	old := s.Fenced(a.Term)
	ok(t, old.PutSetting(t.Context(), "k", "a"))
	ok(t, old.Commit(t.Context(), commit("r1", 1)))
	ids := must[[]int64](t)(s.Ask(t.Context(), store.Letter{Kind: "lease"}))
	b := takeOver(t, s, "b", long)
	for name, write := range map[string]func() error{
		"setting":   func() error { return old.PutSetting(t.Context(), "k", "late") },
		"commit":    func() error { return old.Commit(t.Context(), commit("r1", 2)) },
		"directive": func() error { return old.PutDirective(t.Context(), directive("a", 1)) },
		"incident":  func() error { return old.CloseIncident(t.Context(), "i1", "alice", "", now) },
		"report":    func() error { return old.MarkTaken(t.Context(), store.ReportKey{Endpoint: "ep-1", Seq: 1}) },
		"component": func() error { return old.PutComponent(t.Context(), component("a")) },
		"plan":      func() error { return old.PutPlan(t.Context(), somePlan("careful"), now) },
		"token":     func() error { return old.PutToken(t.Context(), token("t1")) },
		"metadata": func() error {
			return old.SaveMetadata(t.Context(), map[string][]byte{"f": {1}}, []release.Published{})
		},
		"answer": func() error { return old.Answer(t.Context(), []store.Answered{{ID: ids[0]}}) },
		"claim":  func() error { _, err := old.Claim(t.Context(), ids[0], long); return err },
	} {
		err := write()
		refused(t, err, fault.Conflict)
		if err != nil && !strings.Contains(err.Error(), "b leads") {
			t.Errorf("%s: got %v, want it to say who leads", name, err)
		}
	}
	same(t, must[string](t)(s.Setting(t.Context(), "k")), "a")
	same(t, must[store.Rollout](t)(s.Rollout(t.Context(), "r1")).Revision, 1)
	same(t, len(must[[]store.Answered](t)(s.Answers(t.Context(), ids))), 0)
	same(t, len(unanswered(t, s, "lease")), 1) // the new leader finds it
	ok(t, s.Fenced(b.Term).Commit(t.Context(), commit("r1", 2)))
	ok(t, s.PutSetting(t.Context(), "k", "whoever")) // not fenced
}
