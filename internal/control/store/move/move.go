// Package move copies a whole store into another database: how an installation outgrows SQLite.
//
// A copy is made in one transaction, or not at all: after whatever went wrong one starts again. The program that made it compares every
// table of both by the number of rows and by a checksum over all values before it commits.
package move

import (
	"context"

	"github.com/firebreak-dev/firebreak/internal/control/store"
)

// Report is what was copied.
type Report struct {
	Tables []store.CopiedTable
}

// Rows is how many rows were copied.
func (r Report) Rows() int64 {
	var n int64
	for _, t := range r.Tables {
		n += t.Rows
	}
	return n
}

// Copy copies all of from into to, table by table, and tells progress of the rows done of those there are; progress may be nil. Nobody else
// may write to either meanwhile: from is a SQLite store, which only one process has open. A target that holds anything is a fault.Conflict.
// Letters are not copied, and nobody leads in the copy: its first leader has a higher term than any before.
func Copy(ctx context.Context, from, to *store.Store, progress func(table string, done, total int64)) (Report, error) {
	if progress == nil {
		progress = func(string, int64, int64) {}
	}
	tables, err := store.CopyAll(ctx, from, to, progress)
	return Report{Tables: tables}, err
}
