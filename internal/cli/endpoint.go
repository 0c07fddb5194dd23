package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
)

func (p *program) endpointCommand() *cobra.Command {
	c := group("endpoint", "Revoke and remove endpoints", `
Revoke an endpoint whose key may be in wrong hands, or which two hosts share: its key is refused from now on. Remove one
that is scrapped. Either way its silence is no harm to a rollout: its open leases end with a goodbye.`)
	c.AddCommand(p.endpointRevoke(), p.endpointRemove())
	return c
}

func (p *program) endpointRevoke() *cobra.Command {
	var reason string
	c := p.leaf(command{
		use: "revoke ENDPOINT", short: "Refuse an endpoint's key from now on", args: cobra.ExactArgs(1), lists: "firebreak fleet list",
		long: `Ends an endpoint's identity for good. The control plane refuses its key with the reason, at every replica within
seconds, and the key cannot join again. What runs on the host goes on running. To manage the host again, delete its agent's
identity directory and join with a new token: it becomes another endpoint.`,
		example: `firebreak endpoint revoke ep-0123456789abcdef0123 --reason "laptop stolen"`,
		run: func(ctx context.Context, args []string) error {
			if reason == "" {
				return fault.New(fault.Invalid, "revoke %s: a reason is missing", args[0]).Hint(`add --reason "laptop stolen"; the host is told, too`)
			}
			c, err := p.connect()
			if err != nil {
				return err
			}
			e, err := c.RevokeEndpoint(ctx, args[0], reason)
			if err != nil {
				return err
			}
			return p.show(e, func() { p.say("endpoint %s is revoked", e.ID) })
		},
	})
	c.Flags().StringVar(&reason, "reason", "", "why; the host is told, too (required)")
	return c
}

func (p *program) endpointRemove() *cobra.Command {
	return p.leaf(command{
		use: "remove ENDPOINT", short: "Forget an endpoint that is not managed any more", args: cobra.ExactArgs(1),
		lists: "firebreak fleet list",
		long: `Removes an endpoint from the fleet: nothing waits for it any more. Records of past rollouts keep its name. It may join
again with a token; one that was revoked stays in the list, so that its key stays refused.`,
		example: "firebreak endpoint remove ep-0123456789abcdef0123",
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			if err := c.RemoveEndpoint(ctx, args[0]); err != nil {
				return err
			}
			return p.show(api.Endpoint{ID: args[0]}, func() { p.say("endpoint %s is removed", args[0]) })
		},
	})
}
