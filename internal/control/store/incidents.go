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
	_, err = tx.ExecContext(ctx, `INSERT INTO recalls (`+recallColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (component, manifest) DO NOTHING`,
		c.Component, c.Version, c.Manifest, artifacts, c.Reason, c.Rollout, micros(c.At))
	return err
}

// Recalls lists the recalls of a component, or of all if it is empty, in the order in which they were made.
func (s *Store) Recalls(ctx context.Context, component string) ([]Recall, error) {
	all, err := list(ctx, s.reader, scanRecall,
		`SELECT `+recallColumns+` FROM recalls WHERE component = $1 OR $1 = '' ORDER BY number`, component)
	return all, s.fail(err, "list recalls")
}

const incidentColumns = `id, rollout, component, version, title, opened, closed`

func scanIncident(r row) (Incident, error) {
	var i Incident
	err := r.Scan(&i.ID, &i.Rollout, &i.Component, &i.Version, &i.Title, timeColumn{&i.Opened}, timeColumn{&i.Closed})
	return i, err
}

func insertIncident(ctx context.Context, tx *sql.Tx, i Incident) error {
	n, err := changed(ctx, tx,
		`INSERT INTO incidents (`+incidentColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING`,
		i.ID, i.Rollout, i.Component, i.Version, i.Title, micros(i.Opened), micros(i.Closed))
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

// Incident finds an incident.
func (s *Store) Incident(ctx context.Context, id string) (Incident, error) {
	i, err := one(ctx, s.reader, scanIncident, noIncident(), `SELECT `+incidentColumns+` FROM incidents WHERE id = $1`, id)
	return i, s.fail(err, "find incident "+id)
}

// CloseIncident ends an incident. Closing it again changes nothing.
func (s *Store) CloseIncident(ctx context.Context, id string, at time.Time) error {
	return s.write(ctx, "close incident "+id, func(ctx context.Context, tx *sql.Tx) error {
		n, err := changed(ctx, tx,
			`UPDATE incidents SET closed = CASE closed WHEN 0 THEN $2 ELSE closed END WHERE id = $1`, id, micros(at))
		if err == nil && n == 0 {
			err = noIncident()
		}
		return err
	})
}

func noIncident() error {
	return none("no such incident").Hint("`firebreak incident list` shows all incidents.")
}
