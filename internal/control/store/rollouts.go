package store

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Commit writes what events change, in one transaction or not at all. Revision 1 creates the rollout. A rollout that exists
// already, a stored revision that is not the one before, an incident that is there already and a report that was taken in
// before are a fault.Conflict: somebody else was faster, so load the state again. An unknown rollout or report is a
// fault.NotFound.
func (s *Store) Commit(ctx context.Context, c Commit) error {
	what := fmt.Sprintf("commit to rollout %s", c.State.ID)
	if err := c.coherent(); err != nil {
		return s.fail(err, what)
	}
	first, last := c.revisions()
	what = fmt.Sprintf("commit events %d to %d of rollout %s", first, last, c.State.ID)
	rows := 1 + len(c.Events) + len(c.Leases) + len(c.Reports)
	do := func(ctx context.Context, tx *sql.Tx) error { return s.decided(ctx, tx, c) }
	return s.submit(ctx, &pending{what: what, lane: firstLane, rows: rows, do: s.fence(do), wakes: WakeRollouts})
}

// decided writes a commit.
func (s *Store) decided(ctx context.Context, tx *sql.Tx, c Commit) error {
	if err := saveState(ctx, tx, c); err != nil {
		return err
	}
	err := insertEvents(ctx, tx, c.Events)
	if err == nil {
		err = upsertLeases(ctx, tx, c.Leases)
	}
	if err == nil && c.Recall != nil {
		err = insertRecall(ctx, tx, *c.Recall)
	}
	if err == nil && c.Incident != nil {
		err = insertIncident(ctx, tx, *c.Incident)
	}
	if err == nil {
		err = takeReports(ctx, tx, c.Reports)
	}
	return err
}

// revisions are those of the first and the last event.
func (c Commit) revisions() (first, last int64) {
	return c.Events[0].Revision, c.Events[len(c.Events)-1].Revision
}

// coherent tells whether all parts of the commit are about one rollout, and its events follow one another.
func (c Commit) coherent() error {
	if len(c.Events) == 0 {
		return fault.New(fault.Internal, "it has no event")
	}
	for i, e := range c.Events {
		if e.Rollout != c.State.ID {
			return fault.New(fault.Internal, "its event %d is of rollout %q", e.Revision, e.Rollout)
		}
		if want := c.Events[0].Revision + int64(i); e.Revision != want {
			return fault.New(fault.Conflict, "event %d stands where event %d belongs", e.Revision, want)
		}
	}
	for _, l := range c.Leases {
		if l.Rollout != c.State.ID {
			return fault.New(fault.Internal, "its lease of endpoint %s is of rollout %q", l.Endpoint, l.Rollout)
		}
	}
	if c.Recall != nil && c.Recall.Rollout != c.State.ID {
		return fault.New(fault.Internal, "its recall is of rollout %q", c.Recall.Rollout)
	}
	if c.Incident != nil && c.Incident.Rollout != c.State.ID {
		return fault.New(fault.Internal, "its incident is of rollout %q", c.Incident.Rollout)
	}
	return nil
}

// saveState writes the state at its new revision, if the stored revision is the one before the first event.
func saveState(ctx context.Context, tx *sql.Tx, c Commit) error {
	first, last := c.revisions()
	state, err := encoded(c.State)
	if err != nil {
		return err
	}
	id := c.State.ID
	var n int64
	if first == 1 {
		n, err = changed(ctx, tx,
			`INSERT INTO rollouts (id, component, revision, created, state, phase, version) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (id) DO NOTHING`,
			id, c.State.Release.Component, last, micros(c.Events[0].At), state, c.State.Phase, c.State.Release.Version)
	} else {
		n, err = changed(ctx, tx,
			`UPDATE rollouts SET revision = $2, state = $3, phase = $4 WHERE id = $1 AND revision = $5`, id, last, state, c.State.Phase, first-1)
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

func insertEvents(ctx context.Context, tx *sql.Tx, all []Event) error {
	const into = `INSERT INTO events (` + eventColumns + `) VALUES `
	bind := func(args []any, e Event) []any {
		return append(args, e.Rollout, e.Revision, micros(e.At), e.Name, string(e.Data), string(e.Effects), e.Notable)
	}
	return inRows(all, `(?, ?, ?, ?, ?, ?, ?)`, bind, func(rows string, args []any) error {
		_, err := tx.ExecContext(ctx, into+rows, args...)
		return err
	})
}

const selectRollouts = `SELECT state, revision, created, phase,
	COALESCE((SELECT i.id FROM incidents i WHERE i.rollout = rollouts.id ORDER BY i.number DESC LIMIT 1), '') FROM rollouts `

func scanRollout(r row) (Rollout, error) {
	var v Rollout
	err := r.Scan(jsonColumn{&v.State}, &v.Revision, timeColumn{&v.Created}, &v.Listed, &v.Incident)
	return v, err
}

// Rollout finds a rollout.
func (s *Store) Rollout(ctx context.Context, id rollout.ID) (Rollout, error) {
	r, err := one(ctx, s.reader, scanRollout, none("no such rollout"), selectRollouts+`WHERE id = $1`, id)
	return r, s.fail(err, "find rollout "+string(id))
}

// Rollouts lists at most limit rollouts of a component, or of all if it is empty, newest first. A limit of 0 means all. Newest
// is the one that was stored last, whatever the clock said.
func (s *Store) Rollouts(ctx context.Context, component string, limit int) ([]Rollout, error) {
	all, err := list(ctx, s.reader, scanRollout,
		selectRollouts+`WHERE component = $1 OR $1 = '' ORDER BY number DESC LIMIT $2`, component, atMost(limit))
	return all, s.fail(err, "list rollouts")
}
