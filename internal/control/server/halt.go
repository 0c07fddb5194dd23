package server

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// A halt of many is answered within a second, whatever the database does. That is made of these parts, and of what is left for the way.
const (
	haltPath = "/api/v1/halt"
	haltWho  = 200 * time.Millisecond // to ask whose token it is, if that was known a while ago
	haltTime = 550 * time.Millisecond // to store it
	haltPast = 100 * time.Millisecond // to find out who had ended a rollout before
)

// halt halts rollouts, and says what was stopped and what is still in flight. It waits for no lock of this server's, and it is safe to send
// again.
func (s *server) halt(w http.ResponseWriter, r *http.Request) error {
	var want haltRollouts
	if err := decodeOptional(w, r, &want); err != nil {
		return err
	}
	deedOf(r.Context()).to("%s", cmp.Or(strings.Join(want.Rollouts, " "), "all rollouts"))
	halted, err := s.haltAll(r.Context(), want.HaltRollouts)
	if err != nil {
		return err
	}
	s.tellWho(r.Context(), halted.Rollouts)
	deedOf(r.Context()).came("%s", summary(halted))
	return writeOK(w, halted)
}

// haltAll asks the engine. If the one that leads cannot be reached, it says so of each rollout that is named.
func (s *server) haltAll(ctx context.Context, want api.HaltRollouts) (api.Halted, error) {
	ctx, enough := context.WithTimeout(ctx, haltTime)
	defer enough()
	halted, err := s.Engine.Halt(ctx, want, callerOf(ctx).actor)
	if err == nil || fault.KindOf(err) != fault.Unavailable {
		return halted, err
	}
	const next = "ask again, here or at another replica; while no replica leads nobody gets a lease"
	if len(want.Rollouts) == 0 {
		return halted, fault.New(fault.Unavailable, "halt: it is not known whether anything was halted: %w", err).Hint(next)
	}
	halted = api.Halted{At: s.Clock.Now().UTC()}
	for _, id := range want.Rollouts {
		text := fmt.Sprintf("it is not known whether it was halted: %v; %s", err, next)
		halted.Rollouts = append(halted.Rollouts, api.HaltedRollout{ID: id, State: api.HaltFailed, Text: text})
	}
	return halted, nil
}

// summary counts what became of rollouts.
func summary(h api.Halted) string {
	counts := map[string]int{}
	for _, one := range h.Rollouts {
		counts[one.State]++
	}
	var parts []string
	for _, state := range []string{api.HaltDone, api.HaltHolding, api.HaltEnded, api.HaltFailed} {
		if n := counts[state]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return cmp.Or(strings.Join(parts, ", "), "nothing was running")
}

// tellWho says of rollouts that had ended before who or what ended them, as far as the database tells that soon.
func (s *server) tellWho(ctx context.Context, all []api.HaltedRollout) {
	ctx, enough := context.WithTimeout(ctx, haltPast)
	defer enough()
	for i := range all {
		if all[i].State != api.HaltEnded {
			continue
		}
		events, err := s.Records.NotableEvents(ctx, rollout.ID(all[i].ID), store.Matters, 0, mostLooked)
		if err != nil {
			return
		}
		if text := ending(events); text != "" {
			all[i].Text = "there was nothing to stop since " + text
		}
	}
}

// mostLooked is how many of a rollout's newest events are looked at for its end: hardly anything matters after that.
const mostLooked = 20

// ending finds what ended a rollout among its events, the newest of which is the first; empty if none of them did.
func ending(events []store.Event) string {
	for _, e := range events {
		d, err := decisionWire(e)
		if err != nil {
			return ""
		}
		for _, record := range d.Records {
			switch rollout.Verdict(record.Verdict) { //nolint:exhaustive // the others end nothing
			case rollout.DidHalt, rollout.DidRollBack, rollout.DidTrip:
				return fmt.Sprintf("%s: %s", moment(d.At), record.Reason)
			}
		}
	}
	return ""
}

// moment writes a time for people whose zone is not known.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }

// haltRollouts is api.HaltRollouts with its rules.
type haltRollouts struct{ api.HaltRollouts }

const maxID = 100 // bytes of an id that anybody asks for

// Check implements resource.Checker.
func (h haltRollouts) Check() []fault.Problem {
	problems := checkReason(h.Reason)
	for i, id := range h.Rollouts {
		if id == "" || len(id) > maxID {
			problems = append(problems, fault.Problem{
				Path: fmt.Sprintf("rollouts[%d]", i), Message: fmt.Sprintf("must have 1 to %d bytes, has %d", maxID, len(id)),
			})
		}
	}
	return problems
}
