// Package repository is the control plane's side of trust: it serves the TUF repository, accepts metadata that was signed offline, and
// signs what is signed online: snapshot, timestamp, the director's role, directives and leases.
//
// It never holds a root, targets or release key, and accepts nothing that those keys did not sign (I9). What the offline keys sign is
// checked as strictly here as on an endpoint, because a mistake that got into signed metadata cannot be taken out again.
//
// The order of a new repository: root 1, then targets 1 (which brings director, snapshot and timestamp), then components. A change of
// root or targets must leave everything that is published well signed, so keys are replaced in three steps: name the new key beside the
// old one, sign with the new one, name the new one alone.
package repository

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// How long metadata signed online lives. It is signed anew when less than half of that is left.
const (
	TimestampLife = time.Hour
	SnapshotLife  = 24 * time.Hour
	DirectorLife  = 7 * 24 * time.Hour
)

// Store is a table of named files, and the releases that they publish.
type Store interface {
	// MetadataFile returns fault.NotFound if there is no file of that name.
	MetadataFile(ctx context.Context, name string) ([]byte, error)
	// MetadataNames lists the names that begin with prefix.
	MetadataNames(ctx context.Context, prefix string) ([]string, error)
	// SaveMetadata writes all files and releases, or nothing. A nil file is deleted. It returns fault.Conflict if a release exists with
	// another digest.
	SaveMetadata(ctx context.Context, files map[string][]byte, releases []release.Published) error
}

// Blobs gives the bytes of manifests and artifacts, and their size.
type Blobs interface {
	// Open returns fault.NotFound if there is no such blob.
	Open(ctx context.Context, digest release.Digest) (io.ReadSeekCloser, int64, error)
}

// ComponentPolicy is what the installation's owner decided about a component.
type ComponentPolicy struct {
	Kind               release.Kind
	ValidationRequired bool // releases without a passing verdict for each artifact are refused
}

// Options are all that a Repository needs. All fields are required.
type Options struct {
	Store Store
	Blobs Blobs
	Keys  Keys
	// Policy returns fault.NotFound for a component that was not registered.
	Policy func(ctx context.Context, component string) (ComponentPolicy, error)
	Clock  clock.Clock
	Log    *slog.Logger
}

// Repository serves and accepts metadata. It is safe for concurrent use, but must be the only one that writes to its Store.
type Repository struct {
	Options
	mu sync.Mutex // one change at a time
}

// New makes a Repository. It does no I/O.
func New(o Options) (*Repository, error) {
	if o.Store == nil || o.Blobs == nil || o.Policy == nil || o.Clock == nil || o.Log == nil || o.Keys.Director == nil {
		return nil, fault.New(fault.Internal, "make repository: an option is missing")
	}
	return &Repository{Options: o}, nil
}

// Online gives the public keys that the publisher has to name in root and targets.
func (r *Repository) Online(context.Context) (api.OnlineKeys, error) {
	return api.OnlineKeys{Snapshot: wireKey(r.Keys.Snapshot), Timestamp: wireKey(r.Keys.Timestamp), Director: wireKey(r.Keys.Director)}, nil
}

// File gives a metadata file as it is served to everybody, as in "timestamp.json" or "3.nginx-config.json".
func (r *Repository) File(ctx context.Context, name string) ([]byte, error) {
	if strings.Contains(name, "/") {
		return nil, fault.New(fault.NotFound, "read metadata %s: there is no such file", name)
	}
	return r.Store.MetadataFile(ctx, name)
}

// Target opens the bytes of a target and tells their size. The path is that of consistent snapshots, as in
// "nginx-config/1.2/<sha256>.release.json"; any TUF client asks for it under targets/.
func (r *Repository) Target(ctx context.Context, path string) (io.ReadSeekCloser, int64, error) {
	_, _, name, ok := trust.SplitTarget(path)
	sum, _, dot := strings.Cut(name, ".")
	digest := release.Digest("sha256:" + sum)
	if !ok || !dot || !digest.Valid() {
		return nil, 0, fault.New(fault.NotFound, "open target %s: the path is not <component>/<version>/<sha256>.<name>", path)
	}
	return r.Blobs.Open(ctx, digest)
}

// Sign seals a directive with the director key.
func (r *Repository) Sign(_ context.Context, d api.Directive) ([]byte, error) {
	return trust.SealDirective(d, r.Keys.Director)
}

// SignLease seals a lease with the director key.
func (r *Repository) SignLease(_ context.Context, l api.Lease) ([]byte, error) {
	return trust.SealLease(l, r.Keys.Director)
}

// Pending lists metadata that waits for more signatures.
func (r *Repository) Pending(ctx context.Context) ([]api.PendingMetadata, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	names, err := r.Store.MetadataNames(ctx, pendingPrefix)
	if err != nil {
		return nil, fmt.Errorf("list pending metadata: %w", err)
	}
	current, err := r.load(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]api.PendingMetadata, 0, len(names))
	for _, name := range names {
		role := strings.TrimSuffix(strings.TrimPrefix(name, pendingPrefix), ".json")
		data, err := r.Store.MetadataFile(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("read pending metadata of %s: %w", role, err)
		}
		if p, ok := current.describe(role, data); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// Discard throws pending metadata of a role away.
func (r *Repository) Discard(ctx context.Context, role string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.Store.MetadataFile(ctx, pendingName(role)); err != nil {
		return fmt.Errorf("discard pending metadata of %s: %w", role, err)
	}
	return r.Store.SaveMetadata(ctx, map[string][]byte{pendingName(role): nil}, nil)
}

const pendingPrefix = "pending/"

func pendingName(role string) string { return pendingPrefix + role + ".json" }

func wireKey(s *trust.Signer) api.TrustKey {
	return api.TrustKey{ID: s.ID(), Public: s.Public()}
}
