package doctor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/firebreak-dev/firebreak/internal/control/backup"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/rollout"
)

// sample is how many bytes of artifacts are read without --all.
const sample = 64 * mib

// again is the next step for an artifact that is not as it should be.
const again = "Publish its release again ('firebreak release publish' with the same files), or copy it from another replica or a backup."

// artifacts looks whether what endpoints are told to fetch is there, and whether what is there is whole.
func (x *examination) artifacts(ctx context.Context) {
	const check = "artifacts"
	if _, err := os.Stat(filepath.Join(x.Data, "blobs")); errors.Is(err, fs.ErrNotExist) && x.Elsewhere {
		x.skipped(check, "they are not in this directory")
		return
	}
	needed, err := x.needed(ctx)
	if err != nil {
		x.skipped(check, "what is needed cannot be read: %v", err)
	}
	before := len(x.findings)
	for _, d := range needed {
		if !exists(backup.BlobFile(x.Data, d)) {
			x.wrong(check, again, "%s is not there, and a rollout needs it", d)
		}
	}
	blobs, err := backup.Blobs(x.Data)
	if err != nil {
		x.wrong(check, "", "list them: %v", err)
		return
	}
	read := x.readThrough(ctx, needed, blobs)
	if len(x.findings) == before {
		x.good(check, "%d are there, %d of them needed now; %d were read and are whole", len(blobs), len(needed), read)
	}
}

// readThrough compares artifacts with their digests: what is needed first, and no more than the sample unless all are asked for.
func (x *examination) readThrough(ctx context.Context, needed []release.Digest, blobs []backup.Listed) (read int) {
	first := map[release.Digest]bool{}
	for _, d := range needed {
		first[d] = true
	}
	left := int64(sample)
	for _, wanted := range []bool{true, false} {
		for _, b := range blobs {
			if first[b.Digest] != wanted || ctx.Err() != nil || !x.All && b.Size > left {
				continue
			}
			left -= b.Size
			read++
			if got, err := digestOf(backup.BlobFile(x.Data, b.Digest)); err != nil {
				x.wrong("artifacts", again, "%s cannot be read: %v", b.Digest, err)
			} else if got != b.Digest.Hex() {
				x.wrong("artifacts", "Delete the file blobs/blobs/sha256/"+b.Digest.Hex()+". "+again, "%s is damaged: endpoints refuse it", b.Digest)
			}
		}
	}
	return read
}

// needed are the manifests and artifacts that directives name: of rollouts under way, and of the newest complete one of each component.
func (x *examination) needed(ctx context.Context) ([]release.Digest, error) {
	if !x.readable {
		return nil, nil
	}
	states, err := list[string](ctx, x.file(), `SELECT state FROM rollouts ORDER BY number DESC`)
	if err != nil {
		return nil, err
	}
	var all []release.Digest
	stable := map[string]bool{}
	for _, text := range states {
		var s rollout.State
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			return nil, err
		}
		component := s.Release.Component
		if s.Phase.Final() || s.Phase == rollout.Complete && stable[component] {
			continue
		}
		stable[component] = stable[component] || s.Phase == rollout.Complete
		manifest, err := ask[string](ctx, x.file(), `SELECT manifest FROM releases WHERE component = $1 AND version = $2`, component, s.Release.Version)
		if err != nil {
			return nil, err
		}
		var m release.Manifest
		if err := json.Unmarshal([]byte(manifest), &m); err != nil {
			return nil, err
		}
		all = append(all, s.Release.Manifest)
		for _, a := range m.Artifacts {
			all = append(all, a.Digest)
		}
	}
	return all, nil
}

func digestOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
