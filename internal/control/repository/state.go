package repository

import (
	"context"
	"fmt"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// keepVersions is how many older versions of a file stay, for clients that are in the middle of a refresh. Roots stay for ever.
const keepVersions = 8

// state is what is published. Fields are nil as long as there is nothing.
type state struct {
	root      *trust.Root
	rootRoles trust.RootRoles
	rootData  []byte

	targets     *trust.Targets
	targetsData []byte
	delegations map[string]trust.Keys

	snapshot  *trust.Snapshot
	timestamp *trust.Timestamp
}

// Expires tells when metadata does, by role; empty while there is none.
func (r *Repository) Expires(ctx context.Context) (map[string]time.Time, error) {
	s, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	expires := map[string]time.Time{}
	if s.root != nil {
		expires[trust.RoleRoot] = s.root.Signed.Expires
	}
	if s.targets != nil {
		expires[trust.RoleTargets], expires[trust.RoleSnapshot] = s.targets.Signed.Expires, s.snapshot.Signed.Expires
		expires[trust.RoleTimestamp] = s.timestamp.Signed.Expires
	}
	return expires, nil
}

func (r *Repository) load(ctx context.Context) (*state, error) {
	var s state
	var err error
	if s.rootData, err = r.Store.MetadataFile(ctx, "root.json"); fault.KindOf(err) == fault.NotFound {
		return &s, nil
	} else if err != nil {
		return nil, fmt.Errorf("read root: %w", err)
	}
	if s.root, err = trust.DecodeRoot(s.rootData); err != nil {
		return nil, stored(err)
	}
	if s.rootRoles, err = trust.RolesOf(s.root); err != nil {
		return nil, stored(err)
	}
	data, err := r.Store.MetadataFile(ctx, "timestamp.json")
	if fault.KindOf(err) == fault.NotFound {
		return &s, nil
	} else if err != nil {
		return nil, fmt.Errorf("read timestamp: %w", err)
	}
	if s.timestamp, err = trust.DecodeTimestamp(data); err != nil {
		return nil, stored(err)
	}
	return &s, r.loadListed(ctx, &s)
}

func (r *Repository) loadListed(ctx context.Context, s *state) error {
	name := trust.FileName(trust.RoleSnapshot, s.timestamp.Signed.Meta["snapshot.json"].Version)
	data, err := r.Store.MetadataFile(ctx, name)
	if err != nil {
		return stored(err)
	}
	if s.snapshot, err = trust.DecodeSnapshot(data); err != nil {
		return stored(err)
	}
	if s.targetsData, err = r.role(ctx, s, trust.RoleTargets); err != nil {
		return err
	}
	if s.targets, err = trust.DecodeTargets(trust.RoleTargets, s.targetsData); err != nil {
		return stored(err)
	}
	delegations, err := trust.DelegationsOf(s.targets)
	if err != nil {
		return stored(err)
	}
	s.delegations = make(map[string]trust.Keys, len(delegations))
	for _, d := range delegations {
		s.delegations[d.Role] = d.Keys
	}
	return nil
}

// role reads the published metadata of a role that the snapshot lists; nil if it lists none.
func (r *Repository) role(ctx context.Context, s *state, role string) ([]byte, error) {
	if s.snapshot == nil || s.snapshot.Signed.Meta[role+".json"] == nil {
		return nil, nil
	}
	name := trust.FileName(role, s.snapshot.Signed.Meta[role+".json"].Version)
	data, err := r.Store.MetadataFile(ctx, name)
	if err != nil {
		return nil, stored(err)
	}
	return data, nil
}

// stored is an error in our own store: nothing that the caller did.
func stored(err error) error {
	return fault.New(fault.Internal, "read the stored repository: %w", err)
}

// keys are the keys that have to sign a role's next version.
func (s *state) keys(role string) (trust.Keys, bool) {
	switch role {
	case trust.RoleRoot:
		return s.rootRoles.Root, s.root != nil
	case trust.RoleTargets:
		return s.rootRoles.Targets, s.root != nil
	default:
		keys, ok := s.delegations[role]
		return keys, ok
	}
}

// describe tells what pending metadata still needs; not ok if it can no longer be published.
func (s *state) describe(role string, data []byte) (api.PendingMetadata, bool) {
	version, err := versionOf(role, data)
	if err != nil {
		return api.PendingMetadata{}, false
	}
	keys, ok := s.keys(role)
	if role == trust.RoleRoot && !ok {
		root, errRoot := trust.DecodeRoot(data)
		if errRoot != nil {
			return api.PendingMetadata{}, false
		}
		roles, errRoles := trust.RolesOf(root)
		keys, ok = roles.Root, errRoles == nil
	}
	signed, err := trust.Tally(role, data, keys)
	if !ok || err != nil {
		return api.PendingMetadata{}, false
	}
	return api.PendingMetadata{Role: role, Version: version, SignedBy: signed, Threshold: keys.Threshold, Metadata: data}, true
}

func versionOf(role string, data []byte) (int64, error) {
	if role == trust.RoleRoot {
		root, err := trust.DecodeRoot(data)
		if err != nil {
			return 0, err
		}
		return root.Signed.Version, nil
	}
	meta, err := trust.DecodeTargets(role, data)
	if err != nil {
		return 0, err
	}
	return meta.Signed.Version, nil
}

// change is what one commit publishes.
type change struct {
	root     []byte            // a new root, if any
	roles    map[string][]byte // new targets, director and components, by role
	releases []release.Published
	done     string // role whose pending copy is done with
}

// commit signs what is signed online and saves everything in one transaction. The state is the one before; a new root or new targets
// must already be in it.
func (r *Repository) commit(ctx context.Context, s *state, c change, now time.Time) error {
	files := map[string][]byte{}
	if c.done != "" {
		files[pendingName(c.done)] = nil
	}
	if c.root != nil {
		files["root.json"], files[trust.FileName(trust.RoleRoot, s.root.Signed.Version)] = c.root, c.root
	}
	for role, data := range c.roles {
		version, err := versionOf(role, data)
		if err != nil {
			return err
		}
		files[trust.FileName(role, version)] = data
		forget(files, role, version)
	}
	if s.targets != nil {
		if err := r.signSnapshot(s, c.roles, files, now); err != nil {
			return err
		}
	}
	return r.Store.SaveMetadata(ctx, files, c.releases)
}

// signSnapshot adds the next snapshot and timestamp to files.
func (r *Repository) signSnapshot(s *state, roles map[string][]byte, files map[string][]byte, now time.Time) error {
	if err := r.isOnline(s.rootRoles); err != nil {
		return err
	}
	version := int64(1)
	if s.snapshot != nil {
		version = s.snapshot.Signed.Version + 1
	}
	snapshot, err := trust.NewSnapshot(version, now.Add(SnapshotLife), s.snapshot, roles)
	if err != nil {
		return err
	}
	if err = trust.Sign(snapshot, r.Keys.Snapshot); err != nil {
		return err
	}
	data, err := trust.Encode(snapshot)
	if err != nil {
		return err
	}
	files[trust.FileName(trust.RoleSnapshot, version)] = data
	forget(files, trust.RoleSnapshot, version)
	s.snapshot = snapshot
	return r.signTimestamp(s, data, files, now)
}

func (r *Repository) signTimestamp(s *state, snapshot []byte, files map[string][]byte, now time.Time) error {
	version := int64(1)
	if s.timestamp != nil {
		version = s.timestamp.Signed.Version + 1
	}
	timestamp := trust.NewTimestamp(version, now.Add(TimestampLife), s.snapshot.Signed.Version, snapshot)
	if err := trust.Sign(timestamp, r.Keys.Timestamp); err != nil {
		return err
	}
	data, err := trust.Encode(timestamp)
	if err != nil {
		return err
	}
	files["timestamp.json"] = data
	s.timestamp = timestamp
	return nil
}

// signDirector signs the next version of the director's role, which lists nothing.
func (r *Repository) signDirector(ctx context.Context, s *state, now time.Time) ([]byte, error) {
	version := int64(1)
	if old, err := r.role(ctx, s, trust.RoleDirector); err != nil {
		return nil, err
	} else if old != nil {
		if version, err = versionOf(trust.RoleDirector, old); err != nil {
			return nil, stored(err)
		}
		version++
	}
	director := trust.NewRole(version, now.Add(DirectorLife))
	if err := trust.Sign(director, r.Keys.Director); err != nil {
		return nil, err
	}
	return trust.Encode(director)
}

// isOnline checks that a root names our own keys for what we sign.
func (r *Repository) isOnline(roles trust.RootRoles) error {
	for _, c := range []struct {
		role   string
		keys   trust.Keys
		signer *trust.Signer
	}{{trust.RoleSnapshot, roles.Snapshot, r.Keys.Snapshot}, {trust.RoleTimestamp, roles.Timestamp, r.Keys.Timestamp}} {
		if c.keys.Threshold != 1 || c.keys.Public[c.signer.ID()] == nil {
			return fault.New(fault.Conflict, "sign %s.json: the root does not let this server's %s key %s sign it alone", c.role, c.role, c.signer.ID()).
				Hint("Run `firebreak key init` again with the root key: it signs a new root that names this server's keys.")
		}
	}
	return nil
}

// forget drops the version that is old enough.
func forget(files map[string][]byte, role string, version int64) {
	if version > keepVersions {
		files[trust.FileName(role, version-keepVersions)] = nil
	}
}
