package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// classify gives PostgreSQL's errors their kinds.
func classify(err error) (kind fault.Kind, next string) {
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classifyCode(refused.Code)
	}
	if away(err) {
		return fault.Unavailable, "Check that PostgreSQL runs there, and that this machine may connect to it. It is tried again by itself."
	}
	return fault.Internal, ""
}

// away tells whether the server could not be reached, or was lost.
func away(err error) bool {
	var connecting *pgconn.ConnectError
	var network net.Error
	for _, lost := range []error{
		io.EOF, io.ErrUnexpectedEOF, driver.ErrBadConn, sql.ErrConnDone, sql.ErrTxDone, net.ErrClosed,
		context.DeadlineExceeded, context.Canceled,
	} {
		if errors.Is(err, lost) {
			return true
		}
	}
	return errors.As(err, &connecting) || errors.As(err, &network) || pgconn.SafeToRetry(err) || pgconn.Timeout(err)
}

// classifyCode goes by the five characters of SQLSTATE, the first two of which are its class.
func classifyCode(code string) (kind fault.Kind, next string) {
	switch code {
	case "40001", "40P01": // serialization failure, deadlock
		return fault.Unavailable, "Two writes got in each other's way: try again."
	case "55P03", "57014": // lock not available, statement ended
		return fault.Unavailable, "The database is too busy: try again later. If it lasts, look at what it is doing in pg_stat_activity."
	case "25P03", "25P04": // idle in a transaction, transaction too long
		return fault.Unavailable, "This process stood still in the middle of a write, which was undone: try again."
	case "53100":
		return fault.Unavailable, "The disk of the database is full: free space there, and try again. Nothing was lost."
	case "53300":
		return fault.Unavailable, "The server has no connection to spare: raise max_connections, or stop other programs that use it."
	case "57P01", "57P02", "57P03", "57P05":
		return fault.Unavailable, "The server is stopping or starting: try again."
	case "25006":
		return fault.Unavailable, "The server takes no writes: it is a standby, or was set read-only. Name the primary in the URL."
	case "3D000":
		return fault.NotFound, "Create the database: createdb --encoding=UTF8 --template=template0 NAME."
	case "42501":
		return fault.Denied, "Make the user that firebreak connects as the owner of the database."
	case "08P01": // what connection poolers say to a parameter that they do not know
		return fault.Unavailable, "If a connection pooler is in between, connect to the server itself: sessions are needed for wake-ups."
	}
	switch code[:min(2, len(code))] {
	case "23":
		return fault.Conflict, ""
	case "22":
		return fault.Invalid, "" // text with a NUL, a number out of range
	case "28":
		return fault.Denied, "Check the user and the password in the URL, and the server's pg_hba.conf."
	case "08":
		return fault.Unavailable, "The connection was lost: try again."
	case "53":
		return fault.Unavailable, "The server is short of memory or other means: look at its log, and try again."
	case "58":
		return fault.Unavailable, "The disk of the database failed: look at the server's log. Nothing was lost."
	case "XX":
		return fault.Internal, "The database may be damaged: look at the server's log, and restore it from a backup if need be."
	}
	return fault.Internal, ""
}

// unknown tells whether a commit may have been made although it ended in an error. What the driver says of a closed connection is not
// trusted: it says so too of one that it lost after the commit was sent.
func unknown(err error) bool {
	if errors.Is(err, pgx.ErrTxCommitRollback) || errors.Is(err, sql.ErrTxDone) {
		return false
	}
	var said *pgconn.PgError
	if !errors.As(err, &said) {
		return true
	}
	class := said.Code[:min(2, len(said.Code))]
	return class == "57" || class == "08" // it was ended, and may have got far enough before
}
