package publisher

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// RoleKeys is what Init shall make true of a role's keys, beside the one in the keyring.
type RoleKeys struct {
	Add       []ed25519.PublicKey // keys of other owners
	Threshold int                 // how many must sign; 0 leaves it, or sets 1 for a new role
}

// InitOptions say what a repository shall be. What they do not mention stays as it is.
type InitOptions struct {
	Root       RoleKeys
	Targets    RoleKeys
	Components map[string]RoleKeys
	Remove     []string // key ids to leave out of every role from now on
}

// InitResult says what Init did. Nothing means that all was as it should be.
type InitResult struct {
	Made        []string         `json:"made,omitempty"`        // key files
	Submissions []api.Submission `json:"submissions,omitempty"` // metadata, in order
	Pending     bool             `json:"pending,omitempty"`     // some of it waits for co-signers; run Init again afterwards
	CannotSign  []string         `json:"cannot_sign,omitempty"` // named components of which the keyring has no key that counts
}

func (r *InitResult) add(s api.Submission) {
	r.Submissions = append(r.Submissions, s)
	r.Pending = r.Pending || s.State == api.SubmissionPending
}

// Init makes the repository what the options say: it makes missing keys, and signs and submits root and targets if they have to change
// (also because the control plane has new online keys, or because they expire within half of their life), and the metadata of components
// that expires so. It may be run again at any time and then does nothing more.
func (p *Publisher) Init(ctx context.Context, o InitOptions) (InitResult, error) {
	var result InitResult
	for _, name := range slices.Sorted(maps.Keys(o.Components)) {
		if err := checkRole(name); err != nil || trust.Reserved(name) {
			return result, fault.New(fault.Invalid, "initialise component %q: %w", name, err)
		}
	}
	online, err := p.Server.Online(ctx)
	if err != nil {
		return result, fmt.Errorf("ask for online keys: %w", err)
	}
	v, err := p.rooted(ctx)
	if err != nil {
		return result, err
	}
	if v, err = p.initRoot(ctx, v, o, online, &result); err != nil || v == nil {
		return result, err
	}
	if err := p.initTargets(ctx, v, o, online, &result); err != nil {
		return result, err
	}
	if result.Pending {
		return result, nil
	}
	if err := p.refresh(ctx, v, v.Components()...); err != nil && fault.KindOf(err) != fault.Unavailable {
		return result, err
	}
	result.CannotSign = p.cannotSign(v, o)
	return result, p.renew(ctx, v, &result)
}

// cannotSign lists the named components that this keyring cannot sign for.
func (p *Publisher) cannotSign(v *trust.View, o InitOptions) []string {
	var roles []string
	for _, name := range slices.Sorted(maps.Keys(o.Components)) {
		signer, err := p.Keyring.Signer(name)
		if err == nil {
			err = owns(v, name, signer)
		}
		if err != nil {
			roles = append(roles, name)
		}
	}
	return roles
}

// renew signs the metadata of components anew that expires before long and whose key is here.
func (p *Publisher) renew(ctx context.Context, v *trust.View, result *InitResult) error {
	for _, component := range v.Components() {
		data := v.Files()[component+".json"]
		if data == nil || !p.Keyring.Has(component) {
			continue
		}
		role, err := trust.DecodeTargets(component, data)
		if err != nil {
			return err
		}
		if !p.old(role.Signed.Expires) {
			continue
		}
		role.Signed.Version++
		role.Signed.Expires, role.Signatures = p.expires().UTC().Truncate(time.Second), nil
		if data, err = trust.Encode(role); err != nil {
			return err
		}
		submission, err := p.signAndSubmit(ctx, component, data)
		if err != nil {
			return err
		}
		result.add(submission)
	}
	return nil
}

// rooted gives a view of the repository as far as it exists; nil if it has no root yet.
func (p *Publisher) rooted(ctx context.Context) (*trust.View, error) {
	first, err := p.Server.MetadataFile(ctx, trust.FileName(trust.RoleRoot, 1))
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fetch root: %w", err)
	}
	v, err := p.Keyring.View()
	if fault.KindOf(err) == fault.NotFound {
		v, err = p.adopt(first)
	}
	if err != nil {
		return nil, err
	}
	if err := p.refresh(ctx, v); err != nil && fault.KindOf(err) != fault.NotFound && fault.KindOf(err) != fault.Unavailable {
		return nil, err // not found: no targets yet; expired: about to be renewed
	}
	return v, nil
}

// adopt trusts the server's first root if the keyring's own root key signed it: then we made it, and were interrupted.
func (p *Publisher) adopt(first []byte) (*trust.View, error) {
	signer, err := p.Keyring.Signer(trust.RoleRoot)
	if err == nil {
		signed, errTally := trust.Tally(trust.RoleRoot, first, trust.NewKeys(1, signer.Public()))
		if errTally == nil && len(signed) == 1 {
			if err = p.Keyring.Trust(first); err == nil {
				return p.Keyring.View()
			}
		}
	}
	return nil, fault.New(fault.Conflict, "initialise: the control plane has a root already, and keyring %s neither trusts it nor has its key", p.Keyring.Dir()).
		Hint("Copy root.json from the keyring of whoever made it.")
}

