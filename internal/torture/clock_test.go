//go:build unix

package torture

import (
	"bufio"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/firebreak-dev/firebreak/internal/clock"
)

// steppable is a machine's clock that can be set while the program runs: what it says jumps, and what has passed does not, as when somebody
// sets a real one.
type steppable struct {
	clock.Wall
	ahead atomic.Int64 // seconds
}

// Now implements clock.Clock.
func (c *steppable) Now() time.Time { return stepped(c.Wall.Now(), c.ahead.Load()) }

func (c *steppable) set(ahead time.Duration) { c.ahead.Store(int64(ahead / time.Second)) }

// obey sets the clock as the lines say, each of which is how far it is ahead of the true time, until there are no more.
func (c *steppable) obey(lines io.Reader) {
	for all := bufio.NewScanner(lines); all.Scan(); {
		if ahead, err := time.ParseDuration(all.Text()); err == nil {
			c.set(ahead)
		}
	}
}

// stepped is what the clock would have said if it had been set so many seconds ahead. [time.Time.Add] moves the monotonic reading too, which
// no setting of a clock does, and nothing else moves the one without the other: a time with both readings keeps the seconds of the wall
// above 30 bits of its first word. A test holds that it is so.
func stepped(t time.Time, seconds int64) time.Time {
	word := (*uint64)(unsafe.Pointer(&t))
	*word += uint64(seconds) << 30
	return t
}

func TestSteppedClockKeepsWhatPassed(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{0, time.Minute, 55 * time.Minute, -time.Second, -55 * time.Minute} {
		var c steppable
		before := c.Now()
		reader, writer := io.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.obey(reader)
		}()
		_, _ = fmt.Fprintln(writer, ahead)
		_ = writer.Close()
		<-done
		after := c.Now()
		if passed := after.Sub(before); passed < 0 || passed > time.Minute {
			t.Errorf("set %v ahead: got %v between two readings, want what passed", ahead, passed)
		}
		if got := after.Round(0).Sub(before.Round(0)) - after.Sub(before); (got - ahead).Abs() > 10*time.Millisecond {
			t.Errorf("set %v ahead: the wall moved by %v", ahead, got)
		}
		if truth := (clock.Wall{}).Now(); (after.UTC().Sub(truth.UTC()) - ahead).Abs() > time.Minute/2 {
			t.Errorf("set %v ahead: got %v, the truth is %v", ahead, after.UTC(), truth.UTC())
		}
	}
}
