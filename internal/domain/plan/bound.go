package plan

import (
	"fmt"
	"math"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
)

// Bound is what the plan keeps faults within on average, with the arithmetic that leads to it. Call [Plan.Bound] on a plan that was
// checked and defaulted.
//
// A round of leases is known only when it is over. So if the breaker needs n hosts, it may see the last of them at the beginning of a
// round, and rounds grow: by then at most growth x n + start hosts have a lease. That holds for every course of a rollout, whatever
// n turns out to be, so it holds for the mean as well. While a fault harms every host, nothing confirms and nothing grows.
//
// Amber, which slows a rollout down, is not counted on. What is: [Assumed].
type Bound struct {
	Hosts  int64    `json:"hosts"`  // harmed by the worst of the faults that a budget covers
	Site   int64    `json:"site"`   // of them, in any one site of SiteHosts hosts
	Faults []Fault  `json:"faults"` // every fault considered
	Steps  []string `json:"steps"`  // the arithmetic, one sentence for a fault and how it shows
}

// SiteHosts is the size of the site that [Bound.Site] and a site's budget speak of. A site of twice the size can lose twice as many.
const SiteHosts = 100

// Fault is one way in which a release can be bad, and how many hosts it harms.
type Fault struct {
	Name     string `json:"name"`
	Covered  bool   `json:"covered"`  // counts in Bound.Hosts, and so against a budget
	Reported Harm   `json:"reported"` // if harmed hosts, or their guards, report
	Silent   Harm   `json:"silent"`   // if they are never heard of again
}

// Harm is how many hosts a fault harms on average, at most.
type Harm struct {
	Hosts int64  `json:"hosts,omitempty"`
	Open  bool   `json:"open,omitempty"` // the plan does not bound it
	Why   string `json:"why"`            // the arithmetic
}

// effect is the share of the hosts that a fault harms as soon as they activate.
type effect struct {
	share float64
	name  string
}

// covered are the effects that a budget covers; slight ones need so many hosts that only a large fleet sees them.
func covered() []effect {
	return []effect{{1, "every host"}, {0.5, "every second host"}, {0.1, "one host in 10"}}
}

func slight() []effect { return []effect{{0.01, "one host in 100"}, {0.001, "one host in 1,000"}} }

// Bound computes the plan's bound for each kind of fault.
func (p Plan) Bound() Bound {
	b := p.coveredBound(needsOf(covered(), p.Breaker))
	for _, n := range needsOf(slight(), p.Breaker) {
		b.add(p.Window.atOnce(n))
	}
	b.add(p.narrow())
	b.add(p.afterBoot())
	b.Site = p.site(b.Hosts)
	return b
}

// coveredBound is the part of the bound that a budget is compared with.
func (p Plan) coveredBound(needs []needs) Bound {
	var b Bound
	for _, n := range needs {
		f := p.Window.atOnce(n)
		f.Covered = true
		b.add(f)
	}
	b.add(p.late())
	for _, f := range b.Faults {
		b.Hosts = max(b.Hosts, f.Reported.Hosts)
		if p.Budget.By != ByReports {
			b.Hosts = max(b.Hosts, f.Silent.Hosts)
		}
	}
	return b
}

// needs is what the breaker needs for faults of one effect.
type needs struct {
	effect
	reported, silent need
}

func needsOf(effects []effect, p breaker.Params) []needs {
	all := make([]needs, len(effects))
	for i, e := range effects {
		all[i] = needs{effect: e, reported: needOf(reports, e.share, p), silent: needOf(silence, e.share, p)}
	}
	return all
}

// above is the arithmetic of what breaks a budget.
func (b Bound) above(budget Budget) []string {
	var steps []string
	for _, f := range b.Faults {
		if budget.By == ByReports {
			f.Silent = f.Reported
		}
		steps = append(steps, f.steps(budget.Hosts+1)...)
	}
	return steps
}

func (b *Bound) add(f Fault) {
	b.Faults = append(b.Faults, f)
	b.Steps = append(b.Steps, f.steps(0)...)
}

// steps is the arithmetic of those of the fault's two figures that are not below least.
func (f Fault) steps(least int64) []string {
	var steps []string
	if f.Reported == f.Silent {
		if f.Reported.Hosts >= least {
			steps = append(steps, f.Name+": "+f.Reported.Why)
		}
		return steps
	}
	if f.Reported.Hosts >= least {
		steps = append(steps, f.Name+", reported: "+f.Reported.Why)
	}
	if f.Silent.Hosts >= least {
		steps = append(steps, f.Name+", silent: "+f.Silent.Why)
	}
	return steps
}

// atOnce bounds a fault that shows as soon as a host activates.
func (w Window) atOnce(n needs) Fault {
	return Fault{Name: n.name + " at once", Reported: w.harm(n.reported), Silent: w.harm(n.silent)}
}

// leased tells how many hosts have a lease on average when the breaker trips, at most.
func (w Window) leased(n need) float64 {
	if n.effect >= 1 {
		return n.still(w.Start)
	}
	return min(w.Growth*n.mean+float64(w.Start), n.mean+float64(w.Max))
}

// harms is how many hosts a fault harms on average until the breaker trips, at most.
func (w Window) harms(n need) int64 { return up(n.effect * w.leased(n)) }

