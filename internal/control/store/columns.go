package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// micros is how a time is stored: microseconds since 1970, 0 for the zero time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// encoded is how a value is stored as JSON.
func encoded(v any) (string, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode %T: %w", v, err)
	}
	return string(data), nil
}

// timeColumn reads what micros made.
type timeColumn struct{ to *time.Time }

// Scan implements [sql.Scanner].
func (c timeColumn) Scan(src any) error {
	v, ok := src.(int64)
	if !ok {
		return fmt.Errorf("read a time: got %T, want a number of microseconds", src)
	}
	*c.to = time.Time{}
	if v != 0 {
		*c.to = time.UnixMicro(v).UTC()
	}
	return nil
}

// jsonColumn reads what encoded made.
type jsonColumn struct{ to any }

// Scan implements [sql.Scanner].
func (c jsonColumn) Scan(src any) error {
	var text rawColumn
	var data json.RawMessage
	text.to = &data
	if err := text.Scan(src); err != nil {
		return err
	}
	if err := json.Unmarshal(data, c.to); err != nil {
		return fmt.Errorf("read %T: %w", c.to, err)
	}
	return nil
}

// rawColumn reads JSON that the store does not look into; an empty column is nil.
type rawColumn struct{ to *json.RawMessage }

// Scan implements [sql.Scanner].
func (c rawColumn) Scan(src any) error {
	switch v := src.(type) {
	case string:
		*c.to = json.RawMessage(v)
	case []byte:
		*c.to = append(json.RawMessage(nil), v...)
	default:
		return fmt.Errorf("read JSON: got %T, want text", src)
	}
	if len(*c.to) == 0 {
		*c.to = nil
	}
	return nil
}

// row is a *sql.Row or *sql.Rows.
type row interface{ Scan(dest ...any) error }

// querier is a *sql.DB or *sql.Tx.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// bound gives a context that ends when the database's patience does.
func (d Dialect) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if d.Patience <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, d.Patience)
}

// reader is the pool for reads. What [list] and [one] read from it is given up when the database's patience ends.
type reader struct {
	*sql.DB
	dialect Dialect
}

// bounded bounds what is read outside of a transaction; what is read inside is bounded with it. Silent gives an error that comes of that
// end, and not of the caller's own context, the words for it.
func bounded(ctx context.Context, q querier) (reading context.Context, enough context.CancelFunc, silent func(error) error) {
	r, ok := q.(reader)
	if !ok {
		return ctx, func() {}, func(err error) error { return err }
	}
	reading, enough = r.dialect.bound(ctx)
	return reading, enough, func(err error) error {
		if err == nil || reading.Err() == nil || ctx.Err() != nil {
			return err
		}
		return fault.New(fault.Unavailable, "the database did not answer within %v: %w", r.dialect.Patience, err).
			Hint("Look at how busy it is, and whether the network to it lets everything through. It is tried again by itself.")
	}
}

// list reads all rows of a query. The result is nil if there are none.
func list[T any](ctx context.Context, q querier, scan func(row) (T, error), query string, args ...any) ([]T, error) {
	ctx, enough, silent := bounded(ctx, q)
	defer enough()
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, silent(err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, silent(err)
		}
		all = append(all, v)
	}
	return all, silent(rows.Err())
}

// one reads the only row of a query; none is a fault.NotFound that says missing.
func one[T any](ctx context.Context, q querier, scan func(row) (T, error), missing error, query string, args ...any) (T, error) {
	ctx, enough, silent := bounded(ctx, q)
	defer enough()
	v, err := scan(q.QueryRowContext(ctx, query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return v, missing
	}
	return v, silent(err)
}

// scalar scans a single column.
func scalar[T any](r row) (T, error) {
	var v T
	return v, r.Scan(&v)
}

// none is the error for a row that is not there.
func none(format string, args ...any) *fault.Error { return fault.New(fault.NotFound, format, args...) }

// changed runs a statement and tells how many rows it changed.
func changed(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	result, err := tx.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// atMost is the LIMIT of a list; a limit of 0 or less means all.
func atMost(limit int) int64 {
	if limit <= 0 {
		return math.MaxInt64
	}
	return int64(limit)
}
