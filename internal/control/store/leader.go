package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Leadership says which replica leads, and since which term. Of all replicas one leads at a time: it decides, the others ask it.
//
// A term is a fencing token: it grows whenever the lead passes to another, and a write of a term that has passed is refused in the
// transaction that makes it. So a leader that was paused, or that cannot tell the time, can do no harm: it may believe that it leads, but
// it changes nothing.
type Leadership struct {
	Term   int64
	Holder string        // empty: nobody leads
	Left   time.Duration // until another may take it, by the database's clock; not above 0: it may be taken now
}

// bogus is how many lives ahead an end must lie to be no end that anybody set: the database's clock was turned back. Without it, nobody
// could lead until the clock has caught up.
const bogus = 2

// Lead takes the lead for a while, with a new term. It is taken only when the time of whoever had it has passed by the database's clock, or
// by its own holder: what that one wrote in its old term, and still is about to, is of the past then. That another one leads is a
// fault.Conflict, which is not worth a word in the log: ask again when its time has passed. A caller leads from the time when it *began*
// this call, for Left; [Store.Renew] makes it longer.
//
// Holder is a name that no other process ever has, and all replicas use the same life.
func (s *Store) Lead(ctx context.Context, holder string, life time.Duration) (Leadership, error) {
	const what = "take the lead"
	if holder == "" || life < time.Millisecond {
		return Leadership{}, s.fail(fault.New(fault.Internal, "%q for %v is no way to lead", holder, life), what)
	}
	led := Leadership{Holder: holder, Left: life}
	err := s.alone(ctx, func(ctx context.Context, tx *sql.Tx) (err error) {
		led.Term, err = s.takeLead(ctx, tx, holder, life.Microseconds())
		return err
	})
	if err != nil {
		return Leadership{}, s.fail(err, what)
	}
	return led, nil
}

// takeLead gives the new term. It waits for writes that have checked the old one.
func (s *Store) takeLead(ctx context.Context, tx *sql.Tx, holder string, life int64) (int64, error) {
	d := s.dialect
	_, err := one(ctx, tx, scalar[int64], none("it is held"), `SELECT term FROM leadership
		WHERE id = 1 AND (holder = $1 OR until <= `+d.Now+` OR until > `+d.Now+` + $2) `+d.ForUpdate, holder, bogus*life)
	if fault.KindOf(err) == fault.NotFound {
		l, reading := readLeadership(ctx, tx, d)
		if reading != nil {
			return 0, reading
		}
		return 0, fault.New(fault.Conflict, "%s leads with term %d, for another %v", l.Holder, l.Term, l.Left)
	}
	if err != nil {
		return 0, err
	}
	return one(ctx, tx, scalar[int64], none("the database has no row for it"),
		`UPDATE leadership SET term = term + 1, holder = $1, until = `+d.Now+` + $2 WHERE id = 1 RETURNING term`, holder, life)
}

// Renew makes the time of a term end a life from now, however late: what counts is that nobody has taken the lead since, else it is a
// fault.Conflict. It waits for no other write. The time counts from when the caller *began* this call.
func (s *Store) Renew(ctx context.Context, term int64, life time.Duration) error {
	err := s.alone(ctx, func(ctx context.Context, tx *sql.Tx) error {
		n, err := changed(ctx, tx,
			`UPDATE leadership SET until = `+s.dialect.Now+` + $2 WHERE id = 1 AND term = $1 AND holder <> ''`, term, life.Microseconds())
		if err != nil || n > 0 {
			return err
		}
		return passed(ctx, tx, s.dialect, term)
	})
	return s.fail(err, fmt.Sprintf("keep the lead of term %d", term))
}

// Resign gives up the lead, so that another can take it at once. The term has passed then: its writes are refused. A term that has passed
// already changes nothing.
func (s *Store) Resign(ctx context.Context, term int64) error {
	err := s.alone(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE leadership SET term = term + 1, holder = '', until = 0 WHERE id = 1 AND term = $1`, term)
		return err
	})
	return s.fail(err, fmt.Sprintf("resign the lead of term %d", term))
}

// Leader tells who leads.
func (s *Store) Leader(ctx context.Context) (Leadership, error) {
	l, err := readLeadership(ctx, s.reader, s.dialect)
	return l, s.fail(err, "ask who leads")
}

func readLeadership(ctx context.Context, q querier, d Dialect) (Leadership, error) {
	return one(ctx, q, scanLeadership, none("the database has no row for it"),
		`SELECT term, holder, until - `+d.Now+` FROM leadership WHERE id = 1`)
}

func scanLeadership(r row) (Leadership, error) {
	var l Leadership
	var left int64
	err := r.Scan(&l.Term, &l.Holder, &left)
	if l.Holder != "" {
		l.Left = time.Duration(left) * time.Microsecond
	}
	return l, err
}

// Fenced is a view of the store for the leader of a term: once the term has passed, every write through it is a fault.Conflict that
// changes nothing. What hosts and replicas say of themselves is not the leader's and is not fenced: reports, hearings and last-seen times.
// The view shares everything with the store, and is not closed.
func (s *Store) Fenced(term int64) *Store {
	view := *s
	view.term, view.fenced = term, true
	return &view
}

// fence puts the check of the view's term before a write.
func (s *Store) fence(do func(ctx context.Context, tx *sql.Tx) error) func(ctx context.Context, tx *sql.Tx) error {
	if !s.fenced {
		return do
	}
	return func(ctx context.Context, tx *sql.Tx) error {
		if err := checkTerm(ctx, tx, s.dialect, s.term); err != nil {
			return err
		}
		return do(ctx, tx)
	}
}

// checkTerm is a fault.Conflict if the term has passed. Until the transaction ends nobody can take the lead: they wait for it.
func checkTerm(ctx context.Context, tx *sql.Tx, d Dialect, term int64) error {
	current, err := one(ctx, tx, scalar[int64], none("the database has no row for the lead"),
		`SELECT term FROM leadership WHERE id = 1 `+d.ForShare)
	if err != nil || current == term {
		return err
	}
	return passed(ctx, tx, d, term)
}

// passed is the error for a term that has passed. It says who leads now.
func passed(ctx context.Context, tx *sql.Tx, d Dialect, term int64) error {
	l, err := readLeadership(ctx, tx, d)
	if err != nil {
		return err
	}
	return fault.New(fault.Conflict, "term %d has passed: %s leads with term %d", term, cmp.Or(l.Holder, "nobody"), l.Term)
}

// alone runs do in a transaction of its own, past the queue. It ends with ctx, or when the database does not answer in time.
func (s *Store) alone(ctx context.Context, do func(ctx context.Context, tx *sql.Tx) error) error {
	if s.dialect.Patience > 0 {
		var enough context.CancelFunc
		ctx, enough = context.WithTimeout(ctx, s.dialect.Patience)
		defer enough()
	}
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // also when do panics; nothing after a commit
	if err := do(ctx, tx); err != nil {
		return err
	}
	return s.conclude(tx)
}

// depose ends the term of whoever leads, without asking: this process alone has the database.
func (s *Store) depose(ctx context.Context) error {
	err := s.alone(ctx, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE leadership SET term = term + 1, holder = '', until = 0 WHERE id = 1`)
		return err
	})
	return s.fail(err, "end the term of whoever led")
}
