package cli

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
	"github.com/firebreak-dev/firebreak/internal/publisher"
)

func (p *program) keyCommand() *cobra.Command {
	c := group("key", "Make release keys and sign with them", `
Release keys stay with the publisher: they are made and used on this machine, in a keyring directory that only its owner
may read. The control plane sees signatures and public keys.`)
	c.AddCommand(p.keyInit(), p.keyNew(), p.keySign(), p.keyDiscard())
	return c
}

// initFlags are the flags of `key init`: keys and thresholds by role, as "sensor-content=owner.pub" and "sensor-content=2".
type initFlags struct {
	keys      string
	add       []string
	threshold []string
	remove    []string
}

func (p *program) keyInit() *cobra.Command {
	var f initFlags
	c := p.leaf(command{
		use: "init [COMPONENT...]", short: "Make keys, and a repository that trusts them", args: cobra.ArbitraryArgs,
		long: `
Makes the keys that are missing in the keyring, and signs root and targets so that each named component has its release
keys and the control plane its online keys. Run it again at any time: it changes only what is not as asked, and renews
what is about to expire. Roles are root, targets and the names of components.

A second owner makes a key with 'firebreak key new' and sends its public file; --add it. If releases are published already,
the second owner then signs them with 'firebreak key sign', and only after that can --threshold be raised.

Back the keyring up. Who has root.pem and targets.pem can say whose releases are genuine; keep them apart from the
release keys once you are set up.`,
		example: `firebreak key init sensor-content
			firebreak key init sensor-content --add sensor-content=release-sensor-content.pem.pub
			firebreak key init sensor-content --threshold sensor-content=2`,
		run: func(ctx context.Context, args []string) error {
			o, err := f.options(args)
			if err != nil {
				return err
			}
			owner, err := p.publisher(f.keys)
			if err != nil {
				return err
			}
			result, err := owner.Init(ctx, o)
			if err != nil {
				return err
			}
			return p.show(result, func() { p.sayInit(result) })
		},
	})
	flags := c.Flags()
	keysFlag(flags, &f.keys)
	flags.StringArrayVar(&f.add, "add", nil, "role=FILE with another owner's public key (PEM); may be given several times")
	flags.StringArrayVar(&f.threshold, "threshold", nil, "role=N signatures needed; may be given several times")
	flags.StringArrayVar(&f.remove, "remove", nil, "id of a key that no role trusts any more; may be given several times")
	return c
}

func (f initFlags) options(components []string) (publisher.InitOptions, error) {
	roles := map[string]publisher.RoleKeys{}
	for _, c := range components {
		if c == trust.RoleRoot || c == trust.RoleTargets {
			return publisher.InitOptions{}, fault.New(fault.Invalid, "initialise component %q: it is the name of a role", c)
		}
		roles[c] = publisher.RoleKeys{}
	}
	for _, text := range f.add {
		role, file, ok := strings.Cut(text, "=")
		if !ok {
			return publisher.InitOptions{}, fault.New(fault.Invalid, "read --add %q: write it as role=FILE", text)
		}
		key, err := publicKey(file)
		if err != nil {
			return publisher.InitOptions{}, err
		}
		keys := roles[role]
		keys.Add = append(keys.Add, key)
		roles[role] = keys
	}
	for _, text := range f.threshold {
		role, number, _ := strings.Cut(text, "=")
		n, err := strconv.Atoi(number)
		if err != nil || n < 1 {
			return publisher.InitOptions{}, fault.New(fault.Invalid, "read --threshold %q: write it as role=N with N above 0", text)
		}
		keys := roles[role]
		keys.Threshold = n
		roles[role] = keys
	}
	o := publisher.InitOptions{Root: roles[trust.RoleRoot], Targets: roles[trust.RoleTargets], Components: roles, Remove: f.remove}
	delete(roles, trust.RoleRoot)
	delete(roles, trust.RoleTargets)
	return o, nil
}

func publicKey(file string) (ed25519.PublicKey, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read public key: %w", err)
	}
	key, err := trust.DecodePublic(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return key, nil
}

func (p *program) sayInit(r publisher.InitResult) {
	for _, file := range r.Made {
		p.say("made %s", file)
	}
	for _, s := range r.Submissions {
		p.say("%s", submission(s))
	}
	switch {
	case r.Pending:
		p.say("the other owners run 'firebreak key sign ROLE'; run this again afterwards")
	case len(r.CannotSign) > 0:
		for _, role := range r.CannotSign {
			p.say("this keyring cannot sign for %s: it has no key that the role trusts", role)
			p.say("to become an owner of it, run: firebreak key new %s", role)
		}
	case len(r.Made)+len(r.Submissions) == 0:
		p.say("everything is as it should be")
	}
}

func submission(s api.Submission) string {
	if s.State == api.SubmissionPending {
		return fmt.Sprintf("%s version %d waits for signatures: %d of %d", s.Role, s.Version, s.Signatures, s.Threshold)
	}
	return fmt.Sprintf("%s version %d is published", s.Role, s.Version)
}

// newKey is what `key new` prints as JSON.
type newKey struct {
	Role    string `json:"role"`
	Key     string `json:"key"` // its id
	Private string `json:"private_file"`
	Public  string `json:"public_file"`
	Made    bool   `json:"made"` // false: it was there already
}

