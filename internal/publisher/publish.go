package publisher

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/plan"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Source is a file or directory to be published for a platform.
type Source struct {
	Platform string // "any" or os/arch; empty means any
	Path     string
}

// PublishOptions describe a release. The plan is signed with it: no rollout may outrun it.
type PublishOptions struct {
	Component string
	Version   string
	Kind      release.Kind
	Sources   []Source
	Plan      plan.Plan
	Contract  map[string]string
	Floor     int64 // serial that endpoints never go below again; 0 keeps the component's floor

	Validator []string      // command and arguments; empty: no verdicts, which most components do not accept
	Timeout   time.Duration // of the validator, each time; 0 means DefaultValidation
}

// Published is what became of a release.
type Published struct {
	Manifest   release.Manifest `json:"manifest"`
	Digest     release.Digest   `json:"digest"` // of the manifest
	Submission api.Submission   `json:"submission"`
	Before     bool             `json:"before,omitempty"`   // the very same was already published, or waits for signatures
	Restored   []string         `json:"restored,omitempty"` // artifacts of such a release that the server had lost or damaged
	Deltas     []Delta          `json:"deltas,omitempty"`
	NoDeltas   string           `json:"no_deltas,omitempty"` // why there are no more of them; the release is published all the same
}

// Publish packs, validates, uploads, signs and submits a release, and then makes deltas that lead to it. A validator's no stops it before anything is sent. Publishing the same
// content again under the same version only uploads what the server lost of it; other content under the same version is a Conflict, and so
// is another version while one waits for signatures.
func (p *Publisher) Publish(ctx context.Context, o PublishOptions) (Published, error) {
	if err := checkRole(o.Component); err != nil {
		return Published{}, err
	}
	signer, err := p.Keyring.Signer(o.Component)
	if err != nil {
		return Published{}, err
	}
	v, err := p.view(ctx, o.Component)
	if err != nil {
		return Published{}, err
	}
	m, packed, err := p.draft(ctx, v, o)
	if err != nil {
		return Published{}, err
	}
	if errOwner := owns(v, o.Component, signer); errOwner != nil && fault.KindOf(errOwner) == fault.Denied {
		return Published{}, fmt.Errorf("publish %s %s: %w", o.Component, o.Version, errOwner)
	}
	if before, found, errBefore := p.before(ctx, v, m); errBefore != nil || found {
		if errBefore == nil {
			before.Restored, errBefore = p.restore(ctx, packed)
		}
		return before, errBefore
	}
	if err = p.validate(ctx, o, &m, packed); err != nil {
		return Published{}, err
	}
	manifest, err := json.Marshal(m)
	if err != nil {
		return Published{}, fmt.Errorf("encode manifest: %w", err)
	}
	metadata, err := p.nextRole(v, o.Component, manifest, signer)
	if err != nil {
		return Published{}, err
	}
	if err = p.upload(ctx, packed, manifest); err != nil {
		return Published{}, err
	}
	submission, err := p.Server.Submit(ctx, o.Component, metadata)
	if err != nil {
		return Published{}, fmt.Errorf("publish %s %s: %w", o.Component, o.Version, err)
	}
	done := Published{Manifest: m, Digest: release.DigestOf(manifest), Submission: submission}
	if done.Deltas, err = p.deltas(ctx, v, m, packed); err != nil {
		done.NoDeltas = err.Error()
	}
	return done, nil
}

// draft packs the sources and writes the manifest, but for the verdicts.
func (p *Publisher) draft(ctx context.Context, v *trust.View, o PublishOptions) (release.Manifest, []Packed, error) {
	m := release.Manifest{
		Format: 1, Component: o.Component, Version: o.Version, Serial: 1, Kind: o.Kind, Created: p.Clock.Now().UTC().Truncate(time.Second),
		Contract: o.Contract, Plan: o.Plan,
	}
	releases, err := v.Releases(o.Component)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return m, nil, err
	}
	for _, r := range releases {
		m.Serial, m.Floor = max(m.Serial, r.Serial+1), max(m.Floor, r.Floor)
	}
	if o.Floor != 0 {
		m.Floor = o.Floor
	}
	var packed []Packed
	for _, s := range o.Sources {
		artifact, err := Pack(ctx, s.Path)
		if err != nil {
			return m, nil, err
		}
		packed = append(packed, artifact)
		platform := s.Platform
		if platform == "" {
			platform = release.AnyPlatform
		}
		m.Artifacts = append(m.Artifacts, artifact.artifact(platform))
	}
	return m, packed, fault.Problems(fmt.Sprintf("publish %s %s", o.Component, o.Version), m.Check())
}

