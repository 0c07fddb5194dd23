package rollout

import (
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
)

// Dated puts what the calendars say into an event that wants to know it. The host of Step calls it before it stores the event. Zones are
// loaded from the machine, whose database may differ from another's and from last year's, so Step never asks the calendars itself: a
// replay finds the answers in the events. They are kept in the state until they may change, so few events carry one.
func Dated(s State, e Event) Event {
	switch e := e.(type) {
	case Started:
		if !empty(e.Plan.Calendar) || !empty(e.Freezes) {
			e.Shut = calendars(e.Plan.Calendar, e.Freezes, e.At)
		}
		return e
	case FreezesSet:
		e.Shut = calendars(s.Plan.Calendar, e.Freezes, e.At)
		return e
	case LeaseAsked:
		if s.stale(e.At) {
			e.Shut = calendars(s.Plan.Calendar, s.Freezes, e.At)
			return e
		}
	case Woke:
		if s.stale(e.At) {
			e.Shut = calendars(s.Plan.Calendar, s.Freezes, e.At)
			return e
		}
	case OutcomeKnown, Compared, CellsHeard, HostRecovered, HostBooted, OperatorActed:
	}
	return e
}

func empty(c calendar.Calendar) bool { return len(c.Windows)+len(c.Freezes) == 0 }

// stale tells whether the calendars' kept answer is for another time.
func (s *State) stale(at time.Time) bool {
	return at.Before(s.Last) || !s.Shut.Until.IsZero() && !at.Before(s.Shut.Until)
}

// calendars is what the plan's calendar and the installation's freezes say at a time.
func calendars(own, all calendar.Calendar, at time.Time) *calendar.Shut {
	shut, frozen := own.At(at), all.At(at)
	until := shut.Until
	if until.IsZero() || !frozen.Until.IsZero() && frozen.Until.Before(until) {
		until = frozen.Until
	}
	if frozen.Closed {
		shut = frozen
	}
	shut.Until = until
	return &shut
}

// look keeps what the calendars said, if the event says it.
func (t *turn) look(shut *calendar.Shut) {
	if shut != nil {
		t.Shut = *shut
	}
}

// closed is why no lease may be granted at a time, empty if one may. While nobody has asked the calendars for that time, none is.
func (s *State) closed(e LeaseAsked) string {
	switch {
	case e.Shut == nil && s.Shut.Closed:
		return s.Shut.Reason
	case e.Shut == nil && !s.Shut.Until.IsZero() && !e.At.Before(s.Shut.Until):
		return "the calendars were not asked for this time yet"
	case e.Shut != nil && e.Shut.Closed:
		return e.Shut.Reason
	}
	return ""
}
