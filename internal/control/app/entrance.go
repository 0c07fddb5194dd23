package app

import (
	"context"
	"crypto/tls"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/admission"
	"github.com/firebreak-dev/firebreak/internal/control/ca"
	"github.com/firebreak-dev/firebreak/internal/control/metrics"
)

// What the agent port takes on. Memory bounds connections, of which each costs some 40 kB; processors bound handshakes.
const (
	connections   = 30_000
	ofSource      = 10_000 // many hosts may be behind one address, but one address is not to have all places
	waiting       = 5_000  // that have not sent a request yet
	fullEach      = 700    // handshakes a second for each processor: 0.5 ms each, and time for the rest
	resumedEach   = 2_000
	burst         = 0.25 // of a second's handshakes, at once
	inFlight      = 2_048
	lateness      = time.Second // of the process: beyond, it has more to do than it can
	joinsASecond  = 200
	joinsAtOnce   = 1_000
	downloads     = 2_000
	downloadsEach = 8   // for one endpoint
	largeBodies   = 256 // of up to 256 kB
	lookAtLoad    = time.Second
)

// openEntrance makes what decides who is let in at the agent port.
func (a *App) openEntrance() {
	cores := float64(runtime.GOMAXPROCS(0))
	rate := func(each float64) admission.Rate {
		return admission.Rate{PerSecond: each * cores, Burst: max(each*cores*burst, 100)}
	}
	places := min(connections, openFiles()*3/4) // the rest is for operators, the database and files
	a.door = admission.NewDoor(admission.Limits{
		Connections: places, OfSource: min(ofSource, places*3/4), Waiting: min(waiting, places/4), Full: rate(fullEach), Resumed: rate(resumedEach),
	})
	a.entrance = admission.New(admission.Options{
		Most: admission.Load{InFlight: inFlight, Delay: lateness}, Joins: admission.Rate{PerSecond: joinsASecond, Burst: joinsAtOnce},
		Downloads: downloads, OfOne: downloadsEach, Large: largeBodies, Queue: a.store.Waiting, Arrivals: a.door.Arrivals, Handles: resumedEach * cores,
		Count: func(k admission.Kind) { a.metrics.Shed(metrics.Kind(k)) }, Clock: a.Clock,
	})
}

// turned counts whoever was turned away at the door.
func (a *App) turned(admission.Reason) { a.metrics.Shed(metrics.Connection) }

// mindLoad gives the fleet more time while hosts are turned away or asked to come seldom: their silence is not theirs.
func (a *App) mindLoad(ctx context.Context) error {
	overloaded := false
	for before := a.Clock.Now(); a.Clock.Sleep(ctx, lookAtLoad) == nil; {
		now := a.Clock.Now()
		deaf := a.entrance.Deaf()
		if deaf {
			a.replica.Deaf(now.Sub(before))
		}
		if deaf != overloaded {
			a.Log.WarnContext(ctx, "load of the agent port", slog.Bool("overloaded", deaf), slog.Float64("pressure", a.entrance.Pressure()))
		}
		overloaded, before = deaf, now
	}
	return nil
}

// ticketKeys keeps the keys of TLS session tickets those of the day.
type ticketKeys struct {
	ca  *ca.CA
	day atomic.Int64
}

// renew sets the keys if there is a new day. Whoever comes second at that moment may still use those of the day before.
func (k *ticketKeys) renew(config *tls.Config, now time.Time) {
	day := now.Unix() / int64(24*time.Hour/time.Second)
	if before := k.day.Load(); before != day && k.day.CompareAndSwap(before, day) {
		if keys := k.ca.TicketKeys(now); len(keys) > 0 {
			config.SetSessionTicketKeys(keys)
		}
	}
}
