package replica

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
)

// tail is how far this replica has read what the others write.
type tail struct {
	mu       sync.Mutex // one reader at a time
	change   int64      // of the newest endpoint row
	hearing  int64      // of the newest hearings
	others   sync.Mutex // of the next one
	lastWord map[string]time.Time
}

// follow keeps this replica's memory of the fleet, and its copies of what the leader publishes, up to date.
func (r *Replica) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		err := cmp.Or(r.catchUp(ctx), r.copy(ctx))
		if err != nil && ctx.Err() == nil {
			r.Log.WarnContext(ctx, "read what other replicas wrote; will try again", slog.Any("error", err))
		}
		r.bells.published.wait(ctx, r.Clock, every)
	}
	return nil
}

// Reading what others write.
const (
	every          = time.Second
	atOnce         = 5000
	hearingsAtOnce = 100
	recent         = time.Minute // what was heard before stands in the endpoints' own rows
)

// Telling others.
const (
	tellEvery = 2 * time.Second
	tellMost  = 100_000 // endpoints at once
)

// goodbye stands in place of hearings: the replica stops in good order, and is not to be missed. Hearings never begin so.
const goodbye = "\x00"

// tell writes down whom this replica heard, for the others, and by that also that it lives.
func (r *Replica) tell(ctx context.Context) error {
	for r.Clock.Sleep(ctx, tellEvery) == nil {
		if err := r.tellNow(ctx); err != nil && ctx.Err() == nil {
			r.Log.WarnContext(ctx, "tell other replicas who was heard; will try again", slog.Any("error", err))
		}
	}
	ctx, cancel := within(context.WithoutCancel(ctx), r.Clock, r.Life)
	defer cancel()
	err := r.tellNow(ctx)
	if err == nil {
		err = r.Store.AddHearings(ctx, r.Name, r.Clock.Now(), []byte(goodbye))
	}
	if err != nil {
		r.Log.WarnContext(ctx, "take leave of other replicas; they give this one's hosts more time", slog.Any("error", err))
	}
	return nil
}

// tellNow tells all there is to tell.
func (r *Replica) tellNow(ctx context.Context) error {
	for range 1 + r.Fleet.Tells()/tellMost {
		heard := r.Fleet.Hearings(tellMost)
		if err := r.Store.AddHearings(ctx, r.Name, r.Clock.Now(), heard); err != nil {
			r.Fleet.Untold(heard)
			return err
		}
	}
	return nil
}

// load fills the registry from the database. What changes meanwhile is read again.
func (r *Replica) load(ctx context.Context) error {
	last, err := r.Store.LastChange(ctx)
	if err != nil {
		return err
	}
	r.tail.change = last
	if r.tail.hearing, err = r.Store.HearingsUntil(ctx, recent); err != nil {
		return err
	}
	return ingest.LoadAll(ctx, r.Store, r.Fleet, r.Clock.Now())
}

// catchUp takes in what other replicas heard of the fleet.
func (r *Replica) catchUp(ctx context.Context) error {
	r.tail.mu.Lock()
	defer r.tail.mu.Unlock()
	if err := r.readChanges(ctx); err != nil {
		return fmt.Errorf("read changed endpoints: %w", err)
	}
	if err := r.readHearings(ctx); err != nil {
		return fmt.Errorf("read who was heard: %w", err)
	}
	return nil
}

func (r *Replica) readChanges(ctx context.Context) error {
	for {
		rows, last, err := r.Store.ChangedEndpoints(ctx, r.tail.change, atOnce)
		if err != nil {
			return err
		}
		ingest.Merge(rows, r.Fleet, r.Clock.Now())
		r.tail.change = max(r.tail.change, last)
		if len(rows) < atOnce {
			return nil
		}
	}
}

func (r *Replica) readHearings(ctx context.Context) error {
	for {
		rows, err := r.Store.HearingsAfter(ctx, r.tail.hearing, r.Name, hearingsAtOnce)
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, h := range rows {
			r.tail.hearing = h.Number
			r.hear(ctx, h)
		}
	}
}

// hear takes in one row of hearings. It may be old, and the clock of whoever wrote it may be wrong: its age is by the database's.
func (r *Replica) hear(ctx context.Context, h store.Hearing) {
	if string(h.Data) == goodbye {
		r.tail.left(h.Replica)
		return
	}
	written := r.Clock.Now().Add(-h.Age)
	r.tail.spoke(h.Replica, written)
	if err := r.Fleet.Heard(h.Data, h.At, written); err != nil {
		r.Log.WarnContext(ctx, "another replica's hearings cannot be read", slog.String("replica", h.Replica), slog.Any("error", err))
	}
}

