package engine

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// entry is one rollout in memory. Its lock is held over a whole decision, commit included.
type entry struct {
	order     int64 // 1, 2, 3 ... as the rollouts were started; set once, as are the next two, before others know of it
	id        rollout.ID
	component string
	due       deadlines
	asks      asks
	storing   storing
	withheld  withheld
	asked     answers         // of the open ring's gates
	sought    map[string]bool // strata that the open ring must see, at the last census
	shown     shown           // for who cannot wait for the lock
	mu        sync.Mutex
	state     rollout.State
	revision  int64
	leases    map[fleet.EndpointID]store.Lease
	harmed    map[fleet.EndpointID]time.Time // hosts that reported harm, and when it was known
	gone      map[fleet.EndpointID]bool      // hosts that said goodbye to their lease
	tenants   map[fleet.TenantID]share
	sites     map[string]share
	watched   watched
	wake      time.Time // next Woke; zero: none is wanted
	incident  string    // id of the newest one that it opened; empty: none
	asleep    bool      // its leases are not in memory: it is long over, and nothing is decided over it
	doubt     *batch    // the decisions of which it is not known whether they are stored
}

// share is how many hosts of a tenant or site are exposed in a rollout, and how many of them reported harm.
type share struct{ exposed, harmed int64 }

func newEntry() *entry {
	return &entry{
		leases: map[fleet.EndpointID]store.Lease{}, harmed: map[fleet.EndpointID]time.Time{}, gone: map[fleet.EndpointID]bool{},
		due: deadlines{
			at: map[fleet.EndpointID]time.Time{}, extended: map[fleet.EndpointID]int{}, soaks: map[fleet.EndpointID]time.Time{},
		},
		tenants: map[fleet.TenantID]share{}, sites: map[string]share{},
		watched: watched{of: map[fleet.EndpointID]*cohort{}, controls: map[fleet.EndpointID]int{}},
	}
}

// replace takes over what is stored. A lease that was not known has what is left of its time from that moment on; one that is not stored
// never was.
func (r *entry) replace(row store.Rollout, leases []store.Lease, from time.Time) {
	r.incident = row.Incident
	r.become(row.State, row.Revision)
	stored := make(map[fleet.EndpointID]bool, len(leases))
	for _, l := range leases {
		stored[l.Endpoint] = true
		if known, ok := r.leases[l.Endpoint]; !ok || known.ID != l.ID || known.Outcome != l.Outcome || known.Recovered != l.Recovered {
			r.put(l, from.Add(left(l, row.State.Last)))
		}
	}
	for id, l := range r.leases {
		if !stored[id] {
			r.tally(l, -1)
			delete(r.leases, id)
			delete(r.harmed, id)
			delete(r.gone, id)
			r.due.drop(id)
		}
	}
}

// left is what a lease had left of its time when the server last decided. It is never more than all of it: the clock may have been put back
// since it was granted. A pending one whose time is long over, though nobody called its host silent, has all of it again: the clock may have
// been put ahead. If it is only just over nobody came to it yet, and it has nothing left: leaders may change more often than deadlines pass.
func left(l store.Lease, last time.Time) time.Duration {
	rest := until(l).Sub(last)
	if l.Outcome == rollout.Pending && -rest > span(l)+rollout.MaxGap {
		return span(l)
	}
	return min(max(0, rest), span(l))
}

// until is when a lease stops being a risk that must not be added to: a pending one at its deadline, a confirmed one when it has settled.
func until(l store.Lease) time.Time {
	if l.Outcome == rollout.Confirmed {
		return l.Known.Add(span(l))
	}
	return l.Deadline
}

// settling is for how long at most a host that confirmed gets nothing else, so that it is known what harmed it.
const settling = 5 * time.Minute

// span is how long a lease is a risk, from when it was granted or confirmed.
func span(l store.Lease) time.Duration {
	whole := l.Deadline.Sub(l.Issued)
	if l.Outcome == rollout.Confirmed {
		return min(whole, settling)
	}
	return whole
}

// put keeps a lease, the counts that follow from it, and its time.
func (r *entry) put(l store.Lease, due time.Time) { r.time(l, r.note(l), due) }

// note keeps a lease and the counts that follow from it, and tells what its outcome was before.
func (r *entry) note(l store.Lease) (was rollout.Outcome) {
	old, had := r.leases[l.Endpoint]
	if had {
		r.tally(old, -1)
	}
	r.tally(l, 1)
	r.leases[l.Endpoint] = l
	if reported(l.Outcome) {
		r.harmed[l.Endpoint] = l.Known
	} else {
		delete(r.harmed, l.Endpoint)
	}
	if l.Outcome == rollout.Goodbye {
		r.gone[l.Endpoint] = true
	} else {
		delete(r.gone, l.Endpoint)
	}
	return old.Outcome
}

