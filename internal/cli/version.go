package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
)

func (p *program) versionCommand() *cobra.Command {
	var remote bool
	c := p.leaf(command{
		use: "version", short: "Print the version, and with --remote what the control plane says of itself", args: cobra.NoArgs,
		long:    `Prints the version of this command. With --remote also the control plane's, its agent address and its CA fingerprint.`,
		example: "firebreak version\nfirebreak version --remote --json",
		run: func(ctx context.Context, _ []string) error {
			answer := struct {
				Version  string      `json:"version"`
				Platform string      `json:"platform"`
				Remote   *api.Status `json:"remote,omitempty"`
			}{Version: p.Version, Platform: p.Platform}
			if remote {
				status, err := p.status(ctx)
				if err != nil {
					return err
				}
				answer.Remote = &status
			}
			return p.show(answer, func() {
				p.say("firebreak %s %s", p.Version, p.Platform)
				if r := answer.Remote; r != nil {
					p.say("control plane %s, up %s, %s", r.Version, span(r.Now.Sub(r.Started)), plural(int64(r.Endpoints), "endpoint"))
					p.say("agents at %s", r.AgentURL)
					p.say("CA %s", r.Fingerprint)
				}
			})
		},
	})
	c.Flags().BoolVar(&remote, "remote", false, "ask the control plane too")
	return c
}

func (p *program) status(ctx context.Context) (api.Status, error) {
	c, err := p.connect()
	if err != nil {
		return api.Status{}, err
	}
	return c.Status(ctx)
}
