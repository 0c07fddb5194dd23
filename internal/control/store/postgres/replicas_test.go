package postgres_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres"
	"github.com/firebreak-dev/firebreak/internal/control/store/postgres/postgrestest"
	"github.com/firebreak-dev/firebreak/internal/control/store/storetest"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// lead takes the lead as soon as it can be had.
func lead(t testing.TB, s *store.Store, holder string, life time.Duration) store.Leadership {
	t.Helper()
	for {
		l, err := s.Lead(t.Context(), holder, life)
		if err == nil {
			return l
		}
		if fault.KindOf(err) != fault.Conflict {
			t.Fatalf("got %v, want the lead or a conflict", err)
		}
		pause(t, 5*time.Millisecond)
	}
}

func pause(t testing.TB, d time.Duration) {
	t.Helper()
	if err := (clock.Wall{}).Sleep(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// A replica that stopped in the middle of a write, with the leader's row held, keeps the next leader waiting no longer than its life and a
// second; and when it goes on its write is gone.
func TestPausedLeaderBlocksNobody(t *testing.T) {
	t.Parallel()
	const life = 2 * time.Second
	url := postgrestest.Shared(t).Database(t)
	o := postgres.Options{Idle: life / 2}
	a, b := openAt(t, url, o), openAt(t, url, o)
	term := lead(t, a, "a", life).Term
	began := clock.Wall{}.Now()
	// What a's pool would do, in a process that is stopped between two statements.
	conn, err := pgx.Connect(t.Context(), url+"&idle_in_transaction_session_timeout=1000")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`SELECT term FROM leadership WHERE id = 1 FOR KEY SHARE`, `INSERT INTO settings (key, value) VALUES ('k', 'half written')`,
	} {
		if _, err = tx.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	next := lead(t, b, "b", life)
	took := clock.Wall{}.Now().Sub(began)
	if next.Term != term+1 || took > life+time.Second {
		t.Errorf("got term %d after %v, want %d within %v and a second", next.Term, took, term+1, life)
	}
	if err = tx.Commit(t.Context()); err == nil {
		t.Error("got the paused write committed after the takeover")
	}
	if v, err := b.Setting(t.Context(), "k"); fault.KindOf(err) != fault.NotFound {
		t.Errorf("got %q, %v, want nothing of the paused write", v, err)
	}
	err = a.Fenced(term).PutSetting(t.Context(), "k", "late")
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), "b leads") {
		t.Errorf("got %v, want a conflict that names b", err)
	}
	t.Logf("taken over after %v", took)
}

// A takeover waits for a write that checked its term, so that nothing is written after it; a renewal does not.
func TestTakeoverWaitsForCommit(t *testing.T) {
	t.Parallel()
	const life = 10 * time.Millisecond
	url := postgrestest.Shared(t).Database(t)
	s := openAt(t, url, postgres.Options{Idle: time.Minute})
	term := lead(t, s, "a", life).Term
	old := s.Fenced(term)
	if err := old.PutSetting(t.Context(), "k", "before"); err != nil {
		t.Fatal(err)
	}
	// The row that the write is about to change is locked, so it stands still after it has checked its term.
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err = tx.Exec(t.Context(), `SELECT key FROM settings WHERE key = 'k' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- old.PutSetting(t.Context(), "k", "a") }()
	for waiting := false; !waiting; {
		err := tx.QueryRow(t.Context(), `SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err = s.Renew(t.Context(), term, life); err != nil {
		t.Errorf("got %v, want a renewal that waits for no write", err)
	}
	pause(t, 2*life)
	soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if l, err := s.Lead(soon, "b", time.Minute); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("got %+v, %v, want to wait for the write", l, err)
	}
	if err = tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err = <-written; err != nil {
		t.Errorf("got %v, want what was begun in the term written", err)
	}
	lead(t, s, "b", time.Minute)
	if err = old.PutSetting(t.Context(), "k", "late"); fault.KindOf(err) != fault.Conflict {
		t.Errorf("got %v, want a conflict", err)
	}
}

