package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Letter is a question of a replica to the leader: may this host have a lease, do what this operator says. Letters need not outlive a
// crash of the database: whoever asked gives up after a while and asks again, and what was decided is in the rollout. In the table a letter's
// answered is 0 at first, 2 once it is claimed, and 1 with the answer.
type Letter struct {
	ID   int64 // 1, 2, 3 ... with gaps; the store gives it
	Kind string
	Body []byte
}

// Answered is the answer to a letter.
type Answered struct {
	ID   int64 // of the letter
	Body []byte
}

// Ask writes letters for the leader, and returns their ids in the same order. Only Kind and Body are looked at.
func (s *Store) Ask(ctx context.Context, letters ...Letter) ([]int64, error) {
	ids := make([]int64, 0, len(letters))
	if len(letters) == 0 {
		return ids, nil
	}
	err := s.wakingWrite(ctx, WakeLetters, "ask the leader", func(ctx context.Context, tx *sql.Tx) error {
		ids = ids[:0]
		bind := func(args []any, l Letter) []any { return append(args, l.Kind, body(l.Body)) }
		return inRows(letters, `(?, ?, `+s.dialect.Now+`, 0)`, bind, func(rows string, args []any) error {
			some, err := list(ctx, tx, scalar[int64],
				`INSERT INTO letters (kind, body, asked, answered) VALUES `+rows+` RETURNING id`, args...)
			ids = append(ids, some...)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// body is never nil: that would be no value to a database, and some give none back.
func body(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Unanswered lists at most limit letters of a kind that nobody answered or claimed, and that were asked less than age ago by the
// database's clock, in the order of ids. A limit of 0 means all.
func (s *Store) Unanswered(ctx context.Context, kind string, age time.Duration, limit int) ([]Letter, error) {
	scan := func(r row) (Letter, error) {
		var l Letter
		err := r.Scan(&l.ID, &l.Kind, &l.Body)
		l.Body = body(l.Body)
		return l, err
	}
	all, err := list(ctx, s.reader, scan, `SELECT id, kind, body FROM letters
		WHERE answered = 0 AND kind = $1 AND asked > `+s.dialect.Now+` - $2 ORDER BY id LIMIT $3`, kind, age.Microseconds(), atMost(limit))
	return all, s.fail(err, "list unanswered letters")
}

// Claim tells whether a letter is the caller's to carry out, and makes it so: it is true once, for a letter that nobody answered and that
// was asked less than age ago. So what a leader began that did not live to answer is not done twice. Use it through [Store.Fenced].
func (s *Store) Claim(ctx context.Context, id int64, age time.Duration) (mine bool, err error) {
	err = s.write(ctx, "claim a letter", func(ctx context.Context, tx *sql.Tx) error {
		n, failed := changed(ctx, tx, `UPDATE letters SET answered = 2 WHERE id = $1 AND answered = 0 AND asked > `+s.dialect.Now+` - $2`,
			id, age.Microseconds())
		mine = n > 0
		return failed
	})
	return mine && err == nil, err
}

// Answer answers letters. One that was answered before, or that its author forgot, is passed over. Use it through [Store.Fenced].
func (s *Store) Answer(ctx context.Context, answers []Answered) error {
	if len(answers) == 0 {
		return nil
	}
	return s.wakingWrite(ctx, WakeAnswers, "answer letters", func(ctx context.Context, tx *sql.Tx) error {
		bind := func(args []any, a Answered) []any { return append(args, a.ID, body(a.Body)) }
		return inRows(answers, `(CAST(? AS BIGINT), CAST(? AS `+s.dialect.Bytes+`))`, bind, func(rows string, args []any) error {
			_, err := tx.ExecContext(ctx, `WITH given (id, body) AS (VALUES `+rows+`)
				UPDATE letters SET answered = 1, answer = (SELECT given.body FROM given WHERE given.id = letters.id LIMIT 1)
				WHERE answered <> 1 AND id IN (SELECT given.id FROM given)`, args...)
			return err
		})
	})
}

// Answers reads the answers to those of the letters that have one, in the order of ids.
func (s *Store) Answers(ctx context.Context, ids []int64) ([]Answered, error) {
	scan := func(r row) (Answered, error) {
		var a Answered
		err := r.Scan(&a.ID, &a.Body)
		a.Body = body(a.Body)
		return a, err
	}
	var all []Answered
	err := inRows(ids, `?`, bindID, func(rows string, args []any) error {
		some, err := list(ctx, s.reader, scan,
			`SELECT id, answer FROM letters WHERE answered = 1 AND id IN (`+rows+`) ORDER BY id`, args...)
		all = append(all, some...)
		return err
	})
	return all, s.fail(err, "read answers")
}

func bindID(args []any, id int64) []any { return append(args, id) }

// ForgetOlder removes the letters that were asked longer ago than age, by the database's clock, and tells how many: their authors are
// gone, or have given up.
func (s *Store) ForgetOlder(ctx context.Context, age time.Duration) (int64, error) {
	var n int64
	err := s.write(ctx, "forget old letters", func(ctx context.Context, tx *sql.Tx) error {
		if age < 0 {
			return fault.New(fault.Internal, "%v is no age", age)
		}
		var err error
		n, err = changed(ctx, tx, `DELETE FROM letters WHERE asked <= `+s.dialect.Now+` - $1`, age.Microseconds())
		return err
	})
	return n, err
}
