package repository

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Submit takes the next version of root, targets or a component's metadata, signed offline. It publishes it, or keeps it as pending if
// it is good but has too few signatures. Submitting the same words again adds signatures, also to what is published: that is how a role
// gets enough of them before its threshold is raised.
//
// Every check is made before anything is written. The kinds of refusal: Denied (not signed by the right keys), Conflict (not the next
// version, or it would change what is published), Invalid (wrong in itself), NotFound (unknown component, missing blob).
func (r *Repository) Submit(ctx context.Context, role string, data []byte) (api.Submission, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := r.load(ctx)
	if err != nil {
		return api.Submission{}, err
	}
	var answer api.Submission
	switch role {
	case trust.RoleRoot:
		answer, err = r.submitRoot(ctx, s, data)
	case trust.RoleTargets:
		answer, err = r.submitTargets(ctx, s, data)
	case trust.RoleSnapshot, trust.RoleTimestamp, trust.RoleDirector:
		err = fault.New(fault.Denied, "submit %s.json: only the control plane signs it", role)
	default:
		answer, err = r.submitComponent(ctx, s, role, data)
	}
	if err != nil {
		return api.Submission{}, err
	}
	r.Log.InfoContext(ctx, "metadata accepted", slog.String("role", role), slog.Int64("version", answer.Version),
		slog.String("state", answer.State), slog.Int("signatures", answer.Signatures), slog.Int("threshold", answer.Threshold))
	return answer, nil
}

func (r *Repository) submitRoot(ctx context.Context, s *state, data []byte) (api.Submission, error) {
	root, err := trust.DecodeRoot(data)
	if err != nil {
		return api.Submission{}, invalid(err)
	}
	roles, err := trust.RolesOf(root)
	if err != nil {
		return api.Submission{}, err
	}
	var current int64
	judges := []trust.Keys{roles.Root}
	if s.root != nil {
		if trust.SameSigned(trust.RoleRoot, data, s.rootData) {
			return published(trust.RoleRoot, root.Signed.Version, roles.Root), nil
		}
		current = s.root.Signed.Version
		judges = append(judges, s.rootRoles.Root)
	}
	now := r.Clock.Now()
	if err = next(trust.RoleRoot, root.Signed.Version, current, root.Signed.Expires, now); err != nil {
		return api.Submission{}, err
	}
	if err = r.isOnline(roles); err != nil {
		return api.Submission{}, err
	}
	if s.targets != nil {
		if err = stillSigned(trust.RoleTargets, s.targetsData, roles.Targets); err != nil {
			return api.Submission{}, err
		}
	}
	data, answer, err := r.gather(ctx, trust.RoleRoot, root.Signed.Version, data, judges)
	if err != nil || answer.State == api.SubmissionPending {
		return answer, err
	}
	s.root, s.rootRoles = root, roles
	return answer, r.commit(ctx, s, change{root: data, done: trust.RoleRoot}, now)
}

func (r *Repository) submitTargets(ctx context.Context, s *state, data []byte) (api.Submission, error) {
	if s.root == nil {
		return api.Submission{}, noRoot(trust.RoleTargets)
	}
	targets, err := trust.DecodeTargets(trust.RoleTargets, data)
	if err != nil {
		return api.Submission{}, invalid(err)
	}
	var current int64
	if s.targets != nil {
		if trust.SameSigned(trust.RoleTargets, data, s.targetsData) {
			return r.addSignatures(ctx, s, trust.RoleTargets, s.targetsData, data, s.rootRoles.Targets)
		}
		current = s.targets.Signed.Version
	}
	now := r.Clock.Now()
	if err = next(trust.RoleTargets, targets.Signed.Version, current, targets.Signed.Expires, now); err != nil {
		return api.Submission{}, err
	}
	if err = fault.Problems("submit targets.json", r.checkTargets(targets)); err != nil {
		return api.Submission{}, err
	}
	if err = r.delegatesOn(ctx, s, targets); err != nil {
		return api.Submission{}, err
	}
	data, answer, err := r.gather(ctx, trust.RoleTargets, targets.Signed.Version, data, []trust.Keys{s.rootRoles.Targets})
	if err != nil || answer.State == api.SubmissionPending {
		return answer, err
	}
	director, err := r.signDirector(ctx, s, now)
	if err != nil {
		return api.Submission{}, err
	}
	s.targets = targets
	roles := map[string][]byte{trust.RoleTargets: data, trust.RoleDirector: director}
	return answer, r.commit(ctx, s, change{roles: roles, done: trust.RoleTargets}, now)
}

