package store

import (
	"context"
	"database/sql"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

// Group commit. A commit waits for the disk, and it costs the disk the same whether it holds one write or a hundred. So writes that wait
// for the writer are carried out together in one transaction: those who wait stand in a queue, the first of them leads, carries out
// what stands behind it, commits once, answers all, and passes the lead to whoever came meanwhile. Nobody else is needed: without
// writes there is no goroutine.
//
// Within a group a write that fails is undone alone, with a savepoint. The first of a transaction needs none: if it fails, the
// transaction holds nothing else. If the commit fails, all of the group get that error.

// lane says how soon a write is carried out.
type lane int

const (
	firstLane  lane = iota // decisions, and whatever else must not wait behind many reports
	reportLane             // reports of endpoints: those that wait are written as one
	enrolLane              // hosts that join: those that wait are written as one, in one transaction at a time, as all need the same counter
	laterLane              // the rest
	lanes
)

const (
	queueBound = 4096 // writes that wait: so many first ones, and so many of the others
	groupRows  = 2048 // about how many rows one transaction writes, which bounds how long a decision waits for the writer
)

// pending is a write that waits or is under way.
type pending struct {
	what string
	lane lane
	rows int // about how many it writes
	do   func(ctx context.Context, tx *sql.Tx) error
	sent *sending // in the lane reports, in place of do
	// joins is in the lane enrol, in place of do.
	joins *enrolment
	// wakes is the topic whose listeners are woken once it is committed; may be empty.
	wakes string
	// turn gets what the caller is to lead, or nil once the write is answered.
	turn     chan *unit
	err      error
	panicked any // what do panicked with, for its own caller
}

// unit is what succeeds or fails together: one write, or many callers' reports.
type unit struct {
	members []*pending
	do      func(ctx context.Context, tx *sql.Tx) error
}

// group is what one transaction has taken up so far.
type group struct {
	units, rows int
	reports     bool // reports are taken up once: more of them would be a second statement, so they wait for the next group
	enrols      bool // it has the enrolLane for itself, and takes it up once
}

// queue is where writes wait.
type queue struct {
	mu      sync.Mutex
	waiting [lanes][]*pending
	leading int  // callers that carry out a group now
	enrols  bool // one of them has the enrolLane
	writers int  // at most so many
	units   int  // at most so many in a group; 0 for any number
	// observe is called when a group begins, and what it returns when the group has ended; nil: nobody is.
	observe func() (ended func(writes int, err error))
	// A write holds a slot from when it stands in the queue until it is answered. Decisions have slots of their own.
	slots, firstSlots chan struct{}
}

func newQueue(d Dialect) *queue {
	return &queue{
		writers: max(1, d.Writers), units: d.Group,
		slots: make(chan struct{}, queueBound), firstSlots: make(chan struct{}, queueBound),
	}
}

// enter waits for a slot, which the caller gives back.
func (q *queue) enter(ctx context.Context, l lane) (leave func(), err error) {
	slots := q.slots
	if l == firstLane {
		slots = q.firstSlots
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	leave = func() { <-slots }
	select {
	case slots <- struct{}{}:
		return leave, nil
	default:
	}
	select {
	case slots <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, fault.New(fault.Unavailable, "the database is behind, and %d writes wait for it: %w", cap(slots), ctx.Err()).
			Hint("Try again later. If it lasts, look at how busy the disk of the database is.")
	}
}

// add puts a write into the queue. If nobody leads it returns what the caller is to lead.
func (q *queue) add(p *pending) *unit {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting[p.lane] = append(q.waiting[p.lane], p)
	if q.leading == q.writers {
		return nil
	}
	u := q.take(&group{}) // then nothing else waits, but for who wait to join while others do
	if u != nil {
		q.leading++
	}
	return u
}

// remove takes a write out of the queue; false if it has begun.
func (q *queue) remove(p *pending) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.waiting[p.lane], p)
	if i < 0 {
		return false
	}
	q.waiting[p.lane] = slices.Delete(q.waiting[p.lane], i, i+1)
	return true
}

// next is what a group takes up next; nil if it is full or nothing waits.
func (q *queue) next(g *group) *unit {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.take(g)
}

