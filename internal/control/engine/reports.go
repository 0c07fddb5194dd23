package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Ask answers a prepared host's wish: a signed lease, or why it has to wait.
func (e *Engine) Ask(ctx context.Context, id fleet.EndpointID, wish api.Wish) (envelope []byte, refusal string, err error) {
	r, err := e.entry(rollout.ID(wish.Rollout))
	if fault.KindOf(err) == fault.NotFound {
		return nil, "there is no such rollout", nil
	}
	if err != nil {
		return nil, "", err
	}
	if err = e.hold(ctx, r); err != nil {
		return nil, "", err
	}
	defer r.mu.Unlock()
	if err = e.catchUp(ctx, r); err != nil {
		return nil, "", err
	}
	if string(r.state.Release.Manifest) != wish.Manifest || !e.board.current(r.state) || e.board.barred(r.state) {
		return nil, "the rollout is not for this release any more; fetch the directive again", nil
	}
	host, ok := e.host(r, id)
	if !ok {
		return nil, "", fault.New(fault.Denied, "grant a lease: endpoint %s is not enrolled", id)
	}
	effects, err := e.step(ctx, r, rollout.LeaseAsked{At: stamp(e.Clock.Now()), Host: host}, nil)
	if err != nil {
		return nil, "", err
	}
	if waiting, no := refused(effects); no {
		return nil, waiting.Text, nil
	}
	envelope, err = e.Signer.SignLease(ctx, wire(r.state, r.leases[id]))
	return envelope, "", err
}

// catchUp tells a rollout what it must know before it exposes anybody else: what was found, and the freezes. The caller holds its lock.
func (e *Engine) catchUp(ctx context.Context, r *entry) error {
	if err := e.tell(ctx, r); err != nil {
		return err
	}
	return e.agree(ctx, r)
}

func wire(s rollout.State, l store.Lease) api.Lease {
	return api.Lease{
		ID: l.ID, Endpoint: string(l.Endpoint), Component: s.Release.Component, Rollout: string(s.ID), Manifest: string(s.Release.Manifest),
		Ring: l.Ring, Started: s.Started, Issued: l.Issued, Expires: l.Expires, Deadline: l.Deadline,
	}
}

