// Package replica makes several control planes over one database behave as one. One of them leads: it alone decides over rollouts. The others
// serve agents and operators just the same, and ask it what only it may say.
//
// Everything between replicas goes through the database: reports are stored there for the leader to take in; questions to it are letters, and
// so are its answers; what each hears of the fleet is a log that all of them read. Wake-ups only save waiting: whoever missed one finds
// out a moment later by looking.
//
// Who leads is a row with a term, kept by a heartbeat and given up by the database's clock. All that a leader writes names its term, and is
// refused once there is a newer one: a leader that slept and does not know yet that it was replaced can do no harm. Until a new leader is
// there nobody gets a lease, nobody is called silent, and reports wait.
package replica

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/engine"
	"github.com/firebreak-dev/firebreak/internal/control/ingest"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Leader is what only the replica that leads has: the engine, and the pen for the repository's metadata.
type Leader interface {
	Run(ctx context.Context) error
	Ask(ctx context.Context, id fleet.EndpointID, wish api.Wish) (envelope []byte, refusal string, err error)
	Take(ctx context.Context, id fleet.EndpointID) error
	Drain(ctx context.Context) error
	Directive(component string) (envelope []byte, sequence int64)
	Pending(id fleet.EndpointID, component string) bool
	Returned(ctx context.Context, id fleet.EndpointID, component string) error
	Deaf(lasted time.Duration)
	Start(ctx context.Context, start api.StartRollout, actor string) (api.Rollout, error)
	Act(ctx context.Context, id string, command rollout.OperatorActed) (api.Rollout, error)
	Halt(ctx context.Context, want api.HaltRollouts, actor string) (api.Halted, error)
	Rollout(ctx context.Context, id string) (api.Rollout, error)
	Rollouts(ctx context.Context, q store.RolloutQuery) ([]api.Rollout, error)
	Phases(ctx context.Context) (map[rollout.Phase]int64, error)
	Next(ctx context.Context, id fleet.EndpointID) ([]api.Next, error)
	Freezes() calendar.Calendar
	SetFreezes(ctx context.Context, freezes calendar.Calendar, actor string) error
	Submit(ctx context.Context, role string, metadata []byte) (api.Submission, error)
	Discard(ctx context.Context, role string) error
}

// Store is what replicas need of their database. *store.Store is one.
type Store interface {
	ingest.Rows
	LastChange(ctx context.Context) (int64, error)

	Lead(ctx context.Context, holder string, life time.Duration) (store.Leadership, error)
	Renew(ctx context.Context, term int64, life time.Duration) error
	Resign(ctx context.Context, term int64) error
	Leader(ctx context.Context) (store.Leadership, error)
	Listen(ctx context.Context, c clock.Clock, heard func(topic string), lost func(error), topics ...string)

	Ask(ctx context.Context, letters ...store.Letter) ([]int64, error)
	Unanswered(ctx context.Context, kind string, age time.Duration, limit int) ([]store.Letter, error)
	Fenced(term int64) *store.Store // through which letters are claimed and answered
	Answers(ctx context.Context, ids []int64) ([]store.Answered, error)
	ForgetOlder(ctx context.Context, age time.Duration) (int64, error)
	UntakenEndpoints(ctx context.Context) ([]fleet.EndpointID, error)

	ChangedEndpoints(ctx context.Context, after int64, limit int) ([]store.Endpoint, int64, error)
	AddHearings(ctx context.Context, replica string, at time.Time, data []byte) error
	HearingsUntil(ctx context.Context, age time.Duration) (int64, error)
	HearingsAfter(ctx context.Context, after int64, not string, limit int) ([]store.Hearing, error)

	Directives(ctx context.Context) ([]store.Directive, error)
	Rollout(ctx context.Context, id rollout.ID) (store.Rollout, error)
	FindRollouts(ctx context.Context, q store.RolloutQuery) ([]store.Rollout, error)
	RolloutPhases(ctx context.Context) (map[rollout.Phase]int64, error)
	AddSamples(ctx context.Context, samples []store.Sample) error
	ThinSamples(ctx context.Context, from, to time.Time, stretch time.Duration) error
	ForgetSamples(ctx context.Context, before time.Time) error
	Setting(ctx context.Context, key string) (string, error)
}