// validate adds the verdicts, or fails with what the validator said.
func (p *Publisher) validate(ctx context.Context, o PublishOptions, m *release.Manifest, packed []Packed) error {
	if len(o.Validator) == 0 {
		return nil
	}
	for _, artifact := range packed {
		verdict, err := p.Validate(ctx, o.Validator, o.Timeout, artifact)
		if err != nil {
			return err
		}
		if !verdict.Passed {
			return fault.New(fault.Invalid, "publish %s %s: validator %s rejected %s: %s", o.Component, o.Version, verdict.Validator, artifact.Path, verdict.Detail).
				Hint("Nothing was uploaded or signed. Mend the content and publish it again.")
		}
		m.Verdicts = append(m.Verdicts, verdict)
	}
	return nil
}

// nextRole adds the release to the component's verified metadata and signs that.
func (p *Publisher) nextRole(v *trust.View, component string, manifest []byte, signer *trust.Signer) ([]byte, error) {
	role := trust.NewRole(0, p.expires())
	if data := v.Files()[component+".json"]; data != nil {
		var err error
		if role, err = trust.DecodeTargets(component, data); err != nil {
			return nil, err
		}
	}
	role.Signed.Version++
	role.Signed.Expires = p.expires().UTC().Truncate(time.Second)
	role.Signatures = nil
	if err := trust.AddRelease(role, manifest); err != nil {
		return nil, err
	}
	if err := trust.Sign(role, signer); err != nil {
		return nil, err
	}
	return trust.Encode(role)
}

// upload sends what the server does not have yet. The manifest comes last.
func (p *Publisher) upload(ctx context.Context, packed []Packed, manifest []byte) error {
	for _, artifact := range packed {
		if _, err := p.sendPacked(ctx, artifact); err != nil {
			return err
		}
	}
	_, err := p.send(ctx, trust.ManifestName, release.DigestOf(manifest), int64(len(manifest)), func(w io.Writer) error {
		_, err := w.Write(manifest)
		return err
	})
	return err
}

func (p *Publisher) sendPacked(ctx context.Context, artifact Packed) (bool, error) {
	return p.send(ctx, artifact.Name, artifact.Digest, artifact.Size, func(w io.Writer) error { return artifact.Write(ctx, w) })
}

// send uploads one blob unless the server has it, and tells whether it did.
func (p *Publisher) send(ctx context.Context, name string, digest release.Digest, size int64, write func(io.Writer) error) (bool, error) {
	has, err := p.Server.HasBlob(ctx, digest)
	if err != nil {
		return false, fmt.Errorf("ask for %s: %w", digest, err)
	}
	if has {
		p.Progress(name, size, size)
		return false, nil
	}
	return true, p.stream(ctx, name, digest, size, write)
}

// stream sends one blob. The goroutine that writes it ends before stream returns.
func (p *Publisher) stream(ctx context.Context, name string, digest release.Digest, size int64, write func(io.Writer) error) error {
	r, w := io.Pipe()
	written := make(chan error, 1)
	sent := &progress{w: w, hash: measure{hash: sha256.New()}, tell: func(n int64) { p.Progress(name, n, size) }}
	go func() {
		errWrite := write(sent)
		w.CloseWithError(errWrite) // a nil error ends the stream
		written <- errWrite
	}()
	err := p.Server.Upload(ctx, digest, size, r)
	_ = r.Close()
	errWrite := <-written
	switch {
	case err == nil && errors.Is(errWrite, io.ErrClosedPipe):
		return nil // the server did not need all of it: somebody else had just sent it
	case err == nil:
		err = errWrite
	}
	if got := release.DigestFrom([sha256.Size]byte(sent.hash.hash.Sum(nil))); errWrite == nil && got != digest {
		err = fault.New(fault.Conflict, "it changed after it was packed").Hint("Publish from a directory that nobody writes to.")
	}
	if err != nil {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	return nil
}

// progress passes bytes on, hashes them, and tells how many there were.
type progress struct {
	w    io.Writer
	hash measure
	tell func(int64)
}

func (p *progress) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	_, _ = p.hash.Write(b[:n])
	p.tell(p.hash.size)
	return n, err
}

// manifest fetches and verifies the manifest of a release.
func (p *Publisher) manifest(ctx context.Context, r trust.Release) (release.Manifest, error) {
	blob, err := p.Server.Blob(ctx, r.Digest)
	if err != nil {
		return release.Manifest{}, fmt.Errorf("fetch manifest of %s %s: %w", r.Component, r.Version, err)
	}
	defer blob.Close()
	data, err := io.ReadAll(io.LimitReader(blob, release.MaxManifestSize+1))
	if err != nil {
		return release.Manifest{}, fmt.Errorf("fetch manifest of %s %s: %w", r.Component, r.Version, err)
	}
	return r.Open(data)
}