// TestFencing tries interleavings of two replicas that take, renew, lose and resign the lead, and write while they believe that they have it.
func TestFencing(t *testing.T) {
	t.Parallel()
	url := postgrestest.Shared(t).Database(t)
	replicas := []*store.Store{openAt(t, url, postgres.Options{}), openAt(t, url, postgres.Options{})}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rapid.Check(t, func(r *rapid.T) {
		if _, err := conn.Exec(t.Context(), `UPDATE leadership SET term = term + 1, holder = '', until = 0`); err != nil {
			r.Fatal(err)
		}
		held := []int64{0, 0} // the term that each believes to have
		names := []string{"a", "b"}
		var current int64 // the last that was given
		leader, expired := -1, true
		for range rapid.IntRange(5, 25).Draw(r, "steps") {
			i := rapid.IntRange(0, 1).Draw(r, "replica")
			switch rapid.SampledFrom([]string{"lead", "renew", "write", "expire", "resign"}).Draw(r, "step") {
			case "lead":
				l, err := replicas[i].Lead(t.Context(), names[i], time.Hour)
				switch may := leader == i || leader < 0 || expired; {
				case may != (err == nil):
					r.Fatalf("got %+v, %v for %s, want it to lead: %v", l, err, names[i], may)
				case !may:
				case l.Term <= current:
					r.Fatalf("got term %d after %d of replica %d, want it to grow", l.Term, current, leader)
				default:
					leader, expired, held[i], current = i, false, l.Term, l.Term
				}
			case "renew":
				err := replicas[i].Renew(t.Context(), held[i], time.Hour)
				may := leader == i && held[i] == current
				if may != (err == nil) || !may && fault.KindOf(err) != fault.Conflict {
					r.Fatalf("got %v for %s with term %d, current is %d of %d, want it renewed: %v", err, names[i], held[i], current, leader, may)
				}
				expired = expired && !may
			case "write":
				err := replicas[i].Fenced(held[i]).PutSetting(t.Context(), "k", names[i])
				if may := leader == i && held[i] == current; may != (err == nil) || !may && fault.KindOf(err) != fault.Conflict {
					r.Fatalf("got %v for %s with term %d, current is %d of %d, want it written: %v", err, names[i], held[i], current, leader, may)
				}
			case "expire":
				if _, err := conn.Exec(t.Context(), `UPDATE leadership SET until = 1 WHERE holder <> ''`); err != nil {
					r.Fatal(err)
				}
				expired = true
			case "resign":
				if err := replicas[i].Resign(t.Context(), held[i]); err != nil {
					r.Fatal(err)
				}
				if leader == i && held[i] == current {
					leader = -1
				}
			}
		}
	})
}

// Replicas that start at once bring the schema up to date once.
func TestReplicasStartAtOnce(t *testing.T) {
	t.Parallel()
	url := postgrestest.Shared(t).Database(t)
	var starting sync.WaitGroup
	for range 4 {
		starting.Go(func() {
			s, err := postgres.Open(t.Context(), url, postgres.Options{Writers: 1, Readers: 1})
			if err != nil {
				t.Errorf("got %v, want an open database", err)
				return
			}
			_ = s.Close()
		})
	}
	starting.Wait()
}

// A wake-up of one replica reaches another, and one that was cut off looks again by itself.
func TestWakesAnotherReplica(t *testing.T) {
	t.Parallel()
	url := postgrestest.Shared(t).Database(t)
	p := newProxy(t, postgrestest.Shared(t).Address())
	near := openAt(t, url, postgres.Options{})
	far := openAt(t, postgrestest.URL(p.address(), nameIn(url)), postgres.Options{})
	heard := storetest.Listen(t, far, store.WakeHearings)
	if err := near.AddHearings(t.Context(), "near", time.Unix(7, 0), nil); err != nil {
		t.Fatal(err)
	}
	storetest.Hear(t, heard, store.WakeHearings)
	p.cut()
	storetest.Hear(t, heard, store.WakeHearings) // it is back
	if err := near.AddHearings(t.Context(), "near", time.Unix(7, 0), nil); err != nil {
		t.Fatal(err)
	}
	storetest.Hear(t, heard, store.WakeHearings)
}

// nameIn is the database's name in a URL.
func nameIn(url string) string {
	name, _, _ := strings.Cut(url[strings.LastIndex(url, "/")+1:], "?")
	return name
}

// Connections are cut at any moment, also in the middle of a commit. What was acknowledged is there; what failed is there only if the
// error said that nobody knows.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	url := postgrestest.Shared(t).Database(t)
	p := newProxy(t, postgrestest.Shared(t).Address())
	s := openAt(t, postgrestest.URL(p.address(), nameIn(url)), postgres.Options{})
	ctx, done := context.WithCancel(t.Context())
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for clock := (clock.Wall{}); clock.Sleep(ctx, 30*time.Millisecond) == nil; {
			p.cut()
		}
	})
	outcomes := map[string]error{}
	for i := range 300 {
		key := string(rune('a'+i%26)) + string(rune('a'+i/26))
		outcomes[key] = s.PutSetting(t.Context(), key, "v")
	}
	done()
	cutting.Wait()
	direct := openAt(t, url, postgres.Options{})
	var written, failed, unknown int
	for key, err := range outcomes {
		_, missing := direct.Setting(t.Context(), key)
		switch {
		case err == nil && missing != nil:
			t.Errorf("%s: got %v, want what was acknowledged", key, missing)
		case err == nil:
			written++
		case fault.KindOf(err) != fault.Unavailable:
			t.Errorf("%s: got %v, want it to be unavailable", key, err)
		case errors.Is(err, store.ErrUnknownOutcome):
			unknown++
		default:
			failed++
			if missing == nil {
				t.Errorf("%s: it is there, but got %v", key, err)
			}
		}
	}
	t.Logf("%d written, %d failed, %d of unknown outcome", written, failed, unknown)
	if written == 0 || failed+unknown == 0 {
		t.Errorf("got %d written, %d failed and %d unknown, want some of each", written, failed, unknown)
	}
}

// proxy passes connections on to a server, and cuts them.
type proxy struct {
	listener net.Listener
	server   string
	mu       sync.Mutex
	conns    []net.Conn
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, server: server}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.pass(conn) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); p.cut(); running.Wait() })
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) pass(client net.Conn) {
	defer client.Close()
	server, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	p.mu.Lock()
	p.conns = append(p.conns, client, server)
	p.mu.Unlock()
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	_, _ = io.Copy(server, client)
	_ = server.Close()
	<-back
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.conns {
		_ = conn.Close()
	}
	p.conns = nil
}
