package store

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// selectEndpoints begins the queries that read endpoints: e is the endpoint, h is what changes often of it.
const selectEndpoints = `SELECT e.number, e.id, e.tenant, e.attributes, e.labels, e.enrolled, h.seen, e.boot, e.components, h.reported,
	e.posture, e.change, e.ending, e.ended, e.why FROM endpoints e JOIN hot h ON h.endpoint = e.number `

func (s *Store) scanEndpoint(r row) (Endpoint, error) {
	var e Endpoint
	err := r.Scan(&e.Number, &e.ID, &e.Tenant, s.decoded.attributes.into(&e.Attributes), s.decoded.labels.into(&e.Labels),
		timeColumn{&e.Enrolled}, timeColumn{&e.LastSeen},
		&e.Boot, rawColumn{&e.Components}, &e.ReportSeq, &e.Posture, &e.Change, &e.Ending, timeColumn{&e.Ended}, &e.Why)
	return e, err
}

// The counters.
const (
	changeCounter  = "change"
	hearingCounter = "hearing"
)

// take gives n consecutive numbers, of which it returns the first, in the order of commits: whoever takes one holds the counter's row until
// its transaction ends, so a reader who sees a number also sees all smaller ones that will ever be there. For the same reason
// it comes before all other locks of a transaction.
func take(ctx context.Context, tx *sql.Tx, counter string, n int) (int64, error) {
	last, err := one(ctx, tx, scalar[int64], none("there is no counter %q", counter),
		`UPDATE counters SET value = value + $2 WHERE name = $1 RETURNING value`, counter, n)
	return last - int64(n) + 1, err
}

// PutEndpoint enrols an endpoint. One that is known already gets the new tenant, attributes and labels and keeps the rest: its
// number, when it first enrolled, what it runs, and ReportSeq, so that its reports still count once.
func (s *Store) PutEndpoint(ctx context.Context, e Endpoint) error {
	_, err := s.Enrol(ctx, e)
	return err
}

// Endpoint finds an endpoint, one that was revoked too, but none that was removed.
func (s *Store) Endpoint(ctx context.Context, id fleet.EndpointID) (Endpoint, error) {
	e, err := one(ctx, s.reader, s.scanEndpoint, noEndpoint(), selectEndpoints+`WHERE e.id = $1 AND e.ending <> 'removed'`, id)
	return e, s.fail(err, "find endpoint "+string(id))
}

// Endpoints lists at most limit endpoints with an id above after, in the order of ids, those that were revoked too, but none that was removed.
// A limit of 0 means all.
func (s *Store) Endpoints(ctx context.Context, after fleet.EndpointID, limit int) ([]Endpoint, error) {
	all, err := list(ctx, s.reader, s.scanEndpoint, selectEndpoints+`WHERE e.id > $1 AND e.ending <> 'removed' ORDER BY e.id LIMIT $2`, after, atMost(limit))
	return all, s.fail(err, "list endpoints")
}

// ChangedEndpoints lists at most limit endpoints, however they ended, with a change number above after, in the order of changes, and the number to go on
// from. Who goes on from there misses no change: change numbers are given in the order of commits, so none below one that was
// seen appears later. An endpoint that changed twice is listed once, as it is now. A limit of 0 means all.
func (s *Store) ChangedEndpoints(ctx context.Context, after int64, limit int) (all []Endpoint, last int64, err error) {
	all, err = list(ctx, s.reader, s.scanEndpoint, selectEndpoints+`WHERE e.change > $1 ORDER BY e.change LIMIT $2`, after, atMost(limit))
	if err != nil {
		return nil, after, s.fail(err, "list changed endpoints")
	}
	if len(all) == 0 {
		return nil, after, nil
	}
	return all, all[len(all)-1].Change, nil
}

// SaveEndpoint stores what an endpoint says of itself: attributes, boot id, components and posture, and that it was seen. Tenant, labels,
// enrolment and ReportSeq stay as they are. If the stored endpoint was seen later than that, what it says is newer and stays too, but its change is
// new: whoever said otherwise reads it again. An endpoint without LastSeen is saved in any case.
func (s *Store) SaveEndpoint(ctx context.Context, e Endpoint) error {
	return s.writeLater(ctx, WakeEndpoints, "save endpoint "+string(e.ID), 1, func(ctx context.Context, tx *sql.Tx) error {
		n, err := saveEndpoints(ctx, tx, s.dialect, []Endpoint{e})
		if err == nil && n == 0 {
			err = noEndpoint()
		}
		return err
	})
}

