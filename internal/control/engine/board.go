package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// board holds what the directives are made of: for each component its rollouts, as far as a directive can name them, and the newest
// directive. A directive is derived: whatever is lost of it is made again from the stored states.
type board struct {
	publishing sync.Mutex // one directive at a time, from its draft until it is stored
	mu         sync.RWMutex
	components map[string]*notice
	floor      int64 // sequences of components without a directive begin above it
	grants     map[string]*sync.RWMutex
}

// granting is the lock that keeps grants and recalls of a component apart: leases are decided on and stored under its read side, a recall is
// stored and known under the other. So no lease is stored after a recall by another rollout of the same release.
func (b *board) granting(component string) *sync.RWMutex {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.grants[component]
	if !ok {
		l = &sync.RWMutex{}
		b.grants[component] = l
	}
	return l
}

// floorKey names, among the settings, the number above which a restored installation begins to count: what endpoints saw of components that
// the backup did not have.
const floorKey = "directive_floor"

type notice struct {
	rollouts  map[rollout.ID]listed
	stable    *api.Target  // of the newest rollout that went through its whole plan and was not called back
	candidate *api.Target  // of the one on its way
	named     []rollout.ID // of these two; replaced, never changed
	directive store.Directive
	tried     int64                   // newest sequence that may be stored
	stale     bool                    // a change is in no directive yet
	barred    map[release.Digest]bool // manifests that were recalled
}

// listed is a rollout as a directive sees it.
type listed struct {
	target api.Target
	phase  rollout.Phase
	order  int64
}

func newBoard() *board {
	return &board{components: map[string]*notice{}, grants: map[string]*sync.RWMutex{}}
}

// of returns the notice of a component, a new one if need be; the caller holds the lock.
func (b *board) of(component string) *notice {
	n, ok := b.components[component]
	if !ok {
		n = &notice{rollouts: map[rollout.ID]listed{}, barred: map[release.Digest]bool{}, tried: b.floor}
		b.components[component] = n
	}
	return n
}

// set notes the states of rollouts; the caller holds their locks, or nobody else decides over them yet.
func (b *board) set(all ...*entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := map[*notice]bool{}
	for _, r := range all {
		n := b.of(r.component)
		n.note(r.state, r.order)
		changed[n] = true
	}
	for n := range changed {
		n.name()
	}
}

// note keeps what a directive can say of a rollout. One that exposes nobody any more, ever, is in none.
func (n *notice) note(s rollout.State, order int64) {
	n.stale = true
	if s.Phase.Final() {
		delete(n.rollouts, s.ID)
		return
	}
	n.rollouts[s.ID] = listed{
		phase: s.Phase, order: order,
		target: api.Target{
			Version: s.Release.Version, Serial: s.Release.Serial, Manifest: string(s.Release.Manifest), Rollout: string(s.ID),
			Paused: s.Phase == rollout.Paused, Holds: holdsOf(s),
		},
	}
}

// name picks what the next directive names.
func (n *notice) name() {
	n.stable = n.newest(rollout.Complete)
	n.candidate = n.newest(rollout.Running, rollout.Paused)
	n.named = nil
	for _, t := range []*api.Target{n.stable, n.candidate} {
		if t != nil {
			n.named = append(n.named, rollout.ID(t.Rollout))
		}
	}
}

// holdsOf are a rollout's holds as endpoints see them. They are bounded: whoever is held by one more gets no lease all the same.
func holdsOf(s rollout.State) []api.Hold {
	var holds []api.Hold
	for _, h := range s.Holds[:min(len(s.Holds), maxDirected)] {
		holds = append(holds, api.Hold{Select: h.Select, Reason: h.Reason})
	}
	return holds
}

// maxDirected is how many holds a directive may have.
const maxDirected = 1000

// newest picks the rollout that was started last among those in one of the phases. Of a component one runs at a time, so it is also the
// one that was completed last. Times do not count: a clock may have been wrong.
func (n *notice) newest(phases ...rollout.Phase) *api.Target {
	var best *listed
	for _, l := range n.rollouts {
		if slices.Contains(phases, l.phase) && (best == nil || l.order > best.order) {
			best = &l
		}
	}
	if best == nil {
		return nil
	}
	return &best.target
}

// bar notes that a release was recalled.
func (b *board) bar(component string, manifest release.Digest) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of(component).barred[manifest] = true
}

// barred tells whether the release was recalled, by this rollout or another.
func (b *board) barred(s rollout.State) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	n, ok := b.components[s.Release.Component]
	return ok && n.barred[s.Release.Manifest]
}

// current tells whether the component's directive names the rollout, so that leases of it mean something.
func (b *board) current(s rollout.State) bool {
	return slices.Contains(b.named(s.Release.Component), s.ID)
}

