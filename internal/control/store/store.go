// Package store is the control plane's memory: one concrete [Store] over database/sql, with the same SQL text for every database.
//
// What the store promises:
//   - A method that returned nil has made its change durable. One that returned an error has changed nothing; only if the disk itself
//     failed during a commit may the change be there, all of it.
//   - Times are kept in microseconds and come back in UTC. The zero time stays the zero time. States, specs and reports are JSON.
//   - A row that is not there is a fault.NotFound; one that is there already, or at another revision, is a fault.Conflict.
//   - It checks revisions and uniqueness and holds no rollout rule: those live in package rollout.
//
// Consumers declare the few methods they need as their own interface. What differs between databases is in a [Dialect]: each
// has its package below (store/sqlite), which opens the pools, and all of them pass the suite in store/storetest.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3/database"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Dialect is what one database does differently. SQL texts are common: $n placeholders, ON CONFLICT and RETURNING.
type Dialect struct {
	Name       string           // for error messages
	Goose      database.Dialect // how versions of the schema are recorded
	Migrations fs.FS            // *.sql in the root
	ForUpdate  string           // ends a SELECT of a row that the same transaction is about to change; may be empty
	// Classify tells the kind of a driver's error, and the next step for the reader, which may be empty.
	Classify func(err error) (kind fault.Kind, next string)
}

// Options are what a [Store] is made of. It takes over both pools and closes them.
type Options struct {
	Write   *sql.DB // writes go here; a single connection if the database allows one writer
	Read    *sql.DB // reads go here; may be the same as Write
	Dialect Dialect
	Release func() error // called last on Close; may be nil
}

// Store is the control plane's database. All methods are safe for concurrent use.
type Store struct {
	writer  *sql.DB
	reader  *sql.DB
	dialect Dialect
	release func() error
}

// New brings the schema up to date and returns a store. On an error it has closed nothing.
func New(ctx context.Context, o Options) (*Store, error) {
	s := &Store{writer: o.Write, reader: o.Read, dialect: o.Dialect, release: o.Release}
	if err := s.migrate(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Close waits for running calls and closes the pools. The store cannot be used afterwards.
func (s *Store) Close() error {
	var errs []error
	if s.reader != s.writer {
		errs = append(errs, s.reader.Close())
	}
	errs = append(errs, s.writer.Close())
	if s.release != nil {
		errs = append(errs, s.release())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close %s database: %w", s.dialect.Name, err)
	}
	return nil
}

// write runs do in one transaction. Waiting for the writer's turn ends with ctx; the transaction itself does not: one that
// began is carried through, so that a caller who went away cannot leave it unknown whether a change was made.
func (s *Store) write(ctx context.Context, what string, do func(ctx context.Context, tx *sql.Tx) error) error {
	conn, err := s.writer.Conn(ctx)
	if err != nil {
		return s.fail(err, what)
	}
	defer func() { _ = conn.Close() }() // gives the connection back
	ctx = context.WithoutCancel(ctx)
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return s.fail(err, what)
	}
	if err := do(ctx, tx); err != nil {
		_ = tx.Rollback() // the first error says more
		return s.fail(err, what)
	}
	return s.fail(tx.Commit(), what)
}

// fail says what was being done and gives a driver's error its kind. An error that has a kind keeps it; nil stays nil.
func (s *Store) fail(err error, what string) error {
	if err == nil {
		return nil
	}
	if _, known := errors.AsType[*fault.Error](err); known {
		return fmt.Errorf("%s: %w", what, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(fault.Unavailable, "%s: %w", what, err)
	}
	kind, next := s.dialect.Classify(err)
	return fault.New(kind, "%s: %w", what, err).Hint("%s", next)
}
