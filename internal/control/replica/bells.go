package replica

import (
	"context"
	"log/slog"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
)

// bells are rung by wake-ups, one for each loop of the replica.
type bells struct {
	reports, commands, wishes, answers, taken, published bell
}

func newBells() bells {
	return bells{reports: newBell(), commands: newBell(), wishes: newBell(), answers: newBell(), taken: newBell(), published: newBell()}
}

// ring lets the loops that care for a topic look again. It waits for nobody.
func (b bells) ring(topic string) {
	switch topic {
	case store.WakeReports:
		b.reports.ring()
	case store.WakeLetters:
		b.commands.ring()
		b.wishes.ring()
	case store.WakeAnswers:
		b.answers.ring()
	case store.WakeRollouts:
		b.taken.ring()
	default: // directives, endpoints, hearings
		b.published.ring()
	}
}

type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// wait returns when the bell rings, or after d.
func (b bell) wait(ctx context.Context, c clock.Clock, d time.Duration) {
	ctx, cancel := within(ctx, c, d)
	defer cancel()
	select {
	case <-b:
	case <-ctx.Done():
	}
}

// within is a context that also ends after d, by the given clock.
func within(ctx context.Context, c clock.Clock, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		_ = c.Sleep(ctx, d) // it ends with the context at the latest
	}()
	return ctx, cancel
}

// listen rings the bells until ctx ends.
func (r *Replica) listen(ctx context.Context) error {
	lost := func(err error) {
		r.Log.WarnContext(ctx, "wake-ups of other replicas are not heard; looking goes on", slog.Any("error", err))
	}
	heard := func(topic string) {
		r.bells.ring(topic)
		if topic == store.WakeRollouts && r.Decided != nil {
			r.Decided()
		}
	}
	r.Store.Listen(ctx, r.Clock, heard, lost, store.Topics()...)
	return nil
}
