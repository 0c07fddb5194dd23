package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// board holds what the directives are made of: for each component its rollouts, as far as a directive can name them, and the newest
// directive. A directive is derived: whatever is lost of it is made again from the stored states.
type board struct {
	mu         sync.Mutex
	components map[string]*notice
}

type notice struct {
	rollouts  map[rollout.ID]listed
	directive store.Directive
	stale     bool // a directive could not be published
}

// listed is a rollout as a directive sees it.
type listed struct {
	target api.Target
	phase  rollout.Phase
	began  time.Time
	ended  time.Time
}

func newBoard() *board { return &board{components: map[string]*notice{}} }

// of returns the notice of a component; the caller holds the lock.
func (b *board) of(component string) *notice {
	n, ok := b.components[component]
	if !ok {
		n = &notice{rollouts: map[rollout.ID]listed{}}
		b.components[component] = n
	}
	return n
}

func (b *board) set(r *entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := r.state
	b.of(s.Release.Component).rollouts[s.ID] = listed{
		phase: s.Phase, began: s.Started, ended: s.Ended,
		target: api.Target{
			Version: s.Release.Version, Serial: s.Release.Serial, Manifest: string(s.Release.Manifest), Rollout: string(s.ID),
			Paused: s.Phase == rollout.Paused,
		},
	}
}

// stable is the newest release that went through its whole plan and was not called back; candidate is the one on its way.
func (n *notice) stable() *api.Target {
	return n.newest(func(l listed) (time.Time, bool) { return l.ended, l.phase == rollout.Complete })
}

func (n *notice) candidate() *api.Target {
	return n.newest(func(l listed) (time.Time, bool) {
		return l.began, l.phase == rollout.Running || l.phase == rollout.Paused
	})
}

func (n *notice) newest(pick func(listed) (time.Time, bool)) *api.Target {
	var best *api.Target
	var when time.Time
	for _, l := range n.rollouts {
		if at, ok := pick(l); ok && (best == nil || at.After(when)) {
			best, when = &l.target, at
		}
	}
	return best
}

// current tells whether the component's directive names the rollout, so that leases of it mean something.
func (b *board) current(s rollout.State) bool {
	return slices.Contains(b.rollouts(s.Release.Component), s.ID)
}

// rollouts lists the rollouts that the component's directive names.
func (b *board) rollouts(component string) []rollout.ID {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ids []rollout.ID
	n := b.of(component)
	for _, t := range []*api.Target{n.stable(), n.candidate()} {
		if t != nil {
			ids = append(ids, rollout.ID(t.Rollout))
		}
	}
	return ids
}

// loadBoard derives the directives from the loaded rollouts and publishes those that changed or aged.
func (e *Engine) loadBoard(ctx context.Context) error {
	stored, err := e.Directives.Directives(ctx)
	if err != nil {
		return fmt.Errorf("load the directives: %w", err)
	}
	e.board.mu.Lock()
	for _, d := range stored {
		e.board.of(d.Component).directive = d
	}
	e.board.mu.Unlock()
	components := map[string]bool{}
	for _, r := range e.rollouts {
		e.board.set(r)
		components[r.state.Release.Component] = true
	}
	for component := range components {
		if err := e.publish(ctx, component); err != nil {
			return err
		}
	}
	return nil
}

// publish signs and stores a new directive for the component.
func (e *Engine) publish(ctx context.Context, component string) error {
	e.board.mu.Lock()
	defer e.board.mu.Unlock()
	n := e.board.of(component)
	n.stale = true
	recalls, err := e.Releases.Recalls(ctx, component)
	if err != nil {
		return fmt.Errorf("read the recalls of %s: %w", component, err)
	}
	now := stamp(e.Clock.Now())
	d := api.Directive{
		Component: component, Sequence: n.directive.Sequence + 1, Issued: now, Expires: now.Add(e.Freshness),
		Stable: n.stable(), Candidate: n.candidate(),
	}
	for _, r := range recalls {
		recalled := api.Recalled{Version: r.Version, Manifest: string(r.Manifest), Reason: r.Reason}
		for _, a := range r.Artifacts {
			recalled.Artifacts = append(recalled.Artifacts, string(a))
		}
		d.Recalls = append(d.Recalls, recalled)
	}
	envelope, err := e.Signer.Sign(ctx, d)
	if err != nil {
		return fmt.Errorf("sign the directive of %s: %w", component, err)
	}
	row := store.Directive{Component: component, Sequence: d.Sequence, Envelope: envelope, Issued: now}
	if err := e.Directives.PutDirective(ctx, row); err != nil {
		return fmt.Errorf("store the directive of %s: %w", component, err)
	}
	n.directive, n.stale = row, false
	return nil
}

// renew publishes the directives that are stale or have lived half of their life.
func (e *Engine) renew(ctx context.Context, now time.Time) error {
	var due []string
	e.board.mu.Lock()
	for component, n := range e.board.components {
		if n.stale || n.directive.Sequence > 0 && now.Sub(n.directive.Issued) > e.Freshness/2 {
			due = append(due, component)
		}
	}
	e.board.mu.Unlock()
	for _, component := range due {
		if err := e.publish(ctx, component); err != nil {
			return err
		}
	}
	return nil
}

// Directive returns the newest directive of a component, a signed envelope, and its sequence; 0 if there is none.
func (e *Engine) Directive(component string) (envelope []byte, sequence int64) {
	e.board.mu.Lock()
	defer e.board.mu.Unlock()
	n, ok := e.board.components[component]
	if !ok {
		return nil, 0
	}
	return n.directive.Envelope, n.directive.Sequence
}
