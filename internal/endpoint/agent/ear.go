package agent

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/install"
)

// While a release is being activated or proved here, the agent holds a line to the control plane and checks in when it hears that there is
// something new. The line says nothing else, and the agent goes on polling: without it, or with one that lies, a halt is seen one poll later.

// ear is the line. Only the poll loop opens it, finds it dead and closes it; one goroutine listens, and ends with the line or with Run.
type ear struct {
	close  context.CancelFunc
	done   chan struct{} // closed when nobody listens any more; nil if nobody ever did
	heard  atomic.Pointer[time.Time]
	opened time.Time
	wait   time.Duration // between the end of a line that was of no use and the next one
	after  time.Time     // no line is opened before
}

const (
	deaf      = 75 * time.Second       // without a word on the line, three of which should have come: it is dead
	useful    = time.Minute            // a line that was alive for so long may be opened again at once
	leastLook = 100 * time.Millisecond // between two looks, however often the line says so
	leastLine = time.Second            // between the openings of two lines
)

func (e *ear) listens() bool {
	if e.done == nil {
		return false
	}
	select {
	case <-e.done:
		return false
	default:
		return true
	}
}

// attend opens the line when there is something to listen for and the control plane was just reached, and closes it when it is dead, or not
// needed any more.
func (a *Agent) attend(ctx context.Context, reached bool) {
	if a.Events == nil {
		return
	}
	e, now, exposed := &a.ear, a.now(), a.exposed()
	switch {
	case e.listens():
		if since := now.Sub(*e.heard.Load()); !exposed || since >= deaf || since < 0 {
			e.close()
		}
	case exposed && reached && !now.Before(e.after):
		if e.done != nil && e.heard.Load().Sub(e.opened) >= useful {
			e.wait = 0
		}
		e.wait = retry(e.wait, leastLine, 0, false, a.Random.Float64())
		e.after = now.Add(leastLine + e.wait)
		a.listen(ctx, now)
	}
}

func (a *Agent) listen(ctx context.Context, now time.Time) {
	e := &a.ear
	done := make(chan struct{})
	ctx, e.close = context.WithCancel(ctx)
	e.opened, e.done = now, done
	e.heard.Store(&now)
	end := e.close
	a.jobs.Go(func() {
		defer close(done)
		defer end()
		err := a.Events(ctx, func(look bool) {
			now := a.now()
			e.heard.Store(&now)
			if look {
				a.wakeUp()
				_ = a.Clock.Sleep(ctx, leastLook)
			}
		})
		a.Log.DebugContext(ctx, "the line to the control plane ended", slog.Any("error", err))
	})
}

// exposed tells whether this host is activating or proving a release.
func (a *Agent) exposed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name := range a.units {
		if p := a.memory.Components[name].Phase; p == install.Activating || p == install.Proving {
			return true
		}
	}
	return false
}
