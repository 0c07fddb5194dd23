package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
)

const componentColumns = `name, kind, validation, plan, created`

func scanComponent(r row) (Component, error) {
	var c Component
	err := r.Scan(&c.Name, &c.Kind, &c.Validation, &c.Plan, timeColumn{&c.Created})
	return c, err
}

// PutComponent registers a component or changes its validation and plan. Its kind cannot change: that is a fault.Conflict.
// Created stays what it was at first.
func (s *Store) PutComponent(ctx context.Context, c Component) error {
	return s.write(ctx, "store component "+c.Name, func(ctx context.Context, tx *sql.Tx) error {
		n, err := changed(ctx, tx, `INSERT INTO components (`+componentColumns+`) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (name) DO UPDATE SET validation = excluded.validation, plan = excluded.plan
			WHERE components.kind = excluded.kind`,
			c.Name, c.Kind, c.Validation, c.Plan, micros(c.Created))
		if err == nil && n == 0 {
			err = fault.New(fault.Conflict, "it is of another kind than %s, and a component's kind cannot change", c.Kind).
				Hint("Register a new component under another name.")
		}
		return err
	})
}

// Component finds a component.
func (s *Store) Component(ctx context.Context, name string) (Component, error) {
	missing := none("no component of this name is registered").Hint("`firebreak apply -f` registers components.")
	c, err := one(ctx, s.reader, scanComponent, missing, `SELECT `+componentColumns+` FROM components WHERE name = $1`, name)
	return c, s.fail(err, "find component "+name)
}

// Components lists all components by name.
func (s *Store) Components(ctx context.Context) ([]Component, error) {
	all, err := list(ctx, s.reader, scanComponent, `SELECT `+componentColumns+` FROM components ORDER BY name`)
	return all, s.fail(err, "list components")
}

func scanPlan(r row) (PlanRow, error) {
	var p PlanRow
	err := r.Scan(jsonColumn{&p.Plan}, timeColumn{&p.Updated})
	return p, err
}

// PutPlan stores a plan under its name, in place of the one that was there. Rollouts and releases keep their own copies.
func (s *Store) PutPlan(ctx context.Context, p plan.Plan, at time.Time) error {
	return s.write(ctx, "store plan "+p.Name, func(ctx context.Context, tx *sql.Tx) error {
		body, err := encoded(p)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO plans (name, body, updated) VALUES ($1, $2, $3)
			ON CONFLICT (name) DO UPDATE SET body = excluded.body, updated = excluded.updated`, p.Name, body, micros(at))
		return err
	})
}

// Plan finds a plan.
func (s *Store) Plan(ctx context.Context, name string) (PlanRow, error) {
	missing := none("no plan of this name is stored").Hint("`firebreak apply -f` stores plans.")
	p, err := one(ctx, s.reader, scanPlan, missing, `SELECT body, updated FROM plans WHERE name = $1`, name)
	return p, s.fail(err, "find plan "+name)
}

// Plans lists all plans by name.
func (s *Store) Plans(ctx context.Context) ([]PlanRow, error) {
	all, err := list(ctx, s.reader, scanPlan, `SELECT body, updated FROM plans ORDER BY name`)
	return all, s.fail(err, "list plans")
}

// Setting reads a small named value.
func (s *Store) Setting(ctx context.Context, key string) (string, error) {
	v, err := one(ctx, s.reader, scalar[string], none("it was never set"), `SELECT value FROM settings WHERE key = $1`, key)
	return v, s.fail(err, "read setting "+key)
}

// PutSetting stores a small named value, in place of the one that was there.
func (s *Store) PutSetting(ctx context.Context, key, value string) error {
	return s.write(ctx, "store setting "+key, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx,
			`INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value`, key, value)
		return err
	})
}

// KeepSetting stores a small named value unless there is one, and returns the one that is there then: of many who do so at once, all get
// the same.
func (s *Store) KeepSetting(ctx context.Context, key, value string) (kept string, err error) {
	err = s.write(ctx, "store setting "+key+" if there is none", func(ctx context.Context, tx *sql.Tx) (failed error) {
		if _, failed = tx.ExecContext(ctx, `INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING`, key, value); failed == nil {
			kept, failed = one(ctx, tx, scalar[string], none("it was removed"), `SELECT value FROM settings WHERE key = $1`, key)
		}
		return failed
	})
	if err != nil {
		return "", err
	}
	return kept, nil
}
