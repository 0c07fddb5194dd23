package repository

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// addsOnly refuses metadata that changes or leaves out anything of a published release, or adds to one.
func addsOnly(component string, old, meta *trust.Targets) error {
	published := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(old.Signed.Targets)) {
		was, is := old.Signed.Targets[path], meta.Signed.Targets[path]
		_, version, name, _ := trust.SplitTarget(path)
		published[version] = true
		if is == nil {
			return fault.New(fault.Conflict, "submit metadata of %s: it leaves out %s of release %s; what was published stays", component, name, version).
				Hint("Fetch the repository again and publish anew; to take a release back, recall it.")
		}
		a, b := digest(was.Hashes["sha256"]), digest(is.Hashes["sha256"])
		if a != b || was.Length != is.Length {
			return fault.New(fault.Conflict, "submit metadata of %s: two publishes of version %s with different bytes: %s is %s there and %s here", component, version, name, a, b).
				Hint("A version is published once. Publish the new bytes under a new version.")
		}
		if !sameCustom(was.Custom, is.Custom) {
			return fault.New(fault.Conflict, "submit metadata of %s: it changes serial or floor of release %s", component, version)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(meta.Signed.Targets)) {
		if _, version, name, _ := trust.SplitTarget(path); old.Signed.Targets[path] == nil && published[version] {
			return fault.New(fault.Conflict, "submit metadata of %s: it adds %s to release %s, which is published", component, name, version)
		}
	}
	return nil
}

// newReleases checks all releases that meta adds to old and gives them as they will be stored.
func (r *Repository) newReleases(ctx context.Context, component string, policy ComponentPolicy, old, meta *trust.Targets) ([]release.Published, error) {
	if d := meta.Signed.Delegations; d != nil && len(d.Roles) > 0 {
		return nil, fault.New(fault.Invalid, "submit metadata of %s: a component must not delegate", component)
	}
	before, err := trust.ReleasesIn(component, old)
	if err != nil {
		return nil, stored(err)
	}
	after, err := trust.ReleasesIn(component, meta)
	if err != nil {
		return nil, invalid(err)
	}
	for i, b := range before {
		if i >= len(after) || after[i] != b {
			return nil, fault.New(fault.Conflict, "submit metadata of %s: release %s is not where it was in the order of serials", component, b.Version)
		}
	}
	serial := int64(0)
	if len(before) > 0 {
		serial = before[len(before)-1].Serial
	}
	listed := map[string]bool{}
	var all []release.Published
	for _, n := range after[len(before):] {
		if serial++; n.Serial != serial {
			return nil, fault.New(fault.Conflict, "submit release %s %s: its serial is %d, the next one is %d", component, n.Version, n.Serial, serial).
				Hint("Fetch the repository again and publish anew.")
		}
		m, err := r.newRelease(ctx, n, policy, meta, listed)
		if err != nil {
			return nil, err
		}
		all = append(all, release.Published{Manifest: m, Digest: n.Digest})
	}
	for _, path := range slices.Sorted(maps.Keys(meta.Signed.Targets)) {
		if old.Signed.Targets[path] == nil && !listed[path] {
			return nil, fault.New(fault.Invalid, "submit metadata of %s: target %s belongs to no release of it", component, path)
		}
	}
	return all, nil
}

// newRelease checks one release to the last byte. The target paths that it accounts for are added to listed.
func (r *Repository) newRelease(ctx context.Context, n trust.Release, policy ComponentPolicy, meta *trust.Targets, listed map[string]bool) (release.Manifest, error) {
	what := fmt.Sprintf("submit release %s %s", n.Component, n.Version)
	data, err := r.blob(ctx, n.Digest, n.Size, release.MaxManifestSize)
	if err != nil {
		return release.Manifest{}, fmt.Errorf("%s: manifest: %w", what, err)
	}
	m, err := n.Open(data)
	if err != nil {
		return release.Manifest{}, fault.New(fault.Invalid, "%s: %w", what, err)
	}
	if err := judge(what, m, policy, r.Clock.Now()); err != nil {
		return release.Manifest{}, err
	}
	listed[trust.TargetPath(n.Component, n.Version, trust.ManifestName)] = true
	for _, a := range m.Artifacts {
		path := trust.TargetPath(n.Component, n.Version, trust.ArtifactName(m, a))
		target := meta.Signed.Targets[path]
		if target == nil || digest(target.Hashes["sha256"]) != a.Digest || target.Length != a.Size {
			return release.Manifest{}, fault.New(fault.Invalid, "%s: target %s is not there as the manifest says: %s, %d bytes", what, path, a.Digest, a.Size)
		}
		listed[path] = true
		if _, err := r.blob(ctx, a.Digest, a.Size, 0); err != nil {
			return release.Manifest{}, fmt.Errorf("%s: artifact %s: %w", what, a.Name, err)
		}
	}
	return m, nil
}

// judge applies what the owner decided. A missing verdict is a rejection; a failed one always is.
func judge(what string, m release.Manifest, policy ComponentPolicy, now time.Time) error {
	for _, v := range m.Verdicts {
		if !v.Passed {
			return fault.New(fault.Invalid, "%s: validator %s rejected artifact %s: %s", what, v.Validator, v.Artifact.Short(), v.Detail)
		}
	}
	switch {
	case m.Kind != policy.Kind:
		return fault.New(fault.Invalid, "%s: its kind is %s, the component's is %s", what, m.Kind, policy.Kind)
	case policy.ValidationRequired && !m.Validated():
		return fault.New(fault.Invalid, "%s: not every artifact has the verdict of a validator; a missing verdict is a rejection", what).
			Hint("Publish with --validator, or say `validation: none` in the component's file.")
	case m.Created.After(now.Add(trust.MaxSkew)):
		return fault.New(fault.Invalid, "%s: it was created at %s, this server's clock says %s", what, m.Created.Format(time.RFC3339), now.Format(time.RFC3339)).
			Hint("Check the clocks of the publisher and of this server.")
	}
	return nil
}

// blob reads a whole blob, checks size and digest, and gives its bytes if it has at most keep of them.
func (r *Repository) blob(ctx context.Context, want release.Digest, size, keep int64) ([]byte, error) {
	b, have, err := r.Blobs.Open(ctx, want)
	if fault.KindOf(err) == fault.NotFound {
		return nil, fault.New(fault.NotFound, "%s was not uploaded: %w", want, err).Hint("Upload it first; `firebreak release publish` does.")
	} else if err != nil {
		return nil, err
	}
	defer b.Close()
	if have != size {
		return nil, fault.New(fault.Invalid, "%s has %d bytes here, the metadata says %d", want, have, size)
	}
	if keep >= size {
		data, err := io.ReadAll(io.LimitReader(b, size+1))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", want, err)
		}
		return data, nil // whoever asked for the bytes compares their digest
	}
	h := sha256.New()
	if _, err := io.Copy(h, b); err != nil {
		return nil, fmt.Errorf("read %s: %w", want, err)
	}
	if got := release.DigestFrom([sha256.Size]byte(h.Sum(nil))); got != want {
		return nil, fault.New(fault.Invalid, "%s is damaged here: its bytes give %s", want, got)
	}
	return nil, nil
}

func digest(sum []byte) release.Digest { return release.Digest("sha256:" + hex.EncodeToString(sum)) }

func sameCustom(a, b *json.RawMessage) bool {
	if a == nil || b == nil {
		return a == b
	}
	var x, y trust.Custom
	return json.Unmarshal(*a, &x) == nil && json.Unmarshal(*b, &y) == nil && x == y
}