// Returned notes that a host is proving a release. One that had said goodbye is back: it counts as unconfirmed again.
func (e *Engine) Returned(ctx context.Context, id fleet.EndpointID, component string) error {
	for _, named := range e.board.named(component) {
		r, err := e.entry(named)
		if err != nil {
			continue
		}
		if err := e.returned(ctx, r, id); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) returned(ctx context.Context, r *entry, id fleet.EndpointID) error {
	if err := e.hold(ctx, r); err != nil {
		return err
	}
	defer r.mu.Unlock()
	l, ok := r.leases[id]
	if !ok || l.Outcome != rollout.Goodbye {
		return nil
	}
	_, err := e.step(ctx, r, e.outcome(r, l, rollout.Pending, "is back and proves on"), nil)
	return err
}

// Pending tells whether an endpoint holds a lease without an outcome: it should be heard often. It waits for no decision.
func (e *Engine) Pending(id fleet.EndpointID, component string) bool {
	for _, named := range e.board.named(component) {
		if r, err := e.entry(named); err == nil && r.due.has(id) {
			return true
		}
	}
	return false
}

// drainAtOnce bounds the reports held in memory by one drain.
const drainAtOnce = 500

// Drain takes in all reports that are stored and were not decided on yet, in the order in which they arrived. One that cannot be taken in
// now holds up only the later ones of its own endpoint, unless the store as a whole is not there.
func (e *Engine) Drain(ctx context.Context) error {
	e.drain.Lock()
	defer e.drain.Unlock()
	var failed error
	stuck := map[fleet.EndpointID]bool{}
	for after := int64(0); ; {
		reports, err := e.Store.UntakenReports(ctx, after, drainAtOnce)
		if err != nil {
			return fmt.Errorf("read new reports: %w", err)
		}
		for _, report := range reports {
			after = report.Arrival
			if stuck[report.Endpoint] {
				continue
			}
			if err := e.take(ctx, report); err != nil {
				failed, stuck[report.Endpoint] = fmt.Errorf("take in report %d of %s: %w", report.Seq, report.Endpoint, err), true
			}
			if fault.KindOf(failed) == fault.Unavailable {
				return failed
			}
		}
		if len(reports) < drainAtOnce {
			return failed
		}
	}
}

// take folds one report into its rollout. A report that belongs to no lease is kept, and marked as taken.
func (e *Engine) take(ctx context.Context, stored store.Report) error {
	key := store.ReportKey{Endpoint: stored.Endpoint, Seq: stored.Seq}
	var report api.Report
	if err := json.Unmarshal(stored.Data, &report); err != nil {
		e.Log.WarnContext(ctx, "a stored report cannot be read", slog.String("endpoint", string(stored.Endpoint)), slog.Int64("seq", stored.Seq))
		return e.Store.MarkTaken(ctx, key)
	}
	r, err := e.entry(rollout.ID(report.Rollout))
	if err != nil {
		return e.Store.MarkTaken(ctx, key)
	}
	shared, err := e.shareBlame(ctx, r, stored.Endpoint, report)
	if err != nil {
		return err
	}
	if err = e.hold(ctx, r); err != nil {
		return err
	}
	defer r.mu.Unlock()
	lease, ok := r.leases[stored.Endpoint]
	if !ok || report.Manifest != string(r.state.Release.Manifest) {
		return e.Store.MarkTaken(ctx, key)
	}
	if report.Outcome == api.OutcomeRecovered && lease.Outcome == rollout.Pending {
		lease, err = e.leave(ctx, r, lease)
		if err != nil {
			return err
		}
	}
	event := e.eventOf(r, report, lease)
	if event == nil {
		return e.Store.MarkTaken(ctx, key)
	}
	if outcome, harmed := event.(rollout.OutcomeKnown); harmed {
		outcome.Detail, outcome.Blamed = outcome.Detail+shared.overlap, shared.blamed
		event = outcome
	}
	_, err = e.step(ctx, r, event, &key)
	return err
}

// leave takes a host out of the test that went back on a recall before it was proved: it was exposed, and tells nothing.
func (e *Engine) leave(ctx context.Context, r *entry, l store.Lease) (store.Lease, error) {
	_, err := e.step(ctx, r, e.outcome(r, l, rollout.Goodbye, "recalled before it was proved"), nil)
	return r.leases[l.Endpoint], err
}

// eventOf reads a report as an event, or nil if it tells nothing new.
func (e *Engine) eventOf(r *entry, report api.Report, l store.Lease) rollout.Event {
	at := stamp(e.Clock.Now())
	switch report.Outcome {
	case api.OutcomeRecovered:
		if !l.Recovered.IsZero() {
			return nil
		}
		return rollout.HostRecovered{At: at, Endpoint: l.Endpoint, Was: l.Outcome}
	case api.OutcomeBooted:
		if l.Outcome != rollout.Confirmed {
			return nil // a host that boots again and again because of the release shows nothing good
		}
		return rollout.HostBooted{At: at, Endpoint: l.Endpoint, Ring: l.Ring}
	}
	outcome := rollout.Outcome(report.Outcome)
	if _, follows := rollout.Follow(l.Outcome, outcome); !follows || outcome == rollout.Silent || outcome == rollout.Late || outcome == rollout.Pending {
		return nil
	}
	event := e.outcome(r, l, outcome, clip(report.Detail))
	if reported(outcome) {
		event.Crash = (*rollout.Crash)(report.Crash)
	}
	return event
}

// clip shortens what a host says to what is worth keeping, without cutting a character in two.
func clip(s string) string {
	const most = 500
	if s = strings.ToValidUTF8(s, "\uFFFD"); len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
