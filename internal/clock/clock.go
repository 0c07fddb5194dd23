// Package clock is the only place of the house that reads the time of day.
//
// Shells take a [Clock]; decisions take a time.Time. Tests use testing/synctest or [Fixed]; the simulator keeps its own time.
package clock

import (
	"context"
	"sync"
	"time"
)

// Clock tells the time and waits for it.
type Clock interface {
	// Now is the current time.
	Now() time.Time
	// Sleep waits for d or until ctx ends, and then returns ctx's error.
	Sleep(ctx context.Context, d time.Duration) error
}

// Wall is the machine's clock.
type Wall struct{}

// Now implements [Clock]. The monotonic reading is kept: differences taken within one process do not see a clock that is set. UTC
// drops it where a time becomes data.
func (Wall) Now() time.Time { return time.Now() }

// Sleep implements [Clock].
func (Wall) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Fixed is a clock that stands still until it is moved. It is safe for concurrent use.
type Fixed struct {
	mu  sync.Mutex
	now time.Time
}

// At returns a clock that shows t.
func At(t time.Time) *Fixed { return &Fixed{now: t} }

// Now implements [Clock].
func (f *Fixed) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

// Move turns the clock by d, which may be negative.
func (f *Fixed) Move(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

// Sleep implements [Clock]: it moves the clock by d and returns at once.
func (f *Fixed) Sleep(ctx context.Context, d time.Duration) error {
	f.Move(d)
	return ctx.Err()
}
