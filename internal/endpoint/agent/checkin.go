package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net/http"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/install"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Uplink talks to the control plane.
type Uplink interface {
	CheckIn(ctx context.Context, body api.CheckIn) (api.CheckInReply, error)
	Directive(ctx context.Context, component string) ([]byte, error)
	Metadata(ctx context.Context, name string) ([]byte, error)
	Blob(ctx context.Context, digest string, limit int64) ([]byte, error)
	Artifact(digest string) (client *http.Client, url string)
}

// telling is what the control plane knows of this host, by what it acknowledged.
type telling struct {
	started    bool // attributes and boot id
	numbered   bool // and this host knows how far its reports were counted: it may have lost its memory
	components map[string]api.Component
}

// poll checks in until ctx ends: when the control plane said, when there is something to tell or it says that there is something new, and
// with growing pauses when it is away.
func (a *Agent) poll(ctx context.Context) {
	normal, failed := unheard, time.Duration(0)
	for ctx.Err() == nil {
		a.live()
		a.bless(ctx)
		if renewed, err := a.KeepIdentity(ctx, a.now()); err != nil || renewed {
			a.Log.InfoContext(ctx, "certificate renewal", slog.Bool("renewed", renewed), slog.Any("error", err))
		}
		a.live()
		poll, err := a.checkIn(ctx)
		if ctx.Err() != nil {
			return
		}
		a.attend(ctx, err == nil)
		if err != nil {
			a.Log.WarnContext(ctx, "check in", slog.Any("error", err))
			failed = retry(failed, normal, asked(err), a.harmed(), a.Random.Float64())
			a.rest(ctx, failed) // not woken by kicks: they would hammer
			continue
		}
		normal, failed = poll, 0
		a.pause(ctx, next(poll, a.Random.Float64()))
	}
}

// pause sleeps until the time has passed, something is to be told, or ctx ends.
func (a *Agent) pause(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with the pause
		select {
		case <-a.kick:
			cancel()
		case <-ctx.Done():
		}
	}()
	a.rest(ctx, d)
}

// checkIn tells the control plane what changed and does what it answers. It returns when to come back.
func (a *Agent) checkIn(ctx context.Context) (time.Duration, error) {
	a.lookRound()
	body, wishes := a.compose()
	answered, cancel := a.linger(ctx)
	defer cancel()
	reply, err := a.Uplink.CheckIn(answered, body)
	if ctx.Err() == nil {
		a.heard(err)
	}
	if err != nil {
		return 0, err
	}
	a.acknowledged(ctx, body, reply)
	if ctx.Err() != nil {
		a.handBack(answered, reply, wishes)
		return 0, ctx.Err()
	}
	a.follow(ctx, reply.Directives)
	a.leases(ctx, reply, wishes)
	least := leastPoll
	if a.LeastPoll > 0 {
		least = a.LeastPoll
	}
	return bounded(reply.PollMillis, least), nil
}

// linger is a context that ends a little after ctx. A check-in that is on its way when the host shuts down is waited for: its answer may
// hold a lease, and it must not be heard after the goodbye.
func (a *Agent) linger(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.asks { // it says no goodbye, and its time is short
		return context.WithCancel(ctx)
	}
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.jobs.Go(func() { // ends with longer
		select {
		case <-ctx.Done():
			_ = a.Clock.Sleep(longer, goodbyeWithin)
			cancel()
		case <-longer.Done():
		}
	})
	return longer, cancel
}

// handBack gives leases back that came while the host was shutting down.
func (a *Agent) handBack(ctx context.Context, reply api.CheckInReply, wishes []wish) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, envelope := range reply.Leases {
		for _, wish := range wishes {
			if claimed(envelope) == wish.Component {
				a.apply(ctx, a.units[wish.Component], install.Unfit{At: a.now(), Why: "the host is shutting down"})
			}
		}
	}
}

// wish is a wish, and what the host has prepared for it: a lease is judged by the plan that was signed with that.
type wish struct {
	api.Wish
	prepared release.Manifest
}

