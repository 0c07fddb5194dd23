package agent

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
)

const (
	fleetSize = 1_000_000
	pollEvery = 30 * time.Second
	perSecond = fleetSize / 30 // of a fleet that polls in good times
)

// outage lets a fleet come while the control plane is away for some seconds, and after it, each agent once. It returns how many come in each
// second: of all attempts while it is away, and of those that get through from then on.
func outage(first func() float64, away float64, random *rand.Rand) (turnedAway, through []int) {
	turnedAway, through = make([]int, int(away)+1), make([]int, int(mostBackoff.Seconds())+1)
	for range fleetSize {
		at, paused := first(), time.Duration(0)
		for ; at < away; at += paused.Seconds() {
			turnedAway[int(at)]++
			paused = retry(paused, pollEvery, 0, false, random.Float64())
		}
		through[int(at-away)]++
	}
	return turnedAway, through
}

// A million agents that were all turned away at one moment come back no faster than they come in good times; those that met the outage one by
// one, each at its time, never twice as fast, and after a short one or a long one hardly faster.
func TestAMillionAgentsDoNotComeAtOnce(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	oneByOne := func() float64 { return random.Float64() * pollEvery.Seconds() }
	together := func() float64 { return 0 }
	for _, c := range []struct {
		name   string
		away   float64 // seconds
		first  func() float64
		factor float64 // of the arrivals in good times
	}{
		{"a restart", 3, oneByOne, 1.15},
		{"twenty seconds", 20, oneByOne, 2},
		{"half a minute", 30, oneByOne, 2},
		{"a minute", 60, oneByOne, 2},
		{"an hour", 3600, oneByOne, 2},
		{"all at one moment", 0.5, together, 1.03},
		{"all at one moment, for a minute", 60, together, 1.03},
		{"all at one moment, for ten minutes", 600, together, 1.03},
	} {
		turnedAway, through := outage(c.first, c.away, random)
		if c.first() == 0 {
			turnedAway = turnedAway[1:] // but for the moment itself
		}
		tried, back := slices.Max(append(turnedAway, 0)), slices.Max(through)
		t.Logf("%s: at most %d a second try and %d come back; in good times come %d", c.name, tried, back, perSecond)
		if got := float64(max(tried, back)) / perSecond; got > c.factor {
			t.Errorf("%s: got %.2f times the arrivals of good times, want at most %.2f", c.name, got, c.factor)
		}
		if back := float64(back) / perSecond; c.away >= 30 && back > 1.03 {
			t.Errorf("%s: got %.2f times the arrivals of good times when it ends, want no more than in good times", c.name, back)
		}
	}
}

// All who are turned away at one moment come back flat over the time between two polls.
func TestFirstRetriesAreFlat(t *testing.T) {
	t.Parallel()
	_, through := outage(func() float64 { return 0 }, 1e-6, rand.New(rand.NewPCG(3, 4)))
	least, most := math.MaxInt, 0
	for _, n := range through[:30] {
		least, most = min(least, n), max(most, n)
	}
	if float64(most) > 1.05*float64(least) || through[30] > 0 {
		t.Errorf("got %d to %d a second, want the same number in each of 30", least, most)
	}
}

func TestRetry(t *testing.T) {
	t.Parallel()
	const most = 1 - 1e-9
	for _, c := range []struct {
		name                  string
		before, normal, asked time.Duration
		urgent                bool
		chance                float64
		want                  time.Duration
	}{
		{"the first may come at once", 0, 30 * time.Second, 0, false, 0, 0},
		{"within the time of a poll", 0, 30 * time.Second, 0, false, most, 30 * time.Second},
		{"never so short that it hammers", 0, 0, 0, false, most, leastBackoff},
		{"the second is no sooner than a poll", time.Second, 30 * time.Second, 0, false, 0, 30 * time.Second},
		{"and within twice its time", time.Second, 30 * time.Second, 0, false, most, time.Minute},
		{"or three times the pause before", 25 * time.Second, 30 * time.Second, 0, false, most, 75 * time.Second},
		{"within the limit", time.Hour, 30 * time.Second, 0, false, most, mostBackoff},
		{"however rarely it polls", 0, 15 * time.Minute, 0, false, most, mostBackoff / 2},
		{"and spread then too", time.Hour, 15 * time.Minute, 0, false, 0, mostBackoff / 2},
		{"harm comes soon", time.Minute, 30 * time.Second, 0, true, most, tellBackoff},
		{"asked to stay away", 0, 2 * time.Second, 20 * time.Second, false, 0, 20 * time.Second},
		{"and for up to as much again", 0, 2 * time.Second, 20 * time.Second, false, most, 40 * time.Second},
		{"spread though asked for little", 0, 30 * time.Second, time.Second, false, most, 31 * time.Second},
		{"asked later on", 10 * time.Second, 30 * time.Second, 20 * time.Second, false, 0, 50 * time.Second},
		{"asked for ever", 0, time.Second, math.MaxInt64, false, most, 2 * mostAsked},
		{"asked for nonsense", 0, time.Second, -time.Hour, false, most, time.Second},
	} {
		got := retry(c.before, c.normal, c.asked, c.urgent, c.chance)
		if d := got - c.want; d < -time.Microsecond || d > time.Microsecond {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// No control plane makes an agent spin or sleep for ever.
func TestPollIsBounded(t *testing.T) {
	t.Parallel()
	for millis, want := range map[int64]time.Duration{
		0: leastPoll, -1: leastPoll, math.MinInt64: leastPoll, 1: leastPoll, 30_000: 30 * time.Second, 86_400_000: mostPoll,
		math.MaxInt64: mostPoll, math.MaxInt64 / 1000: mostPoll,
	} {
		if got := bounded(millis, leastPoll); got != want {
			t.Errorf("asked for %d ms: got %s, want %s", millis, got, want)
		}
	}
}

// naps notes how long the agent rests between its check-ins, and ends it after some.
type naps struct {
	clock.Clock
	mu   sync.Mutex
	all  []time.Duration
	most int
	end  context.CancelFunc
}

func (n *naps) Sleep(ctx context.Context, d time.Duration) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.all) < n.most { // then come those of the end
		n.all = append(n.all, d)
	}
	if len(n.all) == n.most {
		n.end()
	}
	return n.Clock.Sleep(ctx, d)
}

type later struct{ after time.Duration }

func (later) Error() string               { return "later" }
func (l later) RetryAfter() time.Duration { return l.after }

// The loop stays away for as long as it was asked to.
func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	a := newAgent(t, &paper{})
	ctx, cancel := context.WithCancel(t.Context())
	rests := &naps{Clock: a.Clock, most: 5, end: cancel}
	a.Clock, a.Random = rests, rand.New(rand.NewPCG(5, 6))
	a.KeepIdentity = func(context.Context, time.Time) (bool, error) { return false, nil }
	a.Uplink = &listener{err: fmt.Errorf("check in: %w", errors.Join(later{40 * time.Second}))}
	a.poll(ctx)
	a.jobs.Wait()
	if len(rests.all) != rests.most {
		t.Fatalf("got pauses %s, want %d", rests.all, rests.most)
	}
	for _, d := range rests.all {
		if d < 40*time.Second || d > 40*time.Second+mostBackoff {
			t.Errorf("asked to stay away for 40 s: got a pause of %s", d)
		}
	}
}
