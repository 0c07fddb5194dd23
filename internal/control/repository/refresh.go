package repository

import (
	"context"
	"log/slog"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Refresh signs timestamp, snapshot and director anew if less than half of their life is left at now. Call it every few minutes: when the
// timestamp expires, endpoints stop activating new releases. It does nothing while there is no root or no targets.
func (r *Repository) Refresh(ctx context.Context, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := r.load(ctx)
	if err != nil || s.targets == nil {
		return err
	}
	c := change{roles: map[string][]byte{}}
	data, err := r.role(ctx, s, trust.RoleDirector)
	if err != nil {
		return err
	}
	director, err := trust.DecodeTargets(trust.RoleDirector, data)
	if err != nil {
		return stored(err)
	}
	if old(director.Signed.Expires, DirectorLife, now) {
		if c.roles[trust.RoleDirector], err = r.signDirector(ctx, s, now); err != nil {
			return err
		}
	}
	switch {
	case len(c.roles) > 0 || old(s.snapshot.Signed.Expires, SnapshotLife, now):
		err = r.commit(ctx, s, c, now)
	case old(s.timestamp.Signed.Expires, TimestampLife, now):
		err = r.renewTimestamp(ctx, s, now)
	default:
		return nil
	}
	if err == nil {
		r.Log.DebugContext(ctx, "metadata renewed", slog.Int64("snapshot", s.snapshot.Signed.Version), slog.Int64("timestamp", s.timestamp.Signed.Version))
	}
	return err
}

func (r *Repository) renewTimestamp(ctx context.Context, s *state, now time.Time) error {
	if err := r.isOnline(s.rootRoles); err != nil {
		return err
	}
	snapshot, err := r.Store.MetadataFile(ctx, trust.FileName(trust.RoleSnapshot, s.snapshot.Signed.Version))
	if err != nil {
		return stored(err)
	}
	files := map[string][]byte{}
	if err := r.signTimestamp(s, snapshot, files, now); err != nil {
		return err
	}
	return r.Store.SaveMetadata(ctx, files, nil)
}

// old tells whether less than half of a life is left. A clock that fell far back also renews: what was signed then looks too young.
func old(expires time.Time, life time.Duration, now time.Time) bool {
	left := expires.Sub(now)
	return left < life/2 || left > life+time.Minute
}
