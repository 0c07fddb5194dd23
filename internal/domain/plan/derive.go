package plan

import (
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Wish is what a plan is derived from.
type Wish struct {
	Name   string        // of the plan
	Hosts  int64         // in the fleet
	Budget Budget        // harm that is accepted; Hosts must be set
	Within time.Duration // in which a good update must be done; 0 for no limit
}

// Derive makes the fastest plan that keeps the budget: start and growth of the window such that the bound is within it, rings four to
// ten times apart that end where rounds end, and bakes. The reasons say, one sentence each, why the plan is as it is. A budget that no
// plan keeps, or none within the time, is an error that names the smallest that one does.
func Derive(w Wish) (Plan, []string, error) {
	if problems := w.check(); len(problems) > 0 {
		return Plan{}, nil, fault.Problems("derive a plan", problems)
	}
	d := deriver{Wish: w, needs: needsOf(covered(), breaker.Params{}.Defaulted())}
	p, ok := d.fastest(w.Budget.Hosts)
	if !ok {
		return Plan{}, nil, d.impossible()
	}
	return p, d.reasons(p), nil
}

// check lists what is wrong with the wish.
func (w Wish) check() []fault.Problem {
	var c checker
	c.require(Name(w.Name), "name", "must be 1 to 63 lower-case letters, digits and dashes, is %q", w.Name)
	c.require(w.Hosts >= 2 && w.Hosts <= MaxHosts, "hosts", "must be between 2 and %d, is %d", int64(MaxHosts), w.Hosts)
	c.require(w.Budget.Hosts > 0, "budget.hosts", "must be above 0, is %d", w.Budget.Hosts)
	c.require(w.Budget.Site >= 0, "budget.site", "must be above 0, is %d", w.Budget.Site)
	c.by(w.Budget.By)
	c.require(w.Within >= 0, "within", "must be positive, is %s", w.Within)
	return c.problems
}

// What a derived plan looks like.
const (
	leastGrowth  = 1.25
	mostGrowth   = 10
	widestStart  = 2   // hosts: a derived plan starts slowly, whatever it may harm
	largestFirst = 50  // hosts of the first ring: more of them show nothing that the breaker does not see among so many
	mostSeats    = 20  // beyond them, for strata
	apart        = 10  // most that a ring is larger than the one before
	closer       = 4   // and least
	early        = 100 // rings are counted in hosts up to one in so many of the fleet: the caps may not let more of it in
	holdbackFrom = 10_000
	holdback     = 0.99

	firstBake = Duration(10 * time.Minute)
	bake      = Duration(5 * time.Minute)
	leastBake = Duration(time.Minute)
	worth     = 10 * time.Minute
	deadline  = Duration(5 * time.Minute)

	earlyCap = 0.02
)

// deriver knows how many hosts the breaker needs for each fault, which is all that a bound asks of it.
type deriver struct {
	Wish
	needs []needs
}

// bound is the harm that a window allows.
func (d deriver) bound(w Window) int64 {
	var most int64
	for _, n := range d.needs {
		most = max(most, w.harms(n.reported))
		if d.Budget.By != ByReports {
			most = max(most, w.harms(n.silent))
		}
	}
	return most
}

// fastest is the plan within a budget that is done first. A wider start harms more when a release harms everybody, so it has to be worth it.
func (d deriver) fastest(budget int64) (Plan, bool) {
	var best Plan
	var took time.Duration
	for start := int64(1); start <= min(widestStart, budget); start++ {
		growth, ok := d.growth(start, budget)
		if !ok {
			continue
		}
		p := d.plan(Window{Start: start, Growth: growth, Max: math.MaxInt32}, budget)
		p = d.hurry(p)
		if t := p.Takes(d.Hosts); best.Name == "" || t < took-worth || d.Within > 0 && took > d.Within && t < took {
			best, took = p, t
		}
	}
	return best, best.Name != "" && (d.Within == 0 || took <= d.Within)
}

// growth is the largest growth, in quarters, that keeps the budget from a start; false if none does.
func (d deriver) growth(start, budget int64) (float64, bool) {
	const step = 0.25
	steps := int((mostGrowth - leastGrowth) / step)
	// The bound rises with growth, so the ones that keep the budget come first.
	n := sort.Search(steps+1, func(i int) bool {
		return d.bound(Window{Start: start, Growth: leastGrowth + step*float64(i), Max: math.MaxInt32}) > budget
	})
	growth := leastGrowth + step*float64(n-1)
	return growth, n > 0 && growth*float64(start) >= float64(start+1)
}

// plan lays out rings for a window.
func (d deriver) plan(w Window, budget int64) Plan {
	p := Plan{
		Name: d.Name, Window: w, Lease: Lease{Expires: DefaultExpires, Deadline: deadline}, Budget: d.Budget,
		Caps: Caps{Tenant: earlyCap, Site: earlyCap},
	}
	if d.Budget.Site > 0 {
		p.Caps.Site = min(earlyCap, float64(d.Budget.Site)/SiteHosts)
	}
	seats := int64(0)
	if budget >= mostSeats {
		seats = min(mostSeats, budget*2/5)
	}
	ends := p.ends(d.Hosts)
	first := min(budget-seats, largestFirst, max(1, d.Hosts/2))
	if i := sort.Search(len(ends), func(i int) bool { return ends[i] > first }); i > 0 {
		first = ends[i-1]
	}
	p.Rings = []Ring{{Name: "canary", Hosts: first}}
	if seats > 0 {
		p.Rings[0].Evidence.Strata = 1 / float64(seats)
	}
	p.Rings = append(p.Rings, d.middle(first, ends)...)
	p.Rings = append(p.Rings, d.late(p.Rings[len(p.Rings)-1].Hosts)...)
	for i := range p.Rings {
		p.Rings[i].Evidence.Bake = bake
		if i == 0 {
			p.Rings[i].Evidence.Bake = firstBake
		}
	}
	p.Rings[len(p.Rings)-1].Evidence.Bake = 0
	return p.Defaulted()
}

// ends are the numbers of hosts at which rounds end, up to the fleet.
func (p Plan) ends(hosts int64) []int64 {
	var ends []int64
	for sum, window := int64(0), p.Window.Start; sum+window < hosts; window = p.grown(window) {
		sum += window
		ends = append(ends, sum)
	}
	return ends
}

// middle is the rings between the first and the late ones: each ends with a round, and is at most ten times as large as the one before
// unless a single round is.
func (d deriver) middle(before int64, ends []int64) []Ring {
	var rings []Ring
	done, least := before, before
	for i, end := range ends {
		size := end - done
		nextTooLarge := i+1 < len(ends) && ends[i+1]-done > apart*least
		if end > d.Hosts/early || len(rings) == MaxRings-4 {
			break
		}
		if size > least && size >= closer*least && nextTooLarge || size >= apart*least {
			rings = append(rings, Ring{Name: fmt.Sprintf("early-%d", len(rings)+1), Hosts: size})
			done, least = end, size
		}
	}
	return rings
}

// late is the rings that are a share of the fleet, after one of so many hosts. A holdback needs enough hosts to compare with.
func (d deriver) late(before int64) []Ring {
	if d.Hosts < holdbackFrom {
		return []Ring{{Name: "rest", Share: 1}}
	}
	var rings []Ring
	for _, share := range []float64{0.01, 0.1} {
		if int64(share*float64(d.Hosts)) >= closer*before {
			rings = append(rings, Ring{Name: fmt.Sprintf("share-%g", share*100), Share: share})
		}
	}
	return append(rings, Ring{Name: "rest", Share: holdback}, Ring{Name: "holdback", Share: 1, Holdback: true})
}

// hurry shortens the bakes, down to a minute, if the plan would be too late.
func (d deriver) hurry(p Plan) Plan {
	if d.Within == 0 {
		return p
	}
	bakes := p.NotBefore(len(p.Rings))
	over := p.Takes(d.Hosts) - d.Within
	if over <= 0 || bakes == 0 {
		return p
	}
	keep := max(0, 1-float64(over)/float64(bakes))
	for i, r := range p.Rings {
		if r.Evidence.Bake > 0 {
			shorter := time.Duration(keep * float64(r.Evidence.Bake)).Truncate(time.Minute / 2)
			p.Rings[i].Evidence.Bake = max(leastBake, Duration(shorter))
		}
	}
	return p
}

// impossible says which budget would do.
func (d deriver) impossible() error {
	const most = 1 << 20
	smallest := 1 + sort.Search(most, func(i int) bool {
		_, ok := d.fastest(int64(i) + 1)
		return ok
	})
	wish := fmt.Sprintf("derive a plan that harms at most %s of %d", hostsText(d.Budget.Hosts), d.Hosts)
	if d.Within > 0 {
		wish += " within " + exact(d.Within)
	}
	if smallest > most {
		p, _ := deriver{Wish: Wish{Name: d.Name, Hosts: d.Hosts, Budget: d.Budget}, needs: d.needs}.fastest(most)
		return fault.New(fault.Invalid, "%s: no plan is that fast", wish).
			Hint("Allow at least %s.", exact(p.Takes(d.Hosts).Round(time.Minute)))
	}
	err := fault.New(fault.Invalid, "%s: the smallest budget that a plan can keep is %d", wish, smallest)
	if d.Budget.By == ByReports {
		return err.Hint("Allow %d.", smallest)
	}
	return err.Hint("Allow %d; fewer will do if every harmed host reports (by %s).", smallest, ByReports)
}

func hostsText(n int64) string {
	if n == 1 {
		return "1 host"
	}
	return fmt.Sprintf("%d hosts", n)
}

// reasons says why the plan is as it is.
func (d deriver) reasons(p Plan) []string {
	bound := p.coveredBound(d.needs)
	reasons := []string{
		fmt.Sprintf("It harms at most %s on average, of a budget of %d: %s.", hostsText(bound.Hosts), d.Budget.Hosts, d.tightest(bound)),
		fmt.Sprintf("Rounds begin with %s and grow %g-fold: the fastest window that keeps the budget.", hostsText(p.Window.Start), p.Window.Growth),
		fmt.Sprintf("The first ring has %d of the budget's hosts, because a fault that shows only in its bake harms all of them.", p.firstRing()),
		fmt.Sprintf("In a site of %d hosts it harms at most %d: the caps let so many into the rings counted in hosts.", SiteHosts, p.site(bound.Hosts)),
		fmt.Sprintf("A good update takes about %s on %d hosts, %s of it bakes.", exact(p.Takes(d.Hosts).Round(time.Minute)), d.Hosts,
			exact(p.NotBefore(len(p.Rings)))),
	}
	if d.Budget.By == ByReports {
		return append(reasons, "The budget covers only harm that hosts or their guards report.")
	}
	return append(reasons, Assumed)
}

// tightest is the arithmetic of the fault that comes nearest to the budget.
func (d deriver) tightest(b Bound) string {
	return b.above(Budget{Hosts: b.Hosts - 1, By: d.Budget.By})[0]
}
