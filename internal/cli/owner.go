package cli

import (
	"context"
	"crypto/rand"
	"io"

	"github.com/spf13/pflag"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
	"github.com/firebreak-dev/firebreak/internal/publisher"
)

const defaultKeys = "firebreak-keys"

// keysFlag is where the keyring is.
func keysFlag(flags *pflag.FlagSet, dir *string) {
	flags.StringVar(dir, "keys", "", "keyring directory (env FIREBREAK_KEYS, default "+defaultKeys+")")
}

// publisher makes a publisher with the keyring in dir.
func (p *program) publisher(dir string) (*publisher.Publisher, error) {
	c, err := p.connect()
	if err != nil {
		return nil, err
	}
	ring, err := p.keyring(dir)
	if err != nil {
		return nil, err
	}
	return publisher.New(publisher.Options{Keyring: ring, Server: controlPlane{c}, Clock: p.Clock, Random: rand.Reader, Progress: p.transfers("uploading")})
}

// keyring opens the keyring in dir, or the default one.
func (p *program) keyring(dir string) (*publisher.Keyring, error) {
	return publisher.OpenKeyring(first(dir, p.Getenv("FIREBREAK_KEYS"), defaultKeys))
}

// controlPlane is the client as publishers see it: its errors have the kinds of the house.
type controlPlane struct{ c *client.Client }

var _ publisher.Server = controlPlane{}

// Online implements publisher.Server.
func (s controlPlane) Online(ctx context.Context) (api.OnlineKeys, error) {
	keys, err := s.c.OnlineKeys(ctx)
	return keys, asFault(err)
}

// MetadataFile implements publisher.Server.
func (s controlPlane) MetadataFile(ctx context.Context, name string) ([]byte, error) {
	data, err := s.c.MetadataFile(ctx, name)
	return data, asFault(err)
}

// Submit implements publisher.Server.
func (s controlPlane) Submit(ctx context.Context, role string, metadata []byte) (api.Submission, error) {
	answer, err := s.c.SubmitMetadata(ctx, role, metadata)
	return answer, asFault(err)
}

// Pending implements publisher.Server.
func (s controlPlane) Pending(ctx context.Context) ([]api.PendingMetadata, error) {
	all, err := s.c.PendingMetadata(ctx)
	return all, asFault(err)
}

// HasBlob implements publisher.Server.
func (s controlPlane) HasBlob(ctx context.Context, digest release.Digest) (bool, error) {
	has, err := s.c.HasBlob(ctx, string(digest))
	return has, asFault(err)
}

// Upload implements publisher.Server.
func (s controlPlane) Upload(ctx context.Context, digest release.Digest, size int64, r io.Reader) error {
	return asFault(s.c.UploadBlob(ctx, string(digest), size, r, nil))
}

// PutDelta implements publisher.Server.
func (s controlPlane) PutDelta(ctx context.Context, artifact release.Digest, d api.Delta) error {
	return asFault(s.c.PutDelta(ctx, string(artifact), d))
}

// Blob implements publisher.Server.
func (s controlPlane) Blob(ctx context.Context, digest release.Digest) (io.ReadCloser, error) {
	body, err := s.c.Blob(ctx, string(digest))
	return body, asFault(err)
}
