package replica

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/control/store"
	"github.com/firebreak-dev/firebreak/internal/domain/calendar"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/fleet"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// Kinds of letters.
const (
	kindLease   = "lease"
	kindStart   = "start"
	kindAct     = "act"
	kindNext    = "next"
	kindHalt    = "halt"
	kindFreezes = "freezes"
	kindSubmit  = "submit"
	kindDiscard = "discard"
)

// Kinds of letters as the store knows them: what a host asks again by itself, and what an operator says.
const (
	wishes   = "lease"
	commands = "command"
)

// letter is a question to the leader. Only the fields of its kind are there.
type letter struct {
	Kind     string                `json:"kind"`
	Actor    string                `json:"actor,omitempty"`
	Endpoint fleet.EndpointID      `json:"endpoint,omitempty"`
	Wish     api.Wish              `json:"wish,omitzero"`
	Start    api.StartRollout      `json:"start,omitzero"`
	Rollout  string                `json:"rollout,omitempty"`
	Command  rollout.OperatorActed `json:"command,omitzero"`
	Halt     api.HaltRollouts      `json:"halt,omitzero"`
	Freezes  calendar.Calendar     `json:"freezes,omitzero"`
	Role     string                `json:"role,omitempty"`
	Metadata []byte                `json:"metadata,omitempty"`
}

// pile is where the leader looks for the letter.
func (l letter) pile() string {
	if l.Kind == kindLease || l.Kind == kindNext {
		return wishes
	}
	return commands
}

// what says for people what the letter asks.
func (l letter) what() string {
	switch l.Kind {
	case kindLease:
		return fmt.Sprintf("ask for a lease of %s for %s", l.Wish.Component, l.Endpoint)
	case kindStart:
		return fmt.Sprintf("start a rollout of %s %s", l.Start.Component, l.Start.Version)
	case kindAct:
		return fmt.Sprintf("%s rollout %s", l.Command.Action, l.Rollout)
	case kindHalt:
		return "halt"
	case kindNext:
		return fmt.Sprintf("ask what %s gets next", l.Endpoint)
	case kindSubmit, kindDiscard:
		return fmt.Sprintf("%s metadata of %s", l.Kind, l.Role)
	default:
		return "set the freezes"
	}
}

// reply is the leader's answer.
type reply struct {
	Envelope []byte         `json:"envelope,omitempty"`
	Refusal  string         `json:"refusal,omitempty"`
	Rollout  api.Rollout    `json:"rollout,omitzero"`
	Halted   api.Halted     `json:"halted,omitzero"`
	Next     []api.Next     `json:"next,omitempty"`
	Accepted api.Submission `json:"accepted,omitzero"`
	Failed   *failure       `json:"failed,omitempty"`
}

// failure is an error on its way between replicas.
type failure struct {
	Kind     fault.Kind      `json:"kind"`
	Message  string          `json:"message"`
	Next     string          `json:"next,omitempty"`
	Problems []fault.Problem `json:"problems,omitempty"`
}

func failed(err error) *failure {
	if err == nil {
		return nil
	}
	return &failure{Kind: fault.KindOf(err), Message: err.Error(), Next: fault.NextOf(err), Problems: fault.ProblemsOf(err)}
}

func (f *failure) error() error {
	if f == nil {
		return nil
	}
	err := fault.New(f.Kind, "%s", f.Message).Hint("%s", f.Next)
	err.Problems = f.Problems
	return err
}

// Serving letters. One is fresh while its author waits for the answer and there is time to give it: nothing is done that somebody was told
// has failed.
const (
	lettersAtOnce = 256
	lettersKept   = time.Minute           // nobody waits for an answer for so long
	look          = 50 * time.Millisecond // how often letters and answers are looked for where no wake-up comes
	lookWithin    = leaseWithin / 2       // and for how long
	freshWish     = leaseWithin * 3 / 4
	freshCommand  = commandWithin * 3 / 4
)

// clerk answers letters in a term of its leader's.
type clerk struct {
	*Replica
	leader Leader
	own    *store.Store // all that is written here names the term
}

// serve answers letters until ctx ends. Commands of operators are by themselves: a halt waits for no lease.
func (r *Replica) serve(ctx context.Context, l Leader, term int64) error {
	c := clerk{Replica: r, leader: l, own: r.Store.Fenced(term)}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return c.command(ctx) })
	group.Go(func() error { return c.work(ctx, wishes, freshWish, r.bells.wishes, c.decide) })
	group.Go(func() error { return c.sweep(ctx) })
	return group.Wait()
}

// work looks for letters of a pile, and has them answered: at once again if there are more.
func (c clerk) work(ctx context.Context, pile string, fresh time.Duration, b bell, answer func(context.Context, []store.Letter) (more bool, err error)) error {
	for ctx.Err() == nil {
		letters, err := c.Store.Unanswered(ctx, pile, fresh, lettersAtOnce)
		more := false
		if err == nil && len(letters) > 0 {
			more, err = answer(ctx, letters)
		}
		if err != nil && ctx.Err() == nil {
			c.Log.WarnContext(ctx, "answer other replicas; will try again", slog.Any("error", err))
		}
		if err != nil || !more {
			b.wait(ctx, c.Clock, look)
		}
	}
	return nil
}