// initRoot gives a view with the root as it should be, or nil if that waits for co-signers and nothing can follow.
func (p *Publisher) initRoot(ctx context.Context, v *trust.View, o InitOptions, online api.OnlineKeys, result *InitResult) (*trust.View, error) {
	version, roles, due := int64(1), trust.RootRoles{}, true
	if v == nil {
		for role, keys := range map[string]*trust.Keys{trust.RoleRoot: &roles.Root, trust.RoleTargets: &roles.Targets} {
			signer, err := p.make(role, result)
			if err != nil {
				return nil, err
			}
			*keys = trust.NewKeys(1, signer.Public())
		}
	} else {
		root, err := trust.DecodeRoot(v.Files()["root.json"])
		if err != nil {
			return nil, err
		}
		if roles, err = trust.RolesOf(root); err != nil {
			return nil, err
		}
		version, due = root.Signed.Version+1, p.old(root.Signed.Expires)
	}
	want := trust.RootRoles{
		Root: o.apply(roles.Root, o.Root), Targets: o.apply(roles.Targets, o.Targets),
		Snapshot: single(online.Snapshot), Timestamp: single(online.Timestamp),
	}
	if same := want.Root.Equal(roles.Root) && want.Targets.Equal(roles.Targets) && want.Snapshot.Equal(roles.Snapshot) && want.Timestamp.Equal(roles.Timestamp); same && !due {
		return v, nil
	}
	root, err := trust.NewRoot(version, p.expires(), want)
	if err != nil {
		return nil, err
	}
	data, err := trust.Encode(root)
	if err != nil {
		return nil, err
	}
	submission, err := p.signAndSubmit(ctx, trust.RoleRoot, data)
	if err != nil {
		return nil, err
	}
	result.add(submission)
	return p.afterRoot(ctx, v, submission)
}

func (p *Publisher) afterRoot(ctx context.Context, v *trust.View, submission api.Submission) (*trust.View, error) {
	if submission.State == api.SubmissionPending {
		return v, nil
	}
	return p.rooted(ctx)
}

func (p *Publisher) initTargets(ctx context.Context, v *trust.View, o InitOptions, online api.OnlineKeys, result *InitResult) error {
	version, due := int64(1), true
	var have []trust.Delegation
	if data := v.Files()["targets.json"]; data != nil {
		targets, err := trust.DecodeTargets(trust.RoleTargets, data)
		if err != nil {
			return err
		}
		if have, err = trust.DelegationsOf(targets); err != nil {
			return err
		}
		version, due = targets.Signed.Version+1, p.old(targets.Signed.Expires)
	}
	want, err := p.delegations(have, o, online, result)
	if err != nil {
		return err
	}
	if slices.EqualFunc(have, want, func(a, b trust.Delegation) bool { return a.Role == b.Role && a.Keys.Equal(b.Keys) }) && !due {
		return nil
	}
	targets, err := trust.NewTargets(version, p.expires(), want)
	if err != nil {
		return err
	}
	data, err := trust.Encode(targets)
	if err != nil {
		return err
	}
	submission, err := p.signAndSubmit(ctx, trust.RoleTargets, data)
	if err != nil {
		return err
	}
	result.add(submission)
	return nil
}

// delegations are those that there are, changed as the options say; new components come last, in order.
func (p *Publisher) delegations(have []trust.Delegation, o InitOptions, online api.OnlineKeys, result *InitResult) ([]trust.Delegation, error) {
	want := []trust.Delegation{{Role: trust.RoleDirector, Keys: single(online.Director)}}
	known := map[string]bool{}
	for _, d := range have {
		if d.Role == trust.RoleDirector {
			continue
		}
		known[d.Role] = true
		want = append(want, trust.Delegation{Role: d.Role, Keys: o.apply(d.Keys, o.Components[d.Role])})
	}
	for _, name := range slices.Sorted(maps.Keys(o.Components)) {
		if known[name] {
			continue
		}
		signer, err := p.make(name, result)
		if err != nil {
			return nil, err
		}
		want = append(want, trust.Delegation{Role: name, Keys: o.apply(trust.NewKeys(1, signer.Public()), o.Components[name])})
	}
	return want, nil
}

func (p *Publisher) make(role string, result *InitResult) (*trust.Signer, error) {
	signer, made, err := p.Keyring.Make(role, p.Random)
	if made {
		result.Made = append(result.Made, p.Keyring.KeyFile(role))
	}
	return signer, err
}

// apply makes what the options say true of a role's keys.
func (o InitOptions) apply(keys trust.Keys, wanted RoleKeys) trust.Keys {
	all := trust.NewKeys(keys.Threshold, wanted.Add...)
	maps.Copy(all.Public, keys.Public)
	for _, id := range o.Remove {
		delete(all.Public, id)
	}
	if wanted.Threshold != 0 {
		all.Threshold = wanted.Threshold
	}
	return all
}

func single(key api.TrustKey) trust.Keys { return trust.NewKeys(1, ed25519.PublicKey(key.Public)) }

// signAndSubmit signs with the keyring's key of the role. A keyring without it cannot.
func (p *Publisher) signAndSubmit(ctx context.Context, role string, data []byte) (api.Submission, error) {
	signer, err := p.Keyring.Signer(role)
	if err != nil {
		return api.Submission{}, err
	}
	signed, err := trust.SignBytes(role, data, signer)
	if err != nil {
		return api.Submission{}, err
	}
	submission, err := p.Server.Submit(ctx, role, signed)
	if err != nil {
		return api.Submission{}, fmt.Errorf("submit %s.json: %w", role, err)
	}
	return submission, nil
}
