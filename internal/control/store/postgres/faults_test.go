package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres/postgrestest"
	"github.com/firebreak-dev/firebreak/internal/control/store/storetest"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// again repeats what may fail while the server comes back.
func again(t *testing.T, do func() error) {
	t.Helper()
	var err error
	for range 200 {
		if err = do(); err == nil {
			return
		}
		if fault.KindOf(err) != fault.Unavailable || fault.NextOf(err) == "" {
			t.Fatalf("got %v (next %q), want unavailable and what to do", err, fault.NextOf(err))
		}
		pause(t, 50*time.Millisecond)
	}
	t.Fatalf("got %v, want it to recover", err)
}

// The server crashes and is stopped in the middle of work, again and again: what was acknowledged is there, and the store recovers by
// itself, listeners too.
func TestInvariantI8AcknowledgedSurvivesServerCrash(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	s := openAt(t, server.Database(t), postgres.Options{})
	heard := storetest.Listen(t, s, store.WakeReports)
	for round, end := range []func(testing.TB){server.Kill, server.Stop} {
		var acknowledged []string
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d-%d", round, i)
				if err := s.PutSetting(t.Context(), key, "v"); err != nil {
					if fault.KindOf(err) != fault.Unavailable {
						t.Errorf("got %v, want unavailable", err)
					}
					return
				}
				acknowledged = append(acknowledged, key)
			}
		}()
		pause(t, 100*time.Millisecond)
		end(t)
		<-ended
		if err := s.PutSetting(t.Context(), "k", "v"); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("got %v without a server, want unavailable", err)
		}
		server.Start(t)
		again(t, func() error { return s.PutSetting(t.Context(), "k", "v") })
		for _, key := range acknowledged {
			again(t, func() error { // a connection from before may be used first
				_, err := s.Setting(t.Context(), key)
				return err
			})
		}
		if len(acknowledged) == 0 {
			t.Error("got nothing acknowledged before the crash")
		}
		storetest.Hear(t, heard, store.WakeReports) // it listens again
	}
}

// Letters do not survive a crash, and no number of one comes again.
func TestLettersAfterCrash(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	s := openAt(t, server.Database(t), postgres.Options{})
	ids, err := s.Ask(t.Context(), make([]store.Letter, 100)...)
	if err != nil {
		t.Fatal(err)
	}
	server.Kill(t)
	server.Start(t)
	again(t, func() error {
		after, err := s.Ask(t.Context(), store.Letter{Kind: "another"})
		if err == nil && after[0] <= ids[len(ids)-1] {
			t.Errorf("got id %d after %d, want one that was never there", after[0], ids[len(ids)-1])
		}
		return err
	})
	if old, err := s.Answers(t.Context(), ids); err != nil || len(old) != 0 {
		t.Errorf("got %v, %v, want no answers", old, err)
	}
}

// A server that stands still answers nobody: a caller gets an error when its time is up, and the store goes on when the server does.
func TestPausedServer(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	s := openAt(t, server.Database(t), postgres.Options{})
	term := lead(t, s, "a", time.Minute).Term
	server.Pause(t)
	soon, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	leading := s.Renew(soon, term, time.Minute)
	_, reading := s.Setting(soon, "k")
	server.Resume(t)
	for _, err := range []error{leading, reading} {
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("got %v, want unavailable", err)
		}
	}
	again(t, func() error { return s.PutSetting(t.Context(), "k", "v") })
}

// Nor is it waited for by whoever has no deadline of its own.
func TestLeadOfAPausedServer(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	s := openAt(t, server.Database(t), postgres.Options{Statement: 300 * time.Millisecond})
	term := lead(t, s, "a", time.Minute).Term
	server.Pause(t)
	began := clock.Wall{}.Now()
	err := s.Resign(t.Context(), term)
	took := clock.Wall{}.Now().Sub(began)
	server.Resume(t)
	if fault.KindOf(err) != fault.Unavailable || took > 10*time.Second {
		t.Errorf("got %v after %v, want unavailable soon", err, took)
	}
}

