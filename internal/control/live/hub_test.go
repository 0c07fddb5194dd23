package live_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/live"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// thing is what a test's topics show.
type thing struct {
	mu     sync.Mutex
	value  any
	err    error
	looks  int
	during func(ctx context.Context) // each look
}

func (s *thing) set(value any, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value, s.err = value, err
}

func (s *thing) looked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks
}

func (s *thing) look(ctx context.Context) (any, error) {
	s.mu.Lock()
	s.looks++
	during, value, err := s.during, s.value, s.err
	s.mu.Unlock()
	if during != nil {
		during(ctx)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return value, err
}

// world is a hub with one thing to watch, in a bubble of time of its own.
type world struct {
	*live.Hub
	*thing
	t    *testing.T
	stop func()
}

// inBubble runs a test with a hub. Whatever goroutine is left at the end makes it fail.
func inBubble(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &thing{value: map[string]any{"n": 0}}
		source := func(string) live.Look { return s.look }
		hub := live.New(live.Options{
			Sources: map[string]live.Source{"overview": source, "rollout:": source}, Topics: 3, Each: 2, All: 3, Clock: clock.Wall{},
			Log: slog.New(slog.DiscardHandler),
		})
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() {
			if err := hub.Run(ctx); err != nil {
				t.Errorf("got %v, want no error at the end", err)
			}
		})
		w := &world{Hub: hub, thing: s, t: t, stop: func() { cancel(); done.Wait() }}
		test(w)
		w.stop()
	})
}

func (w *world) watch(token string, topics ...string) *live.Watcher {
	w.t.Helper()
	watcher, err := w.Watch(token, topics)
	if err != nil {
		w.t.Fatal(err)
	}
	return watcher
}

// pass lets time go by.
func pass(d time.Duration) {
	_ = clock.Wall{}.Sleep(context.Background(), d)
	synctest.Wait()
}

// told collects what a watcher is told by now: the names of the events, and the value that its topic has then.
type told struct {
	names []string
	value []byte
	last  api.StreamEvent
}

func (w *world) drain(watcher *live.Watcher, from []byte) told {
	w.t.Helper()
	out := told{value: from}
	for range 100 {
		ctx, cancel := context.WithCancel(w.t.Context())
		done := make(chan struct{})
		var events []live.Event
		go func() {
			defer close(done)
			events, _ = watcher.Next(ctx)
		}()
		synctest.Wait() // it has something, or waits
		cancel()
		<-done
		if len(events) == 0 {
			return out
		}
		for _, e := range events {
			out.apply(w.t, e)
		}
	}
	w.t.Fatalf("got %d events and no end of them", len(out.names))
	return out
}

func (o *told) apply(t *testing.T, e live.Event) {
	t.Helper()
	o.names = append(o.names, e.Name)
	o.last = api.StreamEvent{}
	if err := json.Unmarshal(e.Data, &o.last); err != nil {
		t.Fatalf("event %s is %s: %v", e.Name, e.Data, err)
	}
	switch e.Name {
	case live.Snapshot:
		o.value = o.last.Value
	case live.Patch:
		next, err := jsonpatch.MergePatch(o.value, o.last.Patch)
		if err != nil {
			t.Fatalf("apply %s to %s: %v", o.last.Patch, o.value, err)
		}
		o.value = next
	case live.Gone:
		o.value = nil
	}
}

func (o told) check(t *testing.T, value string, names ...string) {
	t.Helper()
	if diff := cmp.Diff(names, o.names); diff != "" {
		t.Errorf("got events %v, want %v", o.names, names)
	}
	if string(o.value) != value {
		t.Errorf("got value %s, want %s", o.value, value)
	}
}

