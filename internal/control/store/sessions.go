package store

import (
	"context"
	"database/sql"
	"time"
)

// Session is a person's stay in the console. It stands for a token, and is good for no longer than that.
type Session struct {
	Hash    []byte // SHA-256 of the secret
	Token   string // id of the operator's token
	Created time.Time
	Expires time.Time
}

// sessionsMost is how many sessions of one token are kept; the oldest are dropped.
const sessionsMost = 100

// PutSession keeps a new session and ends the one with the hash ended, which may be nil, in one step. Sessions that have expired by the time
// the new one began are removed.
func (s *Store) PutSession(ctx context.Context, session Session, ended []byte) error {
	return s.write(ctx, "begin a session", func(ctx context.Context, tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE expires <= $1 OR hash = $2`, micros(session.Created), body(ended)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO sessions (hash, token, created, expires) VALUES ($1, $2, $3, $4)`,
			session.Hash, session.Token, micros(session.Created), micros(session.Expires)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE token = $1 AND created <
			(SELECT created FROM sessions WHERE token = $1 ORDER BY created DESC LIMIT 1 OFFSET $2)`, session.Token, sessionsMost-1)
		return err
	})
}

// SessionByHash finds the session whose secret has this SHA-256 sum, and its token, both valid or not: the caller looks at what they say.
func (s *Store) SessionByHash(ctx context.Context, hash []byte) (Session, Token, error) {
	type both struct {
		session Session
		token   Token
	}
	scan := func(r row) (both, error) {
		var b both
		v, t := &b.session, &b.token
		err := r.Scan(&v.Hash, &v.Token, timeColumn{&v.Created}, timeColumn{&v.Expires}, &t.ID, &t.Hash, &t.Kind, &t.Tenant, &t.Note,
			timeColumn{&t.Created}, timeColumn{&t.Expires}, &t.Left, timeColumn{&t.Revoked})
		return b, err
	}
	b, err := one(ctx, s.reader, scan, none("no such session"), `SELECT s.hash, s.token, s.created, s.expires,
		t.id, t.hash, t.kind, t.tenant, t.note, t.created, t.expires, t.uses, t.revoked
		FROM sessions s JOIN tokens t ON t.id = s.token WHERE s.hash = $1`, hash)
	return b.session, b.token, s.fail(err, "find session by its secret")
}

// EndSession removes a session. One that is not there changes nothing.
func (s *Store) EndSession(ctx context.Context, hash []byte) error {
	return s.write(ctx, "end a session", func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM sessions WHERE hash = $1`, body(hash))
		return err
	})
}
