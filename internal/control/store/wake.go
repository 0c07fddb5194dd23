package store

import (
	"context"
	"database/sql"
	"slices"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/clock"
)

// What replicas are woken for. A wake-up carries nothing: it says "look again", and may be lost, so everybody looks now and then anyway.
const (
	WakeReports    = "reports"    // endpoints' reports were stored
	WakeLetters    = "letters"    // a replica asks the leader
	WakeAnswers    = "answers"    // the leader answered
	WakeRollouts   = "rollouts"   // events were committed
	WakeDirectives = "directives" // a directive was published
	WakeEndpoints  = "endpoints"  // an endpoint was enrolled or changed
	WakeHearings   = "hearings"   // a replica heard endpoints
)

// Topics is all that replicas can be woken for.
func Topics() []string {
	return []string{WakeReports, WakeLetters, WakeAnswers, WakeRollouts, WakeDirectives, WakeEndpoints, WakeHearings}
}

// Listen calls heard for each wake-up of a topic, until ctx ends. It calls it from this goroutine, one call at a time, so heard must not
// wait for anything. Wake-ups that come close together may be heard as one. Whenever it begins to listen - at first, and each time after
// the database was away - it calls heard once for every topic, because nobody knows what was missed. Lost says why it is away, and may
// be nil.
func (s *Store) Listen(ctx context.Context, c clock.Clock, heard func(topic string), lost func(error), topics ...string) {
	const shortest, longest = 100 * time.Millisecond, 5 * time.Second
	wait := shortest
	for ctx.Err() == nil {
		ready := func() {
			wait = shortest
			for _, topic := range topics {
				heard(topic)
			}
		}
		listen := s.dialect.Listen
		if listen == nil {
			listen = s.bell.listen
		}
		err := listen(ctx, topics, ready, heard)
		if ctx.Err() != nil {
			return
		}
		if lost != nil {
			lost(s.fail(err, "listen for wake-ups"))
		}
		if c.Sleep(ctx, wait) != nil {
			return
		}
		wait = min(2*wait, longest)
	}
}

// announce writes the wake-ups of a transaction into it.
func (s *Store) announce(ctx context.Context, tx *sql.Tx, topics []string) error {
	if s.dialect.Notify == "" {
		return nil
	}
	for _, topic := range topics {
		if _, err := tx.ExecContext(ctx, s.dialect.Notify, topic); err != nil {
			return err
		}
	}
	return nil
}

// announced wakes listeners in this process, for a database that wakes nobody.
func (s *Store) announced(topics []string) {
	if s.dialect.Notify == "" {
		s.bell.ring(topics)
	}
}

// bell wakes listeners in this process. It never waits for them: what comes while one is busy is heard as one.
type bell struct {
	mu        sync.Mutex
	listeners []*listener
}

type listener struct {
	topics []string
	rung   []string // not heard yet, each once
	more   chan struct{}
}

func (b *bell) ring(topics []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.listeners {
		for _, topic := range topics {
			if !slices.Contains(l.topics, topic) || slices.Contains(l.rung, topic) {
				continue
			}
			l.rung = append(l.rung, topic)
			select {
			case l.more <- struct{}{}:
			default:
			}
		}
	}
}

func (b *bell) take(l *listener) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	rung := l.rung
	l.rung = nil
	return rung
}

// listen is a [Dialect]'s Listen.
func (b *bell) listen(ctx context.Context, topics []string, ready func(), heard func(topic string)) error {
	l := &listener{topics: topics, more: make(chan struct{}, 1)}
	b.mu.Lock()
	b.listeners = append(b.listeners, l)
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.listeners = slices.DeleteFunc(b.listeners, func(other *listener) bool { return other == l })
	}()
	ready()
	for {
		select {
		case <-l.more:
			for _, topic := range b.take(l) {
				heard(topic)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
