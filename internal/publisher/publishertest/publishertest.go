// Package publishertest lets tests publish to a real control plane.
package publishertest

import (
	"context"
	"io"

	"github.com/firebreak-dev/firebreak/api"
	"github.com/firebreak-dev/firebreak/client"
	"github.com/firebreak-dev/firebreak/internal/domain/fault"
	"github.com/firebreak-dev/firebreak/internal/domain/release"
)

// Wire is the operators' client as publishers see it.
type Wire struct{ Client *client.Client }

// InHouse gives an error of the client the kind that it has in the house.
func InHouse(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Kind(client.KindOf(err)), "%w", err)
}

// Online asks as the client does, with errors of the house.
func (w Wire) Online(ctx context.Context) (api.OnlineKeys, error) {
	keys, err := w.Client.OnlineKeys(ctx)
	return keys, InHouse(err)
}

// MetadataFile asks as the client does, with errors of the house.
func (w Wire) MetadataFile(ctx context.Context, name string) ([]byte, error) {
	data, err := w.Client.MetadataFile(ctx, name)
	return data, InHouse(err)
}

// Submit asks as the client does, with errors of the house.
func (w Wire) Submit(ctx context.Context, role string, metadata []byte) (api.Submission, error) {
	s, err := w.Client.SubmitMetadata(ctx, role, metadata)
	return s, InHouse(err)
}

// Pending asks as the client does, with errors of the house.
func (w Wire) Pending(ctx context.Context) ([]api.PendingMetadata, error) {
	all, err := w.Client.PendingMetadata(ctx)
	return all, InHouse(err)
}

// HasBlob asks as the client does, with errors of the house.
func (w Wire) HasBlob(ctx context.Context, digest release.Digest) (bool, error) {
	has, err := w.Client.HasBlob(ctx, string(digest))
	return has, InHouse(err)
}

// Upload asks as the client does, with errors of the house.
func (w Wire) Upload(ctx context.Context, digest release.Digest, size int64, r io.Reader) error {
	return InHouse(w.Client.UploadBlob(ctx, string(digest), size, r, nil))
}

// PutDelta asks as the client does, with errors of the house.
func (w Wire) PutDelta(ctx context.Context, artifact release.Digest, d api.Delta) error {
	return InHouse(w.Client.PutDelta(ctx, string(artifact), d))
}

// Blob asks as the client does, with errors of the house.
func (w Wire) Blob(ctx context.Context, digest release.Digest) (io.ReadCloser, error) {
	body, err := w.Client.Blob(ctx, string(digest))
	return body, InHouse(err)
}
