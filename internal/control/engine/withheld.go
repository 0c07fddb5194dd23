package engine

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// withheld are leases that are stored and that nobody got: the rollout was stopped while the database kept them. Their hosts activate nothing,
// and are not to be called silent at a deadline of which they never heard. Should the server stop before that is booked, they will be: a halted
// rollout counts them then, which errs on the side of caution.
type withheld struct {
	mu sync.Mutex
	of map[fleet.EndpointID]string // id of the lease
}

func (w *withheld) note(id fleet.EndpointID, lease string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == nil {
		w.of = map[fleet.EndpointID]string{}
	}
	w.of[id] = lease
}

// some lists as many as fit into a commit.
func (w *withheld) some() map[fleet.EndpointID]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	some := map[fleet.EndpointID]string{}
	for id, lease := range w.of {
		if some[id] = lease; len(some) == mostDecided {
			break
		}
	}
	return some
}

func (w *withheld) forget(some map[fleet.EndpointID]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.of, func(id fleet.EndpointID, lease string) bool { return some[id] == lease })
}

// hand signs a lease that is stored. It is not handed out if the rollout was stopped meanwhile: the answer of whoever stopped it does not count
// on it. A host that had a lease before may have used that one, and stays as it is.
func (e *Engine) hand(ctx context.Context, r *entry, a *ask) (envelope []byte, refusal string, err error) {
	envelope, err = e.Signer.SignLease(ctx, a.lease)
	why := e.ended(r) // as late as can be
	if why == "" {
		return envelope, "", err
	}
	if !a.renewed {
		r.withheld.note(a.id, a.lease.ID)
	}
	return nil, why, nil
}

// ended says why nobody gets a lease any more, whatever was decided; empty if that is not so.
func (e *Engine) ended(r *entry) string {
	if c, wanted := e.Stops.pending(r.id); wanted {
		return "an operator wants to " + string(c.Action) + " it"
	}
	if phase := r.glance().Phase; phase.Final() {
		return "it is " + string(phase)
	}
	return ""
}

// takeBack books the leases that were withheld: their hosts never activated the release. The caller holds the entry's lock.
func (e *Engine) takeBack(ctx context.Context, r *entry) error {
	some := r.withheld.some()
	ids := slices.DeleteFunc(slices.Sorted(maps.Keys(some)), func(id fleet.EndpointID) bool {
		l := r.leases[id]
		return l.ID != some[id] || l.Outcome != rollout.Pending
	})
	if err := e.book(ctx, r, ids, rollout.Rejected, "its lease was not handed out: the rollout was stopped first"); err != nil {
		return err
	}
	r.withheld.forget(some)
	return nil
}
