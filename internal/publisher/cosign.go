package publisher

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Review is what a co-signer is about to sign, compared with what is published.
type Review struct {
	Role      string              `json:"role"`
	Version   int64               `json:"version"`
	Expires   time.Time           `json:"expires"`
	SignedBy  []string            `json:"signed_by"` // key ids
	Threshold int                 `json:"threshold"`
	Key       string              `json:"key"`                 // id of the key that would sign
	Releases  []release.Published `json:"releases,omitempty"`  // that it adds
	Changes   []string            `json:"changes,omitempty"`   // of keys, in words
	Published bool                `json:"published,omitempty"` // it is published as it is, and only gets one more signature

	metadata []byte
}

// Review fetches and checks the pending metadata of a role (root, targets or a component) and says what it changes. Metadata that
// takes back or changes published releases is Denied, whoever signed it. If nothing is pending, it is the published metadata that lacks
// the keyring's signature, so that the role's threshold can be raised.
func (p *Publisher) Review(ctx context.Context, role string) (Review, error) {
	if err := checkRole(role); err != nil {
		return Review{}, err
	}
	signer, err := p.Keyring.Signer(role)
	if err != nil {
		return Review{}, err
	}
	pending, err := p.pending(ctx, role)
	if fault.KindOf(err) == fault.NotFound {
		return p.reviewPublished(ctx, role, signer)
	}
	if err != nil {
		return Review{}, err
	}
	r := Review{Role: role, Version: pending.Version, Threshold: pending.Threshold, Key: signer.ID(), metadata: pending.Metadata}
	switch role {
	case trust.RoleRoot:
		err = p.reviewRoot(ctx, &r)
	case trust.RoleTargets:
		err = p.reviewTargets(ctx, &r)
	default:
		err = p.reviewComponent(ctx, &r)
	}
	if err != nil {
		return Review{}, fmt.Errorf("review %s.json: %w", role, err)
	}
	return r, nil
}

// CoSign adds the keyring's signature to exactly what was reviewed.
func (p *Publisher) CoSign(ctx context.Context, r Review) (api.Submission, error) {
	if len(r.metadata) == 0 {
		return api.Submission{}, fault.New(fault.Invalid, "co-sign %s: it was not reviewed", r.Role)
	}
	return p.signAndSubmit(ctx, r.Role, r.metadata)
}

func (p *Publisher) pending(ctx context.Context, role string) (api.PendingMetadata, error) {
	all, err := p.Server.Pending(ctx)
	if err != nil {
		return api.PendingMetadata{}, fmt.Errorf("list pending metadata: %w", err)
	}
	for _, m := range all {
		if m.Role == role {
			return m, nil
		}
	}
	return api.PendingMetadata{}, nothingWaits(role)
}

func nothingWaits(role string) error {
	return fault.New(fault.NotFound, "co-sign %s: nothing of it waits for signatures, and what is published does not lack this keyring's", role).
		Hint("List what waits: firebreak key sign.")
}

// reviewPublished reviews published metadata that the keyring's key did not sign yet.
func (p *Publisher) reviewPublished(ctx context.Context, role string, signer *trust.Signer) (Review, error) {
	v, err := p.view(ctx)
	if role != trust.RoleRoot && role != trust.RoleTargets {
		v, err = p.view(ctx, role)
	}
	if err != nil {
		return Review{}, fmt.Errorf("review %s.json: %w", role, err)
	}
	data := v.Files()[role+".json"]
	if data == nil || role == trust.RoleRoot {
		return Review{}, nothingWaits(role)
	}
	meta, err := trust.DecodeTargets(role, data)
	if err != nil {
		return Review{}, fmt.Errorf("review %s.json: %w", role, err)
	}
	keys, err := v.Keys(role)
	if err != nil {
		return Review{}, err
	}
	r := Review{Role: role, Version: meta.Signed.Version, Expires: meta.Signed.Expires, Key: signer.ID(), Published: true, metadata: data}
	if err := r.count(keys); fault.KindOf(err) == fault.Conflict {
		return Review{}, nothingWaits(role)
	} else if err != nil {
		return Review{}, fmt.Errorf("review %s.json: %w", role, err)
	}
	return r, nil
}

// count fills in who signed, and checks that our key belongs to those who should. The server's word is not taken for either.
func (r *Review) count(keys trust.Keys) error {
	signed, err := trust.Tally(r.Role, r.metadata, keys)
	if err != nil {
		return err
	}
	r.SignedBy, r.Threshold = signed, keys.Threshold
	if keys.Public[r.Key] == nil {
		return notOwned(r.Role, r.Key)
	}
	if slices.Contains(signed, r.Key) {
		return fault.New(fault.Conflict, "the keyring's key %s signed it already", r.Key).Hint("Somebody else has to sign now.")
	}
	return nil
}

// owns checks that a signer is one of a role's as the repository has it.
func owns(v *trust.View, role string, signer *trust.Signer) error {
	keys, err := v.Keys(role)
	if err == nil && keys.Public[signer.ID()] == nil {
		err = notOwned(role, signer.ID())
	}
	return err
}

func notOwned(role, key string) error {
	return fault.New(fault.Denied, "the keyring's key %s is not one of role %s", key, role).
		Hint("Send the .pub file beside it to the owner of the targets key, who runs: firebreak key init %s --add %s=FILE.", role, role)
}

