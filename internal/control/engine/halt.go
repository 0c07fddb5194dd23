package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Halting many rollouts at once, for somebody who cannot wait. Nothing here waits for a rollout's lock: that may be held by a decision whose
// commit the database does not answer. Every rollout holds in memory first, and only then is any of them stored, each by a goroutine of its
// own. There is never more than one for a rollout, however often it is asked for; nobody waits for them, and they end when the database
// answers, or is closed.

// storedAtOnce bounds how many halts are stored at a time; the others hold in memory until it is their turn.
const storedAtOnce = 64

// attempt is one try at storing a stop. Err may be read once done is closed.
type attempt struct {
	done chan struct{}
	err  error
}

// storing is the try at storing a stop of a rollout by itself.
type storing struct {
	mu      sync.Mutex
	attempt *attempt // nil: none is under way
}

// begin returns the try that is under way, or begins one.
func (s *storing) begin(do func() error) *attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.attempt != nil {
		return s.attempt
	}
	a := &attempt{done: make(chan struct{})}
	s.attempt = a
	go func() {
		a.err = do()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.attempt = nil
		close(a.done)
	}()
	return a
}

// halting is a rollout on its way to be halted.
type halting struct {
	*Engine
	id  string
	r   *entry         // nil: there is none
	was *rollout.State // before
	try *attempt       // nil: there is nothing to stop
}

// Halt halts the rollouts that are named, or all that are proposed, running or paused. From the moment it is called on nobody gets a lease of
// them. It returns what is known when ctx ends, or earlier if everything is stored; what is not is stored by itself once the database lets
// it. Halting again changes nothing, and tells what became of them.
func (e *Engine) Halt(ctx context.Context, want api.HaltRollouts, actor string) (api.Halted, error) {
	c := rollout.OperatorActed{Action: rollout.Halt, Actor: actor, Reason: want.Reason}
	answer := api.Halted{At: stamp(e.Clock.Now()), Rollouts: []api.HaltedRollout{}}
	var starts []starting
	if len(want.Rollouts) == 0 {
		starts = e.Stops.everything(c, e.Clock.Now()) // before the list is read, in which they are once they are stored
	}
	all := e.toHalt(want.Rollouts)
	for _, h := range all {
		if h.stoppable() {
			e.Stops.want(h.r.id, c) // all of them, before anything that may wait
		}
	}
	answer.Rollouts = append(answer.Rollouts, unlisted(starts, all)...)
	for i := range all {
		if h := &all[i]; h.stoppable() {
			h.try = h.r.storing.begin(func() error { return e.storeHalt(context.WithoutCancel(ctx), h.r, c) })
		}
	}
	for _, h := range all {
		one := h.became(ctx, answer.At)
		answer.Rollouts = append(answer.Rollouts, one)
		answer.InFlight += one.InFlight
	}
	return answer, nil
}

// toHalt finds the rollouts that are named, or all that are to be halted, newest first.
func (e *Engine) toHalt(ids []string) []halting {
	var all []halting
	if len(ids) == 0 {
		for _, r := range slices.Backward(e.list()) {
			if was := r.glance(); exposes(was.Phase) {
				all = append(all, halting{Engine: e, id: string(r.id), r: r, was: was})
			}
		}
		return all
	}
	named := map[string]bool{}
	for _, id := range ids {
		if named[id] {
			continue
		}
		named[id] = true
		h := halting{Engine: e, id: id}
		if r, err := e.entry(rollout.ID(id)); err == nil {
			h.r, h.was = r, r.glance()
		}
		all = append(all, h)
	}
	return all
}

// exposes tells whether a halt of everything halts rollouts in that phase. What is complete is stable: hosts that come late need it.
func exposes(p rollout.Phase) bool {
	return p == rollout.Proposed || p == rollout.Running || p == rollout.Paused
}

func (h halting) stoppable() bool { return h.r != nil && !h.was.Phase.Final() }

// storeHalt waits for its turn and stores a halt.
func (e *Engine) storeHalt(ctx context.Context, r *entry, c rollout.OperatorActed) error {
	e.halts <- struct{}{}
	defer func() { <-e.halts }()
	_, err := e.stop(ctx, r, string(r.id), c)
	return err
}

