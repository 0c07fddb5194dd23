// Package store is the control plane's memory: one concrete [Store] over database/sql, with the same SQL text for every database.
//
// What the store promises:
//   - A method that returned nil has made its change durable. One that returned an error has changed nothing; only if the disk itself
//     failed during a commit may the change be there, all of it. A method that writes in several steps says so.
//   - Writes that wait are committed together, decisions first. When too many wait, more of them wait outside until their context
//     ends, which is a fault.Unavailable.
//   - Times are kept in microseconds and come back in UTC. The zero time stays the zero time. States, specs and reports are JSON.
//   - A row that is not there is a fault.NotFound; one that is there already, or at another revision, is a fault.Conflict.
//   - It checks revisions and uniqueness and holds no rollout rule: those live in package rollout.
//
// Consumers declare the few methods they need as their own interface. What differs between databases is in a [Dialect]: each
// has its package below (store/sqlite), which opens the pools, and all of them pass the suite in store/storetest.
package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Dialect is what one database does differently. SQL texts are common: $n placeholders, ON CONFLICT and RETURNING.
type Dialect struct {
	Name       string             // for error messages
	Goose      database.Dialect   // how versions of the schema are recorded
	Migrations fs.FS              // *.sql in the root
	Turn       lock.SessionLocker // who may bring the schema up to date, where several processes start at once; may be nil
	ForUpdate  string             // ends a SELECT of a row that the same transaction is about to change; may be empty
	ForShare   string             // ends a SELECT of a row that must stay until the transaction ends, against ForUpdate; may be empty
	Now        string             // an expression: the database's time in microseconds since 1970, not that of the transaction's start
	Bytes      string             // the type of bytes
	Unhurried  string             // a statement that lifts the limits of time for the transaction that it is in; may be empty
	Count      string             // a statement that makes the database number rows of TABLE in COLUMN on from the highest; may be empty
	Notify     string             // a statement that wakes those who listen for topic $1 once the transaction commits; empty: nobody else can
	Alone      bool               // this process alone has the database, so whoever led before is gone
	// Classify tells the kind of a driver's error, and the next step for the reader, which may be empty.
	Classify func(err error) (kind fault.Kind, next string)
	// Listen is where Notify's wake-ups arrive: it calls ready when it hears them, and heard for each, until ctx ends or it is cut off.
	// Nil if Notify is empty.
	Listen func(ctx context.Context, topics []string, ready func(), heard func(topic string)) error
	// Unknown tells of the error of a commit whether the change may have been made in spite of it; nil: never.
	Unknown func(err error) bool
	// Patience is how long a transaction, or a read, may take before it is given up, as the database may never answer; 0 for ever.
	Patience time.Duration
	// Writers is how many transactions may write at a time; 0 is 1.
	Writers int
	// Group is how many waiting writes one transaction takes up at most; 0 is as many as there are. A database whose writers work
	// side by side, and whose commits share the disk by themselves, has 1: then no write needs a savepoint, which would be a
	// round trip, and none holds the locks of another. Many callers' reports are written as one in any case, and so
	// are hosts that join.
	Group int
}

// Options are what a [Store] is made of. It takes over both pools and closes them.
type Options struct {
	Write   *sql.DB // writes go here; a single connection if the database allows one writer
	Read    *sql.DB // reads go here; may be the same as Write
	Schema  *sql.DB // the schema is brought up to date here, after which it is not used any more; nil: Write. The caller closes it
	Dialect Dialect
	Release func() error // called last on Close; may be nil
}

// Store is the control plane's database. All methods are safe for concurrent use.
type Store struct {
	writer  *sql.DB
	reader  reader
	dialect Dialect
	release func() error
	queue   *queue
	bell    *bell
	decoded *decoded
	fenced  bool // a view for the leader of term
	term    int64
}

// New brings the schema up to date, and what the version before has written, and returns a store. On an error it has closed nothing.
func New(ctx context.Context, o Options) (*Store, error) {
	s := &Store{writer: o.Write, reader: reader{o.Read, o.Dialect}, dialect: o.Dialect, release: o.Release, queue: newQueue(o.Dialect), bell: &bell{}, decoded: &decoded{}}
	if err := s.migrate(ctx, cmp.Or(o.Schema, o.Write)); err != nil {
		return nil, err
	}
	if err := s.listAll(ctx); err != nil {
		return nil, err
	}
	if o.Dialect.Alone {
		if err := s.depose(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Close waits for running calls and closes the pools. The store cannot be used afterwards.
func (s *Store) Close() error {
	var errs []error
	if s.reader.DB != s.writer {
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

// write carries out do in a transaction, before what waits in other lanes; see [Store.submit]. Others' writes may be in the same
// transaction, so do touches no more than it must.
func (s *Store) write(ctx context.Context, what string, do func(ctx context.Context, tx *sql.Tx) error) error {
	return s.submit(ctx, &pending{what: what, lane: firstLane, rows: 1, do: s.fence(do)})
}

// wakingWrite is write, and whoever listens for the topic is woken once it is committed.
func (s *Store) wakingWrite(ctx context.Context, topic, what string, do func(ctx context.Context, tx *sql.Tx) error) error {
	return s.submit(ctx, &pending{what: what, lane: firstLane, rows: 1, do: s.fence(do), wakes: topic})
}

// writeLater is write for what may wait behind decisions and reports, and is not fenced. It changes about so many rows, and wakes whoever
// listens for the topic, unless that is empty.
func (s *Store) writeLater(ctx context.Context, topic, what string, rows int, do func(ctx context.Context, tx *sql.Tx) error) error {
	return s.submit(ctx, &pending{what: what, lane: laterLane, rows: rows, do: do, wakes: topic})
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
