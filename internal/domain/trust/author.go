package trust

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// The four documents of a repository, and the fifth for delegated roles, which has the form of targets.
type (
	// Root names the keys of the top-level roles.
	Root = metadata.Metadata[metadata.RootType]
	// Targets delegates to components; as a component's own metadata it lists its releases.
	Targets = metadata.Metadata[metadata.TargetsType]
	// Snapshot lists the versions of all targets metadata.
	Snapshot = metadata.Metadata[metadata.SnapshotType]
	// Timestamp names the newest snapshot.
	Timestamp = metadata.Metadata[metadata.TimestampType]
)

// RootRoles are the keys of the top-level roles.
type RootRoles struct {
	Root, Targets, Snapshot, Timestamp Keys
}

// NewRoot makes an unsigned root.
func NewRoot(version int64, expires time.Time, roles RootRoles) (*Root, error) {
	root := metadata.Root(wire(expires))
	root.Signed.Version = version
	named := map[string]Keys{RoleRoot: roles.Root, RoleTargets: roles.Targets, RoleSnapshot: roles.Snapshot, RoleTimestamp: roles.Timestamp}
	for name, keys := range named {
		if err := keys.Check(name); err != nil {
			return nil, err
		}
		root.Signed.Roles[name] = &metadata.Role{KeyIDs: keys.IDs(), Threshold: keys.Threshold}
		addKeys(root.Signed.Keys, keys)
	}
	return root, nil
}

// Delegation names the keys of a component's role, or of the director's.
type Delegation struct {
	Role string
	Keys Keys
}

// NewTargets makes an unsigned top-level targets that does nothing but delegate.
func NewTargets(version int64, expires time.Time, delegations []Delegation) (*Targets, error) {
	targets := metadata.Targets(wire(expires))
	targets.Signed.Version = version
	targets.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}, Roles: []metadata.DelegatedRole{}}
	for _, d := range delegations {
		if err := d.Keys.Check(d.Role); err != nil {
			return nil, err
		}
		addKeys(targets.Signed.Delegations.Keys, d.Keys)
		targets.Signed.Delegations.Roles = append(targets.Signed.Delegations.Roles, metadata.DelegatedRole{
			Name: d.Role, KeyIDs: d.Keys.IDs(), Threshold: d.Keys.Threshold, Terminating: true, Paths: Paths(d.Role),
		})
	}
	return targets, nil
}

// NewRole makes unsigned metadata of a component (or of the director, which lists nothing).
func NewRole(version int64, expires time.Time) *Targets {
	role := metadata.Targets(wire(expires))
	role.Signed.Version = version
	return role
}

// AddRelease lists a release in its component's metadata: its manifest, given as the very bytes that are published, and its artifacts.
func AddRelease(role *Targets, manifest []byte) error {
	m, err := DecodeManifest(manifest)
	if err != nil {
		return err
	}
	custom, err := json.Marshal(Custom{Serial: m.Serial, Floor: m.Floor})
	if err != nil {
		return fmt.Errorf("encode custom of %s %s: %w", m.Component, m.Version, err)
	}
	path := TargetPath(m.Component, m.Version, ManifestName)
	file := targetFile(path, release.DigestOf(manifest), int64(len(manifest)))
	file.Custom = (*json.RawMessage)(&custom)
	role.Signed.Targets[path] = file
	for _, a := range m.Artifacts {
		path := TargetPath(m.Component, m.Version, ArtifactName(m, a))
		role.Signed.Targets[path] = targetFile(path, a.Digest, a.Size)
	}
	return nil
}

// ArtifactName is the name of an artifact among the targets of its release: with the platform in front if there are several.
func ArtifactName(m release.Manifest, a release.Artifact) string {
	if len(m.Artifacts) == 1 {
		return a.Name
	}
	return string(bytes.ReplaceAll([]byte(a.Platform), []byte("/"), []byte("-"))) + "-" + a.Name
}

// NewSnapshot makes an unsigned snapshot that lists what the previous one lists, if there is one, with the targets metadata in files, by
// role, in place of older versions.
func NewSnapshot(version int64, expires time.Time, previous *Snapshot, files map[string][]byte) (*Snapshot, error) {
	snapshot := metadata.Snapshot(wire(expires))
	snapshot.Signed.Version = version
	if previous != nil {
		snapshot.Signed.Meta = maps.Clone(previous.Signed.Meta)
	}
	for role, data := range files {
		meta, err := DecodeTargets(role, data)
		if err != nil {
			return nil, err
		}
		snapshot.Signed.Meta[role+".json"] = metaFile(meta.Signed.Version, data)
	}
	return snapshot, nil
}

