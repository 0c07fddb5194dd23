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
	mu       sync.Mutex
	state    rollout.State
	revision int64
	leases   map[fleet.EndpointID]store.Lease
	due      map[fleet.EndpointID]time.Time // pending leases: when silence is assumed; by the process's own clock
	tenants  map[fleet.TenantID]int64       // exposed hosts
	sites    map[string]int64
	wake     time.Time // next Woke; zero: none is wanted
	refusal  rollout.Waiting
}

func newEntry() *entry {
	return &entry{
		leases: map[fleet.EndpointID]store.Lease{}, due: map[fleet.EndpointID]time.Time{},
		tenants: map[fleet.TenantID]int64{}, sites: map[string]int64{},
	}
}

// load makes an entry of what is stored. A pending lease keeps what was left of its time when the server last decided, plus the grace.
func load(row store.Rollout, leases []store.Lease, now time.Time, grace time.Duration) *entry {
	r := newEntry()
	r.state, r.revision = row.State, row.Revision
	for _, l := range leases {
		r.put(l, now.Add(max(0, l.Deadline.Sub(row.State.Last))+grace))
	}
	if r.ticking() {
		r.wake = now.Add(grace)
	}
	return r
}

// put keeps a lease and the counts that follow from it.
func (r *entry) put(l store.Lease, due time.Time) {
	old, had := r.leases[l.Endpoint]
	if was, is := had && counts(old), counts(l); was != is {
		change := int64(1)
		if was {
			change = -1
		}
		r.tenants[l.Tenant] += change
		r.sites[l.Site] += change
	}
	r.leases[l.Endpoint] = l
	if l.Outcome == rollout.Pending {
		r.due[l.Endpoint] = due
	} else {
		delete(r.due, l.Endpoint)
	}
}

// counts tells whether a lease exposes its host.
func counts(l store.Lease) bool { return l.Outcome != rollout.Rejected }

func (r *entry) exposed(id fleet.EndpointID) bool {
	l, ok := r.leases[id]
	return ok && counts(l)
}

// overdue lists the hosts that are to be called silent, in a fixed order.
func (r *entry) overdue(now time.Time) []fleet.EndpointID {
	var late []fleet.EndpointID
	for id, due := range r.due {
		if now.After(due) {
			late = append(late, id)
		}
	}
	slices.Sort(late)
	return late
}

// ticking tells whether the passing of time means anything to the rollout.
func (r *entry) ticking() bool {
	return r.state.Phase == rollout.Running || r.state.Phase == rollout.Complete && !r.state.Plan.Last(r.state.Ring)
}
