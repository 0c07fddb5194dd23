package store

import (
	"context"
	"database/sql"

	"github.com/pressly/goose/v3"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// migrate brings the schema up to date, each migration in its own transaction, or so that it can be begun anew. It refuses a database that
// a newer program has changed: this one could not know what it would break.
func (s *Store) migrate(ctx context.Context, db *sql.DB) error {
	const what = "bring the database up to date"
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger())}
	if s.dialect.Turn != nil {
		options = append(options, goose.WithSessionLocker(s.dialect.Turn))
	}
	p, err := goose.NewProvider(s.dialect.Goose, db, s.dialect.Migrations, options...)
	if err != nil {
		return s.fail(err, what)
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return s.fail(err, what)
	}
	if have > want {
		return fault.New(fault.Conflict, "%s: its schema is version %d, this program knows versions up to %d", what, have, want).
			Hint("Start the newer firebreak again, or restore the backup that was made before it was installed.")
	}
	_, err = p.Up(ctx)
	return s.fail(err, what)
}
