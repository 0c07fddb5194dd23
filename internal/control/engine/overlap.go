package engine

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/blame"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// A host that confirmed a release and is harmed afterwards may have got something else meanwhile. Then the rollouts that met on it share
// the blame, by vote and veto. If another one carries more than half, the harm moves there: it counts in that rollout as if the host had
// reported it there, and in its own as set aside, with the reason in both. Harm is never dropped: when the other rollout cannot take it,
// because nobody watches it any more, it stays where it was reported. Whether the other release is bad is for its own breaker to say.

// overlapFor is how long after an activation a host's harm may be its work.
const overlapFor = 72 * time.Hour

// sharing is what the overlap of rollouts on a harmed host came to.
type sharing struct {
	overlap string // which rollouts met there, for the detail; empty: only its own
	blamed  string // why another one took the harm; empty: none did
}

// suspect is a rollout that met with others on a harmed host.
type suspect struct {
	*entry
	release string // its component and version
	blame.Suspect
}

// shareBlame finds out who is to blame for reported harm, and hands it to another rollout if that is more to blame. No rollout's lock may
// be held: it takes them one after the other. Told again after a crash in between, it comes to the same end.
func (e *Engine) shareBlame(ctx context.Context, r *entry, id fleet.EndpointID, report api.Report) (sharing, error) {
	outcome := rollout.Outcome(report.Outcome)
	if outcome != rollout.Crashed && outcome != rollout.Reverted || !e.confirmed(r, id, report) {
		return sharing{}, nil
	}
	now := stamp(e.Clock.Now())
	met := e.metOn(r, id, now)
	if len(met) < 2 {
		return sharing{}, nil
	}
	harmed := e.harmedLately(r.component, now)
	harmed[id] = now
	var suspects []blame.Suspect
	for i := range met {
		met[i].question(harmed)
		suspects = append(suspects, met[i].Suspect)
	}
	s := sharing{overlap: overlap(r, met)}
	main, ok := blame.Main(blame.Share(suspects))
	if !ok || main.Rollout == string(r.id) {
		return s, nil
	}
	other := met[slices.IndexFunc(met, func(m suspect) bool { return m.Rollout == main.Rollout })]
	detail := fmt.Sprintf("put down to this rollout: harm that rollout %s of %s was told of; %s", r.id, r.component, main.Reason)
	taken, err := e.charge(ctx, other.entry, id, outcome, clip(detail), (*rollout.Crash)(report.Crash))
	if taken {
		s.blamed = fmt.Sprintf("rollout %s of %s is more to blame. %s", other.id, other.release, main.Reason)
		e.Log.InfoContext(ctx, "harm was put down to another rollout", slog.String("endpoint", string(id)), slog.String("told_of", string(r.id)),
			slog.String("rollout", string(other.id)), slog.String("reason", main.Reason))
	}
	return s, err
}

// confirmed tells whether the report speaks of a release that this host had confirmed.
func (e *Engine) confirmed(r *entry, id fleet.EndpointID, report api.Report) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leases[id].Outcome == rollout.Confirmed && report.Manifest == string(r.state.Release.Manifest)
}

// metOn lists the rollouts that met on a host: the one that was told of the harm, first, and those of other components that it got a lease
// of lately.
func (e *Engine) metOn(told *entry, id fleet.EndpointID, now time.Time) []suspect {
	var met []suspect
	for _, r := range e.list() {
		r.mu.Lock()
		l, ok := r.leases[id]
		s := suspect{entry: r, release: r.component + " " + r.state.Release.Version}
		r.mu.Unlock()
		if !ok || !counts(l) || r != told && (r.component == told.component || now.Sub(l.Issued) > overlapFor) {
			continue
		}
		s.Suspect = blame.Suspect{Rollout: string(r.id), Age: now.Sub(l.Issued)}
		if r == told {
			met = slices.Insert(met, 0, s)
		} else {
			met = append(met, s)
		}
	}
	return met
}

// harmedLately is which hosts reported harm in a component, and when.
func (e *Engine) harmedLately(component string, now time.Time) map[fleet.EndpointID]time.Time {
	harmed := map[fleet.EndpointID]time.Time{}
	for _, r := range e.list() {
		if r.component != component {
			continue
		}
		r.mu.Lock()
		for id, at := range r.harmed {
			if now.Sub(at) <= overlapFor && at.After(harmed[id]) {
				harmed[id] = at
			}
		}
		r.mu.Unlock()
	}
	return harmed
}

// question counts the votes and vetoes of harmed hosts about a rollout.
func (s *suspect) question(harmed map[fleet.EndpointID]time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	windows := blame.Windows()
	s.Exposed, s.Harmed = s.state.Exposed(), int64(len(s.harmed))
	for id, at := range harmed {
		l, ok := s.leases[id]
		age := at.Sub(l.Issued)
		if !ok || !counts(l) || age < 0 {
			s.Before++
			continue
		}
		if _, own := s.harmed[id]; !own {
			s.Suspect.Harmed++
		}
		for i, w := range windows {
			if age <= w {
				s.After[i]++
			}
		}
	}
}

// overlap tells people which other rollouts met on the host.
func overlap(told *entry, met []suspect) string {
	var others []string
	for _, m := range met {
		if m.entry != told {
			others = append(others, fmt.Sprintf("%s by rollout %s, %s before", m.release, m.id, m.Age.Round(time.Second)))
		}
	}
	return "; the host also got " + strings.Join(others, " and ")
}

// charge counts harm against another rollout than the one that was told of it. It tells whether it counts there now.
func (e *Engine) charge(ctx context.Context, r *entry, id fleet.EndpointID, outcome rollout.Outcome, detail string, crash *rollout.Crash) (bool, error) {
	if err := e.hold(ctx, r); err != nil {
		return false, err
	}
	defer r.mu.Unlock()
	l := r.leases[id]
	if l.Outcome == rollout.Crashed || l.Outcome == rollout.Reverted {
		return true, nil
	}
	if _, follows := rollout.Follow(l.Outcome, outcome); !follows || !r.state.Armed(stamp(e.Clock.Now())) {
		return false, nil
	}
	event := e.outcome(r, l, outcome, detail)
	event.Crash = crash
	_, err := e.step(ctx, r, event)
	return err == nil, err
}