func (p *program) keyNew() *cobra.Command {
	var keys string
	c := p.leaf(command{
		use: "new ROLE", short: "Make a key to become one more owner of a role", args: cobra.ExactArgs(1),
		long: `
Makes a key for a role (root, targets or a component) in the keyring, and says which file to send to the owner who
will add it. Needs no control plane. A key that is there already is kept.`,
		example: "firebreak key new sensor-content --keys bob",
		run: func(_ context.Context, args []string) error {
			ring, err := p.keyring(keys)
			if err != nil {
				return err
			}
			signer, made, err := ring.Make(args[0], rand.Reader)
			if err != nil {
				return err
			}
			k := newKey{Role: args[0], Key: signer.ID(), Private: ring.KeyFile(args[0]), Public: ring.PublicFile(args[0]), Made: made}
			return p.show(k, func() { p.sayNewKey(k) })
		},
	})
	keysFlag(c.Flags(), &keys)
	return c
}

func (p *program) sayNewKey(k newKey) {
	if k.Made {
		p.say("made %s", k.Private)
	} else {
		p.say("%s was there already", k.Private)
	}
	p.say("public key: %s", k.Public)
	component := k.Role + " "
	if k.Role == trust.RoleRoot || k.Role == trust.RoleTargets {
		component = ""
	}
	p.say("send that file to the owner who runs:")
	p.say("  firebreak key init %s--add %s=%s", component, k.Role, filepath.Base(k.Public))
	p.say("  firebreak key init %s--threshold %s=2", component, k.Role)
	p.say("if releases are published, run 'firebreak key sign %s' between the two; get root.json from that owner", k.Role)
}

func (p *program) keySign() *cobra.Command {
	var keys string
	var yes bool
	c := p.leaf(command{
		use: "sign [ROLE]", short: "Review what waits for signatures, and add yours", args: cobra.MaximumNArgs(1), ids: p.pendingRoles,
		lists: "firebreak key sign",
		long: `
Without a role lists what waits for signatures. With one (root, targets or a component) it verifies what is pending
against what is published, shows what it would change, and signs it when you agree. If nothing is pending, it offers
to add your signature to what is published: that has to come before a role's threshold can be raised.`,
		example: "firebreak key sign\nfirebreak key sign sensor-content",
		run: func(ctx context.Context, args []string) error {
			if len(args) == 0 {
				return p.listPending(ctx)
			}
			owner, err := p.publisher(keys)
			if err != nil {
				return err
			}
			review, err := owner.Review(ctx, args[0])
			if err != nil {
				return err
			}
			if err = p.agree(review, yes); err != nil {
				return err
			}
			s, err := owner.CoSign(ctx, review)
			if err != nil {
				return err
			}
			return p.show(s, func() { p.say("%s", submission(s)) })
		},
	})
	keysFlag(c.Flags(), &keys)
	c.Flags().BoolVar(&yes, "yes", false, "sign without asking")
	return c
}

// agree shows what is about to be signed and asks for a yes.
func (p *program) agree(r publisher.Review, yes bool) error {
	tell := func(format string, args ...any) { _, _ = fmt.Fprintf(p.Err, format+"\n", args...) }
	tell("%s version %d, signed by %d of %d, expires %s", r.Role, r.Version, len(r.SignedBy), r.Threshold, stamp(r.Expires))
	if r.Published {
		tell("  it is published already; nothing changes but that your signature is added")
	}
	for _, change := range r.Changes {
		tell("  %s", change)
	}
	for _, n := range r.Releases {
		m := n.Manifest
		tell("  adds %s %s: serial %d, floor %d, %s, created %s, manifest %s", m.Component, m.Version, m.Serial, m.Floor,
			plural(int64(len(m.Artifacts)), "artifact"), stamp(m.Created), n.Digest.Short())
		tell("  on plan %s: at most %s harmed on average", m.Plan.Name, plural(m.Plan.Defaulted().Bound().Hosts, "host"))
		for _, v := range m.Verdicts {
			tell("  validator %s passed: %t", v.Validator, v.Passed)
		}
	}
	if yes {
		return nil
	}
	_, _ = fmt.Fprintf(p.Err, "Sign it with key %s? [y/N] ", r.Key[:min(12, len(r.Key))])
	answer, _ := bufio.NewReader(p.In).ReadString('\n') // the end of input is a no
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return fault.New(fault.Denied, "sign %s: not agreed; nothing was signed", r.Role).Hint("Answer y, or give --yes.")
	}
	return nil
}

func (p *program) listPending(ctx context.Context) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	pending, err := c.PendingMetadata(ctx)
	if err != nil {
		return err
	}
	return p.show(pending, func() {
		if len(pending) == 0 {
			p.say("nothing waits for signatures")
			return
		}
		t := newTable("ROLE", "VERSION", "SIGNATURES")
		for _, m := range pending {
			t.add(m.Role, fmt.Sprint(m.Version), fmt.Sprintf("%d of %d", len(m.SignedBy), m.Threshold))
		}
		t.print(p)
	})
}

func (p *program) pendingRoles(ctx context.Context) ([]string, error) {
	c, err := p.connect()
	if err != nil {
		return nil, err
	}
	pending, err := c.PendingMetadata(ctx)
	roles := make([]string, len(pending))
	for i, m := range pending {
		roles[i] = m.Role
	}
	return roles, err
}

func (p *program) keyDiscard() *cobra.Command {
	return p.leaf(command{
		use: "discard ROLE", short: "Forget what waits for signatures of a role", args: cobra.ExactArgs(1), ids: p.pendingRoles,
		lists:   "firebreak key sign",
		long:    `Makes the control plane forget pending metadata of a role, so that other metadata can be submitted in its place.`,
		example: "firebreak key discard sensor-content",
		run: func(ctx context.Context, args []string) error {
			c, err := p.connect()
			if err != nil {
				return err
			}
			if err := c.DiscardMetadata(ctx, args[0]); err != nil {
				return err
			}
			p.say("pending metadata of %s is forgotten", args[0])
			return nil
		},
	})
}
