package store

import (
	"context"

	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

func scanRelease(r row) (release.Published, error) {
	var p release.Published
	err := r.Scan(&p.Digest, jsonColumn{&p.Manifest})
	return p, err
}

// Release finds a published release.
func (s *Store) Release(ctx context.Context, component, version string) (release.Published, error) {
	missing := none("it was never published").Hint("`firebreak release list` shows what was.")
	p, err := one(ctx, s.reader, scanRelease, missing,
		`SELECT digest, manifest FROM releases WHERE component = $1 AND version = $2`, component, version)
	return p, s.fail(err, "find release "+component+" "+version)
}

// Releases lists the published releases of a component, or of all if it is empty: by component, newest first.
func (s *Store) Releases(ctx context.Context, component string) ([]release.Published, error) {
	all, err := list(ctx, s.reader, scanRelease,
		`SELECT digest, manifest FROM releases WHERE component = $1 OR $1 = '' ORDER BY component, serial DESC`, component)
	return all, s.fail(err, "list releases")
}

// ReleaseByManifest finds the published release whose manifest has this digest.
func (s *Store) ReleaseByManifest(ctx context.Context, digest release.Digest) (release.Published, error) {
	p, err := one(ctx, s.reader, scanRelease, none("no release with this manifest was published"),
		`SELECT digest, manifest FROM releases WHERE digest = $1`, digest)
	return p, s.fail(err, "find release by manifest "+string(digest))
}
