package store

import (
	"context"
	"database/sql"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Await returns once no write to a rollout is under way any more that began before: what is read afterwards is how it ended. A rollout that is
// not there may still be on its way.
func (s *Store) Await(ctx context.Context, id rollout.ID) error {
	return s.write(ctx, "wait for writes to rollout "+string(id), func(ctx context.Context, tx *sql.Tx) error {
		_, err := one(ctx, tx, scalar[int64], none("it is not there"), `SELECT revision FROM rollouts WHERE id = $1 `+s.dialect.ForUpdate, id)
		if err != nil && fault.KindOf(err) == fault.NotFound {
			return nil
		}
		return err
	})
}
