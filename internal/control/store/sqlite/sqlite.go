// Package sqlite keeps the control plane's store in one SQLite file: no other service, no cgo, safe to kill at any moment.
//
// One connection writes, so that writers queue in this process instead of failing on each other; several read beside it and see
// what was committed last (WAL). A commit returns once it is on disk (synchronous=FULL). A lock file keeps other processes out.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/pressly/goose/v3/database"
	driver "modernc.org/sqlite"
	codes "modernc.org/sqlite/lib"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is how many reads run at a time; more queue.
const readers = 8

// Open opens the database at path, creating it and its directory if they are not there, and brings its schema up to date. A
// database that another process has open, or that a newer program has changed, is a fault.Conflict. The caller closes the
// store.
func Open(ctx context.Context, path string) (*store.Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err = prepare(path); err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	unlock, err := lock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	s, err := open(ctx, path, unlock)
	if err != nil {
		_ = unlock() // the first error says more
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	return s, nil
}

// prepare makes the directory and an empty file that only this user can read; SQLite gives its other files the same mode.
func prepare(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the creation of a file durable: SQLite does not, when the file is there already. Windows has no such call and
// needs none.
func syncDir(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if closing := d.Close(); err == nil {
		err = closing
	}
	return err
}

func open(ctx context.Context, path string, unlock func() error) (*store.Store, error) {
	// The writer holds the pages that reports scatter over in memory, and carries the log over into the file less often: the same
	// pages are written again and again.
	write, err := pool(path, 1, "_txlock=immediate&_pragma=cache_size(-65536)&_pragma=wal_autocheckpoint(8000)")
	if err != nil {
		return nil, err
	}
	read, err := pool(path, readers, "_pragma=query_only(1)")
	if err != nil {
		_ = write.Close()
		return nil, err
	}
	dialect, err := newDialect()
	if err == nil {
		var s *store.Store
		s, err = store.New(ctx, store.Options{Write: write, Read: read, Dialect: dialect, Release: unlock})
		if err == nil {
			return s, nil
		}
	}
	_, _ = read.Close(), write.Close() // the first error says more
	return nil, err
}

// pool makes a pool of at most size connections, which stay open.
func pool(path string, size int, more string) (*sql.DB, error) {
	uri := url.URL{Scheme: "file", Path: filepath.ToSlash(path)}
	if !strings.HasPrefix(uri.Path, "/") {
		uri.Path = "/" + uri.Path // a drive letter
	}
	uri.RawQuery = "_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&" + more
	db, err := sql.Open("sqlite", uri.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

func newDialect() (store.Dialect, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return store.Dialect{}, err
	}
	return store.Dialect{
		Name: "sqlite", Goose: database.DialectSQLite3, Migrations: files, Classify: classify,
		Now: `CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER)`, Bytes: "BLOB", Alone: true,
	}, nil
}

// classify gives SQLite's result codes their kinds.
func classify(err error) (kind fault.Kind, next string) {
	var e *driver.Error
	if !errors.As(err, &e) {
		return fault.Internal, ""
	}
	const primary = 0xff // the rest are extended codes
	switch e.Code() & primary {
	case codes.SQLITE_CONSTRAINT:
		return fault.Conflict, ""
	case codes.SQLITE_BUSY, codes.SQLITE_LOCKED:
		return fault.Unavailable, "Close other programs that use the database file, and try again."
	case codes.SQLITE_FULL:
		return fault.Unavailable, "The disk is full: free space where the database is, and try again. Nothing was lost."
	case codes.SQLITE_IOERR:
		return fault.Unavailable, "The disk failed or is full: look at the kernel's log, and try again. Nothing was lost."
	case codes.SQLITE_READONLY, codes.SQLITE_CANTOPEN, codes.SQLITE_PERM:
		return fault.Internal, "Give the user that runs firebreak the right to write the data directory."
	case codes.SQLITE_CORRUPT, codes.SQLITE_NOTADB:
		return fault.Internal, "The file is damaged or no database of firebreak: restore it from a backup."
	}
	return fault.Internal, ""
}

// held is the error for a lock that another process has.
func held(path string) error {
	return fault.New(fault.Conflict, "lock %s: another process has this database open", path).
		Hint("Stop the other firebreak, or give this one another data directory.")
}
