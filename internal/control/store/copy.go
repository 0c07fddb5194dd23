package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// CopiedTable is a table that [CopyAll] copied.
type CopiedTable struct {
	Name     string
	Rows     int64
	Checksum string // SHA-256 over all values in the order of the key; the same in both databases
}

// moved is a table as a copy sees it.
type moved struct {
	name    string
	columns string // all of them
	key     string // what orders the rows
	counted string // the column that the database numbers by itself; empty if there is none
	kept    bool   // whether a new database has rows in it, which are replaced
}

// tables are all tables, those that others refer to first. Letters are not among them: they mean nothing once their authors are gone.
func tables() []moved {
	return []moved{
		{name: "settings", columns: "key, value", key: "key"},
		{name: "tokens", columns: tokenColumns, key: "id"},
		{name: "components", columns: componentColumns, key: "name"},
		{name: "plans", columns: "name, body, updated", key: "name"},
		{name: "metadata", columns: "name, data", key: "name"},
		{name: "releases", columns: "component, version, serial, digest, manifest", key: "component, version"},
		{name: "deltas", columns: "artifact, base, form, blob, size", key: "artifact, base, form"},
		{name: "directives", columns: directiveColumns, key: "component"},
		{
			name: "endpoints", columns: "number, id, tenant, attributes, labels, enrolled, boot, components, posture, change, ending, ended, why, token, joined",
			key: "number", counted: "number",
		},
		{name: "hot", columns: "endpoint, seen, reported, pruned", key: "endpoint"},
		{name: "reports", columns: "arrival, endpoint, seq, received, taken, data", key: "arrival", counted: "arrival"},
		{name: "hearings", columns: "number, replica, at, written, data", key: "number"},
		{name: "rollouts", columns: "number, id, component, revision, created, state, phase, version", key: "number", counted: "number"},
		{name: "events", columns: "rollout, revision, at, name, data, effects, notable", key: "rollout, revision"},
		{name: "leases", columns: leaseColumns, key: "rollout, endpoint"},
		{name: "recalls", columns: "number, " + recallColumns, key: "number", counted: "number"},
		{name: "incidents", columns: "number, " + incidentColumns, key: "number", counted: "number"},
		{name: "sessions", columns: "hash, token, created, expires", key: "hash"},
		{name: "audit", columns: "number, at, actor, act, target, status, detail, request", key: "number", counted: "number"},
		{name: "samples", columns: "component, at, version, hosts, heard", key: "component, at, version"},
		{name: "answers", columns: "token, key, sum, at, answer", key: "token, key"},
		{name: "counters", columns: "name, value", key: "name", kept: true},
		{name: "leadership", columns: "id, term, holder, until", key: "id", kept: true},
	}
}

// CopyAll copies all of from into to, in one transaction or not at all, and checks every table by its number of rows and a checksum over
// its values before it commits. A target that holds anything is a fault.Conflict. Nobody else may use either meanwhile. In the copy
// nobody leads. Package move has the words for people.
func CopyAll(ctx context.Context, from, to *Store, progress func(table string, done, total int64)) ([]CopiedTable, error) {
	var copied []CopiedTable
	const what = "copy the database"
	if err := from.depose(ctx); err != nil { // so that no leader of before is one in the copy
		return nil, err
	}
	source, err := from.reader.BeginTx(ctx, nil)
	if err != nil {
		return nil, from.fail(err, what)
	}
	defer func() { _ = source.Rollback() }() // it only read
	unhurried := *to                         // it is given up only when ctx ends
	unhurried.dialect.Patience = 0
	err = unhurried.alone(ctx, func(ctx context.Context, target *sql.Tx) error {
		if to.dialect.Unhurried != "" {
			if _, err = target.ExecContext(ctx, to.dialect.Unhurried); err != nil {
				return err
			}
		}
		if err = to.empty(ctx, target); err != nil {
			return err
		}
		for _, t := range tables() {
			c, failed := copyTable(ctx, from, to, source, target, t, progress)
			if failed != nil {
				return failed
			}
			copied = append(copied, c)
		}
		return nil
	})
	if err != nil {
		return nil, to.fail(err, what)
	}
	return copied, nil
}

// empty is a fault.Conflict if the database holds anything.
func (s *Store) empty(ctx context.Context, tx *sql.Tx) error {
	for _, t := range tables() {
		if t.kept {
			continue
		}
		n, err := one(ctx, tx, scalar[int64], nil, `SELECT count(*) FROM `+t.name)
		if err != nil {
			return err
		}
		if n > 0 {
			return fault.New(fault.Conflict, "the target is not empty: its table %s has %d rows", t.name, n).
				Hint("Name a new, empty database. Nothing was changed in this one.")
		}
	}
	return nil
}

