package plan

import (
	"math"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
)

// What a bound assumes of the fleet. It is told to whoever reads one ([Assumed]).
const (
	watched       = 2000 // controls of each class in one comparison
	comparisons   = 4    // while the exposed hosts double in number
	servers       = 0.4  // share of the fleet that is always on
	serverSilence = 1e-3 // share of it that falls silent within a watch, for no reason
	laptopSilence = 2e-2 // of the rest
)

// Assumed is what a bound takes for granted, in one sentence.
const Assumed = "Silence is judged beside 2,000 controls of each class; 40 % of the hosts are always on (0.1 % of them fall silent for no reason), " +
	"the rest laptops (2 %). Reported harm is judged beside as many reports as the ceiling allows."

// signal is how a fault shows.
type signal int

const (
	reports signal = iota // the harmed hosts, or their guards, report
	silence               // they are never heard of again
)

// need is how many hosts the breaker must see before it trips on a fault.
type need struct {
	effect float64
	mean   float64 // infinite if no fleet is large enough
	steps  []step
}

// step says with which chance so many hosts are not enough.
type step struct {
	hosts int64
	left  float64
}

// after is the chance that the breaker has not tripped after so many hosts; between two steps it is that of the fewer.
func (n need) after(hosts int64) float64 {
	left := 1.0
	for _, s := range n.steps {
		if s.hosts > hosts {
			break
		}
		left = s.left
	}
	return left
}

const (
	enough  = 1e-6    // a chance that nobody needs to follow further
	smooth  = 12      // up to so many hosts each number is looked at; from there on every third part more
	beyond  = 1.33    // as a factor
	few     = 200     // up to so many both classes are counted; from there on servers are, and laptops taken at their mean
	largest = 1 << 23 // hosts; a breaker that needs more does not save any fleet
)

// needOf follows a fault until the breaker trips on it. The breaker's own arithmetic is asked; the harmed hosts are drawn, on top of those
// that show the signal for no reason.
func needOf(s signal, effect float64, p breaker.Params) need {
	n := need{effect: effect, steps: []step{{0, 1}}}
	if missed := (&follower{signal: s, effect: effect, params: p}).missed(largest); missed > enough {
		n.mean = math.Inf(1)
		return n
	}
	f := follower{signal: s, effect: effect, params: p}
	last := n.steps[0]
	for hosts := int64(1); last.left > enough && last.hosts < largest; hosts = next(hosts) {
		n.mean += last.left * float64(hosts-last.hosts)
		last = step{hosts, min(last.left, f.missed(hosts))}
		n.steps = append(n.steps, last)
	}
	return n
}

// follower asks about more and more hosts, which need no fewer harmed ones.
type follower struct {
	signal signal
	effect float64
	params breaker.Params

	bad, laptops, silent int64 // that tripped it among the hosts asked about last
}

// missed is the chance that the breaker has not tripped on so many hosts.
func (f *follower) missed(hosts int64) float64 {
	switch {
	case f.signal == reports:
		f.bad = least(f.bad, hosts, func(n int64) bool { return tripsOnReports(hosts, n, f.params) })
		return below(f.bad, hosts, with(f.effect, f.params.Ceiling))
	case hosts <= few:
		f.laptops = least(f.laptops, hosts, func(n int64) bool { return tripsOnSilence(hosts, 0, n, f.params) })
		return unseen(hosts, f.laptops, f.effect, f.params)
	}
	own := share(servers, hosts)
	others := int64(float64(hosts-own) * with(f.effect, laptopSilence))
	f.silent = least(f.silent, own, func(n int64) bool { return tripsOnSilence(hosts, n, others, f.params) })
	return below(f.silent, own, with(f.effect, serverSilence))
}

func next(hosts int64) int64 {
	if hosts < smooth {
		return hosts + 1
	}
	return int64(math.Ceil(float64(hosts) * beyond))
}

// with is the share that shows a signal: that of the fault on top of that for no reason.
func with(effect, baseline float64) float64 { return baseline + effect*(1-baseline) }

func share(s float64, hosts int64) int64 { return int64(math.Round(s * float64(hosts))) }