func TestASnapshotThenPatches(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.set(map[string]any{"a": 1, "b": map[string]any{"c": []int{1}, "d": "x"}}, nil)
		first := w.watch("t", "overview")
		pass(time.Second)
		got := w.drain(first, nil)
		got.check(t, `{"a":1,"b":{"c":[1],"d":"x"}}`, live.Snapshot)
		w.set(map[string]any{"b": map[string]any{"c": []int{1, 2}, "d": "x"}}, nil)
		pass(3 * time.Second)
		late := w.watch("t", "overview")
		got = w.drain(first, got.value)
		got.check(t, `{"b":{"c":[1,2],"d":"x"}}`, live.Patch)
		if want := `{"a":null,"b":{"c":[1,2]}}`; string(got.last.Patch) != want || got.last.Topic != "overview" {
			t.Errorf("got patch %s of %s, want %s of overview", got.last.Patch, got.last.Topic, want)
		}
		w.drain(late, nil).check(t, `{"b":{"c":[1,2],"d":"x"}}`, live.Snapshot) // what the next patch applies to, and nothing twice
		pass(time.Minute)
		w.drain(first, got.value).check(t, string(got.value)) // nothing changed: nothing is said
		first.Close()
		late.Close()
	})
}

func TestATopicIsLookedAtOnceForAllAndOnlyWhileSomebodyWatches(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		pass(time.Minute)
		if n := w.looked(); n != 0 {
			t.Errorf("got %d looks before anybody watched, want none", n)
		}
		a, b := w.watch("a", "rollout:ro-1"), w.watch("b", "rollout:ro-1")
		pass(10 * time.Second)
		one := w.looked()
		if one < 5 || one > 10 {
			t.Errorf("got %d looks in ten quiet seconds for two watchers, want one about every two seconds", one)
		}
		a.Close()
		a.Close()
		b.Close()
		pass(5 * time.Second)
		before := w.looked()
		pass(time.Minute)
		if n := w.looked(); n != before {
			t.Errorf("got %d looks after everybody had left, want none", n-before)
		}
		c := w.watch("a", "rollout:ro-1")
		pass(time.Second)
		w.drain(c, nil).check(t, `{"n":0}`, live.Snapshot)
		c.Close()
	})
}

func TestTheBellIsAnsweredAtOnceAndNotTooOften(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		s := w.watch("a", "overview")
		defer s.Close()
		pass(time.Minute)
		value := w.drain(s, nil).value
		w.set(map[string]any{"n": 1}, nil)
		w.Ring()
		pass(150 * time.Millisecond)
		w.drain(s, value).check(t, `{"n":1}`, live.Patch)
		before := w.looked()
		for range 1000 {
			w.Ring()
			pass(time.Millisecond)
		}
		if n := w.looked() - before; n > 10 {
			t.Errorf("got %d looks in a second of ringing, want at most 10", n)
		}
	})
}

func TestWhoIsSlowGetsASnapshotInPlaceOfWhatWasMissed(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		slow, quick := w.watch("a", "overview"), w.watch("a", "overview")
		defer slow.Close()
		defer quick.Close()
		pass(time.Second)
		has, value := w.drain(slow, nil).value, w.drain(quick, nil).value
		for n := range 100 {
			w.set(map[string]any{"n": n + 1}, nil)
			w.Ring()
			pass(time.Second)
			got := w.drain(quick, value)
			if len(got.names) != 1 || got.names[0] != live.Patch {
				t.Fatalf("got %v, want a patch for who is quick", got.names)
			}
			value = got.value
		}
		w.drain(slow, has).check(t, `{"n":100}`, live.Snapshot)
		w.set(map[string]any{"n": 101}, nil)
		pass(3 * time.Second)
		w.drain(slow, []byte(`{"n":100}`)).check(t, `{"n":101}`, live.Patch)
	})
}

