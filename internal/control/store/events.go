package store

import (
	"context"
	"math"

	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

const eventColumns = `rollout, revision, at, name, data, effects, notable`

func scanEvent(r row) (Event, error) {
	var e Event
	err := r.Scan(&e.Rollout, &e.Revision, timeColumn{&e.At}, &e.Name, rawColumn{&e.Data}, rawColumn{&e.Effects}, &e.Notable)
	return e, err
}

// Events lists at most limit events of a rollout with a revision above after, in their order. A limit of 0 means all.
func (s *Store) Events(ctx context.Context, id rollout.ID, after int64, limit int) ([]Event, error) {
	all, err := list(ctx, s.reader, scanEvent, `SELECT `+eventColumns+` FROM events
		WHERE rollout = $1 AND revision > $2 ORDER BY revision LIMIT $3`, id, after, atMost(limit))
	return all, s.fail(err, "list events of rollout "+string(id))
}

// NotableEvents lists at most limit events of a rollout that are as notable as that, with a revision below before, newest first. A before of
// 0 is above all. It reads no others, however many there are.
func (s *Store) NotableEvents(ctx context.Context, id rollout.ID, n Notable, before int64, limit int) ([]Event, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	// The inner query has all it needs in its index, so that no database thinks of going through the events themselves.
	all, err := list(ctx, s.reader, scanEvent, `SELECT `+eventColumns+` FROM events WHERE rollout = $1 AND revision IN (
		SELECT revision FROM events WHERE rollout = $1 AND notable = $2 AND notable > 0 AND revision < $3 ORDER BY revision DESC LIMIT $4)
		ORDER BY revision DESC`, id, n, before, atMost(limit))
	return all, s.fail(err, "list notable events of rollout "+string(id))
}

// EventsAt reads the events of a rollout with these revisions, each of which is named once, in no order. It leaves out those that are not there.
func (s *Store) EventsAt(ctx context.Context, id rollout.ID, revisions []int64) ([]Event, error) {
	var all []Event
	bind := func(args []any, revision int64) []any { return append(args, id, revision) }
	err := inRows(revisions, `(CAST(? AS TEXT), CAST(? AS BIGINT))`, bind, func(rows string, args []any) error {
		part, err := list(ctx, s.reader, scanEvent, `SELECT `+eventColumns+` FROM events WHERE (rollout, revision) IN (VALUES `+rows+`)`, args...)
		all = append(all, part...)
		return err
	})
	return all, s.fail(err, "read events of rollout "+string(id))
}