// NewTimestamp makes an unsigned timestamp that names a snapshot.
func NewTimestamp(version int64, expires time.Time, snapshotVersion int64, snapshot []byte) *Timestamp {
	timestamp := metadata.Timestamp(wire(expires))
	timestamp.Signed.Version = version
	timestamp.Signed.Meta["snapshot.json"] = metaFile(snapshotVersion, snapshot)
	return timestamp
}

// Sign adds the signers' signatures, in place of earlier ones of the same keys.
func Sign[T metadata.Roles](meta *metadata.Metadata[T], signers ...*Signer) error {
	payload, err := canonical(meta.Signed)
	if err != nil {
		return err
	}
	for _, s := range signers {
		sig, errSign := s.sign(payload)
		if errSign != nil {
			return errSign
		}
		meta.Signatures = slices.DeleteFunc(meta.Signatures, func(old metadata.Signature) bool { return old.KeyID == s.id })
		meta.Signatures = append(meta.Signatures, metadata.Signature{KeyID: s.id, Signature: sig})
	}
	return nil
}

// Encode writes metadata as it is served.
func Encode[T metadata.Roles](meta *metadata.Metadata[T]) ([]byte, error) {
	if meta.Signatures == nil {
		meta.Signatures = []metadata.Signature{} // written as [], not null
	}
	data, err := meta.ToBytes(false)
	if err != nil {
		return nil, fmt.Errorf("encode metadata: %w", err)
	}
	return data, nil
}

// SignBytes adds signatures to the encoded metadata of a role and returns it encoded again.
func SignBytes(role string, data []byte, signers ...*Signer) ([]byte, error) {
	switch role {
	case RoleRoot:
		return signBytes[metadata.RootType](role, data, signers)
	case RoleSnapshot:
		return signBytes[metadata.SnapshotType](role, data, signers)
	case RoleTimestamp:
		return signBytes[metadata.TimestampType](role, data, signers)
	default:
		return signBytes[metadata.TargetsType](role, data, signers)
	}
}

func signBytes[T metadata.Roles](role string, data []byte, signers []*Signer) ([]byte, error) {
	meta, err := parse[T](role+".json", data, MaxMetadata)
	if err != nil {
		return nil, err
	}
	if err := Sign(meta, signers...); err != nil {
		return nil, err
	}
	return Encode(meta)
}

// DecodeRoot reads a root without judging its signatures.
func DecodeRoot(data []byte) (*Root, error) {
	return parse[metadata.RootType]("root.json", data, MaxRoot)
}

// DecodeTargets reads targets metadata of a role without judging its signatures.
func DecodeTargets(role string, data []byte) (*Targets, error) {
	return parse[metadata.TargetsType](role+".json", data, MaxMetadata)
}

// DecodeSnapshot reads a snapshot without judging its signatures.
func DecodeSnapshot(data []byte) (*Snapshot, error) {
	return parse[metadata.SnapshotType]("snapshot.json", data, MaxSnapshot)
}

// DecodeTimestamp reads a timestamp without judging its signatures.
func DecodeTimestamp(data []byte) (*Timestamp, error) {
	return parse[metadata.TimestampType]("timestamp.json", data, MaxTimestamp)
}

// RolesOf are the keys of the top-level roles that a root names.
func RolesOf(root *Root) (RootRoles, error) {
	var roles RootRoles
	named := map[string]*Keys{RoleRoot: &roles.Root, RoleTargets: &roles.Targets, RoleSnapshot: &roles.Snapshot, RoleTimestamp: &roles.Timestamp}
	for name, keys := range named {
		found, err := rootKeys(root, name)
		if err != nil {
			return RootRoles{}, fault.New(fault.Invalid, "read root.json: %w", err)
		}
		*keys = found
	}
	return roles, nil
}