// A server that stands still keeps nobody for ever, not even who would wait for ever.
func TestPatience(t *testing.T) {
	t.Parallel()
	server := postgrestest.New(t)
	s := openAt(t, server.Database(t), postgres.Options{Statement: 500 * time.Millisecond})
	again(t, func() error { return s.PutSetting(t.Context(), "k", "v") })
	if _, err := s.Setting(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	server.Pause(t)
	defer server.Resume(t)
	long, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, one := s.Setting(long, "k")
	_, list := s.Endpoints(long, "", 0)
	for what, err := range map[string]error{"one": one, "list": list} {
		if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "did not answer within 500ms") || fault.NextOf(err) == "" {
			t.Errorf("%s: got %v (next %q), want that it gave up", what, err, fault.NextOf(err))
		}
	}
	if err := s.PutSetting(long, "k", "w"); fault.KindOf(err) != fault.Unavailable || long.Err() != nil {
		t.Errorf("got %v, want a write that gave up, too", err)
	}
}

// unreachable checks an error of Open: its kind, that it says what to do, and that it does not tell the password.
func unreachable(t *testing.T, url string, want fault.Kind, words ...string) {
	t.Helper()
	s, err := postgres.Open(t.Context(), url, postgres.Options{Connect: time.Second})
	if err == nil {
		_ = s.Close()
	}
	if fault.KindOf(err) != want || fault.NextOf(err) == "" {
		t.Errorf("got %v (%s, next %q), want kind %s and what to do", err, fault.KindOf(err), fault.NextOf(err), want)
		return
	}
	text := err.Error() + fault.NextOf(err)
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("got %q, want it to say %q", text, word)
		}
	}
	if strings.Contains(text, "S3cret") {
		t.Errorf("got %q, want no password in it", text)
	}
}

func TestOpenErrors(t *testing.T) {
	t.Parallel()
	server := postgrestest.Shared(t)
	address, url := server.Address(), server.Database(t)
	db := nameIn(url)
	unreachable(t, postgrestest.URL("127.0.0.1:1", "firebreak"), fault.Unavailable, "firebreak on 127.0.0.1:1")
	unreachable(t, postgrestest.URL("nowhere.invalid", "firebreak"), fault.Unavailable, "nowhere.invalid")
	unreachable(t, postgrestest.URL(address, "missing"), fault.NotFound, "missing on "+address, "createdb")
	unreachable(t, "postgres://firebreak:wrong-S3cret@"+address+"/"+db, fault.Denied, "password")
	for _, bad := range []string{
		"postgres://firebreak:S3cret%zz@localhost/x", "postgres://firebreak:S3cret@@localhost:port/x", "sqlite://S3cret", "", "S3cret",
		"user=firebreak password=S3cret host=localhost", "postgres://firebreak:S3cret@localhost/x?sslmode=S3cret",
	} {
		unreachable(t, bad, fault.Invalid, "postgres://")
	}

	server.Exec(t, "postgres", "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
	unreachable(t, postgrestest.URL(address, "latin"), fault.Invalid, "LATIN1", "createdb")
	server.Exec(t, "postgres", "CREATE DATABASE careless")
	server.Exec(t, "postgres", "ALTER DATABASE careless SET synchronous_commit = off")
	unreachable(t, postgrestest.URL(address, "careless"), fault.Invalid, "synchronous_commit")
	server.Exec(t, "postgres", "CREATE ROLE guest LOGIN PASSWORD 'guest-S3cret'")
	unreachable(t, "postgres://guest:guest-S3cret@"+address+"/"+db, fault.Denied, "OWNER TO")

	openAt(t, url, postgres.Options{})
	server.Exec(t, db, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)")
	unreachable(t, url, fault.Conflict, "9999")
}

// A host may say anything of itself, also what PostgreSQL has no text for.
func TestForeignBytes(t *testing.T) {
	t.Parallel()
	s := open(t)
	err := s.PutSetting(t.Context(), "k", "a\x00b")
	if fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v, want invalid", err)
	}
	if err := s.PutSetting(t.Context(), "k", "b"); err != nil {
		t.Errorf("got %v afterwards, want it written", err)
	}
}

// What the server is told of a session bounds how long it can hold up others.
func TestSessionSettings(t *testing.T) {
	t.Parallel()
	url := postgrestest.Shared(t).Database(t)
	openAt(t, url, postgres.Options{})
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	var n int
	err = conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'firebreak'`).Scan(&n)
	if err != nil || n == 0 {
		t.Errorf("got %d sessions named firebreak, %v, want at least one", n, err)
	}
}
