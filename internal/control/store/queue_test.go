package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/pressly/goose/v3/database"
	_ "modernc.org/sqlite"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// schema is as much of a schema as the queue's tests need. At orphans a commit fails, not the statement.
const schema = `-- +goose Up
CREATE TABLE marks (name TEXT PRIMARY KEY);
CREATE TABLE orphans (mark TEXT REFERENCES marks (name) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE endpoints (number INTEGER PRIMARY KEY, id TEXT UNIQUE);
CREATE TABLE hot (endpoint INTEGER PRIMARY KEY, seen INTEGER, reported INTEGER, pruned INTEGER);
CREATE TABLE reports (arrival INTEGER PRIMARY KEY, endpoint INTEGER, seq INTEGER, received INTEGER, taken INTEGER, data TEXT, UNIQUE (endpoint, seq));
CREATE TABLE rollouts (number INTEGER PRIMARY KEY, id TEXT, revision INTEGER, state TEXT, phase TEXT, version TEXT);
INSERT INTO endpoints VALUES (1, 'ep-1'), (2, 'ep-2');
INSERT INTO hot VALUES (1, 0, 0, 0), (2, 0, 0, 0);
`

// tiny opens a store with the tests' schema, whose dialect can be changed. Times of locks play no part: only the queue writes.
func tiny(t *testing.T, change func(*Dialect)) *Store {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "tiny.db")+"?_txlock=immediate&_pragma=foreign_keys(1)")
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	d := Dialect{
		Name: "tiny", Goose: database.DialectSQLite3, Migrations: fstest.MapFS{"00001_start.sql": {Data: []byte(schema)}},
		Classify: func(error) (fault.Kind, string) { return fault.Conflict, "" },
	}
	if change != nil {
		change(&d)
	}
	s, err := New(t.Context(), Options{Write: db, Read: db, Dialect: d})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// mark writes a name; one that is there already fails.