// Options are a replica's world. All fields are required, except where it is said.
type Options struct {
	Store   Store
	Open    func(ctx context.Context, term int64) (Leader, error) // makes what decides in a term; all that it writes names the term
	Fleet   *registry.Registry
	Nudge   func(component string) // a new directive was published by a leader elsewhere
	Stops   *engine.Stops          // what leaders of this process could not store; nil: none of it is handed on
	Decided func()                 // something was decided, here or elsewhere: whoever watches should look; must not wait; nil: nobody watches
	Clock   clock.Clock
	Log     *slog.Logger
	Name    string        // unique among the replicas, and not used twice
	Life    time.Duration // for how long a leader that is not heard from goes on leading
	Grace   time.Duration // for how long hosts may be unheard because the replica that heard them is gone
	Alone   bool          // the database is for one process: there are no others to ask or to tell
}

// Replica is one control plane among several, or the only one. New takes the lead if nobody has it; Run goes on until its context ends. It is
// safe for concurrent use.
type Replica struct {
	Options
	mu     sync.RWMutex
	ruler  Leader // nil while it does not lead
	former Leader // of the reign that ended, until its directives were read back; nil: none
	term   int64
	holder string    // who leads, as far as is known
	sure   time.Time // until when nobody else can lead, if this replica does

	bells  bells
	post   *waits[int64]            // those who wait for the answer to a letter
	taken  *waits[fleet.EndpointID] // those who wait until a host's reports are taken in
	copied copied
	tail   tail
}

// New makes a replica that knows the fleet. If nobody leads it does, and what is stored is loaded before New returns.
func New(ctx context.Context, o Options) (*Replica, error) {
	r := &Replica{Options: o, post: newWaits[int64](), taken: newWaits[fleet.EndpointID](), bells: newBells()}
	if r.Stops == nil {
		r.Stops = engine.NewStops()
	}
	for _, begin := range []func(context.Context) error{r.load, r.catchUp, r.copy, r.campaign} {
		if err := begin(ctx); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// Run leads or follows until ctx ends.
func (r *Replica) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.listen(ctx) })
	group.Go(func() error { return r.rule(ctx) })
	if r.Alone {
		return group.Wait()
	}
	group.Go(func() error { return r.tell(ctx) })
	group.Go(func() error { return r.follow(ctx) })
	group.Go(func() error { return r.fetchAnswers(ctx) })
	group.Go(func() error { return r.watchTaken(ctx) })
	group.Go(func() error { return r.handOn(ctx) })
	return group.Wait()
}

// rule takes the lead whenever nobody has it, and keeps it while it can.
func (r *Replica) rule(ctx context.Context) error {
	for ctx.Err() == nil {
		if l, term := r.leading(); l != nil {
			r.lead(ctx, l, term)
			continue
		}
		if err := r.campaign(ctx); err != nil && ctx.Err() == nil {
			r.Log.ErrorContext(ctx, "take the lead; will try again", slog.Any("error", err))
		}
		if l, _ := r.leading(); l == nil {
			_ = r.Clock.Sleep(ctx, r.Life/beats)
		}
	}
	return nil
}

// beats is how often a leader says that it lives, in the time after which it would be taken for dead.
const beats = 4

// campaign takes the lead if nobody has it. It loads what is stored before it leads; if that fails it lets another one try.
func (r *Replica) campaign(ctx context.Context) error {
	term, err := r.elect(ctx)
	if err != nil || term == 0 {
		return err
	}
	if err = r.take(ctx, term); err != nil {
		r.give(ctx, term)
	}
	return err
}

// elect returns the new term if this replica is the one to lead; 0 if another one leads.
func (r *Replica) elect(ctx context.Context) (term int64, err error) {
	ctx, cancel := within(ctx, r.Clock, r.Life)
	defer cancel()
	asked := r.Clock.Now()
	led, err := r.Store.Lead(ctx, r.Name, r.Life)
	if fault.KindOf(err) == fault.Conflict {
		led, err = r.Store.Leader(ctx)
		led.Term = 0
	}
	if err != nil {
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holder, r.sure = led.Holder, asked.Add(r.Life)
	return led.Term, nil
}

// take makes the leader of a term, which loads what is stored.
func (r *Replica) take(ctx context.Context, term int64) error {
	var l Leader
	err := r.hold(ctx, term, func(ctx context.Context) (err error) {
		if err = r.catchUp(ctx); err == nil { // the engine must know every host
			l, err = r.Open(ctx, term)
		}
		return err
	})
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ruler, r.term, r.former = l, term, nil
	r.Log.InfoContext(ctx, "this replica leads", slog.String("replica", r.Name), slog.Int64("term", term))
	return nil
}

// lead decides until another replica leads, or may, or ctx ends.
func (r *Replica) lead(ctx context.Context, l Leader, term int64) {
	err := r.hold(ctx, term, func(ctx context.Context) error { return r.govern(ctx, l, term) })
	if ctx.Err() != nil {
		r.give(ctx, term)
		return
	}
	r.Log.WarnContext(ctx, "this replica does not lead any more", slog.String("replica", r.Name), slog.Int64("term", term), slog.Any("error", err))
}

// govern is what a leader does.
func (r *Replica) govern(ctx context.Context, l Leader, term int64) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.Run(ctx) })
	group.Go(func() error { return r.yield(ctx, l) })
	group.Go(func() error { return r.sample(ctx) })
	if !r.Alone {
		group.Go(func() error { return r.drain(ctx, l) })
		group.Go(func() error { return r.serve(ctx, l, term) })
		group.Go(func() error { return r.mindOthers(ctx, l) })
	}
	return group.Wait()
}

