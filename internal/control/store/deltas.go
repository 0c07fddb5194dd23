package store

import (
	"context"
	"database/sql"

	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Delta is how an artifact is had from another one. There is one for each artifact, base and form.
type Delta struct {
	Artifact release.Digest // what comes out
	Base     release.Digest // what it needs; "" if nothing
	Form     string         // as in package api
	Blob     release.Digest // the delta itself
	Size     int64          // of the delta, in bytes
}

func scanDelta(r row) (Delta, error) {
	var d Delta
	err := r.Scan(&d.Artifact, &d.Base, &d.Form, &d.Blob, &d.Size)
	return d, err
}

// PutDelta notes a delta, in place of the one that was there.
func (s *Store) PutDelta(ctx context.Context, d Delta) error {
	return s.write(ctx, "store delta of "+d.Artifact.Short(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO deltas (artifact, base, form, blob, size) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (artifact, base, form) DO UPDATE SET blob = excluded.blob, size = excluded.size`,
			d.Artifact, d.Base, d.Form, d.Blob, d.Size)
		return err
	})
}

// Deltas lists the deltas that lead to an artifact, or all if it is "": by artifact, the shortest first.
func (s *Store) Deltas(ctx context.Context, artifact release.Digest) ([]Delta, error) {
	all, err := list(ctx, s.reader, scanDelta,
		`SELECT artifact, base, form, blob, size FROM deltas WHERE artifact = $1 OR $1 = '' ORDER BY artifact, size, base, form`, artifact)
	return all, s.fail(err, "list deltas of "+artifact.Short())
}

// DropDeltas forgets the deltas that lead to an artifact or start from it. Their blobs stay: who collects blobs calls it, and then
// removes those that nothing names any more.
func (s *Store) DropDeltas(ctx context.Context, artifact release.Digest) error {
	return s.write(ctx, "forget the deltas of "+artifact.Short(), func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM deltas WHERE artifact = $1 OR base = $1`, artifact)
		return err
	})
}
