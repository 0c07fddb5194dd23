package engine_test

import (
	"log/slog"
	"runtime"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// opened starts an engine on what is stored, a month later.
func opened(b *testing.B, db *store.Store) *engine.Engine {
	b.Helper()
	e, err := engine.New(b.Context(), engine.Options{
		Store: db, Settings: db, Releases: db, Directives: db, Fleet: registry.New(), Signer: &pen{}, Notifier: &bell{},
		Clock: clock.At(start().Add(30 * 24 * time.Hour)), Log: slog.New(slog.DiscardHandler),
		NewID: func(prefix string) string { return prefix }, Tick: time.Second, Grace: grace, Reach: time.Hour, Hearing: time.Hour, Freshness: freshness,
	})
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// BenchmarkManyRollouts measures what ten thousand rollouts that are over cost: opening, their memory, and looking at some of them.
func BenchmarkManyRollouts(b *testing.B) {
	db := past(b, manyRollouts)
	b.Run("open", func(b *testing.B) {
		var before, after runtime.MemStats
		for b.Loop() {
			runtime.GC()
			runtime.ReadMemStats(&before)
			e := opened(b, db)
			runtime.GC()
			runtime.ReadMemStats(&after)
			runtime.KeepAlive(e)
		}
		b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/manyRollouts, "B/rollout")
	})
	e := opened(b, db)
	for name, q := range map[string]store.RolloutQuery{
		"newest":    {Limit: 50},
		"active":    {Active: true, Limit: 50},
		"component": {Component: "component-7", Limit: 50},
		"behind":    {Behind: rollout.ID("ro-7000"), Limit: 50},
		"ended":     {Phases: []rollout.Phase{rollout.Complete, rollout.Halted, rollout.Tripped, rollout.RolledBack}, Limit: 50},
		"release":   {Component: "component-7", Version: "4007"},
		"all":       {},
	} {
		b.Run("leader/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := e.Rollouts(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("follower/"+name, func(b *testing.B) {
			for b.Loop() {
				rows, err := db.FindRollouts(b.Context(), q)
				if err != nil {
					b.Fatal(err)
				}
				for _, row := range rows {
					engine.Show(row)
				}
			}
		})
	}
	b.Run("leader/phases", func(b *testing.B) {
		for b.Loop() {
			_, _ = e.Phases(b.Context())
		}
	})
	b.Run("follower/phases", func(b *testing.B) {
		for b.Loop() {
			_, _ = db.RolloutPhases(b.Context())
		}
	})
}