// yield ends the reign for all who ask this replica as soon as ctx ends. What the leader began may take longer.
func (r *Replica) yield(ctx context.Context, l Leader) error {
	<-ctx.Done()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ruler, r.term, r.holder, r.former = nil, 0, "", l
	return nil
}

// give lets another replica take the lead at once.
func (r *Replica) give(ctx context.Context, term int64) {
	ctx, cancel := within(context.WithoutCancel(ctx), r.Clock, r.Life)
	defer cancel()
	if err := r.Store.Resign(ctx, term); err != nil {
		r.Log.WarnContext(ctx, "resign; another replica leads when the time is up", slog.Any("error", err))
	}
}

// errDeposed ends a reign.
var errDeposed = errors.New("another replica leads, or may")

// hold keeps the lead while do runs. Do's context ends once another replica leads or may, whatever the database does meanwhile. Who has the
// database alone keeps the lead in any case.
func (r *Replica) hold(ctx context.Context, term int64, do func(ctx context.Context) error) error {
	if r.Alone {
		return do(ctx)
	}
	group, ctx := errgroup.WithContext(ctx)
	ctx, done := context.WithCancel(ctx)
	group.Go(func() error { return r.beat(ctx, term) })
	group.Go(func() error { return r.doubt(ctx) })
	group.Go(func() error {
		defer done()
		return do(ctx)
	})
	return group.Wait()
}

// beat says that the leader lives, until ctx ends or another replica leads.
func (r *Replica) beat(ctx context.Context, term int64) error {
	for ctx.Err() == nil {
		asked := r.Clock.Now()
		switch err := r.renew(ctx, term); {
		case err == nil:
			r.mu.Lock()
			r.sure = asked.Add(r.Life)
			r.mu.Unlock()
		case fault.KindOf(err) == fault.Conflict:
			return errDeposed
		}
		_ = r.Clock.Sleep(ctx, r.Life/beats)
	}
	return nil
}

// renew tries for half a life: if the line is stalled, there is time for another try.
func (r *Replica) renew(ctx context.Context, term int64) error {
	ctx, cancel := within(ctx, r.Clock, r.Life/2)
	defer cancel()
	return r.Store.Renew(ctx, term, r.Life)
}

// doubt ends a reign that did not get through to the database for a whole life: others may lead then.
func (r *Replica) doubt(ctx context.Context) error {
	for ctx.Err() == nil {
		r.mu.RLock()
		left := r.sure.Sub(r.Clock.Now())
		r.mu.RUnlock()
		if left <= 0 {
			return errDeposed
		}
		_ = r.Clock.Sleep(ctx, left)
	}
	return nil
}

// leading is what decides if this replica leads, else nil.
func (r *Replica) leading() (Leader, int64) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.ruler, r.term
}

// published is who knows the directives of its own reign: they stay known when it ends because the database is away. Nil: what was copied is as
// new.
func (r *Replica) published() Leader {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.ruler != nil {
		return r.ruler
	}
	return r.former
}

// Leads tells whether this replica leads, in which term, and who does as far as it knows.
func (r *Replica) Leads() (leads bool, term int64, leader string) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.ruler != nil, r.term, r.holder
}

// absent is the error for what only a leader can do.
func absent(what string) *fault.Error {
	return fault.New(fault.Unavailable, "%s: no replica answered that leads", what).
		Hint("it is tried again by itself; if it lasts, look at /readyz and the logs of all replicas")
}