// DelegationsOf lists whom targets delegates to, in order.
func DelegationsOf(targets *Targets) ([]Delegation, error) {
	if targets.Signed.Delegations == nil {
		return nil, nil
	}
	all := make([]Delegation, 0, len(targets.Signed.Delegations.Roles))
	for _, r := range targets.Signed.Delegations.Roles {
		keys, err := delegatedKeys(targets, r.Name)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read targets.json: %w", err)
		}
		all = append(all, Delegation{Role: r.Name, Keys: keys})
	}
	return all, nil
}

// Tally lists the ids of those keys that validly signed the encoded metadata of a role. Whether they are enough is
// keys.Threshold's to say.
func Tally(role string, data []byte, keys Keys) ([]string, error) {
	signed, signatures, err := unseal(role, data)
	if err != nil {
		return nil, err
	}
	return tally(signed, signatures, keys), nil
}

// Merge adds to one copy of a role's metadata the signatures of another copy. It returns a Conflict if the two differ in what is signed.
// Signatures of keys not in keys, and invalid ones, are dropped.
func Merge(role string, have, more []byte, keys Keys) ([]byte, error) {
	a, signaturesA, err := unseal(role, have)
	if err != nil {
		return nil, err
	}
	b, signaturesB, err := unseal(role, more)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(a, b) {
		return nil, fault.New(fault.Conflict, "merge signatures of %s.json: the two copies do not say the same", role)
	}
	var kept []metadata.Signature
	for _, id := range keys.IDs() {
		one := Keys{Threshold: 1, Public: map[string]ed25519.PublicKey{id: keys.Public[id]}}
		for _, s := range slices.Concat(signaturesA, signaturesB) {
			if len(tally(a, []metadata.Signature{s}, one)) == 1 {
				kept = append(kept, s)
				break
			}
		}
	}
	return replaceSignatures(role, have, kept)
}

// SameSigned tells whether two copies of a role's metadata say the same, whoever signed them.
func SameSigned(role string, a, b []byte) bool {
	signedA, _, errA := unseal(role, a)
	signedB, _, errB := unseal(role, b)
	return errA == nil && errB == nil && bytes.Equal(signedA, signedB)
}

func tally(signed []byte, signatures []metadata.Signature, keys Keys) []string {
	var valid []string
	for _, s := range signatures {
		public, ok := keys.Public[s.KeyID]
		if ok && ed25519.Verify(public, signed, s.Signature) && !slices.Contains(valid, s.KeyID) {
			valid = append(valid, s.KeyID)
		}
	}
	slices.Sort(valid)
	return valid
}

// unseal gives the bytes that are signed, and the signatures.
func unseal(role string, data []byte) ([]byte, []metadata.Signature, error) {
	switch role {
	case RoleRoot:
		return unsealAs[metadata.RootType](role, data)
	case RoleSnapshot:
		return unsealAs[metadata.SnapshotType](role, data)
	case RoleTimestamp:
		return unsealAs[metadata.TimestampType](role, data)
	default:
		return unsealAs[metadata.TargetsType](role, data)
	}
}

func unsealAs[T metadata.Roles](role string, data []byte) ([]byte, []metadata.Signature, error) {
	meta, err := parse[T](role+".json", data, MaxMetadata)
	if err != nil {
		return nil, nil, err
	}
	signed, err := canonical(meta.Signed)
	return signed, meta.Signatures, err
}

func replaceSignatures(role string, data []byte, signatures []metadata.Signature) ([]byte, error) {
	if role == RoleRoot {
		meta, err := DecodeRoot(data)
		if err != nil {
			return nil, err
		}
		meta.Signatures = signatures
		return Encode(meta)
	}
	meta, err := DecodeTargets(role, data)
	if err != nil {
		return nil, err
	}
	meta.Signatures = signatures
	return Encode(meta)
}

func addKeys(to map[string]*metadata.Key, keys Keys) {
	for id, public := range keys.Public {
		to[id] = tufKey(public)
	}
}

func targetFile(path string, digest release.Digest, size int64) *metadata.TargetFiles {
	return &metadata.TargetFiles{Length: size, Hashes: metadata.Hashes{"sha256": sum(digest)}, Path: path}
}

func metaFile(version int64, data []byte) *metadata.MetaFiles {
	return &metadata.MetaFiles{Version: version, Length: int64(len(data)), Hashes: metadata.Hashes{"sha256": sum(release.DigestOf(data))}}
}

// wire is a time as TUF clients of every language read it: UTC, whole seconds.
func wire(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }
