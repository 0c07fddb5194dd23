package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// entry is one rollout in memory. Its lock is held over a whole decision, commit included.
type entry struct {
	order    int64 // 1, 2, 3 ... as the rollouts were started; set once
	due      deadlines
	mu       sync.Mutex
	state    rollout.State
	revision int64
	leases   map[fleet.EndpointID]store.Lease
	tenants  map[fleet.TenantID]int64 // exposed hosts
	sites    map[string]int64
	wake     time.Time // next Woke; zero: none is wanted
	refusal  rollout.Waiting
	doubt    *attempt // the decision of which it is not known whether it is stored
}

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
		leases: map[fleet.EndpointID]store.Lease{}, due: deadlines{at: map[fleet.EndpointID]time.Time{}, extended: map[fleet.EndpointID]int{}},
		tenants: map[fleet.TenantID]int64{}, sites: map[string]int64{},
	}
}

// load makes an entry of what is stored. A pending lease keeps what was left of its time when the server last decided, plus the grace. The
// first look comes when the hosts have had time to be heard.
func load(row store.Rollout, leases []store.Lease, now time.Time, grace, look time.Duration) *entry {
	r := newEntry()
	r.replace(row, leases, now.Add(grace))
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
			r.put(l, from.Add(max(0, l.Deadline.Sub(row.State.Last))))
		}
	}
}

// put keeps a lease and the counts that follow from it.
func (r *entry) put(l store.Lease, due time.Time) {
	if old, had := r.leases[l.Endpoint]; had && counts(old) {
		r.tenants[old.Tenant]--
		r.sites[old.Site]--
	}
	if counts(l) {
		r.tenants[l.Tenant]++
		r.sites[l.Site]++
	}
	r.leases[l.Endpoint] = l
	if l.Outcome == rollout.Pending {
		r.due.set(l.Endpoint, due)
	} else {
		r.due.drop(l.Endpoint)
	}
}

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

	extended map[fleet.EndpointID]int // times that a host got more time because it was heard proving
}

// mostExtensions bounds how often a host that is still proving gets more time.
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
}

func (d *deadlines) extend(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, at := range d.at {
		d.at[id] = at.Add(by)
	}
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
