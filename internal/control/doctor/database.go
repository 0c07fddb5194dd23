package doctor

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/backup"
	"github.com/firebreak-dev/firebreak/internal/control/store/sqlite"
)

func (x *examination) file() string { return filepath.Join(x.Data, "firebreak.db") }

// restore is the next step for a database that cannot be used.
const restore = "Keep what is there, and restore the newest backup into another directory: firebreak restore. See docs/disaster.md."

// databaseFile looks whether the database is there, whole, and of a schema that this program knows.
func (x *examination) databaseFile(ctx context.Context) {
	const check = "database"
	if x.Elsewhere {
		x.skipped(check, "it is not in this directory: ask the server with --server")
		return
	}
	header, size, err := headerOf(x.file())
	switch {
	case errors.Is(err, fs.ErrNotExist) && x.hasKeys():
		x.wrong(check, restore, "there are keys, but no database: it was lost")
		return
	case errors.Is(err, fs.ErrNotExist):
		x.good(check, "there is none yet: the first start makes it")
		return
	case err != nil:
		x.wrong(check, "Run this as the user that runs the server, or as root.", "%v", err)
		return
	}
	if why := header.check(size, x.running || filled(x.file()+"-wal")); why != "" {
		x.wrong(check, restore, "%s", why)
		return
	}
	if x.database, err = backup.Inspect(ctx, x.file(), x.All); err != nil {
		x.wrong(check, restore, "it cannot be read: %v", err)
		return
	}
	if len(x.database.Problems) > 0 {
		x.wrong(check, restore, "it is damaged: %s", x.database.Problems[0])
		return
	}
	x.readable = true
	deep := "looked through, not deeply (--all does)"
	if x.All {
		deep = "every page is whole"
	}
	x.good(check, "%d MiB, %s", size/mib, deep)
	x.schema(ctx)
	if !x.running && filled(x.file()+"-wal") {
		x.good("log", "the server was killed; the next start takes in what it had acknowledged")
	}
}

// header is the beginning of a SQLite file.
type header struct {
	magic    string
	pageSize int64
	pages    int64
}

func headerOf(path string) (header, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return header{}, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return header{}, 0, err
	}
	var b [100]byte
	if _, err := io.ReadFull(f, b[:]); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return header{}, 0, err
	}
	h := header{magic: string(b[:16]), pageSize: int64(binary.BigEndian.Uint16(b[16:])), pages: int64(binary.BigEndian.Uint32(b[28:]))}
	if h.pageSize == 1 {
		h.pageSize = 1 << 16
	}
	return h, info.Size(), nil
}

// check says what is wrong with a file of that size; "" if nothing is. With a log beside it the file itself may be short.
func (h header) check(size int64, logged bool) string {
	switch {
	case size == 0 && !logged:
		return "the file is empty: it was cut off"
	case size == 0:
		return ""
	case h.magic != "SQLite format 3\x00":
		return "the file is no SQLite database: it was overwritten"
	case size < h.pages*h.pageSize && !logged:
		return fmt.Sprintf("the file was cut off: it has %d bytes and should have %d", size, h.pages*h.pageSize)
	}
	return ""
}

// schema compares the schema with that of a database which this program makes.
func (x *examination) schema(ctx context.Context) {
	const check = "schema"
	newest, err := x.Newest, error(nil)
	if newest == 0 {
		newest, err = newestSchema(ctx)
	}
	switch have := x.database.Schema; {
	case err != nil:
		x.skipped(check, "it is version %d; what this program knows could not be found out: %v", have, err)
	case have > newest:
		x.wrong(check, "Install the newer firebreak again, or restore the backup that was made before it was installed.",
			"it is version %d, from the future: this program knows versions up to %d", have, newest)
	case have < newest:
		x.warn(check, "Make a backup before the next start: an older firebreak cannot use the database afterwards.",
			"it is version %d; the next start of this program brings it to %d", have, newest)
	default:
		x.good(check, "version %d", have)
	}
}

// newestSchema makes an empty database and looks.
func newestSchema(ctx context.Context) (version int64, err error) {
	dir, err := os.MkdirTemp("", "firebreak-doctor-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	file := filepath.Join(dir, "firebreak.db")
	s, err := sqlite.Open(ctx, file)
	if err != nil {
		return 0, err
	}
	if err = s.Close(); err != nil {
		return 0, err
	}
	d, err := backup.Inspect(ctx, file, false)
	return d.Schema, err
}

// clock compares this machine's clock with the newest times in the database.
func (x *examination) clock(ctx context.Context) {
	const check, most = "clock", time.Minute
	if !x.readable {
		return
	}
	newest := time.Time{}
	for _, query := range []string{
		`SELECT max(at) FROM events`, `SELECT max(issued) FROM directives`, `SELECT max(seen) FROM hot`, `SELECT max(last_seen) FROM endpoints`,
		`SELECT max(received) FROM reports`,
	} {
		if n, err := ask[sql.NullInt64](ctx, x.file(), query); err == nil && n.Int64 > 0 && time.UnixMicro(n.Int64).After(newest) {
			newest = time.UnixMicro(n.Int64)
		}
	}
	switch ahead := newest.Sub(x.Now); {
	case newest.IsZero():
		x.good(check, "nothing to compare it with")
	case ahead > most:
		x.wrong(check, "Set this machine's clock before the server starts. If it is right, the server's was wrong: rollouts go on, endpoints may refuse leases.",
			"the database has something from %s; here it is %s", stamp(newest), stamp(x.Now))
	default:
		x.good(check, "the newest time in the database is %s ago", (-ahead).Round(time.Second))
	}
}

// ask reads one value of the database. A table that this schema does not have is an error.
func ask[T any](ctx context.Context, file, query string, args ...any) (v T, err error) {
	db, err := backup.Reader(file)
	if err != nil {
		return v, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, query, args...).Scan(&v)
	return v, err
}

// list reads one column.
func list[T any](ctx context.Context, file, query string, args ...any) ([]T, error) {
	db, err := backup.Reader(file)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// filled tells whether a file is there with something in it: whoever reads a database leaves an empty log beside it.
func filled(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