// became waits until the halt is stored or ctx ends, and tells what is known then.
func (h halting) became(ctx context.Context, asked time.Time) api.HaltedRollout {
	if h.r == nil {
		return api.HaltedRollout{ID: h.id, State: api.HaltFailed, Text: fmt.Sprintf("there is no rollout %.100q: look at the list of rollouts", h.id)}
	}
	state := h.outcome(ctx, asked)
	now := h.r.glance()
	one := api.HaltedRollout{
		ID: h.id, Component: h.r.component, Version: now.Release.Version, Was: string(h.was.Phase), Phase: string(now.Phase), State: state,
		InFlight: now.Unconfirmed, Exposed: now.Exposed(),
	}
	switch state {
	case api.HaltDone:
		one.Text = haltedText(h.was.Phase, one)
	case api.HaltHolding:
		one.Text = holdingText
	case api.HaltEnded:
		one.Text = endedText(now)
	default:
		one.Text = "it was not halted: this replica leads no longer; ask again"
	}
	return one
}

// outcome is one of the states of api.HaltedRollout.
func (h halting) outcome(ctx context.Context, asked time.Time) string {
	if h.try == nil {
		return api.HaltEnded
	}
	select {
	case <-h.try.done:
	case <-ctx.Done():
	}
	now := h.r.glance()
	var err error
	select {
	case <-h.try.done:
		err = h.try.err
	default:
		err = ctx.Err()
	}
	_, wanted := h.Stops.pending(h.r.id)
	switch {
	case now.Phase == rollout.Halted && (err == nil || !now.Ended.Before(asked)):
		return api.HaltDone
	case now.Phase.Final():
		return api.HaltEnded
	case wanted || fault.KindOf(err) == fault.Unavailable:
		return api.HaltHolding
	}
	return api.HaltFailed
}

// holdingText says what holds if a halt is not stored. Leases that the database is keeping at this moment are not handed out.
const holdingText = "no host gets it here from this moment on; that is not stored yet, and will be by itself once the database answers, here or by the replica that leads " +
	"then, unless this server stops before; hosts whose leases are being stored at this moment are not counted, and do not get them"

// unlisted tells of rollouts that were just being started, and are in no list yet.
func unlisted(starts []starting, listed []halting) []api.HaltedRollout {
	var all []api.HaltedRollout
	for _, one := range starts {
		if !slices.ContainsFunc(listed, func(h halting) bool { return h.id == string(one.id) }) {
			all = append(all, api.HaltedRollout{
				ID: string(one.id), Component: one.component, Version: one.version, State: api.HaltHolding,
				Text: "it is only being started: no host gets it, and it is halted as soon as it is stored, if it is",
			})
		}
	}
	slices.SortFunc(all, func(a, b api.HaltedRollout) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// haltedText says what a halt that is stored means.
func haltedText(was rollout.Phase, one api.HaltedRollout) string {
	switch {
	case was == rollout.Complete:
		return fmt.Sprintf("halted: it had completed, and hosts that come late do not get it any more; %s", keeps(one))
	case one.Exposed == 0:
		return "halted before any host got it"
	default:
		return "halted: no other host gets it; " + keeps(one)
	}
}

// keeps tells who has the release.
func keeps(one api.HaltedRollout) string {
	text := fmt.Sprintf("the %d hosts that have it keep it until it is rolled back", one.Exposed)
	if one.Exposed == 1 {
		text = "the one host that has it keeps it until it is rolled back"
	}
	if one.InFlight > 0 {
		text += fmt.Sprintf(", and %d of them have yet to say how they are", one.InFlight)
	}
	return text
}

// endedText says why there was nothing to stop.
func endedText(s *rollout.State) string {
	how := "it was halted"
	switch s.Phase {
	case rollout.Tripped:
		how = "the breaker stopped it"
	case rollout.RolledBack:
		how = "it was rolled back"
	case rollout.None, rollout.Proposed, rollout.Running, rollout.Paused, rollout.Complete, rollout.Halted:
	}
	text := fmt.Sprintf("there was nothing to stop since %s: %s", s.Ended.UTC().Format("2006-01-02 15:04:05 MST"), how)
	if s.Reason != "" {
		text += " (" + s.Reason + ")"
	}
	return text
}
