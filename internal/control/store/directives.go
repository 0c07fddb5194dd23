package store

import (
	"context"
	"database/sql"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

const directiveColumns = `component, sequence, envelope, issued`

func scanDirective(r row) (Directive, error) {
	var d Directive
	err := r.Scan(&d.Component, &d.Sequence, &d.Envelope, timeColumn{&d.Issued})
	return d, err
}

// PutDirective stores a component's newest directive in place of the one before. A sequence that is not above the stored one is a
// fault.Conflict: endpoints would refuse it.
func (s *Store) PutDirective(ctx context.Context, d Directive) error {
	return s.wakingWrite(ctx, WakeDirectives, "store directive of component "+d.Component, func(ctx context.Context, tx *sql.Tx) error {
		n, err := changed(ctx, tx, `INSERT INTO directives (`+directiveColumns+`) VALUES ($1, $2, $3, $4)
			ON CONFLICT (component) DO UPDATE SET sequence = excluded.sequence, envelope = excluded.envelope, issued = excluded.issued
			WHERE directives.sequence < excluded.sequence`, d.Component, d.Sequence, d.Envelope, micros(d.Issued))
		if err == nil && n == 0 {
			err = fault.New(fault.Conflict, "sequence %d is not above the stored one", d.Sequence)
		}
		return err
	})
}

// Directive finds a component's newest directive.
func (s *Store) Directive(ctx context.Context, component string) (Directive, error) {
	d, err := one(ctx, s.reader, scanDirective, none("none was published yet"),
		`SELECT `+directiveColumns+` FROM directives WHERE component = $1`, component)
	return d, s.fail(err, "find directive of component "+component)
}

// Directives lists the newest directive of every component that has one, by component.
func (s *Store) Directives(ctx context.Context) ([]Directive, error) {
	all, err := list(ctx, s.reader, scanDirective, `SELECT `+directiveColumns+` FROM directives ORDER BY component`)
	return all, s.fail(err, "list directives")
}