// pass gives the lead, which a group had, to the first who waits.
func (q *queue) pass(g *group) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if g.enrols {
		q.enrols = false
	}
	u := q.take(&group{})
	if u == nil {
		q.leading--
		return
	}
	u.members[0].turn <- u
}

// take is next under the lock.
func (q *queue) take(g *group) *unit {
	if g.rows >= groupRows || q.units > 0 && g.units >= q.units {
		return nil
	}
	var u *unit
	switch {
	case len(q.waiting[firstLane]) > 0:
		u = q.pop(firstLane)
	case len(q.waiting[reportLane]) > 0 && !g.reports:
		u = q.popReports()
		g.reports = true
	case len(q.waiting[enrolLane]) > 0 && !q.enrols:
		u = q.popEnrolments()
		q.enrols, g.enrols = true, true
	case len(q.waiting[laterLane]) > 0:
		u = q.pop(laterLane)
	default:
		return nil
	}
	g.units++
	for _, p := range u.members {
		g.rows += p.rows
	}
	return u
}

func (q *queue) pop(l lane) *unit {
	p := q.waiting[l][0]
	q.waiting[l][0] = nil
	q.waiting[l] = q.waiting[l][1:]
	return &unit{members: []*pending{p}, do: p.do}
}

// popReports makes one unit of all callers' reports that wait, up to what a group may hold.
func (q *queue) popReports() *unit {
	u := &unit{}
	q.gather(u)
	return u
}

// enrolAtOnce is how many hosts join in one transaction at most.
const enrolAtOnce = 256

// popEnrolments makes one unit of hosts that wait to join.
func (q *queue) popEnrolments() *unit {
	n := min(len(q.waiting[enrolLane]), enrolAtOnce)
	u := &unit{members: slices.Clone(q.waiting[enrolLane][:n])}
	clear(q.waiting[enrolLane][:n])
	q.waiting[enrolLane] = q.waiting[enrolLane][n:]
	all := make(enrolments, n)
	for i, p := range u.members {
		all[i] = p.joins
	}
	u.do = all.write
	return u
}

// join adds to a unit of reports those that came since. Those who were answered just now are about to come again: without waiting for
// them, the first would have a commit for itself, and the others wait for it.
func (q *queue) join(u *unit) {
	runtime.Gosched()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.gather(u)
}

// gather moves waiting reports into a unit.
func (q *queue) gather(u *unit) {
	n, rows := 0, 0
	for _, p := range u.members {
		rows += p.rows
	}
	for _, p := range q.waiting[reportLane] {
		if rows += p.rows; len(u.members) > 0 && rows > groupRows {
			break
		}
		u.members = append(u.members, p)
		n++
	}
	clear(q.waiting[reportLane][:n])
	q.waiting[reportLane] = q.waiting[reportLane][n:]
	all := make(sendings, len(u.members))
	for i, p := range u.members {
		all[i] = p.sent
	}
	u.do = all.write
}

// submit waits until a write is carried out. Waiting for the writer's turn ends with ctx; the write itself does not: one that began is
// carried through, so that a caller who went away cannot leave it unknown whether a change was made.
func (s *Store) submit(ctx context.Context, p *pending) error {
	leave, err := s.queue.enter(ctx, p.lane)
	if err != nil {
		return s.fail(err, p.what)
	}
	defer leave()
	p.turn = make(chan *unit, 1)
	lead := s.queue.add(p)
	if lead == nil {
		select {
		case lead = <-p.turn:
		case <-ctx.Done():
			if s.queue.remove(p) {
				return s.fail(ctx.Err(), p.what)
			}
			lead = <-p.turn
		}
	}
	if lead != nil {
		s.lead(ctx, lead)
	}
	if p.panicked != nil {
		panic(p.panicked)
	}
	return p.err
}

// lead carries out one group, which begins with own, and passes the lead on. If there is no connection only own is answered: whoever
// leads next tries again.
func (s *Store) lead(ctx context.Context, own *unit) {
	g := &group{units: 1, reports: own.members[0].lane == reportLane, enrols: own.members[0].lane == enrolLane}
	defer s.queue.pass(g)
	waiting, enough := s.dialect.bound(ctx)
	defer enough()
	conn, err := s.writer.Conn(waiting) // it may ask a server that says nothing whether it is there
	if err != nil {
		s.answer(err, own)
		return
	}
	defer func() { _ = conn.Close() }() // gives the connection back
	writing, ended := s.dialect.bound(context.WithoutCancel(ctx))
	defer ended()
	s.carryOut(writing, conn, own, g)
}

