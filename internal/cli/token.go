package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
)

func (p *program) tokenCommand() *cobra.Command {
	c := group("token", "Create, list and revoke tokens of operators and of hosts that join", `
Operator tokens open the operator port. A peer token, for the control plane of another cell, opens only how releases stand. Join tokens turn a host into an endpoint of a tenant; they are good for one
host and a day unless you say otherwise. The control plane keeps only hashes: a secret is shown once.`)
	c.AddCommand(p.tokenCreate(), p.tokenList(), p.tokenRevoke())
	return c
}

func (p *program) tokenCreate() *cobra.Command {
	var wanted api.NewToken
	c := p.leaf(command{
		use: "create", short: "Create a token and print its secret once", args: cobra.NoArgs,
		long: `Creates a token. The secret is printed alone on standard output, so that a script can keep it; the rest goes to standard error.`,
		example: `firebreak token create --kind join --tenant acme --uses 100 --ttl 24h
			firebreak token create --kind operator --note alice > alice.token`,
		run: func(ctx context.Context, _ []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			t, err := c.CreateToken(ctx, wanted)
			if err != nil {
				return err
			}
			return p.show(t, func() {
				p.say("%s", t.Secret)
				_, _ = fmt.Fprintf(p.Err, "%s token %s created, %s; the secret is not shown again\n", t.Kind, t.ID, expiry(t))
			})
		},
	})
	flags := c.Flags()
	flags.StringVar(&wanted.Kind, "kind", "join", "join, operator or peer (another control plane's, which may only read how releases stand)")
	flags.StringVar(&wanted.Tenant, "tenant", "", `tenant of whoever joins with it (default "default")`)
	flags.StringVar(&wanted.Note, "note", "", "whose it is; operators appear under it in records")
	flags.StringVar(&wanted.TTL, "ttl", "", "how long it is valid, as 24h (default: join 24h, operator for ever)")
	flags.Int64Var(&wanted.Uses, "uses", 0, "hosts that may join with it, -1 for no limit (default 1)")
	return c
}

func expiry(t api.Token) string {
	if t.Expires == nil {
		return "valid until revoked"
	}
	return "valid until " + stamp(*t.Expires) + " UTC"
}

func (p *program) tokenList() *cobra.Command {
	return p.leaf(command{
		use: "list", short: "List tokens, without their secrets", args: cobra.NoArgs,
		long: `Lists all tokens, those that ended too.`, example: "firebreak token list",
		run: func(ctx context.Context, _ []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			tokens, err := c.Tokens(ctx)
			if err != nil {
				return err
			}
			return p.show(tokens, func() {
				t := newTable("ID", "KIND", "STATE", "LEFT", "EXPIRES", "TENANT", "NOTE")
				for _, k := range tokens {
					t.add(k.ID, k.Kind, p.tokenState(k), left(k), stampOf(k.Expires), orDash(k.Tenant), orDash(k.Note))
				}
				t.print(p)
			})
		},
	})
}

func (p *program) tokenState(t api.Token) string {
	switch {
	case t.Revoked != nil:
		return "revoked"
	case t.Expires != nil && !p.Clock.Now().Before(*t.Expires):
		return "expired"
	case t.Kind == "join" && t.Left == 0:
		return "used up"
	}
	return "valid"
}

func left(t api.Token) string {
	switch {
	case t.Kind != "join":
		return "-"
	case t.Left < 0:
		return "any"
	}
	return fmt.Sprint(t.Left)
}

func (p *program) tokenRevoke() *cobra.Command {
	return p.leaf(command{
		use: "revoke ID", short: "End a token for good", args: cobra.ExactArgs(1), lists: "firebreak token list",
		long:    `Ends a token. Endpoints that joined with it stay; requests with it are refused from now on.`,
		example: "firebreak token revoke 5k2fvkqa",
		ids:     p.tokenIDs,
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			if err := c.RevokeToken(ctx, args[0]); err != nil {
				return err
			}
			now := p.Clock.Now().UTC().Truncate(time.Second)
			return p.show(api.Token{ID: args[0], Revoked: &now}, func() { p.say("token %s is revoked", args[0]) })
		},
	})
}

func (p *program) tokenIDs(ctx context.Context) ([]string, error) {
	c, err := p.connect()
	if err != nil {
		return nil, err
	}
	tokens, err := c.Tokens(ctx)
	ids := make([]string, len(tokens))
	for i, t := range tokens {
		ids[i] = t.ID + "\t" + t.Kind + " " + t.Note
	}
	return ids, err
}
