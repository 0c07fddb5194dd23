package client

import (
	"context"
	"io"
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
	err := c.do(ctx, call{method: http.MethodGet, path: "/tuf/" + segment(name), repeat: true}, &data)
	return data, err
}

// HasBlob tells whether the control plane has the bytes with that digest.
func (c *Client) HasBlob(ctx context.Context, digest string) (bool, error) {
	err := c.do(ctx, call{method: http.MethodHead, path: "/api/v1/blobs/" + segment(digest), repeat: true}, nil)
	if err != nil && KindOf(err) == NotFound {
		return false, nil
	}
	return err == nil, err
}

// Blob opens the bytes with that digest, which the caller must check and close.
func (c *Client) Blob(ctx context.Context, digest string) (io.ReadCloser, error) {
	answer, err := c.send(ctx, call{method: http.MethodGet, path: "/api/v1/blobs/" + segment(digest)}, nil, 0)
	if err != nil {
		return nil, err
	}
	return answer.Body, nil
}

// UploadBlob sends size bytes of r, which must have that digest. Progress, if not nil, is called with the bytes sent so far; it may be
// called from another goroutine, but never twice at once. It is never sent twice: ask [Client.HasBlob] first.
func (c *Client) UploadBlob(ctx context.Context, digest string, size int64, r io.Reader, progress func(sent int64)) error {
	body := &counted{reader: io.LimitReader(r, size), tell: progress}
	answer, err := c.send(ctx, call{method: http.MethodPut, path: "/api/v1/blobs/" + segment(digest)}, body, size)
	if err != nil {
		return err
	}
	return answer.Body.Close()
}

// counted tells how much was read.
type counted struct {
	reader io.Reader
	tell   func(int64)
	sent   int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	c.sent += int64(n)
	if n > 0 && c.tell != nil {
		c.tell(c.sent)
	}
	return n, err
}