func (r *Review) next(version int64, have int64) error {
	if r.Version = version; version != have+1 {
		return fault.New(fault.Conflict, "it is version %d, after %d", version, have)
	}
	return nil
}

func (p *Publisher) reviewRoot(ctx context.Context, r *Review) error {
	root, err := trust.DecodeRoot(r.metadata)
	if err != nil {
		return err
	}
	is, err := trust.RolesOf(root)
	if err != nil {
		return err
	}
	var was trust.RootRoles
	var have int64
	judges := is.Root
	v, err := p.rooted(ctx)
	if err != nil {
		return err
	}
	if v != nil {
		current, errRoot := trust.DecodeRoot(v.Files()["root.json"])
		if errRoot != nil {
			return errRoot
		}
		if was, err = trust.RolesOf(current); err != nil {
			return err
		}
		have = current.Signed.Version
		judges = trust.NewKeys(max(is.Root.Threshold, was.Root.Threshold))
		maps.Copy(judges.Public, is.Root.Public)
		maps.Copy(judges.Public, was.Root.Public)
	}
	r.Expires = root.Signed.Expires
	r.Changes = slices.Concat(changes(trust.RoleRoot, was.Root, is.Root), changes(trust.RoleTargets, was.Targets, is.Targets),
		changes(trust.RoleSnapshot, was.Snapshot, is.Snapshot), changes(trust.RoleTimestamp, was.Timestamp, is.Timestamp))
	if err := r.next(root.Signed.Version, have); err != nil {
		return err
	}
	return r.count(judges)
}

func (p *Publisher) reviewTargets(ctx context.Context, r *Review) error {
	v, err := p.rooted(ctx)
	if err != nil {
		return err
	}
	if v == nil {
		return fault.New(fault.Conflict, "there is no root yet")
	}
	targets, err := trust.DecodeTargets(r.Role, r.metadata)
	if err != nil {
		return err
	}
	is, err := delegated(r.metadata)
	if err != nil {
		return err
	}
	was, have := map[string]trust.Keys{}, int64(0)
	if data := v.Files()["targets.json"]; data != nil {
		current, errTargets := trust.DecodeTargets(r.Role, data)
		if errTargets != nil {
			return errTargets
		}
		have = current.Signed.Version
		if was, err = delegated(data); err != nil {
			return err
		}
	}
	r.Expires = targets.Signed.Expires
	names := maps.Clone(was)
	maps.Copy(names, is)
	for _, role := range slices.Sorted(maps.Keys(names)) {
		r.Changes = append(r.Changes, changes(role, was[role], is[role])...)
	}
	if nextErr := r.next(targets.Signed.Version, have); nextErr != nil {
		return nextErr
	}
	keys, err := v.Keys(trust.RoleTargets)
	if err != nil {
		return err
	}
	return r.count(keys)
}

func delegated(targets []byte) (map[string]trust.Keys, error) {
	meta, err := trust.DecodeTargets(trust.RoleTargets, targets)
	if err != nil {
		return nil, err
	}
	all, err := trust.DelegationsOf(meta)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]trust.Keys, len(all))
	for _, d := range all {
		keys[d.Role] = d.Keys
	}
	return keys, nil
}

func (p *Publisher) reviewComponent(ctx context.Context, r *Review) error {
	v, err := p.view(ctx, r.Role)
	if err != nil {
		return err
	}
	is, err := trust.DecodeTargets(r.Role, r.metadata)
	if err != nil {
		return err
	}
	was := trust.NewRole(0, time.Time{})
	if data := v.Files()[r.Role+".json"]; data != nil {
		if was, err = trust.DecodeTargets(r.Role, data); err != nil {
			return err
		}
	}
	for path, file := range was.Signed.Targets {
		if now := is.Signed.Targets[path]; now == nil || !file.Equal(*now) {
			return fault.New(fault.Denied, "it takes back or changes %s, which is published", path)
		}
	}
	r.Expires = is.Signed.Expires
	releases, err := trust.ReleasesIn(r.Role, is)
	if err != nil {
		return err
	}
	for _, n := range releases {
		if was.Signed.Targets[trust.TargetPath(r.Role, n.Version, trust.ManifestName)] != nil {
			continue
		}
		m, errManifest := p.manifest(ctx, n)
		if errManifest != nil {
			return errManifest
		}
		r.Releases = append(r.Releases, release.Published{Manifest: m, Digest: n.Digest})
	}
	if nextErr := r.next(is.Signed.Version, was.Signed.Version); nextErr != nil {
		return nextErr
	}
	keys, err := v.Keys(r.Role)
	if err != nil {
		return err
	}
	return r.count(keys)
}

// changes tells in words how a role's keys change.
func changes(role string, was, is trust.Keys) []string {
	var words []string
	for _, id := range is.IDs() {
		if was.Public[id] == nil {
			words = append(words, fmt.Sprintf("role %s gains key %s", role, id))
		}
	}
	for _, id := range was.IDs() {
		if is.Public[id] == nil {
			words = append(words, fmt.Sprintf("role %s loses key %s", role, id))
		}
	}
	if was.Threshold != is.Threshold {
		words = append(words, fmt.Sprintf("role %s needs %d signatures instead of %d", role, is.Threshold, was.Threshold))
	}
	return words
}