// harm is the same with its arithmetic.
func (w Window) harm(n need) Harm {
	if math.IsInf(n.mean, 1) {
		return Harm{Open: true, Why: fmt.Sprintf("the breaker needs more than %d hosts: what the rings let through, x %g", largest, n.effect)}
	}
	hosts, needs := w.harms(n), decimal(n.mean)
	if n.effect >= 1 {
		return Harm{Hosts: hosts, Why: fmt.Sprintf("the breaker needs %s hosts, nothing confirms, so rounds stay at %d: %d harmed", needs, w.Start, hosts)}
	}
	sum := fmt.Sprintf("%g x %s + %d", w.Growth, needs, w.Start)
	if float64(w.Max) < w.leased(n)-n.mean+rounding {
		sum = fmt.Sprintf("%s + %d", needs, w.Max)
	}
	return Harm{Hosts: hosts, Why: fmt.Sprintf("the breaker needs %s hosts; %s leased by then, x %g = %d harmed", needs, sum, n.effect, hosts)}
}

// still is how many hosts are leased on average until the breaker trips, in rounds that do not grow. Smaller rounds may fit worse; the worst
// of them counts, so that a smaller window never looks worse than a larger one.
func (n need) still(start int64) float64 {
	worst := float64(start)
	for size := int64(1); size <= min(start, smooth); size++ {
		leased := 0.0
		for done := int64(0); n.after(done) > enough; done += size {
			leased += float64(size) * n.after(done)
		}
		worst = max(worst, leased)
	}
	return worst
}

// stratumShare is the share of the fleet that a narrow fault harms, and strata how many such slices there are.
const (
	stratumShare = 0.001
	strata       = 1000
)

// narrow bounds a fault that harms every host of one stratum in a thousand. As soon as the stratum's own tests are at amber, it gets two
// hosts at a time.
func (p Plan) narrow() Fault {
	count := func(s signal) Harm {
		amber := least(1, strata, func(n int64) bool {
			slice := sliceOf(s, n, p.Breaker)
			return slice.Suspicion(p.Breaker) >= p.Breaker.Amber
		})
		trip := least(amber, strata, func(n int64) bool { return tripsOnSlice(sliceOf(s, n, p.Breaker), p.Breaker) })
		first := p.Window.Growth*float64(amber) + stratumShare*float64(p.Window.Start)
		hosts := up(first + float64(trip-amber+1))
		return Harm{Hosts: hosts, Why: fmt.Sprintf("it is suspicious after %s, %g x %d leased by then; from there on two at a time until %d are known: %d harmed",
			hostsText(amber), p.Window.Growth, amber, trip, hosts)}
	}
	return Fault{Name: "every host of one stratum in 1,000", Reported: count(reports), Silent: count(silence)}
}

// tripsOnSlice asks the breaker about a stratum that was the last of all to appear.
func tripsOnSlice(slice breaker.Slice, p breaker.Params) bool {
	var rest breaker.State
	last := func(yield func(int, *breaker.Slice) bool) { yield(strata-1, &slice) }
	return rest.Weigh(p, last, strata).E >= p.Trip()
}

// sliceOf is a stratum of laptops that has lost every one of so many hosts.
func sliceOf(s signal, hosts int64, p breaker.Params) breaker.Slice {
	var slice breaker.Slice
	if s == reports {
		slice.Crashes = breaker.OneArm{Booked: hosts, Bad: hosts}
	} else {
		slice.Silence.Compare(breaker.Arm{Watched: hosts, Showed: hosts}, beside(hosts, laptopSilence), p.Silence)
	}
	return slice
}

// late bounds a fault that shows in the bake of the first ring, on hosts that were confirmed.
func (p Plan) late() Fault {
	first := p.Rings[0]
	hosts := p.firstRing()
	why := fmt.Sprintf("all %d hosts of ring %s", hosts, first.Name)
	if seats := hosts - first.Hosts; seats > 0 {
		why = fmt.Sprintf("all %d hosts of ring %s, and up to %d seats for strata that it has yet to see: %d harmed",
			first.Hosts, first.Name, seats, hosts)
	}
	h := Harm{Hosts: hosts, Why: why}
	name := fmt.Sprintf("a fault that shows within the bake (%s)", exact(time.Duration(first.Evidence.Bake)))
	return Fault{Name: name, Covered: true, Reported: h, Silent: h}
}

// firstRing is how many hosts the first ring may expose, with the seats for strata that it has yet to see.
func (p Plan) firstRing() int64 {
	hosts := p.Rings[0].Hosts
	if share := p.Rings[0].Evidence.Strata; share > 0 {
		hosts += int64(min(1/share+rounding, MaxHosts))
	}
	return hosts
}

// afterBoot bounds a fault that shows only when a host boots: a ring that asks for boots does not let it pass.
func (p Plan) afterBoot() Fault {
	f := Fault{Name: "a fault that shows only after a boot"}
	sum := p.firstRing() - p.Rings[0].Hosts
	for _, r := range p.Rings {
		if r.Share > 0 {
			break
		}
		sum += r.Hosts
		if r.Evidence.Boots > 0 {
			f.Reported = Harm{Hosts: sum, Why: fmt.Sprintf("ring %s asks for %d boots: at most the %d hosts up to it", r.Name, r.Evidence.Boots, sum)}
			f.Silent = f.Reported
			return f
		}
	}
	f.Reported = Harm{Open: true, Why: "no ring counted in hosts asks for boots, so hosts that boot before the breaker trips are not bounded"}
	f.Silent = f.Reported
	return f
}

// site is how many of the harmed hosts can be in any one site of SiteHosts hosts.
func (p Plan) site(hosts int64) int64 {
	if p.Caps.Site == 0 {
		return hosts
	}
	return min(hosts, max(1, int64(p.Caps.Site*SiteHosts+rounding)))
}

func up(hosts float64) int64 { return int64(math.Ceil(hosts - rounding)) }

// decimal writes a mean with one digit after the point while that says something.
func decimal(n float64) string {
	if n < 100 {
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.0f", n)
}
