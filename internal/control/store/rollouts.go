package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Commit writes what one event changes, in one transaction or not at all. Revision 1 creates the rollout. A rollout that exists
// already, a stored revision that is not the one before, an incident that is there already and a report that was taken in
// before are a fault.Conflict: somebody else was faster, so load the state again. An unknown rollout or report is a
// fault.NotFound.
func (s *Store) Commit(ctx context.Context, c Commit) error {
	what := fmt.Sprintf("commit event %d of rollout %s", c.Event.Revision, c.Event.Rollout)
	if err := c.coherent(); err != nil {
		return s.fail(err, what)
	}
	return s.write(ctx, what, func(ctx context.Context, tx *sql.Tx) error {
		if err := saveState(ctx, tx, c); err != nil {
			return err
		}
		e := c.Event
		_, err := tx.ExecContext(ctx,
			`INSERT INTO events (rollout, revision, at, name, data, effects) VALUES ($1, $2, $3, $4, $5, $6)`,
			e.Rollout, e.Revision, micros(e.At), e.Name, string(e.Data), string(e.Effects))
		if err == nil && c.Lease != nil {
			err = upsertLease(ctx, tx, *c.Lease)
		}
		if err == nil && c.Recall != nil {
			err = insertRecall(ctx, tx, *c.Recall)
		}
		if err == nil && c.Incident != nil {
			err = insertIncident(ctx, tx, *c.Incident)
		}
		if err == nil && c.Report != nil {
			err = takeReport(ctx, tx, *c.Report)
		}
		return err
	})
}

// coherent tells whether all parts of the commit are about one rollout.
func (c Commit) coherent() error {
	if c.State.ID != c.Event.Rollout {
		return fault.New(fault.Internal, "its state is of rollout %q", c.State.ID)
	}
	if c.Lease != nil && c.Lease.Rollout != c.Event.Rollout {
		return fault.New(fault.Internal, "its lease is of rollout %q", c.Lease.Rollout)
	}
	if c.Recall != nil && c.Recall.Rollout != c.Event.Rollout {
		return fault.New(fault.Internal, "its recall is of rollout %q", c.Recall.Rollout)
	}
	if c.Incident != nil && c.Incident.Rollout != c.Event.Rollout {
		return fault.New(fault.Internal, "its incident is of rollout %q", c.Incident.Rollout)
	}
	return nil
}

// saveState writes the state at its new revision, if the stored revision is the one before.
func saveState(ctx context.Context, tx *sql.Tx, c Commit) error {
	state, err := encoded(c.State)
	if err != nil {
		return err
	}
	id, revision := c.Event.Rollout, c.Event.Revision
	var n int64
	if revision == 1 {
		n, err = changed(ctx, tx,
			`INSERT INTO rollouts (id, component, revision, created, state) VALUES ($1, $2, 1, $3, $4) ON CONFLICT (id) DO NOTHING`,
			id, c.State.Release.Component, micros(c.Event.At), state)
	} else {
		n, err = changed(ctx, tx,
			`UPDATE rollouts SET revision = $2, state = $3 WHERE id = $1 AND revision = $2 - 1`, id, revision, state)
	}
	if err != nil || n == 1 {
		return err
	}
	have, err := one(ctx, tx, scalar[int64], none("no such rollout"), `SELECT revision FROM rollouts WHERE id = $1`, id)
	if err != nil {
		return err
	}
	return fault.New(fault.Conflict, "the rollout is at revision %d, so the next one is %d", have, have+1)
}

func scanRollout(r row) (Rollout, error) {
	var v Rollout
	err := r.Scan(jsonColumn{&v.State}, &v.Revision, timeColumn{&v.Created})
	return v, err
}

// Rollout finds a rollout.
func (s *Store) Rollout(ctx context.Context, id rollout.ID) (Rollout, error) {
	r, err := one(ctx, s.reader, scanRollout, none("no such rollout"),
		`SELECT state, revision, created FROM rollouts WHERE id = $1`, id)
	return r, s.fail(err, "find rollout "+string(id))
}

// Rollouts lists at most limit rollouts of a component, or of all if it is empty, newest first. A limit of 0 means all. Newest
// is the one that was stored last, whatever the clock said.
func (s *Store) Rollouts(ctx context.Context, component string, limit int) ([]Rollout, error) {
	all, err := list(ctx, s.reader, scanRollout,
		`SELECT state, revision, created FROM rollouts WHERE component = $1 OR $1 = '' ORDER BY number DESC LIMIT $2`,
		component, atMost(limit))
	return all, s.fail(err, "list rollouts")
}

func scanEvent(r row) (Event, error) {
	var e Event
	err := r.Scan(&e.Rollout, &e.Revision, timeColumn{&e.At}, &e.Name, rawColumn{&e.Data}, rawColumn{&e.Effects})
	return e, err
}

// Events lists at most limit events of a rollout with a revision above after, in their order. A limit of 0 means all.
func (s *Store) Events(ctx context.Context, id rollout.ID, after int64, limit int) ([]Event, error) {
	all, err := list(ctx, s.reader, scanEvent, `SELECT rollout, revision, at, name, data, effects FROM events
		WHERE rollout = $1 AND revision > $2 ORDER BY revision LIMIT $3`, id, after, atMost(limit))
	return all, s.fail(err, "list events of rollout "+string(id))
}
