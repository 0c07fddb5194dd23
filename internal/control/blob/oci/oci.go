// Package oci shows what was published as OCI artifacts: in the index.json of the image layout that every store of blobs is, and at the
// read-only paths of a registry. So tools, mirrors and caches that know such things can carry releases. They are not trusted with
// anything: whoever installs a release compares its digests with what was signed.
//
// Each release is one image manifest of [ArtifactType]: its layers are release.json, as it was signed, and its artifacts. The manifest
// is made of the release alone, so every replica makes the same bytes.
package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Media types.
const (
	ArtifactType = "application/vnd.firebreak.release.v1"
	ManifestType = "application/vnd.oci.image.manifest.v1+json"
	indexType    = "application/vnd.oci.image.index.v1+json"
	emptyType    = "application/vnd.oci.empty.v1+json"
	releaseType  = "application/vnd.firebreak.manifest.v1+json" // release.json
	fileType     = "application/vnd.firebreak.artifact.file.v1"
	tarType      = "application/vnd.firebreak.artifact.tar.v1"
)

// Annotations.
const (
	title         = "org.opencontainers.image.title"
	versionNote   = "org.opencontainers.image.version"
	createdNote   = "org.opencontainers.image.created"
	refName       = "org.opencontainers.image.ref.name"
	componentNote = "dev.firebreak.component"
	serialNote    = "dev.firebreak.serial"
	platformNote  = "dev.firebreak.platform"
)

// emptyConfig is what the specification wants where there is no configuration.
const emptyConfig = "{}"

// Blobs is the part of a store of blobs that this package needs.
type Blobs interface {
	Put(ctx context.Context, want release.Digest, size int64, r io.Reader) error
	Open(ctx context.Context, d release.Digest) (io.ReadSeekCloser, int64, error)
	Has(ctx context.Context, d release.Digest) (bool, error)
	Index(ctx context.Context) ([]byte, error)
	SetIndex(ctx context.Context, data []byte) error
}

// Releases knows what was published.
type Releases interface {
	// Releases lists those of a component, or all if component is empty.
	Releases(ctx context.Context, component string) ([]release.Published, error)
}

// descriptor names content.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       release.Digest    `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations"`
}

type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

// Manifest makes the manifest of a release, whose release.json has so many bytes.
func Manifest(p release.Published, size int64) ([]byte, error) {
	m := p.Manifest
	made := manifest{
		SchemaVersion: 2, MediaType: ManifestType, ArtifactType: ArtifactType,
		Config: descriptor{MediaType: emptyType, Digest: release.DigestOf([]byte(emptyConfig)), Size: int64(len(emptyConfig))},
		Layers: []descriptor{{MediaType: releaseType, Digest: p.Digest, Size: size, Annotations: map[string]string{title: trust.ManifestName}}},
		Annotations: map[string]string{
			title: m.Component, versionNote: m.Version, componentNote: m.Component, serialNote: strconv.FormatInt(m.Serial, 10),
			createdNote: m.Created.UTC().Format(time.RFC3339),
		},
	}
	for _, a := range m.Artifacts {
		kind := fileType
		if a.Format == release.Tar {
			kind = tarType
		}
		made.Layers = append(made.Layers, descriptor{
			MediaType: kind, Digest: a.Digest, Size: a.Size,
			Annotations: map[string]string{title: trust.ArtifactName(m, a), platformNote: a.Platform},
		})
	}
	data, err := json.Marshal(made)
	if err != nil {
		return nil, fmt.Errorf("encode the OCI manifest of %s %s: %w", m.Component, m.Version, err)
	}
	return data, nil
}

// Catalogue keeps the manifests of all releases, and writes them to the layout. It is safe for concurrent use.
type Catalogue struct {
	releases Releases
	blobs    Blobs

	writing sync.Mutex // from reading what is published until index.json says so
	mu      sync.Mutex
	made    map[release.Digest]entry // by release.json
}

// entry is one release with its manifest.
type entry struct {
	component string
	tag       string // "" if the version cannot be one
	exact     bool   // the tag is the version as it is
	serial    int64
	data      []byte
	digest    release.Digest
	holds     []release.Digest // that the manifest names, and its own
}

// NewCatalogue makes a catalogue. It is empty until it is asked.
func NewCatalogue(releases Releases, blobs Blobs) *Catalogue {
	return &Catalogue{releases: releases, blobs: blobs, made: map[release.Digest]entry{}}
}