// checkTargets lists what is wrong with a top-level targets in itself.
func (r *Repository) checkTargets(targets *trust.Targets) []fault.Problem {
	var problems []fault.Problem
	add := func(path, format string, args ...any) {
		problems = append(problems, fault.Problem{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if len(targets.Signed.Targets) > 0 {
		add("signed.targets", "must be empty: targets only delegates, releases are listed by their component's role")
	}
	director := false
	if targets.Signed.Delegations != nil {
		for i, d := range targets.Signed.Delegations.Roles {
			path := fmt.Sprintf("signed.delegations.roles[%d]", i)
			if d.Name == trust.RoleDirector {
				director = d.Threshold == 1 && slices.Contains(d.KeyIDs, r.Keys.Director.ID())
			} else if trust.Reserved(d.Name) || !plan.Name(d.Name) {
				add(path+".name", "cannot name a component: %q", d.Name)
			}
			if !d.Terminating || !slices.Equal(d.Paths, trust.Paths(d.Name)) {
				add(path+".paths", "must be %v, terminating: a component speaks for itself and nothing else", trust.Paths(d.Name))
			}
		}
	}
	if !director {
		add("signed.delegations", "must let this server's director key %s sign for role director alone", r.Keys.Director.ID())
	}
	return problems
}

// delegatesOn checks that everything that is published would stay well signed under new targets.
func (r *Repository) delegatesOn(ctx context.Context, s *state, targets *trust.Targets) error {
	delegations, err := trust.DelegationsOf(targets)
	if err != nil {
		return err
	}
	now := map[string]trust.Keys{}
	for _, d := range delegations {
		now[d.Role] = d.Keys
	}
	for role := range s.delegations {
		if role == trust.RoleDirector {
			continue // signed anew, by us
		}
		data, err := r.role(ctx, s, role)
		if err != nil {
			return err
		}
		if data == nil {
			continue
		}
		if err := stillSigned(role, data, now[role]); err != nil {
			return err
		}
	}
	return nil
}

func stillSigned(role string, data []byte, keys trust.Keys) error {
	signed, err := trust.Tally(role, data, keys)
	if err != nil {
		return stored(err)
	}
	if keys.Threshold > 0 && len(signed) >= keys.Threshold {
		return nil
	}
	return fault.New(fault.Conflict, "change keys of role %s: its published metadata has %d signatures by the new keys, %d would be needed", role, len(signed), keys.Threshold).
		Hint("Go in steps: add the new key alone, let its owner run 'firebreak key sign %s', then raise the threshold or leave the old key out.", role)
}

func (r *Repository) submitComponent(ctx context.Context, s *state, component string, data []byte) (api.Submission, error) {
	if s.root == nil || s.targets == nil {
		return api.Submission{}, noRoot(component)
	}
	policy, err := r.Policy(ctx, component)
	if fault.KindOf(err) == fault.NotFound {
		return api.Submission{}, fault.New(fault.NotFound, "submit metadata of %s: unknown component: %w", component, err).
			Hint("Register it with `firebreak apply -f`.")
	} else if err != nil {
		return api.Submission{}, fmt.Errorf("submit metadata of %s: %w", component, err)
	}
	keys, ok := s.delegations[component]
	if !ok {
		return api.Submission{}, fault.New(fault.NotFound, "submit metadata of %s: targets.json does not name keys for it", component).
			Hint("Run `firebreak key init` with the targets key.")
	}
	meta, err := trust.DecodeTargets(component, data)
	if err != nil {
		return api.Submission{}, invalid(err)
	}
	old, oldData, err := r.component(ctx, s, component)
	if err != nil {
		return api.Submission{}, err
	}
	if oldData != nil && trust.SameSigned(component, data, oldData) {
		return r.addSignatures(ctx, s, component, oldData, data, keys)
	}
	if err = addsOnly(component, old, meta); err != nil {
		return api.Submission{}, err
	}
	now := r.Clock.Now()
	if err = next(component, meta.Signed.Version, old.Signed.Version, meta.Signed.Expires, now); err != nil {
		return api.Submission{}, err
	}
	releases, err := r.newReleases(ctx, component, policy, old, meta)
	if err != nil {
		return api.Submission{}, err
	}
	data, answer, err := r.gather(ctx, component, meta.Signed.Version, data, []trust.Keys{keys})
	if err != nil || answer.State == api.SubmissionPending {
		return answer, err
	}
	return answer, r.commit(ctx, s, change{roles: map[string][]byte{component: data}, releases: releases, done: component}, now)
}

// addSignatures adds to published metadata the valid signatures of a copy that says the same. It stays the same version; only signatures
// are added, so whoever verified it before finds it good again. An endpoint between two files may have to ask twice.
func (r *Repository) addSignatures(ctx context.Context, s *state, role string, have, more []byte, keys trust.Keys) (api.Submission, error) {
	version, err := versionOf(role, have)
	if err != nil {
		return api.Submission{}, stored(err)
	}
	judges := []trust.Keys{keys}
	before, err := count(role, version, have, judges)
	if err != nil {
		return api.Submission{}, err
	}
	merged, err := trust.Merge(role, have, more, keys)
	if err != nil {
		return api.Submission{}, err
	}
	after, err := count(role, version, merged, judges)
	if err != nil || after.Signatures == before.Signatures {
		return before, err
	}
	return after, r.commit(ctx, s, change{roles: map[string][]byte{role: merged}}, r.Clock.Now())
}

// component reads a component's published metadata. While there is none, it is an empty version 0 and nil bytes.
func (r *Repository) component(ctx context.Context, s *state, component string) (*trust.Targets, []byte, error) {
	data, err := r.role(ctx, s, component)
	if err != nil {
		return nil, nil, err
	}
	if data == nil {
		return trust.NewRole(0, time.Time{}), nil, nil
	}
	meta, err := trust.DecodeTargets(component, data)
	if err != nil {
		return nil, nil, stored(err)
	}
	return meta, data, nil
}

// gather joins what was submitted with what is pending of the same words, counts the signatures, and keeps the result as pending if
// some judge has too few.
func (r *Repository) gather(ctx context.Context, role string, version int64, data []byte, judges []trust.Keys) ([]byte, api.Submission, error) {
	all := union(judges)
	signed, err := trust.Tally(role, data, all)
	if err != nil {
		return nil, api.Submission{}, err
	}
	if len(signed) == 0 {
		return nil, api.Submission{}, fault.New(fault.Denied, "submit %s.json: none of its signatures is valid and by a key of role %s", role, role)
	}
	have := data
	answer, err := count(role, version, data, judges)
	if err == nil && answer.State == api.SubmissionPending {
		have, err = r.waiting(ctx, role, version, data, signed, all)
	}
	if err != nil {
		return nil, api.Submission{}, err
	}
	merged, err := trust.Merge(role, have, data, all)
	if err != nil {
		return nil, api.Submission{}, err
	}
	answer, err = count(role, version, merged, judges)
	if err != nil || answer.State == api.SubmissionPublished {
		return merged, answer, err
	}
	return merged, answer, r.Store.SaveMetadata(ctx, map[string][]byte{pendingName(role): merged}, nil)
}

// waiting gives the pending copy to which the signatures of data are added, or data itself if there is none of the same version. Other
// words may only take its place if that takes away nobody's signature but those of who submits them.
func (r *Repository) waiting(ctx context.Context, role string, version int64, data []byte, signed []string, all trust.Keys) ([]byte, error) {
	pending, err := r.Store.MetadataFile(ctx, pendingName(role))
	if fault.KindOf(err) == fault.NotFound {
		return data, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read pending metadata of %s: %w", role, err)
	}
	if waits, errVersion := versionOf(role, pending); errVersion != nil || waits != version {
		return data, nil //nolint:nilerr // left over from before the current version: worth nothing
	}
	if trust.SameSigned(role, pending, data) {
		return pending, nil
	}
	theirs, err := trust.Tally(role, pending, all)
	if err != nil {
		return nil, stored(err)
	}
	for _, id := range theirs {
		if !slices.Contains(signed, id) {
			return nil, fault.New(fault.Conflict, "submit version %d of %s.json: another version %d waits for signatures", version, role, version).
				Hint("Co-sign the one that waits with `firebreak key sign %s`; only who signed it can submit another in its place.", role)
		}
	}
	return data, nil
}

// count judges the signatures; of several judges the one who lacks most is reported.
func count(role string, version int64, data []byte, judges []trust.Keys) (api.Submission, error) {
	answer := api.Submission{Role: role, Version: version, State: api.SubmissionPublished}
	lack := 0
	for i, keys := range judges {
		if err := keys.Check(role); err != nil {
			return api.Submission{}, err
		}
		signed, err := trust.Tally(role, data, keys)
		if err != nil {
			return api.Submission{}, err
		}
		if missing := keys.Threshold - len(signed); i == 0 || missing > lack {
			lack, answer.Signatures, answer.Threshold = missing, len(signed), keys.Threshold
		}
	}
	if lack > 0 {
		answer.State = api.SubmissionPending
	}
	return answer, nil
}

func union(judges []trust.Keys) trust.Keys {
	all := trust.NewKeys(1)
	for _, keys := range judges {
		maps.Copy(all.Public, keys.Public)
	}
	return all
}

func published(role string, version int64, keys trust.Keys) api.Submission {
	return api.Submission{Role: role, Version: version, State: api.SubmissionPublished, Signatures: keys.Threshold, Threshold: keys.Threshold}
}

func next(role string, version, current int64, expires, now time.Time) error {
	if version != current+1 {
		return fault.New(fault.Conflict, "submit %s.json: it is version %d, the next one would be %d", role, version, current+1).
			Hint("Fetch the repository again and sign the change anew.")
	}
	if !now.Before(expires) {
		return fault.New(fault.Invalid, "submit %s.json: it expired at %s, it is now %s", role, expires.Format(time.RFC3339), now.Format(time.RFC3339)).
			Hint("Check the clocks of the publisher and of this server.")
	}
	return nil
}

func noRoot(role string) error {
	return fault.New(fault.Conflict, "submit %s.json: the repository has no root or no targets yet", role).
		Hint("Run `firebreak key init` first.")
}

// invalid turns an unreadable document, which on an endpoint is a forgery, into the submitter's mistake.
func invalid(err error) error { return fault.New(fault.Invalid, "submit metadata: %w", err) }
