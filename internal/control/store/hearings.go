package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	// hearingsKept is how long hearings are kept: others read them every second or so.
	hearingsKept = 10 * time.Minute
	// hearingsAtOnce is about how many bytes of hearings are read at once at most, which bounds what a replica has in memory that was away.
	hearingsAtOnce = 4 << 20
)

func scanHearing(r row) (Hearing, error) {
	var h Hearing
	var age int64
	err := r.Scan(&h.Number, &h.Replica, timeColumn{&h.At}, &age, &h.Data)
	h.Age = max(0, time.Duration(age)*time.Microsecond)
	return h, err
}

// AddHearings appends what a replica heard of endpoints to the log, and deletes what any replica wrote more than ten minutes before, by the
// database's clock. At is when by the replica's clock, for [Hearing.At].
func (s *Store) AddHearings(ctx context.Context, replica string, at time.Time, data []byte) error {
	return s.writeLater(ctx, WakeHearings, "write the hearings of replica "+replica, 1, func(ctx context.Context, tx *sql.Tx) error {
		number, err := take(ctx, tx, hearingCounter, 1)
		if err != nil {
			return err
		}
		const into = `INSERT INTO hearings (number, replica, at, written, data) VALUES `
		_, err = tx.ExecContext(ctx, into+`($1, $2, $3, `+s.dialect.Now+`, $4)`, number, replica, micros(at), body(data))
		if err != nil {
			return err
		}
		return s.forgetHearings(ctx, tx)
	})
}

// forgetHearings deletes old hearings. Whoever calls it has taken a number, so that no two do it at a time. The subquery is worked out once.
func (s *Store) forgetHearings(ctx context.Context, tx *sql.Tx) error {
	const old = `DELETE FROM hearings WHERE written < `
	_, err := tx.ExecContext(ctx, old+`(SELECT `+s.dialect.Now+` - $1)`, hearingsKept.Microseconds())
	return err
}

// HearingsAfter lists hearings with a number above after that other replicas wrote, in the order of their numbers. Who goes on from the last
// one until there are none misses none: numbers are given in the order of commits. They are at most limit, of which 0 means all, and fewer if they are
// large, so a short list does not say that there are no more.
func (s *Store) HearingsAfter(ctx context.Context, after int64, notReplica string, limit int) ([]Hearing, error) {
	all, err := list(ctx, s.reader, scanHearing, `SELECT number, replica, at, `+s.dialect.Now+` - written, data FROM (
			SELECT number, replica, at, written, data, SUM(length(data)) OVER (ORDER BY number) - length(data) AS before FROM (
				SELECT number, replica, at, written, data FROM hearings WHERE number > $1 AND replica <> $2 ORDER BY number LIMIT $3
			) AS next
		) AS page WHERE before < $4 ORDER BY number`, after, notReplica, atMost(limit), hearingsAtOnce)
	return all, s.fail(err, "list hearings")
}

// HearingsUntil is the number of the last hearings that were written longer ago than age, by the database's clock; 0 if there are none. Who
// begins after it reads what is younger.
func (s *Store) HearingsUntil(ctx context.Context, age time.Duration) (int64, error) {
	last, err := one(ctx, s.reader, scalar[int64], nil,
		`SELECT COALESCE(MAX(number), 0) FROM hearings WHERE written < (SELECT `+s.dialect.Now+` - $1)`, age.Microseconds())
	return last, s.fail(err, fmt.Sprintf("find hearings older than %v", age))
}
