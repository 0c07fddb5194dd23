package admission_test

import (
	"context"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/admission"
)

func start() time.Time { return time.Date(2024, time.July, 19, 4, 9, 0, 0, time.UTC) }

func TestBucketKeepsItsRate(t *testing.T) {
	t.Parallel()
	b, now, got := admission.Bucket{Rate: admission.Rate{PerSecond: 10, Burst: 5}}, start(), 0
	for range 10_000 { // ten seconds
		now = now.Add(time.Millisecond)
		if b.Take(1, now) {
			got++
		}
	}
	if got < 104 || got > 105 {
		t.Errorf("got %d in ten seconds, want 10 a second and a burst of 5", got)
	}
	b.Owe(1000, now)
	if b.Take(1, now.Add(500*time.Millisecond)) || !b.Take(1, now.Add(600*time.Millisecond)) {
		t.Error("got a debt of more, or of less, than one burst")
	}
	if b.Take(1, now.Add(-time.Hour)) {
		t.Error("got something for a clock that was set back")
	}
}

// What is shed first is what costs least: a check-in that says nothing. What is not on the list is never shed.
func TestWhatIsShedFirst(t *testing.T) {
	t.Parallel()
	order := []admission.Kind{admission.CheckIn, admission.Download, admission.Join, admission.Report}
	shed := func(pressure float64) (n int) {
		for i, k := range order {
			if admission.Sheds(k, pressure) {
				if n++; n != i+1 {
					t.Errorf("at pressure %v: got %s shed before what comes earlier", pressure, k)
				}
			}
		}
		return n
	}
	for n, pressure := range []float64{0.99, 1, 1.25, 1.5, 2} {
		if got := shed(pressure); got != n {
			t.Errorf("at pressure %v: got %d kinds shed, want %d", pressure, got, n)
		}
	}
	if admission.Sheds("halt", math.MaxFloat64) {
		t.Error("got a halt shed")
	}
}

func TestPausesGrowWithPressure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ pressure, want float64 }{{0, 1}, {0.5, 1}, {1, 2}, {2, 4}, {100, 8}} {
		if got := admission.Stretch(c.pressure); got != c.want {
			t.Errorf("at pressure %v: got %v, want %v", c.pressure, got, c.want)
		}
	}
	if early, late := admission.Retry(1, 0), admission.Retry(1, 0.999); early < time.Second || late < 2*early || admission.Retry(1e9, 1) > 90*time.Second {
		t.Errorf("got %v to %v, want a spread of as much again or more, and never more than 90 s", early, late)
	}
}

func desk(o admission.Options) *admission.Desk {
	if o.Clock == nil {
		o.Clock = clock.At(start())
	}
	return admission.New(o)
}

func TestInFlightSheds(t *testing.T) {
	t.Parallel()
	var shed []admission.Kind
	d := desk(admission.Options{Most: admission.Load{InFlight: 4}, Count: func(k admission.Kind) { shed = append(shed, k) }})
	for range 4 {
		if d.Enter(admission.CheckIn, 0) > 0 {
			t.Fatal("got one of four turned away")
		}
	}
	if d.Enter(admission.CheckIn, 0) == 0 || d.Enter(admission.Report, 0) > 0 || len(shed) != 1 || shed[0] != admission.CheckIn {
		t.Errorf("got %v shed, want the fifth check-in and no report", shed)
	}
	if !d.Deaf() || d.Poll(time.Minute) <= 2*time.Minute {
		t.Errorf("got poll %v, deaf %v, want more than twice the pause", d.Poll(time.Minute), d.Deaf())
	}
	for range 5 {
		d.Leave()
	}
	if d.Enter(admission.CheckIn, 0) > 0 || d.Poll(time.Minute) != time.Minute {
		t.Error("got one turned away after all had left")
	}
}

// Pressure that was measured goes slowly, so that what sheds does not flap.
func TestLatenessIsRemembered(t *testing.T) {
	t.Parallel()
	queue := 0
	d := desk(admission.Options{Most: admission.Load{Delay: 100 * time.Millisecond}, Queue: func() (int, int) { return queue, 100 }})
	d.Measure(start(), 150*time.Millisecond)
	d.Measure(start(), 0)
	if got := d.Pressure(); got < 1.1 || got > 1.3 {
		t.Errorf("got pressure %v just after, want most of 1.5", got)
	}
	for range 40 {
		d.Measure(start(), time.Hour)
	}
	if got := d.Pressure(); got > 4 {
		t.Errorf("got pressure %v of a clock that jumped, want it bounded", got)
	}
	for range 40 {
		d.Measure(start(), 0)
	}
	if got := d.Pressure(); got > 0.01 {
		t.Errorf("got pressure %v after two quiet seconds, want none", got)
	}
	queue = 200
	d.Measure(start(), 0)
	if got := d.Pressure(); got != 2 {
		t.Errorf("got pressure %v of a queue twice as long as good, want 2", got)
	}
}

func TestRunMeasures(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	d := desk(admission.Options{Queue: func() (int, int) {
		if looks++; looks == 3 {
			cancel()
		}
		return 1, 2
	}})
	if err := d.Run(ctx); err != nil || d.Pressure() != 0.5 {
		t.Errorf("got %v and pressure %v, want 0.5", err, d.Pressure())
	}
}

// One endpoint holds up nobody else, however many downloads it begins.
func TestDownloadsOfOne(t *testing.T) {
	t.Parallel()
	d := desk(admission.Options{Downloads: 5, OfOne: 2})
	for i, want := range []bool{true, true, false} {
		if got := d.Fetch("ep-greedy", 0) == 0; got != want {
			t.Errorf("download %d of one: got let in %v, want %v", i, got, want)
		}
	}
	if d.Fetch("ep-other", 0) > 0 {
		t.Error("got another endpoint turned away")
	}
	d.Fetched("ep-greedy")
	if d.Fetch("ep-greedy", 0) > 0 || d.Fetch("ep-a", 0) > 0 || d.Fetch("ep-b", 0) > 0 || d.Fetch("ep-c", 0) == 0 {
		t.Error("got more or fewer than five in all")
	}
}