// EndEndpoint ends an identity: it is revoked, or removed. Of a removed one there is nothing left to end. A revoked one cannot be removed, a
// fault.Conflict: its key could join again. Ending it again in the same way changes nothing but the number of its change.
func (s *Store) EndEndpoint(ctx context.Context, id fleet.EndpointID, how Ending, why string, at time.Time) error {
	return s.wakingWrite(ctx, WakeEndpoints, "end endpoint "+string(id), func(ctx context.Context, tx *sql.Tx) error {
		change, err := take(ctx, tx, changeCounter, 1)
		if err != nil {
			return err
		}
		ending, err := one(ctx, tx, scalar[Ending], noEndpoint(), `SELECT ending FROM endpoints WHERE id = $1 `+s.dialect.ForUpdate, id)
		if err != nil {
			return err
		}
		if ending == Removed {
			return noEndpoint()
		}
		if ending == Revoked && how == Removed {
			return fault.New(fault.Conflict, "it was revoked: it stays in the list so that its key cannot join again")
		}
		_, err = tx.ExecContext(ctx, `UPDATE endpoints SET why = CASE ending WHEN $2 THEN why ELSE $3 END,
			ended = CASE ending WHEN $2 THEN ended ELSE $4 END, ending = $2, change = $5 WHERE id = $1`, id, how, why, micros(at), change)
		return err
	})
}

// saveBatch bounds how long one write-behind of endpoints keeps leases and reports waiting.
const saveBatch = 256

// SaveEndpoints is [Store.SaveEndpoint] for many; an unknown one is passed over. It writes in several transactions: after an error some
// may be written, and all can be written again.
func (s *Store) SaveEndpoints(ctx context.Context, all []Endpoint) error {
	for part := range slices.Chunk(lastOf(all, func(e Endpoint) fleet.EndpointID { return e.ID }), saveBatch) {
		err := s.writeLater(ctx, WakeEndpoints, "save endpoints", len(part), func(ctx context.Context, tx *sql.Tx) error {
			_, err := saveEndpoints(ctx, tx, s.dialect, part)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ahead is how far in the future a last-seen time makes no sense: it keeps out nothing, or a clock that was wrong once would for ever.
const ahead = time.Minute

// saveEndpoints saves endpoints, no two of which are the same, and tells how many there were.
func saveEndpoints(ctx context.Context, tx *sql.Tx, d Dialect, all []Endpoint) (int, error) {
	change, err := take(ctx, tx, changeCounter, len(all))
	if err != nil {
		return 0, err
	}
	rows := make([][]any, len(all))
	seen := make(map[fleet.EndpointID]time.Time, len(all))
	for i, e := range all {
		attributes, encoding := encoded(e.Attributes)
		if encoding != nil {
			return 0, encoding
		}
		rows[i] = []any{e.ID, attributes, e.Boot, string(e.Components), e.Posture, micros(e.LastSeen), change + int64(i)}
		seen[e.ID] = e.LastSeen
	}
	var saved []hot
	scan := func(r row) (h hot, err error) {
		var id fleet.EndpointID
		err = r.Scan(&h.endpoint, &id)
		h.seen = seen[id]
		delete(seen, id)
		return h, err
	}
	const shape = `(CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS BIGINT), CAST(? AS BIGINT), CAST(? AS BIGINT))`
	bind := func(args []any, row []any) []any { return append(args, row...) }
	err = inRows(rows, shape, bind, func(rows string, args []any) error {
		part, failed := list(ctx, tx, scan, `UPDATE endpoints SET attributes = v.column2, boot = v.column3, components = v.column4,
			posture = v.column5, change = v.column7 FROM (VALUES `+rows+`) AS v, hot
			WHERE endpoints.id = v.column1 AND hot.endpoint = endpoints.number
			AND (hot.seen <= v.column6 OR v.column6 = 0 OR hot.seen > `+d.Now+` + `+strconv.FormatInt(ahead.Microseconds(), 10)+`)
			RETURNING endpoints.number, endpoints.id`, args...)
		saved = append(saved, part...)
		return failed
	})
	if err != nil {
		return 0, err
	}
	outdated, err := touchEndpoints(ctx, tx, slices.DeleteFunc(rows, func(row []any) bool {
		_, left := seen[row[0].(fleet.EndpointID)]
		return !left
	}))
	if err != nil {
		return 0, err
	}
	return len(saved) + outdated, raiseHot(ctx, tx, saved)
}

// touchEndpoints gives endpoints the changes of rows that were not saved, and tells how many there are.
func touchEndpoints(ctx context.Context, tx *sql.Tx, rows [][]any) (int, error) {
	var n int64
	bind := func(args []any, row []any) []any { return append(args, row[0], row[len(row)-1]) }
	err := inRows(rows, `(CAST(? AS TEXT), CAST(? AS BIGINT))`, bind, func(rows string, args []any) error {
		some, err := changed(ctx, tx,
			`UPDATE endpoints SET change = v.column2 FROM (VALUES `+rows+`) AS v WHERE endpoints.id = v.column1`, args...)
		n += some
		return err
	})
	return int(n), err
}

func noEndpoint() error { return none("no endpoint of this name has joined") }