// decide answers wishes together, so that they are decided together.
func (c clerk) decide(ctx context.Context, letters []store.Letter) (more bool, err error) {
	answers := make([]store.Answered, len(letters))
	var all errgroup.Group
	for i, l := range letters {
		all.Go(func() error {
			answers[i] = store.Answered{ID: l.ID, Body: c.reply(ctx, l.Body)}
			return nil
		})
	}
	_ = all.Wait() // their errors are in the answers
	return len(letters) == lettersAtOnce, c.answer(ctx, answers...)
}

// answer also tells what was decided just before ctx ended.
func (c clerk) answer(ctx context.Context, answers ...store.Answered) error {
	ctx, cancel := within(context.WithoutCancel(ctx), c.Clock, leaseWithin)
	defer cancel()
	return c.own.Answer(ctx, answers)
}

// sweep removes letters that nobody waits for any more.
func (c clerk) sweep(ctx context.Context) error {
	for c.Clock.Sleep(ctx, lettersKept) == nil {
		if _, err := c.Store.ForgetOlder(ctx, lettersKept); err != nil && ctx.Err() == nil {
			c.Log.WarnContext(ctx, "forget old letters; will try again", slog.Any("error", err))
		}
	}
	return nil
}

// drain takes in what other replicas stored, as soon as they say so. The engine's own tick does it too.
func (r *Replica) drain(ctx context.Context, e Leader) error {
	for ctx.Err() == nil {
		r.bells.reports.wait(ctx, r.Clock, every)
		if err := e.Drain(ctx); err != nil && ctx.Err() == nil {
			r.Log.WarnContext(ctx, "take in reports of other replicas; will try again", slog.Any("error", err))
		}
	}
	return nil
}

// reply carries out one letter.
func (c clerk) reply(ctx context.Context, body []byte) []byte {
	var l letter
	var answer reply
	e := c.leader
	err := json.Unmarshal(body, &l)
	if err != nil {
		err = fault.New(fault.Invalid, "read a letter: %w", err)
	}
	switch {
	case err != nil:
	case l.Kind == kindLease:
		answer.Envelope, answer.Refusal, err = e.Ask(ctx, l.Endpoint, l.Wish)
	case l.Kind == kindStart:
		answer.Rollout, err = e.Start(ctx, l.Start, l.Actor)
	case l.Kind == kindAct:
		answer.Rollout, err = e.Act(ctx, l.Rollout, l.Command)
	case l.Kind == kindHalt:
		answer.Halted, err = c.halt(ctx, l)
	case l.Kind == kindNext:
		answer.Next, err = e.Next(ctx, l.Endpoint)
	case l.Kind == kindFreezes:
		err = e.SetFreezes(ctx, l.Freezes, l.Actor)
	case l.Kind == kindSubmit:
		answer.Accepted, err = e.Submit(ctx, l.Role, l.Metadata)
	case l.Kind == kindDiscard:
		err = e.Discard(ctx, l.Role)
	default:
		err = fault.New(fault.Invalid, "read a letter: this leader does not know the kind %q", l.Kind).Hint("bring all replicas to the same version")
	}
	answer.Failed = failed(err)
	data, err := json.Marshal(answer)
	if err != nil {
		c.Log.ErrorContext(ctx, "encode an answer to another replica", slog.Any("error", err))
	}
	return data
}

// halt leaves time for the answer to arrive: whoever asked waits for a second at most.
func (c clerk) halt(ctx context.Context, l letter) (api.Halted, error) {
	ctx, cancel := within(ctx, c.Clock, haltWithin)
	defer cancel()
	return c.leader.Halt(ctx, l.Halt, l.Actor)
}

// fetchAnswers hands answers to those who wait for them, until ctx ends.
func (r *Replica) fetchAnswers(ctx context.Context) error {
	for ctx.Err() == nil {
		ids := r.post.waiting()
		if len(ids) == 0 {
			r.post.idle(ctx)
			continue
		}
		answers, err := r.answersTo(ctx, ids)
		for _, a := range answers {
			r.post.deliver(a.ID, a.Body)
		}
		if err != nil && ctx.Err() == nil {
			r.Log.WarnContext(ctx, "look for the leader's answers; will try again", slog.Any("error", err))
		}
		r.bells.answers.wait(ctx, r.Clock, look)
	}
	return nil
}

// answersTo is done with a line that is stalled before those who wait have to give up.
func (r *Replica) answersTo(ctx context.Context, ids []int64) ([]store.Answered, error) {
	ctx, cancel := within(ctx, r.Clock, lookWithin)
	defer cancel()
	return r.Store.Answers(ctx, ids)
}

// watchTaken tells those who wait that the leader has taken in their reports, until ctx ends.
func (r *Replica) watchTaken(ctx context.Context) error {
	for ctx.Err() == nil {
		ids := r.taken.waiting()
		if len(ids) == 0 {
			r.taken.idle(ctx)
			continue
		}
		open, err := r.untaken(ctx)
		if err == nil {
			for _, id := range ids {
				if !slices.Contains(open, id) {
					r.taken.deliver(id, nil)
				}
			}
		} else if ctx.Err() == nil {
			r.Log.WarnContext(ctx, "look whether reports were taken in; will try again", slog.Any("error", err))
		}
		r.bells.taken.wait(ctx, r.Clock, look)
	}
	return nil
}

func (r *Replica) untaken(ctx context.Context) ([]fleet.EndpointID, error) {
	ctx, cancel := within(ctx, r.Clock, lookWithin)
	defer cancel()
	return r.Store.UntakenEndpoints(ctx)
}
