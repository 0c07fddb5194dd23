package sim

import (
	"slices"

	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

const (
	tick        = 15   // seconds in which leases belong to one cohort
	fewControls = 2000 // controls of each class: with so many, two silent hosts of two decide
	controlsFor = 20   // controls for each exposed host, when that is more
	mostControl = 100_000
	// With so many controls a comparison in which nobody shows anything tells nothing; with fewer the breaker learns from it.
	enoughControls = 100
	manySites      = 20 // from so many on, one host of each site is a landmark in each tick and arm
	hearing        = 90 // seconds: a host not heard for so long is not heard
)

// cohort is the hosts that got a lease in one tick, and how many of them will show what. It is known when they get it: what happens to
// a host does not depend on the others, but for a recall, after which nobody compares any more.
type cohort struct {
	opened  int32
	exposed [][]watched // by class and stratum; nil where there is none
	stamp   int32       // of sites seen in this tick
	swings  []float64   // by class: how the baseline stands while it is watched, for both arms
}

type watched struct {
	hosts              int64
	left, slow, silent int64
}

// current is the cohort of this tick.
func (w *world) current() *cohort {
	if w.cohort == nil || w.now >= w.cohort.opened+tick {
		w.openCohort()
	}
	return w.cohort
}

// watch puts a host into the cohort of its tick, unless another one of its site is there.
func (w *world) watch(t traits, f fate) {
	if w.apart >= manySites && !w.nameless(t.site) {
		if w.sites[t.site] == w.cohort.stamp {
			return
		}
		w.sites[t.site] = w.cohort.stamp
	}
	c := w.cohort
	if c.exposed[t.class] == nil {
		c.exposed[t.class] = make([]watched, w.Strata)
	}
	arm := &c.exposed[t.class][t.stratum]
	arm.hosts++
	half, end := w.landmarks(c)
	switch {
	case f.leaves > 0 && f.leaves <= end:
		arm.left++
	default:
		arm.slow += count(f.cutHalf || f.quiet(half))
		arm.silent += count(f.cut || f.quiet(end))
	}
}

func count(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

func (w *world) openCohort() {
	w.stamps++
	w.cohort = &cohort{opened: w.now, exposed: make([][]watched, len(w.Classes)), stamp: w.stamps, swings: slices.Clone(w.swings)}
	half, end := w.landmarks(w.cohort)
	w.watches = append(w.watches, watch{cohort: w.cohort, at: half, signal: breaker.Slow}, watch{cohort: w.cohort, at: end, signal: breaker.Silence})
}

// landmarks are the seconds at which a cohort is looked at: half of the deadline of its last host, and all of it.
func (w *world) landmarks(c *cohort) (half, end int32) {
	return c.opened + tick + w.deadline/2, c.opened + tick + w.deadline
}

// watch is a look at a cohort that is still to come.
type watch struct {
	cohort *cohort
	at     int32
	signal breaker.Signal
}

// compare looks at the cohorts whose time has come.
func (w *world) compare() {
	for k := 0; k < len(w.watches); {
		if look := w.watches[k]; look.at <= w.now {
			w.watches = append(w.watches[:k], w.watches[k+1:]...)
			w.compareCohort(look)
			continue
		}
		k++
	}
}

func (w *world) compareCohort(look watch) {
	for class := range look.cohort.exposed {
		strata := look.cohort.exposed[class]
		if strata == nil {
			continue
		}
		signals := []breaker.Signal{look.signal}
		if look.signal == breaker.Silence {
			signals = []breaker.Signal{breaker.Goodbye, breaker.Silence}
		}
		for _, signal := range signals {
			w.compareClass(signal, class, strata, look.cohort.swings[class], look.cohort.opened)
		}
	}
}

// compareClass compares hosts of a class with controls. All of them were heard when the watch was opened.
func (w *world) compareClass(signal breaker.Signal, class int, strata []watched, swing float64, opened int32) {
	var exposed, showed int64
	var arms []rollout.StratumArm
	for k := range strata {
		a := strata[k].arm(signal)
		if a.Watched == 0 {
			continue
		}
		exposed, showed = exposed+a.Watched, showed+a.Showed
		arms = append(arms, rollout.StratumArm{Stratum: w.strata[class][k], Arm: a})
	}
	control := w.controls(signal, class, exposed, swing, opened)
	if exposed == 0 || showed+control.Showed == 0 && control.Watched >= enoughControls {
		return // it would tell nothing
	}
	w.step(rollout.Compared{At: w.time(), Signal: signal, Class: w.Classes[class].Name, Control: control, Exposed: arms})
}

func (a watched) arm(signal breaker.Signal) breaker.Arm {
	switch signal {
	case breaker.Goodbye:
		return breaker.Arm{Watched: a.hosts, Showed: a.left}
	case breaker.Slow:
		return breaker.Arm{Watched: a.hosts - a.left, Showed: a.slow}
	case breaker.Silence:
	}
	return breaker.Arm{Watched: a.hosts - a.left, Showed: a.silent}
}

// controls draws what the controls of a class showed: hosts that are online and not exposed, one of each site.
func (w *world) controls(signal breaker.Signal, class int, exposed int64, swing float64, opened int32) breaker.Arm {
	n := min(max(fewControls, controlsFor*exposed), mostControl, w.waiting[class])
	if w.apart >= manySites {
		n = min(n, w.apart)
	}
	left := w.rng.of(n, baseline(w.Classes[class].Goodbye, swing))
	if signal == breaker.Goodbye {
		return breaker.Arm{Watched: n, Showed: left}
	}
	silent, cut := baseline(w.Classes[class].Silence, swing), w.cutSince(opened, w.now, -1, -1)
	return breaker.Arm{Watched: n - left, Showed: w.rng.of(n-left, 1-(1-silent)*(1-cut))}
}