// unseen is the chance that silence does not trip the breaker after a few hosts, of which so many silent laptops alone do. How many of the
// hosts are servers is drawn as well.
func unseen(hosts, laptops int64, effect float64, p breaker.Params) float64 {
	server, laptop := servers*with(effect, serverSilence), (1-servers)*with(effect, laptopSilence)
	sum := 0.0
	for s := int64(0); s <= hosts; s++ {
		laptops = min(laptops, hosts-s+1)
		for laptops > 0 && tripsOnSilence(hosts, s, laptops-1, p) {
			laptops--
		}
		if laptops == 0 {
			break
		}
		sum += chance(s, hosts, server) * below(laptops, hosts-s, laptop/(1-server))
	}
	return min(sum, 1)
}

func tripsOnReports(hosts, bad int64, p breaker.Params) bool {
	s := breaker.State{Crashes: breaker.OneArm{Booked: hosts, Bad: bad}}
	return s.Weigh(p, noSlices, 0).E >= p.Trip()
}

// tripsOnSilence asks the breaker about silent servers and laptops among so many exposed hosts, all compared at once.
func tripsOnSilence(hosts, server, laptop int64, p breaker.Params) bool {
	own := min(max(share(servers, hosts), server), hosts-laptop)
	var s breaker.State
	s.Compare(breaker.Silence, "laptop", breaker.Arm{Watched: hosts - own, Showed: laptop}, beside(hosts-own, laptopSilence), p)
	s.Compare(breaker.Silence, "server", breaker.Arm{Watched: own, Showed: server}, beside(own, serverSilence), p)
	return s.Weigh(p, noSlices, 0).E >= p.Trip()
}

// beside is the control arm of so many exposed hosts of a class, with a few more silent ones than expected. Many hosts are not exposed at
// once; the arm is then as large as makes one comparison worth as much as all of them.
func beside(exposed int64, baseline float64) breaker.Arm {
	controls := float64(watched)
	if n := float64(exposed); n > few {
		worth, rest := 0.0, n
		for ; rest > 1; rest /= 2 {
			each := rest / 2 / comparisons
			worth += comparisons * each * watched / (each + watched)
		}
		controls = max(controls, n*worth/(n-worth))
	}
	expected := controls * baseline
	return breaker.Arm{Watched: int64(controls), Showed: int64(math.Ceil(expected + math.Sqrt(expected)))}
}

func noSlices(func(int, *breaker.Slice) bool) {}

// least is the smallest number from `from` up to most for which ok holds, most+1 if none does. It must hold for all larger ones too.
func least(from, most int64, ok func(int64) bool) int64 {
	high, by := from, int64(1)
	for high <= most && !ok(high) {
		from, high, by = high+1, high+by, by*2
	}
	high = min(high, most+1)
	for from < high {
		if mid := (from + high) / 2; ok(mid) {
			high = mid
		} else {
			from = mid + 1
		}
	}
	return high
}

// chance is the chance of exactly k of n when each comes with chance q.
func chance(k, n int64, q float64) float64 {
	switch {
	case k < 0 || k > n:
		return 0
	case q <= 0 || q >= 1:
		if (q <= 0) == (k == 0) && (q < 1 || k == n) {
			return 1
		}
		return 0
	}
	return math.Exp(lnChoose(n, k) + float64(k)*math.Log(q) + float64(n-k)*math.Log1p(-q))
}

// below is the chance of fewer than k of n when each comes with chance q. It adds up the smaller tail, which shrinks fast from k.
func below(k, n int64, q float64) float64 {
	const negligible = 1e-15
	odds := q / (1 - q)
	sum := 0.0
	if float64(k) <= q*float64(n) {
		for i, term := k-1, chance(k-1, n, q); i >= 0 && term > sum*negligible; i-- {
			sum += term
			term *= float64(i) / (float64(n-i+1) * odds)
		}
		return min(sum, 1)
	}
	for i, term := k, chance(k, n, q); i <= n && term > sum*negligible; i++ {
		sum += term
		term *= float64(n-i) * odds / float64(i+1)
	}
	return max(0, 1-sum)
}

func lnChoose(n, k int64) float64 {
	a, _ := math.Lgamma(float64(n) + 1)
	b, _ := math.Lgamma(float64(k) + 1)
	c, _ := math.Lgamma(float64(n-k) + 1)
	return a - b - c
}
