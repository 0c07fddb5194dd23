package launcher

import (
	"context"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
)

// alarm rings once, a while after it was set. Setting it again puts the old time aside. It measures what has passed and never asks what
// time it is.
type alarm struct {
	clock clock.Clock
	rang  chan struct{} // nil while the alarm is not set
	stop  func()
}

func (l *launcher) alarm() *alarm { return &alarm{clock: l.Clock, stop: func() {}} }

func (a *alarm) set(ctx context.Context, d time.Duration) {
	a.clear()
	ctx, cancel := context.WithCancel(ctx)
	rang := make(chan struct{})
	a.rang, a.stop = rang, cancel
	go func() { // ends with the time, or with ctx
		if a.clock.Sleep(ctx, d) == nil {
			close(rang)
		}
	}()
}

func (a *alarm) clear() {
	a.stop()
	a.rang, a.stop = nil, func() {}
}

// watchdog is an alarm for the next sign of life to systemd.
func (l *launcher) watchdog(ctx context.Context) *alarm {
	a := l.alarm()
	if l.Times.Watchdog > 0 {
		a.set(ctx, l.Times.Watchdog)
	}
	return a
}

// pet gives systemd a sign of life.
func (l *launcher) pet(ctx context.Context, watchdog *alarm) {
	l.notify("WATCHDOG=1")
	watchdog.set(ctx, l.Times.Watchdog)
}

// notify tells systemd something, if it wants to know.
func (l *launcher) notify(message string) {
	if l.Socket == "" {
		return
	}
	if err := send(l.Socket, message); err != nil {
		l.Log("systemd is not notified: %v", err)
	}
}
