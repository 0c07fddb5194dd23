package engine

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// watch is Run's own memory: when it last looked at the clock, and what it complained of.
type watch struct {
	*Engine
	last       time.Time
	complaint  string
	complained time.Time
}

// repeat is how often a failure that goes on is logged again.
const repeat = time.Minute

// look reads the clock. If far more time went by than a tick takes, nobody was listening, and all deadlines wait for as long. It is asked
// between any two things that may take long, so that being busy does not pass for that.
func (w *watch) look(ctx context.Context) time.Time {
	now := w.Clock.Now()
	if gap := now.Sub(w.last); gap > 10*w.Tick+time.Second {
		w.Log.WarnContext(ctx, "the server was not listening; deadlines are extended", slog.Duration("gap", gap))
		w.Deaf(gap)
	}
	w.last = now
	return now
}

// Deaf says that some of the fleet could not be heard for so long: whoever holds a lease gets as much more time, and comparisons wait.
func (e *Engine) Deaf(lasted time.Duration) {
	for _, r := range e.list() {
		r.due.extend(lasted)
	}
}

// tick does what is due. A failure in one rollout keeps no other one waiting. Time is read before the reports are: whoever is called
// silent had its deadline before, and no report of it was stored by then. While reports cannot be taken in, nobody is called silent.
func (w *watch) tick(ctx context.Context) error {
	now := w.look(ctx)
	held, err := w.round(ctx)
	if err != nil {
		return errors.Join(err, w.renew(ctx, now))
	}
	failed := []error{held.first(), w.adoptUnsure(ctx, now)}
	for _, r := range w.list() {
		failed = append(failed, w.keepTime(ctx, r, now))
		w.look(ctx)
	}
	failed = append(failed, w.renew(ctx, now))
	return errors.Join(failed...)
}