// carryOut runs units in one transaction for as long as the group takes up more, and commits.
func (s *Store) carryOut(ctx context.Context, conn *sql.Conn, own *unit, g *group) {
	var tx *sql.Tx
	var done []*unit // in the transaction
	ended := s.queue.observed()
	if g.reports {
		s.queue.join(own)
	}
	for _, p := range own.members {
		g.rows += p.rows
	}
	for u := own; u != nil; u = s.queue.next(g) {
		var err error
		if tx == nil {
			if tx, err = conn.BeginTx(ctx, nil); err != nil {
				ended(0, err)
				s.answer(err, u)
				return
			}
		}
		err = s.run(ctx, tx, u, len(done) > 0)
		if err == nil {
			done = append(done, u)
			continue
		}
		s.answer(err, u)
		if len(done) == 0 || lost(err) {
			_ = tx.Rollback() // the first error says more
			s.answer(err, done...)
			tx, done = nil, nil
		}
	}
	if tx != nil {
		writes, err := s.finish(ctx, tx, done)
		ended(writes, err)
	}
}

// Observe is told of groups of writes: begun is called when one begins, and what it returns when it has ended, with the number of writes
// that are durable or the error of them all. Call it before the store is used.
func (s *Store) Observe(begun func() (ended func(writes int, err error))) { s.queue.observe = begun }

func (q *queue) observed() func(writes int, err error) {
	if q.observe == nil {
		return func(int, error) {}
	}
	return q.observe()
}

// Waiting is how many writes wait or are under way, and how many may.
func (s *Store) Waiting() (now, most int) {
	return len(s.queue.slots) + len(s.queue.firstSlots), cap(s.queue.slots) + cap(s.queue.firstSlots)
}

// finish commits, answers, and wakes those who listen. It tells how many writes it carried out.
func (s *Store) finish(ctx context.Context, tx *sql.Tx, done []*unit) (writes int, err error) {
	topics := wakesOf(done)
	if err = s.announce(ctx, tx, topics); err != nil {
		_ = tx.Rollback() // the first error says more
	} else if err = s.conclude(tx); err == nil {
		s.announced(topics)
	}
	for _, u := range done {
		writes += len(u.members)
	}
	s.answer(err, done...)
	return writes, err
}

// lostError is an error after which the transaction could not go on.
type lostError struct{ error }

func (e lostError) Unwrap() error { return e.error }

func lost(err error) bool {
	_, ok := err.(lostError) //nolint:errorlint // it is never wrapped
	return ok
}

// run carries out a unit, and undoes it alone if it failed after others. A panic becomes that of its caller.
func (s *Store) run(ctx context.Context, tx *sql.Tx, u *unit, after bool) (err error) {
	if !after {
		return u.guarded(ctx, tx)
	}
	if _, err := tx.ExecContext(ctx, `SAVEPOINT one_write`); err != nil {
		return lostError{err}
	}
	if err := u.guarded(ctx, tx); err != nil {
		if _, undoing := tx.ExecContext(ctx, `ROLLBACK TO SAVEPOINT one_write`); undoing != nil {
			return lostError{err}
		}
		return err
	}
	if _, err := tx.ExecContext(ctx, `RELEASE SAVEPOINT one_write`); err != nil {
		return lostError{err}
	}
	return nil
}

// guarded runs a unit. What it panics with is kept for its first caller: whoever leads must not die of another's write.
func (u *unit) guarded(ctx context.Context, tx *sql.Tx) (err error) {
	defer func() {
		if p := recover(); p != nil {
			u.members[0].panicked = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
			err = fault.New(fault.Internal, "the program failed in it: %v", p)
		}
	}()
	return u.do(ctx, tx)
}

// answer tells all callers of units what became of them.
func (s *Store) answer(err error, units ...*unit) {
	for _, u := range units {
		for _, p := range u.members {
			p.err = s.fail(err, p.what)
			p.turn <- nil // nobody reads it if the caller leads
		}
	}
}
