package store

import (
	"context"
	"database/sql"
	"maps"
	"slices"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// MetadataFile reads a file of the TUF repository.
func (s *Store) MetadataFile(ctx context.Context, name string) ([]byte, error) {
	data, err := one(ctx, s.reader, scalar[[]byte], none("there is no such file in the repository"),
		`SELECT data FROM metadata WHERE name = $1`, name)
	return data, s.fail(err, "read metadata "+name)
}

// MetadataNames lists the names of the TUF repository's files that begin with prefix, sorted by bytes.
func (s *Store) MetadataNames(ctx context.Context, prefix string) ([]string, error) {
	all, err := list(ctx, s.reader, scalar[string],
		`SELECT name FROM metadata WHERE substr(name, 1, length($1)) = $1 ORDER BY name`, prefix)
	return all, s.fail(err, "list metadata "+prefix+"*")
}

// SaveMetadata writes files of the TUF repository and the releases that they publish, all or nothing. A file that is nil is
// deleted. A release that is there already with the same digest is left alone; with another digest, or a serial that is taken,
// it is a fault.Conflict.
func (s *Store) SaveMetadata(ctx context.Context, files map[string][]byte, releases []release.Published) error {
	return s.write(ctx, "save metadata", func(ctx context.Context, tx *sql.Tx) error {
		for _, p := range releases {
			if err := insertRelease(ctx, tx, p); err != nil {
				return err
			}
		}
		for _, name := range slices.Sorted(maps.Keys(files)) {
			if err := saveFile(ctx, tx, name, files[name]); err != nil {
				return err
			}
		}
		return nil
	})
}

func saveFile(ctx context.Context, tx *sql.Tx, name string, data []byte) error {
	if data == nil {
		_, err := tx.ExecContext(ctx, `DELETE FROM metadata WHERE name = $1`, name)
		return err
	}
	_, err := tx.ExecContext(ctx,
		`INSERT INTO metadata (name, data) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET data = excluded.data`, name, data)
	return err
}

func insertRelease(ctx context.Context, tx *sql.Tx, p release.Published) error {
	m := p.Manifest
	manifest, err := encoded(m)
	if err != nil {
		return err
	}
	n, err := changed(ctx, tx, `INSERT INTO releases (component, version, serial, digest, manifest) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT DO NOTHING`, m.Component, m.Version, m.Serial, p.Digest, manifest)
	if err != nil || n == 1 {
		return err
	}
	return explainRelease(ctx, tx, p)
}

// explainRelease tells what stands in the way of a release that could not be inserted; nil if it is itself.
func explainRelease(ctx context.Context, tx *sql.Tx, p release.Published) error {
	m := p.Manifest
	gone := none("release %s %s cannot be stored, and nothing is in its way", m.Component, m.Version)
	had, err := one(ctx, tx, scanRelease, gone, `SELECT digest, manifest FROM releases
		WHERE component = $1 AND version = $2 OR component = $1 AND serial = $3 OR digest = $4
		ORDER BY version = $2 DESC LIMIT 1`, m.Component, m.Version, m.Serial, p.Digest)
	switch {
	case err != nil:
		return err
	case had.Manifest.Component != m.Component || had.Manifest.Version != m.Version:
		return fault.New(fault.Conflict, "release %s %s has serial %d and manifest %s; release %s %s has one of them already (%d, %s)",
			m.Component, m.Version, m.Serial, p.Digest, had.Manifest.Component, had.Manifest.Version, had.Manifest.Serial, had.Digest).
			Hint("Somebody else published in between: fetch the newest metadata and publish again.")
	case had.Digest != p.Digest:
		return fault.New(fault.Conflict, "release %s %s is published already with manifest %s, this one is %s",
			m.Component, m.Version, had.Digest, p.Digest).
			Hint("A release never changes: publish the new bytes as a new version.")
	}
	return nil
}
