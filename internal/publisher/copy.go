package publisher

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Copy publishes a release of another control plane here too, with the very manifest that it has there: cells know a release by that. The
// other one's metadata must be signed by as many of the component's keys as this control plane asks for; what it says of itself is not
// trusted. Deltas are not copied.
func (p *Publisher) Copy(ctx context.Context, from Server, component, version string) (Published, error) {
	if err := checkRole(component); err != nil {
		return Published{}, err
	}
	signer, err := p.Keyring.Signer(component)
	if err != nil {
		return Published{}, err
	}
	v, err := p.view(ctx, component)
	if err != nil {
		return Published{}, err
	}
	r, err := offered(ctx, v, from, component, version)
	if err != nil {
		return Published{}, fmt.Errorf("copy %s %s: %w", component, version, err)
	}
	manifest, err := fetch(ctx, from, r)
	if err != nil {
		return Published{}, err
	}
	done := Published{Digest: r.Digest}
	if done.Manifest, err = r.Open(manifest); err != nil {
		return Published{}, err
	}
	if done.Before, err = has(v, r); err != nil {
		return Published{}, err
	}
	if err = p.carry(ctx, from, done, manifest); err != nil || done.Before {
		return done, err
	}
	metadata, err := p.nextRole(v, component, manifest, signer)
	if err != nil {
		return Published{}, err
	}
	if done.Submission, err = p.Server.Submit(ctx, component, metadata); err != nil {
		return Published{}, fmt.Errorf("copy %s %s: %w", component, version, err)
	}
	return done, nil
}

// offered finds the release in another control plane's metadata, which must be signed by the component's owners as this one knows them.
func offered(ctx context.Context, v *trust.View, from Server, component, version string) (trust.Release, error) {
	keys, err := v.Keys(component)
	if err != nil {
		return trust.Release{}, err
	}
	data, err := newest(ctx, from, component)
	if err != nil {
		return trust.Release{}, err
	}
	signed, err := trust.Tally(component, data, keys)
	if err != nil {
		return trust.Release{}, err
	}
	if need := max(1, keys.Threshold); len(signed) < need {
		return trust.Release{}, fault.New(fault.Denied, "the other control plane's %s.json has %d signatures of the component's owners, %d are needed", component, len(signed), need).
			Hint("Give both control planes the same keys for the component.")
	}
	role, err := trust.DecodeTargets(component, data)
	if err != nil {
		return trust.Release{}, err
	}
	releases, err := trust.ReleasesIn(component, role)
	if err != nil {
		return trust.Release{}, err
	}
	i := slices.IndexFunc(releases, func(r trust.Release) bool { return r.Version == version })
	if i < 0 {
		return trust.Release{}, fault.New(fault.NotFound, "the other control plane has no such release")
	}
	return releases[i], nil
}

// newest fetches a component's metadata from another control plane, whose word for what is newest is taken: only who signed it counts.
func newest(ctx context.Context, from Server, component string) ([]byte, error) {
	data, err := from.MetadataFile(ctx, "timestamp.json")
	if err != nil {
		return nil, err
	}
	timestamp, err := trust.DecodeTimestamp(data)
	if err != nil {
		return nil, err
	}
	if data, err = from.MetadataFile(ctx, fmt.Sprintf("%d.snapshot.json", timestamp.Signed.Meta["snapshot.json"].Version)); err != nil {
		return nil, err
	}
	snapshot, err := trust.DecodeSnapshot(data)
	if err != nil {
		return nil, err
	}
	file, ok := snapshot.Signed.Meta[component+".json"]
	if !ok {
		return nil, fault.New(fault.NotFound, "the other control plane has no releases of %s", component)
	}
	return from.MetadataFile(ctx, fmt.Sprintf("%d.%s.json", file.Version, component))
}

// has tells whether the release is published here. Another one under the same version is a Conflict, and so is a release whose predecessors
// are not here.
func has(v *trust.View, r trust.Release) (bool, error) {
	releases, err := v.Releases(r.Component)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return false, err
	}
	last := int64(0)
	for _, here := range releases {
		switch {
		case here.Digest == r.Digest:
			return true, nil
		case here.Version == r.Version:
			return false, fault.New(fault.Conflict, "copy %s %s: another release has that version here", r.Component, r.Version)
		}
		last = max(last, here.Serial)
	}
	if r.Serial != last+1 {
		return false, fault.New(fault.Conflict, "copy %s %s: its serial is %d, the next one here is %d", r.Component, r.Version, r.Serial, last+1).
			Hint("Publish in one cell, and copy all its releases to the others, in the order in which they were published.")
	}
	return false, nil
}

// fetch gives the bytes of a release's manifest, which nobody has checked yet.
func fetch(ctx context.Context, from Server, r trust.Release) ([]byte, error) {
	blob, err := from.Blob(ctx, r.Digest)
	if err != nil {
		return nil, fmt.Errorf("fetch manifest of %s %s: %w", r.Component, r.Version, err)
	}
	defer blob.Close()
	return io.ReadAll(io.LimitReader(blob, release.MaxManifestSize+1))
}

// carry brings the artifacts and the manifest over, as far as they are missing here.
func (p *Publisher) carry(ctx context.Context, from Server, r Published, manifest []byte) error {
	for _, a := range r.Manifest.Artifacts {
		if _, err := p.send(ctx, a.Name, a.Digest, a.Size, func(w io.Writer) error { return pour(ctx, from, a.Digest, w) }); err != nil {
			return err
		}
	}
	_, err := p.send(ctx, trust.ManifestName, r.Digest, int64(len(manifest)), func(w io.Writer) error {
		_, errWrite := w.Write(manifest)
		return errWrite
	})
	return err
}

func pour(ctx context.Context, from Server, digest release.Digest, w io.Writer) error {
	blob, err := from.Blob(ctx, digest)
	if err != nil {
		return err
	}
	defer blob.Close()
	_, err = io.Copy(w, blob)
	return err
}
