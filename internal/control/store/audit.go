package store

import (
	"context"
	"database/sql"
	"math"
	"strings"
	"time"
)

// AuditEntry is something that somebody did, or tried to do.
type AuditEntry struct {
	Number  int64 // 1, 2, 3 ... with gaps; the store gives it
	At      time.Time
	Actor   string
	Act     string // operationId of the route
	Target  string
	Status  int // of the answer
	Detail  string
	Request string
}

// AddAudit writes down what somebody did. Its Number is not looked at.
func (s *Store) AddAudit(ctx context.Context, a AuditEntry) error {
	return s.writeLater(ctx, "", "write down what was done", 1, func(ctx context.Context, tx *sql.Tx) error {
		values := []any{micros(a.At), a.Actor, a.Act, a.Target, a.Status, a.Detail, a.Request}
		storable(values)
		_, err := tx.ExecContext(ctx,
			`INSERT INTO audit (at, actor, act, target, status, detail, request) VALUES ($1, $2, $3, $4, $5, $6, $7)`, values...)
		return err
	})
}

// AuditFilter picks entries that have everything it asks for. Empty fields ask for nothing. ASCII letters of either case are the same in
// what is contained.
type AuditFilter struct {
	Actor  string // is contained in the actor
	Act    string // is the act
	Target string // is contained in the target
}

// AuditPage lists at most limit entries with a number below before, newest first; a before of 0 is above all. A filter that picks little is
// slow, so it looks at the newest auditLooked entries below before only: then seen is where to go on, though fewer than limit were found;
// 0 means that everything was seen.
func (s *Store) AuditPage(ctx context.Context, f AuditFilter, before int64, limit int) (found []AuditEntry, seen int64, err error) {
	if before == 0 {
		before = math.MaxInt64
	}
	const what = "list what was done"
	last, err := list(ctx, s.reader, scalar[int64],
		`SELECT number FROM audit WHERE number < $1 ORDER BY number DESC LIMIT 1 OFFSET $2`, before, auditLooked-1)
	if err != nil {
		return nil, 0, s.fail(err, what)
	}
	if len(last) > 0 {
		seen = last[0]
	}
	values := []any{before, seen, f.Act, containing(f.Actor), containing(f.Target), atMost(limit)}
	storable(values)
	found, err = list(ctx, s.reader, scanAudit, `SELECT number, at, actor, act, target, status, detail, request FROM audit
		WHERE number < $1 AND number >= $2 AND (act = $3 OR $3 = '')
		AND lower(actor) LIKE lower($4) ESCAPE '!' AND lower(target) LIKE lower($5) ESCAPE '!' ORDER BY number DESC LIMIT $6`, values...)
	return found, seen, s.fail(err, what)
}

// auditLooked is how many entries a page is looked for in.
const auditLooked = 5000

// containing is the pattern of what contains a text, as it would be stored; "" is in everything.
func containing(text string) string {
	return "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_", "\x00", "\uFFFD").Replace(strings.ToValidUTF8(text, "\uFFFD")) + "%"
}

func scanAudit(r row) (AuditEntry, error) {
	var a AuditEntry
	err := r.Scan(&a.Number, timeColumn{&a.At}, &a.Actor, &a.Act, &a.Target, &a.Status, &a.Detail, &a.Request)
	return a, err
}

// auditStep is how many entries one transaction of [Store.PruneAudit] deletes at most.
const auditStep = 1000

// PruneAudit deletes what was done before a time, and tells how many entries that were. It writes in several transactions: after an error some are
// deleted. It stops at the first entry that is newer, as entries are in the order of time but for clocks that were set.
func (s *Store) PruneAudit(ctx context.Context, before time.Time) (pruned int64, err error) {
	const what = "prune what was done"
	for {
		var first []AuditEntry
		first, err = list(ctx, s.reader, scanAudit,
			`SELECT number, at, actor, act, target, status, detail, request FROM audit ORDER BY number LIMIT $1`, auditStep)
		if err != nil {
			return pruned, s.fail(err, what)
		}
		old := 0
		for old < len(first) && first[old].At.Before(before) {
			old++
		}
		if old == 0 {
			return pruned, nil
		}
		err = s.writeLater(ctx, "", what, old, func(ctx context.Context, tx *sql.Tx) error {
			_, failed := tx.ExecContext(ctx, `DELETE FROM audit WHERE number <= $1`, first[old-1].Number)
			return failed
		})
		if err != nil {
			return pruned, err
		}
		pruned += int64(old)
	}
}
