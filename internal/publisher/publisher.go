// Package publisher is what a release owner's machine does: it makes and keeps the offline keys, packs and validates releases, and signs
// them. Private keys never leave the keyring, and the control plane is not trusted: everything that it says is verified from the root
// in the keyring before anything new is signed on top of it.
//
// The road of a release: [Publisher.Publish] packs, validates, uploads, signs and submits. If its component wants more than one
// signature, other owners look at it with [Publisher.Review] and add theirs with [Publisher.CoSign]. [Publisher.Verify] checks a
// published release as an endpoint would.
package publisher

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/internal/clock"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/domain/trust"
)

// Life is how long metadata signed offline lives. [Publisher.Init] signs it anew when less than half of that is left.
const Life = 365 * 24 * time.Hour

// Server is the control plane. Its errors have fault kinds.
type Server interface {
	Metadata
	Blobs
}

// Metadata is the control plane's repository.
type Metadata interface {
	Online(ctx context.Context) (api.OnlineKeys, error)
	// MetadataFile gets a file as any endpoint does, as in "timestamp.json"; fault.NotFound if there is none.
	MetadataFile(ctx context.Context, name string) ([]byte, error)
	Submit(ctx context.Context, role string, metadata []byte) (api.Submission, error)
	Pending(ctx context.Context) ([]api.PendingMetadata, error)
}

// Blobs are the control plane's artifacts and manifests.
type Blobs interface {
	HasBlob(ctx context.Context, digest release.Digest) (bool, error)
	// Upload sends size bytes of r, which have that digest.
	Upload(ctx context.Context, digest release.Digest, size int64, r io.Reader) error
	// Blob opens the bytes with that digest; the caller checks and closes them.
	Blob(ctx context.Context, digest release.Digest) (io.ReadCloser, error)
	// PutDelta announces an uploaded delta that leads to an artifact.
	PutDelta(ctx context.Context, artifact release.Digest, d api.Delta) error
}

// Progress tells how far an upload or a download is. It is called from the goroutine that does it.
type Progress func(name string, sent, size int64)

// Options are what a Publisher needs. Progress may be nil.
type Options struct {
	Keyring  *Keyring
	Server   Server
	Clock    clock.Clock
	Random   io.Reader // crypto/rand.Reader outside tests: new keys
	Progress Progress
}

// Publisher signs releases for one control plane. It is not safe for concurrent use.
type Publisher struct{ Options }

// New makes a Publisher. It does no I/O.
func New(o Options) (*Publisher, error) {
	if o.Keyring == nil || o.Server == nil || o.Clock == nil || o.Random == nil {
		return nil, fault.New(fault.Internal, "make publisher: an option is missing")
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	return &Publisher{Options: o}, nil
}

// view verifies the repository from the keyring's root, remembers it there, and fails if the wanted components cannot be verified.
func (p *Publisher) view(ctx context.Context, components ...string) (*trust.View, error) {
	v, err := p.Keyring.View()
	if err != nil {
		return nil, err
	}
	return v, p.refresh(ctx, v, components...)
}

func (p *Publisher) refresh(ctx context.Context, v *trust.View, components ...string) error {
	files, err := v.Refresh(p.Clock.Now(), components, func(name string) ([]byte, error) { return p.Server.MetadataFile(ctx, name) })
	if files != nil {
		if saved := p.Keyring.remember(files); saved != nil {
			return saved
		}
	}
	if err != nil {
		return fmt.Errorf("verify the repository: %w", err)
	}
	return nil
}

func (p *Publisher) expires() time.Time { return p.Clock.Now().Add(Life) }

// old tells whether less than half of the life of offline metadata is left.
func (p *Publisher) old(expires time.Time) bool { return expires.Sub(p.Clock.Now()) < Life/2 }
