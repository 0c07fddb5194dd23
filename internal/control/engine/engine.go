// Package engine is the shell round the decision: it loads a rollout, lets rollout.Step decide, commits event, state and effects in one
// transaction, and only then acts. It holds no rule of its own about who may be exposed.
//
// One engine decides over a rollout at a time, under that rollout's lock; the commit names the revision it was decided on, so that a
// second engine on the same database would get a conflict, not a second decision. After a commit that failed the engine reads what is
// stored before it decides on that rollout again: a failing disk may have kept what it said it could not.
//
// Locks are taken in this order: starting, that of drains or that of setting freezes; a rollout's, one at a time; the board's two. The engine's own
// mu and a rollout's deadlines and answers have locks that are held over no I/O and under which no other is taken, so that a check-in that
// changes nothing waits for no commit.
package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/control/registry"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Store is what the engine needs of the database.
type Store interface {
	Commit(ctx context.Context, c store.Commit) error
	Rollouts(ctx context.Context, component string, limit int) ([]store.Rollout, error)
	Relist(ctx context.Context, rollouts []store.Rollout) error
	// Await returns once no write of a rollout is under way any more that began before.
	Await(ctx context.Context, id rollout.ID) error
	Leases(ctx context.Context, id rollout.ID) ([]store.Lease, error)
	Events(ctx context.Context, id rollout.ID, after int64, limit int) ([]store.Event, error)
	UntakenReports(ctx context.Context, after int64, limit int) ([]store.Report, error)
	MarkTaken(ctx context.Context, key store.ReportKey) error
}

// Settings keeps small named values.
type Settings interface {
	SettingReader
	PutSetting(ctx context.Context, key, value string) error
}

// SettingReader reads small named values.
type SettingReader interface {
	Setting(ctx context.Context, key string) (string, error) // fault.NotFound if it was never set
}

// Releases is what the engine needs to know of releases, plans and incidents.
type Releases interface {
	Release(ctx context.Context, component, version string) (release.Published, error)
	Releases(ctx context.Context, component string) ([]release.Published, error)
	Plan(ctx context.Context, name string) (store.PlanRow, error)
	Recalls(ctx context.Context, component string) ([]store.Recall, error)
}

// Directives keeps published directives.
type Directives interface {
	Directives(ctx context.Context) ([]store.Directive, error)
	PutDirective(ctx context.Context, d store.Directive) error
}

// Fleet knows the hosts.
type Fleet interface {
	Get(id fleet.EndpointID) (registry.Endpoint, bool)
	Count(q registry.Question) registry.Census
	Sizes(component string) registry.Sizes
	Deaf(component string, since, before time.Time, least int, but func(fleet.EndpointID) bool) bool
	Draw(d registry.Draw) map[string][]fleet.EndpointID
	Signs(ids []fleet.EndpointID, after time.Time) []registry.Sign
}

// Gates asks what lies outside on behalf of a plan's gates. It may take seconds and is never asked under a lock.
type Gates interface {
	Ask(ctx context.Context, gates []evidence.Gate) []evidence.GateResult
}

// Cells knows how releases stand in other cells. It does no I/O: what it tells was heard before.
type Cells interface {
	// Heard tells what is known of a release in those cells, in their order, and sees to it that it is known better the next time.
	Heard(component string, manifest release.Digest, names []string) []rollout.CellHeard
}

// Signer signs with the director's online key.
type Signer interface {
	Sign(ctx context.Context, d api.Directive) ([]byte, error)
	SignLease(ctx context.Context, l api.Lease) ([]byte, error)
}

// Notifier tells people. It is called under a rollout's lock and must not wait for anything far away.
type Notifier interface {
	Notify(ctx context.Context, severity, text string)
}

// Meter counts answers to wishes. *metrics.Metrics does.
type Meter interface {
	Granted()
	Refused(code string) // one of rollout.WaitCodes, or another word
}

// Options are the engine's world. All fields are required, but Gates: without them no gate is met; Nudge, Meter, and Stops. Cell and Cells
// may be left out too: then no rollout of a plan with cells starts.
type Options struct {
	Store      Store
	Settings   Settings
	Releases   Releases
	Directives Directives
	Fleet      Fleet
	Signer     Signer
	Notifier   Notifier
	Gates      Gates
	Cell       string // name of this control plane among the cells of plans
	Cells      Cells
	Nudge      func(component string) // a new directive was published; waits for nobody
	Meter      Meter                  // nil: nothing is counted
	Stops      *Stops                 // kept beyond this engine; nil: they end with it
	Clock      clock.Clock
	Log        *slog.Logger
	NewID      func(prefix string) string

	Tick      time.Duration // how often deadlines and wake-ups are looked at
	Grace     time.Duration // what hosts get on top of their deadlines after the server was not listening
	Reach     time.Duration // a host that was not heard for so long is not waited for
	Hearing   time.Duration // a host that was not heard for so long is not heard: it proves nothing
	Freshness time.Duration // life of a directive; it is renewed at half of it
}

