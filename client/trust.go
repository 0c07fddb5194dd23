package client

import (
	"context"
	"net/http"

	"github.com/firebreak-dev/firebreak/api"
)

// OnlineKeys returns the public keys of the control plane, for the publisher to delegate to.
func (c *Client) OnlineKeys(ctx context.Context) (api.OnlineKeys, error) {
	return get[api.OnlineKeys](ctx, c, "/api/v1/trust/online")
}

// PendingMetadata lists submitted metadata that lacks signatures.
func (c *Client) PendingMetadata(ctx context.Context) ([]api.PendingMetadata, error) {
	return list[api.PendingMetadata](ctx, c, "/api/v1/trust/pending", nil)
}

// DiscardMetadata forgets pending metadata of a role.
func (c *Client) DiscardMetadata(ctx context.Context, role string) error {
	return c.do(ctx, call{method: http.MethodDelete, path: "/api/v1/trust/pending/" + segment(role)}, nil)
}

// SubmitMetadata hands in signed metadata of a role. Handing in the same twice is harmless.
func (c *Client) SubmitMetadata(ctx context.Context, role string, metadata []byte) (api.Submission, error) {
	var s api.Submission
	err := c.do(ctx, call{method: http.MethodPost, path: "/api/v1/trust/metadata/" + segment(role), send: metadata}, &s)
	return s, err
}

// MetadataFile returns a file of the TUF repository, such as "timestamp.json" or "2.root.json".
func (c *Client) MetadataFile(ctx context.Context, name string) ([]byte, error) {
	var data []byte
	err := c.do(ctx, call{method: http.MethodGet, path: "/tuf/" + segment(name)}, &data)
	return data, err
}
