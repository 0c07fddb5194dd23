package trust

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Release is what signed metadata says of one release, before its manifest is at hand.
type Release struct {
	Component string
	Version   string
	Digest    release.Digest // of the manifest
	Size      int64          // of the manifest, in bytes
	Serial    int64
	Floor     int64
}

// ReleasesIn lists the releases in a component's metadata, oldest first. It does not judge signatures.
func ReleasesIn(component string, role *Targets) ([]Release, error) {
	var all []Release
	for path, file := range role.Signed.Targets {
		owner, version, name, ok := SplitTarget(path)
		if !ok || name != ManifestName || owner != component {
			continue
		}
		r, err := releaseOf(component, version, file)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b Release) int { return int(min(max(a.Serial-b.Serial, -1), 1)) })
	for i := 1; i < len(all); i++ {
		if all[i].Serial == all[i-1].Serial {
			return nil, fault.New(fault.Denied, "read releases of %s: versions %s and %s have the same serial %d",
				component, all[i-1].Version, all[i].Version, all[i].Serial)
		}
	}
	return all, nil
}

func releaseOf(component, version string, file *metadata.TargetFiles) (Release, error) {
	r := Release{Component: component, Version: version, Size: file.Length, Digest: digestOf(file)}
	refuse := func(why string) (Release, error) {
		return Release{}, fault.New(fault.Denied, "read release %s %s from the metadata of %s: %s", component, version, component, why)
	}
	if !r.Digest.Valid() {
		return refuse("its manifest has no sha256")
	}
	if r.Size < 1 || r.Size > release.MaxManifestSize {
		return refuse("its manifest has an impossible size")
	}
	var custom Custom
	if file.Custom == nil || json.Unmarshal(*file.Custom, &custom) != nil || custom.Serial < 1 {
		return refuse("it does not say serial and floor")
	}
	if custom.Floor < 0 || custom.Floor > custom.Serial {
		return refuse("its floor is not between 0 and its serial")
	}
	r.Serial, r.Floor = custom.Serial, custom.Floor
	return r, nil
}

func digestOf(file *metadata.TargetFiles) release.Digest {
	return release.Digest("sha256:" + hex.EncodeToString(file.Hashes["sha256"]))
}

func sum(digest release.Digest) metadata.HexBytes {
	raw, err := hex.DecodeString(digest.Hex())
	if err != nil {
		return nil // cannot be: Hex checks the digits
	}
	return raw
}

// Open verifies a manifest's bytes against the signed metadata and reads it.
func (r Release) Open(data []byte) (release.Manifest, error) {
	refuse := func(format string, args ...any) (release.Manifest, error) {
		args = append([]any{r.Component, r.Version}, args...)
		return release.Manifest{}, fault.New(fault.Denied, "verify manifest of %s %s: "+format, args...)
	}
	if int64(len(data)) != r.Size {
		return refuse("it has %d bytes, the signed metadata says %d", len(data), r.Size)
	}
	if got := release.DigestOf(data); got != r.Digest {
		return refuse("its digest is %s, the signed metadata says %s", got, r.Digest)
	}
	m, err := DecodeManifest(data)
	if err != nil {
		return release.Manifest{}, err
	}
	if m.Component != r.Component || m.Version != r.Version {
		return refuse("it describes %s %s", m.Component, m.Version)
	}
	if m.Serial != r.Serial || m.Floor != r.Floor {
		return refuse("it says serial %d and floor %d, the signed metadata says %d and %d", m.Serial, m.Floor, r.Serial, r.Floor)
	}
	return m, nil
}

// DecodeManifest reads a manifest and lists every mistake in it at once: unknown fields first, then what [release.Manifest.Check] finds.
func DecodeManifest(data []byte) (release.Manifest, error) {
	const doing = "read release manifest"
	if len(data) > release.MaxManifestSize {
		return release.Manifest{}, fault.New(fault.Invalid, "%s: it has %d bytes, %d is the most", doing, len(data), release.MaxManifestSize)
	}
	if err := plain(data); err != nil {
		return release.Manifest{}, fault.New(fault.Invalid, "%s: %w", doing, err)
	}
	var m release.Manifest
	problems, err := unknownFields(data, m)
	if err != nil {
		return release.Manifest{}, fault.New(fault.Invalid, "%s: %w", doing, err)
	}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(&m); err != nil {
		return release.Manifest{}, fault.New(fault.Invalid, "%s: %w", doing, err)
	}
	problems = append(problems, m.Check()...)
	for i, a := range m.Artifacts {
		if ArtifactName(m, a) == ManifestName {
			problems = append(problems, fault.Problem{Path: at("artifacts", i) + ".name", Message: "must not be " + ManifestName + ", which is the manifest's own name"})
		}
	}
	if err := fault.Problems(doing, problems); err != nil {
		return release.Manifest{}, err
	}
	return m, nil
}