func TestWhatCannotBeWorkedOutIsStaleUntilItIsFresh(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		s := w.watch("a", "overview")
		defer s.Close()
		pass(time.Second)
		value := w.drain(s, nil).value
		w.set(nil, fault.New(fault.Unavailable, "the database is away"))
		pass(10 * time.Second)
		got := w.drain(s, value)
		got.check(t, string(value), live.Stale)
		if got.last.Stale != "the database is away" || got.last.At == nil {
			t.Fatalf("got %+v, want why it is stale and when it was good last", got.last)
		}
		if age := (clock.Wall{}).Now().Sub(*got.last.At); age < 8*time.Second || age > 12*time.Second {
			t.Errorf("got that it was good %s ago, want about ten seconds", age)
		}
		late := w.watch("a", "overview")
		w.drain(late, nil).check(t, string(value), live.Snapshot, live.Stale) // the last value, and that it may be old
		late.Close()
		w.set(map[string]any{"n": 7}, nil)
		pass(3 * time.Second)
		w.drain(s, value).check(t, `{"n":7}`, live.Fresh, live.Patch)
		w.set(nil, errors.New("password is hunter2"))
		pass(3 * time.Second)
		if got := w.drain(s, value); got.last.Stale != "internal error" {
			t.Errorf("got %+v, want no details of what is our own fault", got.last)
		}
	})
}

func TestALookThatHangsIsStaleAndOneAtATime(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		s := w.watch("a", "overview")
		defer s.Close()
		pass(time.Second)
		value := w.drain(s, nil).value
		deaf := make(chan struct{})
		w.mu.Lock()
		w.during = func(context.Context) { <-deaf } // and does not listen to its context
		w.mu.Unlock()
		pass(10 * time.Second)
		before := w.looked()
		w.drain(s, value).check(t, string(value), live.Stale)
		pass(time.Minute)
		if n := w.looked(); n != before {
			t.Errorf("got %d looks beside the one that hangs, want none", n-before)
		}
		w.mu.Lock()
		w.during = nil
		w.mu.Unlock()
		close(deaf)
		pass(3 * time.Second)
		w.drain(s, value).check(t, string(value), live.Fresh)
	})
}

func TestALookThatPanicsEndsNothing(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.mu.Lock()
		w.during = func(context.Context) { panic("something impossible happened") }
		w.mu.Unlock()
		s := w.watch("a", "overview")
		defer s.Close()
		pass(3 * time.Second)
		if got := w.drain(s, nil); got.last.Stale != "internal error" {
			t.Errorf("got %+v, want a topic that is stale", got.last)
		}
		w.mu.Lock()
		w.during = nil
		w.mu.Unlock()
		pass(3 * time.Second)
		w.drain(s, nil).check(t, `{"n":0}`, live.Fresh, live.Snapshot)
	})
}

func TestWhatIsNotThereIsGoneAndMayComeBack(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		w.set(nil, fault.New(fault.NotFound, "there is no rollout ro-9"))
		s := w.watch("a", "rollout:ro-9")
		defer s.Close()
		pass(10 * time.Second)
		got := w.drain(s, nil)
		got.check(t, "", live.Gone)
		if got.last.Gone != "there is no rollout ro-9" || got.last.Topic != "rollout:ro-9" {
			t.Errorf("got %+v, want what is gone and why", got.last)
		}
		w.set(map[string]any{"n": 1}, nil)
		pass(3 * time.Second)
		w.drain(s, nil).check(t, `{"n":1}`, live.Snapshot)
	})
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		for name, topics := range map[string][]string{
			"none": nil, "unknown": {"fleet"}, "no id": {"rollout:"}, "an id too much": {"overview:1"}, "a path": {"rollout:../x"}, "long": {"rollout:" + strings.Repeat("x", 65)},
			"too many": {"rollout:1", "rollout:2", "rollout:3", "rollout:4"}, "one wrong": {"overview", "x\n"},
		} {
			if _, err := w.Watch("a", topics); fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s: got %v, want what is wrong with the topics", name, err)
			}
		}
		first := w.watch("a", "overview", "overview", "rollout:1", "rollout:2") // the same one twice counts once
		w.watch("a", "overview")
		if _, err := w.Watch("a", []string{"overview"}); !errors.Is(err, live.ErrFull) {
			t.Errorf("got %v, want no third stream of a token", err)
		}
		w.watch("b", "overview")
		if _, err := w.Watch("c", []string{"overview"}); !errors.Is(err, live.ErrFull) {
			t.Errorf("got %v, want no fourth stream", err)
		}
		first.Close()
		w.watch("a", "overview")
		w.stop()
		if _, err := w.Watch("d", []string{"overview"}); fault.KindOf(err) != fault.Unavailable || errors.Is(err, live.ErrFull) {
			t.Errorf("got %v, want that the control plane stops", err)
		}
	})
}

