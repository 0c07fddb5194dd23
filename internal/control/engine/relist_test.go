package engine_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// outdated shows rollouts as a leader of the version before leaves them, and remembers which ones are listed anew.
type outdated struct {
	*store.Store
	asked [][]store.Rollout
}

func (o *outdated) Rollouts(ctx context.Context, component string, limit int) ([]store.Rollout, error) {
	all, err := o.Store.Rollouts(ctx, component, limit)
	for i := range all {
		if i > 0 { // all but the newest
			all[i].Listed = rollout.None
		}
	}
	return all, err
}

func (o *outdated) Relist(ctx context.Context, rollouts []store.Rollout) error {
	o.asked = append(o.asked, rollouts)
	return o.Store.Relist(ctx, rollouts)
}

func TestRolloutsOfTheVersionBeforeAreListedAnewAtOnce(t *testing.T) {
	t.Parallel()
	w := open(t, 0)
	for _, id := range []rollout.ID{"r1", "r2", "r3"} {
		state := rollout.State{ID: id, Release: rollout.Release{Component: component, Version: string(id)}, Phase: rollout.Halted}
		w.ok(w.db.Commit(t.Context(), store.Commit{State: state, Events: []store.Event{
			{Rollout: id, Revision: 1, At: start(), Name: "e", Data: []byte(`{}`), Effects: []byte(`[]`)},
		}}))
	}
	old := &outdated{Store: w.db}
	_, err := engine.New(t.Context(), engine.Options{
		Store: old, Settings: w.db, Releases: w.db, Directives: w.store, Fleet: w.fleet, Signer: w.pen, Notifier: w.bell, Stops: w.stops,
		Clock: w.clock, Log: slog.New(slog.DiscardHandler), NewID: func(prefix string) string { return prefix }, Tick: time.Second, Freshness: freshness,
	})
	w.ok(err)
	if len(old.asked) != 1 || len(old.asked[0]) != 2 || old.asked[0][0].State.ID != "r2" || old.asked[0][1].State.ID != "r1" {
		t.Errorf("got asked for %+v, want r2 and r1 in one go", old.asked)
	}
}