func (t *tail) spoke(replica string, at time.Time) {
	t.others.Lock()
	defer t.others.Unlock()
	if t.lastWord == nil {
		t.lastWord = map[string]time.Time{}
	}
	t.lastWord[replica] = at
}

// left notes that a replica said goodbye.
func (t *tail) left(replica string) {
	t.others.Lock()
	defer t.others.Unlock()
	delete(t.lastWord, replica)
}

// missing tells whether a replica that spoke has not done so for a while. One that was missed for the whole grace is forgotten: its hosts
// have had the time to be heard by others.
func (t *tail) missing(now time.Time, grace time.Duration) bool {
	t.others.Lock()
	defer t.others.Unlock()
	maps.DeleteFunc(t.lastWord, func(_ string, at time.Time) bool { return now.Sub(at) > grace })
	for _, at := range t.lastWord {
		if now.Sub(at) > mutes {
			return true
		}
	}
	return false
}

// mutes is for how long a replica may say nothing before it is missed; they write every two seconds, if only that nobody was heard.
const mutes = 6 * time.Second

// mindOthers gives the fleet more time while a replica is missed: hosts that it heard are not silent.
func (r *Replica) mindOthers(ctx context.Context, l Leader) error {
	before, left := r.Clock.Now(), allowance{most: r.Grace}
	for r.Clock.Sleep(ctx, every) == nil {
		now := r.Clock.Now()
		lasted := now.Sub(before)
		if left.grant(lasted, r.tail.missing(now, r.Grace)) {
			l.Deaf(lasted)
		}
		before = now
	}
	return nil
}

// allowance bounds how long the fleet may go unheard for the sake of missed replicas: one that crashes over and over, with a new name each
// time, must not keep silence from being seen.
type allowance struct{ most, spent time.Duration }

// regained is the share of the time without a grant by which an allowance grows again.
const regained = 10

// grant tells whether so much more time is given, if it is asked for.
func (a *allowance) grant(d time.Duration, asked bool) bool {
	if asked && a.spent+d <= a.most {
		a.spent += d
		return true
	}
	a.spent = max(0, a.spent-d/regained)
	return false
}

// copied is what a replica that does not lead keeps of what the leader published.
type copied struct {
	mu         sync.RWMutex
	directives map[string]store.Directive
	frozen     calendar.Calendar
	leases     map[lent]time.Time // handed on here, and until when the host is to be heard often
}

type lent struct {
	id        fleet.EndpointID
	component string
}

// lentFor is for how long a host that got a lease through this replica is asked to come often.
const lentFor = 5 * time.Minute

// copy reads what the leader published. The leader has it first-hand.
func (r *Replica) copy(ctx context.Context) error {
	r.mu.RLock()
	leads, former := r.ruler != nil, r.former
	r.mu.RUnlock()
	if leads {
		return nil
	}
	rows, err := r.Store.Directives(ctx)
	if err != nil {
		return fmt.Errorf("read the directives: %w", err)
	}
	frozen, err := engine.LoadFreezes(ctx, r.Store)
	if err != nil {
		return err
	}
	directives := make(map[string]store.Directive, len(rows))
	for _, d := range rows {
		directives[d.Component] = d
	}
	changed := r.copied.take(directives, frozen, r.Clock.Now())
	r.mu.Lock()
	if r.former == former {
		r.former = nil // all that it published was stored before
	}
	r.mu.Unlock()
	for _, component := range changed {
		r.Nudge(component)
	}
	return nil
}

// take replaces what is kept, and lists the components whose directives are new.
func (c *copied) take(directives map[string]store.Directive, frozen calendar.Calendar, now time.Time) (changed []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for component, d := range directives {
		if d.Sequence != c.directives[component].Sequence {
			changed = append(changed, component)
		}
	}
	c.directives, c.frozen = directives, frozen
	maps.DeleteFunc(c.leases, func(_ lent, until time.Time) bool { return now.After(until) })
	return changed
}

func (c *copied) directive(component string) ([]byte, int64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	d := c.directives[component]
	return d.Envelope, d.Sequence
}

func (c *copied) freezes() calendar.Calendar {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.frozen
}

func (c *copied) lend(id fleet.EndpointID, component string, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leases == nil {
		c.leases = map[lent]time.Time{}
	}
	c.leases[lent{id, component}] = until
}

func (c *copied) lent(id fleet.EndpointID, component string, now time.Time) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return now.Before(c.leases[lent{id, component}])
}