// adoptUnsure looks for rollouts that were stored though their start failed.
func (w *watch) adoptUnsure(ctx context.Context, now time.Time) error {
	for _, component := range w.unsure.still(now) {
		w.starting.Lock()
		err := w.adopt(ctx, component)
		w.starting.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// tell logs a failure when it is new, and from time to time while it lasts.
func (w *watch) tell(ctx context.Context, err error) {
	if err == nil {
		w.complaint = ""
		return
	}
	if now := w.Clock.Now(); err.Error() != w.complaint || now.Sub(w.complained) >= repeat {
		w.complaint, w.complained = err.Error(), now
		w.Log.ErrorContext(ctx, "tick", slog.Any("error", err))
	}
}

// keepTime books the silent hosts of a rollout, and wakes it when it is due.
func (e *Engine) keepTime(ctx context.Context, r *entry, now time.Time) error {
	if e.leaveAsleep(r) {
		return nil
	}
	if err := e.hold(ctx, r); err != nil {
		return err
	}
	defer r.mu.Unlock()
	if err := e.keepStop(ctx, r); err != nil {
		return err
	}
	if err := e.takeBack(ctx, r); err != nil {
		return err
	}
	if err := e.follow(ctx, r, now); err != nil {
		return err
	}
	if err := e.agree(ctx, r); err != nil {
		return err
	}
	if err := e.listen(ctx, r); err != nil {
		return err
	}
	if err := e.welcome(ctx, r, now); err != nil {
		return err
	}
	if err := e.book(ctx, r, e.silent(ctx, r, now), rollout.Silent, "no word until its deadline"); err != nil {
		return err
	}
	if err := e.attend(ctx, r, now); err != nil { // with what was just seen, before anybody else is exposed
		return err
	}
	if r.wake.IsZero() || now.Before(r.wake) {
		return nil
	}
	woke := e.census(r, now)
	e.askGates(ctx, r)
	if e.idle(r, woke) {
		r.wake = now.Add(idleWake)
		return nil
	}
	_, err := e.step(ctx, r, woke)
	return err
}

// leaveAsleep tells whether there is nothing to do for a rollout that is long over.
func (e *Engine) leaveAsleep(r *entry) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, wanted := e.Stops.pending(r.id)
	return !wanted && e.rests(r) && e.sleeps(r)
}

// book gives hosts an outcome, all in one commit; those that are too many for one wait for the next look, so that a halt does not wait for
// them. The caller holds the entry's lock.
func (e *Engine) book(ctx context.Context, r *entry, ids []fleet.EndpointID, o rollout.Outcome, why string) error {
	b := e.begin(r)
	for _, id := range ids[:min(len(ids), mostDecided)] {
		if _, err := b.decide(e.outcome(r, r.leases[id], o, why), nil); err != nil {
			return b.drop(ctx, err)
		}
	}
	return b.store(ctx)
}

// welcome takes back hosts that had said goodbye and are heard proving again, by this replica or another.
func (e *Engine) welcome(ctx context.Context, r *entry, now time.Time) error {
	back := slices.DeleteFunc(slices.Sorted(maps.Keys(r.gone)), func(id fleet.EndpointID) bool {
		host, _ := e.Fleet.Get(id)
		saidGoodbyeLast := host.Left || !host.LastSeen.After(r.leases[id].Known)
		return saidGoodbyeLast || !e.stillProving(r, id, now)
	})
	return e.book(ctx, r, back, rollout.Pending, "is back and proves on")
}

// follow ends a rollout whose release was recalled by another one of the same release.
func (e *Engine) follow(ctx context.Context, r *entry, now time.Time) error {
	s := r.state
	if s.Phase.Final() || !e.board.barred(s) {
		return nil
	}
	_, err := e.step(ctx, r, rollout.OperatorActed{
		At: stamp(now), Action: rollout.RollBack, Actor: "firebreak", Reason: "the release was recalled by another rollout",
	})
	return err
}

// silent lists the hosts whose deadline has passed without a word. A host that is heard and says that it is still proving is not silent,
// for a while. When nobody else is heard either, it is the line that is down: everybody's deadline waits.
func (e *Engine) silent(ctx context.Context, r *entry, now time.Time) []fleet.EndpointID {
	passed := r.due.passed(now)
	if len(passed) > 0 && e.deaf(r, now) {
		e.Log.WarnContext(ctx, "no host is heard, whether it holds a lease or not; deadlines are extended", slog.String("rollout", string(r.state.ID)))
		r.due.extend(e.Grace)
		return nil
	}
	return slices.DeleteFunc(passed, func(id fleet.EndpointID) bool {
		again := e.stillProving(r, id, now) && r.due.again(id, now.Add(time.Duration(r.state.Plan.Lease.Deadline)))
		if again {
			r.watched.join(id)
		}
		return again
	})
}

func (e *Engine) stillProving(r *entry, id fleet.EndpointID, now time.Time) bool {
	host, ok := e.Fleet.Get(id)
	phase := host.Components[r.state.Release.Component].Phase
	return ok && !host.LastSeen.Before(now.Add(-e.Hearing)) && (phase == "activating" || phase == "proving")
}

// bystanders is how many hosts without a lease must have been heard before, for their silence to mean something.
const bystanders = 3

// deaf tells whether the hosts that hold no lease have all fallen silent: no release does that.
func (e *Engine) deaf(r *entry, now time.Time) bool {
	return e.Fleet.Deaf(r.state.Release.Component, now.Add(-e.Hearing), now.Add(-e.Hearing-e.Reach), bystanders, r.due.has)
}

// census counts the fleet for a rollout. Hosts that were not heard lately are not waited for; but for some time after a start or an
// outage all are: whoever was not heard then may just not have had its turn.
func (e *Engine) census(r *entry, now time.Time) rollout.Woke {
	s := r.state
	if e.deaf(r, now) {
		e.listening = now
	}
	ring := s.Plan.Rings[s.Ring]
	q := registry.Question{
		Component: s.Release.Component, Exposed: r.exposed, Ring: ring.Select, Prefer: ring.Prefer, Refused: string(s.Release.Manifest), Held: heldBack(s),
		Posture: fleet.PostureOf(s.Plan.Posture),
		Fits:    e.fits(r, now), Proving: proving(r), Hearing: now.Add(-e.Hearing),
	}
	if now.Sub(e.listening) >= e.Reach {
		q.Since = now.Add(-e.Reach)
	}
	if ring.Evidence.Strata > 0 {
		q.Strata = s.Plan.Strata
	}
	c := e.Fleet.Count(q)
	woke := rollout.Woke{
		At: stamp(now), Eligible: c.Eligible, Remaining: c.Remaining, Available: c.Available, Preferred: c.Preferred, Heard: c.Heard, Gates: r.asked.of(s.Ring, now),
		Unfit: unfit(c),
	}
	r.sought, woke.Seen = coverage(s, c, ring.Evidence.Strata)
	woke.Large = int64(len(r.sought))
	return woke
}

// unfit is how many hosts are not eligible for want of posture, and how many of them lack each word.
func unfit(c registry.Census) rollout.Unfit {
	var u rollout.Unfit
	for lacks, hosts := range c.Unfit {
		if u.Lacks == nil {
			u.Lacks = map[string]int64{}
		}
		u.Hosts += hosts
		for _, word := range lacks.Have() {
			u.Lacks[word] += hosts
		}
	}
	return u
}

// coverage is the strata that hold at least that share of the eligible hosts, and how many of them have a confirmed host.
func coverage(s rollout.State, c registry.Census, share float64) (large map[string]bool, seen int64) {
	large = map[string]bool{}
	for name, hosts := range c.Strata {
		if float64(hosts) >= share*float64(c.Eligible) {
			large[name] = true
		}
	}
	for _, stratum := range s.Strata {
		if large[stratum.Name] && stratum.Confirmed > 0 {
			seen++
		}
	}
	return large, seen
}

// proving picks the confirmed hosts of the open ring; of the one before while it has none.
func proving(r *entry) func(fleet.EndpointID) bool {
	ring := r.state.Ring
	if ring > 0 && r.state.Rings[ring].Leased == 0 {
		ring--
	}
	return func(id fleet.EndpointID) bool {
		l, ok := r.leases[id]
		return ok && l.Ring == ring && l.Outcome == rollout.Confirmed
	}
}

// fits counts down what the plan's caps leave of each tenant and site; nil if there are none.
func (e *Engine) fits(r *entry, now time.Time) func(fleet.Subject) bool {
	caps := r.state.Plan.Caps
	if caps.Tenant == 0 && caps.Site == 0 || r.state.Plan.Last(r.state.Ring) {
		return nil
	}
	sizes := e.sizes(r.component, now)
	tenants, sites := map[string]int64{}, map[string]int64{}
	room := func(left map[string]int64, share float64, scope rollout.Scope) int64 {
		if _, known := left[scope.Name]; !known {
			left[scope.Name] = rollout.CapOf(share, scope, sizes.Fleet) - scope.Exposed
		}
		return left[scope.Name]
	}
	return func(s fleet.Subject) bool {
		tenant, site := r.scopes(s.Tenant, s.Attributes.Site, sizes)
		if room(tenants, caps.Tenant, tenant) <= 0 || room(sites, caps.Site, site) <= 0 {
			return false
		}
		tenants[tenant.Name]--
		sites[site.Name]--
		return true
	}
}

// idle tells whether a wake-up of a complete rollout would be stored for nothing: nobody can ask it for leases any more, or nobody is
// left to ask and the fleet did not change.
func (e *Engine) idle(r *entry, w rollout.Woke) bool {
	s := r.state
	return s.Phase == rollout.Complete && (!e.board.current(s) ||
		w.Remaining == 0 && s.Unconfirmed == 0 && s.Unfit.Hosts == w.Unfit.Hosts && s.Eligible == w.Eligible && s.Remaining == w.Remaining && s.Available == w.Available && s.Heard == w.Heard)
}
