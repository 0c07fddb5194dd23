package store

import (
	"context"
	"math"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Lists that grow are read in pages. A page begins behind a key, so what is added meanwhile moves nothing.

// TokensPage lists at most limit tokens in the order of their creation, those after one that was created then and has that id.
func (s *Store) TokensPage(ctx context.Context, created time.Time, id string, limit int) ([]Token, error) {
	all, err := list(ctx, s.reader, scanToken, `SELECT `+tokenColumns+` FROM tokens
		WHERE created > $1 OR created = $1 AND id > $2 ORDER BY created, id LIMIT $3`, micros(created), id, atMost(limit))
	return all, s.fail(err, "list tokens")
}

// NumberedIncident is an incident with its place in the order in which they were opened.
type NumberedIncident struct {
	Number int64
	Incident
}

// IncidentsPage lists at most limit incidents with a number below before, newest first; a before of 0 is above all.
func (s *Store) IncidentsPage(ctx context.Context, before int64, limit int) ([]NumberedIncident, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	scan := func(r row) (NumberedIncident, error) {
		var n NumberedIncident
		i := &n.Incident
		err := r.Scan(&n.Number, &i.ID, &i.Rollout, &i.Component, &i.Version, &i.Title, timeColumn{&i.Opened}, timeColumn{&i.Closed},
			&i.Closer, &i.Note)
		return n, err
	}
	all, err := list(ctx, s.reader, scan,
		`SELECT number, `+incidentColumns+` FROM incidents WHERE number < $1 ORDER BY number DESC LIMIT $2`, before, atMost(limit))
	return all, s.fail(err, "list incidents")
}

// ReleasesPage lists at most limit releases of a component, or of all if it is empty: by component, newest first, those behind the one
// with that component and serial number. An empty component there is before all.
func (s *Store) ReleasesPage(ctx context.Context, component, behind string, serial int64, limit int) ([]release.Published, error) {
	all, err := list(ctx, s.reader, scanRelease, `SELECT digest, manifest FROM releases
		WHERE (component = $1 OR $1 = '') AND (component > $2 OR component = $2 AND serial < $3)
		ORDER BY component, serial DESC LIMIT $4`, component, behind, serial, atMost(limit))
	return all, s.fail(err, "list releases")
}
