package app

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/cells"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/notify"
	"github.com/firebreak-dev/firebreak/internal/control/replica"
	"github.com/firebreak-dev/firebreak/internal/control/repository"
)

// leaders makes what a replica has while it leads.
type leaders struct {
	*App
	gates engine.Gates
	cells *cells.Cells
	stops *engine.Stops // outlive the reigns
}

// leader decides in one term: all that it writes names the term.
type leader struct {
	*engine.Engine
	repo  *repository.Repository
	cells *cells.Cells
	app   *App
}

func (l leaders) open(ctx context.Context, term int64) (replica.Leader, error) {
	own := l.store.Fenced(term)
	repo, err := l.repositoryOn(own)
	if err != nil {
		return nil, err
	}
	e, err := engine.New(ctx, engine.Options{
		Store: own, Settings: own, Releases: own, Directives: own, Fleet: l.fleet, Signer: repo, Gates: l.gates, Cell: l.Cell, Cells: l.cells, Nudge: l.nudge, Meter: l.metrics, Stops: l.stops,
		Notifier: notify.Log{Logger: component(l.Log, "notify")}, Clock: l.Clock, Log: component(l.Log, "engine"), NewID: newID,
		Tick: tick, Grace: l.PollIdle + l.Grace, Reach: reach, Hearing: 3*l.PollIdle + hearing, Freshness: freshness,
	})
	if err != nil {
		return nil, err
	}
	return &leader{Engine: e, repo: repo, cells: l.cells, app: l.App}, nil
}

// Run decides, and keeps what is signed online fresh, until ctx ends.
func (l *leader) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.Engine.Run(ctx) })
	group.Go(func() error { return l.cells.Run(ctx) })
	group.Go(func() error { return l.refresh(ctx) })
	group.Go(func() error { return l.tidy(ctx) })
	return group.Wait()
}

// How long things are kept that nothing needs any more, and how often that is looked at.
const (
	tidyEvery   = 6 * time.Hour
	reportsKept = 7 * 24 * time.Hour
	auditKept   = 366 * 24 * time.Hour
)

// tidy removes old reports and artifacts that nothing needs. What fails is tried again the next time.
func (l *leader) tidy(ctx context.Context) error {
	for l.app.Clock.Sleep(ctx, tidyEvery) == nil {
		pruned, err := l.app.store.Prune(ctx, l.app.Clock.Now().Add(-reportsKept))
		if err == nil {
			_, err = l.app.store.PruneAudit(ctx, l.app.Clock.Now().Add(-auditKept))
		}
		if err == nil {
			_, err = l.app.garbage.Collect(ctx, false)
		}
		l.app.Log.InfoContext(ctx, "tidied", slog.Int64("reports", pruned), slog.Any("error", err))
	}
	return nil
}

// refresh signs anew what expires. Before the publisher has made a root there is nothing to sign.
func (l *leader) refresh(ctx context.Context) error {
	l.refreshOnce(ctx)
	for l.app.Clock.Sleep(ctx, refresh) == nil {
		l.refreshOnce(ctx)
	}
	return nil
}

func (l *leader) refreshOnce(ctx context.Context) {
	if err := l.repo.Refresh(ctx, l.app.Clock.Now()); err != nil && ctx.Err() == nil {
		l.app.Log.ErrorContext(ctx, "refresh the repository's metadata", slog.Any("error", err))
	}
}

// Submit takes in metadata that a publisher signed.
func (l *leader) Submit(ctx context.Context, role string, metadata []byte) (api.Submission, error) {
	return l.repo.Submit(ctx, role, metadata)
}

// Discard throws pending metadata of a role away.
func (l *leader) Discard(ctx context.Context, role string) error { return l.repo.Discard(ctx, role) }

// Submit hands metadata to the leader.
func (d desk) Submit(ctx context.Context, role string, metadata []byte) (api.Submission, error) {
	return d.leader.Submit(ctx, role, metadata)
}

// Discard asks the leader to throw pending metadata away.
func (d desk) Discard(ctx context.Context, role string) error { return d.leader.Discard(ctx, role) }
