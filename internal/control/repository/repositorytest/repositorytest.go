// Package repositorytest keeps a repository's files and blobs in memory, for tests.
package repositorytest

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Store is a repository.Store in memory. It is safe for concurrent use.
type Store struct {
	mu       sync.Mutex
	files    map[string][]byte
	releases map[string]release.Published
	broken   error
}

// NewStore makes an empty store.
func NewStore() *Store {
	return &Store{files: map[string][]byte{}, releases: map[string]release.Published{}}
}

// Break makes every later save fail with err; nil mends it.
func (s *Store) Break(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

// MetadataFile implements repository.Store.
func (s *Store) MetadataFile(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if data, ok := s.files[name]; ok {
		return bytes.Clone(data), nil
	}
	return nil, fault.New(fault.NotFound, "read metadata %s: there is no such file", name)
}

// MetadataNames implements repository.Store.
func (s *Store) MetadataNames(_ context.Context, prefix string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := slices.Sorted(maps.Keys(s.files))
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, prefix) }), nil
}

// SaveMetadata implements repository.Store.
func (s *Store) SaveMetadata(_ context.Context, files map[string][]byte, releases []release.Published) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	for _, r := range releases {
		key := r.Manifest.Component + " " + r.Manifest.Version
		if have, ok := s.releases[key]; ok && have.Digest != r.Digest {
			return fault.New(fault.Conflict, "save release %s: it exists as %s, not %s", key, have.Digest, r.Digest)
		}
	}
	for _, r := range releases {
		s.releases[r.Manifest.Component+" "+r.Manifest.Version] = r
	}
	for name, data := range files {
		if data == nil {
			delete(s.files, name)
		} else {
			s.files[name] = bytes.Clone(data)
		}
	}
	return nil
}

// Releases lists what was published, by "component version".
func (s *Store) Releases() map[string]release.Published {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.releases)
}

// Blobs is a repository.Blobs in memory. It is safe for concurrent use.
type Blobs struct {
	mu    sync.Mutex
	blobs map[release.Digest][]byte
}

// NewBlobs makes an empty blob store.
func NewBlobs() *Blobs { return &Blobs{blobs: map[release.Digest][]byte{}} }

// Put stores data and gives its address.
func (b *Blobs) Put(data []byte) release.Digest {
	digest := release.DigestOf(data)
	b.Forge(digest, data)
	return digest
}

// Forge stores data under any address, as a damaged disk would.
func (b *Blobs) Forge(digest release.Digest, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.blobs[digest] = bytes.Clone(data)
}

// Len tells how many blobs there are.
func (b *Blobs) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.blobs)
}

// Open implements repository.Blobs.
func (b *Blobs) Open(_ context.Context, digest release.Digest) (io.ReadSeekCloser, int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.blobs[digest]
	if !ok {
		return nil, 0, fault.New(fault.NotFound, "open blob %s: there is none", digest)
	}
	return blob{bytes.NewReader(data)}, int64(len(data)), nil
}

type blob struct{ *bytes.Reader }

func (blob) Close() error { return nil }