// copyTable copies a table and compares both.
func copyTable(ctx context.Context, from, to *Store, source, target *sql.Tx, t moved, progress func(string, int64, int64)) (CopiedTable, error) {
	total, err := one(ctx, source, scalar[int64], nil, `SELECT count(*) FROM `+t.name)
	if err != nil {
		return CopiedTable{}, from.fail(err, "read table "+t.name)
	}
	if t.kept {
		if _, err = target.ExecContext(ctx, `DELETE FROM `+t.name); err != nil { //nolint:gosec // a name from the list above
			return CopiedTable{}, to.fail(err, "clear table "+t.name)
		}
	}
	progress(t.name, 0, total)
	w := &tableWriter{ctx: ctx, tx: target, table: t, progress: func(done int64) { progress(t.name, done, total) }}
	sum, err := t.read(ctx, source, w.add)
	if err == nil {
		err = w.flush()
	}
	if err != nil {
		return CopiedTable{}, to.fail(err, "copy table "+t.name)
	}
	there, err := t.read(ctx, target, func([]any) error { return nil })
	if err != nil {
		return CopiedTable{}, to.fail(err, "read back table "+t.name)
	}
	if there != sum || sum.Rows != total {
		return CopiedTable{}, fault.New(fault.Internal, "table %s is not the same in the copy: %d rows with checksum %s, want %d with %s",
			t.name, there.Rows, there.Checksum, sum.Rows, sum.Checksum)
	}
	if t.counted != "" && to.dialect.Count != "" {
		if _, err = target.ExecContext(ctx, strings.NewReplacer("TABLE", t.name, "COLUMN", t.counted).Replace(to.dialect.Count)); err != nil {
			return CopiedTable{}, to.fail(err, "number table "+t.name)
		}
	}
	return sum, nil
}

// read gives every row, in the order of the key by bytes, and sums them up.
func (t moved) read(ctx context.Context, q querier, each func(values []any) error) (CopiedTable, error) {
	sum := CopiedTable{Name: t.name}
	rows, err := q.QueryContext(ctx, `SELECT `+t.columns+` FROM `+t.name+` ORDER BY `+t.key)
	if err != nil {
		return sum, err
	}
	defer rows.Close()
	n := strings.Count(t.columns, ",") + 1
	h := sha256.New()
	for rows.Next() {
		values, into := make([]any, n), make([]any, n)
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return sum, err
		}
		for _, v := range values {
			if err := hashValue(h, v); err != nil {
				return sum, err
			}
		}
		sum.Rows++
		if err := each(values); err != nil {
			return sum, err
		}
	}
	sum.Checksum = hex.EncodeToString(h.Sum(nil))
	return sum, rows.Err()
}

// hashValue adds a value to a checksum: its type, its length, its bytes.
func hashValue(h hash.Hash, v any) error {
	var kind byte
	var data []byte
	switch v := v.(type) {
	case int64:
		kind, data = 'i', binary.BigEndian.AppendUint64(nil, uint64(v)) //nolint:gosec // the same bits
	case string:
		kind, data = 't', []byte(v)
	case []byte:
		kind, data = 'b', v
	case nil:
		kind = 'n'
	default:
		return fmt.Errorf("got a %T in a table", v)
	}
	h.Write(append(binary.BigEndian.AppendUint64([]byte{kind}, uint64(len(data))), data...))
	return nil
}

// statementSize is about how many bytes one statement writes at most.
const statementSize = 1 << 20

// tableWriter writes rows, many in one statement.
type tableWriter struct {
	ctx      context.Context //nolint:containedctx // of the one call that it lives for
	tx       *sql.Tx
	table    moved
	waiting  [][]any
	size     int // of what waits, about
	done     int64
	progress func(done int64)
}

func (w *tableWriter) add(values []any) error {
	for i, v := range values {
		switch v := v.(type) {
		case string:
			w.size += len(v)
		case []byte:
			w.size += len(v)
			values[i] = body(v) // SQLite gives no bytes as nil
		}
	}
	w.waiting = append(w.waiting, values)
	if len(w.waiting) < rowsAtOnce && w.size < statementSize {
		return nil
	}
	return w.flush()
}

func (w *tableWriter) flush() error {
	shape := "(" + strings.TrimSuffix(strings.Repeat("?, ", strings.Count(w.table.columns, ",")+1), ", ") + ")"
	bind := func(args []any, row []any) []any { return append(args, row...) }
	err := inRows(w.waiting, shape, bind, func(rows string, args []any) error {
		_, err := w.tx.ExecContext(w.ctx, `INSERT INTO `+w.table.name+` (`+w.table.columns+`) VALUES `+rows, args...) //nolint:gosec // names from the list above, and placeholders
		return err
	})
	w.done += int64(len(w.waiting))
	w.waiting, w.size = w.waiting[:0], 0
	if err == nil {
		w.progress(w.done)
	}
	return err
}