// compose builds a check-in of whatever the control plane does not know yet.
func (a *Agent) compose() (api.CheckIn, []wish) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var body api.CheckIn
	var wishes []wish
	if !a.told.started && !a.asks {
		body.Attributes, body.Boot = &a.Attributes, a.Boot
	}
	if now := a.components(); a.asks {
		a.told.components = now // it says nothing new: it asks
	} else if !a.told.started || !maps.EqualFunc(now, a.told.components, api.Component.Equal) {
		body.Components = now
	}
	body.Posture = a.stance.news(!a.told.started)
	if a.told.numbered {
		body.Reports = append(body.Reports, a.memory.Reports[:min(len(a.memory.Reports), sendAtOnce)]...)
	}
	for name, u := range a.units {
		if rollout, manifest, ok := a.memory.Components[name].Wish(a.now()); ok {
			wishes = append(wishes, wish{api.Wish{Component: name, Rollout: rollout, Manifest: string(manifest)}, u.prepared})
			body.Wishes = append(body.Wishes, wishes[len(wishes)-1].Wish)
		}
	}
	return body, wishes
}

func (a *Agent) components() map[string]api.Component {
	all := make(map[string]api.Component, len(a.units))
	for name, u := range a.units {
		s := a.memory.Components[name]
		c := api.Component{
			Kind: string(u.file.Kind), Version: s.Current.Version, Artifact: string(s.Current.Artifact), Phase: string(s.Phase), Why: s.Why,
			Previous: s.Previous.Version, Consumer: u.file.Provides[providedVersion],
		}
		if s.Current.Manifest != s.Good.Manifest {
			c.Previous = s.Good.Version
		}
		if c.Phase == "" {
			c.Phase = string(install.Idle)
		}
		for _, manifest := range s.Refuses(a.now()) {
			c.Refuses = append(c.Refuses, string(manifest))
		}
		all[name] = c
	}
	return all
}

func (a *Agent) acknowledged(ctx context.Context, body api.CheckIn, reply api.CheckInReply) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.told.started = !reply.Resync
	if body.Posture != nil {
		a.stance.told = body.Posture
	}
	if body.Components != nil {
		a.told.components = body.Components
	}
	if !a.told.numbered {
		a.memory.renumber(reply.Reported)
		a.told.numbered = true
	}
	a.memory.acknowledge(reply.Ack)
	if err := a.save(); err != nil {
		a.Log.ErrorContext(ctx, "the journal cannot be written", slog.Any("error", err))
	}
}

// follow fetches and applies the directives that are newer than those applied, and applies the others again: what was refused for a
// while may be tried by now.
func (a *Agent) follow(ctx context.Context, sequences map[string]int64) {
	for name, u := range a.units {
		sequence, ok := sequences[name]
		if !ok {
			continue
		}
		a.live()
		if d, known := a.directed[name]; !known || d.Sequence != sequence || !a.bound().Before(d.Expires) {
			if err := a.fetchDirective(ctx, name); err != nil {
				a.Log.WarnContext(ctx, "follow the directive", slog.String("component", name), slog.Any("error", err))
				continue
			}
		}
		a.event(ctx, u, directedBy(a.directed[name], a.subject(u), a.now()))
	}
}

// refreshWithin bounds what a directive, which may be a recall, waits for newer metadata: without it, it is judged by what is at hand.
const refreshWithin = 20 * time.Second

// fetchDirective verifies the newest directive of a component and remembers its sequence and time. Only the poll loop calls it.
func (a *Agent) fetchDirective(ctx context.Context, name string) error {
	limited, cancel := context.WithTimeout(ctx, refreshWithin)
	defer cancel()
	if err := a.anchors.refresh(limited, a.bound(), a.componentNames()); err != nil {
		a.Log.WarnContext(ctx, "refresh the trusted metadata", slog.Any("error", err))
	}
	keys, err := a.anchors.director()
	if err != nil {
		return err
	}
	envelope, err := a.Uplink.Directive(ctx, name)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	d, err := trust.OpenDirective(envelope, keys, trust.DirectiveWanted{
		Component: name, Newest: a.memory.Sequences[name], Now: trust.LowerBound(a.now(), a.memory.Signed),
	})
	if err != nil {
		return err
	}
	a.memory.Sequences[name] = d.Sequence
	a.memory.Signed = trust.Newest(a.memory.Signed, d.Issued, a.now())
	a.directed[name] = d
	return nil
}

