package trust

import (
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Files are verified metadata as bytes, by name: "root.json", "timestamp.json", "snapshot.json", "targets.json", "director.json" and
// "<component>.json", always the newest. They belong together: store them in one atomic write.
type Files map[string][]byte

// View is what an endpoint trusts: the newest metadata that it could verify. It answers from that whether or not it has expired since;
// [View.Fresh] tells whether it has. A View is not safe for concurrent use.
type View struct {
	set     *trustedmetadata.TrustedMetadata
	files   Files
	ignored []error
}

// Open makes a View from a root that is trusted out of band and the files that an earlier View gave out; the newer root counts. Only a
// bad root is an error. Other files that do not verify are left out, as if they had never been fetched: see [View.Ignored].
//
// Nothing expires in Open: an endpoint that boots offline still knows its floor and its director.
func Open(root []byte, cached Files) (*View, error) {
	var ignored []error
	set, err := openRoot(root)
	if stored := cached["root.json"]; stored != nil {
		newer, errStored := openRoot(stored)
		if errStored == nil && (err != nil || newer.Root.Signed.Version >= set.Root.Signed.Version) {
			root, set, err = stored, newer, nil
		} else if errStored != nil && err == nil {
			ignored = append(ignored, errStored)
		}
	}
	if err != nil {
		return nil, err
	}
	v := &View{set: set, files: Files{"root.json": root}, ignored: ignored}
	if cached["timestamp.json"] == nil {
		return v, nil
	}
	v.load(cached)
	return v, nil
}

// load takes over the stored files that verify.
func (v *View) load(cached Files) {
	w := walk{set: v.set, cached: cached, files: v.files, fetch: func(name string) ([]byte, error) {
		return nil, fault.New(fault.NotFound, "no stored file is good for %s", name)
	}}
	if err := w.top(); err != nil {
		v.ignored = append(v.ignored, err)
		return
	}
	for _, name := range w.delegations() {
		if cached[name+".json"] == nil {
			continue
		}
		if err := w.role(name, RoleTargets); err != nil {
			v.ignored = append(v.ignored, err)
		}
	}
}

func openRoot(data []byte) (*trustedmetadata.TrustedMetadata, error) {
	if _, err := DecodeRoot(data); err != nil {
		return nil, err
	}
	set, err := trustedmetadata.New(data)
	if err != nil {
		return nil, fault.New(fault.Denied, "open root.json: it is not signed by the keys that it names: %w", err)
	}
	set.RefTime = time.Time{} // before every expiry
	return set, nil
}

// Ignored tells which stored files did not verify in [Open], for the log; nil if all did.
func (v *View) Ignored() error { return errors.Join(v.ignored...) }

// Clone is a View that can be refreshed while others go on reading this one.
func (v *View) Clone() *View {
	set := *v.set
	return &View{set: &set, files: maps.Clone(v.files), ignored: v.ignored}
}

// Files are all verified files.
func (v *View) Files() Files {
	return maps.Clone(v.files)
}

// RootVersion is the version of the trusted root.
func (v *View) RootVersion() int64 { return v.set.Root.Signed.Version }

// Fresh tells whether new releases of the component may be activated by this metadata: nil, or Unavailable with what has expired or is
// missing.
func (v *View) Fresh(now time.Time, component string) error {
	if v.set.Timestamp == nil || v.set.Snapshot == nil || v.set.Targets[RoleTargets] == nil {
		return fault.New(fault.Unavailable, "judge trust in %s: no repository metadata was verified yet", component).
			Hint("Wait for the next refresh; if it fails, its error says why.")
	}
	if _, err := v.role(component); err != nil {
		return err
	}
	s := v.set
	for _, f := range []struct {
		name    string
		expires time.Time
	}{
		{"root.json", s.Root.Signed.Expires},
		{"timestamp.json", s.Timestamp.Signed.Expires},
		{"snapshot.json", s.Snapshot.Signed.Expires},
		{"targets.json", s.Targets[RoleTargets].Signed.Expires},
		{component + ".json", s.Targets[component].Signed.Expires},
	} {
		if now.After(f.expires) {
			return expired("judge trust in "+component, f.name, f.expires, now)
		}
	}
	name := component + ".json"
	if named, have := s.Snapshot.Signed.Meta[name], s.Targets[component].Signed.Version; named == nil || named.Version != have {
		return fault.New(fault.Unavailable, "judge trust in %s: %s version %d is not what the newest snapshot names", component, name, have)
	}
	return nil
}

// Keys are the keys of a role: one of the four top-level roles, a component, or the director.
func (v *View) Keys(role string) (Keys, error) {
	switch role {
	case RoleRoot, RoleTargets, RoleSnapshot, RoleTimestamp:
		return rootKeys(v.set.Root, role)
	}
	if v.set.Targets[RoleTargets] == nil {
		return Keys{}, fault.New(fault.Unavailable, "find keys of role %s: no targets.json was verified yet", role)
	}
	return delegatedKeys(v.set.Targets[RoleTargets], role)
}

// Director is who signs directives and leases.
func (v *View) Director() (Keys, error) { return v.Keys(RoleDirector) }

// Components lists the components that the repository delegates to.
func (v *View) Components() []string {
	if v.set.Targets[RoleTargets] == nil {
		return nil
	}
	w := walk{set: v.set}
	return slices.DeleteFunc(w.delegations(), Reserved)
}

// Releases lists the releases of a component, oldest first.
func (v *View) Releases(component string) ([]Release, error) {
	role, err := v.role(component)
	if err != nil {
		return nil, err
	}
	return ReleasesIn(component, role)
}

// Release finds one release of a component.
func (v *View) Release(component, version string) (Release, error) {
	all, err := v.Releases(component)
	if err != nil {
		return Release{}, err
	}
	for _, r := range all {
		if r.Version == version {
			return r, nil
		}
	}
	return Release{}, fault.New(fault.NotFound, "find release %s of %s: the signed metadata does not list it", version, component)
}

// Floor is the highest floor of all releases of a component: no release with a lower serial may be activated any more. It is 0 while
// nothing is known of the component.
func (v *View) Floor(component string) (int64, error) {
	all, err := v.Releases(component)
	if fault.KindOf(err) == fault.NotFound || fault.KindOf(err) == fault.Unavailable {
		return 0, nil
	}
	var floor int64
	for _, r := range all {
		floor = max(floor, r.Floor)
	}
	return floor, err
}

// Manifest verifies and reads the manifest of a release: see [Release.Open].
func (v *View) Manifest(component, version string, data []byte) (release.Manifest, error) {
	r, err := v.Release(component, version)
	if err != nil {
		return release.Manifest{}, err
	}
	return r.Open(data)
}

// role gives a component's verified metadata, provided that targets lets the component speak for its own paths.
func (v *View) role(component string) (*Targets, error) {
	targets := v.set.Targets[RoleTargets]
	if targets == nil {
		return nil, fault.New(fault.Unavailable, "find component %s: no targets.json was verified yet", component)
	}
	if _, err := delegatedKeys(targets, component); err != nil || Reserved(component) {
		return nil, fault.New(fault.NotFound, "find component %s: the repository does not know it", component).
			Hint("The publisher adds a component with `firebreak key init`.")
	}
	path := TargetPath(component, "0", ManifestName)
	for _, d := range targets.Signed.Delegations.Roles {
		if d.Name != component {
			continue
		}
		if ok, err := d.IsDelegatedPath(path); err != nil || !ok {
			return nil, fault.New(fault.Denied, "find component %s: targets.json does not let its role speak for %s/*/*", component, component)
		}
	}
	if role := v.set.Targets[component]; role != nil {
		return role, nil
	}
	return nil, fault.New(fault.NotFound, "find releases of %s: none was published, or its metadata was never verified", component)
}