// time keeps the time of a lease that was noted: due is when a pending one turns silent, and when a confirmed one has soaked.
func (r *entry) time(l store.Lease, was rollout.Outcome, due time.Time) {
	switch {
	case l.Outcome == rollout.Pending && was == rollout.Pending: // renewed
		if r.due.again(l.Endpoint, due) {
			r.watched.join(l.Endpoint)
		}
	case l.Outcome == rollout.Pending:
		r.due.set(l.Endpoint, due)
		r.watched.join(l.Endpoint)
	case l.Outcome == rollout.Confirmed && was != rollout.Confirmed:
		r.due.drop(l.Endpoint)
		r.due.soak(l.Endpoint, due)
	default:
		r.due.drop(l.Endpoint)
	}
}

// tally counts a lease n more times.
func (r *entry) tally(l store.Lease, n int64) {
	if !counts(l) {
		return
	}
	tenant, site := r.tenants[l.Tenant], r.sites[l.Site]
	tenant.exposed, site.exposed = tenant.exposed+n, site.exposed+n
	if reported(l.Outcome) {
		tenant.harmed, site.harmed = tenant.harmed+n, site.harmed+n
	}
	r.tenants[l.Tenant], r.sites[l.Site] = tenant, site
}

// reported tells whether the outcome is harm that the host reported. Silence is no report: it is judged beside controls.
func reported(o rollout.Outcome) bool { return o == rollout.Crashed || o == rollout.Reverted }

// counts tells whether a lease exposes its host.
func counts(l store.Lease) bool { return l.Outcome != rollout.Rejected }

func (r *entry) exposed(id fleet.EndpointID) bool {
	l, ok := r.leases[id]
	return ok && counts(l)
}

// ticking tells whether the passing of time means anything to the rollout.
func (r *entry) ticking() bool {
	return r.state.Phase == rollout.Running || r.state.Phase == rollout.Complete && !r.state.Plan.Last(r.state.Ring)
}

// rest sets the next wake-up after a decision. Only a look puts it off: other events must not, however fast they come.
func (r *entry) rest(now time.Time, looked bool) {
	switch {
	case !r.ticking():
		r.wake = time.Time{}
	case looked || r.wake.IsZero():
		r.wake = now.Add(idleWake)
	}
}

// deadlines are the pending leases: when silence is assumed, by the process's own clock.
type deadlines struct {
	mu sync.RWMutex
	at map[fleet.EndpointID]time.Time

	extended map[fleet.EndpointID]int       // times that a host got more time because it was heard proving, or asked again
	soaks    map[fleet.EndpointID]time.Time // confirmed hosts, until when nothing else is to be risked on them
	deaf     time.Duration                  // how long in all the server was not listening
}

// mostExtensions bounds how often a host gets more time that is still proving or asks for its lease again: it must not hold up the others
// for ever.
const mostExtensions = 3

// again gives a host more time, and tells whether it had any left to get.
func (d *deadlines) again(id fleet.EndpointID, at time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.extended[id] >= mostExtensions {
		return false
	}
	d.extended[id]++
	d.at[id] = at
	return true
}

func (d *deadlines) set(id fleet.EndpointID, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at[id] = at
}

func (d *deadlines) drop(id fleet.EndpointID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.at, id)
	delete(d.extended, id)
	delete(d.soaks, id)
}

func (d *deadlines) clear() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.at)
	clear(d.extended)
	clear(d.soaks)
}

func (d *deadlines) extend(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deaf += by
	for id, at := range d.at {
		d.at[id] = at.Add(by)
	}
}

// listened is the time as those live it whose silence is judged: without the time in which the server was not listening.
func (d *deadlines) listened(now time.Time) time.Time {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return now.Add(-d.deaf)
}

// soak notes until when a confirmed host is left alone by other rollouts.
func (d *deadlines) soak(id fleet.EndpointID, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.soaks[id] = until
}

// risky tells whether a host has a release that is not proved yet, or only just.
func (d *deadlines) risky(id fleet.EndpointID, now time.Time) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, pending := d.at[id]
	return pending || now.Before(d.soaks[id])
}

// forget drops the hosts that have soaked.
func (d *deadlines) forget(now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.soaks, func(_ fleet.EndpointID, until time.Time) bool { return !now.Before(until) })
}

func (d *deadlines) has(id fleet.EndpointID) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	_, ok := d.at[id]
	return ok
}

// passed lists the hosts that are to be called silent, in a fixed order.
func (d *deadlines) passed(now time.Time) []fleet.EndpointID {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var late []fleet.EndpointID
	for id, at := range d.at {
		if now.After(at) {
			late = append(late, id)
		}
	}
	slices.Sort(late)
	return late
}
