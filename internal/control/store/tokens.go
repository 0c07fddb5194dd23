package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

const tokenColumns = `id, hash, kind, tenant, note, created, expires, uses, revoked` //nolint:gosec // names of columns, no credential

func scanToken(r row) (Token, error) {
	var t Token
	err := r.Scan(&t.ID, &t.Hash, &t.Kind, &t.Tenant, &t.Note, timeColumn{&t.Created}, timeColumn{&t.Expires},
		&t.Left, timeColumn{&t.Revoked})
	return t, err
}

// PutToken inserts a token. An id or a hash that is there already is a fault.Conflict.
func (s *Store) PutToken(ctx context.Context, t Token) error {
	return s.write(ctx, "store token "+t.ID, func(ctx context.Context, tx *sql.Tx) error {
		n, err := changed(ctx, tx, `INSERT INTO tokens (`+tokenColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT DO NOTHING`,
			t.ID, t.Hash, t.Kind, t.Tenant, t.Note, micros(t.Created), micros(t.Expires), t.Left, micros(t.Revoked))
		if err == nil && n == 0 {
			err = fault.New(fault.Conflict, "there is a token with this id or secret already")
		}
		return err
	})
}

// TokenByHash finds the token whose secret has this SHA-256 sum, valid or not: the caller looks at Expires and Revoked.
func (s *Store) TokenByHash(ctx context.Context, hash []byte) (Token, error) {
	t, err := one(ctx, s.reader, scanToken, none("no such token"), `SELECT `+tokenColumns+` FROM tokens WHERE hash = $1`, hash)
	return t, s.fail(err, "find token by its secret")
}

// Tokens lists all tokens in the order of their creation.
func (s *Store) Tokens(ctx context.Context) ([]Token, error) {
	all, err := list(ctx, s.reader, scanToken, `SELECT `+tokenColumns+` FROM tokens ORDER BY created, id`)
	return all, s.fail(err, "list tokens")
}

// RevokeToken ends a token's validity, and the sessions that stand for it. Revoking it again changes nothing.
func (s *Store) RevokeToken(ctx context.Context, id string, at time.Time) error {
	return s.write(ctx, "revoke token "+id, func(ctx context.Context, tx *sql.Tx) error {
		n, err := changed(ctx, tx,
			`UPDATE tokens SET revoked = CASE revoked WHEN 0 THEN $2 ELSE revoked END WHERE id = $1`, id, micros(at))
		if err == nil && n == 0 {
			err = none("no such token")
		}
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM sessions WHERE token = $1`, id)
		return err
	})
}

// spend takes one use of the token, if it has one.
func (t Token) spend(now time.Time) (Token, error) {
	err := t.joins(now)
	if err == nil && t.Left > 0 {
		t.Left--
	}
	return t, err
}

func (t Token) keepUses(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `UPDATE tokens SET uses = $2 WHERE id = $1`, t.ID, t.Left)
	return err
}

// joins tells why nobody may join with the token at that time, or nil.
func (t Token) joins(now time.Time) error {
	const stamp = "2006-01-02 15:04:05 MST"
	switch {
	case t.Kind != JoinToken:
		return refusal("%s is not a join token but of kind %s", t.ID, t.Kind)
	case !t.Revoked.IsZero():
		return refusal("%s was revoked on %s", t.ID, t.Revoked.Format(stamp))
	case !t.Expires.IsZero() && !now.Before(t.Expires):
		return refusal("%s expired on %s", t.ID, t.Expires.Format(stamp))
	case t.Left == 0:
		return refusal("%s is used up: as many hosts joined with it as it was made for", t.ID)
	}
	return nil
}

func refusal(format string, args ...any) error {
	return fault.New(fault.Denied, format, args...).Hint("Ask the operator for a new join token.")
}
