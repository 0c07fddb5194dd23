package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/publisher"
)

func (p *program) releaseVerify() *cobra.Command {
	var keys, root, dir string
	c := p.leaf(command{
		use: "verify COMPONENT VERSION", short: "Verify a release from the trusted root to its bytes, like an endpoint", args: cobra.ExactArgs(2),
		ids: p.componentNames, lists: "firebreak release list",
		long: `
Verifies a published release as an endpoint does: from a trusted root through every signature and expiry to the digest of
each artifact. The control plane is believed nothing. The root is the keyring's, or the one in --root, which needs no
keyring. With --dir the artifacts are not fetched: the content there is compared with what was signed.`,
		example: `firebreak release verify sensor-content 2
			firebreak release verify sensor-content 2 --root root.json --dir ./content`,
		run: func(ctx context.Context, args []string) error {
			if root != "" && keys == "" {
				temporary, err := os.MkdirTemp("", "firebreak-verify-")
				if err != nil {
					return err
				}
				defer os.RemoveAll(temporary)
				keys = temporary
			}
			owner, err := p.publisher(keys)
			if err != nil {
				return err
			}
			if err = trustRoot(owner.Keyring, root); err != nil {
				return err
			}
			owner.Progress = p.transfers("fetching")
			v, err := owner.Verify(ctx, args[0], args[1], dir)
			if err != nil {
				return err
			}
			return p.show(v, func() { p.sayVerified(v) })
		},
	})
	flags := c.Flags()
	keysFlag(flags, &keys)
	flags.StringVar(&root, "root", "", "root.json to trust, got from somebody trustworthy")
	flags.StringVar(&dir, "dir", "", "compare this file or directory instead of fetching the artifacts")
	return c
}

func trustRoot(ring *publisher.Keyring, file string) error {
	if file == "" {
		return nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return fault.New(fault.Invalid, "read trusted root: %w", err)
	}
	return ring.Trust(data)
}

func (p *program) sayVerified(v publisher.Verification) {
	style := p.styleOf(p.Out)
	for _, check := range v.Checked {
		p.say("%s %s", style.green("ok"), check)
	}
	p.say("%s: %s %s is what its owners signed", style.green("verified"), v.Manifest.Component, v.Manifest.Version)
	if v.BelowFloor {
		p.say("%s: serial %d is below the floor %d; endpoints do not activate it any more", style.yellow("note"), v.Manifest.Serial, v.Floor)
	}
}
