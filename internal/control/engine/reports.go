package engine

import (
	"context"
	"strings"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

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
	_, err := e.step(ctx, r, e.outcome(r, l, rollout.Pending, "is back and proves on"))
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