func mark(name string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO marks (name) VALUES ($1)`, name)
		return err
	}
}

// marks lists what was written, in the order in which it was.
func marks(t *testing.T, s *Store) []string {
	t.Helper()
	all, err := list(t.Context(), s.reader, scalar[string], `SELECT name FROM marks ORDER BY rowid`)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// busy keeps the writer busy with a write of its own until the caller calls free, so that other writes queue up.
func busy(t *testing.T, s *Store, all *sync.WaitGroup) (free func()) {
	t.Helper()
	leave := make(chan struct{})
	all.Go(func() {
		err := s.write(t.Context(), "keep the writer busy", func(context.Context, *sql.Tx) error {
			<-leave
			return nil
		})
		if err != nil {
			t.Errorf("got %v, want the writer kept busy", err)
		}
	})
	synctest.Wait()
	return func() { close(leave) }
}

func TestGroupEachItsOwnAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := tiny(t, nil)
		var all sync.WaitGroup
		free := busy(t, s, &all)
		errs := make([]error, 10)
		for i := range errs {
			all.Go(func() {
				errs[i] = s.write(t.Context(), "write", func(ctx context.Context, tx *sql.Tx) error {
					return errors.Join(mark(fmt.Sprint("also ", i))(ctx, tx), mark(fmt.Sprint("mark ", i%5))(ctx, tx))
				})
			})
			synctest.Wait()
		}
		free()
		all.Wait()
		for i, err := range errs {
			if failed := err != nil; failed != (i >= 5) {
				t.Errorf("write %d: got %v, want an error only for the second of a name", i, err)
			}
		}
		want := []string{"also 0", "mark 0", "also 1", "mark 1", "also 2", "mark 2", "also 3", "mark 3", "also 4", "mark 4"}
		if got := marks(t, s); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q: nothing of a write that failed", got, want)
		}
	})
}

func TestGroupFirstFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := tiny(t, nil)
		var all sync.WaitGroup
		entered, leave := make(chan struct{}), make(chan struct{})
		all.Go(func() {
			err := s.write(t.Context(), "fail", func(ctx context.Context, tx *sql.Tx) error {
				close(entered)
				<-leave
				return errors.Join(mark("a")(ctx, tx), errors.New("too late"))
			})
			if err == nil {
				t.Error("got no error, want that of the write")
			}
		})
		<-entered
		all.Go(func() {
			if err := s.write(t.Context(), "write", mark("b")); err != nil {
				t.Errorf("got %v, want the second to be stored", err)
			}
		})
		synctest.Wait()
		close(leave)
		all.Wait()
		if got := marks(t, s); !slices.Equal(got, []string{"b"}) {
			t.Errorf("got %q, want b alone", got)
		}
	})
}

func TestGroupCommitFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := tiny(t, nil)
		var all sync.WaitGroup
		entered, leave := make(chan struct{}), make(chan struct{})
		all.Go(func() {
			err := s.write(t.Context(), "first", func(ctx context.Context, tx *sql.Tx) error {
				close(entered)
				<-leave
				return mark("a")(ctx, tx)
			})
			if err == nil {
				t.Error("got no error for the first of the group, want the commit's")
			}
		})
		<-entered
		for _, do := range []func(context.Context, *sql.Tx) error{mark("b"), func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `INSERT INTO orphans (mark) VALUES ('nobody')`)
			return err
		}} {
			all.Go(func() {
				if err := s.write(t.Context(), "write", do); err == nil {
					t.Error("got no error for one of the group, want the commit's")
				}
			})
			synctest.Wait()
		}
		close(leave)
		all.Wait()
		if got := marks(t, s); len(got) > 0 {
			t.Errorf("got %q, want nothing", got)
		}
		if err := s.write(t.Context(), "write", mark("c")); err != nil {
			t.Errorf("got %v for the next write, want none", err)
		}
	})
}

func TestGroupPanicIsItsCallers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := tiny(t, nil)
		var all sync.WaitGroup
		free := busy(t, s, &all)
		all.Go(func() {
			defer func() {
				if recover() == nil {
					t.Error("got no panic in the caller, want its own")
				}
			}()
			_ = s.write(t.Context(), "panic", func(context.Context, *sql.Tx) error { panic("a mistake") })
		})
		synctest.Wait()
		all.Go(func() {
			if err := s.write(t.Context(), "write", mark("a")); err != nil {
				t.Errorf("got %v, want no harm to others", err)
			}
		})
		synctest.Wait()
		free()
		all.Wait()
		if got := marks(t, s); !slices.Equal(got, []string{"a"}) {
			t.Errorf("got %q, want a", got)
		}
	})
}

func TestDecisionsGoFirst(t *testing.T) {
	t.Parallel()
	for _, group := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			s := tiny(t, func(d *Dialect) { d.Group = group })
			var all sync.WaitGroup
			free := busy(t, s, &all)
			want := []string{"decision 0", "decision 1", "decision 2"}
			for i := range 3 {
				all.Go(func() { _ = s.writeLater(t.Context(), "", "write", groupRows, mark(fmt.Sprint("later ", i))) })
				synctest.Wait()
				all.Go(func() { _ = s.write(t.Context(), "write", mark(fmt.Sprint("decision ", i))) })
				synctest.Wait()
				want = append(want, fmt.Sprint("later ", i))
			}
			free()
			all.Wait()
			if got := marks(t, s); !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestQueuedWriteCanBeGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := tiny(t, nil)
		var all sync.WaitGroup
		free := busy(t, s, &all)
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		all.Go(func() { gone <- s.write(ctx, "write", mark("a")) })
		synctest.Wait()
		all.Go(func() {
			if err := s.write(t.Context(), "write", mark("b")); err != nil {
				t.Errorf("got %v, want none", err)
			}
		})
		synctest.Wait()
		cancel()
		if err := <-gone; fault.KindOf(err) != fault.Unavailable {
			t.Errorf("got %v before its turn, want unavailable", err)
		}
		free()
		all.Wait()
		if got := marks(t, s); !slices.Equal(got, []string{"b"}) {
			t.Errorf("got %q, want b alone", got)
		}
	})
}

func TestFullQueueRefuses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := tiny(t, nil)
		s.queue.slots = make(chan struct{}, 2)
		var all sync.WaitGroup
		free := busy(t, s, &all)
		for i := range 2 {
			all.Go(func() {
				if err := s.writeLater(t.Context(), "", "write", 1, mark(fmt.Sprint("mark ", i))); err != nil {
					t.Errorf("got %v, want none", err)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := s.writeLater(ctx, "", "write", 1, mark("refused"))
		if fault.KindOf(err) != fault.Unavailable || fault.NextOf(err) == "" {
			t.Errorf("got %v, want unavailable, and what to do", err)
		}
		all.Go(func() {
			if err := s.write(t.Context(), "write", mark("decision")); err != nil {
				t.Errorf("got %v, want room for a decision", err)
			}
		})
		all.Go(func() {
			if err := s.writeLater(t.Context(), "", "write", 1, mark("waited")); err != nil {
				t.Errorf("got %v for one that waits longer, want none", err)
			}
		})
		synctest.Wait()
		free()
		all.Wait()
		if got := marks(t, s); len(got) != 4 || got[0] != "decision" || slices.Contains(got, "refused") {
			t.Errorf("got %q, want the decision, the two that had room, and the one that waited", got)
		}
	})
}

// Reports of callers that wait are one unit of a group, and each caller gets its own acknowledgement.
func TestWaitingReportsAreWrittenAsOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := tiny(t, func(d *Dialect) { d.Group = 1 })
		var all sync.WaitGroup
		free := busy(t, s, &all)
		for i, endpoint := range []fleet.EndpointID{"ep-1", "ep-2", "ep-1", "ep-9", "ep-1"} {
			all.Go(func() {
				ack, err := s.AddReports(t.Context(), endpoint, time.Unix(1, 0), []Report{{Seq: int64(i + 1), Data: json.RawMessage(`{}`)}})
				if unknown := endpoint == "ep-9"; unknown != (fault.KindOf(err) == fault.NotFound) || !unknown && (err != nil || ack != int64(i+1)) {
					t.Errorf("report %d of %s: got %d, %v, want it acknowledged, if there is such an endpoint", i+1, endpoint, ack, err)
				}
			})
			synctest.Wait()
		}
		s.queue.mu.Lock()
		if u := s.queue.take(&group{}); u == nil || len(u.members) != 5 {
			t.Errorf("got unit %+v, want the reports of all five", u)
		} else {
			s.queue.waiting[reportLane] = u.members // back
		}
		s.queue.mu.Unlock()
		free()
		all.Wait()
	})
}

func TestManyWriters(t *testing.T) {
	t.Parallel()
	s := tiny(t, nil)
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for j := range 20 {
				ctx, cancel := context.WithCancel(t.Context())
				if j%5 == 0 {
					go cancel()
				}
				name := fmt.Sprint(i, " ", j)
				err := s.write(ctx, "write", mark(name))
				n, missing := one(t.Context(), s.reader, scalar[int64], nil, `SELECT count(*) FROM marks WHERE name = $1`, name)
				if (err == nil) != (n == 1) || missing != nil {
					t.Errorf("got %v and then %d rows (%v), want both or none", err, n, missing)
				}
				cancel()
			}
		})
	}
	all.Wait()
	if s.queue.leading != 0 || len(s.queue.slots)+len(s.queue.firstSlots) != 0 {
		t.Errorf("got %d that lead and %d slots held when all is done, want none", s.queue.leading, len(s.queue.firstSlots))
	}
}

// Hosts that join are written together even where writers work side by side: they would only wait for each other's counter, and keep all
// writers from decisions.
func TestEnrolmentsShareTheirLane(t *testing.T) {
	t.Parallel()
	q := newQueue(Dialect{Writers: 2, Group: 1})
	add := func(l lane) (*pending, *unit) {
		p := &pending{lane: l, rows: 1, turn: make(chan *unit, 1), joins: &enrolment{}}
		return p, q.add(p)
	}
	turn := func(p *pending) int {
		select {
		case u := <-p.turn:
			return len(u.members)
		default:
			return 0
		}
	}
	_, first := add(enrolLane)
	second, none := add(enrolLane)
	if first == nil || none != nil {
		t.Fatal("got two that enrol at a time, want one")
	}
	if _, also := add(enrolLane); also != nil {
		t.Fatal("got a third that enrols, want it to wait")
	}
	if _, beside := add(firstLane); beside == nil {
		t.Fatal("got a decision that waits for hosts that join")
	}
	decision, none := add(firstLane)
	if none != nil {
		t.Fatal("got three writers, want two")
	}
	q.pass(&group{})
	if turn(decision) != 1 || turn(second) != 0 {
		t.Error("want the decision next, as somebody enrols already")
	}
	q.pass(&group{}) // of the decision: nothing else may begin
	if q.leading != 1 || q.next(&group{}) != nil {
		t.Errorf("got %d writers, want the one that enrols, and nothing for another", q.leading)
	}
	another, lead := add(firstLane)
	if lead == nil || another == nil {
		t.Fatal("want a decision beside it")
	}
	decision, _ = add(firstLane)
	q.pass(&group{enrols: true})
	if turn(decision) != 1 || turn(second) != 0 {
		t.Error("want the decision before those that wait to join")
	}
	q.pass(&group{})
	if got := turn(second); got != 2 {
		t.Errorf("got %d that join at once, want both that wait", got)
	}
}
