package admission_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/admission"
)

// herd is a fleet whose hosts all lose the control plane in one moment and find it again, on a virtual clock: the real door and the real desk,
// and agents that pause as they do. They cannot be imported here: the wings meet in api only.
type herd struct {
	hosts   int
	tickets bool          // the agents kept their TLS tickets
	idle    time.Duration // between two check-ins
	limits  admission.Limits
}

// outcome is how it went.
type outcome struct {
	all         time.Duration // until every host had been answered
	peak        int           // check-ins answered within a second
	knocks      int           // most connections within a second
	late        int           // check-ins answered in the last ten minutes that were looked at, each second
	everyoneHad int           // the fewest check-ins of any host in the end
}

func (h herd) String() string { return fmt.Sprintf("%d hosts, tickets %v", h.hosts, h.tickets) }

// A returning agent, in few bytes: there are a million.
type agent struct {
	before float32 // seconds of the last pause; 0: it was answered
	had    uint16
	ticket bool
}

const step = 20 * time.Millisecond

func (h herd) run(until time.Duration) outcome {
	begun := start()
	door := admission.NewDoor(h.limits)
	desk := admission.New(admission.Options{Clock: clock.At(begun), Arrivals: door.Arrivals, Handles: h.limits.Resumed.PerSecond, Joins: admission.Rate{}})
	random := rand.New(rand.NewPCG(1, 2))
	due := make([][]int32, until/step+1)
	put := func(at time.Duration, i int32) {
		if slot := at/step + 1; int(slot) < len(due) {
			due[slot] = append(due[slot], i)
		}
	}
	agents := make([]agent, h.hosts)
	for i := range agents {
		agents[i].ticket = h.tickets
		put(agents[i].retry(h.idle, random.Float64()), int32(i))
	}
	var o outcome
	var answered, knocks [2]int // this second and in the last ten minutes; this second
	in := 0
	for slot := range due {
		at := time.Duration(slot) * step
		now := begun.Add(at)
		if at%(40*time.Millisecond) == 0 {
			desk.Measure(now, 0)
		}
		if at%time.Second == 0 {
			o.peak, o.knocks = max(o.peak, answered[0]), max(o.knocks, knocks[0])
			answered[0], knocks[0] = 0, 0
		}
		for _, i := range due[slot] {
			a := &agents[i]
			knocks[0]++
			if !h.visit(door, desk, a, i, now) {
				put(at+a.retry(h.idle, random.Float64()), i)
				continue
			}
			answered[0]++
			if at > until-10*time.Minute {
				answered[1]++
			}
			if a.had == 0 {
				if in++; in == h.hosts {
					o.all = at
				}
			}
			a.had, a.before, a.ticket = a.had+1, 0, true
			put(at+time.Duration((0.8+0.4*random.Float64())*float64(min(desk.Poll(h.idle), 15*time.Minute))), i)
		}
		due[slot] = nil
	}
	o.late, o.everyoneHad = answered[1]/600, 1<<15
	for _, a := range agents {
		o.everyoneHad = min(o.everyoneHad, int(a.had))
	}
	return o
}

// retry is the agent's pause after it was not answered.
func (a *agent) retry(normal time.Duration, chance float64) time.Duration {
	from, to := time.Duration(0), min(max(normal, time.Second), time.Minute)
	if before := time.Duration(float64(a.before) * float64(time.Second)); before > 0 {
		from, to = to, min(max(3*before, 2*to), 2*time.Minute)
	}
	pause := from + time.Duration(chance*float64(to-from))
	a.before = float32(pause.Seconds())
	return pause
}

// visit connects, checks in, and leaves; false if it was turned away.
func (h herd) visit(door *admission.Door, desk *admission.Desk, a *agent, i int32, now time.Time) bool {
	source := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
	g, why := door.Arrive(source, func() {}, now)
	if why != admission.None {
		return false
	}
	defer door.Leave(g, now)
	if door.Greet(g, a.ticket, now) != admission.None {
		return false
	}
	door.Serve(g, a.ticket, now)
	if desk.Enter(admission.CheckIn, 0) > 0 {
		return false
	}
	desk.Leave()
	return true
}

// A million hosts come back at once to two cores: nobody starves, and the port never does more than it can.
func TestAMillionHostsComeBack(t *testing.T) {
	t.Parallel()
	share := 1 // of the fleet and of the port: with the race detector, which is slow, a tenth of both
	if racing || testing.Short() {
		share = 10
	}
	hosts, scaled := 1_000_000/share, float64(share)
	limits := admission.Limits{
		Connections: 20_000, OfSource: 2_000, Waiting: 5_000,
		Full: admission.Rate{PerSecond: 1_400 / scaled, Burst: 350 / scaled}, Resumed: admission.Rate{PerSecond: 4_000 / scaled, Burst: 1_000 / scaled},
	}
	for _, h := range []herd{
		{hosts: hosts, tickets: true, idle: 10 * time.Minute, limits: limits},
		{hosts: hosts, tickets: false, idle: 10 * time.Minute, limits: limits},
	} {
		t.Run(h.String(), func(t *testing.T) {
			t.Parallel()
			o := h.run(25 * time.Minute)
			rate := limits.Full.PerSecond
			if h.tickets {
				rate = limits.Resumed.PerSecond
			}
			least := time.Duration(float64(hosts) / rate * float64(time.Second))
			t.Logf("%v: all in after %v (%v at full speed), at most %d check-ins/s of %d connections/s, %d check-ins/s in the end, each host at least %d",
				h, o.all.Round(time.Second), least.Round(time.Second), o.peak, o.knocks, o.late, o.everyoneHad)
			if o.all == 0 || o.all > least*3/2+6*time.Minute {
				t.Errorf("got all in after %v, want it within half as long again as %v at full speed, and some tries", o.all, least)
			}
			if most := limits.Full.PerSecond + limits.Resumed.PerSecond; o.peak > int(most) {
				t.Errorf("got %d check-ins in a second, want at most %.0f", o.peak, most)
			}
			if o.everyoneHad < 1 {
				t.Error("got a host that was never answered")
			}
			if o.late < hosts/(15*60)/2 {
				t.Errorf("got %d check-ins a second in the end, want the fleet to come regularly", o.late)
			}
		})
	}
}
