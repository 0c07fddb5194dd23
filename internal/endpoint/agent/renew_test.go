package agent

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/endpoint/component"
)

// An agent that is not the one in current ends so that it is started; the one in current proves itself.
func TestAgentThatIsNotCurrentEnds(t *testing.T) {
	t.Parallel()
	s := install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2}
	for self, want := range map[string]bool{"1": true, "2": false, "": true} {
		a, u, _, _ := guarded(t, "agent", s)
		a.Self = filepath.Join(t.TempDir(), component.Agent) // the one that the host came with
		if self != "" {
			a.Self = filepath.Join(u.dir, "slots", self, component.Agent)
		}
		if got := a.other(u, "2"); got != want {
			t.Errorf("slot %q in place of 2: got another %t, want %t", self, got, want)
		}
		if got := a.other(u, ""); got != (self != "") {
			t.Errorf("slot %q in place of none: got another %t, want %t", self, got, self != "")
		}
	}
}

// The agent that was activated is started without a death to its name; one that was to be started and was not, is a death.
func TestPartIsNoDeath(t *testing.T) {
	t.Parallel()
	for switchedHere, want := range map[bool]int{true: 0, false: 1} {
		s := install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2, Tries: 1}
		a, u, _, _ := guarded(t, "agent", s)
		a.Self = filepath.Join(u.dir, "slots", "1", component.Agent)
		if switchedHere {
			u.switched = start
		}
		ended := false
		a.quit = func() { ended = true }
		a.prove(t.Context(), u, "2")
		if !ended || !a.renewed() {
			t.Fatal("the agent did not end for the one that is current")
		}
		a.part(t.Context())
		if got := a.memory.Components[component.Agent]; got.Tries != want || got.Phase != install.Proving || len(a.memory.Reports) != 0 {
			t.Errorf("switched here %t: got %d tries in phase %s with reports %v, want %d, proving and none", switchedHere, got.Tries, got.Phase,
				a.memory.Reports, want)
		}
	}
}

// A new agent is proved by a check-in that was acknowledged; a control plane that is away is never held against it, however long.
func TestAgentProvesItself(t *testing.T) {
	t.Parallel()
	s := install.State{Phase: install.Proving, Current: v2, Good: v1, Next: v2}
	a, u, _, _ := guarded(t, "agent", s)
	u.own, a.Self = a.contact, filepath.Join(u.dir, "slots", "2", component.Agent)
	a.heard(context.DeadlineExceeded)
	ctx, cancel := context.WithCancel(t.Context())
	a.Clock = &counting{Clock: a.Clock, at: 10_000, then: func() {
		if got := a.memory.Components[component.Agent].Phase; got != install.Proving {
			t.Errorf("after a day without a control plane: got phase %s, want proving", got)
		}
		cancel()
	}}
	a.prove(ctx, u, "2")
	a.heard(nil)
	a.prove(t.Context(), u, "2")
	if got := a.memory.Components[component.Agent]; got.Phase != install.Idle || got.Good != v2 {
		t.Errorf("after a check-in: got phase %s with %s good, want idle with v2", got.Phase, got.Good.Version)
	}
}

// counting is a clock on which something happens at the n-th sleep.
type counting struct {
	Clock interface {
		Now() time.Time
		Sleep(ctx context.Context, d time.Duration) error
	}
	at   int
	then func()
}

func (c *counting) Now() time.Time { return c.Clock.Now() }

func (c *counting) Sleep(ctx context.Context, d time.Duration) error {
	if c.at--; c.at == 0 {
		c.then()
	}
	return c.Clock.Sleep(ctx, d)
}

// The launcher hears of the loop every ten seconds, however long the pauses are, and of how check-ins end.
func TestLauncherHears(t *testing.T) {
	t.Parallel()
	var words []string
	a := newAgent(t, &paper{})
	a.Notify = func(word string) { words = append(words, word) }
	a.Uplink = &listener{}
	if _, err := a.checkIn(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.rest(t.Context(), 35*time.Second)
	a.Uplink = &listener{err: context.DeadlineExceeded}
	if _, err := a.checkIn(t.Context()); err == nil {
		t.Error("got no error from a control plane that is away")
	}
	want := []string{WordChecked, WordAlive, WordAlive, WordAlive, WordAlive, WordAway}
	if !slices.Equal(words, want) {
		t.Errorf("got %q, want %q", words, want)
	}
}

// A hang of whoever holds the agent's lock is heard as silence.
func TestLauncherHearsNothingOfAHang(t *testing.T) {
	t.Parallel()
	a := newAgent(t, &paper{})
	heard := make(chan string, 10)
	a.Notify = func(word string) { heard <- word }
	a.mu.Lock()
	done := make(chan struct{})
	go func() { defer close(done); a.live() }()
	select {
	case word := <-heard:
		t.Errorf("got %q while the lock was held", word)
	default:
	}
	a.mu.Unlock()
	<-done
	if word := <-heard; word != WordAlive {
		t.Errorf("got %q, want %q", word, WordAlive)
	}
}

// A check tells the control plane nothing of the host but what it wishes for.
func TestCheckTellsNothing(t *testing.T) {
	t.Parallel()
	up := &listener{}
	a, u, _, _ := guarded(t, "agent", install.State{Phase: install.Idle, Current: v2, Good: v2, Previous: v1})
	a.Uplink = up
	another := &unit{file: component.File{Component: sensor, Kind: "content"}}
	a.units[sensor], a.all[sensor] = another, another
	a.memory.Components[sensor] = install.State{Component: sensor, Phase: install.Proving, Current: v3, Next: v3}
	if switched, err := a.Check(t.Context()); switched || err != nil {
		t.Fatalf("got switched %t, %v, want nothing done", switched, err)
	}
	for _, body := range up.heard {
		if body.Components != nil || body.Attributes != nil || body.Boot != "" || len(body.Wishes) > 0 {
			t.Errorf("got check-in %+v, want an empty one", body)
		}
	}
	if len(up.heard) == 0 || a.memory.Components[sensor].Tries != 0 || a.memory.Components[u.file.Component].Phase != install.Idle {
		t.Errorf("got %d check-ins and %+v, want one, and all machines as they were", len(up.heard), a.memory.Components)
	}
}

// Without a launcher there is no component of the agent: nobody would start another one.
func TestNoAgentWithoutALauncher(t *testing.T) {
	t.Parallel()
	o := newAgent(t, &paper{}).Options
	o.Files = []component.File{component.OfAgent()}
	a, err := New(o)
	if err != nil || len(a.units) != 0 {
		t.Errorf("got %d components (%v), want none", len(a.units), err)
	}
	o.Notify = func(string) {}
	if a, err = New(o); err != nil || a.units[component.Agent] == nil {
		t.Errorf("with a launcher: got %v (%v), want the agent's component", a.units, err)
	}
}
