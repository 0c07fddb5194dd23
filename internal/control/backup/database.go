package backup

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver
)

// Database is what can be said of a SQLite file from outside.
type Database struct {
	Schema   int64            `json:"schema"` // version of its schema
	Tables   map[string]int64 `json:"tables"` // rows by table
	Problems []string         `json:"-"`      // of the integrity check; empty: it is whole
}

// Reader opens a SQLite file to read beside the server that has it open: it needs no lock, sees what is committed, and cannot write. The
// caller closes it.
func Reader(file string) (*sql.DB, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	uri := url.URL{Scheme: "file", Path: filepath.ToSlash(file), RawQuery: "mode=ro&_pragma=busy_timeout(10000)"}
	if !strings.HasPrefix(uri.Path, "/") {
		uri.Path = "/" + uri.Path // a drive letter
	}
	db, err := sql.Open("sqlite", uri.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// Inspect reads a database and checks that it is whole: every page if deep, else all but the indexes' contents.
func Inspect(ctx context.Context, file string, deep bool) (Database, error) {
	db, err := Reader(file)
	if err != nil {
		return Database{}, err
	}
	defer db.Close()
	d := Database{}
	check := `PRAGMA quick_check(10)`
	if deep {
		check = `PRAGMA integrity_check(10)`
	}
	found, err := texts(ctx, db, check)
	if err != nil {
		return Database{}, err
	}
	if len(found) != 1 || found[0] != "ok" {
		d.Problems = found
		return d, nil
	}
	if err = db.QueryRowContext(ctx, `SELECT max(version_id) FROM goose_db_version WHERE is_applied`).Scan(&d.Schema); err != nil {
		return Database{}, fmt.Errorf("read the version of its schema: %w", err)
	}
	d.Tables, err = count(ctx, db)
	return d, err
}

// count counts the rows of every table.
func count(ctx context.Context, db *sql.DB) (map[string]int64, error) {
	names, err := texts(ctx, db, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`)
	if err != nil {
		return nil, err
	}
	rows := make(map[string]int64, len(names))
	for _, name := range names {
		var n int64
		query := `SELECT count(*) FROM "` + strings.ReplaceAll(name, `"`, `""`) + `"`
		if err := db.QueryRowContext(ctx, query).Scan(&n); err != nil {
			return nil, fmt.Errorf("count the rows of %s: %w", name, err)
		}
		rows[name] = n
	}
	return rows, nil
}

func texts(ctx context.Context, db *sql.DB, query string) ([]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, rows.Err()
}

// clone copies a database as it is at one moment, while others write to it, into a new file without gaps.
func clone(ctx context.Context, from, to string) error {
	db, err := Reader(from)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, `VACUUM INTO $1`, to)
	return err
}
