package engine

import (
	"context"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/breaker"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// A cohort is the hosts that got their leases within seconds of each other. When it opens, controls are drawn: hosts of the same classes
// that do not have the release and were heard in the same minute. Both sides are followed to the same deadline, and what they showed goes
// to the breaker as rollout.Compared:
//
//	slow     not heard between the opening and half of the time
//	goodbye  their last word was that their agent stops in good order
//	silence  not heard for as long as a host that is well is never unheard ([Options.Hearing]), and did not leave
//
// A host whose release was never activated (rejected) is in no comparison, and so are hosts that left in one of silence. A control that
// gets a lease meanwhile stays what it is, and shows what it shows: a good release changes nothing about it. Were it left out, or taken for
// heard because it asked, the arms would differ by themselves where most controls get a lease, as they do in the last rounds; what a
// bad release does to it only makes the two arms more alike. An exposed host stands in one cohort at a time, because the same silence must
// not count twice; one that gets a new lease moves on.
//
// Cohorts live in memory. Their time stands still while the server does not listen. After a restart the pending leases are one cohort,
// beside hosts that were heard since a minute before the first of them was granted: on both sides some may have gone meanwhile, and
// both have the grace to be heard again. Comparisons that were under way are lost, and are never made into silence.
type cohort struct {
	vigil    bool                          // of hosts that confirmed earlier: only their silence is compared
	since    time.Time                     // its controls were heard since; zero: in the minute before it opens
	closes   time.Time                     // takes in nobody any more, in listened time; zero: not known yet
	opened   time.Time                     // when it was taken in that both sides are there
	half     time.Time                     // in listened time; zero: slowness was compared, or is not
	ends     time.Time                     // in listened time
	hosts    []fleet.EndpointID            // that are exposed
	controls map[string][]fleet.EndpointID // by class
}

const (
	gather    = 15 * time.Second // hosts of one cohort got their leases within this, or a twentieth of the deadline if that is less
	fresh     = time.Minute      // whoever is watched was heard in the last minute
	enough    = 2000             // controls of one class: beside so many, two silent hosts of two decide
	eachHas   = 20               // controls for each exposed host, when that is more
	mostOf    = 100_000
	manySites = 20   // with so many, one host of each site and class stands for all of it
	plenty    = 1000 // controls, of which no more are needed to judge a few hosts
	few       = 25   // hosts of a class that may share their controls with other cohorts: too few for a shared accident to add up
)

// watched is what a rollout's entry knows of its cohorts.
type watched struct {
	gathering *cohort // takes in hosts; nil: none does
	open      []*cohort
	of        map[fleet.EndpointID]*cohort // the newest cohort of an exposed host
	controls  map[fleet.EndpointID]int     // in how many open cohorts a host is a control
	findings  []rollout.Compared           // not told to the rollout yet
	vigil     time.Time                    // no other vigil before, in listened time
}

// join takes a host with a fresh lease into the cohort that gathers.
func (w *watched) join(id fleet.EndpointID) {
	if w.gathering == nil {
		w.gathering = &cohort{}
	}
	if w.of[id] != w.gathering {
		w.of[id] = w.gathering
		w.gathering.hosts = append(w.gathering.hosts, id)
	}
}

// resume makes the cohort of the leases that were pending when the server started the one that outlives a restart.
func (w *watched) resume(leases []store.Lease) {
	for _, l := range leases {
		if l.Outcome == rollout.Pending && (w.gathering.since.IsZero() || l.Issued.Add(-fresh).Before(w.gathering.since)) {
			w.gathering.since = l.Issued.Add(-fresh)
		}
	}
}

// close forgets a cohort.
func (w *watched) close(c *cohort) {
	w.open = slices.DeleteFunc(w.open, func(other *cohort) bool { return other == c })
	for _, id := range c.hosts {
		if w.of[id] == c {
			delete(w.of, id)
		}
	}
	for _, ids := range c.controls {
		for _, id := range ids {
			if w.controls[id]--; w.controls[id] == 0 {
				delete(w.controls, id)
			}
		}
	}
}

// attend follows a rollout's cohorts and tells it what they showed. The caller holds its lock, and has booked the silent hosts.
func (e *Engine) attend(ctx context.Context, r *entry, now time.Time) error {
	if !r.state.Armed(stamp(now)) {
		for _, c := range slices.Clone(r.watched.open) {
			r.watched.close(c)
		}
		r.watched.findings = nil
		return nil
	}
	listened := r.due.listened(now)
	var over []*cohort
	for _, c := range r.watched.open {
		if !c.half.IsZero() && !listened.Before(c.half) || listened.After(c.ends) || r.settled(c) {
			over = append(over, c)
		}
	}
	if len(over) > 0 && e.deaf(r, now) {
		r.due.extend(e.Grace) // nobody is heard at all: both sides wait
		return nil
	}
	for _, c := range over {
		e.conclude(r, c, now, listened)
	}
	e.gather(r, now, listened)
	e.keepVigil(r, now, listened)
	return e.tell(ctx, r)
}

// tell lets the rollout take in what was found. The caller holds its lock. What could not be stored is told again.
func (e *Engine) tell(ctx context.Context, r *entry) error {
	for len(r.watched.findings) > 0 {
		finding := r.watched.findings[0]
		finding.At = stamp(e.Clock.Now())
		if _, err := e.step(ctx, r, finding); err != nil {
			return err
		}
	}
	return nil
}

// settled tells whether some host of the cohort was called silent and no other one's outcome is open. Then the comparison is due: no
// further round must begin without it.
func (r *entry) settled(c *cohort) bool {
	silent := false
	for _, id := range c.hosts {
		if r.watched.of[id] != c {
			continue
		}
		switch r.leases[id].Outcome {
		case rollout.Pending:
			return false
		case rollout.Silent:
			silent = true
		case rollout.Unleased, rollout.Confirmed, rollout.Crashed, rollout.Reverted, rollout.Rejected, rollout.Goodbye, rollout.Late:
		}
	}
	return silent
}

// conclude compares what a cohort has shown by now: slowness at half of its time, the rest at the end.
func (e *Engine) conclude(r *entry, c *cohort, now, listened time.Time) {
	if !c.half.IsZero() && !listened.Before(c.half) {
		c.half = time.Time{}
		r.watched.find(e.compare(r, c, breaker.Slow, c.opened))
	}
	if !listened.After(c.ends) && !r.settled(c) {
		return
	}
	after := c.opened
	if unheard := now.Add(-e.Hearing); unheard.After(after) {
		after = unheard
	}
	silence := e.compare(r, c, breaker.Silence, after)
	if c.vigil {
		silence = slices.DeleteFunc(silence, func(f rollout.Compared) bool { return !tells(f) })
	} else {
		r.watched.find(e.compare(r, c, breaker.Goodbye, after))
	}
	r.watched.find(silence)
	r.watched.close(c)
}

// find keeps findings for the rollout. Where the breaker compares with controls, those in which nobody showed anything would say nothing.
// Silence always says something: in a small fleet the test goes by a ceiling, and everywhere its sums tell bad luck from harm.
func (w *watched) find(found []rollout.Compared) {
	for _, f := range found {
		if f.Control.Showed > 0 || exposedShow(f) || f.Signal == breaker.Silence {
			w.findings = append(w.findings, f)
		}
	}
}

// exposedShow tells whether any of the exposed hosts showed the signal.
func exposedShow(f rollout.Compared) bool {
	return slices.ContainsFunc(f.Exposed, func(arm rollout.StratumArm) bool { return arm.Showed > 0 })
}

// compare makes one comparison of each class of the cohort.
func (e *Engine) compare(r *entry, c *cohort, signal breaker.Signal, after time.Time) []rollout.Compared {
	exposed := map[string]map[string]breaker.Arm{} // by class and stratum
	for i, sign := range e.Fleet.Signs(c.hosts, after) {
		l := r.leases[c.hosts[i]]
		switch {
		case r.watched.of[l.Endpoint] != c:
			sign = registry.Heard // it got another lease meanwhile: it was heard when it asked
		case l.Outcome == rollout.Goodbye && sign == registry.Unheard && signal != breaker.Goodbye:
			sign = registry.Left // an agent that does not say that it leaves, but did say goodbye to its lease
		}
		if l.Outcome == rollout.Rejected || sign == registry.Left && signal != breaker.Goodbye {
			continue
		}
		if exposed[l.Class] == nil {
			exposed[l.Class] = map[string]breaker.Arm{}
		}
		exposed[l.Class][l.Stratum] = exposed[l.Class][l.Stratum].Plus(arm(sign, signal))
	}
	var found []rollout.Compared
	for _, class := range slices.Sorted(maps.Keys(exposed)) {
		f := rollout.Compared{Signal: signal, Class: class, Control: e.control(c.controls[class], signal, after)}
		for _, stratum := range slices.Sorted(maps.Keys(exposed[class])) {
			f.Exposed = append(f.Exposed, rollout.StratumArm{Stratum: stratum, Arm: exposed[class][stratum]})
		}
		found = append(found, f)
	}
	return found
}

// control is the other arm of a comparison.
func (e *Engine) control(ids []fleet.EndpointID, signal breaker.Signal, after time.Time) breaker.Arm {
	var sum breaker.Arm
	for _, sign := range e.Fleet.Signs(ids, after) {
		if sign != registry.Left || signal == breaker.Goodbye {
			sum = sum.Plus(arm(sign, signal))
		}
	}
	return sum
}

// arm is one host in a comparison.
func arm(sign registry.Sign, signal breaker.Signal) breaker.Arm {
	shows := registry.Unheard
	if signal == breaker.Goodbye {
		shows = registry.Left
	}
	if sign == shows {
		return breaker.Arm{Watched: 1, Showed: 1}
	}
	return breaker.Arm{Watched: 1}
}

// gather opens the cohort that gathers when its time has come.
func (e *Engine) gather(r *entry, now, listened time.Time) {
	c := r.watched.gathering
	if c == nil {
		return
	}
	deadline := time.Duration(r.state.Plan.Lease.Deadline)
	if c.closes.IsZero() {
		c.closes = listened
		if c.since.IsZero() {
			c.closes = listened.Add(min(gather, deadline/20))
		}
	}
	if listened.Before(c.closes) {
		return
	}
	r.watched.gathering = nil
	c.opened, c.half, c.ends = now, listened.Add(deadline/2), listened.Add(deadline)
	if c.since.IsZero() {
		c.since = now.Add(-fresh)
	} else {
		c.half, c.ends = time.Time{}, c.ends.Add(e.Grace)
	}
	apart := e.apart(r, now)
	r.thin(c, apart)
	r.due.forget(now)
	e.open(r, c, e.controls(r, c, apart))
}

func (e *Engine) open(r *entry, c *cohort, controls map[string][]fleet.EndpointID) {
	c.controls = controls
	for _, ids := range controls {
		for _, id := range ids {
			r.watched.controls[id]++
		}
	}
	r.watched.open = append(r.watched.open, c)
}

// apart tells whether the fleet has so many sites that one host of each must stand for all of it: a line that is down silences a site.
func (e *Engine) apart(r *entry, now time.Time) bool {
	sites := e.sizes(r.component, now).Sites
	named := len(sites)
	if sites[""] > 0 {
		named--
	}
	return named >= manySites
}

// thin leaves out hosts that were rejected meanwhile and, where sites are kept apart, all but the first of each site and class. Those
// without a site share none.
func (r *entry) thin(c *cohort, apart bool) {
	type place struct{ site, class string }
	seen := map[place]bool{}
	hosts := c.hosts
	c.hosts = nil
	for _, id := range hosts {
		l := r.leases[id]
		at := place{l.Site, l.Class}
		if r.watched.of[id] != c || l.Outcome == rollout.Rejected || apart && l.Site != "" && seen[at] {
			if r.watched.of[id] == c {
				delete(r.watched.of, id)
			}
			continue
		}
		seen[at] = true
		c.hosts = append(c.hosts, id)
	}
}

// controls draws the controls of a cohort. They stand in no other one, unless there are not enough and the cohort is small.
func (e *Engine) controls(r *entry, c *cohort, apart bool) map[string][]fleet.EndpointID {
	exposed := map[string]int{}
	for _, id := range c.hosts {
		exposed[r.leases[id].Class]++
	}
	if len(exposed) == 0 {
		return nil
	}
	held := heldBack(r.state)
	fits := func(id fleet.EndpointID, s fleet.Subject) bool { return !r.exposed(id) && (held == nil || !held(s)) }
	d := registry.Draw{
		Component: r.component, Since: c.since, Classes: slices.Sorted(maps.Keys(exposed)), Apart: apart,
		Posture: fleet.PostureOf(r.state.Plan.Posture), // as the exposed hosts had when they got their leases
		Each:    min(max(enough, eachHas*len(c.hosts)), mostOf),
		Seed:    seed(r.id, c.opened),
		Fits:    func(id fleet.EndpointID, s fleet.Subject) bool { return r.watched.controls[id] == 0 && fits(id, s) },
	}
	drawn := e.Fleet.Draw(d)
	d.Classes = slices.DeleteFunc(d.Classes, func(class string) bool { return len(drawn[class]) >= plenty || exposed[class] > few })
	if len(d.Classes) > 0 {
		d.Fits = fits
		maps.Copy(drawn, e.Fleet.Draw(d))
	}
	return drawn
}

// heldBack tells for whom the release is held; nil if for nobody.
func heldBack(s rollout.State) func(fleet.Subject) bool {
	if len(s.Holds) == 0 {
		return nil
	}
	holds := slices.Clone(s.Holds)
	return func(subject fleet.Subject) bool {
		return slices.ContainsFunc(holds, func(h rollout.Hold) bool { return h.Select.Matches(subject) })
	}
}

// seed makes one draw of one rollout differ from every other, and the same when it is made again.
func seed(id rollout.ID, at time.Time) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // does not fail
	return h.Sum64() ^ uint64(at.UnixNano())
}
