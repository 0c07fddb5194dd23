package bench

import (
	"testing"

	"github.com/firebreak-dev/firebreak/internal/control/store/postgres"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres/postgrestest"
	"github.com/firebreak-dev/firebreak/internal/control/store/storetest"
)

// TestReportsPostgres measures how many reports a second become durable with PostgreSQL on the same machine, with fsync on: 64 callers at a
// time, each with 8 reports of one endpoint, each of which goes on when its reports are on the server's disk.
func TestReportsPostgres(t *testing.T) {
	server := postgrestest.New(t)
	s, err := postgres.Open(t.Context(), server.Database(t), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	endpoints, total := 500, 4_000
	if *full {
		endpoints, total = 10_000, 200_000
	}
	report := storetest.Load(t, s, endpoints)
	took := reportFor(t, s, report, total)
	figure(t, "reports_postgres", float64(total)/took.Seconds(), "1/s")
}
