package engine

import (
	"context"
	"slices"
	"sync"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// ask is one host's wish on its way through a decision. Whoever holds the rollout's lock answers it.
type ask struct {
	id       fleet.EndpointID
	manifest string
	gone     <-chan struct{} // closed when nobody waits for the answer any more
	answered bool            // under the rollout's lock, as are the next ones until it is true
	lease    api.Lease
	renewed  bool // the host had a lease before, which it may have used
	refusal  string
	code     string // of the refusal
	err      error
}

// asks are the wishes that wait for a rollout's lock, in the order in which they came.
type asks struct {
	mu    sync.Mutex
	queue []*ask
}

func (a *asks) push(one *ask) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = append(a.queue, one)
}

// take gives the first ones, at most most.
func (a *asks) take(most int) []*ask {
	a.mu.Lock()
	defer a.mu.Unlock()
	first := a.queue[:min(most, len(a.queue))]
	a.queue = a.queue[len(first):]
	return first
}

// drop takes a wish out of the queue, if it is still there.
func (a *asks) drop(one *ask) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = slices.DeleteFunc(a.queue, func(other *ask) bool { return other == one })
}

// Ask answers a prepared host's wish: a signed lease, or why it has to wait. Wishes that wait for the same rollout are decided together, by
// the first of them that has its lock.
func (e *Engine) Ask(ctx context.Context, id fleet.EndpointID, wish api.Wish) (envelope []byte, refusal string, err error) {
	r, err := e.entry(rollout.ID(wish.Rollout))
	if fault.KindOf(err) == fault.NotFound {
		return nil, "there is no such rollout", nil
	}
	if err != nil {
		return nil, "", err
	}
	a := &ask{id: id, manifest: wish.Manifest, gone: ctx.Done()}
	r.asks.push(a)
	if err = e.answerAll(ctx, r, a); err != nil {
		return nil, "", err
	}
	if a.err == nil && a.refusal == "" {
		envelope, a.refusal, a.err = e.hand(ctx, r, a)
	}
	e.count(a)
	return envelope, a.refusal, a.err
}

// answerAll decides over the wishes that wait for the rollout, until this one is answered.
func (e *Engine) answerAll(ctx context.Context, r *entry, mine *ask) error {
	if err := e.hold(ctx, r); err != nil {
		r.asks.drop(mine)
		return err
	}
	defer r.mu.Unlock()
	for !mine.answered {
		if err := e.sure(ctx, r); err != nil { // of the batch before
			r.asks.drop(mine)
			return err
		}
		e.answer(context.WithoutCancel(ctx), r, r.asks.take(mostDecided)) // others wait for it too
	}
	return nil
}

// answer decides over wishes in one batch. The caller holds the entry's lock.
func (e *Engine) answer(ctx context.Context, r *entry, wishes []*ask) {
	err := e.catchUp(ctx, r)
	granting := e.board.granting(r.state.Release.Component)
	granting.RLock() // until what is granted is stored: a recall by another rollout waits so long
	defer granting.RUnlock()
	b := e.begin(r)
	for _, a := range wishes {
		if a.answered, a.err = true, err; err == nil {
			e.decideOn(b, a)
		}
	}
	if err := b.store(ctx); err != nil {
		for _, a := range wishes {
			if a.err == nil && a.refusal == "" {
				a.err = err
			}
		}
	}
}

// count tells the meter what became of a wish.
func (e *Engine) count(a *ask) {
	switch {
	case e.Meter == nil || a.err != nil:
	case a.refusal != "":
		e.Meter.Refused(a.code)
	default:
		e.Meter.Granted()
	}
}

// decideOn lets the machine decide over one wish.
func (e *Engine) decideOn(b *batch, a *ask) {
	select {
	case <-a.gone: // a lease that nobody takes would turn silent
		a.err = fault.New(fault.Unavailable, "grant a lease to %s: it does not wait for it any more", a.id)
		return
	default:
	}
	if string(b.state.Release.Manifest) != a.manifest || !e.board.current(b.state) || e.board.barred(b.state) {
		a.refusal = "the rollout is not for this release any more; fetch the directive again"
		return
	}
	if c, wanted := e.Stops.pending(b.r.id); wanted {
		a.refusal = "an operator wants to " + string(c.Action) + " it"
		return
	}
	host, ok := e.host(b.r, a.id)
	if !ok {
		a.err = fault.New(fault.Denied, "grant a lease: endpoint %s is not enrolled", a.id)
		return
	}
	effects, err := b.decide(rollout.LeaseAsked{At: stamp(e.Clock.Now()), Host: host}, nil)
	if err != nil {
		a.err = err
		return
	}
	if waiting, no := refused(effects); no {
		a.refusal, a.code = waiting.Text, waiting.Code
		return
	}
	a.lease, a.renewed = wire(b.state, b.r.leases[a.id]), host.Prior == rollout.Pending
}

// catchUp tells a rollout what it must know before it exposes anybody else: what was found, the freezes, and how other
// cells are. The caller holds its lock.
func (e *Engine) catchUp(ctx context.Context, r *entry) error {
	if err := e.tell(ctx, r); err != nil {
		return err
	}
	if err := e.agree(ctx, r); err != nil {
		return err
	}
	return e.listen(ctx, r)
}

// wire is the lease as hosts get it. They count the rings of the signed plan from when the rollout started, which lies in a time yet to come
// if the clock was put back since: then it is said to have started as late as its open rings allow, so that no host waits for a wrong time.
func wire(s rollout.State, l store.Lease) api.Lease {
	started := s.Started
	if latest := l.Issued.Add(-s.Plan.NotBefore(l.Ring)); latest.Before(started) {
		started = latest
	}
	return api.Lease{
		ID: l.ID, Endpoint: string(l.Endpoint), Component: s.Release.Component, Rollout: string(s.ID), Manifest: string(s.Release.Manifest),
		Ring: l.Ring, Started: started, Issued: l.Issued, Expires: l.Expires, Deadline: l.Deadline,
	}
}
