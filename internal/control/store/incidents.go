package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

const recallColumns = `component, version, manifest, artifacts, reason, rollout, at`

func scanRecall(r row) (Recall, error) {
	var c Recall
	err := r.Scan(&c.Component, &c.Version, &c.Manifest, jsonColumn{&c.Artifacts}, &c.Reason, &c.Rollout, timeColumn{&c.At})
	return c, err
}

func insertRecall(ctx context.Context, tx *sql.Tx, c Recall) error {
	artifacts, err := encoded(c.Artifacts)
	if err != nil {
		return err
	}
	values := []any{c.Component, c.Version, c.Manifest, artifacts, c.Reason, c.Rollout, micros(c.At)}
	storable(values)
	_, err = tx.ExecContext(ctx, `INSERT INTO recalls (`+recallColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (component, manifest) DO NOTHING`, values...)
	return err
}

// Recalls lists the recalls of a component, or of all if it is empty, in the order in which they were made.
func (s *Store) Recalls(ctx context.Context, component string) ([]Recall, error) {
	all, err := list(ctx, s.reader, scanRecall,
		`SELECT `+recallColumns+` FROM recalls WHERE component = $1 OR $1 = '' ORDER BY number`, component)
	return all, s.fail(err, "list recalls")
}

const incidentColumns = `id, rollout, component, version, title, opened, closed, closer, note`

func scanIncident(r row) (Incident, error) {
	var i Incident
	err := r.Scan(&i.ID, &i.Rollout, &i.Component, &i.Version, &i.Title, timeColumn{&i.Opened}, timeColumn{&i.Closed}, &i.Closer, &i.Note)
	return i, err
}

func insertIncident(ctx context.Context, tx *sql.Tx, i Incident) error {
	values := []any{i.ID, i.Rollout, i.Component, i.Version, i.Title, micros(i.Opened), micros(i.Closed), i.Closer, i.Note}
	storable(values)
	n, err := changed(ctx, tx,
		`INSERT INTO incidents (`+incidentColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING`, values...)
	if err == nil && n == 0 {
		err = fault.New(fault.Conflict, "there is an incident %s already", i.ID)
	}
	return err
}

// Incidents lists all incidents, newest first.
func (s *Store) Incidents(ctx context.Context) ([]Incident, error) {
	all, err := list(ctx, s.reader, scanIncident, `SELECT `+incidentColumns+` FROM incidents ORDER BY number DESC`)
	return all, s.fail(err, "list incidents")
}

// OpenIncidents lists at most limit incidents that are not closed, newest first.
func (s *Store) OpenIncidents(ctx context.Context, limit int) ([]Incident, error) {
	all, err := list(ctx, s.reader, scanIncident,
		`SELECT `+incidentColumns+` FROM incidents WHERE closed = 0 ORDER BY number DESC LIMIT $1`, atMost(limit))
	return all, s.fail(err, "list open incidents")
}

// Incident finds an incident.
func (s *Store) Incident(ctx context.Context, id string) (Incident, error) {
	i, err := one(ctx, s.reader, scanIncident, noIncident(), `SELECT `+incidentColumns+` FROM incidents WHERE id = $1`, id)
	return i, s.fail(err, "find incident "+id)
}

// CloseIncident notes who is done with an incident, when, and what they say. Closing it again changes nothing: the first word stands.
func (s *Store) CloseIncident(ctx context.Context, id, closer, note string, at time.Time) error {
	return s.write(ctx, "close incident "+id, func(ctx context.Context, tx *sql.Tx) error {
		values := []any{id, micros(at), closer, note}
		storable(values)
		n, err := changed(ctx, tx, `UPDATE incidents SET closed = CASE closed WHEN 0 THEN $2 ELSE closed END,
			closer = CASE closed WHEN 0 THEN $3 ELSE closer END, note = CASE closed WHEN 0 THEN $4 ELSE note END WHERE id = $1`, values...)
		if err == nil && n == 0 {
			err = noIncident()
		}
		return err
	})
}

func noIncident() error {
	return none("no such incident").Hint("`firebreak incident list` shows all incidents.")
}
