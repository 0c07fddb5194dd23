package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// hot is what check-ins change of an endpoint. Its table is narrow, and its key a small number, because it is written all the time.
type hot struct {
	endpoint int64
	seen     time.Time
	reported int64 // highest report number ever stored
	pruned   int64 // reports up to here may have been pruned
}

// raiseHot writes rows of hot; a value never gets smaller, so 0 leaves it as it is. No two rows are of one endpoint. They are written in the order of endpoints, so that
// two transactions that write the same ones wait for each other instead of locking each other out.
func raiseHot(ctx context.Context, tx *sql.Tx, all []hot) error {
	slices.SortFunc(all, func(a, b hot) int { return cmp.Compare(a.endpoint, b.endpoint) })
	bind := func(args []any, h hot) []any { return append(args, h.endpoint, micros(h.seen), h.reported, h.pruned) }
	const into = `INSERT INTO hot (endpoint, seen, reported, pruned) VALUES `
	const over = ` ON CONFLICT (endpoint) DO UPDATE SET
		seen = CASE WHEN hot.seen < excluded.seen THEN excluded.seen ELSE hot.seen END,
		reported = CASE WHEN hot.reported < excluded.reported THEN excluded.reported ELSE hot.reported END,
		pruned = CASE WHEN hot.pruned < excluded.pruned THEN excluded.pruned ELSE hot.pruned END`
	return inRows(all, `(?, ?, ?, ?)`, bind, func(rows string, args []any) error {
		_, err := tx.ExecContext(ctx, into+rows+over, args...)
		return err
	})
}

// lockHot reads rows of hot by their endpoints, in which it leaves out those that are not there, and keeps them as they are until the
// transaction ends.
func lockHot(ctx context.Context, tx *sql.Tx, d Dialect, endpoints []int64) (map[int64]hot, error) {
	endpoints = slices.Clone(endpoints)
	slices.Sort(endpoints)
	found := make(map[int64]hot, len(endpoints))
	bind := func(args []any, number int64) []any { return append(args, number) }
	err := inRows(slices.Compact(endpoints), `(CAST(? AS BIGINT))`, bind, func(rows string, args []any) error {
		part, err := list(ctx, tx, scanHot, `SELECT endpoint, seen, reported, pruned FROM hot
			WHERE endpoint IN (VALUES `+rows+`) ORDER BY endpoint `+d.ForUpdate, args...)
		for _, h := range part {
			found[h.endpoint] = h
		}
		return err
	})
	return found, err
}

func scanHot(r row) (hot, error) {
	var h hot
	err := r.Scan(&h.endpoint, timeColumn{&h.seen}, &h.reported, &h.pruned)
	return h, err
}

// numbersOf looks up the numbers of endpoints. It leaves out those that are not there.
func numbersOf(ctx context.Context, q querier, ids []fleet.EndpointID) (map[fleet.EndpointID]int64, error) {
	type numbered struct {
		id     fleet.EndpointID
		number int64
	}
	scan := func(r row) (numbered, error) {
		var v numbered
		err := r.Scan(&v.id, &v.number)
		return v, err
	}
	found := make(map[fleet.EndpointID]int64, len(ids))
	bind := func(args []any, id fleet.EndpointID) []any { return append(args, id) }
	err := inRows(ids, `(CAST(? AS TEXT))`, bind, func(rows string, args []any) error {
		part, err := list(ctx, q, scan, `SELECT id, number FROM endpoints WHERE id IN (VALUES `+rows+`)`, args...)
		for _, v := range part {
			found[v.id] = v.number
		}
		return err
	})
	return found, err
}

// touchBatch bounds how long one write-behind of last-seen times keeps leases and reports waiting.
const touchBatch = 1024

// Touch writes when endpoints were last seen; an older time never replaces a newer one. It writes in several transactions: after an error
// some may be written, and all can be written again. Numbers must be those of endpoints.
func (s *Store) Touch(ctx context.Context, seen []Seen) error {
	for part := range slices.Chunk(newest(seen), touchBatch) {
		err := s.writeLater(ctx, "", "write when endpoints were last seen", len(part), func(ctx context.Context, tx *sql.Tx) error {
			return raiseHot(ctx, tx, part)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// newest leaves the last time of each endpoint, in the order of endpoints.
func newest(seen []Seen) []hot {
	all := make([]hot, len(seen))
	for i, v := range seen {
		all[i] = hot{endpoint: v.Number, seen: v.At}
	}
	slices.SortFunc(all, func(a, b hot) int { return cmp.Or(cmp.Compare(a.endpoint, b.endpoint), b.seen.Compare(a.seen)) })
	return slices.CompactFunc(all, func(a, b hot) bool { return a.endpoint == b.endpoint })
}