// runs is the component's stable release, nil if there is none.
func (b *board) runs(component string) *api.Target {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if n, ok := b.components[component]; ok {
		return n.stable
	}
	return nil
}

// offers is what hosts of the component are to run next: the release on its way, or else the stable one; nil if there is neither.
func (b *board) offers(component string) *api.Target {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if n, ok := b.components[component]; ok {
		return cmp.Or(n.candidate, n.stable)
	}
	return nil
}

// named lists the rollouts that the component's directive names. The list must not be changed.
func (b *board) named(component string) []rollout.ID {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if n, ok := b.components[component]; ok {
		return n.named
	}
	return nil
}

// draft makes the next directive of a component. A sequence is used once, because a directive that could not be stored perhaps was.
func (b *board) draft(component string, now, expires time.Time) api.Directive {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.of(component)
	n.stale = false
	n.tried++
	return api.Directive{
		Component: component, Sequence: n.tried, Issued: now, Expires: expires, Stable: n.stable, Candidate: n.candidate,
	}
}

// hang replaces the component's directive.
func (b *board) hang(d store.Directive) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.of(d.Component)
	n.directive, n.tried = d, max(n.tried, d.Sequence)
}

// age notes that the component's directive lacks a change.
func (b *board) age(component string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of(component).stale = true
}

// loadBoard takes over the stored directives and publishes a new one for each component: what changed since is in none of them.
func (e *Engine) loadBoard(ctx context.Context) error {
	stored, err := e.Directives.Directives(ctx)
	if err != nil {
		return fmt.Errorf("load the directives: %w", err)
	}
	for _, d := range stored {
		e.board.hang(d)
	}
	for _, component := range slices.Sorted(maps.Keys(e.board.components)) {
		if err := e.publish(ctx, component); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) loadFloor(ctx context.Context) error {
	text, err := e.Settings.Setting(ctx, floorKey)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load where directives begin: %w", err)
	}
	if e.board.floor, err = strconv.ParseInt(text, 10, 64); err != nil {
		return fault.New(fault.Internal, "load where directives begin: what is stored cannot be read: %w", err)
	}
	return nil
}

// publish signs and stores a new directive for the component. When it fails the directive is stale, and [Engine.renew] tries again.
func (e *Engine) publish(ctx context.Context, component string) error {
	e.board.publishing.Lock()
	defer e.board.publishing.Unlock()
	now := stamp(e.Clock.Now())
	d := e.board.draft(component, now, now.Add(e.Freshness))
	row, err := e.seal(ctx, d)
	if err == nil {
		err = e.Directives.PutDirective(ctx, row)
	}
	if err != nil {
		e.board.age(component)
		return fmt.Errorf("publish directive %d of %s: %w", d.Sequence, component, err)
	}
	e.board.hang(row)
	if e.Nudge != nil {
		e.Nudge(component)
	}
	return nil
}

// seal adds the recalls to a directive and signs it.
func (e *Engine) seal(ctx context.Context, d api.Directive) (store.Directive, error) {
	recalls, err := e.Releases.Recalls(ctx, d.Component)
	if err != nil {
		return store.Directive{}, err
	}
	for _, r := range recalls {
		recalled := api.Recalled{Version: r.Version, Manifest: string(r.Manifest), Reason: r.Reason}
		for _, a := range r.Artifacts {
			recalled.Artifacts = append(recalled.Artifacts, string(a))
		}
		d.Recalls = append(d.Recalls, recalled)
		e.board.bar(d.Component, r.Manifest)
	}
	envelope, err := e.Signer.Sign(ctx, d)
	return store.Directive{Component: d.Component, Sequence: d.Sequence, Envelope: envelope, Issued: d.Issued}, err
}

// renew publishes the directives that are stale, have lived half of their life, or are from a time that is yet to come: the clock was
// put back.
func (e *Engine) renew(ctx context.Context, now time.Time) error {
	var due []string
	e.board.mu.RLock()
	for component, n := range e.board.components {
		if n.stale || n.directive.Sequence > 0 && now.Sub(n.directive.Issued).Abs() > e.Freshness/2 {
			due = append(due, component)
		}
	}
	e.board.mu.RUnlock()
	slices.Sort(due)
	var failed []error
	for _, component := range due {
		failed = append(failed, e.publish(ctx, component))
	}
	return errors.Join(failed...)
}

// Directive returns the newest directive of a component, a signed envelope, and its sequence; 0 if there is none.
func (e *Engine) Directive(component string) (envelope []byte, sequence int64) {
	e.board.mu.RLock()
	defer e.board.mu.RUnlock()
	n, ok := e.board.components[component]
	if !ok {
		return nil, 0
	}
	return n.directive.Envelope, n.directive.Sequence
}
