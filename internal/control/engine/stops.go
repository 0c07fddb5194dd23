package engine

import (
	"maps"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Stops are the halts and roll-backs that operators want and that are not stored yet. From the moment one is noted nobody gets a lease of its
// rollout, whatever the database does. They outlive the engine: one that leads anew in the same process keeps what was promised under the one
// before. It is safe for concurrent use, and waits for nothing.
type Stops struct {
	mu     sync.Mutex
	wanted map[rollout.ID]rollout.OperatorActed
	starts map[*starting]bool // that are under way
}

// starting is a start under way: of a rollout that no list shows yet. Its fields are under the lock of the Stops.
type starting struct {
	component, version string
	id                 rollout.ID             // empty: it is only being prepared
	halted             *rollout.OperatorActed // everything was halted meanwhile
	until              time.Time              // after that it will not come to light any more; zero: it is under way
}

// NewStops returns none.
func NewStops() *Stops {
	return &Stops{wanted: map[rollout.ID]rollout.OperatorActed{}, starts: map[*starting]bool{}}
}

// Pending lists the stops that are not stored, by rollout.
func (s *Stops) Pending() map[rollout.ID]rollout.OperatorActed {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.wanted)
}

// Done forgets a stop that is stored, or for which there is nothing to stop. A roll-back that was wanted meanwhile is more than a halt, and
// stays.
func (s *Stops) Done(id rollout.ID, stored rollout.Action) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stored == rollout.RollBack || s.wanted[id].Action == rollout.Halt {
		delete(s.wanted, id)
	}
}

// want notes a stop. A halt does not replace a roll-back.
func (s *Stops) want(id rollout.ID, c rollout.OperatorActed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note(id, c)
}

func (s *Stops) note(id rollout.ID, c rollout.OperatorActed) {
	if old, wanted := s.wanted[id]; !wanted || old.Action == rollout.Halt {
		s.wanted[id] = c
	}
}

// pending is the stop of a rollout that is wanted and not stored.
func (s *Stops) pending(id rollout.ID) (rollout.OperatorActed, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, wanted := s.wanted[id]
	return c, wanted
}

// begin notes that a start is under way, until it is ended or lingers.
func (s *Stops) begin(component, version string) *starting {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := &starting{component: component, version: version}
	s.starts[one] = true
	return one
}

// name says which rollout a start is about to store. It is refused if everything was halted since it began.
func (s *Stops) name(one *starting, id rollout.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.halted != nil {
		return fault.New(fault.Conflict, "%s halted everything while it was prepared", one.halted.Actor).Hint("start it again if it is still wanted")
	}
	one.id = id
	return nil
}

// end forgets a start: it failed, or its rollout is known.
func (s *Stops) end(one *starting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.starts, one)
}

// linger keeps a start in mind that failed, but may be stored all the same and come to light by then.
func (s *Stops) linger(one *starting, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.until = until
}

// everything notes a halt of all starts under way, and returns those that may be stored.
func (s *Stops) everything(c rollout.OperatorActed, now time.Time) []starting {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.starts, func(one *starting, _ bool) bool { return !one.until.IsZero() && now.After(one.until) })
	var named []starting
	for one := range s.starts {
		if one.id == "" {
			one.halted = &c
			continue
		}
		s.note(one.id, c)
		named = append(named, *one)
	}
	return named
}