// Rebuild looks anew which releases the store has, all of whose blobs must be there, and writes their manifests and index.json. Call it
// at the start and after blobs were removed.
func (c *Catalogue) Rebuild(ctx context.Context) error {
	c.mu.Lock()
	c.made = map[release.Digest]entry{}
	c.mu.Unlock()
	return c.Published(ctx)
}

// Published writes the manifests of new releases and index.json. Call it after a release was published.
func (c *Catalogue) Published(ctx context.Context) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	entries, err := c.entries(ctx, "")
	if err != nil {
		return err
	}
	if err = c.ensure(ctx, []byte(emptyConfig)); err != nil {
		return err
	}
	listed := index{SchemaVersion: 2, MediaType: indexType, Manifests: []descriptor{}}
	for _, e := range entries {
		if err = c.ensure(ctx, e.data); err != nil {
			return err
		}
		listed.Manifests = append(listed.Manifests, descriptor{
			MediaType: ManifestType, ArtifactType: ArtifactType, Digest: e.digest, Size: int64(len(e.data)), Annotations: e.notes(),
		})
	}
	data, err := json.Marshal(listed)
	if err != nil {
		return fmt.Errorf("encode the OCI index: %w", err)
	}
	before, err := c.blobs.Index(ctx)
	if err == nil && bytes.Equal(before, data) {
		return nil
	}
	return c.blobs.SetIndex(ctx, data)
}

func (e entry) notes() map[string]string {
	if e.tag == "" {
		return nil
	}
	return map[string]string{refName: e.component + ":" + e.tag}
}

// ensure stores a small blob that is not there.
func (c *Catalogue) ensure(ctx context.Context, data []byte) error {
	d := release.DigestOf(data)
	has, err := c.blobs.Has(ctx, d)
	if err != nil || has {
		return err
	}
	return c.blobs.Put(ctx, d, int64(len(data)), bytes.NewReader(data))
}

// Needs lists the blobs that this package made for a release, for garbage collection: its manifest, and the configuration of all.
func (c *Catalogue) Needs(ctx context.Context, p release.Published) ([]release.Digest, error) {
	e, err := c.entry(ctx, p)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil // nothing was made for a release that is not whole
	}
	return []release.Digest{e.digest, release.DigestOf([]byte(emptyConfig))}, err
}

// entries are the releases that are there in full, in the order of component and serial.
func (c *Catalogue) entries(ctx context.Context, component string) ([]entry, error) {
	all, err := c.releases.Releases(ctx, component)
	if err != nil {
		return nil, err
	}
	var entries []entry
	for _, p := range all {
		e, err := c.entry(ctx, p)
		if err != nil && fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if a.component != b.component {
			return strings.Compare(a.component, b.component)
		}
		return int(a.serial - b.serial)
	})
	return entries, nil
}

// entry makes a release's entry once. One of whose blobs is not there is a fault.NotFound.
func (c *Catalogue) entry(ctx context.Context, p release.Published) (entry, error) {
	c.mu.Lock()
	e, ok := c.made[p.Digest]
	c.mu.Unlock()
	if ok {
		return e, nil
	}
	b, size, err := c.blobs.Open(ctx, p.Digest)
	if err != nil {
		return entry{}, err
	}
	_ = b.Close() // only its size was wanted
	for _, d := range p.Manifest.Digests() {
		if err = c.find(ctx, d); err != nil {
			return entry{}, err
		}
	}
	data, err := Manifest(p, size)
	if err != nil {
		return entry{}, err
	}
	m := p.Manifest
	e = entry{component: m.Component, serial: m.Serial, data: data, digest: release.DigestOf(data)}
	e.tag, e.exact = tagOf(m.Version)
	e.holds = append(m.Digests(), p.Digest, e.digest, release.DigestOf([]byte(emptyConfig)))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made[p.Digest] = e
	return e, nil
}

// find returns a fault.NotFound if a blob is not there.
func (c *Catalogue) find(ctx context.Context, d release.Digest) error {
	has, err := c.blobs.Has(ctx, d)
	if err == nil && !has {
		err = fault.New(fault.NotFound, "look for %s: it is not there", d)
	}
	return err
}

// tagOf makes a tag of a version: tags have no plus, so it becomes an underscore, as is the custom. Not exact tells that it did.
func tagOf(version string) (tag string, exact bool) {
	tag = strings.ReplaceAll(version, "+", "_")
	if !isTag(tag) {
		return "", false
	}
	return tag, tag == version
}

// isTag tells whether s is what the distribution specification calls a tag.
func isTag(s string) bool {
	const first = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"
	return s != "" && len(s) <= 128 && strings.Contains(first, s[:1]) && strings.Trim(s, first+".-") == ""
}
