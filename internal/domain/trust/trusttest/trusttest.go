// Package trusttest makes TUF repositories in memory, with all of their keys, for tests of whoever reads them.
package trusttest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/firebreak-dev/firebreak/internal/domain/evidence"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Role is one signing role of a repository: change it and publish.
type Role struct {
	Signers   []*trust.Signer // all keys of the role
	Threshold int
	Signing   int           // how many of them sign; 0 means all
	Life      time.Duration // until expiry
	Version   int64
}

// Keys are the role's public keys.
func (r *Role) Keys() trust.Keys {
	public := make([]ed25519.PublicKey, 0, len(r.Signers))
	for _, s := range r.Signers {
		public = append(public, s.Public())
	}
	return trust.NewKeys(r.Threshold, public...)
}

func (r *Role) signing() []*trust.Signer {
	if r.Signing > 0 {
		return r.Signers[:r.Signing]
	}
	return r.Signers
}

// Repository is a repository and its keys. Change Roles or Now and call Publish, or change Files directly to forge.
type Repository struct {
	Now       time.Time
	Roles     map[string]*Role // by role name: root, targets, snapshot, timestamp, director and every component
	Files     map[string][]byte
	Manifests map[string][]byte // by target path
	releases  map[string][][]byte
	tb        testing.TB
}

// New makes a repository with one key a role and publishes it. Root, targets and components live for 90 days.
func New(tb testing.TB, now time.Time, components ...string) *Repository {
	tb.Helper()
	r := &Repository{
		Now: now, Files: map[string][]byte{}, Manifests: map[string][]byte{}, Roles: map[string]*Role{},
		releases: map[string][][]byte{}, tb: tb,
	}
	for _, name := range append([]string{"root", "targets", "snapshot", "timestamp", "director"}, components...) {
		r.Roles[name] = &Role{Signers: []*trust.Signer{Signer(tb, name)}, Threshold: 1, Life: 90 * 24 * time.Hour}
	}
	r.Roles["snapshot"].Life, r.Roles["timestamp"].Life = 24*time.Hour, time.Hour
	r.PublishRoot()
	r.Publish()
	return r
}

// Signer makes a signer of a key that depends on nothing but its name.
func Signer(tb testing.TB, name string) *trust.Signer {
	tb.Helper()
	s, err := trust.NewSigner(Key(name))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// Key makes a private key that depends on nothing but its name.
func Key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("trusttest " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Add lists a release from the next Publish on and gives its manifest as bytes.
func (r *Repository) Add(m release.Manifest) []byte {
	r.tb.Helper()
	data, err := json.Marshal(m)
	r.must(err)
	r.releases[m.Component] = append(r.releases[m.Component], data)
	r.Manifests[trust.TargetPath(m.Component, m.Version, trust.ManifestName)] = data
	return data
}

// PublishRoot signs the next root by its role, and also by those who signed the root before it.
func (r *Repository) PublishRoot(also ...*trust.Signer) {
	r.tb.Helper()
	role := r.next("root")
	root, err := trust.NewRoot(role.Version, r.Now.Add(role.Life), trust.RootRoles{
		Root: role.Keys(), Targets: r.Roles["targets"].Keys(), Snapshot: r.Roles["snapshot"].Keys(), Timestamp: r.Roles["timestamp"].Keys(),
	})
	r.must(err)
	r.put("root", trust.FileName("root", role.Version), root, also)
}

// Publish signs all but the root anew.
func (r *Repository) Publish() {
	r.tb.Helper()
	files := map[string][]byte{}
	var delegations []trust.Delegation
	for _, name := range slices.Sorted(maps.Keys(r.Roles)) {
		if name == "director" || !trust.Reserved(name) {
			delegations = append(delegations, trust.Delegation{Role: name, Keys: r.Roles[name].Keys()})
			files[name] = r.publishRole(name)
		}
	}
	role := r.next("targets")
	targets, err := trust.NewTargets(role.Version, r.Now.Add(role.Life), delegations)
	r.must(err)
	files["targets"] = r.put("targets", trust.FileName("targets", role.Version), targets, nil)

	role = r.next("snapshot")
	snapshot, err := trust.NewSnapshot(role.Version, r.Now.Add(role.Life), nil, files)
	r.must(err)
	data := r.put("snapshot", trust.FileName("snapshot", role.Version), snapshot, nil)
	version := role.Version
	role = r.next("timestamp")
	r.put("timestamp", "timestamp.json", trust.NewTimestamp(role.Version, r.Now.Add(role.Life), version, data), nil)
}

func (r *Repository) publishRole(name string) []byte {
	role := r.next(name)
	meta := trust.NewRole(role.Version, r.Now.Add(role.Life))
	for _, manifest := range r.releases[name] {
		r.must(trust.AddRelease(meta, manifest))
	}
	return r.put(name, trust.FileName(name, role.Version), meta, nil)
}

// Fetch implements trust.Fetch.
func (r *Repository) Fetch(name string) ([]byte, error) {
	if data, ok := r.Files[name]; ok {
		return data, nil
	}
	return nil, fault.New(fault.NotFound, "no file %s", name)
}

func (r *Repository) next(role string) *Role {
	r.Roles[role].Version++
	return r.Roles[role]
}

func (r *Repository) put(role, name string, meta any, also []*trust.Signer) []byte {
	r.tb.Helper()
	signers := append(slices.Clone(also), r.Roles[role].signing()...)
	var data []byte
	var err error
	switch m := meta.(type) {
	case *trust.Root:
		data, err = sign(m, signers)
	case *trust.Targets:
		data, err = sign(m, signers)
	case *trust.Snapshot:
		data, err = sign(m, signers)
	case *trust.Timestamp:
		data, err = sign(m, signers)
	default:
		err = fmt.Errorf("no metadata: %T", meta)
	}
	r.must(err)
	r.Files[name] = data
	return data
}

func sign[T metadata.Roles](meta *metadata.Metadata[T], signers []*trust.Signer) ([]byte, error) {
	if err := trust.Sign(meta, signers...); err != nil {
		return nil, err
	}
	return trust.Encode(meta)
}

func (r *Repository) must(err error) {
	r.tb.Helper()
	if err != nil {
		r.tb.Fatal(err)
	}
}

// Plan is a small plan that passes its checks: rings of 1 and 3 hosts and the rest, with a minute of bake after each.
func Plan() plan.Plan {
	bake := evidence.Requirement{Bake: evidence.Duration(time.Minute)}
	return plan.Plan{Name: "small", Rings: []plan.Ring{
		{Name: "one", Hosts: 1, Evidence: bake}, {Name: "few", Hosts: 3, Evidence: bake}, {Name: "rest", Share: 1},
	}}
}

// Manifest is a manifest of one file that passes its checks, validated, created at the given time.
func Manifest(component, version string, serial int64, created time.Time) release.Manifest {
	content := []byte(component + " " + version)
	digest := release.DigestOf(content)
	return release.Manifest{
		Format: 1, Component: component, Version: version, Serial: serial, Kind: release.Content, Created: created.UTC(),
		Artifacts: []release.Artifact{{
			Platform: release.AnyPlatform, Format: release.File, Name: "rules.json", Digest: digest, Size: int64(len(content)),
		}},
		Verdicts: []release.Verdict{{Validator: "check", Artifact: digest, Passed: true, At: created.UTC()}},
		Plan:     Plan(),
	}
}
