package publisher

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Verification is what was verified of a release.
type Verification struct {
	Manifest    release.Manifest `json:"manifest"`
	Digest      release.Digest   `json:"digest"` // of the manifest
	RootVersion int64            `json:"root_version"`
	Floor       int64            `json:"floor"`           // of the component
	Checked     []string         `json:"checked"`         // each thing that was checked, in order
	BelowFloor  bool             `json:"below_floor"`     // endpoints do not activate it any more
	Local       string           `json:"local,omitempty"` // what was compared with the artifacts instead of the server's bytes
}

// Verify checks a published release as an endpoint would: from the keyring's trusted root through every signature and expiry to the bytes
// of each artifact. If dir is not empty, the artifacts are not fetched: dir is packed (or the file in it, if the artifact
// is one) and compared; if there are several, it holds one file or directory for each, named <platform>-<name> as among the TUF targets.
func (p *Publisher) Verify(ctx context.Context, component, version, dir string) (Verification, error) {
	v, err := p.view(ctx, component)
	if err != nil {
		return Verification{}, err
	}
	if freshErr := v.Fresh(p.Clock.Now(), component); freshErr != nil {
		return Verification{}, freshErr
	}
	r, err := v.Release(component, version)
	if err != nil {
		return Verification{}, err
	}
	keys, err := v.Keys(component)
	if err != nil {
		return Verification{}, err
	}
	m, err := p.manifest(ctx, r)
	if err != nil {
		return Verification{}, err
	}
	floor, err := v.Floor(component)
	if err != nil {
		return Verification{}, err
	}
	result := Verification{Manifest: m, Digest: r.Digest, RootVersion: v.RootVersion(), Floor: floor, BelowFloor: r.Serial < floor, Local: dir}
	result.Checked = []string{
		fmt.Sprintf("root %d: trusted", v.RootVersion()),
		"timestamp, snapshot, targets: signed, not expired, consistent",
		fmt.Sprintf("%s: signed by at least %d of %d release keys, not expired", component, keys.Threshold, len(keys.Public)),
		fmt.Sprintf("manifest %s: as signed, no unknown fields, sound", r.Digest),
	}
	for _, a := range m.Artifacts {
		if err := p.verifyArtifact(ctx, m, a, dir); err != nil {
			return Verification{}, fmt.Errorf("verify %s %s: artifact %s: %w", component, version, a.Name, err)
		}
		result.Checked = append(result.Checked, fmt.Sprintf("artifact %s for %s: %s, %d bytes", a.Name, a.Platform, a.Digest, a.Size))
	}
	return result, nil
}

func (p *Publisher) verifyArtifact(ctx context.Context, m release.Manifest, a release.Artifact, dir string) error {
	if dir != "" {
		return verifyLocal(ctx, m, a, dir)
	}
	blob, err := p.Server.Blob(ctx, a.Digest)
	if fault.KindOf(err) == fault.NotFound {
		return publishAgain(m, err)
	}
	if err != nil {
		return err
	}
	defer blob.Close()
	read := &progress{w: io.Discard, hash: measure{hash: sha256.New()}, tell: func(n int64) { p.Progress(a.Name, n, a.Size) }}
	if _, err = io.Copy(read, io.LimitReader(reader{ctx, blob}, a.Size+1)); err != nil {
		return err
	}
	got := &read.hash
	if got.size != a.Size {
		err = fault.New(fault.Denied, "the server's copy does not have the %d bytes that the manifest says (got %d)", a.Size, got.size)
	} else {
		err = equal(release.DigestFrom([sha256.Size]byte(got.hash.Sum(nil))), a.Digest)
	}
	return publishAgain(m, err)
}

// publishAgain gives the error about an artifact that the server lost or damaged its next step.
func publishAgain(m release.Manifest, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.KindOf(err), "%w", err).
		Hint("Activate nothing from there. 'firebreak release publish %s %s PATH' with the same content uploads it again.", m.Component, m.Version)
}

func verifyLocal(ctx context.Context, m release.Manifest, a release.Artifact, dir string) error {
	if len(m.Artifacts) > 1 {
		dir = filepath.Join(dir, trust.ArtifactName(m, a))
	}
	if info, err := os.Stat(dir); a.Format == release.File && err == nil && info.IsDir() {
		dir = filepath.Join(dir, a.Name)
	}
	packed, err := Pack(ctx, dir)
	if err != nil {
		return err
	}
	if err = equal(packed.Digest, a.Digest); err != nil {
		return fault.New(fault.Denied, "%w", err).Hint("The content in %s is not what was signed; find the content that was.", dir)
	}
	return nil
}

func equal(got, want release.Digest) error {
	if got != want {
		return fault.New(fault.Denied, "its bytes are %s, the signed manifest says %s", got, want)
	}
	return nil
}
