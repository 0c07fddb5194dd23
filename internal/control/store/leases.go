package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

const leaseColumns = `rollout, endpoint, id, tenant, site, stratum, class, ring, issued, expires, deadline, outcome, known,
	detail, recovered`

func scanLease(r row) (Lease, error) {
	var l Lease
	err := r.Scan(&l.Rollout, &l.Endpoint, &l.ID, &l.Tenant, &l.Site, &l.Stratum, &l.Class, &l.Ring, timeColumn{&l.Issued},
		timeColumn{&l.Expires}, timeColumn{&l.Deadline}, &l.Outcome, timeColumn{&l.Known}, &l.Detail, timeColumn{&l.Recovered})
	return l, err
}

// upsertLeases writes leases; of several for one endpoint the last.
func upsertLeases(ctx context.Context, tx *sql.Tx, all []Lease) error {
	const into = `INSERT INTO leases (` + leaseColumns + `) VALUES `
	const over = ` ON CONFLICT (rollout, endpoint) DO UPDATE SET id = excluded.id, tenant = excluded.tenant, site = excluded.site,
		stratum = excluded.stratum, class = excluded.class, ring = excluded.ring, issued = excluded.issued, expires = excluded.expires,
		deadline = excluded.deadline, outcome = excluded.outcome, known = excluded.known, detail = excluded.detail,
		recovered = excluded.recovered`
	bind := func(args []any, l Lease) []any {
		return append(args, l.Rollout, l.Endpoint, l.ID, l.Tenant, l.Site, l.Stratum, l.Class, l.Ring, micros(l.Issued),
			micros(l.Expires), micros(l.Deadline), l.Outcome, micros(l.Known), l.Detail, micros(l.Recovered))
	}
	const shape = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	return inRows(lastOf(all, func(l Lease) fleet.EndpointID { return l.Endpoint }), shape, bind, func(rows string, args []any) error {
		_, err := tx.ExecContext(ctx, into+rows+over, args...)
		return err
	})
}

// Leases lists all leases of a rollout in the order of endpoints.
func (s *Store) Leases(ctx context.Context, id rollout.ID) ([]Lease, error) {
	all, err := list(ctx, s.reader, scanLease, `SELECT `+leaseColumns+` FROM leases WHERE rollout = $1 ORDER BY endpoint`, id)
	return all, s.fail(err, "list leases of rollout "+string(id))
}

// LeasesPage lists at most limit leases of a rollout whose endpoint is above after, in the order of endpoints; if outcomes are named, only those
// that have one of them. A limit of 0 means all. Beside those it reads only leases that are not confirmed, of which there are few.
func (s *Store) LeasesPage(ctx context.Context, id rollout.ID, after fleet.EndpointID, limit int, outcomes ...rollout.Outcome) ([]Lease, error) {
	args, which := []any{id, after, atMost(limit)}, ""
	if len(outcomes) > 0 {
		marks := make([]string, len(outcomes))
		for i, o := range outcomes {
			args = append(args, o)
			marks[i] = fmt.Sprintf("$%d", len(args))
		}
		which = ` AND outcome IN (` + strings.Join(marks, ", ") + `)`
		if !slices.Contains(outcomes, rollout.Confirmed) {
			which += ` AND outcome <> 'confirmed'` // in the words of the index leases_other
		}
	}
	all, err := list(ctx, s.reader, scanLease, `SELECT `+leaseColumns+` FROM leases WHERE rollout = $1 AND endpoint IN (
		SELECT endpoint FROM leases WHERE rollout = $1 AND endpoint > $2`+which+` ORDER BY endpoint LIMIT $3) ORDER BY endpoint`, args...)
	return all, s.fail(err, "list leases of rollout "+string(id))
}

// Lease finds the lease that an endpoint got in a rollout.
func (s *Store) Lease(ctx context.Context, id rollout.ID, endpoint fleet.EndpointID) (Lease, error) {
	l, err := one(ctx, s.reader, scanLease, none("it never got one"),
		`SELECT `+leaseColumns+` FROM leases WHERE rollout = $1 AND endpoint = $2`, id, endpoint)
	return l, s.fail(err, "find lease of endpoint "+string(endpoint)+" in rollout "+string(id))
}

// NewestLeases lists at most limit leases that an endpoint got, those that were issued last first.
func (s *Store) NewestLeases(ctx context.Context, endpoint fleet.EndpointID, limit int) ([]Lease, error) {
	all, err := list(ctx, s.reader, scanLease,
		`SELECT `+leaseColumns+` FROM leases WHERE endpoint = $1 ORDER BY issued DESC, rollout LIMIT $2`, endpoint, atMost(limit))
	return all, s.fail(err, "list leases of endpoint "+string(endpoint))
}

// LeasesOfEndpoint lists the leases that an endpoint got in all rollouts, in the order of rollouts' ids.
func (s *Store) LeasesOfEndpoint(ctx context.Context, endpoint fleet.EndpointID) ([]Lease, error) {
	all, err := list(ctx, s.reader, scanLease, `SELECT `+leaseColumns+` FROM leases WHERE endpoint = $1 ORDER BY rollout`, endpoint)
	return all, s.fail(err, "list leases of endpoint "+string(endpoint))
}
