package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// drains are the rounds in which stored reports are taken in. A round that begins after a call takes in whatever was stored before the call,
// so that all who wait share it.
type drains struct {
	turn  chan struct{} // whoever has put something in makes a round; of one
	begun atomic.Uint64
	stuck stuck // of the newest round, as is err
	err   error
}

// stuck are hosts with a report that could not be taken in, and why.
type stuck map[fleet.EndpointID]error

// Take takes in the stored reports, and says why those of a host could not be. Once it returns nil, what this host had stored before the
// call is decided on: no lease is granted any more that it forbids.
func (e *Engine) Take(ctx context.Context, id fleet.EndpointID) error {
	failed, err := e.round(ctx)
	if err != nil {
		return err
	}
	return failed[id]
}

// Drain takes in all reports that are stored and were not decided on yet, in the order in which they arrived. One that cannot be taken in
// now holds up only the later ones of its own endpoint, unless the store as a whole is not there.
func (e *Engine) Drain(ctx context.Context) error {
	failed, err := e.round(ctx)
	return cmp.Or(err, failed.first())
}

// first is one of the errors, nil if there is none: it says enough.
func (s stuck) first() error {
	for _, one := range s {
		return one
	}
	return nil
}

// round waits for a round that began after the call, or makes it. It is not given up half-way: others wait for it too.
func (e *Engine) round(ctx context.Context) (stuck, error) {
	d := &e.drains
	wanted := d.begun.Load() + 1
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "take in reports: %w", ctx.Err())
	}
	defer func() { <-d.turn }()
	if d.begun.Load() < wanted {
		d.begun.Add(1)
		d.stuck, d.err = e.drain(context.WithoutCancel(ctx))
	}
	return d.stuck, d.err
}

// drainAtOnce bounds the reports held in memory by one round.
const drainAtOnce = 500

func (e *Engine) drain(ctx context.Context) (stuck, error) {
	h := harvest{Engine: e, stuck: stuck{}, good: map[*entry][]incoming{}}
	for after := int64(0); ; {
		reports, err := e.Store.UntakenReports(ctx, after, drainAtOnce)
		if err != nil {
			return nil, fmt.Errorf("read new reports: %w", err)
		}
		for _, report := range reports {
			after = report.Arrival
			if err := h.take(ctx, report); err != nil {
				return nil, err
			}
		}
		if err := h.flush(ctx); err != nil {
			return nil, err
		}
		if len(reports) < drainAtOnce {
			return h.stuck, nil
		}
	}
}

// harvest is a round at work. Reports that tell of no harm are decided on in batches, one for each rollout; harm by itself, because other
// rollouts that met on the host may share the blame.
type harvest struct {
	*Engine
	stuck stuck
	order []*entry // of those below
	good  map[*entry][]incoming
}

// incoming is a report on its way in.
type incoming struct {
	key store.ReportKey
	api.Report
}

// take takes in one report, or keeps it for the next batch. Only an error of the store as a whole is returned.
func (h *harvest) take(ctx context.Context, stored store.Report) error {
	in := incoming{key: store.ReportKey{Endpoint: stored.Endpoint, Seq: stored.Seq}}
	if _, held := h.stuck[stored.Endpoint]; held {
		return nil
	}
	if !readable(stored.Data, &in.Report) {
		h.Log.WarnContext(ctx, "a stored report cannot be read", slog.String("endpoint", string(stored.Endpoint)), slog.Int64("seq", stored.Seq))
		return h.hung(in, h.Store.MarkTaken(ctx, in.key))
	}
	r, _ := h.entry(rollout.ID(in.Rollout)) // nil if there is none
	if r == nil {
		return h.hung(in, h.Store.MarkTaken(ctx, in.key))
	}
	if !reported(rollout.Outcome(in.Outcome)) {
		if h.good[r] == nil {
			h.order = append(h.order, r)
		}
		h.good[r] = append(h.good[r], in)
		return nil
	}
	if err := h.flush(ctx); err != nil || h.stuck[stored.Endpoint] != nil {
		return err
	}
	return h.hung(in, h.takeHarm(ctx, r, in))
}

func readable(data []byte, into *api.Report) bool { return json.Unmarshal(data, into) == nil }

// hung notes that a report could not be taken in; if it is the store that is not there, none can be.
func (h *harvest) hung(in incoming, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("take in report %d of %s: %w", in.Seq, in.key.Endpoint, err)
	if fault.KindOf(err) == fault.Unavailable {
		return err
	}
	h.stuck[in.key.Endpoint] = err
	return nil
}

// flush takes in what was kept.
func (h *harvest) flush(ctx context.Context) error {
	for _, r := range h.order {
		for rest := h.good[r]; len(rest) > 0; {
			n := min(mostDecided, len(rest))
			if err := h.takeGood(ctx, r, rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
	}
	h.order = nil
	clear(h.good)
	return nil
}

// takeGood folds reports into their rollout, all in one commit. If that is refused, one after the other: one of them is to blame.
func (h *harvest) takeGood(ctx context.Context, r *entry, all []incoming) error {
	err := h.fold(ctx, r, all, sharing{})
	if err == nil || fault.KindOf(err) == fault.Unavailable || len(all) == 1 {
		return h.hung(all[0], err)
	}
	for _, in := range all {
		if h.stuck[in.key.Endpoint] == nil {
			if err := h.hung(in, h.fold(ctx, r, []incoming{in}, sharing{})); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *harvest) takeHarm(ctx context.Context, r *entry, in incoming) error {
	shared, err := h.shareBlame(ctx, r, in.key.Endpoint, in.Report)
	if err != nil {
		return err
	}
	return h.fold(ctx, r, []incoming{in}, shared)
}

// fold decides over reports of one rollout, and stores that together. Those that belong to no lease, or tell nothing new, are kept and marked
// as taken.
func (e *Engine) fold(ctx context.Context, r *entry, all []incoming, shared sharing) error {
	if err := e.hold(ctx, r); err != nil {
		return err
	}
	defer r.mu.Unlock()
	b := e.begin(r)
	var idle []store.ReportKey
	for _, in := range all {
		news, err := e.tellOf(b, in, shared)
		if err != nil {
			return b.drop(ctx, err)
		}
		if !news {
			idle = append(idle, in.key)
		}
	}
	if err := b.store(ctx); err != nil {
		return err
	}
	for _, key := range idle {
		if err := e.Store.MarkTaken(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// tellOf lets the machine decide over one report, and says whether it had anything to tell.
func (e *Engine) tellOf(b *batch, in incoming, shared sharing) (news bool, err error) {
	id := in.key.Endpoint
	lease, ok := b.r.leases[id]
	if !ok || in.Manifest != string(b.state.Release.Manifest) {
		return false, nil
	}
	if in.Outcome == api.OutcomeRecovered && lease.Outcome == rollout.Pending { // it was exposed, and tells nothing
		if _, err = b.decide(e.outcome(b.r, lease, rollout.Goodbye, "recalled before it was proved"), nil); err != nil {
			return false, err
		}
		lease = b.r.leases[id]
	}
	event := e.eventOf(b.r, in.Report, lease)
	if event == nil {
		return false, nil
	}
	if outcome, harmed := event.(rollout.OutcomeKnown); harmed {
		outcome.Detail, outcome.Blamed = outcome.Detail+shared.overlap, shared.blamed
		event = outcome
	}
	_, err = b.decide(event, &in.key)
	return true, err
}
