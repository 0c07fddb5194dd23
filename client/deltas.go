package client

import (
	"context"
	"net/http"

	"github.com/firebreak-dev/firebreak/api"
)

// Deltas lists what leads to an artifact from another one, the shortest first.
func (c *Client) Deltas(ctx context.Context, artifact string) ([]api.Delta, error) {
	return list[api.Delta](ctx, c, "/api/v1/deltas/"+segment(artifact), nil)
}

// PutDelta announces a delta whose bytes were uploaded with [Client.UploadBlob]. It needs no signature: what comes out of it is checked
// against the artifact's digest.
func (c *Client) PutDelta(ctx context.Context, artifact string, d api.Delta) error {
	return c.do(ctx, call{method: http.MethodPut, path: "/api/v1/deltas/" + segment(artifact), send: d}, nil)
}