func TestJoinsHaveARate(t *testing.T) {
	t.Parallel()
	now := clock.At(start())
	d := desk(admission.Options{Joins: admission.Rate{PerSecond: 1, Burst: 2}, Clock: now})
	got := 0
	for range 10 {
		if d.Enter(admission.Join, 0) == 0 {
			got++
		}
	}
	now.Move(time.Second)
	if got != 2 || d.Enter(admission.Join, 0) > 0 || d.Enter(admission.Join, 0) == 0 {
		t.Errorf("got %d at once, want a burst of 2, then one a second", got)
	}
}

func TestLargeBodiesAreFew(t *testing.T) {
	t.Parallel()
	d := desk(admission.Options{Large: 1})
	if !d.Hold() || d.Hold() {
		t.Error("got other than one at a time")
	}
	d.Release()
	if !d.Hold() {
		t.Error("got none after it was released")
	}
}

func door() *admission.Door {
	return admission.NewDoor(admission.Limits{
		Connections: 6, OfSource: 4, Waiting: 3, Full: admission.Rate{PerSecond: 1, Burst: 4}, Resumed: admission.Rate{PerSecond: 1, Burst: 8},
	})
}

func from(text string) netip.Addr { return netip.MustParseAddr(text) }

func TestDoorBoundsConnections(t *testing.T) {
	t.Parallel()
	d := door()
	arrive := func(a string, want admission.Reason) *admission.Guest {
		t.Helper()
		g, why := d.Arrive(from(a), func() {}, start())
		if why != want {
			t.Errorf("from %s: got %q, want %q", a, why, want)
		}
		return g
	}
	first := arrive("2001:db8::1", admission.None)
	for _, a := range []string{"2001:db8::2", "2001:db8::ffff:1", "2001:db8::3"} {
		arrive(a, admission.None)
	}
	arrive("2001:db8::4", admission.TooManyHere) // the same network
	arrive("10.0.0.1", admission.None)
	arrive("::ffff:10.0.0.1", admission.None)
	arrive("10.0.0.2", admission.TooMany)
	d.Leave(first, start())
	d.Leave(first, start()) // counts once
	arrive("10.0.0.2", admission.None)
	arrive("10.0.0.3", admission.TooMany)
}

// When too many say nothing, the one goes that has said nothing for longest: not the one that just came.
func TestTheLongestWaitIsCutOff(t *testing.T) {
	t.Parallel()
	d := door()
	var cut []int
	var guests []*admission.Guest
	for i := range 5 {
		g, why := d.Arrive(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), func() { cut = append(cut, i) }, start())
		if why != admission.None {
			t.Fatal(why)
		}
		if i == 0 {
			d.Serve(g, false, start()) // it sent a request: it is not cut off
		}
		guests = append(guests, g)
	}
	if len(cut) != 1 || cut[0] != 1 {
		t.Errorf("got %v cut off, want the second", cut)
	}
	for _, g := range guests {
		d.Leave(g, start())
	}
	if open, waiting := d.Open(); open != 0 || waiting != 0 {
		t.Errorf("got %d open, %d waiting after all left", open, waiting)
	}
}

// Hosts with a ticket and hosts without do not take each other's turn, and a ticket that is none is paid for.
func TestHandshakesArePaced(t *testing.T) {
	t.Parallel()
	d := door()
	greet := func(resumes bool) (good int) {
		for i := range 20 {
			g, why := d.Arrive(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), func() {}, start())
			if why == admission.None && d.Greet(g, resumes, start()) == admission.None {
				d.Serve(g, resumes, start())
				good++
			}
			if g != nil {
				d.Leave(g, start())
			}
		}
		return good
	}
	if got := greet(false); got != 4 {
		t.Errorf("got %d full handshakes at once, want 4", got)
	}
	if got := greet(true); got != 8 {
		t.Errorf("got %d handshakes with a ticket at once, want 8", got)
	}
	if _, why := d.Arrive(from("10.0.0.1"), func() {}, start()); why != admission.TooFast {
		t.Errorf("got %q with nothing left, want it turned away before it says a word", why)
	}
	for _, liar := range []func(*admission.Guest, time.Time){
		func(g *admission.Guest, now time.Time) { d.Serve(g, false, now); d.Leave(g, now) }, // the ticket was not good
		func(g *admission.Guest, now time.Time) { d.Leave(g, now) },                         // it never came to a request
	} {
		now := start().Add(time.Hour)
		d = door()
		for range 4 {
			g, _ := d.Arrive(from("10.0.0.1"), func() {}, now)
			d.Greet(g, true, now)
			liar(g, now)
		}
		g, _ := d.Arrive(from("10.0.0.1"), func() {}, now)
		if d.Greet(g, false, now) != admission.TooFast {
			t.Error("got a full handshake after four that pretended to be cheap, want them paid for")
		}
	}
}

func TestArrivalsAreCounted(t *testing.T) {
	t.Parallel()
	d, now := door(), start()
	for range 1000 { // ten seconds, 100 a second
		now = now.Add(10 * time.Millisecond)
		d.Arrive(from("10.0.0.1"), func() {}, now)
	}
	if got := d.Arrivals(now); got < 90 || got > 110 {
		t.Errorf("got %.0f a second, want about 100", got)
	}
	if got := d.Arrivals(now.Add(time.Minute)); got > 0.01 {
		t.Errorf("got %.2f a second a minute later, want none", got)
	}
}