// bound is the time that it is at least.
func (a *Agent) bound() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return trust.LowerBound(a.now(), a.memory.Signed)
}

func (a *Agent) componentNames() []string {
	names := make([]string, 0, len(a.units))
	for name := range a.units {
		names = append(names, name)
	}
	return names
}

func directedBy(d api.Directive, host fleet.Subject, now time.Time) install.Directed {
	event := install.Directed{At: now, Stable: target(d.Stable), Candidate: target(d.Candidate), Holds: holds(d, host)}
	for _, r := range d.Recalls {
		recall := install.Recall{Manifest: release.Digest(r.Manifest)}
		for _, digest := range r.Artifacts {
			recall.Artifacts = append(recall.Artifacts, release.Digest(digest))
		}
		event.Recalls = append(event.Recalls, recall)
	}
	return event
}

func target(t *api.Target) *install.Target {
	if t == nil {
		return nil
	}
	return &install.Target{Version: t.Version, Serial: t.Serial, Manifest: release.Digest(t.Manifest), Rollout: t.Rollout, Paused: t.Paused}
}

// leases verifies the leases that came and lets the machines act on them.
func (a *Agent) leases(ctx context.Context, reply api.CheckInReply, wishes []wish) {
	for _, envelope := range reply.Leases {
		if err := a.lease(ctx, envelope, wishes); err != nil {
			a.Log.WarnContext(ctx, "refuse a lease", slog.Any("error", err))
		}
	}
	for _, r := range reply.Refusals {
		a.Log.DebugContext(ctx, "has to wait", slog.String("component", r.Component), slog.String("reason", r.Reason))
	}
}

// lease gives a verified lease to the component that wished for it. One that cannot be used is given back, whatever is wrong with it: so
// nobody waits for its outcome, and the host asks again later and not at once.
func (a *Agent) lease(ctx context.Context, envelope json.RawMessage, wishes []wish) error {
	keys, err := a.anchors.director()
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	refusal := error(fault.New(fault.Denied, "open a lease: nothing was wished for"))
	about := claimed(envelope)
	for _, wish := range wishes {
		if about != wish.Component && len(wishes) > 1 {
			continue
		}
		u, at := a.units[wish.Component], trust.LowerBound(a.now(), a.memory.Signed)
		l, err := trust.OpenLease(envelope, keys, trust.LeaseWanted{
			Endpoint: a.Endpoint, Component: wish.Component, Rollout: wish.Rollout, Manifest: release.Digest(wish.Manifest),
			Plan: wish.prepared.Plan, Created: wish.prepared.Created, Now: at, Wall: a.now(),
		})
		if err == nil {
			err = a.anchors.fresh(at, wish.Component)
		}
		if err == nil {
			err = u.canProve(l)
		}
		if err == nil {
			lease := install.Lease{ // its time runs by this host's clock, from now on
				ID: l.ID, Rollout: l.Rollout, Manifest: release.Digest(l.Manifest), Expires: at.Add(l.Expires.Sub(l.Issued)),
			}
			a.apply(ctx, u, install.Leased{At: at, Lease: lease})
			return nil
		}
		a.apply(ctx, u, install.Unfit{At: a.now(), Why: err.Error()})
		refusal = err
	}
	return refusal
}

// claimed is the component that an envelope says it is for, before anything in it is believed: it only tells which wish it answers.
func claimed(envelope []byte) string {
	var outer struct {
		Payload []byte `json:"payload"`
	}
	var l api.Lease
	if json.Unmarshal(envelope, &outer) != nil || json.Unmarshal(outer.Payload, &l) != nil {
		return ""
	}
	return l.Component
}
