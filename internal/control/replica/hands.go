package replica

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// hands are the commands that a leader is at.
type hands struct {
	mu   sync.Mutex
	full map[int64]bool // ids of letters
}

// take tells whether the letter was not in hand, and takes it if there is room.
func (h *hands) take(id int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.full[id] || len(h.full) >= lettersAtOnce {
		return false
	}
	h.full[id] = true
	return true
}

func (h *hands) drop(id int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.full, id)
}

// command carries out what operators say, until ctx ends: one after the other, but for what stops rollouts. That waits for no other command, and
// is each for itself.
func (c clerk) command(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	in := hands{full: map[int64]bool{}}
	queue := make(chan store.Letter, lettersAtOnce) // as many as are in hand at most
	do := func(l store.Letter) {
		defer in.drop(l.ID)
		if err := c.carryOut(ctx, l); err != nil && ctx.Err() == nil {
			c.Log.WarnContext(ctx, "carry out a command; will try again", slog.Any("error", err))
		}
	}
	group.Go(func() error {
		for {
			select {
			case l := <-queue:
				do(l)
			case <-ctx.Done():
				return nil
			}
		}
	})
	group.Go(func() error {
		return c.work(ctx, commands, freshCommand, c.bells.commands, func(_ context.Context, letters []store.Letter) (more bool, err error) {
			for _, l := range letters {
				switch {
				case !in.take(l.ID):
				case urgent(l.Body):
					group.Go(func() error {
						do(l)
						return nil
					})
				default:
					queue <- l // there is room
				}
			}
			return false, nil
		})
	})
	return group.Wait()
}

// urgent tells whether a letter stops rollouts.
func urgent(body []byte) bool {
	l := opened(body)
	return l.Kind == kindHalt || l.Kind == kindAct && (l.Command.Action == rollout.Halt || l.Command.Action == rollout.RollBack)
}

// opened is a letter; none if it cannot be read.
func opened(body []byte) (l letter) {
	if json.Unmarshal(body, &l) != nil {
		return letter{}
	}
	return l
}

// carryOut carries out a command, and none twice: a leader that does not come to answer one leaves it unanswered. Halts of many may be carried
// out again, and wait for nothing.
func (c clerk) carryOut(ctx context.Context, l store.Letter) error {
	if opened(l.Body).Kind != kindHalt {
		mine, err := c.own.Claim(ctx, l.ID, freshCommand)
		if err != nil || !mine {
			return err
		}
	}
	return c.answer(ctx, store.Answered{ID: l.ID, Body: c.reply(ctx, l.Body)})
}
