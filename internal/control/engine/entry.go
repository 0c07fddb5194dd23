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
	asked     answers         // of the open ring's gates
	sought    map[string]bool // strata that the open ring must see, at the last census
	mu        sync.Mutex
	state     rollout.State
	revision  int64
	leases    map[fleet.EndpointID]store.Lease
	harmed    map[fleet.EndpointID]time.Time // hosts that reported harm, and when it was known
	tenants   map[fleet.TenantID]share
	sites     map[string]share
	watched   watched
	wake      time.Time // next Woke; zero: none is wanted
	refusal   rollout.Waiting
	doubt     *attempt // the decision of which it is not known whether it is stored
}

// share is how many hosts of a tenant or site are exposed in a rollout, and how many of them reported harm.
type share struct{ exposed, harmed int64 }

// attempt is a decision on its way into the store.
type attempt struct {
	rollout   rollout.ID
	component string
	revision  int64
	event     rollout.Event
	effects   []rollout.Effect
}

func newEntry() *entry {
	return &entry{
		leases: map[fleet.EndpointID]store.Lease{}, harmed: map[fleet.EndpointID]time.Time{},
		due: deadlines{
			at: map[fleet.EndpointID]time.Time{}, extended: map[fleet.EndpointID]int{}, soaks: map[fleet.EndpointID]time.Time{},
		},
		tenants: map[fleet.TenantID]share{}, sites: map[string]share{},
		watched: watched{of: map[fleet.EndpointID]*cohort{}, controls: map[fleet.EndpointID]int{}},
	}
}

// load makes an entry of what is stored. A pending lease keeps what was left of its time when the server last decided, plus the grace. The
// first look comes when the hosts have had time to be heard.
func load(row store.Rollout, leases []store.Lease, now time.Time, grace, look time.Duration) *entry {
	r := newEntry()
	r.replace(row, leases, now.Add(grace))
	r.watched.resume(leases)
	if r.ticking() {
		r.wake = now.Add(look)
	}
	return r
}

// replace takes over what is stored. A lease that was not known has what is left of its time from that moment on.
func (r *entry) replace(row store.Rollout, leases []store.Lease, from time.Time) {
	r.state, r.revision = row.State, row.Revision
	for _, l := range leases {
		if known, ok := r.leases[l.Endpoint]; !ok || known.ID != l.ID || known.Outcome != l.Outcome || known.Recovered != l.Recovered {
			r.put(l, from.Add(max(0, until(l).Sub(row.State.Last))))
		}
	}
}

// until is when a lease stops being a risk that must not be added to: a pending one at its deadline, a confirmed one as long after.
func until(l store.Lease) time.Time {
	if l.Outcome == rollout.Confirmed {
		return l.Known.Add(l.Deadline.Sub(l.Issued))
	}
	return l.Deadline
}

// put keeps a lease and the counts that follow from it. Due is when a pending one turns silent, and when a confirmed one has soaked.
func (r *entry) put(l store.Lease, due time.Time) {
	old, had := r.leases[l.Endpoint]
	if had {
		r.tally(old, -1)
	}
	r.tally(l, 1)
	r.leases[l.Endpoint] = l
	switch {
	case l.Outcome == rollout.Pending && old.Outcome == rollout.Pending: // renewed
		if r.due.again(l.Endpoint, due) {
			r.watched.join(l.Endpoint)
		}
	case l.Outcome == rollout.Pending:
		r.due.set(l.Endpoint, due)
		r.watched.join(l.Endpoint)
	case l.Outcome == rollout.Confirmed && old.Outcome != rollout.Confirmed:
		r.due.drop(l.Endpoint)
		r.due.soak(l.Endpoint, due)
	default:
		r.due.drop(l.Endpoint)
	}
	if reported(l.Outcome) {
		r.harmed[l.Endpoint] = l.Known
	} else {
		delete(r.harmed, l.Endpoint)
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
