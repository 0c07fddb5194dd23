package store

import (
	"context"
	"database/sql"
	"time"
)

// AddSamples writes how the fleet was, behind all other writes. A sample of the same time, component and version replaces the one before.
func (s *Store) AddSamples(ctx context.Context, samples []Sample) error {
	type key struct {
		at                 int64
		component, version string
	}
	samples = lastOf(samples, func(v Sample) key { return key{micros(v.At), v.Component, v.Version} })
	bind := func(args []any, v Sample) []any {
		return append(args, v.Component, micros(v.At), v.Version, v.Hosts, v.Heard)
	}
	const into = `INSERT INTO samples (component, at, version, hosts, heard) VALUES `
	const over = ` ON CONFLICT (component, at, version) DO UPDATE SET hosts = excluded.hosts, heard = excluded.heard`
	return s.writeLater(ctx, "", "write samples of the fleet", len(samples), func(ctx context.Context, tx *sql.Tx) error {
		return inRows(samples, `(?, ?, ?, ?, ?)`, bind, func(rows string, args []any) error {
			_, err := tx.ExecContext(ctx, into+rows+over, args...)
			return err
		})
	})
}

// Samples lists at most limit samples of a component, or of the whole fleet if it is empty, that were taken since, in the order of time, then of
// versions. A limit of 0 means all.
func (s *Store) Samples(ctx context.Context, component string, since time.Time, limit int) ([]Sample, error) {
	scan := func(r row) (v Sample, err error) {
		return v, r.Scan(&v.Component, timeColumn{&v.At}, &v.Version, &v.Hosts, &v.Heard)
	}
	all, err := list(ctx, s.reader, scan, `SELECT component, at, version, hosts, heard FROM samples
		WHERE component = $1 AND at >= $2 ORDER BY at, version LIMIT $3`, component, micros(since), atMost(limit))
	return all, s.fail(err, "list samples of the fleet")
}

// thinStep is what one transaction of [Store.ThinSamples] looks at.
const thinStep = 6 * time.Hour

// ThinSamples leaves, of the samples from one time to another, the last of each component and version in every stretch of that length: what
// was so at its end. It goes in small steps that hold up nobody, and can be called again.
func (s *Store) ThinSamples(ctx context.Context, from, to time.Time, stretch time.Duration) error {
	for ; from.Before(to); from = from.Add(thinStep) {
		until := from.Add(thinStep)
		if until.After(to) {
			until = to
		}
		err := s.writeLater(ctx, "", "thin samples of the fleet", groupRows, func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM samples WHERE at >= $1 AND at < $2 AND EXISTS (SELECT 1 FROM samples s
				WHERE s.component = samples.component AND s.version = samples.version
				AND s.at > samples.at AND s.at < samples.at - samples.at % $3 + $3)`, micros(from), micros(until), stretch.Microseconds())
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// ForgetSamples deletes the samples that were taken before a time.
func (s *Store) ForgetSamples(ctx context.Context, before time.Time) error {
	return s.writeLater(ctx, "", "forget samples of the fleet", groupRows, func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM samples WHERE at < $1`, micros(before))
		return err
	})
}
