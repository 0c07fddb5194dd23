package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

func (p *program) rolloutApprove() *cobra.Command {
	var reason string
	c := p.leaf(command{
		use: "approve ID", short: "Agree to the start of a rollout that waits for more people", args: cobra.ExactArgs(1), ids: p.rolloutIDs,
		lists: "firebreak rollout list",
		long: `
Agrees to a rollout that was started on a plan that needs several people, as emergency plans do. It runs as soon as
enough have agreed. Each person uses an operator token of their own: whoever asked for the start, or agreed before,
cannot agree again. Whoever does not agree halts it: 'firebreak rollout halt ID'.`,
		example: "firebreak rollout approve ro-4q2k --reason 'incident 4711, looked at the diff'",
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			before, err := c.Rollout(ctx, args[0])
			if err != nil {
				return err
			}
			p.announce(before)
			r, err := c.Approve(ctx, args[0], reason)
			if err != nil {
				return hinted(err, fault.Conflict, "See how it stands: firebreak rollout show %s.", args[0])
			}
			return p.show(r, func() {
				p.say("rollout %s of %s %s is %s on plan %s", r.ID, r.Component, r.Version, words(r.Phase), r.Plan)
				p.sayNext(r)
			})
		},
	})
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return c
}

// announce says what is being agreed to.
func (p *program) announce(r api.Rollout) {
	if p.json || rollout.Phase(r.Phase) != rollout.Proposed {
		return
	}
	text := "agreeing to " + r.Component + " " + r.Version + " on " + planOf(r) + ", which " + strings.Join(r.Approved, " and ") + " asked for"
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	for _, line := range wrap("", text, p.width()-1) {
		p.say("%s", line)
	}
}

// planOf names a rollout's plan, and says so if it is for emergencies.
func planOf(r api.Rollout) string {
	if r.Emergency {
		return "emergency plan " + r.Plan
	}
	return "plan " + r.Plan
}

// sayNext says what to do after a start or an approval.
func (p *program) sayNext(r api.Rollout) {
	if rollout.Phase(r.Phase) != rollout.Proposed {
		if r.Waiting.Code == rollout.WaitCalendar {
			p.say("nobody gets it yet: %s", r.Waiting.Text)
		}
		p.say("watch it: firebreak rollout watch %s", r.ID)
		return
	}
	p.say("%d of %d people agreed; nobody gets it before the others have", len(r.Approved), r.Approvals)
	p.say("ask somebody else to run: firebreak rollout approve %s", r.ID)
}
