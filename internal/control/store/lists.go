package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Lists of rollouts are picked by columns that repeat what the state says. The version before does not know these columns: what it begins has
// them empty, and what it decides leaves them as they were. So nothing is left out because of them that may have been written so, and what
// they say is compared with the state.

// FindRollouts lists the rollouts that are asked for, newest first as [Store.Rollouts]. It reads few others. While a leader of the version
// before writes, one that was complete and has ended otherwise since is still taken for complete, and so left out if only the other is
// asked for.
func (s *Store) FindRollouts(ctx context.Context, q RolloutQuery) ([]Rollout, error) {
	const what = "list rollouts"
	var found []Rollout
	page := q
	for {
		all, err := s.pickRollouts(ctx, page)
		if err != nil {
			return nil, s.fail(err, what)
		}
		for _, r := range all {
			if q.Wants(&r.State) {
				found = append(found, r)
			}
		}
		if q.Limit <= 0 || len(all) < page.Limit || len(found) == q.Limit {
			return found, nil
		}
		page.Behind, page.Limit = all[len(all)-1].State.ID, q.Limit-len(found)
	}
}

// pickRollouts is FindRollouts by the columns alone: with some that are not wanted among them.
func (s *Store) pickRollouts(ctx context.Context, q RolloutQuery) ([]Rollout, error) {
	before := int64(math.MaxInt64)
	if q.Behind != "" {
		behind := []any{q.Behind}
		storable(behind)
		var err error
		before, err = one(ctx, s.reader, scalar[int64], none("no such rollout: %s", q.Behind), `SELECT number FROM rollouts WHERE id = $1`, behind...)
		if err != nil {
			return nil, err
		}
	}
	where, args := `number < $1`, []any{before, atMost(q.Limit)}
	also := func(column string, values ...any) {
		marks := make([]string, len(values))
		for i, v := range values {
			args = append(args, v)
			marks[i] = fmt.Sprintf("$%d", len(args))
		}
		where += ` AND ` + column + ` IN (` + strings.Join(marks, ", ") + `)`
	}
	if q.Component != "" {
		also("component", q.Component)
	}
	if q.Version != "" {
		also("version", q.Version, "")
	}
	if q.Active || len(q.Phases) > 0 {
		also("phase", anys(append(doubtful(), q.Phases...))...)
	}
	storable(args)
	picked := `SELECT number FROM rollouts WHERE ` + where + ` ORDER BY number DESC LIMIT $2` // of indexes alone: states are large
	return list(ctx, s.reader, scanRollout, selectRollouts+`WHERE number IN (`+picked+`) ORDER BY number DESC`, args...)
}

// doubtful are the phases by which rollouts are listed that may be in another by now, if the version before has written them.
func doubtful() []rollout.Phase { return append(activePhases(), rollout.None) }

func anys[T any](all []T) []any {
	values := make([]any, len(all))
	for i, v := range all {
		values[i] = v
	}
	return values
}

// RolloutPhases counts all rollouts by their phase. Those that are not doubtful it counts by the index alone.
func (s *Store) RolloutPhases(ctx context.Context) (map[rollout.Phase]int64, error) {
	type counted struct {
		phase rollout.Phase
		n     int64
	}
	scan := func(r row) (c counted, err error) {
		var state string
		if err = r.Scan(&c.phase, &c.n, &state); err == nil && state != "" {
			c.phase = picksOf(state).Phase
		}
		return c, err
	}
	all, err := list(ctx, s.reader, scan, `SELECT phase, count(*), '' FROM rollouts WHERE phase NOT IN ($1, $2, $3, $4) GROUP BY phase
		UNION ALL SELECT phase, 1, state FROM rollouts WHERE phase IN ($1, $2, $3, $4)`, anys(doubtful())...)
	phases := make(map[rollout.Phase]int64, len(all))
	for _, c := range all {
		phases[c.phase] += c.n
	}
	return phases, s.fail(err, "count rollouts")
}

// Relist writes what lists pick rollouts by, for those that the version before has written since they were listed. One that was
// changed since it was read is left alone. It writes in several transactions: after an error some are listed anew.
func (s *Store) Relist(ctx context.Context, rollouts []Rollout) error {
	rows := make([]listing, len(rollouts))
	for i, r := range rollouts {
		rows[i] = listing{id: r.State.ID, revision: r.Revision, picks: picks{Phase: r.State.Phase}}
		rows[i].Release.Version = r.State.Release.Version
	}
	return s.relist(ctx, rows)
}

// listing is a rollout with what lists pick it by.
type listing struct {
	number   int64
	id       rollout.ID
	revision int64
	picks
}

// picks is the part of a [rollout.State] that lists pick by.
type picks struct {
	Phase   rollout.Phase `json:"phase"`
	Release struct {
		Version string `json:"version"`
	} `json:"release"`
}

// picksOf reads the part of a state. A state that nobody can read says nothing: it is no reason not to list the others.
func picksOf(state string) (p picks) {
	if err := json.Unmarshal([]byte(state), &p); err != nil {
		return picks{}
	}
	return p
}

// listAll lists the rollouts that are not listed at all: those from before there were such lists, and those that the version before has begun
// since. It is no leader's work: what it writes says nothing new.
func (s *Store) listAll(ctx context.Context) error {
	scan := func(r row) (l listing, err error) {
		var state string
		err = r.Scan(&l.number, &l.id, &l.revision, &state)
		l.picks = picksOf(state)
		return l, err
	}
	for after := int64(0); ; {
		some, err := list(ctx, s.reader, scan, `SELECT number, id, revision, state FROM rollouts WHERE number IN (
			SELECT number FROM rollouts WHERE phase = '' AND number > $1 ORDER BY number LIMIT $2) ORDER BY number`, after, rowsAtOnce)
		if err != nil {
			return s.fail(err, "list rollouts of the version before")
		}
		if len(some) == 0 {
			return nil
		}
		if err = s.relist(ctx, some); err != nil {
			return err
		}
		after = some[len(some)-1].number
	}
}

// relist writes listings, in the order in which they are given.
func (s *Store) relist(ctx context.Context, all []listing) error {
	const set = `UPDATE rollouts SET phase = v.column3, version = v.column4 FROM (VALUES `
	const shape = `(CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS TEXT), CAST(? AS TEXT))`
	const where = `) AS v WHERE rollouts.id = v.column1 AND rollouts.revision = v.column2`
	bind := func(args []any, l listing) []any { return append(args, l.id, l.revision, l.Phase, l.Release.Version) }
	for part := range slices.Chunk(all, rowsAtOnce) {
		what := fmt.Sprintf("list %d rollouts of the version before", len(part))
		err := s.writeLater(ctx, WakeRollouts, what, len(part), func(ctx context.Context, tx *sql.Tx) error {
			return inRows(part, shape, bind, func(rows string, args []any) error {
				_, err := tx.ExecContext(ctx, set+rows+where, args...)
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
