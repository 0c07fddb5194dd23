package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

const endpointColumns = `id, tenant, attributes, labels, enrolled, last_seen, boot, components, report_seq, posture`

func scanEndpoint(r row) (Endpoint, error) {
	var e Endpoint
	err := r.Scan(&e.ID, &e.Tenant, jsonColumn{&e.Attributes}, jsonColumn{&e.Labels},
		timeColumn{&e.Enrolled}, timeColumn{&e.LastSeen},
		&e.Boot, rawColumn{&e.Components}, &e.ReportSeq, &e.Posture)
	return e, err
}

// PutEndpoint enrols an endpoint. One that is known already gets the new tenant, attributes and labels and keeps the rest: when
// it first enrolled, what it runs, and ReportSeq, so that its reports still count once.
func (s *Store) PutEndpoint(ctx context.Context, e Endpoint) error {
	return s.write(ctx, "enrol endpoint "+string(e.ID), func(ctx context.Context, tx *sql.Tx) error {
		attributes, err := encoded(e.Attributes)
		if err != nil {
			return err
		}
		labels, err := encoded(e.Labels)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO endpoints (`+endpointColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, attributes = excluded.attributes, labels = excluded.labels`,
			e.ID, e.Tenant, attributes, labels, micros(e.Enrolled), micros(e.LastSeen), e.Boot, string(e.Components), e.ReportSeq, e.Posture)
		return err
	})
}

// Endpoint finds an endpoint.
func (s *Store) Endpoint(ctx context.Context, id fleet.EndpointID) (Endpoint, error) {
	e, err := one(ctx, s.reader, scanEndpoint, none("no endpoint of this name has joined"),
		`SELECT `+endpointColumns+` FROM endpoints WHERE id = $1`, id)
	return e, s.fail(err, "find endpoint "+string(id))
}

// Endpoints lists at most limit endpoints with an id above after, in the order of ids. A limit of 0 means all.
func (s *Store) Endpoints(ctx context.Context, after fleet.EndpointID, limit int) ([]Endpoint, error) {
	all, err := list(ctx, s.reader, scanEndpoint,
		`SELECT `+endpointColumns+` FROM endpoints WHERE id > $1 ORDER BY id LIMIT $2`, after, atMost(limit))
	return all, s.fail(err, "list endpoints")
}

// SaveEndpoint stores what an endpoint says of itself: attributes, boot id, components and posture, and that it was seen. Tenant, labels,
// enrolment and ReportSeq stay as they are.
func (s *Store) SaveEndpoint(ctx context.Context, e Endpoint) error {
	return s.write(ctx, "save endpoint "+string(e.ID), func(ctx context.Context, tx *sql.Tx) error {
		attributes, err := encoded(e.Attributes)
		if err != nil {
			return err
		}
		n, err := changed(ctx, tx, `UPDATE endpoints SET attributes = $2, boot = $3, components = $4, posture = $6,
			last_seen = CASE WHEN last_seen < $5 THEN $5 ELSE last_seen END WHERE id = $1`,
			e.ID, attributes, e.Boot, string(e.Components), micros(e.LastSeen), e.Posture)
		if err == nil && n == 0 {
			err = none("no endpoint of this name has joined")
		}
		return err
	})
}

// touchBatch bounds how long one write-behind of last-seen times keeps leases and reports waiting.
const touchBatch = 500

// TouchEndpoints writes when endpoints were last seen; an older time never replaces a newer one, an unknown endpoint is passed
// over. It writes in several transactions: after an error some may be written, and all can be written again.
func (s *Store) TouchEndpoints(ctx context.Context, seen map[fleet.EndpointID]time.Time) error {
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(seen)), touchBatch) {
		err := s.write(ctx, "write when endpoints were last seen", func(ctx context.Context, tx *sql.Tx) error {
			touch, err := tx.PrepareContext(ctx, `UPDATE endpoints SET last_seen = $2 WHERE id = $1 AND last_seen < $2`)
			if err != nil {
				return err
			}
			defer touch.Close()
			for _, id := range ids {
				if _, err := touch.ExecContext(ctx, id, micros(seen[id])); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
