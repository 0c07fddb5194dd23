package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Keyed is a request that its sender gave a key, so that it is carried out once however often it is sent.
type Keyed struct {
	Token string // id of the sender's token; keys of different tokens have nothing to do with one another
	Key   string
	Sum   []byte // of everything that the request says
	At    time.Time
}

// Bounds of kept answers.
const (
	answersKept  = 24 * time.Hour // an answer is given again for so long
	answersDoubt = time.Minute    // a request that got no answer for so long died with its server
	answersMost  = 10_000         // of one token; the oldest are dropped
)

// ClaimAnswer notes that a request is about to be carried out. If it was carried out before, it returns what was answered; nil means that
// the caller is to carry it out and to call [Store.KeepAnswer] or [Store.ForgetAnswer]. A key that another request had is fault.Invalid,
// one whose request is under way a fault.Conflict. Answers older than a day are forgotten.
func (s *Store) ClaimAnswer(ctx context.Context, k Keyed) (answer []byte, err error) {
	err = s.write(ctx, "note the key of a request", func(ctx context.Context, tx *sql.Tx) error {
		answer, err = claimAnswer(ctx, tx, k)
		return err
	})
	return answer, err
}

func claimAnswer(ctx context.Context, tx *sql.Tx, k Keyed) ([]byte, error) {
	if _, err := tx.ExecContext(ctx, `DELETE FROM answers WHERE at < $1`, micros(k.At.Add(-answersKept))); err != nil {
		return nil, err
	}
	n, err := changed(ctx, tx, `INSERT INTO answers (token, key, sum, at, answer) VALUES ($1, $2, $3, $4, NULL)
		ON CONFLICT (token, key) DO NOTHING`, k.Token, k.Key, k.Sum, micros(k.At))
	switch {
	case err != nil:
		return nil, err
	case n == 1:
		return nil, trimAnswers(ctx, tx, k.Token)
	}
	return answered(ctx, tx, k)
}

// answered is what a key's request was answered; nil if it died and the caller has taken it over.
func answered(ctx context.Context, tx *sql.Tx, k Keyed) ([]byte, error) {
	var sum, answer []byte
	var at time.Time
	err := tx.QueryRowContext(ctx, `SELECT sum, at, answer FROM answers WHERE token = $1 AND key = $2`, k.Token, k.Key).
		Scan(&sum, timeColumn{&at}, &answer)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, fault.New(fault.Conflict, "another request with this key has only just failed")
	case err != nil:
		return nil, err
	case !bytes.Equal(sum, k.Sum):
		return nil, fault.New(fault.Invalid, "this key was sent with another request before").Hint("Send every new request with a new key.")
	case answer != nil:
		return answer, nil
	case k.At.Sub(at) < answersDoubt:
		return nil, fault.New(fault.Conflict, "the first request with this key is still being carried out")
	}
	n, err := changed(ctx, tx, `UPDATE answers SET at = $3 WHERE token = $1 AND key = $2 AND at = $4 AND answer IS NULL`,
		k.Token, k.Key, micros(k.At), micros(at))
	if err == nil && n == 0 {
		err = fault.New(fault.Conflict, "another request with this key has just begun")
	}
	return nil, err
}

// trimAnswers bounds what one token makes us keep.
func trimAnswers(ctx context.Context, tx *sql.Tx, token string) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM answers WHERE token = $1 AND at <
		(SELECT at FROM answers WHERE token = $1 ORDER BY at DESC LIMIT 1 OFFSET $2)`, token, answersMost)
	return err
}

// KeepAnswer keeps what a request was answered, which is not empty. If its key was forgotten meanwhile nothing is kept.
func (s *Store) KeepAnswer(ctx context.Context, k Keyed, answer []byte) error {
	return s.write(ctx, "keep the answer of a request", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE answers SET answer = $3 WHERE token = $1 AND key = $2`, k.Token, k.Key, answer)
		return err
	})
}

// ForgetAnswer gives back a key whose request was not carried out.
func (s *Store) ForgetAnswer(ctx context.Context, k Keyed) error {
	return s.write(ctx, "forget the key of a request", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM answers WHERE token = $1 AND key = $2 AND answer IS NULL`, k.Token, k.Key)
		return err
	})
}
