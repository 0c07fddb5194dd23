package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func wakeTests() []test {
	return []test{
		{"wake/a listener hears its topics", wakeHeard},
		{"wake/who listens looks first", wakeAtFirst},
		{"wake/a write that fails wakes nobody", wakeAfterCommit},
		{"wake/what was written is there when it is heard", wakeSeesWrite},
		{"wake/listening ends with its context", wakeEnds},
	}
}

// Listen starts a listener for the rest of the test and returns what it hears, once it listens.
func Listen(t testing.TB, s *store.Store, topics ...string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	heard, ended := make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(ended)
		s.Listen(ctx, clock.Wall{}, func(topic string) { heard <- topic }, func(err error) { t.Logf("away: %v", err) }, topics...)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	for _, topic := range topics {
		Hear(t, heard, topic)
	}
	return heard
}

// Hear waits until a topic is heard.
func Hear(t testing.TB, heard <-chan string, want string) {
	t.Helper()
	timeout, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		select {
		case got := <-heard:
			if got == want {
				return
			}
		case <-timeout.Done():
			t.Fatalf("got nothing, want to hear %q", want)
		}
	}
}

// nothing checks that nothing was heard: all that came before is heard before this wake-up.
func nothing(t testing.TB, s *store.Store, heard <-chan string) {
	t.Helper()
	ok(t, s.AddHearings(t.Context(), "nobody", now, nil))
	if got := <-heard; got != store.WakeHearings {
		t.Errorf("got %q heard, want nothing", got)
	}
}

func wakeHeard(t *testing.T, s *store.Store) {
	ok(t, s.PutEndpoint(t.Context(), endpoint("ep-1")))
	one := Listen(t, s, store.WakeReports, store.WakeLetters, store.WakeHearings)
	other := Listen(t, s, store.WakeLetters, store.WakeHearings)
	must[int64](t)(s.AddReports(t.Context(), "ep-1", now, reports(1)))
	Hear(t, one, store.WakeReports)
	nothing(t, s, other)
	Hear(t, one, store.WakeHearings)
	must[[]int64](t)(s.Ask(t.Context(), store.Letter{}))
	Hear(t, one, store.WakeLetters)
	Hear(t, other, store.WakeLetters)
}

func wakeAtFirst(t *testing.T, s *store.Store) {
	ok(t, s.AddHearings(t.Context(), "nobody", now, nil)) // and nobody listens
	Listen(t, s, store.Topics()...)                       // hears all of them
}

func wakeAfterCommit(t *testing.T, s *store.Store) {
	a := must[store.Leadership](t)(s.Lead(t.Context(), "a", long))
	heard := Listen(t, s, store.WakeAnswers, store.WakeHearings)
	id := must[[]int64](t)(s.Ask(t.Context(), store.Letter{}))[0]
	refused(t, s.Fenced(a.Term-1).Answer(t.Context(), []store.Answered{{ID: id}}), fault.Conflict)
	nothing(t, s, heard)
	ok(t, s.Fenced(a.Term).Answer(t.Context(), []store.Answered{{ID: id}}))
	Hear(t, heard, store.WakeAnswers)
}

func wakeSeesWrite(t *testing.T, s *store.Store) {
	heard := Listen(t, s, store.WakeLetters)
	for i := range 20 {
		go func() { _, _ = s.Ask(context.WithoutCancel(t.Context()), store.Letter{}) }()
		Hear(t, heard, store.WakeLetters)
		if n := len(must[[]store.Letter](t)(s.Unanswered(t.Context(), "", long, 0))); n != i+1 {
			t.Fatalf("got %d letters when it was heard, want %d", n, i+1)
		}
	}
}

func wakeEnds(t *testing.T, s *store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	heard := 0
	s.Listen(ctx, clock.Wall{}, func(string) { heard++; cancel() }, nil, store.WakeReports)
	same(t, heard, 1)
}