func TestStreamsBeatAndEndWithTheHub(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		s := w.watch("a", "overview")
		pass(time.Second)
		w.drain(s, nil)
		begin := clock.Wall{}.Now()
		events, more := s.Next(w.t.Context())
		if took := (clock.Wall{}).Now().Sub(begin); len(events) != 0 || !more || took > 10*time.Second {
			t.Errorf("got %v after %s, want a sign of life within ten seconds", events, took)
		}
		w.stop()
		events, more = s.Next(w.t.Context())
		if len(events) != 1 || events[0].Name != live.Bye || more || !bytes.Contains(events[0].Data, []byte("stopped")) {
			t.Errorf("got %v, want a goodbye and nothing after it", events)
		}
		s.Close()
	})
}

// TestEveryWatcherSeesTheSameHoweverItReads: values that change in all ways, and watchers that come and read as they like.
func TestEveryWatcherSeesTheSameHoweverItReads(t *testing.T) {
	t.Parallel()
	inBubble(t, func(w *world) {
		type reader struct {
			*live.Watcher
			value []byte
		}
		var readers []*reader
		next := numbers(7)
		for round := range 300 {
			value := object(next, 3)
			w.set(value, nil)
			w.Ring()
			pass(time.Second)
			if round%100 == 0 {
				readers = append(readers, &reader{Watcher: w.watch(string(rune('a'+round/100)), "overview")})
				pass(time.Second)
			}
			want := pruned(parsed(t, value))
			for i, r := range readers {
				if round < 299 && next(3) < i { // the later ones read less often
					continue
				}
				r.value = w.drain(r.Watcher, r.value).value
				if got := parsed(t, json.RawMessage(r.value)); !reflect.DeepEqual(got, want) {
					t.Fatalf("round %d, reader %d: got %s, want %v", round, i, r.value, want)
				}
			}
		}
		for _, r := range readers {
			r.Close()
		}
	})
}

// numbers draws numbers below n, the same ones each time.
func numbers(seed uint64) func(n int) int {
	return func(n int) int {
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed>>33) % n
	}
}

// object makes an object of few names, so that two of them have much in common.
func object(next func(int) int, depth int) map[string]any {
	made := map[string]any{}
	for _, name := range []string{"a", "b", "c", "d"} {
		if next(3) > 0 {
			made[name] = anything(next, depth)
		}
	}
	return made
}

func anything(next func(int) int, depth int) any {
	kinds := []func() any{
		func() any { return nil },
		func() any { return next(3) },
		func() any { return int64(9007199254740993) + int64(next(2)) }, // no float64 has it
		func() any { return 1e300 * float64(next(2)) },
		func() any { return []string{"", "x", "null", "<&>\u2028"}[next(4)] },
		func() any { return next(2) == 0 },
		func() any { return map[string]any{} },
		func() any { return object(next, depth-1) },
		func() any { return []any{next(2), map[string]any{"n": nil, "m": next(2)}, nil} },
		func() any { return []any{} },
	}
	if depth == 0 {
		kinds = kinds[:6]
	}
	return kinds[next(len(kinds))]()
}

// parsed is a value as its JSON is read.
func parsed(t *testing.T, value any) any {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

// pruned is a tree without members that are null.
func pruned(tree any) any {
	switch v := tree.(type) {
	case map[string]any:
		kept := map[string]any{}
		for name, member := range v {
			if member != nil {
				kept[name] = pruned(member)
			}
		}
		return kept
	case []any:
		kept := slices.Clone(v)
		for i := range kept {
			kept[i] = pruned(kept[i])
		}
		return kept
	}
	return tree
}