// Engine runs all rollouts of an installation. New loads it; Run keeps time until its context ends. It is safe for concurrent use.
type Engine struct {
	Options
	starting sync.Mutex // one start at a time, so that two cannot both find a component free
	halts    chan struct{}
	unsure   unsure
	drains   drains
	mu       sync.RWMutex
	rollouts map[rollout.ID]*entry
	all      []*entry // in the order in which they were started; it only grows
	board    *board
	freezes  freezes
	counted  counted
	asking   sync.WaitGroup // questions to gates that are under way

	listening time.Time // since when the fleet can be heard: the start, or the end of an outage; only Run's goroutine touches it
}

// New loads every rollout from the store, publishes a directive for each component that has one, and takes in the reports that were
// stored but not yet decided on. Outstanding leases get the grace: nobody was listening meanwhile.
func New(ctx context.Context, o Options) (*Engine, error) {
	e := &Engine{Options: o, rollouts: map[rollout.ID]*entry{}, board: newBoard(), listening: o.Clock.Now(), halts: make(chan struct{}, storedAtOnce), drains: drains{turn: make(chan struct{}, 1)}}
	if e.Stops == nil {
		e.Stops = NewStops()
	}
	e.counted.sizes = map[string]counting{}
	if err := e.loadFloor(ctx); err != nil {
		return nil, err
	}
	if err := e.adopt(ctx, ""); err != nil {
		return nil, err
	}
	if err := e.loadBoard(ctx); err != nil {
		return nil, err
	}
	if err := e.loadFreezes(ctx); err != nil {
		return nil, err
	}
	if err := e.Drain(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

// loadAtMost bounds the rollouts that are kept in memory.
const loadAtMost = 10_000

// adopt loads the rollouts of a component, or of all if it is empty, that are stored but not known, oldest first. While the engine runs
// there are none, unless the start of one seemed to fail and did not. The leases of those that are long over stay where they are.
func (e *Engine) adopt(ctx context.Context, component string) error {
	rows, err := e.Store.Rollouts(ctx, component, loadAtMost)
	if err != nil {
		return fmt.Errorf("load the rollouts: %w", err)
	}
	listed := func(r store.Rollout) bool { return r.Listed == r.State.Phase }
	if err = e.Store.Relist(ctx, slices.DeleteFunc(slices.Clone(rows), listed)); err != nil {
		return fmt.Errorf("load the rollouts: %w", err)
	}
	var adopted []*entry
	for _, row := range slices.Backward(rows) {
		if _, err := e.entry(row.State.ID); err == nil {
			continue
		}
		r := newEntry()
		r.incident, r.asleep = row.Incident, true
		r.become(row.State, row.Revision)
		e.add(r)
		adopted = append(adopted, r)
	}
	e.board.set(adopted...)
	for _, r := range adopted { // now it is known which ones directives name
		if e.rests(r) {
			continue
		}
		if err := e.hold(ctx, r); err != nil {
			return err
		}
		r.mu.Unlock()
	}
	return nil
}

// Run keeps deadlines, wakes rollouts and renews directives until ctx ends. It is the engine's only goroutine but for questions to gates,
// which it waits for.
func (e *Engine) Run(ctx context.Context) error {
	defer e.asking.Wait()
	w := watch{Engine: e, last: e.Clock.Now()}
	for e.Clock.Sleep(ctx, e.Tick) == nil {
		if err := w.tick(ctx); ctx.Err() == nil {
			w.tell(ctx, err)
		}
	}
	return nil
}

// Start begins a rollout.
func (e *Engine) Start(ctx context.Context, want api.StartRollout, actor string) (api.Rollout, error) {
	begun := e.Stops.begin(want.Component, want.Version) // before anything that may wait: a halt of everything means this one too
	e.starting.Lock()
	defer e.starting.Unlock()
	event, err := e.ready(ctx, want, actor, begun)
	if err != nil {
		e.Stops.end(begun)
		return api.Rollout{}, err
	}
	r := newEntry()
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := e.step(ctx, r, event); err != nil {
		until := e.Clock.Now().Add(unsureFor) // should it be stored after all, it must be known here
		e.unsure.note(want.Component, until)
		e.Stops.linger(begun, until)
		return api.Rollout{}, err
	}
	e.Stops.end(begun)
	if err := e.keepStop(ctx, r); err != nil {
		e.Log.WarnContext(ctx, "halt a rollout that was being started; will try again", slog.String("rollout", string(r.id)), slog.Any("error", err))
	}
	return r.shown.view(), nil
}

// ready makes the event of a start that may go ahead.
func (e *Engine) ready(ctx context.Context, want api.StartRollout, actor string, begun *starting) (rollout.Started, error) {
	if err := e.adopt(ctx, want.Component); err != nil {
		return rollout.Started{}, err
	}
	event, err := e.prepare(ctx, want, actor)
	if err == nil {
		err = e.Stops.name(begun, event.ID)
	}
	if err != nil {
		return rollout.Started{}, fmt.Errorf("start a rollout of %s %s: %w", want.Component, want.Version, err)
	}
	return event, nil
}

// Act carries out an operator's command, at the present time whatever the command says. One that changes nothing is a Conflict that says
// why.
func (e *Engine) Act(ctx context.Context, id string, command rollout.OperatorActed) (api.Rollout, error) {
	r, err := e.entry(rollout.ID(id))
	if err == nil && command.Action == rollout.HoldBack {
		err = checkHold(command.Select)
	}
	if err != nil {
		return api.Rollout{}, err
	}
	if stops(command.Action) {
		return e.stop(ctx, r, id, command)
	}
	if err = e.hold(ctx, r); err != nil {
		return api.Rollout{}, err
	}
	defer r.mu.Unlock()
	if command.Action == rollout.HoldBack && len(r.state.Holds) >= maxHolds {
		return api.Rollout{}, fault.New(fault.Conflict, "hold rollout %s for %s: it has %d holds already, as many as there may be", id,
			command.Select, maxHolds).Hint("lift some with 'firebreak rollout unhold %s', or halt the rollout", id)
	}
	return e.command(ctx, r, id, command)
}

// command carries out an operator's command on an entry that the caller holds.
func (e *Engine) command(ctx context.Context, r *entry, id string, command rollout.OperatorActed) (api.Rollout, error) {
	command.At = stamp(e.Clock.Now())
	effects, err := e.step(ctx, r, command)
	if err != nil {
		return api.Rollout{}, err
	}
	return commanded(r, id, command, effects)
}

// commanded tells an operator what a command came to.
func commanded(r *entry, id string, command rollout.OperatorActed, effects []rollout.Effect) (api.Rollout, error) {
	if len(effects) == 0 {
		return api.Rollout{}, fault.New(fault.Conflict, "%s rollout %s: %s", command.Action, id, whyNot(r.state, command))
	}
	return r.shown.view(), nil
}

// maxHolds bounds what operators hold, so that what the breaker holds fits into a directive with it.
const maxHolds = 900

// checkHold refuses a selector that does not say whom to hold.
func checkHold(s fleet.Selector) error {
	problems := s.Check("select")
	if len(s) == 0 {
		problems = append(problems, fault.Problem{Path: "select", Message: "is empty, so it would hold everybody; halt the rollout instead"})
	}
	return fault.Problems("hold the release for some hosts", problems)
}

// whyNot says why a command changed nothing.
func whyNot(s rollout.State, command rollout.OperatorActed) string {
	switch {
	case command.Action == rollout.Approve && s.Phase == rollout.Proposed:
		return command.Actor + " has agreed already; it needs somebody else"
	case command.Action == rollout.HoldBack && !s.Phase.Final() && s.Phase != rollout.Proposed:
		return fmt.Sprintf("%s has a hold already", command.Select)
	case command.Action == rollout.Unhold && !s.Phase.Final():
		return fmt.Sprintf("there is no hold on %s", command.Select)
	default:
		return fmt.Sprintf("it is %s", s.Phase)
	}
}

func (e *Engine) entry(id rollout.ID) (*entry, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	r, ok := e.rollouts[id]
	if !ok {
		return nil, fault.New(fault.NotFound, "find rollout %q: there is none", id).Hint("run 'firebreak rollout list'")
	}
	return r, nil
}

// add makes a rollout known, as the newest one. Whoever holds its lock has given it a state.
func (e *Engine) add(r *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r.order, r.id, r.component = int64(len(e.all))+1, r.state.ID, r.state.Release.Component
	e.rollouts[r.state.ID] = r
	e.all = append(e.all, r)
}

// list gives all rollouts in the order in which they were started, whatever the clock said. The list must not be changed.
func (e *Engine) list() []*entry {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.all
}

// stamp makes a time into data.
func stamp(t time.Time) time.Time { return t.UTC().Round(0).Truncate(time.Microsecond) }
