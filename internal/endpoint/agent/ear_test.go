package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
)

// attentive is an agent that proves a release, and the lines that it opens.
func attentive(t *testing.T, events func(ctx context.Context, heard func(look bool)) error) (*Agent, *clock.Fixed) {
	t.Helper()
	a := newAgent(t, &paper{})
	c := clock.At(start)
	a.Clock, a.Random, a.Events = c, rand.New(rand.NewPCG(7, 8)), events
	a.units[sensor] = &unit{}
	a.memory.Components[sensor] = install.State{Component: sensor, Phase: install.Proving}
	return a, c
}

// The agent listens while it proves a release, checks in when it is told to look, and hangs up when it is done.
func TestListensWhileExposed(t *testing.T) {
	t.Parallel()
	said := make(chan bool)
	a, _ := attentive(t, func(ctx context.Context, heard func(bool)) error {
		for {
			select {
			case look := <-said:
				heard(look)
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	a.attend(t.Context(), false)
	if a.ear.listens() {
		t.Fatal("listens to a control plane that it does not reach")
	}
	a.attend(t.Context(), true)
	said <- false
	said <- true
	<-a.kick
	select {
	case <-a.kick:
		t.Error("got two check-ins for one look")
	default:
	}
	a.memory.Components[sensor] = install.State{Component: sensor, Phase: install.Idle}
	a.attend(t.Context(), true)
	a.jobs.Wait()
	if a.ear.listens() {
		t.Error("listens though there is nothing to listen for")
	}
}

// A line on which nothing is heard any more is given up.
func TestDeadLineIsClosed(t *testing.T) {
	t.Parallel()
	a, c := attentive(t, func(ctx context.Context, _ func(bool)) error {
		<-ctx.Done()
		return ctx.Err()
	})
	a.attend(t.Context(), true)
	c.Move(deaf - time.Second)
	a.attend(t.Context(), true)
	if !a.ear.listens() {
		t.Error("hung up before it was dead")
	}
	c.Move(time.Second)
	a.attend(t.Context(), false)
	a.jobs.Wait() // or this hangs
}

// Lines that end at once are opened more and more rarely; one that was of use is opened again soon. However often it is told to look, the
// agent does so a few times a second.
func TestLinesThatEndAtOnce(t *testing.T) {
	t.Parallel()
	opened, lasts := 0, time.Duration(0)
	var moves func(time.Duration)
	a, c := attentive(t, func(_ context.Context, heard func(bool)) error {
		opened++
		moves(lasts)
		heard(true)
		return errors.New("the line is cut")
	})
	moves = c.Move
	for range 6000 { // ten minutes
		a.attend(t.Context(), true)
		a.jobs.Wait()
		c.Move(100 * time.Millisecond)
	}
	if opened < 8 || opened > 60 {
		t.Errorf("got %d lines in ten minutes, want some, and fewer and fewer", opened)
	}
	a.ear = ear{}
	lasts, opened = useful, 0
	for range 100 {
		a.attend(t.Context(), true)
		a.jobs.Wait()
		c.Move(2*leastLine + time.Second)
	}
	if opened != 100 {
		t.Errorf("got %d lines, want one after the other", opened)
	}
}
