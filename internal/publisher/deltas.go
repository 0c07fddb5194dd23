package publisher

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/delta"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Delta is one that was made and announced.
type Delta struct {
	Artifact string `json:"artifact"`       // name
	From     string `json:"from,omitempty"` // version; empty: from nothing
	Form     string `json:"form"`           // as in package api
	Size     int64  `json:"size"`           // of the delta, in bytes
	Of       int64  `json:"of"`             // size of the artifact
}

// What deltas are made of and for. Those of large artifacts take seconds of CPU each.
const (
	smallVersions = 8       // earlier releases from which small artifacts have deltas
	largeVersions = 3       // likewise large ones
	leastArtifact = 4 << 10 // bytes; less is a few packets in any form
)

// worth tells whether a delta saves enough of what would be moved without it.
func worth(size, otherwise int64) bool { return size < otherwise/10*8 }

// deltas makes deltas from earlier releases to a new one, and from nothing, uploads and announces them. They need no trust, so they need
// no key either. The release is published without them; an error only says why there are no more.
func (p *Publisher) deltas(ctx context.Context, v *trust.View, m release.Manifest, packed []Packed) ([]Delta, error) {
	dir, err := os.MkdirTemp("", "firebreak-deltas-")
	if err != nil {
		return nil, fmt.Errorf("make deltas: %w", err)
	}
	defer os.RemoveAll(dir)
	w := deltaWork{Publisher: p, dir: dir}
	if w.earlier, err = p.earlier(ctx, v, m); err != nil {
		return nil, fmt.Errorf("make deltas: %w", err)
	}
	for i, artifact := range m.Artifacts {
		if artifact.Size < leastArtifact {
			continue
		}
		if err := w.artifact(ctx, artifact, packed[i]); err != nil {
			return w.made, fmt.Errorf("make deltas to %s: %w", artifact.Name, err)
		}
	}
	return w.made, nil
}

// earlier gives the manifests of the last releases before one, the newest first. What the server lost is left out.
func (p *Publisher) earlier(ctx context.Context, v *trust.View, m release.Manifest) ([]release.Manifest, error) {
	releases, err := v.Releases(m.Component)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	slices.Reverse(releases)
	var manifests []release.Manifest
	for _, r := range releases[:min(len(releases), smallVersions)] {
		was, err := p.manifest(ctx, r)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			manifests = append(manifests, was)
		}
	}
	return manifests, nil
}

// deltaWork is the making of one release's deltas.
type deltaWork struct {
	*Publisher
	dir     string
	earlier []release.Manifest
	made    []Delta
}

// artifact makes the deltas that lead to one artifact.
func (w *deltaWork) artifact(ctx context.Context, a release.Artifact, packed Packed) error {
	target, err := w.file(a.Digest, func(to io.Writer) error { return packed.Write(ctx, to) })
	if err != nil {
		return err
	}
	defer target.close()
	compressed, err := w.delta(ctx, a, "", opened{}, target, a.Size)
	if err != nil {
		return err
	}
	versions := largeVersions
	if a.Size <= delta.MaxSmall {
		versions = smallVersions
	}
	seen := map[release.Digest]bool{a.Digest: true}
	for _, was := range w.earlier {
		old, ok := was.For(a.Platform)
		small := a.Size <= delta.MaxSmall // such deltas need a small base, too
		if !ok || seen[old.Digest] || old.Format != a.Format || small && old.Size > delta.MaxSmall {
			continue
		}
		if seen[old.Digest] = true; len(seen) > versions+1 {
			return nil
		}
		if err := w.from(ctx, a, was.Version, old, target, compressed); err != nil {
			return err
		}
	}
	return nil
}

// from makes the delta from one old artifact, if the server still has that.
func (w *deltaWork) from(ctx context.Context, a release.Artifact, version string, old release.Artifact, target opened, otherwise int64) error {
	body, err := w.Server.Blob(ctx, old.Digest)
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	defer body.Close()
	base, err := w.file(old.Digest, func(to io.Writer) error {
		_, errCopy := io.Copy(to, io.LimitReader(body, old.Size))
		return errCopy
	})
	if fault.KindOf(err) == fault.Conflict {
		return nil // it is damaged
	}
	if err != nil {
		return err
	}
	defer base.close()
	_, err = w.delta(ctx, a, version, base, target, otherwise)
	return err
}

// delta makes one delta, and uploads and announces it if it is worth it. It gives what is moved then: its size, or that without it.
func (w *deltaWork) delta(ctx context.Context, a release.Artifact, version string, base, target opened, otherwise int64) (int64, error) {
	d := api.Delta{From: string(base.Digest), Form: api.DeltaWindows}
	write := func(to io.Writer) error { return delta.Make(ctx, to, base.Source, target.Source) }
	if a.Size <= delta.MaxSmall {
		d.Form = api.DeltaDCZ
		if d.From == "" {
			d.Form = api.DeltaZstd
		}
		write = func(to io.Writer) error { return encode(to, base, target) }
	}
	made, err := w.file("", write)
	if err != nil {
		return 0, err
	}
	defer made.close()
	if !worth(made.Size, otherwise) {
		return otherwise, nil
	}
	d.Digest, d.Size = string(made.Digest), made.Size
	_, err = w.send(ctx, a.Name+" delta", made.Digest, made.Size, func(to io.Writer) error {
		_, errCopy := io.Copy(to, io.NewSectionReader(made.Bytes, 0, made.Size))
		return errCopy
	})
	if err == nil {
		err = w.Server.PutDelta(ctx, a.Digest, d)
	}
	if err != nil {
		return 0, err
	}
	w.made = append(w.made, Delta{Artifact: a.Name, From: version, Form: d.Form, Size: d.Size, Of: a.Size})
	return made.Size, nil
}

// encode makes a delta to a small artifact, in one piece.
func encode(to io.Writer, base, target opened) error {
	is, err := target.all()
	if err != nil {
		return err
	}
	was, err := base.all()
	if err != nil {
		return err
	}
	var data []byte
	if base.Digest == "" {
		data, err = delta.Compress(is)
	} else {
		data, err = delta.EncodeDictionary(was, is)
	}
	if err != nil {
		return err
	}
	_, err = to.Write(data)
	return err
}

// opened is a file with what is in it.
type opened struct {
	delta.Source
	close func()
}

func (o opened) all() ([]byte, error) {
	data := make([]byte, o.Size)
	if o.Size == 0 {
		return data, nil
	}
	_, err := o.Bytes.ReadAt(data, 0)
	return data, err
}

// file writes a temporary file. If its digest is known before, any other is a Conflict.
func (w *deltaWork) file(want release.Digest, write func(io.Writer) error) (opened, error) {
	f, err := os.CreateTemp(w.dir, filepath.Base(want.Short())+"-*")
	if err != nil {
		return opened{}, err
	}
	m := measure{hash: sha256.New()}
	err = write(io.MultiWriter(f, &m))
	got := release.DigestFrom([sha256.Size]byte(m.hash.Sum(nil)))
	if err == nil && want != "" && got != want {
		err = fault.New(fault.Conflict, "its bytes have digest %s, not %s", got, want)
	}
	remove := func() { _, _ = f.Close(), os.Remove(f.Name()) }
	if err != nil {
		remove()
		return opened{}, err
	}
	return opened{delta.Source{Bytes: f, Size: m.size, Digest: got}, remove}, nil
}
