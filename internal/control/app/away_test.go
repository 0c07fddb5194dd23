package app

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/health"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres/postgrestest"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/fulltest"
)

// The object store goes away from a running server and comes back.
func TestArtifactsGoAwayAndComeBack(t *testing.T) {
	t.Parallel()
	fulltest.Only(t)
	b, o := newBucket(t), settings(t)
	o.Blobs = b.location()
	b.on()
	p := serve(t, o)
	p.isReady()
	if err := p.note("before"); err != nil {
		t.Fatal(err)
	}
	b.off()
	if state := p.waitsFor("artifacts"); !strings.Contains(state.Why, "s3://blobs/p") || !strings.Contains(state.Why, "connection refused") {
		t.Errorf("got %q, want it to name the object store", state.Why)
	}
	if err := p.note("meanwhile"); err != nil { // what does not need it goes on
		t.Error(err)
	}
	b.on()
	p.isReady()
	p.has("before", "meanwhile")
}

// PostgreSQL is away when the server starts, and goes away again from the running server, in good order and in a crash. The server never
// ends, says so within its period, and has all that it acknowledged.
func TestInvariantI8PostgresGoesAwayAndComesBack(t *testing.T) {
	t.Parallel()
	server, o := postgrestest.New(t), settings(t)
	o.Database, o.Life = server.Database(t), 2*time.Second
	server.Stop(t)
	p := serve(t, o)
	state := p.waitsFor("database")
	if !strings.Contains(state.Why, "connection refused") || strings.Contains(state.Why, postgrestest.Password) {
		t.Errorf("got %q, want why, without the password", state.Why)
	}
	p.isStarting("/api/v1/status", state.Why)
	server.Start(t)
	p.isReady()
	acknowledged := []string{"first start"}
	for round, end := range []func(testing.TB){server.Stop, server.Kill} {
		note := fmt.Sprint("round-", round)
		within(t, "make a token", func() error { return p.note(note) })
		acknowledged = append(acknowledged, note)
		end(t)
		p.waitsFor("database")
		if err := p.note("refused"); err == nil {
			t.Error("got a token without a database")
		}
		server.Start(t)
		p.isReady()
		p.has(acknowledged...)
	}
}

// What PostgreSQL says when it cannot serve yet is waited for, and what is wrong is not.
func TestAStartOnPostgresThatRefuses(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	const database = "refusing"
	url := postgrestest.URL(server.Address(), database)
	refused := func(name string, url string, kind fault.Kind) {
		t.Helper()
		o := settings(t)
		o.Database = url
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // it ends without an error then
		defer cancel()
		if err := Run(ctx, o); fault.KindOf(err) != kind || fault.NextOf(err) == "" {
			t.Errorf("%s: got %v (next %q), want %s at once", name, err, fault.NextOf(err), kind)
		}
	}
	refused("no such database", url, fault.NotFound)
	refused("wrong password", strings.Replace(url, postgrestest.Password, "wrong", 1), fault.Denied)
	server.Exec(t, "postgres", "CREATE DATABASE "+database)
	server.Exec(t, "postgres", "CREATE ROLE few LOGIN PASSWORD '"+postgrestest.Password+"' CONNECTION LIMIT 0")
	server.Exec(t, "postgres", "ALTER DATABASE "+database+" OWNER TO few")
	o := settings(t)
	o.Database = strings.Replace(url, "firebreak:", "few:", 1)
	p := serve(t, o)
	if state := p.waitsFor("database"); !strings.Contains(state.Why, "too many connections") {
		t.Errorf("got %+v, want that it waits for connections", state)
	}
	server.Exec(t, "postgres", "ALTER ROLE few CONNECTION LIMIT -1")
	p.isReady()
	p.stop()
	if err := <-p.ended; err != nil {
		t.Fatal(err)
	}
	server.Exec(t, database, "SET ROLE few; UPDATE goose_db_version SET version_id = version_id + 1000")
	refused("a database from the future", o.Database, fault.Conflict)
}

// isFull waits until /readyz says that the disk is.
func (p *plane) isFull(name string) health.State {
	p.t.Helper()
	state := p.waitsFor(name)
	if !strings.Contains(state.Why+state.Next, "full") && !strings.Contains(state.Why, "no space") {
		p.t.Errorf("got %+v, want that the disk is full", state)
	}
	return state
}
